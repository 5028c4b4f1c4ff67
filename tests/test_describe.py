"""`python -m tools.describe PATH`: what it finds, and that it writes nothing."""

import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from data_sets import WRITERS, answers, class_folders, png, report_files, stored, write_folder
from PIL import Image

from course_lib import DataError, open_course
from course_lib import describe_data as describe_course
from course_lib.data.describe import describe_data


def found(text, words):
    """The number that is found of something, and the examples below it; (0, "") if it's none."""
    match = re.search(rf"^[^\n]*{words}[^\n:]*: ([\d,]+)\.[^\n]*((?:\n    [^\n]*)*)", text, re.M)
    if match is None:
        assert words in text.splitlines()[-1]  # the line that lists what wasn't found
        return 0, ""
    return int(match[1].replace(",", "")), match[2]


@pytest.mark.parametrize("kind", ["mine", "mine.tar.gz"])
def test_all_that_is_wrong_is_counted_and_named_and_nothing_written(tmp_path, kind):
    contents = report_files(train=8, test=4)
    contents["train_data/5.png"] = contents["train_data/0.png"]  # in classes 0 and 2
    contents["test_data/1.png"] = contents["train_data/2.png"]  # in classes 1 and 0
    contents["train_data/3.png"] = b"no image"
    contents["train_data/4.png"] = png(4, size=(30, 20), mode="L")
    contents["train_data/7.png"] = stored(Image.open(io.BytesIO(png(6))), "BMP")  # a copy of 6.png
    path = WRITERS[kind](
        tmp_path / kind, contents | {f"train_data/more{i}.txt": b"x" for i in range(30)}
    )
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    text = describe_data(path)
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before
    assert "8 training images, 4 test images; 4 classes" in text
    assert "9 × 7 (10), 30 × 20 (1)" in text and "RGB (10), L (1)" in text
    for words, count, named in (
        ("unreadable images", 1, ["train_data/3.png"]),
        ("more than one of training", 1, ["train_data/2.png", "test_data/1.png"]),
        ("several labels", 2, ["train_data/0.png", "train_data/5.png"]),
        ("there more than once", 2, ["train_data/6.png", "train_data/7.png"]),
        ("aren't images", 30, ["train_data/more0.txt"]),
        ("without training images", 0, []),
    ):
        number, examples = found(text, words)
        assert number == count
        for name in named:
            assert name in examples
    assert text.count("train_data/more") == 10


def test_a_folder_per_class_is_counted_class_by_class(tmp_path):
    text = describe_data(write_folder(tmp_path / "mine", class_folders({"bee": 9, "ant": 3})))
    assert re.search(r"^ +0 +3 +ant\n +1 +9 +bee$", text, re.M)
    assert "50.0%" in text and "75.0%" in text  # guessing, and always answering bee


def test_a_class_of_three_images_is_pointed_out(tmp_path):
    counts = {"ant": 10, "bee": 3, "cat": 1, "dog": 9}
    text = describe_data(write_folder(tmp_path / "mine", class_folders(counts)))
    number, examples = found(text, "fewer than 10 training images")
    assert number == 2 and "bee" in examples and "dog" in examples


def test_classes_that_start_at_one_leave_a_gap(tmp_path):
    contents = report_files(4) | {
        "answer.json": answers([(f"{i}.png", 1 + i % 2) for i in range(4)])
    }
    text = describe_data(write_folder(tmp_path / "mine", contents))
    number, examples = found(text, "classes without training images")
    assert number == 1 and "0" in examples and "subtract one" in text


def test_a_gap_in_the_middle_is_named(tmp_path):
    contents = report_files(4) | {
        "answer.json": answers([(f"{i}.png", 3 * (i % 2)) for i in range(4)])
    }
    number, examples = found(
        describe_data(write_folder(tmp_path / "mine", contents)), "classes without training images"
    )
    assert number == 2 and "class 1" in examples and "class 2" in examples


def test_what_becomes_of_odd_pictures_is_said(tmp_path):
    contents = class_folders({"ant": 2, "bee": 1})
    glass = Image.new("RGBA", (8, 8), (200, 0, 0, 255))
    glass.putpixel((0, 0), (0, 0, 0, 0))
    contents["ant/glass.png"] = stored(glass)
    ten_bits = np.arange(64, dtype=np.uint16).reshape(8, 8) * 16
    contents["ant/ct.png"] = stored(Image.fromarray(ten_bits))
    text = describe_data(write_folder(tmp_path / "mine", contents))
    for words, name in (
        ("transparent parts", "ant/glass.png"),
        ("nearly black", "ant/ct.png"),
        ("single training image", "bee"),
    ):
        number, examples = found(text, words)
        assert number == 1 and name in examples


def test_what_is_not_used_is_named_and_runs_are_no_data(tmp_path):
    folder = write_folder(tmp_path / "mine", class_folders({"ant": 2, "bee": 2, ".NET": 2}))
    write_folder(folder / "runs", {"mine-smoke/figure.png": png()})
    (folder / "eel").mkdir()
    (folder / "loose.png").write_bytes(png())
    text = describe_data(folder, home=folder / "runs")
    number, examples = found(text, "aren't used")
    assert number == 3 and "2 classes" in text
    for name in ("eel", ".NET", "loose.png"):
        assert name in examples


def test_a_file_that_the_archive_fails_to_give_is_not_called_a_damaged_image(tmp_path):
    path = WRITERS["mine.zip"](tmp_path / "mine.zip", class_folders({"ant": 2, "bee": 2}))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT") + 20] ^= 1
    path.write_bytes(data)
    text = describe_data(path)
    number, examples = found(text, "failed to give")
    assert number == 1 and "ant/0.png" in examples
    assert found(text, "unreadable images") == (0, "")


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
    assert done.returncode == 0 and b"unreadable images: 1" in done.stdout and done.stderr == b""


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
    assert found(text, "more than one of training")[0] == 1
    assert found(text, "several labels")[0] == 0


def test_a_copy_in_another_part_is_no_copy_within_a_part(tmp_path):
    contents = {}
    for part in ("train", "val", "test"):
        contents |= class_folders({"ant": 3, "bee": 3}, inside=f"{part}/")
    contents["test/ant/copy.png"] = contents["train/ant/0.png"]
    contents["val/bee/copy.png"] = contents["train/bee/0.png"]
    contents["train/bee/copy.png"] = contents["train/bee/0.png"]
    text = describe_data(write_folder(tmp_path / "mine", contents))
    number, examples = found(text, "more than one of training")
    assert number == 2 and "test/ant/copy.png" in examples and "val/bee/copy.png" in examples
    number, examples = found(text, "more than once in the same part")
    assert number == 1 and "train/bee/copy.png" in examples and "ant" not in examples


def test_data_that_no_course_can_open_is_described_by_its_path(environment, tmp_path):
    contents = class_folders({"ant": 3, "bee": 3})
    contents["ant/1.png"] = contents["bee/2.png"] = b"no image"
    folder = write_folder(tmp_path / "mine", contents)
    environment(PRESET="smoke", HOME=folder / "runs")
    write_folder(folder / "runs", {"mine-smoke/figure.png": png()})
    with pytest.raises(DataError, match="describe_data"):
        open_course(str(folder))
    for path in (folder, str(folder)):
        text = describe_course(path)
        number, examples = found(text, "unreadable images")
        assert number == 2 and "ant/1.png" in examples and "bee/2.png" in examples
        assert "2 classes" in text  # runs are no data
