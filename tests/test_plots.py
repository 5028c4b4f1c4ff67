"""Figures: what they say, that nothing in them is hidden, overlaps or is too small, and names in
any script."""

import base64
import io
import itertools
import subprocess
import sys
import warnings
from dataclasses import replace

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
    DiskError,
    keep,
    plot_classes,
    plot_confusion,
    plot_history,
    plot_images,
    plot_predictions,
    plot_runs,
)
from course_lib.data.shapes import draw
from course_lib.plots import short

CLASSES = [f"class {i}" for i in range(80)]
KINDS = ["history", "stored", "runs", "loss", "images", "nine", "predictions", "three", "confusion"]
KOREAN = [
    "고양이",
    "강아지",
    "\u1100\u1169\u110b\u1163\u11bc",
    "토끼",
    "곰",
]  # the third as a Mac spells it


def history(accuracies, heldout=None):
    heldout = heldout or [None] * len(accuracies)
    return [
        {
            "epoch": i,
            "loss": 4.4 / i,
            "train_accuracy": a,
            "heldout_accuracy": h,
            "seconds": 1,
            "images_per_second": 9,
        }
        for i, (a, h) in enumerate(zip(accuracies, heldout), 1)
    ]


def labelled(labels, classes=CLASSES):
    return replace(noise_images(len(labels), side=8), labels=torch.tensor(labels), classes=classes)


def predictions(labels, guesses, classes=CLASSES, **options):
    probabilities = torch.nn.functional.one_hot(torch.tensor(guesses), len(classes)) * 0.75
    images = labelled(labels)
    return plot_predictions(
        images.batch(range(len(labels))), images.labels, probabilities, classes, **options
    )


def every_figure(names=CLASSES):
    """One of each kind, with these names where a figure has names."""
    images, seeds = (
        labelled([0, 1, 2, 3, 4, 0], names),
        [history([0.1, 0.2], [0.1, 0.3]), history([0.0, 0.4], [0.1, 0.2])],
    )
    histories = {2: history([0.0, 0.4], [0.0, 0.3]), 3: history([0.5], [0.4])}
    return {
        "history": plot_history(histories),
        "stored": plot_history(
            {2: histories[2]}, {2: history([0.1] * 9, [0.2] * 9)}, "Epoch 2 of 9: 40%"
        ),
        "runs": plot_runs(dict.fromkeys(names[:4], seeds), "heldout_accuracy", "Five seeds"),
        "loss": plot_runs(dict.fromkeys(names[:4], seeds[0]), "loss", "Learning rate"),
        "images": plot_images(images.batch(range(5)), names[:5], title="Five images"),
        "nine": plot_images(images.batch([0] * 9), [f"draw {i}" for i in range(1, 10)], columns=9),
        "predictions": predictions([0, 1, -1], [0, 2, 3], names),
        "three": predictions([0, 1, -1], [0, 2, 3], names, likeliest=3),
        "classes": plot_classes(torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2]), names, "Classes"),
        "confusion": plot_confusion(
            torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2]), names, "Classes"
        ),
    }


def texts(figure):
    return [
        text.get_text()
        for text in figure.findobj(mpl.text.Text)
        if text.get_visible() and text.get_text()
    ]


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
    for text in figure.findobj(mpl.text.Text):
        if text.get_visible() and text.get_text():
            assert text.get_fontsize() >= 12 and text.get_fontsize() * figure.dpi / 72 >= 16, text
    keep(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size < 100_000
    with Image.open(tmp_path / "figure.png") as picture:
        assert picture.width == int(width)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_described_in_words_for_whoever_cannot_see_it(figures, kind):
    bundle, metadata = figures[kind]._repr_mimebundle_()
    assert metadata["image/png"]["alt"] == bundle["text/plain"]
    said = {
        "history": "stage 2",
        "stored": "Epoch 2 of 9",
        "runs": "class 3",
        "loss": "Learning rate",
    }
    said |= {
        "images": "class 4",
        "nine": "draw 9",
        "predictions": "class 2",
        "three": "class 2",
        "confusion": "Classes",
    }
    assert said[kind] in bundle["text/plain"]
    with Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))) as picture:
        assert picture.width == int(figures[kind].bbox.width)


@pytest.mark.parametrize("kind", ["history", "stored", "runs", "loss", "confusion"])
def test_axes_are_labelled_and_quantities_have_a_unit(figures, kind):
    words = " ".join(texts(figures[kind]))
    expected = {
        "history": [
            "mean loss (nats)",
            "accuracy (%)",
            "epoch",
            "Stage 2",
            "Stage 3",
            "held-out",
            "training",
            "1.25%",
        ],
        "stored": ["stored run", "Epoch 2 of 9: 40%"],
        "runs": ["accuracy on held-out images (%)", "epoch", "Five seeds", *CLASSES[:4]],
        "loss": ["mean loss (nats)", "epoch", "Learning rate", *CLASSES[:4]],
        "confusion": ["true class", "predicted class", "(%)"],
    }
    assert all(phrase in words for phrase in expected[kind]), words


@pytest.mark.parametrize("kind", ["history", "runs", "loss"])
def test_lines_differ_by_style_and_marker_as_well_as_colour(figures, kind):
    lines = [line for line in figures[kind].axes[-1].lines if line.get_marker() not in ("None", "")]
    for appearance in (
        mpl.lines.Line2D.get_linestyle,
        mpl.lines.Line2D.get_marker,
        mpl.lines.Line2D.get_color,
    ):
        values = [appearance(line) for line in lines[:4]]
        assert len(set(values)) == len(values) > (0 if kind == "history" else 1)


def test_the_stored_run_is_grey_and_lies_behind(figures):
    lines = figures["stored"].axes[-1].lines
    grey = [line for line in lines if len(line.get_xdata()) == 9]
    assert len(grey) == 2 and all(
        len(set(mpl.colors.to_rgb(line.get_color()))) == 1 for line in grey
    )
    assert max(line.get_zorder() for line in grey) < min(
        line.get_zorder() for line in lines if line not in grey
    )


def test_several_seeds_are_their_mean_in_a_band_from_the_lowest_to_the_highest():
    seeds = [history([0.2, 0.2], [0.1, 0.3]), history([0.4, 0.2], [0.3, 0.7])]
    axis = plot_runs({"a": seeds}, "heldout_accuracy", "x").axes[0]
    assert axis.lines[0].get_ydata() == pytest.approx([20, 50])
    corners = axis.collections[0].get_paths()[0].vertices
    assert {(1, 10), (1, 30), (2, 30), (2, 70)} <= {tuple(corner.round(9)) for corner in corners}


shares = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(accuracies=shares)
@settings(max_examples=15)
def test_no_point_lies_on_the_frame_and_ticks_stay_within_0_to_100(accuracies):
    run = history(accuracies)
    for figure in (plot_runs({"a": run}, "train_accuracy", "x"), plot_history({1: run})):
        axis = figure.axes[-1]
        low, high = axis.get_ylim()
        margin = 0.01 * (high - low)
        assert low < 100 * min(accuracies) - margin and high > 100 * max(accuracies) + margin
        assert all(0 <= round(tick, 6) <= 100 for tick in axis.get_yticks() if low <= tick <= high)
        assert all(tick == round(tick) for tick in axis.get_xticks() if tick <= len(accuracies))


def full_and_few_colours(images):
    """A figure of images, as it's drawn and as its PNG file shows it: two PIL images."""
    figure, drawn = plot_images(torch.from_numpy(images), ["x"] * len(images)), io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    return [Image.open(file).convert("RGB") for file in (drawn, io.BytesIO(figure.png()))]


def test_a_figure_keeps_the_hues_of_the_classes():
    """Two classes may be 18 degrees of hue apart, so most pixels of a PNG with few colours stay
    within half of that."""
    images = np.stack([draw(label, 64, np.random.default_rng(label)) for label in range(24)])
    true, shown = (
        np.asarray(image.convert("HSV")).astype(int) for image in full_and_few_colours(images)
    )
    vivid = (true[..., 1] > 200) & (true[..., 2] > 200)
    turned = (shown[..., 0] - true[..., 0] + 128) % 256 - 128
    assert (np.abs(turned[vivid]) * 360 / 256 < 9).mean() > 0.8


def test_photographs_keep_their_colours():
    """If a few colours don't make the file small, it has many."""
    noise = np.random.default_rng(0).integers(256, size=(24, 64, 64, 3), dtype=np.uint8)
    true, shown = (np.asarray(image).astype(int) for image in full_and_few_colours(noise))
    assert np.abs(shown - true).mean() < 15


def test_a_rare_confusion_is_not_white():
    figure = plot_confusion(
        torch.arange(20).repeat(20), torch.tensor([*range(20)] * 18 + [0] * 40), CLASSES[:20]
    )
    picture = Image.open(io.BytesIO(figure.png())).convert("L")
    column, row = figure.axes[0].transData.transform(
        (0, 10)
    )  # 10% of class 10 are taken for class 0
    assert picture.getpixel((round(column), picture.height - round(row))) < 250


def test_the_first_point_of_a_run_is_seen():
    figure = plot_history({2: history([0.5])})
    picture = Image.open(io.BytesIO(figure.png())).convert("RGB")
    for axis in figure.axes:
        x, y = axis.transData.transform(axis.lines[0].get_xydata()[0])
        assert sum(picture.getpixel((round(x), picture.height - round(y)))) < 400


def test_runs_use_their_axis_and_may_count_steps():
    runs = {"a": history([0, 0.04]), "b": [entry | {"step": 10} for entry in history([0.02, 0.1])]}
    low, high = plot_runs(runs, "train_accuracy", "x").axes[0].get_ylim()
    assert plot_runs({"b": runs["b"]}, "loss", "x", x="step").axes[0].lines[
        0
    ].get_xdata().tolist() == [10, 10]
    assert 10 / (high - low) > 0.8


@pytest.mark.parametrize("last", [0.01, 1, 3, 4])
def test_a_loss_can_be_read_off_its_axis_and_compared_with_guessing(last):
    run = history([0.1, 0.2])
    run[-1]["loss"] = last
    axis = drawn(plot_runs({"a": run}, "loss", "x")).axes[0]
    low, high = axis.get_ylim()
    assert sum(low <= tick <= high for tick in axis.get_yticks()) >= 4
    assert any(np.allclose(line.get_ydata(), np.log(80)) for line in axis.lines)


def test_a_history_shows_100_percent_and_only_what_was_measured():
    figure = drawn(plot_history({1: history([0.5, 1.0])}))
    assert "100" in texts(figure.axes[-1]) and not any("held-out" in text for text in texts(figure))


def test_a_prediction_says_what_was_guessed_how_surely_and_what_is_true():
    first, second, third = predictions([0, 1, -1], [0, 2, 3]).axes
    assert (
        "✓" in first.get_title() and "class 0" in first.get_title() and "75%" in first.get_title()
    )
    assert (
        "✗" in second.get_title()
        and "class 2" in second.get_title()
        and "class 1" in second.get_title()
    )
    assert not set("✓✗") & set(third.get_title()) and "class 3" in third.get_title()
    right, wrong, unknown = (axis.spines["top"] for axis in (first, second, third))
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


def test_float_images_are_shown_as_the_pixels_they_came_from():
    pixels = labelled([0, 1]).batch([0, 1])
    figure = plot_images(pixels.permute(0, 3, 1, 2) / 127.5 - 1, ["a", "b"])
    assert all(
        (axis.images[0].get_array() == image.numpy()).all()
        for axis, image in zip(figure.axes, pixels)
    )


def test_the_confusion_matrix_has_true_classes_in_rows_and_thins_its_names():
    labels, predicted = torch.tensor([0, 0, 0, 0, 2]), torch.tensor([0, 1, 1, 1, 2])
    shown = plot_confusion(labels, predicted, ["a", "b", "c"]).axes[0].images[0].get_array()
    assert shown.tolist() == [[25, 75, 0], [0, 0, 0], [0, 0, 100]]
    axis = plot_confusion(labels, predicted, CLASSES).axes[0]
    assert 10 <= len(axis.get_yticks()) <= 20
    assert [label.get_text() for label in axis.get_yticklabels()][1] == CLASSES[
        int(axis.get_yticks()[1])
    ]


def test_accuracy_by_class_leaves_out_absent_classes_and_keeps_equal_names_apart():
    labels, predicted = torch.tensor([0, 0, 0, 0, 2, 2, 3]), torch.tensor([0, 1, 1, 1, 2, 0, 3])
    hardest, easiest = plot_classes(
        labels, predicted, ["crane", "absent", "crane", "owl", "absent"]
    ).axes
    for axis in (hardest, easiest):
        assert [bar.get_width() for bar in axis.patches] == [25, 50, 100]
        assert [label.get_text() for label in axis.get_yticklabels()] == ["crane", "crane", "owl"]
    many = torch.arange(40)
    hardest, easiest = plot_classes(
        many, many.clamp(max=38), [f"class {i}" for i in range(40)]
    ).axes
    assert len(hardest.patches) == len(easiest.patches) == 10
    assert hardest.get_yticklabels()[0].get_text() == "class 39"


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
        assert kind in ("history", "stored", "nine") or all(
            name in shown for name in (names[0], names[2])
        ), kind


@pytest.mark.skipif(
    not any("NanumGothic" in path or "CJK" in path for path in font_manager.findSystemFonts()),
    reason="no Korean font is installed here (fonts-nanum)",
)
def test_korean_names_are_drawn_in_korean():
    words = " ".join(
        text for figure in every_figure(KOREAN).values() for text in texts(drawn(figure))
    )
    assert all(name in words for name in ("고양이", "강아지", "고양"))


def test_without_a_korean_font_nothing_is_raised_or_printed(tmp_path):
    """Its own process: Python's own warning filters, and a machine with no fonts but
    matplotlib's."""
    program = f"""
import torch
from matplotlib import font_manager, get_data_path
font_manager.findSystemFonts = lambda: []
manager = font_manager.fontManager
manager.ttflist = [font for font in manager.ttflist if font.fname.startswith(get_data_path())]
from course_lib import keep, plot_images
from course_lib.plots import font_families
assert font_families() == ["DejaVu Sans"]
keep(plot_images(torch.zeros(1, 8, 8, 3, dtype=torch.uint8), ["고양이"]), {str(tmp_path / "figure.png")!r})
"""
    result = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program], capture_output=True, text=True
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "figure.png").stat().st_size > 0


@given(name=st.text(max_size=40), length=st.integers(2, 30))
def test_a_short_name_is_the_beginning_of_the_name(name, length):
    result = short(name, length)
    assert len(result) <= length and "," not in result
    assert result == short(result, length)


def test_a_short_name_ends_at_its_first_comma_and_counts_wide_letters_twice():
    assert short("goldfish, Carassius auratus") == "goldfish"
    assert short("x" * 30, 20) == "x" * 19 + "…"
    assert (
        short(KOREAN[2]) == "고양"
    )  # composed: fonts draw the letters of a Mac's spelling side by side
    assert short("고" * 30, 20) == "고" * 9 + "…" and short("고" * 10, 20) == "고" * 10


def test_keep_hands_the_figure_back_and_a_failure_leaves_the_old_file(tmp_path):
    figure, path = plot_history({1: history([0.5])}), tmp_path / "new folder" / "figure.png"
    assert keep(figure, path) is figure
    before = path.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="file"):
        keep(figure, tmp_path / "file" / "figure.png")
    assert path.read_bytes() == before and [file.name for file in path.parent.iterdir()] == [
        "figure.png"
    ]
