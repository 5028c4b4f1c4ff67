"""Figures of numbers about a network: features in a plane, correlations, reliability."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .captions import short_names
from .data.shapes import COLOURS, MOTIFS
from .pictures import BLUE, LINES, ORANGE, WIDTH, Picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = ("s", "X", "o", "P", "^", "v", "D", "*")
MOST_CLASSES = len(MARKERS)  # that have a marker of their own; others are grey dots
SMALL = 12  # points; no text is smaller
DOTS: dict[str, Any] = {"linestyle": "", "marker": "o", "color": BLUE, "alpha": 0.5}


@styled
def show_features(
    flat: Tensor, labels: Tensor, classes: Sequence[str], generated: bool = False
) -> Picture:
    """Plot images as points of a plane, marked by class.

    flat: float (n, 2). labels: int64 (n,). The eight classes with most points have markers of their
    own, and the others are grey dots. generated: the classes are motif × hue; then the marker is
    the motif, and the colour is the hue. A second panel joins each hue's mean with the next one's.
    """
    alt = "The features of images in two dimensions, marked by class."
    flat = flat.detach().cpu()
    figure = Picture((WIDTH, 6.2), None, alt)
    if generated:
        left, right = figure.subplots(1, 2)
        _plot_motifs(left, flat, labels)
        _plot_hues(right, flat, labels % len(COLOURS))
        left.set_title("every image")
        figure.legend(loc="outside lower center", ncols=len(MOTIFS))
    else:
        left = figure.subplots()
        _plot_classes(left, flat, labels, classes)
        figure.legend(loc="outside lower center", ncols=3)
    for axis in figure.axes:
        axis.set(xlabel="first direction")
    left.set_ylabel("second direction")
    return figure


def _plot_motifs(axis: Axes, flat: Tensor, labels: Tensor) -> None:
    """A marker for each motif, in the hue of the image; the legend is colourless."""
    for i, motif in enumerate(MOTIFS):
        chosen = labels // len(COLOURS) == i
        hues = [_hue(label % len(COLOURS)) for label in labels[chosen].tolist()]
        points = flat[chosen].numpy()
        axis.scatter(points[:, 0], points[:, 1], c=hues or None, marker=MARKERS[i], s=45)
        axis.scatter([], [], color="grey", marker=MARKERS[i], s=45, label=motif)


def _plot_hues(axis: Axes, flat: Tensor, hues: Tensor) -> None:
    """The mean of each hue that occurs, with its number, joined in the order of the hues."""
    occurring = hues.unique().tolist()
    means = torch.stack([flat[hues == hue].mean(0) for hue in occurring]).numpy()
    ring = [*range(len(occurring)), 0]
    axis.plot(means[ring, 0], means[ring, 1], color="grey", linestyle="-", marker="")
    for hue, (x, y) in zip(occurring, means):
        axis.scatter(x, y, color="white", edgecolor=_hue(hue), s=420, linewidth=3, zorder=3)
        axis.text(x, y, str(hue), fontsize=SMALL, ha="center", va="center_baseline", zorder=4)
    some = [f"{hue} {COLOURS[hue]}" for hue in range(0, len(COLOURS), 5)]
    axis.set_title(f"each hue's mean ({', '.join(some)})")
    axis.margins(0.1)


def _hue(number: int) -> tuple[float, float, float]:
    from matplotlib.colors import hsv_to_rgb

    red, green, blue = hsv_to_rgb((number / len(COLOURS), 0.95, 0.85))
    return (red, green, blue)


def _plot_classes(axis: Axes, flat: Tensor, labels: Tensor, classes: Sequence[str]) -> None:
    counts = labels.bincount(minlength=len(classes))
    present = int((counts > 0).sum())
    chosen = counts.argsort(descending=True, stable=True)[: min(MOST_CLASSES, present)]
    names = short_names(classes)
    others = flat[~torch.isin(labels, chosen)].numpy()
    if len(others):
        axis.scatter(others[:, 0], others[:, 1], color="#bbbbbb", s=12, label="other classes")
    colours = [line["color"] for line in LINES]
    for i, category in enumerate(chosen.tolist()):
        points = flat[labels == category].numpy()
        style: dict[str, Any] = {"color": colours[i % len(colours)], "marker": MARKERS[i]}
        axis.scatter(points[:, 0], points[:, 1], s=60, label=names[category], zorder=3, **style)


@styled
def show_ring(distances: Sequence[float], flat_circle: Sequence[float]) -> Picture:
    """Plot how far apart hues are, by their steps around the circle of hues; and on a flat circle.

    distances, flat_circle: for 1, 2, … steps, in any unit.
    """
    figure = Picture((10, 4.5), None, "Mean distance of hues by their steps around the circle.")
    axis = figure.subplots()
    steps = range(1, 1 + len(distances))
    axis.plot(steps, distances, label="in the 1,024 features")
    axis.plot(steps, flat_circle, label="on a flat circle")
    axis.set(xlabel="steps around the circle of hues", ylabel="distance of the means")
    axis.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@styled
def show_agreement(found: Mapping[str, Tensor], title: str | None = None) -> Picture:
    """Plot correlations, a row for each kind of map: a dot per image, and a line at their mean.

    found: {kind: float (B,), in [-1, 1]}.
    """
    figure = Picture((10, 1.6 + 0.5 * len(found)), title, f"Correlations of {', '.join(found)}.")
    axis = figure.subplots()
    for row, values in enumerate(found.values()):
        mean = float(values.mean())
        axis.plot(values.cpu().numpy(), [row] * len(values), **DOTS)
        axis.plot([mean, mean], [row - 0.35, row + 0.35], color=ORANGE, linestyle="-", marker="")
    axis.axvline(0, color="black", linestyle=":", marker="")
    axis.set_yticks(range(len(found)), list(found))
    axis.set(xlim=(-1.03, 1.03), ylim=(len(found) - 0.5, -0.5))
    axis.set_xlabel("correlation (dots: images; line: mean)")
    return figure


class Bins(NamedTuple):
    """Predictions in bins of confidence; each field is float (bins,), nan in an empty bin."""

    confidence: Tensor  # the mean, a share
    accuracy: Tensor  # a share
    count: Tensor  # how many predictions


@styled
def show_reliability(found: Mapping[str, Bins]) -> Picture:
    """Plot accuracy against confidence, with intervals of 95%, and how many predictions there are.

    found: {name: its bins}.
    """
    figure = Picture((9, 7), None, f"Accuracy against confidence: {', '.join(found)}.")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    top.plot([0, 100], [0, 100], color="black", linestyle=":", marker="", label="calibrated")
    for name, bins in found.items():
        some = bins.count > 0
        confidence = 100 * bins.confidence[some].numpy()
        accuracy = 100 * bins.accuracy[some]
        low, high = _interval(bins.accuracy[some], bins.count[some])
        below = (accuracy - 100 * low).clamp(min=0).numpy()
        above = (100 * high - accuracy).clamp(min=0).numpy()
        top.errorbar(confidence, accuracy.numpy(), [below, above], label=name, capsize=4)
        bottom.plot(confidence, bins.count[some].numpy())
    top.set(ylabel="accuracy (%)", xlim=(-3, 103), ylim=(-3, 103))
    bottom.set(xlabel="mean confidence (%)", ylabel="images")
    bottom.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=3)
    return figure


def _interval(share: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Wilson's interval of 95% for a share of `count`: its lower and its upper end."""
    z = 1.96
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * (share * (1 - share) / count + z**2 / (4 * count**2)).sqrt() / (1 + z**2 / count)
    return centre - half, centre + half
