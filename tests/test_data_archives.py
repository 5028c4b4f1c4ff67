"""A data set as a folder, .zip, .tar or .tar.gz, here or on Drive, whole or broken: the same rows,
or a DataError."""

import gzip
import io
import json
import os
import random
import re
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import unicodedata
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from data_sets import (
    ARCHIVES,
    HIDDEN,
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

from course_lib.data import archives, entries, zips
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


def mark(path):
    return archives.fingerprint(path)


def refused(path):
    """The message of the DataError that opening a data set, or reading it, ends in."""
    with pytest.raises(DataError) as failure:
        everything_in(path)
    return str(failure.value)


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
        assert source.skipped == () and source.classes == ["class 0", "class 1", "class 2"]


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
        assert source.skipped == ("test_data/a.txt",)
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
        ({"answer.json": answers([("0.png", 10_000)])}, "answer.json, row 0:.* 10000"),
        (
            without(report_files(6), "train_data/2.png", "train_data/5.png"),
            "answer.json, row 2:.*train_data/2.png.*2",
        ),
        (
            WHOLE | {"train_data/8.png": png(), "train_data/10.png": png()},
            "train_data/8.png.*answer.json .*2",
        ),
        (
            without(report_files(4, 4), "test_data/3.png"),
            "test_answer.json, row 3:.*test_data/3.png",
        ),
        (report_files(4, 4) | {"test_data/9.png": png()}, "test_data/9.png.*test_answer.json"),
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
            for category in (10_000, -1, "0")
        ),
    ],
)
def test_what_does_not_fit_together_is_named_with_file_and_row(write, contents, named):
    if not contents:
        contents = {"empty/.DS_Store": b""}
    with pytest.raises(DataError, match=named), opened(write(contents)):
        pass


# --- where the data lies, and what is around it


@pytest.mark.parametrize("name", HIDDEN)
def test_what_programs_leave_beside_and_inside_an_enclosing_folder_is_ignored(write, name):
    contents = {f"mine/{path}": data for path, data in WHOLE.items()}
    for place in ("", f"{name}/", "mine/", "mine/train_data/", f"mine/train_data/{name}/"):
        if place != f"{name}/" and not place.endswith(f"/{name}/"):
            contents[f"{place}{name}/left.png"] = b"x"
    path = write(contents)
    assert [len(rows) for rows in everything_in(path)] == [4, 2]
    with opened(path) as source:
        assert source.skipped == ()


@pytest.mark.parametrize(
    "beside", ["readme.txt", "dataset-metadata.json", "runs/results.json", "더 많은 사진/1.png"]
)
def test_other_files_and_folders_beside_the_enclosing_folder_do_no_harm(write, beside):
    contents = {f"mine/{path}": data for path, data in WHOLE.items()}
    assert [len(rows) for rows in everything_in(write({beside: b"x"} | contents))] == [4, 2]


def test_of_two_data_sets_none_is_chosen(write):
    contents = {f"{top}/{path}": data for top in ("cats", "dogs") for path, data in WHOLE.items()}
    message = refused(write(contents))
    assert "'cats'" in message and "'dogs'" in message


NOT_OURS = {
    "holidays/12:30 notes.txt": b"hi",
    "holidays/a\\b.txt": b"hi",
    "answer.txt": b"hi",
    "train_data2/0.png": b"hi",
}


def test_what_does_not_belong_to_the_data_is_not_looked_at(write):
    assert [len(rows) for rows in everything_in(write(WHOLE | NOT_OURS))] == [4, 2]


@pytest.fixture
def on_drive(tmp_path):
    """The report's own paths: answer.json and train_data/ in the middle of somebody's Drive."""
    folder = write_folder(tmp_path / "drive" / "MyDrive", WHOLE | NOT_OURS)
    (folder / "holidays" / "shortcut").symlink_to("/etc/hostname")
    (folder / "a folder").symlink_to("/etc")
    os.mkfifo(folder / "holidays" / "pipe")
    return folder


def test_nothing_else_on_a_drive_is_walked_refused_or_fingerprinted(on_drive, monkeypatch):
    before = mark(on_drive)
    (on_drive / "holidays" / "new.jpg").write_bytes(b"x")
    (on_drive / "runs" / "banks").mkdir(parents=True)
    (on_drive / "train_data" / ".DS_Store").write_bytes(b"x")
    walked = []
    listdir = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: walked.append(str(path)) or listdir(path))
    assert [len(rows) for rows in everything_in(on_drive)] == [4, 2] and mark(on_drive) == before
    assert {os.path.basename(path) for path in walked} == {"MyDrive", "train_data", "test_data"}


@pytest.mark.parametrize("enclosing", ["", "mine"])
def test_whatever_changes_in_a_data_set_changes_its_fingerprint(tmp_path, enclosing):
    folder = write_folder(tmp_path / "data" / enclosing, WHOLE)
    seen = [mark(tmp_path / "data")]
    for change in (
        lambda: (folder / "train_data" / "9.txt").write_bytes(b"x"),
        lambda: (folder / "train_data" / "9.txt").unlink(),
        lambda: (folder / "train_data" / "0.png").rename(folder / "train_data" / "00.png"),
        lambda: (folder / "answer.json").write_bytes(b"{}"),
        lambda: (folder / "classes.json").write_bytes(b"[]"),
        lambda: os.utime(folder / "test_data" / "0.png", ns=(1, 1)),
    ):
        change()
        seen.append(mark(tmp_path / "data"))
    seen.pop(2)  # what was added and removed again
    assert len(set(seen)) == len(seen)


# --- names


def zip_of_raw_names(path, contents):
    """A zip whose names are these bytes, without the flag for UTF-8."""
    held = {}
    for raw in contents:
        held[raw] = f"{len(held):0{len(raw)}d}"  # as long, and without a slash
    write_zip(path, {held[raw]: data for raw, data in contents.items()})
    body = path.read_bytes()
    for raw, name in held.items():
        body = body.replace(name.encode(), raw)
    path.write_bytes(body)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "cp949", "gbk", "big5", "cp850"])
def test_a_zip_that_does_not_say_how_its_names_are_encoded(tmp_path, capsys, encoding):
    """Finder on a Mac writes UTF-8 and Explorer on a Korean Windows writes CP949, both without the
    flag for it. All others are told once what was assumed."""
    cats = {"gbk": "猫狗", "big5": "貓狗", "cp850": "é"}
    cat = cats.get(encoding, "고양이")
    contents = {f"test_data/{cat} {i}.png".encode(encoding): png(i) for i in range(3)}
    contents |= {name.encode(): data for name, data in report_files(train=2).items()}
    found = everything_in(zip_of_raw_names(tmp_path / "mine.zip", contents))[1]
    assert [data for _, _, data in found] == [png(i) for i in range(3)]
    printed = capsys.readouterr().out
    if encoding in ("utf-8", "cp949"):
        assert [name for name, _, _ in found] == [f"test_data/{cat} {i}.png" for i in range(3)]
    if encoding == "utf-8":
        assert printed == ""
    else:
        assumed = "CP437" if encoding == "cp850" else "CP949"
        assert re.fullmatch(f"'mine.zip'.*{assumed}.*{found[0][0]}.*\n", printed)  # in one line


def test_names_that_two_encodings_could_mean_are_read_as_utf_8_and_said(tmp_path, capsys):
    contents = {f"test_data/{name}.png".encode(): png(len(name)) for name in ("고양", "café")}
    for raw in contents:
        assert raw.decode("cp949") != raw.decode("utf-8")
    contents |= {name.encode(): data for name, data in report_files(train=2).items()}
    found = everything_in(zip_of_raw_names(tmp_path / "mine.zip", contents))[1]
    assert {name for name, _, _ in found} == {"test_data/고양.png", "test_data/café.png"}
    assert "UTF-8" in capsys.readouterr().out


def zip_with_unicode_paths(path, table):
    """table: a list of (stored name, true name or None, data). What WinZip and ALZip write."""
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w") as archive:
        for stored, true, data in table:
            info = zipfile.ZipInfo(stored)
            if true is not None:
                field = struct.pack("<BL", 1, zlib.crc32(stored.encode("cp437"))) + true.encode()
                info.extra = struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(info, data)
    return path


@pytest.mark.parametrize("stored", ["train_data/___.png", "train_data/??.png", "x"])
def test_a_zips_unicode_path_is_an_entrys_name(tmp_path, capsys, stored):
    rows = [("고양이.png", 0), ("강아지.png", 1)]
    table = [("answer.json", None, answers(rows))]
    table += [(stored, f"train_data/{name}", png(label)) for name, label in rows]
    path = zip_with_unicode_paths(tmp_path / "mine.zip", table)
    assert everything_in(path)[0] == [(f"train_data/{n}", label, png(label)) for n, label in rows]
    assert capsys.readouterr().out == ""


def test_a_unicode_path_of_another_name_does_not_count(tmp_path):
    """Programs that don't know the field keep it when they rename an entry."""
    table = [
        (name, f"train_data/other {i}.png", data) for i, (name, data) in enumerate(WHOLE.items())
    ]
    path = zip_with_unicode_paths(tmp_path / "mine.zip", table)
    body = path.read_bytes()
    for name in WHOLE:
        checksum = struct.pack("<L", zlib.crc32(name.encode()))
        body = body.replace(checksum + b"train_data/other", b"\0\0\0\0train_data/other")
    path.write_bytes(body)
    assert [len(rows) for rows in everything_in(path)] == [4, 2]


def test_a_zip_with_backslashes_between_folders(tmp_path):
    """Older .NET programs write such."""
    contents = {name.replace("/", "\\").encode(): data for name, data in WHOLE.items()}
    path = zip_of_raw_names(tmp_path / "mine.zip", contents)
    assert [len(rows) for rows in everything_in(path)] == [4, 2]


@pytest.mark.parametrize(
    "first, second",
    [
        ("train_data/고.png", unicodedata.normalize("NFD", "train_data/고.png")),
        ("train_data/0.png", "./train_data/0.png"),
        ("train_data/0.png", "train_data//0.png"),
    ],
)
def test_two_names_for_the_same_path_are_both_named(tmp_path, pack, first, second):
    message = refused(pack(WHOLE | {first: png(0), second: png(1)}))
    assert ascii(first) in message and ascii(second) in message


def test_two_spellings_of_a_name_in_a_folder_are_both_named(tmp_path):
    names = [unicodedata.normalize(form, "train_data/고.png") for form in ("NFC", "NFD")]
    folder = write_folder(tmp_path / "mine", WHOLE | dict.fromkeys(names, png()))
    message = refused(folder)
    assert all(ascii(name) in message for name in names)


@pytest.mark.parametrize("name", ["train_data/12:30.png", "train_data/a\\b.png", "train_data/c"])
def test_a_name_that_not_every_system_allows_and_a_link_have_messages_of_their_own(tmp_path, name):
    folder = write_folder(tmp_path / "mine", WHOLE)
    if name.endswith("c"):
        (folder / name).symlink_to("0.png")
    else:
        (folder / name).write_bytes(png())
    message = refused(folder)
    causes = {"colon": ":30", "backslash": "\\", "link": "/c"}
    assert repr(name) in message
    assert [cause for cause in causes if cause in message] == [
        cause for cause, part in causes.items() if part in name
    ]


ESCAPES = ["\x1b]0;pwned\x07\x1b[2J", "\x9b2J", "\u202egnp", "\r\n0 errors"]


@pytest.mark.parametrize("evil", ESCAPES)
def test_no_name_reaches_the_terminal_as_it_is(tmp_path, write, evil):
    row = {"answer.json": answers([(f"{evil}.png", 0)])}
    named = json.dumps([{"category": 0, "name": "cat"}, {"category": evil, "name": "dog"}])
    messages = [
        refused(write({f"{evil}.txt": b"x"})),
        refused(write(WHOLE | {f"train_data/{evil}.png": png()})),
        refused(write(WHOLE | {f"train_data/{evil}:.png": png()})),
        refused(write(WHOLE | row)),
        refused(write(WHOLE | {"classes.json": named.encode()})),
        refused(write({f"{evil}{i}/answer.json": b"x" for i in range(2)})),
    ]
    assert all(message.isprintable() for message in messages)


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
def test_links_pipes_and_a_name_held_twice_are_refused_in_a_tar(tmp_path, kind):
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


@pytest.mark.parametrize("what", ["secret.png", "", "missing"])
@pytest.mark.parametrize("link", ["train_data/link.txt", "test_data", "classes.json"])
def test_links_in_a_folder_are_refused(tmp_path, link, what):
    folder = write_folder(tmp_path / "mine", report_files(train=4))
    outside = write_folder(tmp_path / "out", {"secret.png": png()})
    (folder / link).symlink_to(outside / what)
    assert repr(link) in refused(folder)


def test_a_pipe_in_a_folder_is_refused(tmp_path):
    folder = write_folder(tmp_path / "mine", WHOLE)
    os.mkfifo(folder / "train_data" / "pipe.txt")
    assert "'train_data/pipe.txt'" in refused(folder)


@pytest.mark.parametrize("use", [mark, everything_in])
def test_a_pipe_or_a_device_is_no_data_set(tmp_path, use):
    os.mkfifo(tmp_path / "mine.zip")
    for path in (tmp_path / "mine.zip", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(DataError, match=path.name):
            use(path)


@pytest.mark.parametrize("use", [mark, everything_in])
def test_a_folder_that_is_not_readable_is_named(tmp_path, monkeypatch, use):
    """The system's refusal is made here, since an administrator may read everything."""
    folder = write_folder(tmp_path / "mine", WHOLE | {"train_data/more/x.txt": b"x"})
    listdir = os.listdir

    def refuse(path):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return listdir(path)

    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(DataError, match="train_data/more"):
        use(folder)


@pytest.mark.parametrize("name, levels", [("d", 1500), ("d" * 200, 30)])
def test_folders_may_be_deeper_than_python_recurses(tmp_path, name, levels):
    """And if they're deeper than the system's paths may be long, that's an error with a name."""
    folder = write_folder(tmp_path / "mine", WHOLE)
    here = os.open(folder / "train_data", os.O_RDONLY)
    opened_folders = [here]
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        here = os.open(name, os.O_RDONLY, dir_fd=here)
        opened_folders.append(here)
        if len(opened_folders) > 500:
            os.close(opened_folders.pop(0))
    try:
        if levels == 1500:
            assert [len(rows) for rows in everything_in(folder)] == [4, 2]
        else:
            assert "dddd" in refused(folder)
    finally:
        for descriptor in opened_folders:
            os.close(descriptor)
        subprocess.run(["rm", "-rf", folder], check=True)  # Python's own recurses


# --- what Python can't read, or shouldn't


def patched(path, method=None, flag=0):
    """Change the method and the flags of each entry of a zip, in both places that hold them."""
    body = bytearray(path.read_bytes())
    for signature, flags_at, method_at in ((b"PK\3\4", 6, 8), (b"PK\1\2", 8, 10)):
        start = body.find(signature)
        while start >= 0:
            body[start + flags_at] |= flag
            if method is not None:
                struct.pack_into("<H", body, start + method_at, method)
            start = body.find(signature, start + 4)
    path.write_bytes(body)


@pytest.mark.parametrize(
    "method, flag, named",
    [
        (9, 0, "Deflate64"),
        (93, 0, "Zstandard"),
        (95, 0, "XZ"),
        (98, 0, "PPMd"),
        (1, 0, "1"),
        (None, 1, "password"),
        (99, 1, "password"),
        (None, 0x20, "patched"),
    ],
)
def test_a_zip_that_python_cannot_read_is_to_be_packed_again(tmp_path, method, flag, named):
    path = write_zip(tmp_path / "mine.zip", WHOLE)
    patched(path, method, flag)
    message = refused(path)
    assert named in message and "zip -r" in message and "Copy" not in message


def test_names_that_differ_inside_a_zip(tmp_path):
    path = write_zip(tmp_path / "mine.zip", WHOLE)
    path.write_bytes(path.read_bytes().replace(b"train_data/0.png", b"train_data/9.png", 1))
    message = refused(path)
    assert "'train_data/0.png'" in message and "zip -r" in message and "Copy" not in message


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_of_packing_that_python_can_read(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "mine.zip", "w", method) as archive:
        for name, data in WHOLE.items():
            archive.writestr(name, data)
    assert [len(rows) for rows in everything_in(tmp_path / "mine.zip")] == [4, 2]


@pytest.mark.parametrize(
    "start, named",
    [
        (b"7z\xbc\xaf\x27\x1c\0\4", "7z"),
        (b"Rar!\x1a\x07\x01\0", "rar"),
        (b"ALZ\x01\n\0\0\0", "alz"),
        (b"EGGA\0\1", "egg"),
        (b"\xfd7zXZ\0\0\4", "xz"),
        (b"BZh91AY&SY", "bzip2"),
        (b"\x28\xb5\x2f\xfd", "Zstandard"),
        (b"PK\x07\x08PK\3\4", "several parts"),
    ],
)
def test_archives_of_other_kinds_are_named(tmp_path, start, named):
    (tmp_path / "mine.zip").write_bytes(start + bytes(5000))
    message = refused(tmp_path / "mine.zip")
    assert named in message and "zip -r" in message and "Copy" not in message


@pytest.mark.parametrize(
    "start", [b"", b"<!DOCTYPE html><html>", b"version https://git-lfs.github"]
)
def test_what_came_instead_of_an_archive_is_to_be_copied_again(tmp_path, start):
    (tmp_path / "mine.zip").write_bytes(start)
    message = refused(tmp_path / "mine.zip")
    assert "Copy" in message and "zip -r" not in message


def test_the_parts_of_a_zip_are_named_as_such(tmp_path):
    path = write_zip(tmp_path / "mine.zip", WHOLE)
    body = bytearray(path.read_bytes())
    end = body.rfind(b"PK\5\6")
    path.write_bytes(body[: end // 2])
    assert "several parts" in refused(path)
    body[end + 4] = 2  # the number of this part
    path.write_bytes(body)
    assert "several parts" in refused(path)


def test_a_macs_zip_of_more_than_4_gigabytes_is_named_as_such(tmp_path):
    """It holds the lower 32 bits of each position. The hole in this file takes up no space."""
    path = write_zip(tmp_path / "mine.zip", WHOLE)
    body = path.read_bytes()
    table = body.find(b"PK\1\2")
    with open(path, "r+b") as file:
        file.seek(table + (1 << 32))
        file.write(body[table:])
    message = refused(path)
    assert "4 GB" in message and "zip -r" in message and "Copy" not in message


# --- damage


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


# --- what would fill the memory or the disk, or never end


def pax_tar(path, name, headers):
    """A tar with an extra file before the last one, with headers of its own."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for held, data in {"train_data/0.png": png(), name: b"x", "answer.json": b"{}"}.items():
            info = tarfile.TarInfo(held)
            info.size = len(data)
            info.pax_headers = headers if held == name else {}
            archive.addfile(info, io.BytesIO(data))
    return path


@settings(max_examples=40)
@given(
    size=st.integers(-5000, -1) | st.integers(10**6, 10**20),
    name=st.sampled_from(["train_data/a.txt", "__MACOSX/a", "elsewhere/a"]),
)
def test_a_tar_with_an_impossible_size_ends_in_an_error(tmp_path, size, name):
    """CVE-2025-8194: `tarfile` goes round in circles. What is ignored must be looked at, too."""
    assert "mine.tar" in refused(pax_tar(tmp_path / "mine.tar", name, {"size": str(size)}))


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_header_of_gigabytes_is_not_read(tmp_path, kind):
    path, info = tmp_path / "mine.tar", tarfile.TarInfo("a")
    info.type, info.size = kind, 3 << 30
    header = info.tobuf(tarfile.GNU_FORMAT)
    with open(path, "wb") as file:  # a hole takes up no space
        file.write(header)
        file.seek(4 << 30)
        file.write(b"\0")
    tracemalloc.start()
    try:
        assert "mine.tar" in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()


def test_an_archive_cut_short_while_it_is_open_is_a_named_error(pack):
    """A tar in mapped memory would end the process by a signal."""
    path = pack(report_files(train=60))
    with opened(path) as source:
        os.truncate(path, 1000)
        wrong = 0
        for name, _ in source.train:
            try:
                source.read(name)
            except DataError as error:
                assert name in str(error)
                wrong += 1
    assert wrong > 50 or path.suffix == ".gz"  # of which a copy was made


def test_a_gzip_that_unpacks_far_too_well_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "GZIP_BYTES", 100_000)
    path = tmp_path / "mine.tar.gz"
    write_tar(path, WHOLE | {"train_data/a.txt": bytes(90_000)}, "w:gz")
    assert [len(rows) for rows in everything_in(path)] == [4, 2]
    write_tar(path, WHOLE | {"elsewhere/a.txt": bytes(10_000_000)}, "w:gz")
    assert "mine.tar.gz" in refused(path)


def test_a_file_in_a_zip_that_unpacks_far_too_well_is_refused(tmp_path):
    bomb = {"train_data/0.png": bytes(50_000_000)}
    path = write_zip(tmp_path / "mine.zip", WHOLE | bomb)
    with pytest.raises(DataError, match="train_data/0.png"), opened(path):
        pass  # before any of it is read


def test_there_may_not_be_any_number_of_files(write, monkeypatch):
    for module in (entries, zips):
        monkeypatch.setattr(module, "MAX_FILES", 9)
    path = write(WHOLE)
    assert [len(rows) for rows in everything_in(path)] == [4, 2]
    assert "9" in refused(write(WHOLE | {f"train_data/{i}.txt": b"" for i in range(9)}))


def test_files_can_be_read_by_many_threads(pack):
    contents, before = report_files(train=80), sys.getswitchinterval()
    try:
        sys.setswitchinterval(1e-6)  # threads take turns as often as they can
        with opened(pack(contents)) as source, ThreadPoolExecutor(16) as pool:
            names = [name for name, _ in source.train] * 20
            assert list(pool.map(source.read, names)) == [contents[name] for name in names]
    finally:
        sys.setswitchinterval(before)
