"""The image bank: the right pixels, decoded once, never half of them, never another data set's."""

import os
import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_sets import SETTINGS, WRITERS, answers, png, report_files, stored, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import Resize

from course_lib.data import bank
from course_lib.data.bank import from_file, open_data
from course_lib.data.published import Source
from course_lib.errors import DataError, DiskError


def with_settings(**changes):
    return SimpleNamespace(**(vars(SETTINGS) | changes))


@pytest.fixture
def mine(tmp_path):
    """The folder of a data set with images of all sizes and modes."""
    contents = report_files(train=6, test=4)
    for i, (size, mode) in enumerate([((90, 40), "RGB"), ((40, 90), "L"), ((32, 32), "RGBA"), ((5, 200), "P")]):
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
    assert found.name == "mine"
    for images, part, count in ((found.train, "train_data", 6), (found.heldout, "test_data", 4)):
        pixels = images.batch(torch.arange(count))
        assert pixels.shape == (count, 32, 32, 3) and pixels.dtype == torch.uint8 and pixels.is_contiguous()
        for i in range(count):
            expected, size = as_torchvision(mine / part / f"{i}.png")
            assert (pixels[i].numpy() == expected).all()
            assert (images.widths[i], images.heights[i]) == size
        assert images.names == [f"{i}.png" for i in range(count)]
        assert images.labels.tolist() == [i // 2 for i in range(count)]
    assert (found.train.widths[4], found.train.heights[4]) == (40, 90)  # upright
    own = from_file(mine / "train_data" / "4.png", 32)
    assert torch.equal(own.batch([0]), found.train.batch([4])) and (own.widths[0], own.heights[0]) == (40, 90)
    assert own.labels.tolist() == [-1] and own.names == ["4.png"] and len(own) == 1


def test_images_can_be_picked_and_keep_all_that_belongs_to_them(opened, mine):
    train = opened(mine).train
    picked = train.subset([5, 0, 3])
    assert picked.names == ["5.png", "0.png", "3.png"] and picked.labels.tolist() == [2, 0, 1]
    assert picked.widths.tolist() == [9, 90, 5] and picked.heights.tolist() == [7, 40, 200]
    assert torch.equal(picked.batch(torch.tensor([2, 1])), train.batch(torch.tensor([3, 0])))
    assert len(train.subset([])) == 0 and train.resident(torch.device("cpu")) is train


def test_taken_images_are_drawn_without_replacement_from_the_seed_alone(opened, mine):
    train = opened(mine).train
    assert len(set(train.take(4).names)) == 4 and train.take(4).names == train.take(4).names
    assert len({tuple(train.take(4, seed).names) for seed in range(9)}) > 4
    assert sorted(train.take(10**6).names) == train.names


@pytest.mark.parametrize("kind", WRITERS)
def test_opened_again_nothing_is_decoded(opened, tmp_path, kind, monkeypatch):
    path = WRITERS[kind](tmp_path / kind, report_files(train=6, test=4))
    first = opened(path)
    monkeypatch.setattr(Image, "open", lambda *args, **options: pytest.fail("an image was decoded"))
    again = opened(path)
    assert torch.equal(first.train.batch(torch.arange(6)), again.train.batch(torch.arange(6)))
    assert (first.train.names, first.classes, first.split, first.digest) == (
        again.train.names, again.classes, again.split, again.digest,
    )  # fmt: skip


def test_if_its_source_changes_it_is_rebuilt(opened, mine, tmp_path):
    digests = [opened(mine).digest]
    image = mine / "train_data" / "1.png"
    image.write_bytes(png(77, (20, 30)))
    assert (opened(mine).train.batch(torch.tensor([1]))[0].numpy() == as_torchvision(image)[0]).all()
    digests.append(opened(mine).digest)
    (mine / "answer.json").write_bytes(answers([(f"{i}.png", 79) for i in range(6)]))
    assert set(opened(mine).train.labels.tolist()) == {79}
    digests.append(opened(mine).digest)
    image.unlink()
    (mine / "answer.json").write_bytes(answers([(f"{i}.png", 3) for i in range(6) if i != 1]))
    assert opened(mine).train.names == ["0.png", "2.png", "3.png", "4.png", "5.png"]
    assert len({*digests, opened(mine).digest}) == 4 and len(bank_files(tmp_path)) == 1


@pytest.mark.parametrize("kind", WRITERS)
def test_the_digest_is_that_of_the_content_wherever_and_however_it_is_kept(tmp_path, kind):
    contents = report_files(train=6, test=4)
    expected = open_data(str(write_folder(tmp_path / "original", contents)), SETTINGS, tmp_path / "here").digest
    (tmp_path / "elsewhere").mkdir()
    path = WRITERS[kind](tmp_path / "elsewhere" / kind, {f"around/{name}": data for name, data in contents.items()})
    assert open_data(str(path), with_settings(size=48, seed=1), tmp_path / "there").digest == expected
    for changed in ({"train_data/0.png": png(99)}, {"answer.json": answers([(f"{i}.png", i // 3) for i in range(6)])}):
        other = write_folder(tmp_path / "other", contents | changed)
        assert open_data(str(other), SETTINGS, tmp_path / "there").digest != expected


def test_sources_of_the_same_name_and_other_sizes_have_banks_of_their_own(opened, tmp_path):
    paths = [tmp_path / "a" / "birds-v1.2.zip", tmp_path / "b" / "birds-v1.2.zip", tmp_path / "b" / "birds-v1.3.zip"]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        write_zip(path, report_files(train=4 + 2 * i))
    names = [opened(path).name for path in paths + paths]
    assert names == 2 * ["birds-v1.2", "birds-v1.2", "birds-v1.3"]
    assert [len(opened(path).train) for path in paths] == [2, 3, 4]
    assert opened(paths[0], size=48).train.batch([0]).shape == (1, 48, 48, 3) and len(bank_files(tmp_path)) == 4


def test_no_path_of_this_machine_is_stored(opened, mine, tmp_path):
    found = opened(mine)
    (path,) = bank_files(tmp_path)
    assert os.fsencode(tmp_path.name) not in path.read_bytes() and tmp_path.name not in str(found.split)


@settings(max_examples=25)
@given(where=st.floats(0, 1, exclude_max=True), damage=st.sampled_from(["cut off", "zeros at the end", "overwritten"]))
def test_what_is_not_whole_is_rebuilt(tmp_path, where, damage):
    source = tmp_path / "mine"
    if not source.exists():
        write_folder(source, report_files(train=6))
    found = open_data(str(source), SETTINGS, tmp_path / "home")
    expected, names = found.train.pixels.clone(), found.train.names  # a copy: the file itself is mapped
    (path,) = bank_files(tmp_path)
    data = path.read_bytes()
    kept = int(where * len(data))
    end = {"cut off": b"", "zeros at the end": bytes(len(data) - kept), "overwritten": b"\n{]" * 9}[damage]
    path.unlink()
    path.write_bytes(data[:kept] + end)
    found = open_data(str(source), SETTINGS, tmp_path / "home")
    assert torch.equal(found.train.pixels, expected) and found.train.names == names


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_while_it_is_built_leaves_nothing(opened, mine, tmp_path, monkeypatch, error):
    def interrupted(file, name):
        if "3.png" in name:
            raise error
        return Image.new("RGB", (8, 8))

    with monkeypatch.context() as patch:
        patch.setattr(bank, "upright_rgb", interrupted)
        with pytest.raises(error):
            opened(mine)
    assert bank_files(tmp_path) == [] and len(opened(mine).train) == 6


@pytest.mark.parametrize("kind", WRITERS)
def test_unreadable_images_are_counted_and_the_first_is_named_with_its_row(opened, tmp_path, kind):
    path = WRITERS[kind](tmp_path / kind, report_files(train=6, test=4))
    opened(path)
    (before,) = bank_files(tmp_path)
    kept = before.read_bytes()
    broken = {"train_data/2.png": b"no image", "test_data/0.png": png()[:40], "test_data/3.png": b""}
    WRITERS[kind](path, report_files(train=6, test=4) | broken)
    with pytest.raises(DataError, match="^3 of 10.*train_data/2.png.*row 2"):
        opened(path)
    assert bank_files(tmp_path) == [before] and before.read_bytes() == kept
    write_folder(tmp_path / "other", report_files(2, 4) | {"test_data/1.png": b""})
    with pytest.raises(DataError, match="^1 of 6.*test_data/1.png.*row 1"):
        opened(tmp_path / "other")


def test_a_disk_that_fills_up_or_refuses_is_said(opened, mine, tmp_path, monkeypatch):
    with monkeypatch.context() as full:
        full.setattr(os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(DiskError, match="No space left"):
            opened(mine)
    assert bank_files(tmp_path) == []
    shutil.rmtree(tmp_path / "home")
    (tmp_path / "home").write_bytes(b"in the way")
    with pytest.raises(DiskError, match="COURSE_HOME"):
        opened(mine)


def test_the_source_is_only_read(opened, mine):
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in mine.rglob("*.*")}
    opened(mine)
    assert before == {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in mine.rglob("*.*")}


def test_memory_stays_flat(tmp_path):
    """A bank of 60 MB, and never more than a few dozen images of it in memory."""
    image = stored(Image.new("RGB", (224, 224)))
    tracemalloc.start()
    rows = [(f"train_data/{i}.png", i % 80) for i in range(400)]
    bank.build_bank(Source(rows, [], [], lambda name: image), 224, tmp_path / "bank.npy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "bank.npy").stat().st_size > 400 * 224 * 224 * 3 and peak < 20_000_000


def test_a_folder_on_drive_is_read_by_many_threads_and_the_reader_told_how_to_pack_it(
    opened, tmp_path, monkeypatch, capsys
):
    folder, threads = write_folder(tmp_path / "MyDrive" / "my birds", report_files(4)), []
    real = bank.ThreadPoolExecutor
    monkeypatch.setattr(bank, "ThreadPoolExecutor", lambda count: threads.append(count) or real(count))
    opened(folder)
    assert threads == [16] and "'my birds.zip'" in capsys.readouterr().out
    opened(folder)
    assert capsys.readouterr().out == "" and os.listdir(tmp_path / "MyDrive") == ["my birds"]


def test_files_that_are_no_images_are_named(opened, tmp_path, capsys):
    opened(write_folder(tmp_path / "mine", report_files(6) | {"train_data/notes.txt": b"x"}))
    assert "train_data/notes.txt" in capsys.readouterr().out


# --- training, held-out and test images -----------------------------------------------------------------------------


def unequal(per_class, test=0):
    """A data set of `per_class` images in the classes 0, 1, 2, …, with unlabelled test images."""
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(per_class)), per_class)).tolist()
    contents = {f"train_data/{i}.png": png(i) for i in range(len(labels))}
    contents["answer.json"] = answers([(f"{i}.png", label) for i, label in enumerate(labels)])
    return contents | {f"test_data/{i}.png": png(5000 + i) for i in range(test)}


def test_labelled_test_images_are_the_held_out_ones(opened, mine):
    found = opened(mine)
    assert found.heldout.names == found.test.names == [f"{i}.png" for i in range(4)] and len(found.train) == 6


@pytest.mark.parametrize("test", [0, 3])
def test_without_them_every_tenth_training_image_of_each_class_is_held_out(opened, tmp_path, test):
    found = opened(write_folder(tmp_path / "mine", unequal([10, 20, 30, 9, 2, 1], test)))
    train, heldout = set(found.train.names), set(found.heldout.names)
    assert np.bincount(found.heldout.labels).tolist() == [1, 2, 3, 1, 1]
    assert np.bincount(found.train.labels).tolist() == [9, 18, 27, 8, 1, 1]  # a class's only image is trained on
    assert not train & heldout and train | heldout == {f"{i}.png" for i in range(72)}
    assert found.test.names == ([f"{i}.png" for i in range(test)] or found.heldout.names)
    assert not test or found.test.labels.tolist() == [-1] * 3


def test_which_images_are_held_out_depends_on_the_seed_alone(opened, tmp_path):
    path = write_folder(tmp_path / "mine", unequal([20, 20, 20]))
    first = opened(path)
    np.random.seed(1), torch.manual_seed(1)
    assert opened(path).heldout.names == first.heldout.names
    other = opened(path, seed=1)
    assert other.heldout.names != first.heldout.names and other.split != first.split


def test_too_few_images_to_hold_any_out_is_said_when_the_data_is_opened(opened, tmp_path):
    with pytest.raises(DataError, match="mine"):
        opened(write_folder(tmp_path / "mine", unequal([1, 1, 1], test=2)))


def test_images_of_the_same_name_in_two_folders_stay_apart(opened, tmp_path):
    names = ["a/1.png", "b/1.png"]
    contents = {f"{part}_data/{name}": png(i) for part in ("train", "test") for i, name in enumerate(names)}
    contents |= {name: answers([(name, 0) for name in names]) for name in ("answer.json", "test_answer.json")}
    found = opened(write_folder(tmp_path / "mine", contents))
    assert found.train.names == found.test.names == names
