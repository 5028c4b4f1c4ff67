"""The report's two data sets behave like lists, and say what is wrong with an image."""

import numpy as np
import pytest
from data_sets import png, report_files, write_folder

from course_lib import DataError, MyDataset, MyDatasett

COUNT = 6


@pytest.fixture(params=["MyDataset", "MyDatasett"])
def data(request, tmp_path):
    folder = write_folder(tmp_path, report_files(train=COUNT, test=COUNT))
    if request.param == "MyDataset":
        return MyDataset(folder / "answer.json", folder / "train_data", np.array)
    return MyDatasett(None, folder / "test_data", np.array)


def test_indices_are_those_of_a_list(data):
    items = [data[i] for i in range(COUNT)]
    assert len({image.tobytes() for image, _ in items}) == COUNT
    for index in range(-COUNT, 0):
        image, second = data[index]
        expected_image, expected_second = items[index]
        assert (image == expected_image).all() and second == expected_second


@pytest.mark.parametrize("index", [COUNT, COUNT + 1, -COUNT - 1, 10**6])
def test_an_index_beyond_the_ends_is_an_index_error(data, index):
    with pytest.raises(IndexError):
        data[index]


def test_going_through_it_ends(data):
    """Python ends such a loop at the IndexError."""
    assert len(list(data)) == COUNT


@pytest.mark.parametrize("index", [2, 2 - COUNT])
def test_a_damaged_image_is_named_with_its_row(tmp_path, index):
    files = report_files(train=COUNT) | {"train_data/2.png": png()[:30]}
    folder = write_folder(tmp_path, files)
    with pytest.raises(DataError, match=r"2\.png.*row 2"):
        MyDataset(folder / "answer.json", folder / "train_data")[index]
