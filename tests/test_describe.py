"""`python -m tools.describe PATH`: what it finds, and that it writes nothing."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from data_sets import WRITERS, answers, png, report_files, stored, write_folder
from PIL import Image

from course_lib import DataError
from tools.describe import describe_data


@pytest.mark.parametrize("kind", ["mine", "mine.tar.gz"])
def test_all_that_is_wrong_is_counted_and_named_and_nothing_written(tmp_path, kind):
    contents = report_files(train=8, test=4)
    contents["train_data/5.png"] = contents["train_data/0.png"]  # twice, in classes 0 and 2
    contents["test_data/1.png"] = contents[
        "train_data/2.png"
    ]  # in training and test, in classes 1 and 0
    contents["train_data/3.png"] = b"no image"
    contents["train_data/4.png"] = png(4, size=(30, 20), mode="L")
    contents["train_data/7.png"] = stored(
        Image.open(io.BytesIO(png(6))), "BMP"
    )  # 6.png in another format
    path = WRITERS[kind](
        tmp_path / kind, contents | {f"train_data/more{i}.txt": b"x" for i in range(30)}
    )
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    text = describe_data(path)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert re.search(r"^'mine.*: 8 .*\b4 classes.*\b4 test images", text)
    assert "9 × 7 (10)" in text and "30 × 20 (1)" in text
    for count, *named in (
        (1, "train_data/3.png"),
        (1, "train_data/2.png", "test_data/1.png"),
        (2, "train_data/0.png", "train_data/5.png"),
        (3, "train_data/6.png", "train_data/7.png"),  # of which one may be held out
        (30, "train_data/more0.txt"),
    ):
        assert re.search(rf"^{count} .*(\n .*)*{'.*'.join(named)}", text, re.M)
    assert text.count("train_data/more") == 10


def test_the_command_prints_no_warning_and_no_console_is_too_poor_for_it(tmp_path):
    """Korean Windows writes CP949, and old file names are no Unicode at all."""
    contents = {
        "answer.json": answers([("고양이 ☃.png", 0)]),
        "train_data/고양이 ☃.png": b"no image",
    }
    folder = write_folder(tmp_path / "내 사진 é", contents)
    with open(os.fsencode(folder) + b"/train_data/\xff.txt", "wb"):
        pass
    command = [sys.executable, "-m", "tools.describe", str(folder)]
    environment = os.environ | {"PYTHONIOENCODING": "cp949"}
    done = subprocess.run(
        command, capture_output=True, cwd=Path(__file__).resolve().parents[1], env=environment
    )
    assert done.returncode == 0 and b"1 unreadable" in done.stdout and done.stderr == b""


def test_a_wrong_row_is_named(tmp_path):
    folder = write_folder(
        tmp_path / "mine", report_files(4) | {"answer.json": answers([("missing.png", 0)])}
    )
    with pytest.raises(DataError, match="row 0.*missing.png"):
        describe_data(folder)


def test_a_path_that_no_system_can_open_is_a_data_error(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path in ("~nobody-of-this-name/x", "a\0b", tmp_path / "loop" / "x", tmp_path / "missing"):
        with pytest.raises(DataError):
            describe_data(path)


def test_an_unlabelled_copy_is_a_leak_but_no_other_label(tmp_path):
    contents = report_files(train=2, test=2, labelled=False)
    text = describe_data(
        write_folder(tmp_path, contents | {"test_data/0.png": contents["train_data/0.png"]})
    )
    assert re.findall(r"^\d+", text, re.M) == ["0", "1", "1", "0", "0"]
