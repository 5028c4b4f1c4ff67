"""The report's two data sets, and whatever an answer.json can hold."""

import inspect
import json
import unicodedata

import numpy as np
import pytest
import torch
from data_sets import answers, png, report_files, write_folder
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from course_lib import DataError, MyDataset, MyDatasett
from course_lib.data.answers import images_among, is_safe, read_answer


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "mine", report_files(train=6, test=12))


@pytest.mark.parametrize("data_set", [MyDataset, MyDatasett])
def test_the_signatures_are_the_reports(data_set):
    parameters = inspect.signature(data_set).parameters
    assert list(parameters) == ["meta_path", "root_dir", "transform"] and parameters["transform"].default is None
    assert issubclass(data_set, torch.utils.data.Dataset)


def test_without_a_transform_an_image_is_a_float_tensor_from_0_to_1(folder):
    """In the report's code `image` is unbound if `transform` is None."""
    for data_set, part in ((MyDataset, "train_data"), (MyDatasett, "test_data")):
        image, second = data_set(folder / "answer.json", folder / part)[3]
        assert image.shape == (3, 7, 9) and image.dtype == torch.float32 and second in (1, "3.png")
        pixels = np.array(Image.open(folder / part / "3.png"))
        torch.testing.assert_close(image, torch.from_numpy(pixels).permute(2, 0, 1) / 255)


def test_my_dataset_gives_images_and_labels_in_the_order_of_the_answers(folder):
    rows = [("4.png", 7), ("0.png", 79), ("5.png", 0)]
    (folder / "answer.json").write_bytes(answers(rows))
    data = MyDataset(str(folder / "answer.json"), str(folder / "train_data"), transform=np.array)
    assert len(data) == 3 and [label for _, label in data] == [7, 79, 0] and type(data[0][1]) is int
    for (image, _), (name, _) in zip(data, rows):
        assert (image == np.array(Image.open(folder / "train_data" / name))).all()


def test_my_datasett_gives_images_and_names_in_natural_order(folder):
    """`os.listdir` gives any order, and sorted text has 10 before 2. It needs no answers."""
    data = MyDatasett(None, folder / "test_data", transform=np.array)
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
    with pytest.raises((DataError, OSError), match="answers.json"):
        MyDataset(folder / "answers.json", folder / "train_data")
    with pytest.raises((DataError, OSError), match="nowhere"):
        MyDatasett(None, folder / "nowhere")
    (folder / "train_data" / "2.png").unlink()
    (folder / "train_data" / "3.png").write_bytes(b"no image")
    data = MyDataset(folder / "answer.json", folder / "train_data")
    for index, row in ((2, 2), (-3, 3)):
        with pytest.raises(DataError, match=f"{row}.png.*row {row}"):
            data[index]
    with pytest.raises(IndexError):
        data[6]


@given(st.lists(st.integers(0, 10**20), unique=True), st.sampled_from(["", "img_", "고양이 "]), st.randoms())
def test_numbers_in_names_are_sorted_as_numbers(numbers, prefix, shuffling):
    names = [f"{prefix}{number}.jpg" for number in sorted(numbers)]
    shuffled = names.copy()
    shuffling.shuffle(shuffled)
    assert images_among(shuffled) == (names, [])


@given(st.lists(st.text(max_size=12), unique=True))
def test_any_names_can_be_sorted_and_none_is_lost(names):
    images, others = images_among(names)
    assert sorted(images + others) == sorted(names) and images_among(names[::-1]) == (images, others)


# --- answer.json ----------------------------------------------------------------------------------------------------


def row(**changes):
    return {"file_name": "1.jpg", "category": 1} | changes


@pytest.mark.parametrize(
    "second, named",
    [
        *((row(category=category), str(category)) for category in (80, -1, "3", 3.0, None, True, [3])),
        (row(category=10**300), "1000"),
        *((value, "") for value in ({"file_name": "1.jpg"}, {"category": 3}, [], "1.jpg", None)),
        (row(file_name=""), ""),
        (row(file_name=7), "7"),
        (row(file_name="0.jpg"), "0.jpg"),
        (row(file_name=unicodedata.normalize("NFD", "고.jpg")), "고.jpg"),
        *((row(file_name=name), "") for name in ("../0.jpg", "a/../../0.jpg", "C:\\0.jpg", "a\\0.jpg", "0\0.jpg")),
        (row(file_name="/etc/passwd"), "/etc/passwd"),
    ],
)
def test_a_bad_row_is_named(second, named):
    rows = [row(file_name="0.jpg"), row(file_name="고.jpg"), second, row(file_name="2.jpg")]
    with pytest.raises(DataError, match="mine.json, row 2") as failure:
        read_answer(json.dumps({"annotations": rows}), "mine.json")
    assert named in str(failure.value)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe\xff", b'{"annotations": [' + b"9" * 5000 + b"]}", b"[" * 100_000, b"[]", b"3", b"null"]
    + [b'"annotations"', b'{"annotation": []}', b'{"annotations": []}', b'{"annotations": {}}']
    + [b'{"annotations": "0.jpg"}', b'{"annotations": null}'],
)  # fmt: skip
def test_what_is_no_list_of_answers_is_refused(text):
    with pytest.raises(DataError, match="mine.json"):
        read_answer(text, "mine.json")


def test_good_answers_are_read_in_any_encoding_of_json():
    expected = [("고양이/1.jpg", 0), ("..2.jpg", 79)]
    text = answers(expected).decode()
    for encoded in (text, *(text.encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32"))):
        assert read_answer(encoded) == expected
    assert read_answer(json.dumps({"annotations": [row(width=3)], "info": {}})) == [("1.jpg", 1)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
names = st.sampled_from(["1.jpg", "2.jpg", "a/3.jpg"]) | st.text() | json_values
rows = st.fixed_dictionaries({}, optional={"file_name": names, "category": st.integers(-2, 82) | json_values})
almost_answers = st.fixed_dictionaries({"annotations": st.lists(rows | json_values, max_size=5) | json_values})


@settings(max_examples=300)
@given((almost_answers | json_values).map(json.dumps) | st.binary(max_size=40) | st.text(max_size=40))
@example('{"annotations": [{"file_name": "\\ud800.jpg", "category": 1}]}')
@example('{"annotations": [' + "[" * 900 + "]" * 900 + "]}")
def test_whatever_the_answers_hold_it_is_read_or_a_data_error(text):
    try:
        answer = read_answer(text)
    except DataError as error:
        assert len(str(error)) < 500
        return
    assert answer and len(dict(answer)) == len(answer)
    for name, category in answer:
        assert isinstance(name, str) and is_safe(name) and 0 <= category < 80
