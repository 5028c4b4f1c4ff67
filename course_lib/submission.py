"""`submit`: opens the sealed images of a project for one claim, and counts how often."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .board import (
    Claim,
    Opening,
    read_openings,
    require_name,
    require_own_board,
    write_openings,
)
from .errors import DataError, SettingsError
from .experiment import Course
from .results import commit
from .storage.drive import look_on_drive
from .storage.files import content_digest, entries
from .storage.identity import read_record
from .storage.mounts import require_mounted
from .storage.run_folder import SUBMISSIONS
from .verdicts import judge

History = list[dict[str, Any]]  # what `trial` returns


class Answers(NamedTuple):
    """What a training has answered to the sealed images, and what it was."""

    training: str  # a digest of all that it depends on
    recipe: str  # the same but for the seed: equal for all seeds of a variant
    weights: str  # a digest of the finished network's
    epochs: int
    trained_on: int  # images
    right: str  # "0" or "1" for each image; looked at only once it's counted


def submit(
    course: Course,
    mine: Sequence[History],
    control: Sequence[History],
    *,
    model: str,
    student: str,
    control_name: str = "the control",
) -> Claim:
    """Open the sealed images, once: is your change better than the control?

    course: from `begin_project`. mine, control: a history of `trial` for each seed. model, student,
    control_name: the names on the board. If you submit the same trainings again, you get the first
    result, and nothing is opened; any others are another opening, which is counted. Both are kept
    in the run's folder: see `board.py`. Openings in other runs on the same data, here and on Drive,
    count as well, such as those of another preset. Raises SettingsError for a name, or a course
    without sealed images; DataError for trainings that can't be compared; CheckpointError if the
    run's data has changed, or a file of the board is damaged or isn't ours; DiskError.
    """
    student = require_name(student)
    model = require_name(model)
    control_name = require_name(control_name)
    course.claim()
    if course.drive:
        course.drive.restore()  # another computer may have opened them
    images = _sealed_digest(course)
    my_answers = _answers(mine, images)
    control_answers = _answers(control, images)
    _require_different(my_answers, control_answers)
    openings = read_openings(course.folder)
    require_own_board(course.folder, openings)
    key = content_digest([images, _trainings(my_answers), _trainings(control_answers)])
    for opening in openings:
        if opening.key == key and opening.claim is not None:
            print("You've submitted this before. Here is the first result; nothing was opened.")
            write_openings(course.folder, openings)  # the board may be missing
            return opening.claim
    opened = _times_opened(course) + 1
    position = len(openings)
    openings.append(Opening(key))
    write_openings(course.folder, openings)  # whatever comes next, this opening counts
    my_right = _right(my_answers)
    accuracy = judge(my_right, np.zeros_like(my_right))  # with the interval of a difference from 0
    least = min(100.0, 300 / my_right.shape[1])  # if all n are right, 3 / n may still be wrong
    verdict = judge(my_right, _right(control_answers))
    claim = Claim(
        student=student,
        data=course.data.name,
        classes=len(course.data.classes),
        sealed_images=my_right.shape[1],
        model=model,
        control=control_name,
        budget=_budget(my_answers, control_answers),
        seeds=verdict.seeds,
        accuracy=round(accuracy.difference, 2),
        accuracy_margin=round(max(accuracy.high - accuracy.difference, least), 2),
        difference=round(verdict.difference, 2),
        difference_margin=round(verdict.high - verdict.difference, 2),
        verdict=verdict.verdict,
        would_be_found=verdict.would_be_found,
        opened=opened,
        date=datetime.now(UTC).date().isoformat(),
        commit=commit(),
    )
    openings = read_openings(course.folder)  # another notebook may have added one meanwhile
    openings[position].claim = claim
    write_openings(course.folder, openings)
    return claim


def _sealed_digest(course: Course) -> str:
    """The digest of a course's sealed images. Raises SettingsError if it has none."""
    if course.data.sealed is None:
        raise SettingsError("Nothing is sealed in this course: use the one of begin_project.")
    return course.data.sealed.content_digest()


def _times_opened(course: Course) -> int:
    """How often sealed images of this data have been opened, in all runs of the same home.

    Those on Drive count as well: a new runtime has only this run's.
    """
    opened = _openings_in(course.home, course.data.digest)
    if course.drive:
        runs_on_drive = course.drive.remote.parent
        on_drive = look_on_drive(lambda: _openings_in(runs_on_drive, course.data.digest))
        for name, count in on_drive.items():  # of the same run, if its name is the same
            opened[name] = max(count, opened.get(name, 0))
    return sum(opened.values())


def _openings_in(runs: Path, digest: str) -> dict[str, int]:
    """The name of each run's folder in a folder → how often images of this data were opened.

    digest: the data's. Raises DiskError, or CheckpointError if a record is damaged.
    """
    require_mounted(runs)
    opened = {}
    for run in entries(runs):
        if not (run / SUBMISSIONS).exists():
            continue
        record = read_record(run)
        if record is not None and record["identity"].get("data", {}).get("digest") == digest:
            opened[run.name] = len(read_openings(run))
    return opened


def _answers(histories: Sequence[History], images: str) -> list[Answers]:
    """What each training has answered. images: the digest of the sealed images.

    Raises DataError unless these trainings differ in their seed and in nothing else, and have
    answers to these images.
    """
    if not histories:
        raise DataError("There are no trainings to submit: run a trial for each seed.")
    answers = []
    for history in histories:
        sealed = history[-1].get("sealed", {})
        if sealed.get("images") != images:
            raise DataError(
                "A training has no answers to these sealed images. Train it with "
                "trial(project, …), where project is what begin_project has returned."
            )
        answers.append(
            Answers(
                training=sealed["training"],
                recipe=sealed["recipe"],
                weights=sealed["weights"],
                epochs=len(history),
                trained_on=sealed["trained_on"],
                right=sealed["right"],
            )
        )
    if len(set(_trainings(answers))) < len(answers):
        raise DataError("A training is listed twice. Use another seed for each: trial(…, seed=1).")
    if len({each.weights for each in answers}) < len(answers):
        raise DataError(
            "Two trainings have ended with the same weights, so they are one: whatever differs has "
            "had no effect. Use another seed for each: trial(…, seed=1)."
        )
    if len({each.recipe for each in answers}) > 1:
        raise DataError(
            "Trainings that are listed together differ in more than their seed, such as in a "
            "setting, the epochs, the images or the network, so they aren't several seeds of one "
            "variant. Train them alike: trial(…, seed=0), trial(…, seed=1)."
        )
    return answers


def _require_different(mine: Sequence[Answers], control: Sequence[Answers]) -> None:
    """Raise DataError if a training is on both sides."""
    if set(_trainings(mine)) & set(_trainings(control)):
        raise DataError("Your change and the control share a training. Change something.")
    if {each.weights for each in mine} & {each.weights for each in control}:
        raise DataError(
            "A training of your change has ended with the same weights as one of the control, so "
            "the change has had no effect. Is it one of augmentation, and augmented is False?"
        )


def _trainings(answers: Sequence[Answers]) -> list[str]:
    """Which trainings these are, sorted."""
    return sorted(each.training for each in answers)


def _right(answers: Sequence[Answers]) -> np.ndarray:
    """Which of the sealed images were right: float (seeds, images), 0 or 1."""
    rows = []
    for each in answers:
        rows.append([float(digit) for digit in each.right])
    return np.array(rows)


def _length(answers: Answers) -> str:
    epochs = "1 epoch" if answers.epochs == 1 else f"{answers.epochs:,} epochs"
    return f"{epochs} of {answers.trained_on:,} images"


def _budget(mine: Sequence[Answers], control: Sequence[Answers]) -> str:
    """How long was trained, in words; of both, if they differ."""
    if _length(mine[0]) == _length(control[0]):
        return _length(mine[0])
    return f"{_length(mine[0])} against {_length(control[0])}"
