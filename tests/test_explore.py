"""The explorers, driven through their widgets' values as a browser would."""

import base64
import html
import io
import json
import re
from dataclasses import replace
from typing import NamedTuple

import nbformat
import pytest
import torch
from PIL import Image
from tiny import noise_images

from course_lib import browse_augmentation, browse_classes, browse_predictions, explore
from tools.notebooks import as_notebook

# --- Classes


class Drawing(NamedTuple):
    """A call of a function that draws images."""

    positions: list  # of the images, among all
    arguments: tuple  # the others


def watch(monkeypatch, images, name):
    """A list of what a function draws from now on, a Drawing each time."""
    seen = []
    plot = getattr(explore, name)

    def position(image):
        return int((images.pixels == image).flatten(1).all(1).nonzero())

    def watched(pixels, *arguments, **options):
        seen.append(Drawing([position(image) for image in pixels], arguments))
        return plot(pixels, *arguments, **options)

    monkeypatch.setattr(explore, name, watched)
    return seen


def size_of(picture):
    """The width that a picture is shown in; it has that many pixels, and its content in words."""
    match = re.fullmatch(
        r'<img src="data:image/jpeg;base64,(.*)" width="(\d+)" alt="([^"<]+)" style=".*">',
        picture.value,
    )
    data, width, alt = match.groups()
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        assert image.width >= int(width) - 1
    assert "Images: " in alt
    return int(width)


@pytest.fixture
def browser(monkeypatch):
    """The four widgets and a list of what was drawn."""
    labels = torch.tensor([5] * 30 + [7, 7, 9, -1] + [11] * 20)
    images = replace(noise_images(len(labels), side=8), labels=labels)
    seen = watch(monkeypatch, images, "plot_images")
    return *browse_classes(images).children, seen


def test_it_starts_with_the_first_class_that_has_images(browser):
    menu, page, caption, picture, seen = browser
    assert [value for _, value in menu.options] == [5, 7, 9, 11]
    assert "class 5" in menu.options[0][0] and "30" in menu.options[0][0]
    [drawing] = seen
    assert drawing.positions == list(range(12))
    assert drawing.arguments == ([f"{i}.png" for i in range(12)],)
    assert (page.min, page.value, page.max) == (1, 1, 3)
    assert caption.value == "30 images; page 1 of 3"


def test_pages_turn_and_the_last_one_is_short(browser):
    _, page, caption, _, seen = browser
    page.value = 3
    assert seen[-1].positions == list(range(24, 30)) and "page 3 of 3" in caption.value


def test_another_class_starts_at_its_first_page(browser):
    menu, page, _, picture, seen = browser
    page.value = 2
    before = picture.value
    menu.value = 7
    assert seen[-1].positions == [30, 31]
    assert (page.value, page.max) == (1, 1)
    assert picture.value != before
    menu.value = 11
    page.value = 2
    menu.value = 5
    assert seen[-1].positions == list(range(12)) and page.max == 3
    menu.value = 9
    assert seen[-1].positions == [32]


def test_pictures_keep_one_size_however_many_a_class_has(browser):
    """A box stretches its children: without a width of their own, two images would be huge."""
    menu, _, _, picture, seen = browser
    for category, columns in ((5, 6), (7, 2), (9, 1)):
        menu.value = category
        assert len(seen[-1].positions) >= columns
        assert 200 <= size_of(picture) / columns <= 230


def test_files_whose_names_begin_alike_are_told_apart(monkeypatch):
    names = [f"photographs of cats/taken on our holidays, {i}.jpg" for i in range(12)]
    images = replace(noise_images(12, side=8), labels=torch.zeros(12, dtype=torch.int64))
    seen = watch(monkeypatch, images, "plot_images")
    browse_classes(replace(images, names=names))
    [captions] = seen[-1].arguments
    assert len(set(captions)) == 12


# --- Predictions


@pytest.fixture
def predictions(monkeypatch):
    """The six widgets and a list of what was drawn, for 30 images; every third one is wrong."""
    labels = torch.arange(30) % 5
    images = replace(noise_images(30, side=8), labels=labels)
    probabilities = torch.zeros(30, 80)
    guesses = (labels + (torch.arange(30) % 3 == 0)) % 80
    shares = torch.linspace(0.5, 0.99, 30)
    probabilities[range(30), guesses] = shares
    probabilities[range(30), guesses + 1] = 1 - shares
    seen = watch(monkeypatch, images, "plot_predictions")
    return *browse_predictions(images, probabilities).children, seen


def test_predictions_are_filtered_by_outcome_class_and_confidence(predictions):
    kind, menu, sure, page, caption, picture, seen = predictions
    assert seen[-1].positions == list(range(12)) and caption.value == "30 images; page 1 of 3"
    kind.value = "wrong"
    assert seen[-1].positions == list(range(0, 30, 3)) and caption.value.startswith("10 images")
    menu.value = 0
    assert seen[-1].positions == [0, 15]
    kind.value = "right"
    assert seen[-1].positions == [5, 10, 20, 25]
    sure.value = (60, 90)
    assert seen[-1].positions == [10, 20]
    kind.value = "all"
    menu.value = -1
    sure.value = (0, 100)
    page.value = 3
    assert seen[-1].positions == list(range(24, 30)) and picture.value


def test_three_likeliest_classes_are_named(predictions):
    *_, picture, seen = predictions
    assert size_of(picture) > 600
    assert len(re.findall(r"class \d+ \d+%", html.unescape(picture.value))) >= 3 * 12


@pytest.mark.parametrize("classes", [2, 3, 200])
def test_predictions_of_any_number_of_classes_can_be_browsed(classes):
    """Names begin alike, and there may be fewer classes than are named otherwise."""
    names = [f"animals/mammals of the world/cats, number {i}" for i in range(classes)]
    labels = torch.arange(12) % classes
    images = replace(noise_images(12, side=8), labels=labels, classes=names)
    probabilities = torch.eye(classes)[labels]
    picture = browse_predictions(images, probabilities).children[-1]
    size_of(picture)
    shown = re.findall(r"(\d+)…? 100%", html.unescape(picture.value))
    assert {int(number) for number in shown} == set(labels.tolist())


def test_an_empty_choice_hides_the_picture_and_says_so(predictions):
    kind, menu, sure, page, caption, picture, seen = predictions
    page.value = 2
    count = len(seen)
    menu.value = 50
    assert len(seen) == count and not picture.value
    assert caption.value == "0 images; page 1 of 1"
    menu.value = 1
    assert picture.value and len(seen[-1].positions) == 6


# --- Augmentation


@pytest.fixture
def augmentation(course, monkeypatch):
    """The explorer's widgets by name, and a list of the batches that it has drawn."""
    drawn = []
    plot = explore.plot_images

    def watched(pictures, captions):
        drawn.append(pictures)
        return plot(pictures, captions)

    monkeypatch.setattr(explore, "plot_images", watched)
    number, area, angle, row, picture = browse_augmentation(course.data.train, course).children
    flips, again = row.children
    return {"number": number, "area": area, "angle": angle, "flips": flips, "again": again}, drawn


def test_the_original_stays_and_draws_differ(augmentation):
    widgets, drawn = augmentation
    assert len(drawn[0]) == 12 and len({picture.numpy().tobytes() for picture in drawn[0]}) == 12
    assert (drawn[0][1:] == 0).any()  # corners that a rotation left empty
    widgets["again"].click()
    assert torch.equal(drawn[1][0], drawn[0][0])
    assert all(not torch.equal(*pair) for pair in zip(drawn[0][1:], drawn[1][1:]))
    widgets["number"].value = 7
    assert not torch.equal(drawn[2][0], drawn[0][0])


def test_switched_off_nothing_changes_the_image_and_each_slider_does_its_part(augmentation):
    widgets, drawn = augmentation
    widgets["area"].value = 100
    widgets["angle"].value = 0
    widgets["flips"].value = False
    plain = drawn[-1][0]
    difference = (drawn[-1][1:] - plain).abs().mean((1, 2, 3))
    assert difference.median() < 0.15 and (drawn[-1][1:] != 0).any((1, 2, 3)).all()
    widgets["flips"].value = True
    versions = [plain, plain.flip(2), plain.flip(1), plain.flip(1, 2)]

    def nearest(one):
        return min(range(4), key=lambda i: (versions[i] - one).abs().sum())

    assert len({nearest(one) for one in drawn[-1][1:]}) >= 3
    before = empty_pixels(drawn[-1])
    widgets["angle"].value = 90
    assert (empty_pixels(drawn[-1]) > before + 20).sum() >= 6


def empty_pixels(pictures):
    """How many pixels of each picture are empty, such as the corners after a rotation."""
    return (pictures == 0).all(1).flatten(1).sum(1)


def test_a_stored_notebook_shows_the_first_picture_in_the_place_of_the_widget(monkeypatch):
    shown = []
    monkeypatch.setattr(
        "IPython.display.display", lambda data, metadata, raw: shown.append((data, metadata))
    )
    explorer = browse_classes(noise_images(4))
    explorer._ipython_display_()
    [(data, metadata)] = shown
    cell = nbformat.v4.new_code_cell("browse_classes(images)")
    cell.outputs = [nbformat.v4.new_output("display_data", data, metadata=metadata)]
    notebook = nbformat.v4.new_notebook(cells=[cell])
    live = notebook.cells[0].outputs[0].data
    assert live["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    [stored] = json.loads(as_notebook(notebook))["cells"][0]["outputs"]
    image = base64.b64decode("".join(stored["data"].pop("image/jpeg")))
    assert Image.open(io.BytesIO(image)).width > 100
    assert list(stored["data"]) == ["text/plain"]


def test_a_progress_bar_leaves_nothing_in_a_stored_notebook():
    cell = nbformat.v4.new_code_cell("train(…)")
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "bar"}
    cell.outputs = [nbformat.v4.new_output("display_data", view)]
    stored = json.loads(as_notebook(nbformat.v4.new_notebook(cells=[cell])))
    assert stored["cells"][0]["outputs"] == []
