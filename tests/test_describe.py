"""`python -m course_lib describe PATH`: what it finds, and that it writes nothing."""

import json
import os
import re
import subprocess
import sys

import pytest
from data_sets import answers, png, report_files, write_folder, write_tar, write_zip

from course_lib import describe_data, manifest, open_bank, open_course
from course_lib.errors import DataError


def entry_in(text):
    return json.loads(text[text.index("{") :])


@pytest.fixture
def flawed():
    """Six training and four test images with one flaw of each kind."""
    contents = report_files(train=8, test=4)
    contents["train_data/5.png"] = contents["train_data/0.png"]  # twice, in classes 0 and 2
    contents["test_data/1.png"] = contents["train_data/2.png"]  # in training and held out
    contents["train_data/3.png"] = b"no image"
    contents["train_data/4.png"] = png(4, size=(30, 20), mode="L")
    del contents["train_data/6.png"]
    contents["train_data/more.png"] = png(77)
    contents["train_data/notes.txt"] = b"x"
    contents["classes.json"] = json.dumps([{"category": 2, "name": "고양이"}]).encode()
    return contents


@pytest.mark.parametrize("write", [write_folder, write_zip, write_tar])
def test_everything_that_is_wrong_is_counted_and_named(tmp_path, flawed, write):
    text = describe_data(write(tmp_path / "mine", flawed))
    assert "mine: 7 training images of 4 classes, 4 labelled test images" in text
    assert re.search(r"^ +2 +2 +0  █+ 고양이$", text, re.M) and re.search(r"^ +0 +2 +2  █+ class 0$", text, re.M)
    assert "9 × 7 (9), 30 × 20 (1)" in text and "PNG RGB (9), PNG L (1)" in text
    assert "1 images that cannot be used\n    3.png (answer.json, row 3)" in text
    assert "2 pictures that are there more than once" in text
    assert "train_data/0.png = train_data/5.png (classes 0, 2!)" in text
    assert "train_data/2.png = test_data/1.png (training and held-out!) (classes 0, 1!)" in text
    assert "1 rows without a file\n    answer.json, row 6: 6.png" in text
    assert "1 files without a row\n    train_data/more.png" in text
    assert "1 files that are no images\n    train_data/notes.txt" in text
    assert "76 of 80 classes without training images" in text


def test_a_sound_data_set_has_nothing_wrong(tmp_path):
    text = describe_data(write_zip(tmp_path / "mine.zip", report_files(train=160)))
    assert len(re.findall("^0 ", text, re.M)) == 6
    assert "1 in 10 training images of each class is held out" in text


def test_long_lists_are_cut_and_counted(tmp_path):
    contents = report_files(train=2) | {f"train_data/more{i}.png": png(i + 50) for i in range(30)}
    text = describe_data(write_zip(tmp_path / "mine.zip", contents))
    assert "30 files without a row" in text and "… and 20 more" in text and text.count("has no row") == 10


def test_the_entry_can_be_pasted_and_used_for_an_archive(tmp_path, monkeypatch):
    text = describe_data(write_zip(tmp_path / "mine.zip", report_files(train=20, test=4)))
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "data_manifest.json")
    manifest.MANIFEST.write_text(json.dumps(entry_in(text)))
    monkeypatch.setenv("COURSE_PRESET", "smoke")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    with pytest.raises(DataError, match="put it as .*mine.zip"):  # there are no mirrors yet
        open_bank(open_course("mine"))
    by_hand = tmp_path / "home" / "data" / "mine.zip"
    os.replace(tmp_path / "mine.zip", by_hand)
    assert len(open_bank(open_course("mine")).train) == 20
    write_zip(by_hand, report_files(train=22, test=4))
    with pytest.raises(DataError, match="mine.zip has"):
        open_bank(open_course("mine"))


def test_the_entry_of_a_folder_holds_the_checksums_of_its_answers(tmp_path):
    folder = write_folder(tmp_path / "mine", report_files(train=4, test=2))
    entry = entry_in(describe_data(folder))
    assert set(entry["mine"]["checksums"]) == {"answer.json", "test_answer.json"} and "archive" not in entry["mine"]
    (tmp_path / "m.json").write_text(json.dumps(entry))
    assert manifest.read_manifest(tmp_path / "m.json") == entry


def test_the_command_prints_and_writes_nothing(tmp_path, flawed):
    folder = write_folder(tmp_path / "mine", flawed)
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    run = subprocess.run([sys.executable, "-m", "course_lib", "describe", str(folder)], capture_output=True, text=True)
    assert run.returncode == 0 and "7 training images" in run.stdout
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content, words", [({}, "answer.json"), ({"answer.json": b"{"}, "not JSON")])
def test_what_cannot_be_looked_through_is_one_sentence(tmp_path, content, words):
    path = write_zip(tmp_path / "mine.zip", content | {"readme.txt": b"x"})
    command = [sys.executable, "-m", "course_lib", "describe"]
    run = subprocess.run([*command, str(path)], capture_output=True, text=True)
    assert run.returncode == 1 and words in run.stderr and "Traceback" not in run.stderr
    assert "There is no data set" in subprocess.run([*command, str(path) + "x"], capture_output=True, text=True).stderr


def test_odd_file_names_can_be_printed(tmp_path):
    """A file name that is no UTF-8 at all, as an old Linux server leaves them."""
    folder = write_folder(tmp_path / "mine", report_files(train=2))
    with open(os.fsencode(folder) + b"/train_data/\xff.png", "wb") as file:
        file.write(png())
    assert "1 files without a row" in describe_data(folder).encode().decode()


def test_the_same_picture_in_another_format_is_found(tmp_path):
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(png(0))).save(file, "BMP")
    contents = {"train_data/a.png": png(0), "train_data/b.bmp": file.getvalue()}
    contents["answer.json"] = answers([("a.png", 1), ("b.bmp", 1)])
    assert "train_data/a.png = train_data/b.bmp" in describe_data(write_zip(tmp_path / "mine.zip", contents))
