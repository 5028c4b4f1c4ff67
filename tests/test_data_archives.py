"""A data set as a folder, .zip, .tar or .tar.gz, here or on Drive, whole or broken: the same rows,
or a DataError."""

import gzip
import io
import json
import random
import stat
import sys
import tarfile
import unicodedata
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from data_sets import (
    ARCHIVES,
    WRITERS,
    answers,
    png,
    report_files,
    write_folder,
    write_tar,
    write_zip,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib.data import archives
from course_lib.data.layouts import read_source
from course_lib.errors import CourseError, DataError

CLUTTER = {
    ".DS_Store": b"x",
    "__MACOSX/._answer.json": b"x",
    "__MACOSX/train_data/._0.png": b"x",
    "train_data/.DS_Store": b"x",
    "train_data/Thumbs.db": b"x",
    "test_data/desktop.ini": b"x",
    "train_data/0.png:Zone.Identifier": b"x",
    "readme.txt": b"x",
}
WHOLE = report_files(train=4, test=2)


@contextmanager
def opened(path):
    with archives.Files(path) as files:
        yield read_source(files)


def everything_in(path):
    with opened(path) as source:
        return [
            [(name, label, source.read(name)) for name, label in rows]
            for rows in (source.train, source.test)
        ]


@pytest.fixture(params=WRITERS)
def write(tmp_path, request):
    """Writes {path: bytes} on Drive, in one of the four ways; returns where."""
    (tmp_path / "MyDrive").mkdir()
    return lambda contents: WRITERS[request.param](tmp_path / "MyDrive" / request.param, contents)


@pytest.fixture(params=ARCHIVES)
def pack(tmp_path, request):
    return lambda contents: ARCHIVES[request.param](tmp_path / request.param, contents)


@pytest.mark.parametrize("enclosing", ["", "my data/", "./"])
def test_every_way_to_hold_a_data_set_holds_the_same(tmp_path, write, enclosing):
    contents = report_files(train=6, test=4)
    path = write({enclosing + name: data for name, data in (CLUTTER | contents).items()})
    assert everything_in(path) == [
        [(f"{part}_data/{i}.png", i // 2, contents[f"{part}_data/{i}.png"]) for i in range(count)]
        for part, count in (("train", 6), ("test", 4))
    ]
    with opened(path) as source:
        assert source.skipped == () and source.classes == [f"class {i}" for i in range(80)]


def test_rows_keep_their_order_images_their_folders_and_names_match_in_either_spelling(write):
    """Without answers, test images come in natural order and have no class."""
    nfc, nfd = (unicodedata.normalize(form, "고양이 1.png") for form in ("NFC", "NFD"))
    named = json.dumps(
        [{"category": 1, "name": nfc}, {"category": 79, "name": "dog"}], ensure_ascii=False
    )
    contents = {f"test_data/{i}.png": png(i) for i in range(11)}
    contents |= {
        "test_data/a.txt": b"",
        "train_data/.0.png": b"",
        "test_data/.ipynb_checkpoints/0.png": png(),
    }
    contents |= {
        f"train_data/{nfd}": png(1),
        f"train_data/dogs/{nfc}": png(2),
        "classes.json": named.encode(),
    }
    contents["answer.json"] = answers([(f"dogs/{nfd}", 79), (nfc, 0)])
    path = write(contents)
    train, test = everything_in(path)
    assert train == [(f"train_data/dogs/{nfc}", 79, png(2)), (f"train_data/{nfc}", 0, png(1))]
    assert test == [(f"test_data/{i}.png", -1, png(i)) for i in range(11)]
    with opened(path) as source:
        assert sorted(source.skipped) == [
            "test_data/.ipynb_checkpoints/0.png",
            "test_data/a.txt",
            "train_data/.0.png",
        ]
        assert source.classes[:3] == ["class 0", nfc, "class 2"] and source.classes[79:] == ["dog"]


def test_what_tar_on_a_mac_adds_for_each_file_and_folder_is_left_out(write):
    contents = {f"mine/{name}": data for name, data in WHOLE.items()}
    path = write(
        {"._mine": b"x", "mine/train_data/._0.png": b"x", "mine/._answer.json": b"x"} | contents
    )
    assert [[name for name, _, _ in rows] for rows in everything_in(path)] == [
        [f"{part}_data/{i}.png" for i in range(count)]
        for part, count in (("train", 4), ("test", 2))
    ]
    with opened(path) as source:
        assert source.skipped == ()


def without(contents, *names):
    return {name: data for name, data in contents.items() if name not in names}


@pytest.mark.parametrize(
    "contents, named",
    [
        (without(WHOLE, "answer.json"), "answer.json"),
        ({"readme.txt": b"x"}, "answer.json.*readme.txt"),
        ({}, "answer.json"),
        ({"answer.json": b"{"}, "answer.json"),
        ({"answer.json": answers([("0.png", 80)])}, "answer.json, row 0:.* 80"),
        (
            without(report_files(6), "train_data/2.png", "train_data/5.png"),
            "answer.json, row 2:.* train_data/2.png .*2",
        ),
        (
            WHOLE | {"train_data/8.png": png(), "train_data/10.png": png()},
            "train_data/8.png .*answer.json .*2",
        ),
        (
            without(report_files(4, 4), "test_data/3.png"),
            "test_answer.json, row 3:.* test_data/3.png",
        ),
        (report_files(4, 4) | {"test_data/9.png": png()}, "test_data/9.png .*test_answer.json"),
        (WHOLE | {"test_answer.json": b"[]"}, "test_answer.json"),
        *(
            (WHOLE | {"classes.json": text}, "classes.json")
            for text in (b"{", b'{"0": "cat"}', b"[3]")
        ),
        *(
            (
                WHOLE
                | {"classes.json": json.dumps([{"category": category, "name": "cat"}]).encode()},
                "classes.json",
            )
            for category in (
                80,
                -1,
                "0",
            )  # the other names would be those of their neighbours, or none
        ),
    ],
)
def test_what_does_not_fit_together_is_named_with_file_and_row(write, contents, named):
    if not contents:
        contents = {"empty/.DS_Store": b""}
    with pytest.raises(DataError, match=named), opened(write(contents)):
        pass


# --- names
# ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "cp949"])
def test_a_zip_that_does_not_say_how_its_names_are_encoded(tmp_path, encoding):
    """Finder on a Mac writes UTF-8 and Explorer on a Korean Windows writes CP949, both without the
    flag for it."""
    raw = "train_data/고양이.png".encode(encoding)
    held = b"train_data/" + b"x" * (len(raw) - 11)
    path = write_zip(
        tmp_path / "mine.zip", {"answer.json": answers([("고양이.png", 3)]), held.decode(): png()}
    )
    path.write_bytes(path.read_bytes().replace(held, raw))
    assert everything_in(path)[0] == [("train_data/고양이.png", 3, png())]


@pytest.mark.parametrize(
    "name", ["../escaped.png", "train_data/../../escaped.png", "/escaped.png", "C:/escaped.png"]
)
def test_names_that_leave_the_folder_are_refused(tmp_path, pack, name):
    path = pack(WHOLE | {name: png()})
    with pytest.raises(DataError, match="escaped.png"), opened(path):
        pass
    assert not list(tmp_path.parent.rglob("escaped.png"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE]
)
def test_links_devices_and_a_name_held_twice_are_refused_in_a_tar(tmp_path, kind):
    name = "train_data/0.png" if kind == tarfile.REGTYPE else "train_data/link.txt"
    path, info = write_tar(tmp_path / "mine.tar", WHOLE), tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/hostname"
    with tarfile.open(path, "a") as archive:
        archive.addfile(info, io.BytesIO())
    with pytest.raises(DataError, match=name), opened(path):
        pass


def test_a_file_with_holes_is_refused_in_a_tar(tmp_path):
    """Its bytes aren't stored as they are."""
    path = write_tar(tmp_path / "mine.tar", without(WHOLE, "train_data/0.png"))
    info = tarfile.TarInfo("train_data/0.png")
    info.size, info.pax_headers = (
        len(png()),
        {"GNU.sparse.map": f"0,{len(png())}", "GNU.sparse.size": "9999"},
    )
    with tarfile.open(path, "a") as archive:
        archive.addfile(info, io.BytesIO(png()))
    with pytest.raises(DataError, match="train_data/0.png"), opened(path):
        pass


@pytest.mark.parametrize("name", ["train_data/0.png", "train_data/link.txt"])
def test_links_and_a_name_held_twice_are_refused_in_a_zip(tmp_path, name):
    path, info = write_zip(tmp_path / "mine.zip", WHOLE), zipfile.ZipInfo(name)
    if "link" in name:
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/hostname")
    with pytest.raises(DataError, match=name), opened(path):
        pass


@pytest.mark.parametrize("what", ["secret.png", ""])
def test_links_in_a_folder_are_refused(tmp_path, what):
    folder, outside = (
        write_folder(tmp_path / "mine", WHOLE),
        write_folder(tmp_path / "out", {"secret.png": png()}),
    )
    (folder / "train_data" / "link.txt").symlink_to(outside / what)
    with pytest.raises(DataError, match="link.txt"), opened(folder):
        pass


# --- damage
# -----------------------------------------------------------------------------------------------------------


def test_a_file_that_is_far_too_large_is_not_read(write, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE", 100_000)
    path = write(WHOLE | {"train_data/0.png": random.Random(0).randbytes(200_000)})
    with pytest.raises(DataError, match="train_data/0.png"):
        everything_in(path)


@pytest.mark.parametrize(
    "damage", ["cut after a member", "damaged header", "second tar", "half an end"]
)
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_is_read_whole_or_not_at_all(tmp_path, damage, mode):
    """tarfile itself stops without a word, and the rest of the images would be missing or, with no
    row, unnoticed."""
    path = write_tar(tmp_path / "mine.tar", WHOLE | {"test_data/spare.txt": b"x"})
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1].offset
    body = bytearray(path.read_bytes())
    if damage == "damaged header":
        body[last + 3] ^= 255
    body = {
        "cut after a member": body[:last],
        "damaged header": body,
        "second tar": body + body,
        "half an end": body[: last + 1024 + 256],
    }[damage]
    if mode == "w:gz":
        body = gzip.compress(body)
    path.write_bytes(body)
    with pytest.raises(DataError, match="mine.tar"):
        everything_in(path)


@settings(max_examples=40)
@given(share=st.floats(0, 0.999))
def test_an_archive_cut_short_is_refused(tmp_path, pack, share):
    path = pack(WHOLE)
    whole = path.read_bytes()
    # The end of a tar is a row of zeros; losing some of these loses nothing.
    path.write_bytes(
        whole[: int(share * (len(whole.rstrip(b"\0")) if path.suffix == ".tar" else len(whole)))]
    )
    with pytest.raises(DataError, match=path.name):
        everything_in(path)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_a_damaged_archive_gives_named_errors_and_a_zip_never_another_image(tmp_path, pack, seed):
    path, noise = pack(WHOLE), random.Random(seed)
    body = bytearray(path.read_bytes())
    for _ in range(noise.randint(1, 6)):
        body[noise.randrange(noise.choice([0, max(0, len(body) - 400)]), len(body))] = (
            noise.randrange(256)
        )
    path.write_bytes(body)
    try:
        found = everything_in(path)
    except CourseError:
        return
    if path.suffix != ".tar":  # a tar has no checksums of its files
        assert all(WHOLE[name] == data for rows in found for name, _, data in rows)


@settings(max_examples=30)
@given(
    start=st.sampled_from([b"", b"PK", b"PK\5\6", b"\x1f\x8b", b"\x1f\x8b\x08"]),
    rest=st.binary(max_size=700),
)
def test_arbitrary_bytes_are_named_errors(tmp_path, start, rest):
    (tmp_path / "mine.zip").write_bytes(start + rest)
    with pytest.raises(CourseError, match="mine.zip"), opened(tmp_path / "mine.zip"):
        pass


def test_files_can_be_read_by_many_threads(pack):
    contents, before = report_files(train=80), sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)  # threads take turns as often as they can
        with opened(pack(contents)) as source, ThreadPoolExecutor(16) as pool:
            names = [name for name, _ in source.train] * 20
            assert list(pool.map(source.read, names)) == [contents[name] for name in names]
    finally:
        sys.setswitchinterval(before)
