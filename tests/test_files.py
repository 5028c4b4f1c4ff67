"""Files that are whole or absent, sealed against damage, and that never cost anybody else's."""

import json
import os
import threading
import time
from pathlib import Path

import pytest
from faults import Died, watched
from hypothesis import given
from hypothesis import strategies as st

from course_lib import CheckpointError, DiskError
from course_lib.storage import files
from course_lib.storage.files import read_sealed, remove, write_sealed, write_text

texts = st.text(st.characters(exclude_categories=()))  # lone surrogates, too: odd file names
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@given(value=values)
def test_what_is_sealed_is_read_back_as_json_has_it(tmp_path, value):
    write_sealed(tmp_path / "sealed.json", value)
    expected = json.loads(json.dumps(value))
    assert repr(read_sealed(tmp_path / "sealed.json")) == repr(expected)  # nan != nan


def test_numbers_as_keys_and_tuples_are_sealed(tmp_path):
    write_sealed(tmp_path / "sealed.json", {10: (1, 2), 9: "고양이 é"})
    assert read_sealed(tmp_path / "sealed.json") == {"10": [1, 2], "9": "고양이 é"}
    assert "고양이 é" in (tmp_path / "sealed.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["\udc80.png", "\ud83d", "\ud83d\ude00", "a\0b\x1b"])
def test_names_that_are_no_unicode_are_sealed_as_they_are(tmp_path, name):
    """As Linux has them, if a file's name isn't UTF-8."""
    write_sealed(tmp_path / "sealed.json", {name: [name]})
    assert read_sealed(tmp_path / "sealed.json") == json.loads(json.dumps({name: [name]}))


@given(data=st.data())
def test_a_changed_value_is_noticed(tmp_path, data):
    """Every single bit that's flipped: either it's an error, or it reads back as before."""
    path = tmp_path / "sealed.json"
    content = {"accuracy": 0.71, "loss": [1.25, float("nan")], "classes": ["고양이", "é"]}
    write_sealed(path, content)
    damaged = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        assert repr(read_sealed(path)) == repr(content)
    except CheckpointError as error:
        assert "sealed.json" in str(error)
    path.unlink()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"sha256"', "{}", '{"sha256": 1}', '{"content": 1}']
    + ['{"sha256": "0", "content": 1}', "[" * 100_000, "\ufeff{}", "1" * 5000],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_not_sealed_is_an_error_that_names_the_file(tmp_path, text):
    (tmp_path / "sealed.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"sealed\.json"):
        read_sealed(tmp_path / "sealed.json")
    (tmp_path / "sealed.json").write_bytes(b"\xff\xfe\0")
    with pytest.raises(CheckpointError, match=r"sealed\.json"):
        read_sealed(tmp_path / "sealed.json")


def test_a_missing_sealed_file_is_missing_and_a_folder_is_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "sealed.json")
    (tmp_path / "sealed.json").mkdir()
    with pytest.raises(CheckpointError, match=r"sealed\.json"):
        read_sealed(tmp_path / "sealed.json")


# Other people's files


def old(path, content="theirs"):
    """A file that nobody has written to for an hour."""
    path.write_text(content)
    os.utime(path, (time.time() - 3600,) * 2)
    return path


NOT_OURS = [
    *(".thesis.tmp", ".syncthing.result.csv.tmp", ".my draft.tmp", "result.csv.tmp", ".tmp"),
    *(".result.csv.tmp", ".result.csv.1a.tmp", ".result.csv.12.tmp.tmp", ".result.csv..tmp"),
    *(".result-csv.12.tmp", ".other.csv.12.tmp", ".result.csv.12.tmp ", ".xresult.csv.12.tmp"),
    *(".result.csv.-12.tmp", ".result.csv.12.TMP", ".result.csv.١٢.tmp"),
]


def test_only_leftovers_of_this_very_file_are_swept(tmp_path):
    theirs = [old(tmp_path / name) for name in NOT_OURS]
    ours = old(tmp_path / ".result.csv.12.tmp")
    fresh = tmp_path / ".result.csv.13.tmp"
    fresh.write_text("another notebook is writing it")
    write_text(tmp_path / "result.csv", "x")
    assert all(path.read_text() == "theirs" for path in theirs)
    assert fresh.exists() and not ours.exists()


@pytest.mark.parametrize("kind", ["link to a file", "link to nowhere", "file"])
def test_nothing_is_written_through_a_link_with_the_temporary_files_name(
    tmp_path, kind, monkeypatch
):
    precious = tmp_path / "precious"
    monkeypatch.setattr(files.secrets, "randbits", lambda bits: 12)  # of all numbers, this one
    temporary = tmp_path / ".result.csv.12.tmp"
    if kind == "link to a file":
        precious.write_text("theirs")
        temporary.symlink_to(precious)
    elif kind == "link to nowhere":
        temporary.symlink_to(precious)
    else:
        temporary.write_text("left by a killed process of the same number")
    with pytest.raises(DiskError, match=r"result\.csv"):
        write_text(tmp_path / "result.csv", "x")
    assert not (tmp_path / "result.csv").exists()
    if kind == "link to a file":
        assert precious.read_text() == "theirs"
    else:
        assert not precious.exists()


def test_a_link_that_is_replaced_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "backup").write_text("old")
    (tmp_path / "result.csv").symlink_to(tmp_path / "backup")
    write_text(tmp_path / "result.csv", "new")
    assert (tmp_path / "backup").read_text() == "old"
    assert (tmp_path / "result.csv").read_text() == "new"


def test_two_threads_that_write_one_file_write_it_whole(tmp_path):
    def write(text):
        for _ in range(50):
            write_text(tmp_path / "result.csv", text)

    texts = ["a" * 10_000, "b" * 20_000]
    threads = [threading.Thread(target=write, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "result.csv").read_text() in texts


def test_two_computers_with_equal_threads_write_a_file_on_one_disk_whole(tmp_path, monkeypatch):
    """As two containers: the numbers of their processes and threads are the same."""
    monkeypatch.setattr(threading, "get_native_id", lambda: 7)
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "result.csv"
    with files.replacing(path, "w") as ours:
        ours.write("ours, first\n")
        with files.replacing(path, "w") as theirs:
            theirs.write("theirs\n")
        assert path.read_text() == "theirs\n"
        ours.write("ours, last\n")
    assert path.read_text() == "ours, first\nours, last\n"
    assert [path.name for path in tmp_path.iterdir()] == ["result.csv"]


def test_what_a_killed_process_leaves_has_a_name_that_is_swept(tmp_path):
    dead = []

    def die(kind, path):
        if kind == "replace" or dead:
            dead.append(kind)
            raise Died

    with watched(tmp_path, die), pytest.raises(Died):
        write_text(tmp_path / "result.csv", "half of it")
    (left,) = tmp_path.iterdir()
    os.utime(left, (time.time() - 3600,) * 2)
    write_text(tmp_path / "result.csv", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["result.csv"]


# What isn't a file


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "run.json")
    with pytest.raises(CheckpointError, match=r"run\.json"):
        read_sealed(tmp_path / "run.json")
    write_sealed(tmp_path / "run.json", {"a": 1})
    assert read_sealed(tmp_path / "run.json") == {"a": 1}


# Deleting


@pytest.mark.parametrize("where", ["MyDrive", "disk"])
@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_what_is_deleted_is_not_emptied_if_it_has_another_name(tmp_path, where, link):
    folder = tmp_path / where
    folder.mkdir()
    (tmp_path / "backup").write_text("precious")
    link(tmp_path / "backup", folder / "model.pth")
    remove(folder / "model.pth")
    assert not os.path.lexists(folder / "model.pth")
    assert (tmp_path / "backup").read_text() == "precious"


@pytest.mark.parametrize("where, emptied", [("MyDrive", True), ("disk", False)])
def test_only_on_drive_a_file_is_emptied_for_the_trash(tmp_path, where, emptied):
    (tmp_path / where).mkdir()
    path = tmp_path / where / "model.pth"
    path.write_text("x")
    kinds = []
    with watched(tmp_path, lambda kind, path: kinds.append(kind)):
        remove(path)
    assert kinds == (["truncate", "unlink"] if emptied else ["unlink"])
    remove(path)  # it's gone: another notebook was first


def test_a_tilde_is_the_home_folder_and_no_folder_of_that_name(tmp_path, monkeypatch):
    """Whoever found such a folder would run rm -r ~."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_text("~/results/a.csv", "1")
    assert (tmp_path / "home" / "results" / "a.csv").read_text() == "1"
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_a_folder_in_a_files_place_is_a_disk_error_and_stays(tmp_path):
    (tmp_path / "result.csv").mkdir()
    (tmp_path / "result.csv" / "mine.txt").write_text("x")
    with pytest.raises(DiskError, match=r"result\.csv"):
        write_text(tmp_path / "result.csv", "x")
    assert (tmp_path / "result.csv" / "mine.txt").exists()
    with pytest.raises(DiskError, match=r"mine\.txt"):
        write_text(tmp_path / "result.csv" / "mine.txt" / "below", "x")


def test_hidden_files_and_folders_are_not_listed(tmp_path):
    for name in ("a.txt", "b/c.txt", ".d.txt", ".git/HEAD", "b/.e/f.txt"):
        files.write_text(tmp_path / name, "x")
    assert files.files_in(tmp_path, pytest.fail) == [Path("a.txt"), Path("b/c.txt")]
