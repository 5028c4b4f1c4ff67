"""The report's two data sets, and what strangers' answers look like."""

import inspect
import json

import numpy as np
import pytest
import torch
from data_sets import answers, png, report_files, write_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from course_lib import DataError, MyDataset, MyDatasett, datasets
from course_lib.datasets import read_answer


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "mine", report_files(train=6, test=12))


@pytest.mark.parametrize("data_set", [MyDataset, MyDatasett])
def test_the_signatures_are_the_reports(data_set):
    parameters = inspect.signature(data_set).parameters
    assert list(parameters) == ["meta_path", "root_dir", "transform"] and parameters["transform"].default is None
    assert issubclass(data_set, torch.utils.data.Dataset)


def test_without_a_transform_an_image_is_a_float_tensor_from_0_to_1(folder):
    """In the report's code `image` is unbound where `transform` is None."""
    for data_set, part in ((MyDataset, "train_data"), (MyDatasett, "test_data")):
        image, second = data_set(folder / "answer.json", folder / part)[3]
        assert image.shape == (3, 7, 9) and image.dtype == torch.float32 and second in (1, "3.png")
        pixels = np.array(Image.open(folder / part / "3.png"))
        torch.testing.assert_close(image, torch.from_numpy(pixels).permute(2, 0, 1) / 255)


def test_a_transform_is_given_a_pil_image(folder):
    data = MyDataset(folder / "answer.json", folder / "train_data", lambda image: (image.mode, image.size))
    assert data[0] == (("RGB", (9, 7)), 0)


def test_my_dataset_gives_images_and_labels_in_the_order_of_the_answers(folder):
    rows = [("4.png", 7), ("0.png", 79), ("5.png", 0)]
    (folder / "answer.json").write_bytes(answers(rows))
    data = MyDataset(str(folder / "answer.json"), str(folder / "train_data"), transform=np.array)
    assert len(data) == 3 and [label for _, label in data] == [7, 79, 0] and type(data[0][1]) is int
    for (image, _), (name, _) in zip(data, rows):
        assert (image == np.array(Image.open(folder / "train_data" / name))).all()


def test_my_datasett_gives_images_and_names_in_natural_order(folder):
    """`os.listdir` gives any order, sorting text puts 10 before 2."""
    data = MyDatasett(folder / "answer.json", folder / "test_data", transform=np.array)
    assert len(data) == 12 and [name for _, name in data] == [f"{i}.png" for i in range(12)]
    assert (data[10][0] == np.array(Image.open(folder / "test_data" / "10.png"))).all()


def test_my_datasett_needs_no_answers(folder):
    assert len(MyDatasett(None, folder / "test_data")) == 12


def test_only_images_are_listed_and_everything_skipped_is_named(folder):
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


@given(st.lists(st.integers(0, 10**20), unique=True), st.sampled_from(["", "img_", "고양이 "]), st.randoms())
def test_numbers_in_names_are_sorted_as_numbers(numbers, prefix, shuffling):
    names = [f"{prefix}{number}.jpg" for number in sorted(numbers)]
    shuffled = names.copy()
    shuffling.shuffle(shuffled)
    assert datasets.images_among(shuffled) == (names, [])


@given(st.lists(st.text(max_size=12)))
def test_any_names_can_be_sorted_and_none_is_lost(names):
    images, others = datasets.images_among(names)
    assert sorted(images + others) == sorted(names)
    assert datasets.images_among(names[::-1]) == (images, others)


def test_what_is_missing_is_said_in_words(folder):
    with pytest.raises(DataError, match="cannot be read .*MyDataset's first argument"):
        MyDataset(folder / "answers.json", folder / "train_data")
    with pytest.raises(DataError, match="cannot be listed .*folder of the test images"):
        MyDatasett(None, folder / "nowhere")
    (folder / "train_data" / "2.png").unlink()
    (folder / "train_data" / "3.png").write_bytes(b"no image")
    data = MyDataset(folder / "answer.json", folder / "train_data")
    with pytest.raises(DataError, match=r"2.png \(row 2 of the answers\) is missing"):
        data[2]
    with pytest.raises(DataError, match=r"3.png \(row 3 of the answers\) cannot be decoded"):
        data[-3]
    with pytest.raises(IndexError):
        data[6]


# --- answer.json ----------------------------------------------------------------------------------------------------


def row(**changes):
    return {"file_name": "1.jpg", "category": 1} | changes


@pytest.mark.parametrize(
    "second, words",
    [
        (row(category=80), "row 1: category 80 is outside 0–79.*subtract one"),
        (row(category=-1), "row 1: category -1 is outside"),
        (row(category="3"), "row 1: \"category\" should be a whole number from 0 to 79, not '3'"),
        (row(category=3.0), "row 1: .*not 3.0"),
        (row(category=None), "row 1: .*not None"),
        (row(category=True), "row 1: .*not True"),
        (row(category=[3]), "row 1: .*whole number"),
        (row(category=10**300), "row 1: category 1000.* is outside"),
        ({"file_name": "1.jpg"}, "row 1: .*not None"),
        ({"category": 3}, 'row 1: needs a "file_name"'),
        (row(file_name=""), 'row 1: needs a "file_name"'),
        (row(file_name=7), 'row 1: needs a "file_name"'),
        ([], 'row 1: needs a "file_name"'),
        ("1.jpg", 'row 1: needs a "file_name"'),
        (None, 'row 1: needs a "file_name"'),
        (row(file_name="0.jpg"), "row 1: 0.jpg has a row already"),
        (row(file_name="../0.jpg"), "row 1: '../0.jpg' leads out of the data folder"),
        (row(file_name="a/../../0.jpg"), "row 1: .*leads out"),
        (row(file_name="/etc/passwd"), "row 1: .*leads out"),
        (row(file_name="C:\\0.jpg"), "row 1: .*leads out"),
        (row(file_name="a\\0.jpg"), "row 1: .*leads out"),
        (row(file_name="0\0.jpg"), "row 1: .*leads out"),
    ],
)
def test_a_bad_row_is_named(second, words):
    with pytest.raises(DataError, match=f"answer.json, {words}"):
        read_answer(json.dumps({"annotations": [row(file_name="0.jpg"), second, row(file_name="2.jpg")]}))


@pytest.mark.parametrize(
    "text, words",
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\xff", "not JSON"),
        (b'{"annotations": [' + b"9" * 5000 + b"]}", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", 'no "annotations"'),
        (b"3", 'no "annotations"'),
        (b"null", 'no "annotations"'),
        (b'"annotations"', 'no "annotations"'),
        (b'{"annotation": []}', 'no "annotations"'),
        (b'{"annotations": []}', "list of at least one row"),
        (b'{"annotations": {}}', "list of at least one row"),
        (b'{"annotations": "0.jpg"}', "list of at least one row"),
        (b'{"annotations": null}', "list of at least one row, not None"),
    ],
)
def test_what_is_no_list_of_answers_is_said_in_words(text, words):
    with pytest.raises(DataError, match=f"mine.json.*{words}"):
        read_answer(text, "mine.json")


def test_good_answers_are_read_in_any_encoding_of_json():
    expected = [("고양이/1.jpg", 0), ("..2.jpg", 79)]
    text = answers(expected).decode()
    assert read_answer(text) == expected
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"):
        assert read_answer(text.encode(encoding)) == expected
    more = {"annotations": [{"file_name": "1.jpg", "category": 4, "width": 3}], "info": {}}
    assert read_answer(json.dumps(more)) == [("1.jpg", 4)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
rows = st.fixed_dictionaries(
    {},
    optional={
        "file_name": st.sampled_from(["1.jpg", "2.jpg", "a/3.jpg"]) | st.text() | json_values,
        "category": st.integers(-2, 82) | json_values,
    },
)
almost_answers = st.fixed_dictionaries({"annotations": st.lists(rows | json_values, max_size=5) | json_values})


@settings(max_examples=400)
@given((almost_answers | json_values).map(json.dumps) | st.binary(max_size=40) | st.text(max_size=40))
@example('{"annotations": [{"file_name": "\\ud800.jpg", "category": 1}]}')
@example('{"annotations": [' + "[" * 900 + "]" * 900 + "]}")
@example('{"annotations": ' + '{"annotations": ' * 900 + "0" + "}" * 901)
def test_whatever_the_answers_hold_it_is_read_or_a_data_error(text):
    try:
        answer = read_answer(text)
    except DataError as error:
        assert len(str(error)) < 500
        return
    assert answer and len({name for name, _ in answer}) == len(answer)
    for name, category in answer:
        assert isinstance(name, str) and datasets.is_safe(name) and 0 <= category < 80
