"""The image bank: the right pixels, decoded once, and never half of them."""

import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from data_sets import answers, png, report_files, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import Resize

from course_lib import DataError, bank, open_bank


@pytest.fixture
def mine(tmp_path):
    """A data set with images of all sizes and modes: the folder it lies in."""
    contents = report_files(train=6, test=4)
    for i, (size, mode) in enumerate([((90, 40), "RGB"), ((40, 90), "L"), ((32, 32), "RGBA"), ((5, 200), "P")]):
        contents[f"train_data/{i}.png"] = png(i, size, mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = write_folder(tmp_path / "mine", contents)
    Image.open(folder / "train_data" / "0.png").save(folder / "train_data" / "4.png", exif=exif)
    return folder


def bank_files(course):
    return sorted(path.name for path in (course.home / "banks").glob("*"))


def as_torchvision(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    return np.array(Resize((32, 32))(image)), image.size


def test_its_pixels_are_those_of_the_reports_resize(course, mine):
    opened = open_bank(replace(course, data=str(mine)))
    for images, part, count in ((opened.train, "train_data", 6), (opened.heldout, "test_data", 4)):
        pixels = images.batch(torch.arange(count))
        assert pixels.shape == (count, 32, 32, 3) and pixels.dtype == torch.uint8 and pixels.is_contiguous()
        for i in range(count):
            expected, size = as_torchvision(mine / part / f"{i}.png")
            assert (pixels[i].numpy() == expected).all()
            assert (images.widths[i], images.heights[i]) == size
        assert images.names == [f"{i}.png" for i in range(count)]
        assert images.labels.tolist() == [i // 2 for i in range(count)]
    assert (opened.train.widths[4], opened.train.heights[4]) == (40, 90)  # upright


def test_images_can_be_picked_and_keep_everything_that_belongs_to_them(course, mine):
    train = open_bank(replace(course, data=str(mine))).train
    picked = train.subset([5, 0, 3])
    assert picked.names == ["5.png", "0.png", "3.png"] and picked.labels.tolist() == [2, 0, 1]
    assert picked.widths.tolist() == [9, 90, 5] and picked.heights.tolist() == [7, 40, 200]
    assert torch.equal(picked.batch(torch.tensor([2, 1])), train.batch(torch.tensor([3, 0])))
    assert len(train.subset([])) == 0


def test_taken_images_are_drawn_without_replacement_from_the_seed_alone(course):
    train = open_bank(course).train
    taken = train.take(50)
    assert len(set(taken.names)) == 50 and taken.names == train.take(50).names != sorted(taken.names)
    assert taken.names != train.take(50, seed=1).names
    assert sorted(train.take(10**6).names) == train.names


@pytest.fixture
def no_decoding(monkeypatch):
    def fail(*args, **options):
        raise AssertionError("an image was decoded")

    monkeypatch.setattr(Image, "open", fail)


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_opened_again_nothing_is_decoded(course, mine, kind, request):
    if kind == "zip":
        data = {path.relative_to(mine).as_posix(): path.read_bytes() for path in mine.rglob("*.*")}
        mine = write_zip(mine.with_suffix(".zip"), data)
    mine = replace(course, data=str(mine))
    first = open_bank(mine)
    assert bank_files(course) == ["mine-32.npy"]
    request.getfixturevalue("no_decoding")
    again = open_bank(mine)
    assert torch.equal(first.train.batch(torch.arange(6)), again.train.batch(torch.arange(6)))
    assert (first.train.names, first.classes, first.split) == (again.train.names, again.classes, again.split)


def test_when_its_source_changes_it_is_built_again(course, mine):
    course = replace(course, data=str(mine))
    open_bank(course)
    image = mine / "train_data" / "1.png"
    image.write_bytes(png(77, (20, 30)))
    assert (open_bank(course).train.batch(torch.tensor([1]))[0].numpy() == as_torchvision(image)[0]).all()
    (mine / "answer.json").write_bytes(answers([(f"{i}.png", 79) for i in range(6)]))
    assert set(open_bank(course).train.labels.tolist()) == {79}
    image.unlink()
    (mine / "answer.json").write_bytes(answers([(f"{i}.png", 3) for i in range(6) if i != 1]))
    assert open_bank(course).train.names == ["0.png", "2.png", "3.png", "4.png", "5.png"]


def test_when_its_archive_changes_it_is_built_again(course, tmp_path):
    path = write_zip(tmp_path / "mine.zip", report_files(train=4))
    course = replace(course, data=str(path))
    open_bank(course)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("test_data/7.png", png(7))
    assert open_bank(course).test.names == ["7.png"]


def test_every_size_has_a_bank_of_its_own(course, mine):
    course = replace(course, data=str(mine))
    open_bank(course)
    larger = open_bank(course.with_settings(size=48))
    assert larger.train.batch(torch.tensor([0])).shape == (1, 48, 48, 3)
    assert bank_files(course) == ["mine-32.npy", "mine-48.npy"]


@settings(max_examples=25)
@given(where=st.floats(0, 1, exclude_max=True), damage=st.sampled_from(["cut off", "zeros at the end", "overwritten"]))
def test_what_was_not_finished_is_never_taken(course, where, damage):
    """However far the writing came: the bank is built again, and is right."""
    opened = open_bank(course)
    expected, names = opened.train.pixels.clone(), opened.train.names  # a copy: the file itself is mapped
    path = course.home / "banks" / bank_files(course)[0]
    data = path.read_bytes()
    kept = int(where * len(data))
    end = {"cut off": b"", "zeros at the end": bytes(len(data) - kept), "overwritten": b"\n{]" * 9}[damage]
    path.unlink()
    path.write_bytes(data[:kept] + end)
    found = open_bank(course)
    assert torch.equal(found.train.pixels, expected) and found.train.names == names


def test_a_bank_of_another_version_is_built_again(course):
    open_bank(course)
    (path,) = (course.home / "banks").iterdir()
    whole = path.read_bytes()
    path.unlink()
    path.write_bytes(whole[:-8] + b"BANK0000")
    open_bank(course)
    assert path.read_bytes() == whole


def test_damage_in_what_stands_behind_the_pixels_is_noticed(course, mine):
    course = replace(course, data=str(mine))
    expected = open_bank(course).train
    path = course.home / "banks" / bank_files(course)[0]
    whole = path.read_bytes()
    for offset in range(-17, -900, -25):
        data = bytearray(whole)
        data[offset] ^= 128  # no byte of JSON in ASCII has this bit
        path.unlink()
        path.write_bytes(data)
        found = open_bank(course).train
        assert found.names == expected.names and found.labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_while_it_is_built_leaves_nothing(course, mine, monkeypatch, error):
    def interrupted(file, name):
        if name.startswith("3.png"):
            raise error
        return Image.new("RGB", (8, 8))

    with monkeypatch.context() as patch:
        patch.setattr(bank, "upright_rgb", interrupted)
        with pytest.raises(error):
            open_bank(replace(course, data=str(mine)))
    assert bank_files(course) == []
    assert len(open_bank(replace(course, data=str(mine))).train) == 6


def test_a_broken_image_is_named_with_path_and_row_and_the_bank_of_before_stays(course, mine):
    course = replace(course, data=str(mine))
    open_bank(course)
    before = (course.home / "banks" / "mine-32.npy").read_bytes()
    (mine / "train_data" / "2.png").write_bytes(b"no image")
    (mine / "test_data" / "0.png").write_bytes(png()[:40])
    with pytest.raises(DataError, match=r"2 of 10 images.*The first: 2.png \(answer.json, row 2\) cannot be decoded"):
        open_bank(course)
    assert bank_files(course) == ["mine-32.npy"]
    assert (course.home / "banks" / "mine-32.npy").read_bytes() == before


def test_an_image_that_cannot_be_read_is_named(course, mine, monkeypatch):
    read_bytes = Path.read_bytes

    def refusing(path):
        if path.name == "3.png":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", refusing)
    with pytest.raises(DataError, match="train_data/3.png .*Permission denied"):
        open_bank(replace(course, data=str(mine)))


def test_a_home_that_cannot_be_written_to_is_said(course, mine):
    course.home.write_text("in the way")
    with pytest.raises(DataError, match="COURSE_HOME"):
        open_bank(replace(course, data=str(mine)))


# --- Training, held-out and test images -----------------------------------------------------------------------------


def unequal(per_class, test=0):
    """A data set of `per_class` images in the classes 0, 1, 2, …, with unlabelled test images."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(per_class)), per_class)).tolist()
    contents = {f"train_data/{i}.png": png(i) for i in range(len(labels))}
    contents["answer.json"] = answers([(f"{i}.png", label) for i, label in enumerate(labels)])
    return contents | {f"test_data/{i}.png": png(5000 + i) for i in range(test)}


def test_labelled_test_images_are_the_held_out_ones(course, mine):
    opened = open_bank(replace(course, data=str(mine)))
    assert opened.heldout.names == opened.test.names == [f"{i}.png" for i in range(4)]
    assert len(opened.train) == 6 and opened.split == "the labelled test images"


@pytest.mark.parametrize("test", [0, 3])
def test_without_them_every_tenth_training_image_of_each_class_is_held_out(course, tmp_path, test):
    folder = write_folder(tmp_path / "mine", unequal([10, 20, 30, 9, 2], test))
    opened = open_bank(replace(course, data=str(folder)))
    train, heldout = set(opened.train.names), set(opened.heldout.names)
    assert np.bincount(opened.heldout.labels).tolist() == [1, 2, 3, 1, 1]
    assert np.bincount(opened.train.labels).tolist() == [9, 18, 27, 8, 1]
    assert not train & heldout and train | heldout == {f"{i}.png" for i in range(71)}
    assert "1 in 10 training images of a class" in opened.split and "seed 0" in opened.split
    if test:
        assert opened.test.names == ["0.png", "1.png", "2.png"] and opened.test.labels.tolist() == [-1] * 3


def test_which_images_are_held_out_depends_on_the_seed_alone(course, tmp_path):
    course = replace(course, data=str(write_folder(tmp_path / "mine", unequal([20, 20, 20]))))
    first = open_bank(course)
    np.random.seed(1), torch.manual_seed(1)
    assert open_bank(course).heldout.names == first.heldout.names
    other = open_bank(course.with_settings(seed=1))
    assert other.heldout.names != first.heldout.names and np.bincount(other.heldout.labels).tolist() == [2, 2, 2]


def test_a_classs_only_image_is_trained_on(course, tmp_path):
    """Else a data set of one image a class has nothing to train on."""
    opened = open_bank(replace(course, data=str(write_folder(tmp_path / "mine", unequal([1, 1, 5])))))
    assert np.bincount(opened.train.labels).tolist() == [1, 1, 4] and opened.heldout.labels.tolist() == [2]


def test_what_a_kill_leaves_of_a_bank_is_not_taken_for_one(course):
    open_bank(course)
    (path,) = (course.home / "banks").iterdir()
    os.rename(path, path.with_name(f".{path.name}.123.building"))
    assert len(open_bank(course).train) == 160
