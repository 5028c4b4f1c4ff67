"""The confusion matrix and the accuracy by class, from one class to thousands."""

import io
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_plots import CLASSES, drawn, visible_texts

from course_lib import plot_classes, plot_confusion
from course_lib.mistakes import confusion_matrix

FEW_OR_MANY = [1, 2, 10, 11, 19, 20, 100, 101, 3000]


def guesses(classes, images=600, seed=0):
    """Labels and predictions of unequal classes: every class occurs, most images are right."""
    random = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), random.geometric(0.3, images) % classes])
    right = random.random(len(labels)) < 0.7
    predicted = np.where(right, labels, random.integers(0, classes, len(labels)))
    return torch.from_numpy(labels), torch.from_numpy(predicted)


def nested(classes):
    """Long names that begin alike."""
    return [f"animals/mammals of the world/kind {i}, as others call it" for i in range(classes)]


def row_names(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_the_confusion_matrix_counts_every_image_once(pairs):
    labels, predicted = torch.tensor(pairs).T
    matrix = confusion_matrix(labels, predicted, 5)
    for label, guess in itertools.product(range(5), range(5)):
        assert matrix[label, guess] == pairs.count((label, guess))


@given(
    pairs=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=20),
    unused=st.integers(0, 73),
)
@settings(max_examples=10)
def test_the_matrix_has_the_classes_that_occur_true_ones_in_rows(pairs, unused):
    labels, predicted = torch.tensor(pairs).T
    axis = plot_confusion(labels, predicted, CLASSES[: 7 + unused]).axes[0]
    occurring = sorted({category for pair in pairs for category in pair})
    assert row_names(axis) == [CLASSES[category] for category in occurring]
    percent = axis.images[0].get_array()
    for row, column in itertools.product(range(len(occurring)), repeat=2):
        label, guess = occurring[row], occurring[column]
        images = sum(true == label for true, _ in pairs)
        expected = 100 * pairs.count((label, guess)) / images if images else 0
        assert percent[row, column] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("classes", FEW_OR_MANY)
def test_a_matrix_of_any_number_of_classes_can_be_read(classes):
    labels, predicted = guesses(classes)
    figure = drawn(plot_confusion(labels, predicted, nested(classes), "A title"))
    axis = figure.axes[0]
    rows = len(axis.images[0].get_array())
    assert rows == classes if classes <= 100 else 10 <= rows <= 20
    names = row_names(axis)
    assert min(classes, 10) <= len(names) == len(set(names)) <= 20
    assert names == [label.get_text() for label in axis.get_xticklabels()]
    assert len(axis.texts) == (rows**2 if rows <= 10 else 0)
    boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    assert all(text.get_fontsize() >= 12 for text in visible_texts(figure))
    assert rows == classes or f"{rows} of {classes}" in axis.get_ylabel()


def test_of_very_many_classes_those_that_are_confused_most_are_shown():
    labels = torch.arange(1000).repeat(5)
    predicted = labels.clone()
    predicted[labels == 700] = 30
    predicted[:3] = torch.tensor([999, 999, 999])  # each once
    names = [f"class {i}" for i in range(1000)]
    axis = plot_confusion(labels, predicted, names).axes[0]
    assert row_names(axis) == [
        "class 0",
        "class 1",
        "class 2",
        "class 30",
        "class 700",
        "class 999",
    ]
    percent = axis.images[0].get_array()
    assert percent[4].tolist() == [0, 0, 0, 100, 0, 0]
    assert percent[0].tolist() == [80, 0, 0, 0, 0, 20]
    assert len(plot_confusion(labels, labels, names).axes[0].images[0].get_array()) == 20


def test_a_rare_confusion_is_not_white():
    labels = torch.arange(20).repeat(20)
    predicted = torch.tensor([*range(20)] * 18 + [0] * 40)
    figure = plot_confusion(labels, predicted, CLASSES[:20])
    picture = Image.open(io.BytesIO(figure.png())).convert("L")
    # 10% of class 10 are taken for class 0.
    x, y = figure.axes[0].transData.transform((0, 10))
    assert picture.getpixel((round(x), picture.height - round(y))) < 250


@pytest.mark.parametrize("classes", FEW_OR_MANY)
def test_no_class_is_shown_twice_and_few_are_all_shown(classes):
    labels, predicted = guesses(classes)
    figure = drawn(plot_classes(labels, predicted, nested(classes), "A title"))
    names = list(itertools.chain.from_iterable(row_names(axis) for axis in figure.axes))
    assert len(names) == len(set(names)) == min(classes, 20)
    assert len(figure.axes) == (1 if classes < 20 else 2)
    for axis in figure.axes:
        assert len(axis.patches) == len(row_names(axis))
        boxes = [label.get_window_extent() for label in axis.get_yticklabels()]
        assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    for text in visible_texts(figure):
        assert text.get_fontsize() >= 12
        box = text.get_window_extent()
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_accuracy_by_class_leaves_out_absent_classes_and_keeps_equal_names_apart():
    labels = torch.tensor([0, 0, 0, 0, 2, 2, 3])
    predicted = torch.tensor([0, 1, 1, 1, 2, 0, 3])
    names = ["crane", "absent", "crane", "owl", "absent"]
    [axis] = plot_classes(labels, predicted, names).axes
    assert [bar.get_width() for bar in axis.patches] == [25, 50, 100]
    assert row_names(axis) == ["0: crane", "2: crane", "owl"]


def test_the_hardest_and_the_easiest_ten_classes_are_shown():
    labels = torch.arange(40)
    hardest, easiest = plot_classes(labels, labels.clamp(max=38), CLASSES[:40]).axes
    assert len(hardest.patches) == len(easiest.patches) == 10
    assert row_names(hardest)[0] == "class 39"
