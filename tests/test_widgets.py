"""The browser by class, driven through its widgets' values, as a browser would."""

import io
import subprocess
import sys

import ipywidgets
import numpy as np
import pytest
import torch
from PIL import Image

from course_lib import browse_classes, widgets
from course_lib.bank import Images


def images_of(labels):
    count = len(labels)
    pixels = torch.arange(count, dtype=torch.uint8).reshape(-1, 1, 1, 1).expand(count, 8, 8, 3).contiguous()
    names, classes = [f"{i}.png" for i in range(count)], [f"name {i}" for i in range(80)]
    sides = np.full(count, 8)
    return Images(pixels, torch.arange(count), torch.tensor(labels), sides, sides, names, classes)


@pytest.fixture
def browser(monkeypatch):
    shown = []
    plot_images = widgets.plot_images

    def watched(pixels, captions):
        shown.append((pixels[:, 0, 0, 0].tolist(), captions))
        return plot_images(pixels, captions)

    monkeypatch.setattr(widgets, "plot_images", watched)
    box = browse_classes(images_of([5] * 30 + [7, 7, 9] + [11] * 20))
    return *box.children, shown


def test_it_starts_with_the_first_class_that_has_images(browser):
    menu, page, caption, picture, shown = browser
    labels = ["5: name 5 (30)", "7: name 7 (2)", "9: name 9 (1)", "11: name 11 (20)"]
    assert [label for label, _ in menu.options] == labels
    assert shown[-1] == (list(range(12)), [f"{i}.png" for i in range(12)])
    assert (page.value, page.max) == (1, 3)
    assert caption.value == "images 1 to 12 of 30 in class 5"
    assert Image.open(io.BytesIO(picture.value)).width > 100


def test_pages_turn_and_the_last_is_short(browser):
    _, page, caption, _, shown = browser
    page.value = 3
    assert shown[-1][0] == list(range(24, 30)) and caption.value == "images 25 to 30 of 30 in class 5"


def test_another_class_starts_at_its_first_page(browser):
    menu, page, caption, picture, shown = browser
    page.value = 2
    before = picture.value
    menu.value = 7
    assert shown[-1][0] == [30, 31] and (page.value, page.max) == (1, 1) and picture.value != before
    menu.value, page.value = 11, 2
    menu.value = 5
    assert shown[-1][0] == list(range(12))
    menu.value = 9
    assert shown[-1][0] == [32]
    menu.value = 5
    page.value = 3
    assert shown[-1][0] == list(range(24, 30))


def test_images_without_labels(capsys):
    assert isinstance(browse_classes(images_of([-1, -1])), ipywidgets.HTML)


def test_ipywidgets_is_imported_by_who_uses_it_only():
    code = "import course_lib, sys; course_lib.plot_images; sys.exit('ipywidgets' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
