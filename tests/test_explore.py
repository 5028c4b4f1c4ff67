"""The class browser, driven through its widgets' values as a browser would."""

import io
from dataclasses import replace

import ipywidgets
import pytest
import torch
from PIL import Image
from tiny import noise_images

from course_lib import browse_classes, explore


@pytest.fixture
def browser(monkeypatch):
    """The four widgets and a list of what was drawn: [(positions of the images, captions), …]."""
    labels = torch.tensor([5] * 30 + [7, 7, 9] + [11] * 20)
    images, shown, plot_images = noise_images(len(labels), side=8), [], explore.plot_images

    def watched(pixels, captions):
        positions = [int((images.pixels == image).flatten(1).all(1).nonzero()) for image in pixels]
        shown.append((positions, captions))
        return plot_images(pixels, captions)

    monkeypatch.setattr(explore, "plot_images", watched)
    return *browse_classes(replace(images, labels=labels)).children, shown


def test_it_starts_with_the_first_class_that_has_images(browser):
    menu, page, caption, picture, shown = browser
    assert [value for _, value in menu.options] == [5, 7, 9, 11]
    assert "class 5" in menu.options[0][0] and "30" in menu.options[0][0]
    assert shown == [(list(range(12)), [f"{i}.png" for i in range(12)])]
    assert (page.min, page.value, page.max) == (1, 1, 3)
    assert all(number in caption.value for number in ("1", "12", "30"))


def test_pages_turn_and_the_last_one_is_short(browser):
    _, page, caption, _, shown = browser
    page.value = 3
    assert shown[-1][0] == list(range(24, 30)) and "25" in caption.value and "30" in caption.value


def test_another_class_starts_at_its_first_page(browser):
    menu, page, _, picture, shown = browser
    page.value = 2
    before = picture.value
    menu.value = 7
    assert shown[-1][0] == [30, 31] and (page.value, page.max) == (1, 1) and picture.value != before
    menu.value, page.value = 11, 2
    menu.value = 5
    assert shown[-1][0] == list(range(12))
    menu.value = 9
    assert shown[-1][0] == [32]


def test_pictures_keep_one_size_however_many_a_class_has(browser):
    """A box stretches its children: without a width of their own, two images would fill two screens."""
    menu, _, _, picture, shown = browser
    for category, columns in ((5, 6), (7, 2), (9, 1)):
        menu.value = category
        width = float(picture.layout.width.removesuffix("px"))
        assert len(shown[-1][0]) >= columns and 100 <= width / columns <= 200
        assert Image.open(io.BytesIO(picture.value)).width >= width


def test_images_without_labels_have_no_classes_to_browse():
    unlabelled = replace(noise_images(2, side=8), labels=torch.tensor([-1, -1]))
    assert isinstance(browse_classes(unlabelled), ipywidgets.HTML)
