"""What a reader guesses before something is measured, and how close the guess was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from .errors import SettingsError
from .pictures import BLUE, ORANGE, Picture, styled
from .storage.files import write_json

if TYPE_CHECKING:
    from .experiment import Course
    from .stage import Stage

NO_GUESS = -1  # what a form's slider says before it's moved


class Guess(NamedTuple):
    """A guess, and what was measured afterwards, both in percent."""

    percent: float
    outcome: float | None  # None: not measured yet


def guess(course: Course, name: str, percent: float = NO_GUESS) -> None:
    """Keep a guess in the run's folder, so that it can be compared with the outcome.

    name: what is guessed. "stage 2, training" and "stage 2, held-out" are also drawn into the live
    curve of stage 2. percent: from 0 to 100, or −1 for no guess, which leaves an earlier one alone.
    Raises SettingsError for other numbers.
    """
    if percent == NO_GUESS:
        return
    if not 0 <= percent <= 100:
        raise SettingsError(f"{percent} is no percentage: guess a number from 0 to 100.")
    kept = read_guesses(course)
    if name in kept and kept[name].outcome is not None:
        print(f"You already know the answer, so your first guess stays: {kept[name].percent:g}%.")
        return
    kept[name] = Guess(percent, None)
    _write(course, kept)


def answer(course: Course, name: str, share: float) -> None:
    """Print how close a guess was, and keep the outcome. Without a guess, do nothing.

    share: what was measured, in [0, 1].
    """
    kept = read_guesses(course)
    if name not in kept:
        return
    percent = kept[name].percent
    outcome = 100 * share
    distance = abs(percent - outcome)
    print(f"{name}: you guessed {percent:g}%, and it's {outcome:.1f}%: {distance:.1f} points off.")
    kept[name] = Guess(percent, outcome)
    _write(course, kept)


def read_guesses(course: Course) -> dict[str, Guess]:
    """All guesses of a run, by name, in the order in which they were made."""
    path = course.folder / "guesses.json"
    if not path.exists():
        return {}
    stored = json.loads(path.read_text(encoding="utf-8"))
    return {name: Guess(**fields) for name, fields in stored.items()}


def guesses_of(stage: Stage) -> dict[str, float]:
    """The guesses about a stage, for its live curve: {"training" or "held-out": percent}."""
    kept = read_guesses(stage.course)
    found = {}
    for images in ("training", "held-out"):
        name = f"stage {stage.number}, {images}"
        if name in kept:
            found[images] = kept[name].percent
    return found


def answered_guesses(course: Course) -> dict[str, Guess]:
    """The guesses of a run whose outcome is known, by name."""
    answered = {}
    for name, one in read_guesses(course).items():
        if one.outcome is not None:
            answered[name] = one
    return answered


@styled
def plot_guesses(answered: Mapping[str, Guess]) -> Picture:
    """Plot guesses beside what came out; answered: from `answered_guesses`, at least one."""
    names = list(answered)
    in_words = []
    for name, one in answered.items():
        in_words.append(f"{name}: guessed {one.percent:g}%, measured {one.outcome:.1f}%")
    alt = "; ".join(in_words)
    figure = Picture((10, 1.8 + 0.6 * len(names)), "Your guesses, and what came out", alt)
    axis = figure.subplots()
    rows = range(len(names))
    guessed = [one.percent for one in answered.values()]
    outcomes = [one.outcome for one in answered.values()]
    axis.hlines(rows, guessed, outcomes, color="grey", linewidth=2)
    axis.plot(guessed, rows, "o", color=ORANGE, markersize=11, label="your guess")
    axis.plot(outcomes, rows, "s", color=BLUE, markersize=11, label="measured")
    axis.set(xlim=(-3, 103), xlabel="%", yticks=list(rows), yticklabels=names)
    axis.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _write(course: Course, kept: dict[str, Guess]) -> None:
    fields = {name: one._asdict() for name, one in kept.items()}
    write_json(course.folder / "guesses.json", fields)
