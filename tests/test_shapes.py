"""The embedded data set: 80 classes from a seed, in the report's layout."""

import json

import numpy as np
import pytest
from PIL import Image

from course_lib import DataError, MyDataset, MyDatasett, open_bank, shapes
from course_lib.datasets import read_answer


def files_below(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return shapes.generate(tmp_path_factory.mktemp("home"), 16, 2, 1, seed=5)


def test_it_has_80_classes_and_as_many_images_as_asked_for(small):
    assert len(set(shapes.CLASSES)) == len(shapes.CLASSES) == 80
    for part, answer, per_class in (("train_data", "answer.json", 2), ("test_data", "test_answer.json", 1)):
        rows = read_answer((small / answer).read_bytes())
        assert [name for name, _ in rows] == sorted(path.name for path in (small / part).iterdir())
        assert np.bincount([category for _, category in rows], minlength=80).tolist() == [per_class] * 80
    names = json.loads((small / "classes.json").read_text(encoding="utf-8"))
    assert names == [{"category": i, "name": name} for i, name in enumerate(shapes.CLASSES)]
    assert sorted(path.name for path in small.iterdir()) == [
        "answer.json",
        "classes.json",
        "test_answer.json",
        "test_data",
        "train_data",
    ]


def test_the_reports_data_sets_read_it(small):
    train = MyDataset(small / "answer.json", small / "train_data")
    test = MyDatasett(small / "answer.json", small / "test_data")
    assert len(train) == 160 and len(test) == 80
    assert train[83][0].shape == (3, 16, 16) and train[83][1] == 3
    assert test[3][1] == "00003.png" and test.skipped == []


def test_it_is_the_same_wherever_it_is_made_and_another_for_another_seed(small, tmp_path):
    assert files_below(shapes.generate(tmp_path, 16, 2, 1, seed=5)) == files_below(small)
    other = files_below(shapes.generate(tmp_path, 16, 2, 1, seed=6))
    assert all(data != other[name] for name, data in files_below(small).items() if name.endswith(".png"))


def test_no_picture_is_there_twice(small):
    """Neither within a part nor in both: else the held-out images were trained on."""
    pictures = [data for name, data in files_below(small).items() if name.endswith(".png")]
    assert len(set(pictures)) == len(pictures) == 240


def test_a_larger_set_begins_with_the_smaller_ones_pictures(small, tmp_path):
    larger = files_below(shapes.generate(tmp_path, 16, 3, 2, seed=5))
    for name, data in files_below(small).items():
        if name.endswith(".png"):
            assert larger[name] == data
    assert len(larger) == 80 * 5 + 3


@pytest.mark.parametrize("size", [16, 33, 64])
def test_a_picture_has_its_size_and_depends_on_the_generator_alone(size):
    first, again, other = (shapes.draw(42, size, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == (size, size, 3) and first.dtype == np.uint8
    assert (first == again).all() and (first != other).mean() > 0.9


def test_every_class_looks_different():
    """Drawn with the same generator, so that nothing but the class differs."""
    drawn = [shapes.draw(label, 32, np.random.default_rng(3)).astype(int) for label in range(80)]
    for i, first in enumerate(drawn):
        assert all(abs(first - second).mean() > 0.5 for second in drawn[:i])


def test_it_is_made_once(small):
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert shapes.generate(small.parent, 16, 2, 1, seed=5) == small
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_what_was_not_finished_is_not_there(tmp_path, monkeypatch, error):
    """An interrupt or a full disk in the middle: nothing is left, and the next call makes all of it."""
    saved, left = Image.Image.save, iter(range(100))

    def save(*args, **options):
        if next(left, None) is None:
            raise error
        return saved(*args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", save)
        with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else DataError):
            shapes.generate(tmp_path, 16, 2, 1)
    assert list(tmp_path.iterdir()) == []
    assert len(files_below(shapes.generate(tmp_path, 16, 2, 1))) == 243


def test_a_home_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be written .*COURSE_HOME"):
        shapes.generate(tmp_path / "file", 16, 1, 1)


def test_it_is_what_a_course_opens_without_being_asked(course):
    bank = open_bank(course)
    assert course.data == "shapes" and bank.classes == list(shapes.CLASSES)
    assert len(bank.train) == 160 and len(bank.heldout) == len(bank.test) == 80
    assert (bank.train.widths == 32).all() and (bank.train.heights == 32).all()
