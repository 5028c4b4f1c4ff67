"""Figures: what they say, that nothing in them is hidden or too small, and names in any script."""

import base64
import io
import itertools
import subprocess
import sys
import warnings
from dataclasses import fields, replace

import matplotlib as mpl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import font_manager
from matplotlib import pyplot as plt
from PIL import Image
from tiny import noise_images

from course_lib import (
    keep,
    plot_classes,
    plot_confusion,
    plot_history,
    plot_images,
    plot_predictions,
    plot_runs,
)
from course_lib.curves import plot_live
from course_lib.data.bank import Bank
from course_lib.data.shapes import COLOURS, MOTIFS
from course_lib.errors import DataError
from course_lib.plots import likeliest_classes

CLASSES = [f"class {i}" for i in range(80)]
CURVES = ["history", "stored", "runs", "loss"]
PHOTOGRAPHS = ["images", "nine", "predictions", "three"]
KINDS = [*CURVES, *PHOTOGRAPHS, "classes", "confusion"]
AS_A_MAC_SPELLS_IT = "\u1100\u1169\u110b\u1163\u11bc"
KOREAN = ["고양이", "강아지", AS_A_MAC_SPELLS_IT, "토끼", "곰"]


def history(accuracies, heldout=None):
    """A history of as many epochs, as `train` returns it. heldout: accuracies, by default none."""
    entries = []
    for i, accuracy in enumerate(accuracies):
        entry = {
            "epoch": i + 1,
            "loss": 4.4 / (i + 1),
            "train_accuracy": accuracy,
            "heldout_loss": 4.4 - heldout[i] if heldout else None,
            "heldout_accuracy": heldout[i] if heldout else None,
            "seconds": 1,
            "images_per_second": 9,
            "threads": 2,
        }
        entries.append(entry)
    return entries


def labelled(labels, classes=CLASSES):
    return replace(noise_images(len(labels), side=8), labels=torch.tensor(labels), classes=classes)


def bank(labels, classes):
    """A Bank of these training images, without anything else."""
    values = dict.fromkeys(field.name for field in fields(Bank))
    return Bank(**values | {"train": labelled(list(labels), classes), "classes": classes})


def predictions(labels, guesses, classes=CLASSES, **options):
    probabilities = torch.nn.functional.one_hot(torch.tensor(guesses), len(classes)) * 0.75
    images = labelled(labels)
    pixels = images.batch(range(len(labels)))
    return plot_predictions(pixels, images.labels, probabilities, classes, **options)


def every_figure(names=CLASSES):
    """One of each kind, with these names where a figure has names."""
    images = labelled([0, 1, 2, 3, 4, 0], names)
    seeds = [history([0.1, 0.2], [0.1, 0.3]), history([0.0, 0.4], [0.1, 0.2])]
    second = history([0.0, 0.4], [0.0, 0.3])
    third = history([0.5], [0.4])
    before = history([0.1] * 9, [0.2] * 9)
    four = names[:4]
    of_five = bank(range(5), names[:5])
    nine = [f"draw {i}" for i in range(1, 10)]
    labels = torch.tensor([0, 1, 2])
    guesses = torch.tensor([0, 2, 2])
    return {
        "history": plot_history({2: second, 3: third}, data=of_five),
        "stored": plot_live(2, second, 9, of_five, "Epoch 2 of 9: 40%", stored=before),
        "runs": plot_runs(dict.fromkeys(four, seeds), "heldout_accuracy", "Five seeds"),
        "loss": plot_runs(dict.fromkeys(four, seeds[0]), "loss", "Learning rate", classes=80),
        "images": plot_images(images.batch(range(5)), names[:5], title="Five images"),
        "nine": plot_images(images.batch([0] * 9), nine, columns=9),
        "predictions": predictions([0, 1, -1], [0, 2, 3], names),
        "three": predictions([0, 1, -1], [0, 2, 3], names, likeliest=3),
        "classes": plot_classes(labels, guesses, names, "Classes"),
        "confusion": plot_confusion(labels, guesses, names, "Classes"),
    }


def levels(axis):
    """The heights of all lines that go across an axis, such as that of guessing."""
    return [line.get_ydata()[0] for line in axis.lines if list(line.get_xdata()) == [0, 1]]


def visible_texts(figure):
    found = figure.findobj(mpl.text.Text)
    return [text for text in found if text.get_visible() and text.get_text()]


def texts(figure):
    return [text.get_text() for text in visible_texts(figure)]


def drawn(figure):
    """Draw a figure as a notebook does, outside the course's style, with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    return figure


@pytest.fixture(scope="module")
def figures():
    return every_figure()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_legible_at_1280_pixels_and_small(figures, kind, tmp_path):
    figure = drawn(figures[kind])
    width = figure.get_figwidth() * figure.dpi
    assert width <= 1280
    for text in visible_texts(figure):
        points = text.get_fontsize()
        assert points >= 12 and points * figure.dpi / 72 >= 16, text
    assert len(figure.shown().content) < 100_000
    path = tmp_path / "figure.png"
    keep(figure, path)
    with Image.open(path) as picture:
        assert picture.width == int(width)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_described_in_words_for_whoever_cannot_see_it(figures, kind):
    bundle, metadata = figures[kind]._repr_mimebundle_()
    mime = "image/jpeg" if kind in PHOTOGRAPHS else "image/png"
    assert set(bundle) == {mime, "text/plain"}
    assert metadata[mime]["alt"] == bundle["text/plain"]
    said = {
        "history": "stage 2",
        "stored": "Epoch 2 of 9",
        "runs": "class 3",
        "loss": "Learning rate",
        "images": "class 4",
        "nine": "draw 9",
        "predictions": "class 2",
        "three": "class 2",
        "classes": "hardest class 1",
        "confusion": "Classes",
    }
    assert said[kind] in bundle["text/plain"]
    with Image.open(io.BytesIO(base64.b64decode(bundle[mime]))) as picture:
        assert picture.width == int(figures[kind].bbox.width)


@pytest.mark.parametrize("kind", [*CURVES, "confusion"])
def test_axes_are_labelled_and_quantities_have_a_unit(figures, kind):
    words = " ".join(texts(figures[kind]))
    stages = ["Stage 2", "without augmentation", "Stage 3", "with augmentation"]
    quantities = ["mean loss (nats)", "accuracy (%)", "epoch", "held-out", "training", "20%"]
    expected = {
        "history": [*stages, *quantities],
        "stored": ["stored run", "Epoch 2 of 9: 40%"],
        "runs": ["accuracy on held-out images (%)", "epoch", "Five seeds", *CLASSES[:4]],
        "loss": ["mean loss (nats)", "epoch", "Learning rate", *CLASSES[:4]],
        "confusion": ["true class", "predicted class", "(%)"],
    }
    assert all(phrase in words for phrase in expected[kind]), words


@pytest.mark.parametrize("kind", ["history", "runs", "loss"])
def test_lines_differ_by_style_and_marker_as_well_as_colour(figures, kind):
    drawn_lines = figures[kind].axes[-1].lines
    runs = [line for line in drawn_lines if line.get_marker() not in ("None", "")][:4]
    assert len(runs) > (0 if kind == "history" else 1)
    assert len({line.get_linestyle() for line in runs}) == len(runs)
    assert len({line.get_marker() for line in runs}) == len(runs)
    assert len({line.get_color() for line in runs}) == len(runs)


def test_the_stored_run_is_grey_and_lies_behind(figures):
    lines = figures["stored"].axes[0].lines
    stored = [line for line in lines if len(line.get_xdata()) == 9]
    others = [line for line in lines if line not in stored]
    assert len(stored) == 2
    for line in stored:
        red, green, blue = mpl.colors.to_rgb(line.get_color())
        assert red == green == blue
        assert all(line.get_zorder() < other.get_zorder() for other in others)


def test_several_seeds_are_their_mean_in_a_band_from_the_lowest_to_the_highest():
    seeds = [history([0.2, 0.2], [0.1, 0.3]), history([0.4, 0.2], [0.3, 0.7])]
    axis = plot_runs({"a": seeds}, "heldout_accuracy", "x").axes[0]
    assert axis.lines[0].get_ydata() == pytest.approx([20, 50])
    corners = axis.collections[0].get_paths()[0].vertices
    assert {(1, 10), (1, 30), (2, 30), (2, 70)} <= {tuple(corner.round(9)) for corner in corners}


@given(accuracies=st.lists(st.floats(0, 1), min_size=1, max_size=5))
@settings(max_examples=15)
def test_no_point_lies_on_the_frame_and_ticks_stay_within_0_to_100(accuracies):
    run = history(accuracies)
    for figure in (plot_runs({"a": run}, "train_accuracy", "x"), plot_history({1: run})):
        axis = figure.axes[0]
        low, high = axis.get_ylim()
        margin = 0.01 * (high - low)
        assert low < 100 * min(accuracies) - margin and high > 100 * max(accuracies) + margin
        assert all(0 <= round(tick, 6) <= 100 for tick in axis.get_yticks() if low <= tick <= high)
        assert all(tick == round(tick) for tick in axis.get_xticks() if tick <= len(accuracies))


def test_the_first_point_of_a_run_is_seen():
    figure = plot_history({2: history([0.5])})
    picture = Image.open(io.BytesIO(figure.png())).convert("RGB")
    for axis in figure.axes:
        x, y = axis.transData.transform(axis.lines[0].get_xydata()[0])
        assert sum(picture.getpixel((round(x), picture.height - round(y)))) < 400


@pytest.mark.parametrize(
    "run",
    [
        [],
        [[]],
        [[{"epoch": 1, "loss": 1.0}], []],
        [[{"epoch": 1, "loss": 1.0}] * 2, [{}]],
        [[{"epoch": 1, "loss": 1.0}], [{"epoch": 2, "loss": 1.0}]],
    ],
)
def test_runs_that_cannot_be_averaged_are_named(run):
    with pytest.raises(DataError, match="my run"):
        plot_runs({"my run": run}, "loss", "Losses")


def test_runs_use_their_axis():
    runs = {"a": history([0, 0.04]), "b": history([0.02, 0.1])}
    low, high = plot_runs(runs, "train_accuracy", "x").axes[0].get_ylim()
    assert 10 / (high - low) > 0.8


def test_runs_may_count_steps():
    run = [entry | {"step": 10 * entry["epoch"]} for entry in history([0.02, 0.1])]
    axis = plot_runs({"a": run}, "loss", "x", x="step").axes[0]
    assert axis.lines[0].get_xdata().tolist() == [10, 20]


@pytest.mark.parametrize("last", [0.01, 1, 3, 4])
def test_a_loss_can_be_read_off_its_axis_and_compared_with_guessing(last):
    run = history([0.1, 0.2])
    run[-1]["loss"] = last
    axis = drawn(plot_runs({"a": run}, "loss", "x", classes=80)).axes[0]
    low, high = axis.get_ylim()
    assert sum(low <= tick <= high for tick in axis.get_yticks()) >= 4
    assert any(np.allclose(line.get_ydata(), np.log(80)) for line in axis.lines)


@pytest.mark.parametrize("classes", [2, 5, 80, 3000])
def test_guessing_is_as_good_as_the_number_of_classes_allows(classes):
    run = history([0.1, 0.2])
    names = [f"class {i}" for i in range(classes)]
    curves = drawn(plot_history({1: run}, data=bank(range(classes), names))).axes[0]
    losses = drawn(plot_runs({"a": run}, "loss", "x", classes=classes)).axes[0]
    assert levels(curves) == [pytest.approx(100 / classes)]
    assert levels(losses) == [pytest.approx(np.log(classes))]


@given(counts=st.lists(st.integers(0, 50), min_size=2, max_size=5).filter(any))
@settings(max_examples=8)
def test_unequal_classes_are_compared_with_always_naming_the_largest(counts):
    names = [f"class {i}" for i in range(len(counts))]
    data = bank(np.repeat(range(len(counts)), counts), names)
    figure = plot_history({2: history([0.1, 0.9]), 3: history([0.9])}, data=data)
    percent = 100 * max(counts) / sum(counts)
    guessing = 100 / np.count_nonzero(counts)
    words = " ".join(texts(figure))
    if percent <= 1.1 * guessing:
        assert levels(figure.axes[1]) == [pytest.approx(guessing)]
        assert "always" not in words
    else:
        chance, largest = figure.axes[1].lines[-2:]
        assert levels(figure.axes[1]) == [pytest.approx(guessing), pytest.approx(percent)]
        assert chance.get_linewidth() != largest.get_linewidth()
        assert (
            names[counts.index(max(counts))] in words
            and f"{percent:.3g}% of training images" in words
        )


def test_without_data_no_number_of_classes_is_claimed():
    run = history([0.1, 0.2])
    for figure in (plot_history({1: run}), plot_runs({"a": run}, "loss", "x")):
        assert not any(levels(axis) for axis in figure.axes)
        assert not any("chance" in text or "guessing" in text for text in texts(figure))


def test_a_history_shows_100_percent_and_only_what_was_measured():
    figure = drawn(plot_history({1: history([0.5, 1.0])}))
    assert "100" in texts(figure.axes[0])
    assert not any("held-out" in text for text in texts(figure))


def test_a_prediction_says_what_was_guessed_how_surely_and_what_is_true():
    axes = predictions([0, 1, -1], [0, 2, 3]).axes
    right, wrong, unknown = [axis.get_title() for axis in axes]
    assert "✓" in right and "class 0" in right and "75%" in right
    assert "✗" in wrong and "class 2" in wrong and "class 1" in wrong
    assert not set("✓✗") & set(unknown) and "class 3" in unknown
    right, wrong, unknown = [axis.spines["top"] for axis in axes]
    assert wrong.get_linewidth() > right.get_linewidth() > unknown.get_linewidth() > 0
    assert wrong.get_linestyle() != right.get_linestyle()


def test_neighbouring_frames_and_captions_do_not_touch():
    names = [f"a rather long name of class {i}" for i in range(80)]
    figure = drawn(predictions(list(range(12)), list(range(1, 13)), names))
    frames = []
    for axis in figure.axes:
        half = axis.spines["top"].get_linewidth() * figure.dpi / 144
        frame = axis.get_window_extent().padded(half)
        frames.append(mpl.transforms.Bbox.union([frame, axis.title.get_window_extent()]))
    assert len(frames) == 12
    for first, second in itertools.combinations(frames, 2):
        assert not first.overlaps(second)
    assert all(figure.bbox.x0 <= frame.x0 and frame.x1 <= figure.bbox.x1 for frame in frames)


@given(
    count=st.integers(1, 13), likeliest=st.integers(1, 4), title=st.sampled_from([None, "A title"])
)
@settings(max_examples=15)
def test_no_caption_is_cut_off(count, likeliest, title):
    labels = list(range(count))
    figure = drawn(predictions(labels, labels, likeliest=likeliest, title=title))
    for axis in figure.axes:
        caption = axis.title.get_window_extent()
        assert figure.bbox.y0 <= caption.y0 and caption.y1 <= figure.bbox.y1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_images_have_room_for_their_title(count):
    title = "640 of 640 held-out images are wrong"
    labels = list(range(count))
    figure = drawn(predictions(labels, [i + 1 for i in labels], title=title))
    [words] = [text for text in visible_texts(figure) if text.get_text() == title]
    box = words.get_window_extent()
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_no_more_classes_are_named_than_there_are(classes):
    names = [f"class {i}" for i in range(classes)]
    figure = drawn(predictions([0], [classes - 1], names, likeliest=3))
    caption = figure.axes[0].get_title().split("is: ")[0]
    assert all(caption.count(name) == 1 for name in names)


def test_classes_whose_names_begin_alike_are_told_apart():
    names = [f"animals/mammals of the world/cats, number {i}" for i in range(12)]
    for likeliest in (1, 3):
        figure = predictions(list(range(12)), list(range(12)), names, likeliest=likeliest)
        captions = [axis.get_title() for axis in figure.axes]
        for i, caption in enumerate(captions):
            assert str(i) in caption.split("%")[0]


@pytest.mark.parametrize("likeliest", [1, 3])
def test_colour_and_motif_of_each_drawn_class_can_be_read(likeliest):
    kinds = [(motif, colour) for motif in MOTIFS for colour in COLOURS]
    names = [f"{colour} {motif}" for motif, colour in kinds]
    labels = list(range(len(names)))
    figure = predictions(labels, labels, names, likeliest=likeliest)
    for axis, (motif, colour) in zip(figure.axes, kinds, strict=True):
        assert f"{colour} {motif[:4]}" in axis.get_title()


def test_float_images_are_shown_as_the_pixels_they_came_from():
    pixels = labelled([0, 1]).batch([0, 1])
    figure = plot_images(pixels.permute(0, 3, 1, 2) / 127.5 - 1, ["a", "b"])
    for axis, image in zip(figure.axes, pixels, strict=True):
        assert (axis.images[0].get_array() == image.numpy()).all()


def test_your_own_settings_stay_and_no_figure_is_shown_twice():
    with mpl.rc_context({"font.size": 7, "font.family": ["monospace"], "lines.linewidth": 9}):
        before = dict(mpl.rcParams)
        every_figure()
        assert dict(mpl.rcParams) == before and not plt.get_fignums()


@pytest.mark.parametrize("order", [1, -1])
def test_class_names_are_text_and_nothing_else(order):
    names = ["$x$ costs $", "A $\\frac{$", "50% & \\n", "кошка", "été"][::order]
    for kind, figure in every_figure(names).items():
        shown = "\n".join(texts(drawn(figure)))
        if kind not in ("history", "stored", "nine"):  # there, no class is named
            assert names[0] in shown and names[2] in shown, kind


@pytest.mark.skipif(
    not any("NanumGothic" in path or "CJK" in path for path in font_manager.findSystemFonts()),
    reason="no Korean font is installed here (fonts-nanum)",
)
def test_korean_names_are_drawn_in_korean():
    shown = []
    for figure in every_figure(KOREAN).values():
        shown += texts(drawn(figure))
    words = " ".join(shown)
    assert "고양이" in words and "강아지" in words and "고양" in words


def test_without_a_korean_font_nothing_is_raised_or_printed(tmp_path):
    """In a process with Python's own warning filters, and no fonts but matplotlib's."""
    path = tmp_path / "figure.png"
    program = f"""
import torch
from matplotlib import font_manager, get_data_path
font_manager.findSystemFonts = lambda: []
manager = font_manager.fontManager
manager.ttflist = [font for font in manager.ttflist if font.fname.startswith(get_data_path())]
from course_lib import keep, plot_images
from course_lib.pictures import font_families
assert font_families() == ["DejaVu Sans"]
image = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
keep(plot_images(image, ["고양이"]), {str(path)!r})
"""
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert path.stat().st_size > 0


def test_of_equally_likely_classes_all_name_the_same_one_first():
    """With few bits, as in bf16, two classes often have the same probability."""
    random = torch.Generator().manual_seed(0)
    probabilities = torch.randint(1, 4, (300, 80), generator=random) / 160
    for count in (1, 3, 100):
        found = likeliest_classes(probabilities, count)
        assert torch.equal(found.classes[:, 0], probabilities.argmax(1))
        assert torch.equal(found.shares, probabilities.gather(1, found.classes))
        assert found.classes.shape == (300, min(count, 80))


def test_a_loss_of_0_is_seen():
    run = history([0.5, 0.9, 1.0])
    run[-1]["loss"] = 0.0
    low, high = drawn(plot_runs({"a": run}, "loss", "x")).axes[0].get_ylim()
    assert low <= 0 < high


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_with_label_smoothing_is_told_from_one_without(smoothing):
    figure = plot_history({2: history([0.1, 0.5], [0.1, 0.2])}, smoothing=smoothing)
    assert ("smoothing 0.1" in figure.axes[1].get_ylabel()) == (smoothing > 0)


def test_a_first_loss_on_held_out_images_leaves_the_others_room_and_is_named():
    run = history([0.1, 0.5, 0.9], [0.1, 0.2, 0.3])
    run[0]["heldout_loss"] = 88.1
    figure = drawn(plot_history({2: run}))
    assert figure.axes[1].get_ylim()[1] < 10
    assert any("88.1" in text for text in texts(figure))
