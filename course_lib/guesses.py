"""What a reader guesses before something is measured, and how close the guess was.

Each guess, and each outcome, is a small file of its own in `guesses/`, named after what's in it: so
two computers that share a Drive never write different things to one file.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import CheckpointError, DiskError, SettingsError
from .pictures import BLUE, ORANGE, Picture, styled
from .storage.checkpoints import newest_first
from .storage.files import content_digest, entries, read_sealed, write_sealed
from .storage.run_folder import GUESSES, is_ours

if TYPE_CHECKING:
    from .experiment import Course
    from .stage import Stage

NO_GUESS = -1  # what a form's slider says before it's moved


class Guess(NamedTuple):
    """A guess, and what was measured afterwards, both in percent."""

    percent: float
    outcome: float | None  # None: not measured yet


@dataclass(frozen=True)
class Note:
    """What a file in `guesses/` holds: a guess, as it was at some time."""

    name: str  # what is guessed
    percent: float
    outcome: float | None
    run: str  # a digest of the run's identity: its data and settings
    measured_on: dict[str, str]  # number of the stage → its checkpoint when this was measured
    turn: int  # counts up: of several notes with one name, the last one counts


def guess(course: Course, name: str, percent: float = NO_GUESS) -> None:
    """Keep a guess in the run's folder, so that it can be compared with the outcome.

    name: what is guessed. "stage 2, training" and "stage 2, held-out" are also drawn into the live
    curve of stage 2. percent: from 0 to 100, or −1 for no guess, which leaves an earlier one alone.
    Raises SettingsError for anything else, DiskError.
    """
    if not isinstance(name, str):
        raise SettingsError(f"{name!r} is no name for a guess: use a text, in quotes.")
    if isinstance(percent, bool) or not isinstance(percent, Real):
        raise SettingsError(f"{percent!r} is no number: guess a number from 0 to 100.")
    if percent == NO_GUESS:
        return
    if not 0 <= percent <= 100:
        raise SettingsError(f"{percent} is no percentage: guess a number from 0 to 100.")
    before = read_guesses(course).get(name)
    if before is not None and before.outcome is not None:
        print(f"You already know the answer, so your first guess stays: {before.percent:g}%.")
        return
    if before is None or before.percent != percent:
        _keep(course, name, float(percent))


def answer(course: Course, name: str, share: float) -> None:
    """Print how close a guess was, and keep the outcome. Without a guess, do nothing.

    share: what was measured, in [0, 1]. The outcome counts until a stage that was trained by then
    is trained further or started over. Raises DiskError.
    """
    before = read_guesses(course).get(name)
    if before is None:
        return
    percent = before.percent
    outcome = 100 * float(share)
    distance = abs(percent - outcome)
    print(f"{name}: you guessed {percent:g}%, and it's {outcome:.1f}%: {distance:.1f} points off.")
    if before.outcome != outcome:
        _keep(course, name, percent, outcome)


def read_guesses(course: Course) -> dict[str, Guess]:
    """All guesses about a run, by name, in the order in which they were made.

    Those about other data aren't among them. What can't be read is left out, with a message.
    """
    trained = _trained(course)
    run = content_digest(course.identity)
    found = {}
    for note in _notes(course):
        if note.run == run:
            still_there = note.measured_on.items() <= trained.items()
            found[note.name] = Guess(note.percent, note.outcome if still_there else None)
    return found


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


def _keep(course: Course, name: str, percent: float, outcome: float | None = None) -> None:
    """Write a note: the newest one about `name`."""
    measured_on = {} if outcome is None else _trained(course)
    turn = 1 + max((note.turn for note in _notes(course)), default=0)
    run = content_digest(course.identity)
    note = asdict(Note(name, percent, outcome, run, measured_on, turn))
    write_sealed(course.folder / GUESSES / f"{content_digest(note)[:16]}.json", note)


def _notes(course: Course) -> list[Note]:
    """All notes in a run's folder, the last one last; what can't be read is reported."""
    notes = []
    try:
        paths = entries(course.folder / GUESSES)
    except DiskError as error:
        print(f"{error} Your guesses are left out.")
        return []
    for path in paths:
        if not is_ours(GUESSES / path.name):
            continue
        try:
            note = _note(read_sealed(path))
        except FileNotFoundError:  # the run has just been started over
            continue
        except (CheckpointError, DiskError) as error:
            print(f"{error} This guess is left out.")
            continue
        if note is None:
            print(f"{path} doesn't hold a guess, and is left out. Delete or rename it.")
            continue
        notes.append(note)
    return sorted(notes, key=lambda note: note.turn)  # equal turns stay sorted by file name


def _note(content: Any) -> Note | None:
    """What a file in `guesses/` holds; None if that's something else."""
    try:
        note = Note(**content)
    except TypeError:
        return None
    if not isinstance(note.name, str) or not isinstance(note.run, str):
        return None
    if not isinstance(note.turn, int) or not isinstance(note.measured_on, dict):
        return None
    for percent in (note.percent, note.outcome):
        if percent is not None and not _is_finite(percent):
            return None
    if note.percent is None:
        return None
    return note


def _is_finite(value: object) -> bool:
    """Whether something is a number, and neither infinite nor NaN."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def _trained(course: Course) -> dict[str, str]:
    """The number of each stage that has been trained → the name of its furthest checkpoint."""
    trained = {}
    for number in course.epochs:
        checkpoints = newest_first(course.stage(number).folder)
        if checkpoints:
            trained[str(number)] = checkpoints[0].name
    return trained
