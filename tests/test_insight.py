"""Looking into a network: what is measured of receptive fields, maps and temperatures, and the
figures."""

import itertools
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plots import drawn, texts, visible_texts
from tiny import noise_images
from torch import nn

from course_lib import MyModel, get_model
from course_lib.data.shapes import NAMES
from course_lib.insight import (
    CANVAS,
    Window,
    best_temperature,
    central_side,
    correlation,
    mosaic,
    reach,
    receptive_field,
    windows,
)
from course_lib.insight_plots import (
    answers_in_words,
    show_fields,
    show_filters,
    show_heat,
    show_maps,
)
from course_lib.insight_points import (
    Bins,
    show_agreement,
    show_features,
    show_reliability,
    show_ring,
)

GROUPS = ("conv1", "conv2", "conv3", "conv4", "conv5")


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# --- Receptive fields


@given(
    layers=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=4),
)
def test_the_receptive_field_is_what_a_gradient_reaches(layers):
    """Convolutions of ones, without padding: an output depends on all of its receptive field."""
    expected = receptive_field(layers)
    x = torch.zeros(1, 1, 1, expected, requires_grad=True)
    y = x
    for kernel, stride in layers:
        y = F.conv2d(y, torch.ones(1, 1, 1, kernel), stride=stride)
    (gradient,) = torch.autograd.grad(y[0, 0, 0, 0], x)
    last = gradient.flatten().nonzero().max() + 1
    assert y.numel() == 1 and last <= expected
    if all(kernel >= stride for kernel, stride in layers):  # no gaps between the windows
        assert (gradient != 0).all()


def test_the_windows_of_a_group_are_those_of_the_main_path():
    model = get_model(MyModel)
    assert windows(model, "conv1") == [Window(7, 2), Window(3, 2)]
    assert len(windows(model, "conv5")) == 41  # 40 convolutions and a maximum
    fields = [receptive_field(windows(model, group)) for group in GROUPS]
    assert fields == [11, 27, 67, 211, 371]
    assert fields[-1] < CANVAS
    with pytest.raises(ValueError, match="conv9"):
        windows(model, "conv9")


@given(side=st.sampled_from([8, 32, 50, 64, 500]), count=st.integers(1, 5))
@settings(max_examples=10)
def test_a_mosaic_shows_one_image_beside_the_other(side, count):
    images = noise_images(count, side=side)
    picture = mosaic(images)
    assert picture.shape == (1, 3, CANVAS, CANVAS)
    pixels = ((picture[0].permute(1, 2, 0) + 1) * 127.5).round().byte()
    seen = min(side, CANVAS)
    assert pixels[:seen, :seen].equal(images.batch([0])[0, :seen, :seen])
    if 2 * side <= CANVAS:
        assert pixels[:side, side : 2 * side].equal(images.batch([1 % count])[0])


@given(side=st.integers(1, 12), row=st.integers(0, 11), column=st.integers(0, 11))
def test_reach_is_the_smallest_square_that_holds_everything(side, row, column):
    gradient = torch.zeros(24, 24)
    gradient[12, 12] = 1
    assert reach(gradient) == central_side(gradient, 1) == 1
    gradient[row, column] = 2
    farthest = max(12 - row, 12 - column)
    assert reach(gradient) == central_side(gradient, 1) == 2 * farthest + 1
    assert central_side(gradient, 0.3) == 1  # a third is in the middle
    assert reach(torch.zeros(3, 3)) == 0


@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 99))
def test_the_central_square_holds_its_share_and_a_smaller_one_does_not(share, seed):
    gradient = random(21, 21, seed=seed)
    side = central_side(gradient, share)

    def inside(side):
        low = 10 - side // 2
        return gradient[low : low + side, low : low + side].sum() if side > 0 else 0

    total = gradient.sum()
    assert inside(side) >= share * total * 0.9999
    assert inside(side - 2) < share * total


# --- Maps that agree


def test_correlation_is_numpys_and_0_for_a_map_without_contrast():
    first = random(4, 1, 7, 7)
    second = random(4, 1, 7, 7, seed=1)
    first[2] = 0.5
    found = correlation(first, second)
    for i in (0, 1, 3):
        expected = np.corrcoef(first[i].flatten(), second[i].flatten())[0, 1]
        assert found[i].item() == pytest.approx(expected, abs=1e-5)
    assert found[2] == 0
    assert correlation(first, 3 * first + 1)[0].item() == pytest.approx(1)
    assert correlation(first, -first)[0].item() == pytest.approx(-1)


# --- Temperatures


@given(true=st.floats(0.2, 8), classes=st.sampled_from([2, 10, 80]), seed=st.integers(0, 2**31 - 1))
@settings(max_examples=15)
def test_no_other_temperature_has_a_smaller_loss(true, classes, seed):
    logits = 2 * torch.randn(400, classes, generator=torch.Generator().manual_seed(seed))
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(seed))[
        :, 0
    ]
    found = best_temperature(true * logits, labels)
    best = F.cross_entropy(true * logits / found, labels)
    for other in torch.logspace(-1.3, 1.3, 53):
        assert best <= F.cross_entropy(true * logits / other, labels) + 1e-4


# --- Figures


def flat_labels(classes):
    return random(60, 2), torch.arange(60) % classes


def bins(count):
    count = torch.tensor(count)
    return Bins(random(len(count)), random(len(count), seed=1), count)


def every_figure():
    images = random(5, 3, 32, 32) * 2 - 1
    names = [f"kind {i}" for i in range(3000)]
    maps = {group: random(8, side, side) for group, side in zip(GROUPS, (8, 8, 4, 2, 1))}
    heats = {"Grad-CAM\n(conv4)": random(5, 1, 2, 2), "occlusion": torch.zeros(5, 1, 7, 7)}
    labels, guesses = torch.tensor([0, 1, 2, 3, 79]), torch.tensor([0, 1, 5, 3, 2])
    captions = answers_in_words(labels, guesses, torch.ones(5), list(NAMES))
    return {
        "filters": show_filters(random(64, 3, 7, 7) - 0.5, random(64, 3, 7, 7) - 0.5),
        "few filters": show_filters(random(5, 3, 3, 3) - 0.5, torch.zeros(5, 3, 3, 3)),
        "maps": show_maps(images[0], maps),
        "fields": show_fields(
            {group: random(CANVAS, CANVAS) for group in GROUPS}, [11] * 5, [9] * 5, 64
        ),
        "hues": show_features(*flat_labels(80), list(NAMES), generated=True),
        "two classes": show_features(*flat_labels(2), names[:2]),
        "many classes": show_features(*flat_labels(50), names),
        "ring": show_ring([1.0, 2.0], [0.5, 2.0]),
        "heat": show_heat(images, heats, captions),
        "one heat": show_heat(images[:1], {"occlusion": random(1, 1, 7, 7)}, captions[:1]),
        "agreement": show_agreement({"one": random(6), "another image's": random(6) - 1}),
        "reliability": show_reliability({"a": bins([0, 3, 9]), "b": bins([1, 0, 0])}),
    }


FIGURES = every_figure()


@pytest.mark.parametrize("kind", FIGURES)
def test_a_figure_is_legible_described_and_as_wide_as_a_projector(kind):
    figure = drawn(FIGURES[kind])
    assert figure.alt and "\n" not in figure.alt.strip()
    assert min(text.get_fontsize() for text in visible_texts(figure)) >= 12
    assert figure.get_figwidth() <= 12.8
    for text in words(figure):
        box = text.get_window_extent()
        assert box.x0 >= -1 and box.x1 <= figure.bbox.width + 1, text.get_text()
        assert box.y0 >= -1 and box.y1 <= figure.bbox.height + 1, text.get_text()


def words(figure):
    """Titles, labels and legends; ticks outside of a figure exist, but aren't drawn."""
    found = [text for legend in figure.legends for text in legend.get_texts()]
    for axis in figure.axes:
        found.extend([axis.title, axis.xaxis.label, axis.yaxis.label, *axis.texts])
    return [text for text in found if text.get_text()]


@pytest.mark.parametrize("kind", ["maps", "heat", "hues"])
def test_captions_do_not_overlap(kind):
    figure = drawn(FIGURES[kind])
    titles = [axis.title for axis in figure.axes if axis.get_title()]
    for one, other in itertools.combinations(titles, 2):
        assert not one.get_window_extent().overlaps(other.get_window_extent())


def test_mistakes_are_marked_and_name_the_true_class():
    labels = torch.tensor([0, 1])
    captions = answers_in_words(labels, torch.tensor([0, 0]), torch.tensor([0.5, 0.9]), ["a", "b"])
    assert captions == ["✓ a\n50%", "✗ a\nis: b"]


def test_classes_differ_in_marker_and_colour():
    [axis] = show_features(*flat_labels(8), [f"kind {i}" for i in range(8)]).axes
    markers = {tuple(dots.get_paths()[0].vertices.flatten()) for dots in axis.collections}
    assert len(markers) == 8


def test_only_the_largest_classes_have_markers_of_their_own():
    flat = random(30, 2)
    labels = torch.cat([torch.arange(20), torch.full((10,), 13)])
    figure = show_features(flat, labels, [f"kind {i}" for i in range(20)])
    assert "kind 13" in texts(figure) and "other classes" in texts(figure)
    points = sum(len(dots.get_offsets()) for dots in figure.axes[0].collections)
    assert points == 30


def test_hues_are_joined_in_a_ring():
    [_, right] = show_features(*flat_labels(80), list(NAMES), generated=True).axes
    ring = right.lines[0].get_xydata()
    assert len(ring) == 21 and (ring[0] == ring[-1]).all()


def test_the_hottest_place_has_a_cross():
    heat = torch.zeros(1, 1, 4, 4)
    heat[0, 0, 1, 3] = 1
    figure = show_heat(torch.zeros(1, 3, 32, 32), {"map": heat}, ["✓"])
    crosses = [line.get_xydata()[0].tolist() for line in figure.axes[1].lines]
    assert crosses and all(cross == [27.5, 11.5] for cross in crosses)
    flat = show_heat(torch.zeros(1, 3, 32, 32), {"map": 0 * heat}, ["✓"])
    assert not flat.axes[1].lines


def test_the_strongest_maps_are_shown():
    maps = torch.zeros(5, 4, 4)
    maps[3, 0, 0] = 2
    maps[1, 0, 0] = 1
    figure = show_maps(torch.zeros(3, 8, 8), {"conv1": maps}, channels=2)
    shown = [axis.images[0].get_array() for axis in figure.axes if axis.images]
    assert [picture.max() for picture in shown[1:]] == [2, 1]


def test_empty_bins_are_left_out_and_intervals_hold_the_share():
    found = Bins(torch.tensor([0.5, 0.9]), torch.tensor([torch.nan, 1.0]), torch.tensor([0, 4]))
    top = show_reliability({"network": found}).axes[0]
    [(line, caps, bars)] = [container for container in top.containers]
    assert line.get_xydata().tolist() == [[pytest.approx(90), 100]]
    [(low, high)] = [segment[:, 1] for segment in bars[0].get_segments()]
    assert 45 < low < 60 and high == 100


def test_nothing_of_matplotlibs_own_is_changed():
    before = dict(mpl.rcParams)
    show_ring([1.0, 2.0], [0.5, 2.0])
    assert dict(mpl.rcParams) == before


def test_a_network_without_convolutions_has_no_windows():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    assert windows(model, "1") == []


def test_pictures_of_any_size_become_a_mosaic():
    images = noise_images(3, side=8)
    assert mosaic(replace(images, pixels=images.pixels[:, :5, :5])).shape[-1] == CANVAS


@pytest.mark.parametrize("margin", [5, 20, 60, 300])
def test_the_temperature_of_answers_that_are_all_right_is_the_lowest(margin):
    """Any lower temperature is better: nothing speaks against being surer still."""
    labels = torch.arange(50) % 10
    logits = margin * F.one_hot(labels, 10).float()
    assert best_temperature(logits, labels) < 0.06
