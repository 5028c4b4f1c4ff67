"""The figures of curves, of runs compared, and of images and predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from .captions import short, short_names
from .errors import DataError
from .pictures import BLUE, ORANGE, WIDTH, Picture, styled
from .settings import STAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .data.bank import Bank

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
ALWAYS_LARGEST: dict[str, Any] = {
    "color": "black",
    "linestyle": (0, (5, 2, 1, 2)),
    "linewidth": 1.5,
}
STORED: dict[str, Any] = {
    "color": "#b0b0b0",
    "linewidth": 4,
    "linestyle": "-",
    "marker": "",
    "zorder": 1,
}
STORED_HELDOUT: dict[str, Any] = STORED | {"linestyle": "--"}

MOST_BANDS = 4  # of several seeds in one figure: more would hide each other


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
    data: Bank | None = None,
) -> Picture:
    """Plot the loss (top) and the accuracy (bottom) of stages, one column per stage.

    histories: {number of the stage: its history}. stored: the same of another run, drawn in grey.
    data: what the stages trained on, for the accuracy of guessing a class, and of always naming
    the largest.
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
        _plot_accuracies(bottom, histories[number], before)
        if data is not None:
            _plot_guessing(bottom, data)
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


def _plot_accuracies(axis: Axes, history: History, stored: History) -> None:
    training = "training images (running average of the epoch)"
    _plot_line(axis, [stored], "train_accuracy", label="the stored run", **STORED)
    _plot_line(axis, [stored], "heldout_accuracy", **STORED_HELDOUT)
    _plot_line(axis, [history], "train_accuracy", label=training)
    _plot_line(axis, [history], "heldout_accuracy", label="held-out images (plain)")
    axis.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(-3, 103))


def _plot_guessing(axis: Axes, data: Bank) -> None:
    """Draw what needs no learning: guessing a class, and naming the largest one every time."""
    chance = f"{100 * data.guessing:.3g}%"
    axis.axhline(100 * data.guessing, label=f"chance ({chance})", **GUESSING)
    if data.is_unequal:
        largest, share = data.largest_class
        label = f"always “{short(largest)}” ({100 * share:.3g}% of training images)"
        axis.axhline(100 * share, label=label, **ALWAYS_LARGEST)


@styled
def plot_runs(
    runs: Mapping[str, Sequence[Any]],
    quantity: str,
    title: str,
    x: str = "epoch",
    classes: int | None = None,
) -> Picture:
    """Compare runs epoch by epoch; runs: {label: history}, or {label: [history of each seed]}.

    Several seeds become their mean, in a band from the lowest to the highest (if there are few
    runs). quantity: one of QUANTITIES, which all runs have. x: another entry of the histories, such
    as "step". classes: how many the networks choose from, for the loss of guessing. Raises
    DataError for a run without a history, or whose seeds have histories of different lengths.
    """
    alt = f"{title}: {QUANTITIES[quantity]} per {x} of {', '.join(runs)}."
    figure = Picture((10, 5.5), title, alt)
    axis = figure.subplots()
    with_bands = len(runs) <= MOST_BANDS
    for label, run in runs.items():
        seeds = _seeds_of(label, run)
        _plot_line(axis, seeds, quantity, x, with_bands, label=label)
    axis.set(xlabel=x, ylabel=QUANTITIES[quantity])
    if quantity == "loss" and classes is not None:
        axis.axhline(math.log(classes), label=f"guessing (ln {classes})", **GUESSING)
    _choose_scale(axis, quantity)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _seeds_of(label: str, run: Sequence[Any]) -> Sequence[History]:
    """The histories of a run's seeds, equally long, if it's several or just one history.

    Raises DataError.
    """
    if len(run) == 0:
        raise DataError(f"The run {label!r} has no history to plot.")
    seeds = [run] if isinstance(run[0], Mapping) else run
    lengths = [len(history) for history in seeds]
    if min(lengths) == 0:
        raise DataError(f"The run {label!r} has an empty history.")
    if min(lengths) < max(lengths):
        raise DataError(
            f"The run {label!r} has seeds of {min(lengths)} and of {max(lengths)} entries: plot "
            "equally many of each."
        )
    return seeds


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
    width = side * columns
    if title:
        width = max(width, min(WIDTH, 0.13 * len(title)))  # or a few images would cut it off
    alt = _alt_of_images(title, captions)
    figure = Picture((width, height), title, alt, true_colour=True)
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
    classes: K names. likeliest: how many classes are named (K if there are fewer), the likeliest
    first; below them, if it's wrong, the true one.
    """
    likeliest = min(likeliest, len(classes))
    top = probabilities.topk(likeliest)
    if likeliest == 1:  # then its share has a line of its own, and the name more room
        names = short_names(classes, 17)
        before_share = "\n"
    else:
        names = short_names(classes, 13)
        before_share = " "
    true_names = short_names(classes, 13)
    marks = []
    captions = []
    for i in range(len(labels)):
        label = int(labels[i])
        guesses: list[int] = top.indices[i].tolist()
        shares = top.values[i].tolist()
        mark = _mark(label, guesses[0])
        lines = []
        for guess, share in zip(guesses, shares):
            lines.append(f"{names[guess]}{before_share}{share:.0%}")
        lines.append(f"is: {true_names[label]}" if mark is WRONG else "")  # as many for all images
        marks.append(mark)
        captions.append(mark.sign + "\n".join(lines))
    figure = plot_images(images, captions, title=title)
    for axis, mark in zip(figure.axes, marks):
        axis.spines[:].set(visible=True, capstyle="butt", **mark.frame)
    return figure


def _mark(label: int, guess: int) -> Mark:
    if label < 0:
        return UNKNOWN
    return RIGHT if guess == label else WRONG
