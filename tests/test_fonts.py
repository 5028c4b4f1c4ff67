"""Class names in any script: as they are where a font has them, spelled where none has, never boxes or warnings."""

import io
import warnings

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager

from course_lib import fonts, plot_class_histogram, plot_class_samples, plot_images, plot_sweep, plot_top_five
from course_lib.bank import Bank, Images

NAMES = ["고양이", "犬", "ねこ", "кошка", "γάτα", "😀 $x$ $", "e\u0301te\u0301", "tab\there", "\u200bzero"]
NAMES.append("A $\\frac{$")


def images_of(classes):
    count = 2 * len(classes)
    pixels = torch.zeros(count, 8, 8, 3, dtype=torch.uint8)
    sides = np.full(count, 8)
    labels = torch.arange(count) % len(classes)
    return Images(pixels, torch.arange(count), labels, sides, sides, ["x"] * count, classes)


def drawn(figure):
    """Draw a figure with every warning an error; return the texts that were drawn."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    return [text.get_text() for text in figure.findobj(mpl.text.Text) if text.get_text()]


def every_figure(classes):
    images = images_of(classes)
    yield plot_images(images.batch(range(len(classes))), classes)
    yield plot_class_samples(images, range(len(classes)), columns=2)
    yield plot_sweep({name: [0.5] for name in classes}, "title")
    for first in range(0, len(classes), 5):
        some = (classes[first:] + classes)[:5]
        yield plot_top_five(images.pixels[0], torch.linspace(0.1, 0.3, 5).flip(0), some)


@pytest.fixture
def only_dejavu(monkeypatch):
    """A machine with no fonts but matplotlib's own, like Colab."""
    own = [font for font in font_manager.fontManager.ttflist if str(mpl.get_data_path()) in font.fname]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    fonts._installed.cache_clear()
    fonts._say_what_helps.cache_clear()
    yield
    fonts._installed.cache_clear()


def test_without_fonts_names_are_spelled_and_that_is_said_once(only_dejavu, capsys):
    texts = [text for figure in every_figure(NAMES) for text in drawn(figure)]
    assert {"goyangi", "neko", "кошка", "γάτα", "été", "tabhere", "zero"} <= set(texts)
    assert not any("고" in text for text in texts)
    assert capsys.readouterr().out.count("fonts-noto-cjk") == 1


def test_with_whatever_is_installed_nothing_warns():
    for figure in every_figure(NAMES):
        drawn(figure)


def test_an_installed_font_that_has_the_characters_is_used(monkeypatch, only_dejavu):
    """Whatever fonts a machine has: DejaVu Sans plays the one that has what the style's own font (here cmr10) lacks."""
    with mpl.rc_context({"font.family": ["cmr10"]}):
        assert fonts.drawable("кошка") == "кошка"
        assert mpl.rcParams["font.family"][0] == "cmr10" and len(mpl.rcParams["font.family"]) == 2
    assert "кошка" in drawn(plot_images(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), ["кошка"]))


@pytest.mark.skipif(
    not any("CJK" in path or "Nanum" in path for path in font_manager.findSystemFonts()),
    reason="no Korean font is installed here (fonts-noto-cjk, fonts-nanum)",
)
def test_with_a_korean_font_korean_is_korean():
    figures = list(every_figure(["고양이", "강아지", "\u1100\u1169\u110b\u1163\u11bc", "x", "y"]))
    texts = [text for figure in figures for text in drawn(figure)]
    assert {"고양이", "강아지", "고양"} <= set(texts)  # the third came in a Mac's spelling
    assert mpl.rcParams["font.family"] == ["sans-serif"]  # nobody else's plots have changed


@given(name=st.text(min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_any_name_can_be_drawn(name):
    with mpl.rc_context():
        text = fonts.drawable(name)
    assert not set(text) & set("\t\r\x00")  # a name of several lines stays one
    drawn(plot_images(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), [name]))


def test_the_histogram_counts_both_parts_and_labels_its_axes():
    train, heldout = images_of(["a", "b", "c"]), images_of(["a", "b", "c"]).subset([0, 1, 3])
    figure = plot_class_histogram(Bank("x", train, heldout, heldout, ["a", "b", "c"], "some"))
    above, below = figure.axes
    assert [bar.get_height() for bar in above.patches] == [2, 2, 2]
    assert [bar.get_height() for bar in below.patches] == [2, 1, 0]
    assert above.get_ylabel() == below.get_ylabel() == "images a class" and below.get_xlabel() == "class (0–2)"
    assert above.get_title() == "6 training images" and below.get_title() == "3 held-out images"
    assert above.patches[0].get_hatch() != below.patches[0].get_hatch()  # told apart not by colour only
    drawn(figure)


def test_class_samples_show_the_class_that_is_named():
    images = images_of(["a", "b"])
    images.pixels[1::2] = 200  # class b
    figure = plot_class_samples(images, [1], columns=3)
    shown = [axis.images[0].get_array()[0, 0, 0] for axis in figure.axes if axis.images]
    assert shown == [200, 200] and figure.axes[0].get_ylabel() == "b"
