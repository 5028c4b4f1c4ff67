"""The figures: curves, runs compared, images, predictions, and what is confused with what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .data.answers import CLASSES
from .pictures import BLUE, ORANGE, WIDTH, Picture, short, styled
from .settings import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

History = Sequence[Mapping[str, Any]]  # a dict per epoch, as `train` returns it

QUANTITIES = {
    "loss": "mean loss (nats)",
    "train_accuracy": "accuracy on training images (%)",
    "heldout_accuracy": "accuracy on held-out images (%)",
    "gradient": "norm of the gradient",
    "rate": "learning rate",
}

# Lines that stand for no run of their own, and must not look like one.
GUESSING: dict[str, Any] = {"color": "black", "linestyle": (0, (1, 3))}
STORED: dict[str, Any] = {
    "color": "#b0b0b0",
    "linewidth": 4,
    "linestyle": "-",
    "marker": "",
    "zorder": 1,
}
STORED_HELDOUT: dict[str, Any] = STORED | {"linestyle": "--"}

MOST_BANDS = 4  # of several seeds in one figure: more would hide each other
MOST_NAMES = 20  # along the side of a confusion matrix
MOST_CELLS = 10  # in a row of a confusion matrix that has numbers in it
HARDEST = 10  # classes with the lowest, and as many with the highest accuracy


class Mark(NamedTuple):
    """What tells right predictions from wrong ones: a sign, and a frame around the image."""

    sign: str
    frame: dict[str, Any]


UNKNOWN = Mark("", {"edgecolor": "grey"})
RIGHT = Mark("✓ ", {"edgecolor": BLUE, "linewidth": 2})
WRONG = Mark("✗ ", {"edgecolor": ORANGE, "linewidth": 5, "linestyle": (0, (2, 1))})


@styled
def plot_history(
    histories: Mapping[int, History],
    stored: Mapping[int, History] | None = None,
    title: str | None = None,
    classes: int = CLASSES,
) -> Picture:
    """Plot the loss (top) and the accuracy (bottom) of stages, one column per stage.

    histories: {number of the stage: its history}. stored: the same of another run, drawn in grey.
    classes: how many there are, for the accuracy of guessing.
    """
    stages = ", ".join(f"{number} ({STAGES[number].title})" for number in histories)
    alt = f"{title or 'Curves'}: loss and accuracy per epoch in stage {stages}."
    figure = Picture((WIDTH, 8), title, alt)
    grid = figure.subplots(2, len(histories), squeeze=False, sharey="row", sharex="col")
    for column, number in enumerate(sorted(histories)):
        top = grid[0, column]
        bottom = grid[1, column]
        before = stored.get(number, []) if stored else []
        _plot_losses(top, histories[number], before)
        _plot_accuracies(bottom, histories[number], before, classes)
        top.set_title(f"Stage {number}\n{STAGES[number].title}")
    for axis in figure.axes:
        axis.label_outer()
    lines, labels = grid[1, -1].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=2)
    return figure


def _plot_losses(axis: Axes, history: History, stored: History) -> None:
    _plot_line(axis, [stored], "loss", **STORED)
    _plot_line(axis, [history], "loss")
    axis.set_ylabel(QUANTITIES["loss"])


def _plot_accuracies(axis: Axes, history: History, stored: History, classes: int) -> None:
    training = "training images (running average of the epoch)"
    _plot_line(axis, [stored], "train_accuracy", label="the stored run", **STORED)
    _plot_line(axis, [stored], "heldout_accuracy", **STORED_HELDOUT)
    _plot_line(axis, [history], "train_accuracy", label=training)
    _plot_line(axis, [history], "heldout_accuracy", label="held-out images (plain)")
    axis.axhline(100 / classes, label=f"chance ({1 / classes:.2%})", **GUESSING)
    axis.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(-3, 103))


@styled
def plot_runs(
    runs: Mapping[str, Sequence[Any]],
    quantity: str,
    title: str,
    x: str = "epoch",
    classes: int = CLASSES,
) -> Picture:
    """Compare runs epoch by epoch; runs: {label: history}, or {label: [history of each seed]}.

    Several seeds become their mean, in a band from the lowest to the highest (if there are few
    runs). quantity: one of QUANTITIES, which all runs have. x: another entry of the histories, such
    as "step". classes: how many there are, for the loss of guessing.
    """
    alt = f"{title}: {QUANTITIES[quantity]} per {x} of {', '.join(runs)}."
    figure = Picture((10, 5.5), title, alt)
    axis = figure.subplots()
    with_bands = len(runs) <= MOST_BANDS
    for label, run in runs.items():
        one_seed = isinstance(run[0], Mapping)
        seeds = [run] if one_seed else run
        _plot_line(axis, seeds, quantity, x, with_bands, label=label)
    axis.set(xlabel=x, ylabel=QUANTITIES[quantity])
    if quantity == "loss":
        axis.axhline(math.log(classes), label=f"guessing (ln {classes})", **GUESSING)
    _choose_scale(axis, quantity)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _choose_scale(axis: Axes, quantity: str) -> None:
    """Make small values legible: a logarithmic axis if they differ much; accuracies from 0%."""
    from matplotlib.ticker import LogLocator

    low, high = axis.dataLim.intervaly
    if quantity in ("loss", "gradient") and high > 8 * low:  # on less, it would have two ticks
        axis.set_yscale("log", subs=[])  # no minor ticks
        axis.yaxis.set_major_locator(LogLocator(subs=[1, 2, 3, 5]))
        axis.yaxis.set_major_formatter("{x:g}")
    elif "accuracy" in quantity:
        top = axis.get_ylim()[1]
        axis.set_ylim(-0.03 * top, 1.03 * top)  # a little more, so that the frame hides no line


def _plot_line(
    axis: Axes,
    seeds: Sequence[History],
    quantity: str,
    x: str = "epoch",
    band: bool = True,
    **style: Any,
) -> None:
    """Draw a quantity's mean over the seeds' histories, in a band; nothing if it wasn't measured.

    Accuracies are drawn in percent. style: of the line, as in matplotlib.
    """
    positions = [entry[x] for entry in seeds[0]]
    rows = []
    for history in seeds:
        rows.append([entry[quantity] for entry in history])
    values = np.array(rows, float)  # (seeds, epochs); None becomes nan, which leaves a gap
    if np.isnan(values).all():
        return
    if "accuracy" in quantity:
        values *= 100
    sparse = max(1, len(positions) // 10)  # a marker on every epoch would hide the line
    (line,) = axis.plot(positions, values.mean(0), markevery=sparse, **style)
    axis.locator_params("x", nbins=6, integer=True, min_n_ticks=1)
    if band and len(seeds) > 1:
        lowest = values.min(0)
        highest = values.max(0)
        axis.fill_between(positions, lowest, highest, color=line.get_color(), alpha=0.2)


@styled
def plot_images(
    images: torch.Tensor, captions: Sequence[str], columns: int = 6, title: str | None = None
) -> Picture:
    """Show images in a grid, each with a caption above it.

    images: uint8 (n, S, S, 3) or float (n, 3, S, S) in [-1, 1]. captions: n, of equally many lines.
    """
    columns = min(columns, len(captions))
    rows = math.ceil(len(captions) / columns)
    side = WIDTH / max(6, columns)  # inches; an image is no larger than one of six in a row
    lines = 1 + captions[0].count("\n")
    height = rows * (0.9 * side + 0.24 * lines)
    if title:
        height += 0.4
    figure = Picture((side * columns, height), title, _alt_of_images(title, captions))
    figure.get_layout_engine().set(wspace=0.1, hspace=0.06)  # neighbouring frames don't touch
    pixels = _as_bytes(images).cpu().numpy()
    for i, caption in enumerate(captions):
        axis = figure.add_subplot(rows, columns, i + 1, xticks=[], yticks=[])
        axis.imshow(pixels[i])
        axis.set_anchor("N")  # all spare room is below, or a caption could be cut off
        axis.set_title(caption, fontsize=13)
        axis.spines[:].set_visible(False)
    return figure


def _as_bytes(images: torch.Tensor) -> torch.Tensor:
    """Images as uint8 (n, S, S, 3), whichever of the two kinds they are."""
    if not images.is_floating_point():
        return images
    pixels = (images.permute(0, 2, 3, 1) + 1) * 127.5
    return pixels.round().clip(0, 255).byte()


def _alt_of_images(title: str | None, captions: Sequence[str]) -> str:
    """A grid of images in words: its title, and every different caption on one line."""
    in_one_line = [" ".join(caption.split()) for caption in captions if caption]
    different = dict.fromkeys(in_one_line)
    return f"{title or 'Images'}: {'; '.join(different)}"


def plot_predictions(
    images: torch.Tensor,
    labels: torch.Tensor,
    probabilities: torch.Tensor,
    classes: Sequence[str],
    title: str | None = None,
    likeliest: int = 1,
) -> Picture:
    """Show predictions: ✓ in a thin frame if right, ✗ in a thick dashed one if wrong.

    images: as in `plot_images`. labels: int64 (n,), −1 if unknown. probabilities: float (n, K).
    classes: K names. likeliest: how many classes are named, the likeliest first; below them, if
    it's wrong, the true one.
    """
    top = probabilities.topk(likeliest)
    marks = []
    captions = []
    for i in range(len(labels)):
        label = int(labels[i])
        guesses: list[int] = top.indices[i].tolist()
        shares = top.values[i].tolist()
        mark = _mark(label, guesses[0])
        true_name = classes[label] if mark is WRONG else None
        names = [classes[guess] for guess in guesses]
        marks.append(mark)
        captions.append(mark.sign + _caption(names, shares, true_name))
    figure = plot_images(images, captions, title=title)
    for axis, mark in zip(figure.axes, marks):
        axis.spines[:].set(visible=True, capstyle="butt", **mark.frame)
    return figure


def _mark(label: int, guess: int) -> Mark:
    if label < 0:
        return UNKNOWN
    return RIGHT if guess == label else WRONG


def _caption(names: Sequence[str], shares: Sequence[float], true_name: str | None) -> str:
    """A prediction in words, above its image; always of the same number of lines."""
    if len(names) == 1:  # then its share has a line of its own, and the name more room
        length = 17
        between = "\n"
    else:
        length = 13
        between = " "
    lines = []
    for name, share in zip(names, shares):
        lines.append(f"{short(name, length)}{between}{share:.0%}")
    lines.append("" if true_name is None else f"is: {short(true_name, length)}")
    return "\n".join(lines)


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

    labels, predicted: int64 (n,). names: of all classes.
    """
    count = len(names)
    matrix = confusion_matrix(labels, predicted, count)
    images_of_class = matrix.sum(1, keepdim=True)
    percent = (100 * matrix / images_of_class.clamp(min=1)).numpy()
    alt = f"{title or 'Confusion matrix'}: true classes in rows, predicted classes in columns."
    figure = Picture((10, 8.5), title, alt)
    axis = figure.subplots()
    picture = axis.imshow(percent, "Greys", aspect="auto", vmin=0, vmax=100)
    ticks = range(0, count, math.ceil(count / MOST_NAMES))
    shown = [short(names[i], 14) for i in ticks]
    axis.set_xticks(ticks, shown, rotation=90, fontsize=13)
    axis.set_yticks(ticks, shown, fontsize=13)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(False)
    if count <= MOST_CELLS:
        _write_numbers(axis, percent)
    figure.colorbar(picture, label="share of the true class's images (%)")
    return figure


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
    """Plot accuracy for the ten hardest and the ten easiest of the classes that have images.

    labels, predicted: int64 (n,). names: of all classes.
    """
    images_of_class = labels.bincount(minlength=len(names))
    right = labels[labels == predicted].bincount(minlength=len(names))
    percent = 100 * right / images_of_class  # nan for a class without images
    by_accuracy = percent.argsort(stable=True).tolist()
    order = [i for i in by_accuracy if images_of_class[i] > 0]
    alt = f"{title or 'Accuracy by class'}: hardest {names[order[0]]}, easiest {names[order[-1]]}."
    figure = Picture((WIDTH, 5), title, alt)
    left, right_side = figure.subplots(1, 2)
    _plot_bars(left, order[:HARDEST], "hardest", percent, names)
    _plot_bars(right_side, order[-HARDEST:], "easiest", percent, names)
    return figure


def _plot_bars(
    axis: Axes, chosen: list[int], about: str, percent: torch.Tensor, names: Sequence[str]
) -> None:
    """Draw a bar for the accuracy of each chosen class. about: how to describe these classes."""
    positions = range(len(chosen))  # classes of equal names would share a bar
    # With edges, so that 0% is a thin line.
    bars = axis.barh(positions, percent[chosen].numpy(), color=BLUE, edgecolor=BLUE)
    axis.bar_label(bars, fmt="%.3g", padding=5)
    axis.set_yticks(positions, [short(names[i]) for i in chosen])
    axis.set(title=f"the {len(chosen)} {about} classes", xlim=(-1, 119), xlabel="accuracy (%)")
