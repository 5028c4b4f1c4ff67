"""The figures of curves: a stage while it's trained, whole stages, and runs compared."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .captions import short
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
    "heldout_loss": "mean loss on held-out images (nats)",
    "heldout_accuracy": "accuracy on held-out images (%)",
    "gradient": "norm of the gradient / of the weights",
    "ratio": "loss / the other network's loss",
    "rate": "learning rate",
}
LIVE_SIZE = (WIDTH, 5)  # inches: all of it fits on a projector of 1280 × 720 at 150%

TRAINING: dict[str, Any] = {"color": BLUE, "linestyle": "-", "marker": "o"}
HELDOUT: dict[str, Any] = {"color": ORANGE, "linestyle": "--", "marker": "s"}
# Lines that stand for no run of their own, and must not look like one.
GUESSING: dict[str, Any] = {"color": "black", "linestyle": (0, (1, 3))}
ALWAYS_LARGEST: dict[str, Any] = {
    "color": "black",
    "linestyle": (0, (5, 2, 1, 2)),
    "linewidth": 1.5,
}
STAGE_BEFORE: dict[str, Any] = {"color": ORANGE, "linestyle": (0, (8, 3)), "linewidth": 1.5}
YOUR_GUESS: dict[str, dict[str, Any]] = {
    "training": {"color": BLUE, "linestyle": (0, (1, 1)), "linewidth": 2},
    "held-out": {"color": ORANGE, "linestyle": (0, (3, 1, 1, 1)), "linewidth": 2},
}
# So wide that it can be seen behind a curve that runs along it.
STORED: dict[str, Any] = {
    "color": "#c8c8c8",
    "linewidth": 8,
    "linestyle": "-",
    "marker": "",
    "zorder": 1,
}
STORED_HELDOUT: dict[str, Any] = STORED | {"linestyle": (0, (2, 0.5))}

MOST_BANDS = 4  # of several seeds in one figure: more would hide each other


@styled
def plot_live(
    stage_number: int,
    history: History,
    epochs: int,
    data: Bank,
    title: str,
    stored: History = (),
    before: float | None = None,
    guesses: Mapping[str, float] | None = None,
    smoothing: float = 0.0,
) -> Picture:
    """Plot a stage while it's trained: accuracy (left) and loss (right), on axes that stay put.

    epochs: of the whole stage. stored: the history of another run, drawn as a wide grey line.
    before: held-out accuracy at the end of the stage that this one continues, in [0, 1]. guesses:
    {"training" or "held-out": the reader's guess, in percent}. smoothing: of labels in training,
    which the held-out loss is without.
    """
    alt = f"{title}. Accuracy and loss per epoch in stage {stage_number}."
    figure = Picture(LIVE_SIZE, title, alt)
    left, right = figure.subplots(1, 2)
    _plot_accuracies(left, history, stored, [stage_number])
    _plot_guessing(left, data)
    if before is not None:
        _plot_stage_before(left, stage_number, before)
    for name, percent in (guesses or {}).items():
        left.axhline(percent, label=f"your guess: {name}", **YOUR_GUESS[name])
    highest = max(math.log(len(data.classes)), _highest_loss([history]))
    _plot_losses(right, history, stored, highest, smoothing)
    right.set_xlabel("epoch")
    for axis in (left, right):
        axis.set_xlim(0, epochs * 1.02)
    lines, labels = left.get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3, fontsize=13)
    return figure


@styled
def plot_history(
    histories: Mapping[int, History],
    title: str | None = None,
    data: Bank | None = None,
    smoothing: float = 0.0,
) -> Picture:
    """Plot the accuracy (top) and the loss (bottom) of stages, one column per stage.

    histories: {number of the stage: its history}. data: what the stages trained on, for the
    accuracy of guessing a class, and of always naming the largest. smoothing: the stages'
    `label_smoothing`, which the held-out loss is without.
    """
    stages = ", ".join(f"{number} ({STAGES[number].title})" for number in histories)
    alt = f"{title or 'Curves'}: accuracy and loss per epoch in stage {stages}."
    figure = Picture((WIDTH, 6), title, alt)
    grid = figure.subplots(2, len(histories), squeeze=False, sharey="row", sharex="col")
    highest = _highest_loss(histories.values())
    for column, number in enumerate(sorted(histories)):
        top = grid[0, column]
        bottom = grid[1, column]
        _plot_accuracies(top, histories[number], [], histories)
        _plot_losses(bottom, histories[number], [], highest, smoothing)
        if data is not None:
            _plot_guessing(top, data)
        before = _last_heldout(histories.get(STAGES[number].starts_from or 0, []))
        if before is not None:
            _plot_stage_before(top, number, before)
        top.set_title(f"Stage {number}\n{STAGES[number].title}")
        bottom.set_xlabel("epoch")
    for axis in figure.axes:
        axis.label_outer()
    lines, labels = grid[0, -1].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=2)
    return figure


def _plot_accuracies(
    axis: Axes, history: History, stored: History, stages: Collection[int]
) -> None:
    """Draw the accuracies of a stage. stages: all that are in the figure, for the legend."""
    _plot_line(axis, [stored], "train_accuracy", label="the stored run", **STORED)
    _plot_line(axis, [stored], "heldout_accuracy", **STORED_HELDOUT)
    _plot_line(axis, [history], "train_accuracy", label=_training_images(stages), **TRAINING)
    _plot_line(axis, [history], "heldout_accuracy", label="held-out images (plain)", **HELDOUT)
    axis.set(ylabel="accuracy (%)", xlabel="epoch", ylim=(-3, 103))


def _training_images(stages: Collection[int]) -> str:
    """What the running accuracy of these stages is measured on."""
    augmented = [number for number in stages if STAGES[number].augmented]
    if not augmented:
        return "training images (running average of the epoch)"
    if len(augmented) == len(stages):
        return "training images, augmented (running)"
    numbers = ", ".join(map(str, augmented))
    return f"training images (running; in stage {numbers}, augmented)"


def _plot_losses(
    axis: Axes, history: History, stored: History, highest: float, smoothing: float
) -> None:
    """Draw the losses of a stage, on training images and, if it was measured, on held-out ones.

    smoothing: of labels in training; then the two are different losses, and the label says so.
    highest: the loss that the axis must have room for. The first losses on held-out images may be
    many times as large, because batch norm's running averages have just begun: an arrow says so.
    """
    _plot_line(axis, [stored], "loss", **STORED)
    _plot_line(axis, [stored], "heldout_loss", **STORED_HELDOUT)
    _plot_line(axis, [history], "loss", **TRAINING)
    _plot_line(axis, [history], "heldout_loss", **HELDOUT)
    top = 1.2 * highest
    label = QUANTITIES["loss"]
    if smoothing > 0:
        label += f"\ntraining: with label smoothing {smoothing:g}"
    axis.set(ylabel=label, ylim=(-0.03 * top, top))
    above = [entry for entry in history if (entry.get("heldout_loss") or 0) > top]
    if above:
        largest = max(entry["heldout_loss"] for entry in above)
        first = (above[0]["epoch"], top)
        beside = {"xytext": (14, -4), "textcoords": "offset points", "va": "top"}
        axis.annotate(f"↑ up to {largest:,.1f}", first, color=ORANGE, **beside)


def _highest_loss(histories: Iterable[History]) -> float:
    """The highest loss on training images in any of the histories; 1 if there is none."""
    losses = [entry["loss"] for history in histories for entry in history]
    return max(losses, default=1.0)


def _plot_guessing(axis: Axes, data: Bank) -> None:
    """Draw what needs no learning: guessing a class, and naming the largest one every time."""
    chance = f"{100 * data.guessing:.3g}%"
    axis.axhline(100 * data.guessing, label=f"chance ({chance})", **GUESSING)
    if data.is_unequal:
        largest, share = data.largest_class
        label = f"always “{short(largest)}” ({100 * share:.3g}% of training images)"
        axis.axhline(100 * share, label=label, **ALWAYS_LARGEST)


def _plot_stage_before(axis: Axes, number: int, accuracy: float) -> None:
    """Draw the held-out accuracy, in [0, 1], at which a stage took over from the one before."""
    label = f"held-out images at the end of stage {STAGES[number].starts_from}"
    axis.axhline(100 * accuracy, label=label, **STAGE_BEFORE)


def _last_heldout(history: History) -> float | None:
    """The last held-out accuracy of a history, in [0, 1]; None if there's none."""
    return history[-1]["heldout_accuracy"] if history else None


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
    as "step". classes: how many the networks choose from, for the loss of guessing. A training loss
    with label smoothing is another one, and not to be compared with one without. Raises DataError
    for a run without a history, or whose seeds have histories of different lengths or positions.
    """
    alt = f"{title}: {QUANTITIES[quantity]} per {x} of {', '.join(runs)}."
    figure = Picture((10, 5.5), title, alt)
    axis = figure.subplots()
    with_bands = len(runs) <= MOST_BANDS
    for label, run in runs.items():
        seeds = _seeds_of(label, run, x)
        _plot_line(axis, seeds, quantity, x, with_bands, label=label)
    axis.set(xlabel=x, ylabel=QUANTITIES[quantity])
    if quantity == "loss" and classes is not None:
        axis.axhline(math.log(classes), label=f"guessing (ln {classes})", **GUESSING)
    _choose_scale(axis, quantity)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _seeds_of(label: str, run: Sequence[Any], x: str) -> Sequence[History]:
    """The histories of a run's seeds, if it's several or just one history; all with the same x.

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
    for history in seeds:
        if [entry[x] for entry in history] != [entry[x] for entry in seeds[0]]:
            raise DataError(f"The seeds of the run {label!r} were measured at different {x}s.")
    return seeds


def _choose_scale(axis: Axes, quantity: str) -> None:
    """Make small values legible: a logarithmic axis if they differ much; accuracies from 0%."""
    from matplotlib.ticker import LogLocator

    low, high = axis.dataLim.intervaly
    if quantity in ("loss", "gradient") and high > 8 * low > 0:  # on less, it would have two ticks
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
        rows.append([entry.get(quantity) for entry in history])  # not in all that are stored
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
