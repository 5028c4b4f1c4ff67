"""What is confused with what, and which classes are hard: the confusion matrix, and two figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from .captions import short_names
from .pictures import BLUE, WIDTH, Picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_ROWS = 100  # of a confusion matrix; of more classes, those that are confused most are shown
MOST_NAMES = 20  # along the side of a confusion matrix
MOST_CELLS = 10  # in a row of a confusion matrix that has numbers in it
HARDEST = 10  # classes with the lowest, and as many with the highest accuracy


def confusion_matrix(labels: torch.Tensor, predicted: torch.Tensor, classes: int) -> torch.Tensor:
    """Count how often each class (row) is taken for each other (column): int64 (K, K).

    labels, predicted: int64 (n,), in 0…K − 1. classes: K.
    """
    pairs = labels * classes + predicted  # a number for each pair
    return pairs.bincount(minlength=classes**2).reshape(classes, classes)


@styled
def plot_confusion(
    labels: torch.Tensor,
    predicted: torch.Tensor,
    names: Sequence[str],
    title: str | None = None,
) -> Picture:
    """Plot how often each class (row) is taken for each other (column), in percent of the row.

    labels, predicted: int64 (n,). names: of all classes. Shown are those that occur, or, if they
    are more than 100, the 20 that are confused most.
    """
    shown = torch.cat([labels, predicted]).unique()
    which = ""
    if len(shown) > MOST_ROWS:
        most = _most_confused(labels, predicted, MOST_NAMES)
        which = f" (the {len(most)} of {len(shown)} that are confused most)"
        shown = most
    percent = _confusion_in_percent(labels, predicted, shown)
    alt = f"{title or 'Confusion matrix'}: true classes in rows, predicted classes in columns."
    figure = Picture((10, 8.5), title, alt)
    axis = figure.subplots()
    picture = axis.imshow(percent, "Greys", aspect="auto", vmin=0, vmax=100)
    ticks = range(0, len(shown), math.ceil(len(shown) / MOST_NAMES))
    all_names = short_names(names)
    tick_names = [all_names[shown[tick]] for tick in ticks]
    axis.set_xticks(ticks, tick_names, rotation=90, fontsize=13)
    axis.set_yticks(ticks, tick_names, fontsize=13)
    axis.set(xlabel="predicted class", ylabel=f"true class{which}")
    axis.grid(False)
    if len(shown) <= MOST_CELLS:
        _write_numbers(axis, percent)
    figure.colorbar(picture, label="share of the true class's images (%)")
    return figure


def _most_confused(labels: torch.Tensor, predicted: torch.Tensor, most: int) -> torch.Tensor:
    """The classes of the most frequent mistakes, or of the first images if there are none.

    Returns int64 (k,), sorted, k ≤ `most`.
    """
    wrong = labels != predicted
    if not wrong.any():
        return labels.unique()[:most]
    mistakes = torch.stack([labels[wrong], predicted[wrong]], dim=1)
    pairs, times = mistakes.unique(dim=0, return_counts=True)
    chosen: set[int] = set()
    for pair in pairs[times.argsort(descending=True, stable=True)].tolist():
        if len(chosen.union(pair)) <= most:
            chosen.update(pair)
    return torch.tensor(sorted(chosen))


def _confusion_in_percent(
    labels: torch.Tensor, predicted: torch.Tensor, shown: torch.Tensor
) -> np.ndarray:
    """The confusion matrix of some classes: float (k, k), in percent of all images of each row.

    shown: int64 (k,), sorted.
    """
    both = torch.isin(labels, shown) & torch.isin(predicted, shown)
    rows = torch.searchsorted(shown, labels[both])
    columns = torch.searchsorted(shown, predicted[both])
    matrix = confusion_matrix(rows, columns, len(shown))
    images_of_class = labels.bincount(minlength=int(shown[-1]) + 1)
    images_of_row = images_of_class[shown, None]
    return (100 * matrix / images_of_row.clamp(min=1)).numpy()


def _write_numbers(axis: Axes, percent: np.ndarray) -> None:
    """Write each cell's value into it, legible on its grey."""
    for (row, column), value in np.ndenumerate(percent):
        colour = "white" if value > 50 else "black"
        axis.text(column, row, f"{value:.0f}", color=colour, ha="center", va="center")


@styled
def plot_classes(
    labels: torch.Tensor,
    predicted: torch.Tensor,
    names: Sequence[str],
    title: str | None = None,
) -> Picture:
    """Plot accuracy by class: of all that have images, or of the ten hardest and the ten easiest.

    labels, predicted: int64 (n,). names: of all classes.
    """
    images_of_class = labels.bincount(minlength=len(names))
    right = labels[labels == predicted].bincount(minlength=len(names))
    percent = 100 * right / images_of_class  # nan for a class without images
    by_accuracy = percent.argsort(stable=True).tolist()
    order = [i for i in by_accuracy if images_of_class[i] > 0]
    alt = f"{title or 'Accuracy by class'}: hardest {names[order[0]]}, easiest {names[order[-1]]}."
    captions = short_names(names)
    if len(order) < 2 * HARDEST:  # some would be among the hardest and the easiest
        figure = Picture((10, 1.5 + 0.35 * len(order)), title, alt)
        _plot_bars(figure.subplots(), order, f"all {len(order)} classes", percent, captions)
        return figure
    figure = Picture((WIDTH, 5), title, alt)
    left, right_side = figure.subplots(1, 2)
    hardest = f"the {HARDEST} hardest classes"
    easiest = f"the {HARDEST} easiest classes"
    _plot_bars(left, order[:HARDEST], hardest, percent, captions)
    _plot_bars(right_side, order[-HARDEST:], easiest, percent, captions)
    return figure


def _plot_bars(
    axis: Axes, chosen: list[int], title: str, percent: torch.Tensor, captions: Sequence[str]
) -> None:
    """Draw a bar for the accuracy of each chosen class. captions: of all classes."""
    positions = range(len(chosen))
    # With edges, so that 0% is a thin line.
    bars = axis.barh(positions, percent[chosen].numpy(), color=BLUE, edgecolor=BLUE)
    axis.bar_label(bars, fmt="%.3g", padding=5)
    axis.set_yticks(positions, [captions[i] for i in chosen])
    axis.set(title=title, xlim=(-1, 119), xlabel="accuracy (%)")
