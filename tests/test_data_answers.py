"""The report's two data sets, and whatever an answer.json can hold."""

import json
import unicodedata

import numpy as np
import pytest
import torch
from data_sets import HIDDEN, answers, png, report_files, write_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from course_lib import DataError, MyDataset, MyDatasett
from course_lib.data.answers import (
    data_error,
    is_hidden,
    leads_out,
    natural_order,
    parse_json,
    path_problem,
    read_answer,
)


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "mine", report_files(train=6, test=12))


def test_my_dataset_gives_images_and_labels_in_the_order_of_the_answers(folder):
    """In the report's code `image` is unbound if `transform` is None."""
    rows = [("4.png", 7), ("0.png", 79), ("5.png", 0)]
    (folder / "answer.json").write_bytes(answers(rows))
    data = MyDataset(meta_path=str(folder / "answer.json"), root_dir=str(folder / "train_data"))
    as_arrays = MyDataset(folder / "answer.json", folder / "train_data", np.array)
    assert len(data) == 3 and [label for _, label in data] == [7, 79, 0] and type(data[0][1]) is int
    for (image, _), (array, _), (name, _) in zip(data, as_arrays, rows):
        assert (array == np.array(Image.open(folder / "train_data" / name))).all()
        assert image.dtype == torch.float32 and torch.equal(
            image, torch.from_numpy(array).permute(2, 0, 1) / 255
        )


def test_my_datasett_gives_images_and_names_in_natural_order(folder):
    """`os.listdir` gives any order, and sorted text has 10 before 2. It needs no answers."""
    data = MyDatasett(meta_path=None, root_dir=folder / "test_data", transform=np.array)
    assert len(data) == 12 and [name for _, name in data] == [f"{i}.png" for i in range(12)]
    assert (data[10][0] == np.array(Image.open(folder / "test_data" / "10.png"))).all()


def test_only_images_are_listed_and_the_rest_is_named(folder):
    others = [".DS_Store", "Thumbs.db", "notes.txt", "._3.png", ".hidden.jpg", "noending"]
    for name in others:
        (folder / "test_data" / name).write_bytes(b"no image")
    for name in ["cat.JPEG", "고양이 2.Png"]:
        (folder / "test_data" / name).write_bytes(png())
    (folder / "test_data" / "folder.png").mkdir()
    data = MyDatasett(None, folder / "test_data")
    assert data.file_names == [f"{i}.png" for i in range(12)] + ["cat.JPEG", "고양이 2.Png"]
    assert sorted(data.skipped) == sorted(others)
    assert [name for _, name in data] == data.file_names  # each can be opened


@pytest.mark.parametrize("in_answer, on_disk", [("NFC", "NFD"), ("NFD", "NFC")])
def test_korean_names_are_found_in_either_spelling(tmp_path, in_answer, on_disk):
    contents = {
        "answer.json": answers([(unicodedata.normalize(in_answer, "고양이.png"), 3)]),
        unicodedata.normalize(on_disk, "고양이.png"): png(),
    }
    folder = write_folder(tmp_path, contents)
    image, label = MyDataset(folder / "answer.json", folder)[0]
    assert image.shape == (3, 7, 9) and label == 3


def test_what_is_missing_is_named(folder):
    (folder / "train_data" / "2.png").unlink()
    (folder / "train_data" / "3.png").write_bytes(b"no image")
    data = MyDataset(folder / "answer.json", folder / "train_data")
    for index, row in ((2, 2), (-3, 3)):
        with pytest.raises(DataError, match=f"{row}.png.*row {row}"):
            data[index]
    with pytest.raises(IndexError):
        data[6]


# --- answer.json


def row(**changes):
    return {"file_name": "1.jpg", "category": 1} | changes


@pytest.mark.parametrize(
    "second, named",
    [
        *(
            (row(category=category), str(category))
            for category in (10_000, -1, "3", 3.0, None, True)
        ),
        (row(category=10**300), "1000"),
        *((value, "") for value in ({"file_name": "1.jpg"}, {"category": 3}, "1.jpg")),
        (row(file_name=""), ""),
        (row(file_name=7), "7"),
        (row(file_name="0.jpg"), "0.jpg"),
        (row(file_name=unicodedata.normalize("NFD", "고.jpg")), "고.jpg"),
        *(
            (row(file_name=name), "")
            for name in ("../0.jpg", "a/../../0.jpg", "C:\\0.jpg", "a\\0.jpg", "0\0.jpg")
        ),
        (row(file_name="/etc/passwd"), "/etc/passwd"),
    ],
)
def test_a_bad_row_is_named(second, named):
    rows = [row(file_name="0.jpg"), row(file_name="고.jpg"), second, row(file_name="2.jpg")]
    with pytest.raises(DataError, match="mine.json, row 2") as failure:
        read_answer(json.dumps({"annotations": rows}), "mine.json")
    assert named in str(failure.value)


@pytest.mark.parametrize(
    "text, named",
    [
        (
            '{"annotations": [{"file_name": "0.jpg", "category": 1, "category": 2}]}',
            "row 0: .*category",
        ),
        (
            '{"annotations": [{"file_name": "0.jpg", "category": 1}], "annotations": [{}]}',
            "annotations",
        ),
    ],
)
def test_of_a_key_held_twice_none_is_chosen(text, named):
    with pytest.raises(DataError, match=f"answer.json.*{named}"):
        read_answer(text)


def test_good_answers_are_read_in_any_encoding_of_json():
    expected = [("고양이/1.jpg", 0), ("..2.jpg", 79)]
    text = answers(expected).decode()
    for encoded in (
        text,
        *(text.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32")),
    ):
        assert read_answer(encoded) == expected
    assert read_answer(json.dumps({"annotations": [row(width=3)], "info": {}})) == [("1.jpg", 1)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4)
    ),
    max_leaves=10,
)
names = st.sampled_from(["1.jpg", "2.jpg", "a/3.jpg"]) | st.text() | json_values
rows = st.fixed_dictionaries(
    {}, optional={"file_name": names, "category": st.integers(-2, 82) | json_values}
)
almost_answers = st.fixed_dictionaries(
    {"annotations": st.lists(rows | json_values, max_size=5) | json_values}
)


@settings(max_examples=200)
@given(
    (almost_answers | json_values).map(json.dumps) | st.binary(max_size=40) | st.text(max_size=40)
)
@example('{"annotations": [{"file_name": "\\ud800.jpg", "category": 1}]}')
@example('{"annotations": [' + "[" * 900 + "]" * 900 + "]}")
@example(b"[" * 100_000)
@example(b'{"annotations": []}')
def test_whatever_the_answers_hold_it_is_read_or_a_data_error(text):
    try:
        answer = read_answer(text)
    except DataError as error:
        assert len(str(error)) < 500 and "answer.json" in str(error)
        return
    assert answer and len(dict(answer)) == len(answer)
    for name, category in answer:
        assert isinstance(name, str) and not path_problem(name) and 0 <= category < 80


def test_a_name_listed_twice_is_named_with_both_rows():
    rows = [("a.png", 1), ("b.png", 1), ("c.png", 1), ("b.png", 2)]
    with pytest.raises(DataError, match=r"row 3: .*b\.png.* row 1"):
        read_answer(answers(rows))


def test_each_message_names_one_cause():
    """No two of these faults can be told apart by one message for both."""
    faults = [
        *({"file_name": name, "category": 1} for name in ("", 7, "a\\b", "a:b", "/a", "a\0b")),
        *({"file_name": "0.jpg", "category": category} for category in ("3", -1, 10_000)),
        *({"file_name": "0.jpg"}, {"category": 1}, "0.jpg"),
    ]
    messages = set()
    for fault in faults:
        with pytest.raises(DataError, match="row 0") as failure:
            read_answer(json.dumps({"annotations": [fault]}))
        messages.add(str(failure.value).replace(repr(fault), ""))
    assert len(messages) == len(faults)


def test_a_key_held_twice_outside_of_what_is_read_does_no_harm():
    text = '{"info": {"a": 1, "a": 2}, "annotations": [{"file_name": "0.jpg", "category": 1}]}'
    assert read_answer(text) == [("0.jpg", 1)]


def test_a_text_that_would_fill_the_memory_is_not_parsed(monkeypatch):
    monkeypatch.setattr("course_lib.data.answers.MAX_JSON", 1000)
    assert parse_json(b"[]" + b" " * 998, "answer.json", "") == []
    with pytest.raises(DataError, match="answer.json"):
        read_answer(b" " * 1001)


def test_what_a_library_says_about_a_file_is_escaped():
    with pytest.raises(DataError) as failure, data_error("0.png can't be read", "Replace it."):
        raise ValueError("unknown chunk \x1b[2J")
    assert str(failure.value).isprintable() and "unknown chunk" in str(failure.value)


# --- names


def test_natural_order_is_that_of_the_numbers_however_many_digits():
    names = ["", "007", "07", "7", "08", "10", "٣", "9" * 5000, "1" + "0" * 5000, "a", "a2", "a10"]
    numbers = [name for name in names if name.isdecimal() and len(name) < 4000]
    assert sorted(numbers, key=natural_order) == sorted(numbers, key=lambda n: (int(n), n))
    assert sorted(reversed(names[-5:]), key=natural_order) == names[-5:]


@pytest.mark.parametrize(
    "name",
    ["/a", "../a", "a/../b", "a/..", "..", "C:/a", "C:\\a", "a\\..\\b"],
)
def test_paths_that_lead_out_of_their_folder(name):
    assert leads_out(name)


@pytest.mark.parametrize("name", ["a", "a/b", "..a", "a..", "...", "12:30", "a/C:/b"])
def test_paths_that_stay_in_their_folder(name):
    assert not leads_out(name)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_programs_leave_is_hidden_wherever_it_lies(name):
    assert is_hidden(name) and is_hidden(f"a/{name}") and is_hidden(f"{name}/b.png")


@pytest.mark.parametrize("name", ["a.png", "@a.png", "#1.png", "____.png", "a~$.png", "icon.png"])
def test_peoples_own_files_are_not_hidden(name):
    assert not is_hidden(name) and not is_hidden(f"train_data/{name}")
