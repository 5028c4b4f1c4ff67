"""`python -m course_lib.data.describe PATH`: what it finds, and that it writes nothing."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from data_sets import WRITERS, answers, png, report_files, stored, write_folder, write_zip
from PIL import Image

from course_lib.data.describe import describe_data


@pytest.fixture
def flawed():
    """Seven training and four test images with one flaw of each kind."""
    contents = report_files(train=8, test=4)
    contents["train_data/5.png"] = contents["train_data/0.png"]  # twice, in classes 0 and 2
    contents["test_data/1.png"] = contents["train_data/2.png"]  # in training and test, in classes 1 and 0
    contents["train_data/3.png"] = b"no image"
    contents["train_data/4.png"] = png(4, size=(30, 20), mode="L")
    contents["train_data/7.png"] = stored(Image.open(io.BytesIO(png(6))), "BMP")  # 6.png in another format
    return contents | {"train_data/notes.txt": b"x"}


@pytest.mark.parametrize("kind", WRITERS)
def test_all_that_is_wrong_is_counted_and_named(tmp_path, flawed, kind):
    text = describe_data(WRITERS[kind](tmp_path / kind, flawed))
    assert re.search(r"^mine.*: 8 .*\b4 classes.*\b4 test images", text)
    assert "9 × 7 (10)" in text and "30 × 20 (1)" in text
    for count, *named in (
        (1, "train_data/3.png"),
        (1, "train_data/2.png", "test_data/1.png"),
        (2, "train_data/0.png", "train_data/5.png"),
        (1, "train_data/notes.txt"),
    ):
        assert re.search(rf"^{count} .*(\n .*)*{'.*'.join(named)}", text, re.M)
    assert "train_data/6.png" not in text  # twice in the same class of the same part


def test_long_lists_are_cut_and_counted(tmp_path):
    contents = report_files(train=2) | {f"train_data/more{i}.txt": b"" for i in range(30)}
    text = describe_data(write_zip(tmp_path / "mine.zip", contents))
    assert re.search("^30 ", text, re.M) and text.count("train_data/more") == 10
    assert len(re.findall("^0 ", text, re.M)) == 3


def run(path, **environment):
    command = [sys.executable, "-m", "course_lib.data.describe", str(path)]
    root = Path(__file__).resolve().parents[1]
    return subprocess.run(command, capture_output=True, cwd=root, env=os.environ | environment)


def test_the_command_prints_and_writes_nothing(tmp_path, flawed):
    path = WRITERS["mine.tar.gz"](tmp_path / "mine.tar.gz", flawed)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    done = run(path)
    assert done.returncode == 0 and b"8 training images" in done.stdout
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_no_console_is_too_poor_for_it(tmp_path):
    """Korean Windows writes CP949, and old file names are no Unicode at all."""
    contents = {"answer.json": answers([("고양이 ☃.png", 0)]), "train_data/고양이 ☃.png": b"no image"}
    folder = write_folder(tmp_path / "내 사진 é", contents)
    with open(os.fsencode(folder) + b"/train_data/\xff.txt", "wb"):
        pass
    done = run(folder, PYTHONIOENCODING="cp949")
    assert done.returncode == 0 and b"1 unreadable" in done.stdout
    (folder / "answer.json").write_bytes(answers([("없음 ☃.png", 0)]))
    done = run(folder, PYTHONIOENCODING="cp1252")
    assert done.returncode == 1 and b"row 0" in done.stderr and b"Traceback" not in done.stderr
