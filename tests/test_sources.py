"""A data set as a folder or a zip archive: found as it is, or refused with what is wrong and where."""

import io
import json
import random
import shutil
import zipfile

import pytest
from data_sets import answers, png, report_files, write_folder, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st

from course_lib import DataError, open_bank, open_course
from course_lib.sources import open_source

WRITERS = {"mine": write_folder, "mine.zip": write_zip}
CLUTTER = {
    ".DS_Store": b"x",
    "__MACOSX/._answer.json": b"x",
    "__MACOSX/train_data/._0.png": b"x",
    "train_data/.DS_Store": b"x",
    "train_data/Thumbs.db": b"x",
    "test_data/desktop.ini": b"x",
}


@pytest.fixture(params=WRITERS)
def opened(tmp_path, request):
    """Writes a data set, {path: bytes}, as a folder or as an archive, and opens it."""
    return lambda contents: open_source(WRITERS[request.param](tmp_path / request.param, contents))


def everything(source):
    return [[(row.path, row.category, source.read(row.path)) for row in rows] for rows in (source.train, source.test)]


@pytest.mark.parametrize("enclosing", ["", "my data/"])
@pytest.mark.parametrize("clutter", [{}, CLUTTER])
def test_a_data_set_is_found_whatever_encloses_it_and_lies_about(opened, enclosing, clutter):
    contents = report_files(train=6, test=4)
    source = opened({enclosing + name: data for name, data in (clutter | contents).items()})
    assert everything(source) == [
        [(f"{part}_data/{i}.png", i // 2, contents[f"{part}_data/{i}.png"]) for i in range(count)]
        for part, count in (("train", 6), ("test", 4))
    ]
    assert source.skipped == []
    assert source.classes == [f"class {i}" for i in range(80)]


def test_rows_keep_the_order_of_the_answers_and_say_where_they_were_read(opened):
    contents = report_files(train=3) | {"answer.json": answers([("2.png", 5), ("0.png", 79), ("1.png", 0)])}
    source = opened(contents)
    assert [(row.path, row.category) for row in source.train] == [
        ("train_data/2.png", 5),
        ("train_data/0.png", 79),
        ("train_data/1.png", 0),
    ]
    assert "2.png" in source.train[0].where and "answer.json, row 0" in source.train[0].where
    assert source.test == []


def test_images_may_lie_in_folders_of_their_own(opened):
    contents = {"answer.json": answers([("cats/1.png", 0), ("dogs/1.png", 1)])}
    contents |= {"train_data/cats/1.png": png(1), "train_data/dogs/1.png": png(2)}
    assert everything(opened(contents))[0] == [
        ("train_data/cats/1.png", 0, png(1)),
        ("train_data/dogs/1.png", 1, png(2)),
    ]


def test_test_images_without_answers_come_in_natural_order_without_a_class(opened):
    contents = report_files(train=2, test=11, labelled=False) | {"test_data/notes.txt": b"x"}
    source = opened(contents)
    assert [(row.path, row.category) for row in source.test] == [(f"test_data/{i}.png", -1) for i in range(11)]
    assert source.skipped == ["test_data/notes.txt"]


def test_what_is_no_image_is_skipped_and_named(opened):
    source = opened(report_files(train=2) | {"train_data/notes.txt": b"x", "train_data/.hidden.png": b"x"})
    assert len(source.train) == 2 and sorted(source.skipped) == ["train_data/.hidden.png", "train_data/notes.txt"]


def without(contents, *names):
    return {name: data for name, data in contents.items() if name not in names}


@pytest.mark.parametrize(
    "contents, words",
    [
        (without(report_files(4), "answer.json"), "no answer.json at its top"),
        ({"readme.txt": b"x"}, "no answer.json at its top"),
        ({"answer.json": b"{"}, "answer.json is not JSON"),
        ({"answer.json": answers([("0.png", 80)])}, "answer.json, row 0: category 80"),
        (
            without(report_files(6), "train_data/2.png", "train_data/5.png"),
            r"answer.json, row 2: 2.png is not in train_data/ \(2 of 6 rows",
        ),
        (
            report_files(4) | {"train_data/8.png": png(), "train_data/10.png": png()},
            r"train_data/8.png has no row in answer.json \(2 images",
        ),
        (
            without(report_files(4, 4), "test_data/3.png"),
            "test_answer.json, row 3: 3.png is not in test_data/",
        ),
        (report_files(4, 4) | {"test_data/9.png": png()}, "test_data/9.png has no row in test_answer.json"),
        (report_files(4, 4) | {"test_answer.json": b"[]"}, "test_answer.json"),
        (report_files(4) | {"classes.json": b"{"}, "classes.json should read"),
        (report_files(4) | {"classes.json": b'{"0": "cat"}'}, "classes.json should read"),
        (report_files(4) | {"classes.json": b'[{"category": 80, "name": "cat"}]'}, "categories from 0 to 79"),
        (report_files(4) | {"classes.json": b'[{"category": -1, "name": "cat"}]'}, "categories from 0 to 79"),
    ],
)
def test_what_does_not_fit_together_is_said_with_file_and_row(opened, contents, words):
    with pytest.raises(DataError, match=words):
        opened(contents)


def test_classes_json_names_the_classes_it_knows(opened):
    named = json.dumps([{"category": 1, "name": "고양이"}, {"category": 79, "name": "dog, hound"}]).encode()
    classes = opened(report_files(2) | {"classes.json": named}).classes
    assert classes[:3] == ["class 0", "고양이", "class 2"] and classes[79] == "dog, hound" and len(classes) == 80


def test_what_is_not_there_or_no_archive_is_said_in_words(tmp_path):
    with pytest.raises(DataError, match="no data set at .*nowhere"):
        open_source(tmp_path / "nowhere")
    for name, data in (("empty.zip", b""), ("page.zip", b"<html>Please log in</html>"), ("cut.zip", b"PK\x03\x04")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="neither a folder nor a whole .*copy it once more"):
            open_source(tmp_path / name)


def deflated(contents):
    """A zip archive as most programs write it, in memory."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return file.getvalue()


WHOLE = report_files(train=4, test=2)
ARCHIVE = deflated(WHOLE)


@given(st.floats(0, 1, exclude_max=True))
def test_an_archive_that_was_cut_short_is_refused(tmp_path, share):
    path = tmp_path / "mine.zip"
    path.write_bytes(ARCHIVE[: int(share * len(ARCHIVE))])
    with pytest.raises(DataError):
        open_source(path)


@settings(max_examples=400)
@given(st.integers(0, 2**32))
def test_a_damaged_archive_gives_its_images_or_a_data_error(tmp_path, seed):
    """Never another error, never another image than the one that was packed."""
    path, noise, data = tmp_path / "mine.zip", random.Random(seed), bytearray(ARCHIVE)
    for _ in range(noise.randint(1, 4)):
        start = noise.choice([0, len(data) - 400])  # the directory at its end is small, and holds the most
        data[noise.randrange(start, len(data))] = noise.randrange(256)
    path.write_bytes(data)
    try:
        source = open_source(path)
        for row in source.train + source.test:
            assert source.read(row.path) == WHOLE[row.path]
    except DataError:
        pass


def test_damage_in_an_image_of_an_archive_is_named(tmp_path):
    data = bytearray(ARCHIVE)
    name_at = data.index(b"train_data/2.png")
    data[name_at + 30] ^= 255
    (tmp_path / "mine.zip").write_bytes(data)
    source = open_source(tmp_path / "mine.zip")
    with pytest.raises(DataError, match="mine.zip is damaged at train_data/2.png"):
        source.read("train_data/2.png")
    assert source.read("train_data/1.png") == WHOLE["train_data/1.png"]


def test_an_archive_cannot_reach_out_of_itself(tmp_path):
    """Whatever its members are called, nothing is ever unpacked."""
    contents = {f"../{name}": data for name, data in WHOLE.items()} | {"/tmp-escape.png": png()}
    (tmp_path / "in").mkdir()
    path = write_zip(tmp_path / "in" / "mine.zip", contents)
    with pytest.raises(DataError):
        open_source(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_path_is_a_data_set_for_a_course(tmp_path, environment, kind):
    path = WRITERS[kind](tmp_path / kind, report_files(train=6, test=4))
    environment(PRESET="smoke", DATA=path)
    course = open_course()
    bank = open_bank(course)
    assert bank.name == "mine" and course.folder.name == "mine-smoke"
    assert len(bank.train) == 6 and len(bank.heldout) == 4


@pytest.mark.parametrize("data", ["folder", "nowhere", "shape"])
def test_a_data_set_nobody_knows_is_said_with_those_that_are_known(environment, data):
    environment(PRESET="smoke", DATA=data)
    with pytest.raises(DataError, match="shapes"):
        open_bank(open_course())


def test_the_source_is_only_read(tmp_path, environment):
    folder = write_folder(tmp_path / "mine", report_files(train=4, test=2))
    kept = shutil.copytree(folder, tmp_path / "kept")
    environment(PRESET="smoke", DATA=folder)
    open_bank(open_course())
    found, expected = (
        {file.relative_to(top): file.read_bytes() for file in top.rglob("*.*")} for top in (folder, kept)
    )
    assert found == expected
