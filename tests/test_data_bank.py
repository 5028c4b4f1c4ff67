"""The image bank: the right pixels, decoded once, never half of them, never another data set's."""

import io
import json
import math
import os
import shutil
import tempfile
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_sets import SETTINGS, WRITERS, answers, png, report_files, stored, write_folder, write_zip
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from tiny import noise_images
from torchvision.transforms import Resize

from course_lib.data import bank_file, draws
from course_lib.data.bank import Images, from_file, open_data
from course_lib.data.bank_file import BankDamaged, build_bank, read_bank
from course_lib.data.images import Picture
from course_lib.data.layouts import Source
from course_lib.data.split import held_out, split_training
from course_lib.errors import DataError, DiskError


def with_settings(**changes):
    return SimpleNamespace(**(vars(SETTINGS) | changes))


@pytest.fixture
def mine(tmp_path):
    """The folder of a data set with images of all sizes and modes."""
    contents = report_files(train=6, test=4)
    kinds = [((90, 40), "RGB"), ((40, 90), "L"), ((32, 32), "RGBA"), ((5, 200), "P")]
    for i, (size, mode) in enumerate(kinds):
        contents[f"train_data/{i}.png"] = png(i, size, mode)
    folder = write_folder(tmp_path / "mine", contents)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(folder / "train_data" / "0.png").save(folder / "train_data" / "4.png", exif=exif)
    return folder


@pytest.fixture
def opened(tmp_path):
    """Opens a path with `tmp_path / "home"` as its home."""
    return lambda path, **changes: open_data(str(path), with_settings(**changes), tmp_path / "home")


def bank_files(tmp_path):
    """The names of all files of banks: a .json and a .npy of each."""
    return sorted(path.name for path in (tmp_path / "home" / "banks").glob("*"))


def bank_bytes(tmp_path):
    """{name: bytes} of the same."""
    return {
        name: (tmp_path / "home" / "banks" / name).read_bytes() for name in bank_files(tmp_path)
    }


def damage(path, data):
    """Write other bytes to a bank's file. It's a new file, since the old one may be mapped."""
    path.unlink()
    path.write_bytes(data)


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


def test_a_picture_of_your_own_that_is_no_file_is_a_data_error(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path, tmp_path / "pipe.png", "~nobody-of-this-name/x.png"):
        with pytest.raises(DataError, match=os.path.basename(path)):
            from_file(path, 32)


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
    assert len({*digests, opened(mine).digest}) == 4
    assert len(bank_files(tmp_path)) == 2


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


@pytest.mark.parametrize("which", [".npy", ".json"])
def test_half_a_bank_that_a_killed_process_left_is_deleted(opened, mine, tmp_path, which):
    opened(mine)
    expected = bank_files(tmp_path)
    (whole,) = (name for name in expected if name.endswith(which))
    left = tmp_path / "home" / "banks" / f".{whole}.123.tmp"
    left.write_bytes(b"half")
    os.utime(left, (10**9, 10**9))
    (mine / "train_data" / "1.png").write_bytes(png(77))
    opened(mine)
    assert bank_files(tmp_path) == expected


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
    assert opened(paths[0], size=48).train.batch([0]).shape == (1, 48, 48, 3)
    assert len(bank_files(tmp_path)) == 2 * 4


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
            patch.setattr(bank_file, "read_picture", None)
    for changed in (
        {"train_data/0.png": png(99)},
        {"answer.json": answers([(f"{i}.png", i // 3) for i in range(6)])},
    ):
        other = write_folder(tmp_path / "other", contents | changed)
        assert open_data(str(other), SETTINGS, tmp_path / "there").digest != expected.digest


def test_no_path_of_this_machine_is_stored(opened, mine, tmp_path):
    found = opened(mine)
    assert tmp_path.name not in found.split
    for data in bank_bytes(tmp_path).values():
        assert os.fsencode(tmp_path.name) not in data


def everything(images):
    """All that a bank says about some images, to compare it."""
    return (
        images.batch(torch.arange(len(images))).tolist(),
        images.labels.tolist(),
        images.widths.tolist(),
        images.heights.tolist(),
        images.names,
        images.classes,
    )


def all_of(found):
    parts = [everything(part) for part in (found.train, found.heldout, found.test)]
    return parts, found.classes, found.split, found.digest


@pytest.fixture
def tiny_bank(tmp_path):
    """A bank of six small images: (path of its .npy, its side, its mark)."""
    rows = [(f"train_data/{i}.png", i % 3) for i in range(6)]
    path = tmp_path / "bank.npy"
    classes = ["one", "two", "three"]
    build_bank(
        Source(rows[:4], rows[4:], classes, lambda name: png(int(name[11])), "any"), 4, path, "it"
    )
    return path, 4, "it"


@settings(max_examples=150)
@given(place=st.floats(0, 1, exclude_max=True), change=st.integers(1, 255))
@pytest.mark.parametrize("which", [".npy", ".json"])
def test_no_byte_of_a_bank_can_change_without_being_noticed(tiny_bank, which, place, change):
    """But for JSON's layout and notation, in which the same content may be written differently."""
    path, side, mark = tiny_bank
    pixels, contents = read_bank(path, side, mark)
    before = (pixels.tolist(), contents)
    changed = path.with_suffix(which)
    data = changed.read_bytes()
    at = int(place * len(data))
    damage(changed, data[:at] + bytes([data[at] ^ change]) + data[at + 1 :])
    try:
        pixels, contents = read_bank(path, side, mark)
    except BankDamaged:
        pass
    else:
        assert which == ".json" and (pixels.tolist(), contents) == before
    damage(changed, data)


def test_every_single_bit_of_a_banks_pixels_counts(tiny_bank):
    path, side, mark = tiny_bank
    data = path.read_bytes()
    for at in range(len(data)):
        damage(path, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(BankDamaged):
            read_bank(path, side, mark)


@settings(max_examples=15)
@given(
    which=st.sampled_from([".npy", ".json"]),
    where=st.floats(0, 1, exclude_max=True),
    kind=st.sampled_from(["cut off", "zeros at the end", "overwritten", "longer", "missing"]),
)
def test_what_is_not_whole_is_rebuilt(tmp_path, which, where, kind):
    source = tmp_path / "mine"
    if not source.exists():
        write_folder(source, report_files(train=6))
    expected = all_of(open_data(str(source), SETTINGS, tmp_path / "home"))
    before = bank_bytes(tmp_path)
    (name,) = (name for name in before if name.endswith(which))
    path = tmp_path / "home" / "banks" / name
    data = before[name]
    kept = int(where * len(data))
    ends = {
        "cut off": data[:kept],
        "zeros at the end": data[:kept] + bytes(len(data) - kept),
        "overwritten": data[:kept] + b"\n{]" * 9,
        "longer": data + b"\n{]" * 9,
    }
    if kind == "missing":
        path.unlink()
    else:
        damage(path, ends[kind])
    assert all_of(open_data(str(source), SETTINGS, tmp_path / "home")) == expected
    assert bank_bytes(tmp_path) == before


def test_files_of_two_banks_do_not_become_one(opened, mine, tmp_path):
    """A process was killed after it had written the new pixels, and before the rest."""
    first = all_of(opened(mine))
    before = bank_bytes(tmp_path)
    (mine / "train_data" / "1.png").write_bytes(png(77, (20, 30)))
    second = all_of(opened(mine))
    assert first != second
    (name,) = (name for name in before if name.endswith(".json"))
    damage(tmp_path / "home" / "banks" / name, before[name])
    assert all_of(opened(mine)) == second


def test_a_damaged_bank_is_reported_and_one_that_is_out_of_date_is_not(
    opened, mine, tmp_path, capsys
):
    opened(mine)
    for name in bank_files(tmp_path):
        path = tmp_path / "home" / "banks" / name
        data = path.read_bytes()
        damage(path, data[:-20] + bytes(20))
        capsys.readouterr()
        opened(mine)
        assert str(path) in capsys.readouterr().out
    (mine / "train_data" / "1.png").write_bytes(png(77))
    opened(mine)
    assert "banks" not in capsys.readouterr().out


def test_a_damaged_bank_whose_source_is_gone_is_refused(opened, mine, tmp_path):
    opened(mine)
    shutil.rmtree(mine)
    with pytest.raises(DataError, match="mine"):
        opened(mine)


def test_a_bank_that_cannot_be_read_is_an_error_that_names_it(opened, mine, tmp_path):
    """It isn't damage: decoding everything again wouldn't help."""
    opened(mine)
    (name,) = (name for name in bank_files(tmp_path) if name.endswith(".npy"))
    path = tmp_path / "home" / "banks" / name
    path.unlink()
    path.mkdir()
    with pytest.raises(DiskError, match=name):
        opened(mine)


def test_an_unreadable_image_is_named_with_its_row_and_the_bank_stays(opened, mine, tmp_path):
    opened(mine)
    before = bank_bytes(tmp_path)
    for part, row in (("test", 3), ("train", 2)):
        (mine / f"{part}_data" / f"{row}.png").write_bytes(png()[:40])
        with pytest.raises(DataError, match=f"{part}_data/{row}.png.*row {row}") as error:
            opened(mine)
        assert f"tools.describe {mine}" in str(error.value)
    assert bank_bytes(tmp_path) == before


def test_an_interrupt_while_it_is_built_leaves_nothing(opened, mine, tmp_path, monkeypatch):
    def interrupted(data, name, whites):
        if "3.png" in name:
            raise KeyboardInterrupt
        return Picture(Image.new("RGB", (8, 8)), was_transparent=False, scale=None)

    with monkeypatch.context() as patch:
        patch.setattr(bank_file, "read_picture", interrupted)
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
    rows = [(f"train_data/{i}.bmp", 0) for i in range(400)]
    tracemalloc.start()
    build_bank(Source(rows, [], ["one"], lambda name: image, "any"), 224, tmp_path / "bank.npy")
    read_bank(tmp_path / "bank.npy", 224, "")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "bank.npy").stat().st_size > 400 * 224 * 224 * 3
    assert peak < 20_000_000


def test_what_is_ignored_or_slow_is_said_once(opened, tmp_path, capsys):
    contents = report_files(train=4) | {"train_data/notes.txt": b"x"}
    folder = write_folder(tmp_path / "MyDrive" / "my birds", contents)
    for expected in (True, False):
        opened(folder)
        said = capsys.readouterr().out
        assert expected == ("'notes.txt'" in said) == (str(folder) in said)


@pytest.mark.parametrize("dark", [1, 3])
def test_images_that_would_be_nearly_black_are_refused_or_reported(opened, tmp_path, dark, capsys):
    """12 bits in files of 16. If others of the data set use all 16, they are dark pictures."""
    contents = report_files(train=6)
    for i in range(3):
        white = 4095 if i < dark else 65535
        values = np.roll(np.linspace(0, white, 64), i).astype(np.uint16).reshape(8, 8)
        contents[f"train_data/{i}.png"] = stored(Image.fromarray(values))
    folder = write_folder(tmp_path / "mine", contents)
    if dark == 3:
        with pytest.raises(DataError, match="train_data/0.png.*row 0"):
            opened(folder)
    else:
        opened(folder)
        said = capsys.readouterr().out
        assert "1 of 6" in said and "train_data/0.png" in said


@pytest.mark.parametrize(
    "names",
    [
        ["crane", "crane", "dog"],  # as in ImageNet: a bird and a machine
        ["dog", "crane (2)", "crane", "crane"],
        ["crane", "crane", "crane (1)", "crane (1)"],
        ["class 1", None],
    ],
)
def test_every_class_has_a_name_of_its_own(opened, tmp_path, names):
    """Classes are counted and looked up by their names."""
    labels = []
    for category in range(len(names)):
        labels += [category] * (3 + 2 * category)
    contents = {f"train_data/{i}.png": png(i) for i in range(len(labels))}
    contents["answer.json"] = answers([(f"{i}.png", label) for i, label in enumerate(labels)])
    named = [{"category": i, "name": name} for i, name in enumerate(names) if name]
    contents["classes.json"] = json.dumps(named).encode()
    found = opened(write_folder(tmp_path / "mine", contents))
    assert list(found.counts.values()) == list(Counter(labels).values())
    assert found.classes.index(found.largest_class[0]) == len(names) - 1
    for name, shown in zip(names, found.classes):
        if name and names.count(name) == 1:
            assert shown.startswith(name)


def deep_tiff(top, dtype, shift=0):
    """A grey TIFF (16, 16) with values from 0 to `top`, and how they are arranged."""
    values = np.roll(np.linspace(0, top, 256), shift).astype(dtype).reshape(16, 16)
    return stored(Image.fromarray(values), "TIFF"), values


@settings(max_examples=10, deadline=None)
@given(
    dtype=st.sampled_from([np.int32, np.float32]),
    tops=st.lists(st.integers(1, 65535), min_size=8, max_size=8),
    test_top=st.integers(1, 65535),
)
@example(dtype=np.float32, tops=[500, 400] * 4, test_top=60000)
@example(dtype=np.int32, tops=[1, 200] * 4, test_top=60000)
def test_all_pictures_of_a_data_set_have_the_same_scale(opened, dtype, tops, test_top):
    """Twice the value is twice as bright, whatever the brightest value of each picture is."""
    # All of one class, because nearly black pictures may be the same in 8 bits.
    contents = {"answer.json": answers([(f"{i}.tif", 0) for i in range(8)])}
    contents["test_answer.json"] = answers([("8.tif", 0)])
    expected = {}
    for i, top in enumerate([*tops, test_top]):
        name = f"{i}.tif"
        data, expected[name] = deep_tiff(top, dtype, shift=i)
        contents[f"{'train' if i < 8 else 'test'}_data/{name}"] = data
    largest = max([*tops, test_top])
    white = next(white for white in (1, 255, 65535) if largest <= 2 * white)
    if largest <= white / 4:
        return  # refused: all of them would be nearly black
    with tempfile.TemporaryDirectory() as folder:
        folder = write_folder(Path(folder) / "mine", contents)
        found = opened(folder, size=16)
        for images in (found.train, found.heldout, found.test):
            for position, name in enumerate(images.names):
                pixels = images.batch([position])[0, :, :, 0].numpy()
                scaled = expected[name] * (65535 / 256 / white)
                assert np.array_equal(pixels, scaled.clip(0, 255).astype(np.uint8)), name
        # Your own picture, like those of the data set
        [own] = from_file(folder / "test_data" / "8.tif", 16, found.whites).pixels
        assert torch.equal(own, found.test.batch([found.test.names.index("8.tif")])[0])


def test_the_scale_of_pictures_that_do_not_say_it_is_reported_once(opened, tmp_path, capsys):
    contents = report_files(train=6)
    for i, top in enumerate((700, 60000, 30000)):
        contents[f"train_data/{i}.png"] = deep_tiff(top, np.float32, shift=i)[0]
    folder = write_folder(tmp_path / "mine", contents)
    opened(folder)
    said = capsys.readouterr().out
    assert "3 of 6" in said and "65,535" in said and "train_data/1.png" in said
    opened(folder)
    assert capsys.readouterr().out == ""


def test_transparent_images_are_counted_once(opened, tmp_path, capsys):
    contents = report_files(train=6)
    for i in (1, 4):
        image = Image.new("RGBA", (9, 7), (i, 0, 0, 0))
        image.putpixel((4, 4), (i, 0, 0, 255))
        contents[f"train_data/{i}.png"] = stored(image)
    folder = write_folder(tmp_path / "mine", contents)
    opened(folder)
    said = capsys.readouterr().out
    assert "2 of 6" in said and "train_data/1.png" in said
    opened(folder)
    assert capsys.readouterr().out == ""


# --- the digest of images


def test_the_digest_of_images_is_that_of_what_training_sees(opened, mine):
    """Held in memory or mapped, whole or picked: the same images have the same digest."""
    train = opened(mine).train
    digest = train.content_digest()
    assert digest == opened(mine).train.content_digest()
    assert train.subset(range(6)).content_digest() == digest
    copied = replace(train, pixels=train.batch(torch.arange(6)), rows=torch.arange(6))
    assert copied.content_digest() == digest
    backwards = replace(train, pixels=train.pixels.flip(0), rows=len(train.pixels) - 1 - train.rows)
    assert backwards.content_digest() == digest
    others = [
        train.subset([1, 0, 2, 3, 4, 5]),
        train.subset(range(5)),
        replace(train, pixels=255 - train.pixels),
        replace(train, labels=train.labels.flip(0)),
        replace(train, names=train.names[::-1]),
        replace(train, widths=train.widths + 1),
        replace(train, heights=train.heights[::-1].copy()),
    ]
    digests = {other.content_digest() for other in others}
    assert len({digest} | digests) == len(others) + 1


def test_the_digest_of_images_never_changes():
    """It's kept in runs: another one would lock them out."""
    count = 2500  # more than are hashed at once
    pixels = torch.arange(count * 2 * 2 * 3, dtype=torch.int64).remainder(251).to(torch.uint8)
    images = Images(
        pixels.reshape(count, 2, 2, 3),
        torch.arange(count),
        torch.arange(count) % 7,
        np.arange(count),
        np.arange(count) + 1,
        [f"가{i}\udcff.png" for i in range(count)],
        ["a class"],
    )
    expected = "e415d5d1a733236b8969c9341101b40590334ef10bedc8fe75d755b156ab637a"
    assert images.content_digest() == expected
    assert images.subset([]).content_digest() != expected


# --- training, held-out and test images


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


# --- copies


def with_copies(tmp_path, groups, test=()):
    """A folder of training images. groups: (label, how many copies of one picture) of each.

    test: (number of the group of which it's a copy, or None; label, or −1) of each test image.
    """
    rows = []
    contents = {}
    for number, (label, copies) in enumerate(groups):
        for copy in range(copies):
            name = f"{number}-{copy}.png"
            contents[f"train_data/{name}"] = png(number)
            rows.append((name, label))
    random = np.random.default_rng(len(rows))
    contents["answer.json"] = answers([rows[i] for i in random.permutation(len(rows))])
    labels = []
    for number, (group, label) in enumerate(test):
        contents[f"test_data/{number}.png"] = png(9000 + number if group is None else group)
        if label >= 0:
            labels.append((f"{number}.png", label))
    if labels:
        contents["test_answer.json"] = answers(labels)
    shutil.rmtree(tmp_path / "mine", ignore_errors=True)
    return write_folder(tmp_path / "mine", contents)


def pictures_of(images):
    return {tuple(pixels.flatten().tolist()) for pixels in images.batch(torch.arange(len(images)))}


@settings(max_examples=10)
@given(
    groups=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), min_size=8, max_size=30),
    seed=st.integers(0, 5),
)
def test_no_picture_is_trained_on_and_held_out(tmp_path, groups, seed):
    groups = [*groups, (3, 1), (3, 1)]  # so that one can be held out
    found = open_data(str(with_copies(tmp_path, groups)), with_settings(seed=seed), tmp_path / "h")
    assert not pictures_of(found.train) & pictures_of(found.heldout)
    assert len(found.train) + len(found.heldout) == sum(copies for _, copies in groups)
    for label, pictures in Counter(label for label, _ in groups).items():
        heldout = found.heldout.subset(found.heldout.labels == label)
        expected = 0 if pictures == 1 else math.ceil(pictures / 10)
        assert len(pictures_of(heldout)) == expected


@pytest.mark.parametrize("suffix", ["BMP", "TIFF"])
def test_a_copy_in_another_format_is_a_copy(opened, tmp_path, suffix):
    contents = {}
    rows = []
    for i in range(20):
        image = Image.open(io.BytesIO(png(i)))
        contents |= {f"train_data/{i}.png": stored(image), f"train_data/{i}b.png": png(i)}
        contents[f"train_data/{i}b.png"] = stored(image, suffix)
        rows += [(f"{i}.png", i % 2), (f"{i}b.png", i % 2)]
    found = opened(write_folder(tmp_path / "mine", contents | {"answer.json": answers(rows)}))
    assert len(found.heldout) == 4 and not pictures_of(found.train) & pictures_of(found.heldout)


@pytest.mark.parametrize("in_test", [False, True])
def test_one_picture_with_two_labels_is_an_error_that_names_both_rows(opened, tmp_path, in_test):
    contents = report_files(train=6, test=4)
    second = "test_data/3.png" if in_test else "train_data/4.png"
    contents[second] = contents["train_data/1.png"]  # of class 0; the other one isn't
    with pytest.raises(
        DataError, match=rf"train_data/1.png.*row 1\b.*{second}.*row {second[-5]}\b"
    ):
        opened(write_folder(tmp_path / "mine", contents))
    assert bank_files(tmp_path) == []


def test_a_few_pictures_with_two_labels_in_a_large_data_set_are_reported(opened, tmp_path, capsys):
    """Tiny ImageNet has some. They are trained on, and never held out."""
    groups = [(number % 4, 1) for number in range(1100)]
    folder = with_copies(tmp_path, groups)
    (folder / "train_data" / "1-0.png").write_bytes(png(0))  # 0-0.png is of class 0, this of 1
    for seed in range(4):
        found = opened(folder, seed=seed)
        assert {"0-0.png", "1-0.png"} <= set(found.train.names)
    said = capsys.readouterr().out
    assert said.count("0-0.png") == said.count("1-0.png") == 1 and "1 of 1,100" in said


@pytest.mark.parametrize("labelled", [True, False])
def test_test_images_that_are_training_images_are_counted(opened, tmp_path, labelled, capsys):
    label = 1 if labelled else -1
    test = [(1, label), (None, label), (3, label)]
    found = opened(with_copies(tmp_path, [(number % 2, 1) for number in range(20)], test))
    assert len(found.test) == 3
    assert ("2 of 3" in capsys.readouterr().out) == labelled


def test_without_copies_the_images_held_out_are_those_of_always():
    """Stored results depend on it."""
    labels = np.random.default_rng(5).integers(0, 3, 40)
    train, heldout = split_training(labels, np.arange(40), seed=7)
    assert heldout.tolist() == [11, 14, 20, 25, 31, 37]
    assert sorted([*train, *heldout]) == list(range(40))


@given(st.lists(st.integers(0, 5), max_size=80), st.integers(0, 9))
def test_one_in_ten_of_each_class_is_held_out_but_never_its_only_image(labels, seed):
    labels = np.array(labels, dtype=np.int64)
    drawn = held_out(labels, draws.order(seed, 0, 0, len(labels)))
    assert drawn.dtype == np.int64 and sorted(set(drawn.tolist())) == drawn.tolist()
    for label, count in Counter(labels.tolist()).items():
        expected = 0 if count == 1 else math.ceil(count / 10)
        assert (labels[drawn] == label).sum() == expected


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=6), wanted=st.integers(1, 100))
def test_a_sample_has_of_each_class_its_share_and_at_least_one(counts, wanted):
    labels = np.repeat(range(len(counts)), counts)
    images = replace(noise_images(len(labels), side=8), labels=torch.from_numpy(labels))
    sample = images.sample(wanted, seed=3)
    found = sample.labels.bincount(minlength=len(counts)).tolist()
    for count, of_this_class in zip(counts, found):
        assert of_this_class == max(1, min(count, count * wanted // len(labels)))
    assert len(set(sample.rows.tolist())) == len(sample)
    assert sample.rows.tolist() == images.sample(wanted, seed=3).rows.tolist()
