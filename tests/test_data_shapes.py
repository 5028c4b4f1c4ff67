"""The embedded data set: 80 classes from a seed, in the report's layout."""

import hashlib
import json

import numpy as np
import pytest
from data_sets import SETTINGS
from PIL import Image

from course_lib import DiskError
from course_lib.data import shapes
from course_lib.data.answers import read_answer
from course_lib.data.bank import open_data


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def pictures_below(folder):
    return {name: data for name, data in files_below(folder).items() if name.endswith(".bmp")}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return shapes.generate(tmp_path_factory.mktemp("home"), 16, 2, 1, seed=5)


def test_it_has_80_classes_and_as_many_images_as_asked_for(small):
    assert len(set(shapes.NAMES)) == len(shapes.NAMES) == 80
    for part, answer, per_class in (
        ("train_data", "answer.json", 2),
        ("test_data", "test_answer.json", 1),
    ):
        rows = read_answer((small / answer).read_bytes())
        assert [name for name, _ in rows] == sorted(path.name for path in (small / part).iterdir())
        assert (
            np.bincount([category for _, category in rows], minlength=80).tolist()
            == [per_class] * 80
        )
    names = json.loads((small / "classes.json").read_text(encoding="utf-8"))
    assert names == [{"category": i, "name": name} for i, name in enumerate(shapes.NAMES)]


def test_every_class_looks_different():
    """Drawn with the same generator, so that nothing but the class differs."""
    drawn = [shapes.draw(label, 32, np.random.default_rng(3)).astype(int) for label in range(80)]
    for i, first in enumerate(drawn):
        assert all(abs(first - second).mean() > 0.5 for second in drawn[:i])


def test_its_pictures_never_change(small):
    """Stored results and the digest of the content depend on every byte. None is there twice: it
    would leak."""
    pictures, pixels = pictures_below(small), hashlib.sha256()
    for name in sorted(pictures):
        pixels.update(np.array(Image.open(small / name)).tobytes())
    assert pixels.hexdigest() == "b2dba4e3aad457320482186f9b3506d39144f136067a368c23fb6685c8cf76e7"
    assert len(set(pictures.values())) == 240


def test_a_larger_set_begins_with_the_smaller_ones_pictures_and_another_seed_has_others(
    small, tmp_path
):
    larger = pictures_below(shapes.generate(tmp_path, 16, 2, 2, seed=5))
    other = pictures_below(shapes.generate(tmp_path, 16, 1, 1, seed=6))
    assert pictures_below(small).items() <= larger.items() and len(larger) == 80 * 4
    assert all(data != larger[name] for name, data in other.items())


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_it_is_made_once_and_what_was_not_finished_is_not_there(tmp_path, monkeypatch, error):
    """An interrupt or a full disk on the way leaves nothing, and the next call makes all of it."""
    saved, left = Image.Image.save, iter(range(100))

    def save(*args, **options):
        if next(left, None) is None:
            raise error
        return saved(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save)
        with pytest.raises((KeyboardInterrupt, DiskError)):
            shapes.generate(tmp_path, 8, 1, 1)
    assert list(tmp_path.iterdir()) == []
    before = files_below(shapes.generate(tmp_path, 8, 1, 1))
    monkeypatch.setattr(shapes, "draw", None)
    assert len(before) == 163 and files_below(shapes.generate(tmp_path, 8, 1, 1)) == before


@pytest.mark.parametrize("where", ["home", "home/data"])
def test_a_file_in_the_place_of_a_folder_is_a_sentence_and_stays(tmp_path, where):
    path = tmp_path / where
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(DiskError, match="data"):
        open_data("shapes", SETTINGS, tmp_path / "home")
    assert path.read_text() == "mine"


def test_it_opens_as_a_bank_with_the_same_digest_everywhere(tmp_path):
    bank = open_data("shapes", SETTINGS, tmp_path)
    assert (bank.name, len(bank.train), len(bank.heldout)) == ("shapes", 160, 80)
    assert bank.classes == list(shapes.NAMES) and (bank.train.widths == 32).all()
    assert bank.digest == "567f91a189172f2e27b62652595d08feefcd1c2949aa20b598921c4f92ca4126"
