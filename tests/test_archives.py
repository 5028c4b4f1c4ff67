"""One's own data as a folder, .zip, .tar or .tar.gz, here or on Drive, whole or broken."""

import io
import json
import os
import stat
import tarfile
import time
import tracemalloc
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from data_sets import answers, png, report_files, write_folder, write_tar, write_zip
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from course_lib import MyDataset, archives, bank, files, open_bank, open_course, workspace
from course_lib.datasets import read_answer, upright_rgb
from course_lib.errors import CourseError, DataError
from course_lib.sources import open_source

WRITERS = {
    "folder": write_folder,
    "data.zip": write_zip,
    "data.tar": write_tar,
    "data.tar.gz": lambda path, contents: write_tar(path, contents, "w:gz"),
}


@pytest.fixture
def course_for(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COURSE_PRESET", "smoke")
    return lambda path: open_course(str(path))


def everything_of(source):
    rows = [(row.path, row.category, source.read(row.path)) for row in source.train + source.test]
    source.close()
    return rows


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("enclosing", ["", "my data/", "./"])
def test_every_way_to_hold_a_data_set_holds_the_same(tmp_path, kind, enclosing):
    contents = report_files(train=6, test=4)
    odd = {
        ".DS_Store": b"x",
        "__MACOSX/._answer.json": b"x",
        "train_data/.DS_Store": b"x",
        "train_data/Thumbs.db": b"x",
        "test_data/desktop.ini": b"x",
        "readme.txt": b"x",
    }
    stored = {enclosing + name: data for name, data in (odd | contents).items()}
    source = open_source(WRITERS[kind](tmp_path / kind, stored))
    assert len(source.train) == 6 and len(source.test) == 4 and source.skipped == []
    assert everything_of(source) == [
        (f"{part}_data/{i}.png", i // 2, contents[f"{part}_data/{i}.png"])
        for part, count in (("train", 6), ("test", 4))
        for i in range(count)
    ]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("in_answer, in_archive", [("NFC", "NFD"), ("NFD", "NFC")])
def test_korean_names_match_in_either_spelling(tmp_path, kind, in_answer, in_archive):
    name = "고양이 1.png"
    contents = {
        "answer.json": answers([(unicodedata.normalize(in_answer, name), 3)]),
        unicodedata.normalize(in_archive, f"train_data/{name}"): png(),
    }
    source = open_source(WRITERS[kind](tmp_path / kind, contents))
    assert source.read(source.train[0].path) == png()


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_a_zip_that_does_not_say_how_its_names_are_spelled(tmp_path, encoding):
    """Finder on a Mac writes UTF-8 and Explorer on a Korean Windows writes CP949, both without the flag for it."""
    raw = "train_data/고양이.png".encode(encoding)
    held = b"train_data/" + b"x" * (len(raw) - 11)
    path = write_zip(tmp_path / "data.zip", {"answer.json": answers([("고양이.png", 3)]), held.decode(): png()})
    path.write_bytes(path.read_bytes().replace(held, raw))
    assert open_source(path).train[0].path == "train_data/고양이.png"


def test_backslashes_of_windows_are_slashes(tmp_path):
    contents = {name.replace("/", "\\"): data for name, data in report_files(train=2).items()}
    assert len(open_source(write_zip(tmp_path / "data.zip", contents)).train) == 2


@pytest.mark.parametrize("in_answer, on_disk", [("NFC", "NFD"), ("NFD", "NFC")])
def test_the_reports_own_class_finds_korean_names_in_either_spelling(tmp_path, in_answer, on_disk):
    name = "고양이.png"
    contents = {
        "answer.json": answers([(unicodedata.normalize(in_answer, name), 3)]),
        unicodedata.normalize(on_disk, name): png(),
    }
    folder = write_folder(tmp_path, contents)
    image, label = MyDataset(folder / "answer.json", folder)[0]
    assert tuple(image.shape) == (3, 7, 9) and label == 3


def test_one_name_in_two_spellings_has_a_row_already():
    rows = [(unicodedata.normalize(form, "고.png"), 3) for form in ("NFC", "NFD")]
    with pytest.raises(DataError, match="row 1: 고.png has a row already"):
        read_answer(answers(rows))


def test_a_palette_with_transparency_is_read_without_a_warning(recwarn):
    file = io.BytesIO()
    Image.open(io.BytesIO(png())).convert("P").save(file, "PNG", transparency=bytes([0, 100] + [255] * 254))
    assert upright_rgb(file, "x").mode == "RGB" and not recwarn.list


# ---- what leaves the folder


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz"])
@pytest.mark.parametrize("name", ["../escaped.png", "train_data/../../escaped.png", "/escaped.png", "C:/escaped.png"])
def test_names_that_leave_the_folder_are_refused(tmp_path, kind, name):
    path = WRITERS[kind](tmp_path / kind, report_files(train=2) | {name: png()})
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DataError, match="leads out of the data folder"):
        open_source(path)
    assert sorted(os.listdir(tmp_path)) == before and not (tmp_path.parent / "escaped.png").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    path = write_tar(tmp_path / "data.tar", report_files(train=2))
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("train_data/link.png")
        info.type, info.linkname = kind, "/etc/hostname"
        archive.addfile(info)
    with pytest.raises(DataError, match="is a link or no plain file"):
        open_source(path)


def test_links_in_a_zip_are_refused(tmp_path):
    path = write_zip(tmp_path / "data.zip", report_files(train=2))
    with zipfile.ZipFile(path, "a") as archive:
        info = zipfile.ZipInfo("train_data/link.png")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/hostname")
    with pytest.raises(DataError, match="is a link or no plain file"):
        open_source(path)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_that_leave_a_folder_are_refused(tmp_path, what):
    folder, outside = write_folder(tmp_path / "data", report_files(train=2)), tmp_path / "outside"
    write_folder(outside, {"secret.png": png()})
    (folder / "train_data" / "link.png").symlink_to(outside / "secret.png" if what == "file" else outside)
    with pytest.raises(DataError, match="leads out of the data folder"):
        open_source(folder)


# ---- bombs


def test_a_file_that_unpacks_to_far_more_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE", 1_000_000)
    path = write_zip(tmp_path / "data.zip", {"train_data/0.png": png()})
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("answer.json", b" " * 5_000_000)
    with pytest.raises(DataError, match="bomb"):
        open_source(path)


def test_a_tar_gz_that_unpacks_to_far_more_is_given_up_on(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_UNPACKED", 1_000_000)
    contents = report_files(train=2) | {"zeros": bytes(30_000_000)}
    path = WRITERS["data.tar.gz"](tmp_path / "data.tar.gz", contents)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(DataError, match="bomb"):
        open_source(path, scratch=scratch)
    assert os.listdir(scratch) == []


def test_an_image_bomb_is_named_and_not_decoded(tmp_path, course_for):
    file = io.BytesIO()
    Image.new("1", (20_000, 10_000)).save(file, "PNG")
    contents = report_files(train=4) | {"train_data/2.png": file.getvalue()}
    with pytest.raises(DataError, match=r"2.png \(answer.json, row 2\)"):
        open_bank(course_for(write_zip(tmp_path / "data.zip", contents)))


# ---- broken archives


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz"])
@given(share=st.floats(0, 0.999))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_archive_cut_short_is_noticed(tmp_path, kind, share):
    whole = WRITERS[kind](tmp_path / kind, report_files(train=6)).read_bytes()
    # A tar ends with blocks of zeros; losing some of these loses nothing.
    short = whole[: int(share * (len(whole.rstrip(b"\0")) if kind == "data.tar" else len(whole)))]
    (tmp_path / kind).write_bytes(short)
    with pytest.raises(DataError):
        everything_of(open_source(tmp_path / kind))


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz"])
@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_fuzzed_archives_raise_named_errors_only(tmp_path, kind, data):
    body = bytearray(WRITERS[kind](tmp_path / kind, report_files(train=3)).read_bytes())
    for _ in range(data.draw(st.integers(1, 12))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / kind).write_bytes(bytes(body))
    try:
        everything_of(open_source(tmp_path / kind))
    except CourseError:
        pass


@given(start=st.sampled_from([b"", b"PK", b"PK\5\6", b"\x1f\x8b", b"\x1f\x8b\x08"]), rest=st.binary(max_size=700))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_arbitrary_bytes_raise_named_errors_only(tmp_path, start, rest):
    (tmp_path / "data.zip").write_bytes(start + rest)
    with pytest.raises(CourseError):
        open_source(tmp_path / "data.zip")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 90) | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["annotations", "file_name", "category", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


annotations = st.lists(json_values, max_size=3).map(lambda rows: {"annotations": rows})


@given(answer=json_values | annotations, which=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_fuzzed_answers_raise_named_errors_only(tmp_path, answer, which):
    name = "answer.json" if which else "test_answer.json"
    path = write_zip(tmp_path / "data.zip", report_files(train=2, test=2) | {name: json.dumps(answer).encode()})
    with pytest.raises(CourseError, match=name):
        open_source(path)


@given(text=st.binary(max_size=60) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_fuzzed_class_names_raise_named_errors_only(tmp_path, text):
    path = write_zip(tmp_path / "data.zip", report_files(train=2) | {"classes.json": text})
    try:
        assert len(open_source(path).classes) == 80
    except CourseError:
        pass


@pytest.mark.parametrize("kind", ["data.zip", "data.tar"])
def test_the_same_name_twice_is_refused(tmp_path, kind):
    path = WRITERS[kind](tmp_path / kind, report_files(train=2))
    with pytest.warns(UserWarning) if kind == "data.zip" else open(os.devnull):
        with zipfile.ZipFile(path, "a") if kind == "data.zip" else tarfile.open(path, "a") as archive:
            if kind == "data.zip":
                archive.writestr("train_data/0.png", png(5))
            else:
                archive.addfile(tarfile.TarInfo("train_data/0.png"), io.BytesIO())
    with pytest.raises(DataError, match="train_data/0.png twice"):
        open_source(path)


# ---- Drive


@pytest.fixture
def drive(tmp_path, monkeypatch):
    """A folder that counts as Drive, and the list of the files that are opened on it."""
    folder = tmp_path / "MyDrive"
    folder.mkdir()
    opened = []

    def watched(path, *args, **kwargs):
        if str(path).startswith(str(folder)):
            opened.append(os.path.basename(path))
        return open(path, *args, **kwargs)

    monkeypatch.setattr(archives, "open", watched, raising=False)
    return folder, opened


def test_drive_is_recognised(tmp_path):
    assert workspace.on_drive(tmp_path / "drive" / "MyDrive" / "data.zip")
    assert workspace.on_drive(tmp_path / "Google Drive" / "My Drive")
    assert not workspace.on_drive(tmp_path / "my drives")


@pytest.mark.parametrize("kind", ["data.zip", "data.tar", "data.tar.gz"])
def test_an_archive_on_drive_is_read_once_and_its_copy_removed(drive, course_for, kind, tmp_path):
    folder, opened = drive
    WRITERS[kind](folder / kind, report_files(train=40))
    course = course_for(folder / kind)
    assert len(open_bank(course).train) == 20  # two images a class, of which one is held out
    assert opened == [kind]
    assert os.listdir(folder) == [kind]
    assert [file.name for file in (tmp_path / "home").rglob("*") if file.is_file()] == ["data-32.npy"]
    open_bank(course)
    assert opened == [kind]  # the second time nothing is read from Drive


def test_the_copy_is_made_under_no_name_beside_the_bank(drive, course_for, monkeypatch, tmp_path):
    folder, _ = drive
    write_zip(folder / "data.zip", report_files(train=4))
    seen = []

    def watching(source, *args):
        seen.extend(file.name for file in (tmp_path / "home").rglob("*"))
        raise DataError("stop")

    monkeypatch.setattr(bank, "build_bank", watching)
    with pytest.raises(DataError, match="stop"):
        open_bank(course_for(folder / "data.zip"))
    assert seen == ["banks"]


def test_a_copy_that_does_not_fit_is_said(drive, course_for, monkeypatch):
    folder, _ = drive
    write_zip(folder / "data.zip", report_files(train=4))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
    with pytest.raises(DataError, match="no space for a local copy of data.zip"):
        open_bank(course_for(folder / "data.zip"))


def test_with_results_on_drive_the_bank_and_the_generated_pictures_are_local(drive, monkeypatch, tmp_path):
    folder, _ = drive
    monkeypatch.setattr(workspace, "REPOSITORY", tmp_path / "repository")
    monkeypatch.setenv("COURSE_HOME", str(folder / "runs"))
    monkeypatch.setenv("COURSE_PRESET", "smoke")
    open_bank(open_course("shapes"))
    assert not [file for file in folder.rglob("*") if file.is_file()]
    assert sorted(os.listdir(tmp_path / "repository" / "runs")) == ["banks", "data"]


@pytest.fixture
def small_files(drive, monkeypatch):
    monkeypatch.setattr(archives, "MANY", 20)
    folder, _ = drive
    return write_folder(folder / "mine", report_files(train=40))


def test_a_folder_of_many_files_on_drive_becomes_one_archive_for_next_time(drive, small_files, course_for, capsys):
    folder, opened = drive
    course = course_for(small_files)
    first = open_bank(course)
    said = capsys.readouterr()
    assert "41 files on Google Drive" in said.out and "mine.packed.zip" in said.out
    assert "packing mine" in said.err  # a bar with an estimate
    assert sorted(os.listdir(folder)) == ["mine", "mine.packed.zip"]

    (course.home / "banks" / "mine-32.npy").unlink()  # a new runtime: the local disk is empty
    opened.clear()
    for image in (small_files / "train_data").iterdir():
        image.write_bytes(b"must not be read one by one")
    second = open_bank(course)
    assert opened == ["mine.packed.zip"]
    assert second.train.names == first.train.names
    assert (second.train.batch(range(20)) == first.train.batch(range(20))).all()


def test_a_folder_whose_answers_are_newer_is_packed_again(drive, small_files, course_for):
    course = course_for(small_files)
    open_bank(course)
    fewer = report_files(train=38)
    for gone in ("38", "39"):
        (small_files / "train_data" / f"{gone}.png").unlink()
    (small_files / "answer.json").write_bytes(fewer["answer.json"])
    later = time.time() + 100
    os.utime(small_files / "answer.json", (later, later))
    assert len(open_bank(course).train) == 19


def test_a_drive_that_refuses_the_archive_is_said_and_the_folder_read(small_files, course_for, monkeypatch, capsys):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(archives, "replacing", full)
    assert len(open_bank(course_for(small_files)).train) == 20
    assert "mine.packed.zip cannot be written" in capsys.readouterr().out


def test_nothing_is_packed_off_drive_or_for_a_few_files(tmp_path, drive, course_for, monkeypatch):
    folder, _ = drive
    open_bank(course_for(write_folder(folder / "few", report_files(train=4))))
    monkeypatch.setattr(archives, "MANY", 2)
    open_bank(course_for(write_folder(tmp_path / "local", report_files(train=4))))
    assert not list(tmp_path.rglob("*.packed.zip"))


# ---- what a bank says of the images


def test_unreadable_images_are_counted_named_and_left_out_on_request(tmp_path, course_for, capsys):
    contents = report_files(train=8, test=4)
    contents |= {"train_data/3.png": png(3)[:60], "train_data/6.png": b"", "test_data/1.png": b"no image"}
    course = course_for(write_zip(tmp_path / "data.zip", contents))
    with pytest.raises(DataError, match=r"3 of 12 images cannot be used. The first: 3.png \(answer.json, row 3\)"):
        open_bank(course)
    assert not list((tmp_path / "home").rglob("*.npy"))
    bank = open_bank(course, skip_unreadable=True)
    assert bank.train.names == ["0.png", "1.png", "2.png", "4.png", "5.png", "7.png"]
    assert bank.heldout.names == ["0.png", "2.png", "3.png"] and len(bank.heldout.widths) == 3
    assert bank.train.labels.tolist() == [0, 0, 1, 2, 2, 3]
    capsys.readouterr()
    open_bank(course)  # the other notebooks need not ask again, and say it too
    assert "without 3 images" in capsys.readouterr().out


def test_where_no_image_can_be_read_there_is_no_bank(tmp_path, course_for):
    contents = {name: data if name.endswith("json") else b"" for name, data in report_files(train=2).items()}
    with pytest.raises(DataError, match="2 of 2"):
        open_bank(course_for(write_zip(tmp_path / "data.zip", contents)), skip_unreadable=True)


def test_empty_classes_and_other_files_are_said(tmp_path, course_for, capsys):
    contents = report_files(train=6) | {"train_data/notes.txt": b"x"}
    open_bank(course_for(write_zip(tmp_path / "data.zip", contents)))
    said = capsys.readouterr().out
    assert "77 of 80 classes have no training images: 3, 4," in said and "train_data/notes.txt" in said


def test_a_full_disk_is_said_and_the_old_bank_stays(tmp_path, course_for, monkeypatch):
    course = course_for(write_zip(tmp_path / "data.zip", report_files(train=6)))
    open_bank(course)
    kept = (tmp_path / "home" / "banks" / "data-32.npy").read_bytes()
    write_zip(tmp_path / "data.zip", report_files(train=8))  # a changed source
    with monkeypatch.context() as full:
        full.setattr(files.os, "fsync", lambda number: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(DataError, match="No space left"):
            open_bank(course)
    with monkeypatch.context() as full:
        full.setattr(files.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 100}))
        with pytest.raises(DataError, match="no space for the bank"):
            open_bank(course)
    assert [file.name for file in (tmp_path / "home" / "banks").iterdir()] == ["data-32.npy"]
    assert (tmp_path / "home" / "banks" / "data-32.npy").read_bytes() == kept
    assert len(open_bank(course).train) == 4


def test_a_bank_is_built_in_flat_memory(tmp_path):
    """A bank of 60 MB, and never more than a few dozen images of it in memory."""
    contents = {name: data for name, data in report_files(train=400).items() if name != "answer.json"}
    contents["answer.json"] = answers([(f"{i}.png", i % 80) for i in range(400)])
    source = open_source(write_zip(tmp_path / "data.zip", contents))
    tracemalloc.start()
    bank.build_bank(source, 224, tmp_path / "bank.npy")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "bank.npy").stat().st_size > 400 * 224 * 224 * 3
    assert peak < 20_000_000


def test_decoding_keeps_a_few_images_ahead_of_the_writer():
    taken = []
    with ThreadPoolExecutor(2) as pool:
        results = files.in_order(pool, lambda item: item * 2, (taken.append(i) or i for i in range(100)), ahead=10)
        assert next(results) == 0 and len(taken) == 10  # the hundredth has to wait
        assert list(results) == [2 * i for i in range(1, 100)]


def test_the_heldout_share_is_balanced_fixed_by_the_seed_and_said(tmp_path, course_for, monkeypatch):
    contents = {f"train_data/{i}.png": png(i) for i in range(61)}
    contents["answer.json"] = answers([(f"{i}.png", 0 if i < 40 else 1 if i < 60 else 2) for i in range(61)])
    course = course_for(write_zip(tmp_path / "data.zip", contents))
    first, again = open_bank(course), open_bank(course)
    assert first.heldout.labels.bincount().tolist() == [4, 2]  # class 2 has one image only, to be trained on
    assert not set(first.heldout.names) & set(first.train.names) and len(first.train) == 55
    assert first.heldout.names == again.heldout.names and first.test.names == first.heldout.names
    assert "1 in 10 training images of a class" in first.split and "seed 0" in first.split
    assert open_bank(course.with_settings(seed=1)).heldout.names != first.heldout.names
