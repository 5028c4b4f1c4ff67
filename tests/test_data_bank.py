"""The image bank: the right pixels, decoded once, never half of them, never another data set's."""

import os
import shutil
import tracemalloc
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_sets import SETTINGS, WRITERS, answers, png, report_files, stored, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tiny import noise_images
from torchvision.transforms import Resize

from course_lib.data import bank
from course_lib.data.bank import from_file, open_data
from course_lib.data.layouts import Source
from course_lib.errors import DataError, DiskError


def with_settings(**changes):
    return SimpleNamespace(**(vars(SETTINGS) | changes))


@pytest.fixture
def mine(tmp_path):
    """The folder of a data set with images of all sizes and modes."""
    contents = report_files(train=6, test=4)
    for i, (size, mode) in enumerate(
        [((90, 40), "RGB"), ((40, 90), "L"), ((32, 32), "RGBA"), ((5, 200), "P")]
    ):
        contents[f"train_data/{i}.png"] = png(i, size, mode)
    folder, exif = write_folder(tmp_path / "mine", contents), Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "train_data" / "0.png").save(folder / "train_data" / "4.png", exif=exif)
    return folder


@pytest.fixture
def opened(tmp_path):
    """Opens a path with `tmp_path / "home"` as its home."""
    return lambda path, **changes: open_data(str(path), with_settings(**changes), tmp_path / "home")


def bank_files(tmp_path):
    return sorted((tmp_path / "home" / "banks").glob("*"))


def as_torchvision(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.array(Resize((32, 32))(image)), image.size


def test_its_pixels_are_those_of_the_reports_resize(opened, mine):
    found = opened(mine)
    assert found.name == "mine" and found.test.names == found.heldout.names
    for images, part, count in ((found.train, "train_data", 6), (found.heldout, "test_data", 4)):
        pixels = images.batch(torch.arange(count))
        assert (
            pixels.shape == (count, 32, 32, 3)
            and pixels.dtype == torch.uint8
            and pixels.is_contiguous()
        )
        for i in range(count):
            expected, size = as_torchvision(mine / part / f"{i}.png")
            assert (pixels[i].numpy() == expected).all()
            assert (images.widths[i], images.heights[i]) == size
        assert images.names == [f"{i}.png" for i in range(count)]
        assert images.labels.tolist() == [i // 2 for i in range(count)]
    assert (found.train.widths[4], found.train.heights[4]) == (40, 90)  # upright
    own = from_file(mine / "train_data" / "4.png", 32)
    assert torch.equal(own.batch([0]), found.train.batch([4])) and (
        own.widths[0],
        own.heights[0],
    ) == (40, 90)
    assert own.labels.tolist() == [-1] and own.names == ["4.png"] and len(own) == 1


def test_images_can_be_picked_and_keep_all_that_belongs_to_them(opened, mine):
    train = opened(mine).train
    picked = train.subset([5, 0, 3])
    assert picked.names == ["5.png", "0.png", "3.png"] and picked.labels.tolist() == [2, 0, 1]
    assert picked.widths.tolist() == [9, 90, 5] and picked.heights.tolist() == [7, 40, 200]
    assert torch.equal(picked.batch(torch.tensor([2, 1])), train.batch(torch.tensor([3, 0])))
    for mask in (train.labels == 1, (train.labels == 1).numpy(), (train.labels == 1).tolist()):
        assert train.subset(mask).names == ["2.png", "3.png"]  # not the images 0 and 1
    assert len(train.subset([])) == 0 and train.resident(torch.device("cpu")) is train


def test_taken_images_are_drawn_without_replacement_from_the_seed_alone(opened, mine):
    train = opened(mine).train
    assert len(set(train.take(4).names)) == 4 and train.take(4).names == train.take(4).names
    assert len({tuple(train.take(4, seed).names) for seed in range(9)}) > 4
    assert sorted(train.take(10**6).names) == train.names


def test_if_its_source_changes_it_is_rebuilt(opened, mine, tmp_path):
    digests = [opened(mine).digest]
    image = mine / "train_data" / "1.png"
    image.write_bytes(png(77, (20, 30)))
    assert (
        opened(mine).train.batch(torch.tensor([1]))[0].numpy() == as_torchvision(image)[0]
    ).all()
    digests.append(opened(mine).digest)
    (mine / "answer.json").write_bytes(answers([(f"{i}.png", 79) for i in range(6)]))
    assert set(opened(mine).train.labels.tolist()) == {79}
    digests.append(opened(mine).digest)
    image.unlink()
    (mine / "answer.json").write_bytes(answers([(f"{i}.png", 3) for i in range(6) if i != 1]))
    assert opened(mine).train.names == ["0.png", "2.png", "3.png", "4.png", "5.png"]
    assert len({*digests, opened(mine).digest}) == 4 and len(bank_files(tmp_path)) == 1


@pytest.mark.parametrize("kind", ["mine", "mine.tar"])
def test_pixels_replaced_in_a_file_of_the_same_size_and_time_are_noticed(opened, tmp_path, kind):
    path, found = tmp_path / kind, []
    replaced = path / "train_data" / "0.png" if kind == "mine" else path
    for colour in ("red", "blue"):
        contents = {"train_data/0.png": stored(Image.new("RGB", (9, 7), colour), "BMP")}
        WRITERS[kind](path, report_files(train=4) | contents)
        for file in (path, *path.rglob("*")):
            os.utime(file, (10**9, 10**9))
        found.append((replaced.stat().st_size, opened(path).digest))
    assert found[0][0] == found[1][0] and found[0][1] != found[1][1]


def test_half_a_bank_that_a_killed_process_left_is_deleted(opened, mine, tmp_path):
    left = tmp_path / "home" / "banks" / ".mine-32.npy.123.tmp"
    write_folder(left.parent, {left.name: b"half"})
    os.utime(left, (10**9, 10**9))
    opened(mine)
    assert not left.exists() and len(bank_files(tmp_path)) == 1


def test_sources_of_the_same_name_and_other_sizes_have_banks_of_their_own(opened, tmp_path):
    paths = [
        tmp_path / "a" / "birds-v1.2.zip",
        tmp_path / "b" / "birds-v1.2.zip",
        tmp_path / "b" / "birds-v1.3.zip",
    ]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        write_zip(path, report_files(train=4 + 2 * i))
    names = [opened(path).name for path in paths + paths]
    assert names == 2 * ["birds-v1.2", "birds-v1.2", "birds-v1.3"]
    assert [len(opened(path).train) for path in paths] == [2, 3, 4]
    assert (
        opened(paths[0], size=48).train.batch([0]).shape == (1, 48, 48, 3)
        and len(bank_files(tmp_path)) == 4
    )


@pytest.mark.parametrize("kind", WRITERS)
def test_however_it_is_kept_its_digest_is_that_of_the_content_and_it_is_decoded_once(
    tmp_path, kind, monkeypatch
):
    contents = report_files(train=6, test=4)
    expected = open_data(
        str(write_folder(tmp_path / "original", contents)), SETTINGS, tmp_path / "here"
    )
    (tmp_path / "elsewhere").mkdir()
    path = WRITERS[kind](
        tmp_path / "elsewhere" / kind, {f"around/{name}": data for name, data in contents.items()}
    )
    with monkeypatch.context() as patch:
        for _ in range(2):
            found = open_data(str(path), with_settings(seed=1), tmp_path / "there")
            assert (found.digest, found.train.names) == (expected.digest, expected.train.names)
            assert torch.equal(found.train.pixels, expected.train.pixels)
            patch.setattr(bank, "upright_rgb", None)
    for changed in (
        {"train_data/0.png": png(99)},
        {"answer.json": answers([(f"{i}.png", i // 3) for i in range(6)])},
    ):
        other = write_folder(tmp_path / "other", contents | changed)
        assert open_data(str(other), SETTINGS, tmp_path / "there").digest != expected.digest


def test_no_path_of_this_machine_is_stored(opened, mine, tmp_path):
    found = opened(mine)
    (path,) = bank_files(tmp_path)
    assert os.fsencode(tmp_path.name) not in path.read_bytes() and tmp_path.name not in str(
        found.split
    )


@settings(max_examples=15)
@given(
    where=st.floats(0, 1, exclude_max=True),
    damage=st.sampled_from(["cut off", "zeros at the end", "overwritten"]),
)
def test_what_is_not_whole_is_rebuilt(tmp_path, where, damage):
    source = tmp_path / "mine"
    if not source.exists():
        write_folder(source, report_files(train=6))
    found = open_data(str(source), SETTINGS, tmp_path / "home")
    expected, names = (
        found.train.pixels.clone(),
        found.train.names,
    )  # a copy: the file itself is mapped
    (path,) = bank_files(tmp_path)
    data = path.read_bytes()
    kept = int(where * len(data))
    end = {"cut off": b"", "zeros at the end": bytes(len(data) - kept), "overwritten": b"\n{]" * 9}[
        damage
    ]
    path.unlink()
    path.write_bytes(data[:kept] + end)
    found = open_data(str(source), SETTINGS, tmp_path / "home")
    assert torch.equal(found.train.pixels, expected) and found.train.names == names


def test_an_unreadable_image_is_named_with_its_row_and_the_bank_stays(opened, mine, tmp_path):
    opened(mine)
    (before,) = bank_files(tmp_path)
    kept = before.read_bytes()
    for part, row in (("test", 3), ("train", 2)):
        (mine / f"{part}_data" / f"{row}.png").write_bytes(png()[:40])
        with pytest.raises(DataError, match=f"{part}_data/{row}.png.*row {row}"):
            opened(mine)
    assert bank_files(tmp_path) == [before] and before.read_bytes() == kept


def test_an_interrupt_while_it_is_built_leaves_nothing(opened, mine, tmp_path, monkeypatch):
    def interrupted(file, name):
        if "3.png" in name:
            raise KeyboardInterrupt
        return Image.new("RGB", (8, 8))

    with monkeypatch.context() as patch:
        patch.setattr(bank, "upright_rgb", interrupted)
        with pytest.raises(KeyboardInterrupt):
            opened(mine)
    assert bank_files(tmp_path) == [] and len(opened(mine).train) == 6


def test_a_disk_that_fills_up_or_refuses_is_said(opened, mine, tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(
            os,
            "fsync",
            lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")),
        )
        with pytest.raises(DiskError, match="No space left"):
            opened(mine)
    assert bank_files(tmp_path) == []
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").write_bytes(b"in the way")
    with pytest.raises(DiskError, match="COURSE_HOME"):
        opened(mine)


def test_memory_stays_flat(tmp_path):
    """A bank of 60 MB, and never more than a few dozen images of it in memory."""
    image = stored(Image.new("RGB", (224, 224)), "BMP")
    tracemalloc.start()
    rows = [(f"train_data/{i}.bmp", i % 80) for i in range(400)]
    bank.build_bank(Source(rows, [], [], lambda name: image), 224, tmp_path / "bank.npy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "bank.npy").stat().st_size > 400 * 224 * 224 * 3 and peak < 20_000_000


def test_what_is_ignored_or_slow_is_said_once(opened, tmp_path, capsys):
    contents = report_files(train=4) | {"train_data/notes.txt": b"x"}
    folder = write_folder(tmp_path / "MyDrive" / "my birds", contents)
    for expected in (True, False):
        opened(folder)
        said = capsys.readouterr().out
        assert expected == ("train_data/notes.txt" in said) == (str(folder) in said)


# --- training, held-out and test images
# -----------------------------------------------------------------------------


def unequal(per_class, test=0):
    """A data set of `per_class` images in the classes 0, 1, 2, …, with unlabelled test images."""
    labels = (
        np.random.default_rng(0)
        .permutation(np.repeat(np.arange(len(per_class)), per_class))
        .tolist()
    )
    contents = {f"train_data/{i}.png": png(i) for i in range(len(labels))}
    contents["answer.json"] = answers([(f"{i}.png", label) for i, label in enumerate(labels)])
    return contents | {f"test_data/{i}.png": png(5000 + i) for i in range(test)}


@pytest.mark.parametrize("test", [0, 3])
def test_without_them_every_tenth_training_image_of_each_class_is_held_out(opened, tmp_path, test):
    found = opened(write_folder(tmp_path / "mine", unequal([10, 20, 30, 9, 2, 1], test)))
    train, heldout = set(found.train.names), set(found.heldout.names)
    assert np.bincount(found.heldout.labels).tolist() == [1, 2, 3, 1, 1]
    assert np.bincount(found.train.labels).tolist() == [
        9,
        18,
        27,
        8,
        1,
        1,
    ]  # a class's only image is trained on
    assert not train & heldout and train | heldout == {f"{i}.png" for i in range(72)}
    assert found.test.names == ([f"{i}.png" for i in range(test)] or found.heldout.names)
    assert not test or found.test.labels.tolist() == [-1] * 3
    np.random.seed(1), torch.manual_seed(1)
    assert opened(tmp_path / "mine").heldout.names == found.heldout.names
    other = opened(tmp_path / "mine", seed=1)
    assert other.heldout.names != found.heldout.names and other.split != found.split


def test_too_few_images_to_hold_any_out_is_said_when_the_data_is_opened(opened, tmp_path):
    with pytest.raises(DataError, match="mine"):
        opened(write_folder(tmp_path / "mine", unequal([1, 1, 1], test=2)))


def test_images_of_the_same_name_in_two_folders_stay_apart(opened, tmp_path):
    names = ["a/1.png", "b/1.png"]
    contents = {
        f"{part}_data/{name}": png(i) for part in ("train", "test") for i, name in enumerate(names)
    }
    contents |= {
        name: answers([(name, 0) for name in names]) for name in ("answer.json", "test_answer.json")
    }
    found = opened(write_folder(tmp_path / "mine", contents))
    assert found.train.names == found.test.names == names


@given(
    count=st.integers(1, 60),
    first=st.integers(0, 4),
    more=st.integers(0, 4),
    seed=st.integers(0, 9),
)
def test_parts_of_each_class_share_no_image_and_are_the_same_for_a_seed(count, first, more, seed):
    images = noise_images(count)
    ours, others = (
        images.of_each_class(0, first, seed),
        images.of_each_class(first, first + more, seed),
    )
    assert not {*ours.names} & {*others.names}
    for category, there in Counter(images.labels.tolist()).items():
        assert ours.labels.tolist().count(category) == min(first, there)
        assert others.labels.tolist().count(category) == min(more, max(0, there - first))
    assert ours.names == images.of_each_class(0, first, seed).names
