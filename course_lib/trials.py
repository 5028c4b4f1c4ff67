"""Short trainings with other settings: the comparisons of the notebooks."""

from __future__ import annotations

import secrets
from copy import deepcopy
from dataclasses import replace
from typing import Any

from torch import nn

from .data.bank import Images
from .data.copies import report_overlap
from .device import choose_precision
from .distributed import rank_0_first, ranks
from .errors import CheckpointError, say_once
from .experiment import Course
from .fingerprints import (
    architecture,
    new_model_identity,
    training_code_digest,
    training_code_has_changed,
)
from .loops import predict, train
from .progress import NoDisplay
from .settings import StageSpec, require_epochs
from .sources import NotDescribed
from .stage import Stage
from .storage.files import content_digest, read_sealed, write_sealed
from .storage.identity import weights_digest


def trial(
    course: Course,
    images: Images,
    *,
    epochs: int,
    model: nn.Module | None = None,
    augmented: bool = False,
    heldout: Images | None = None,
    **changes: Any,
) -> list[dict[str, Any]]:
    """Train a new model briefly with other settings, as in `trial(course, five, epochs=4, lr=0.1)`.

    model: a new model to use instead of the report's; a copy of it is trained. augmented, heldout:
    as in `train`. changes: fields of Settings. Returns the history. With `heldout`, its last entry
    also has "heldout_right": for each of these images, in order, whether the finished network is
    right (bool). If the course has sealed images, it also has "sealed": the answers to these, for
    `submit` to open. The history is kept in `trials/`, in a file whose name depends on everything
    that could change it (your network's code and the code that trains, too), and is reused the next
    time. After ■ or a kill, the same call continues, as `train` does. If your network uses
    something of which nobody can tell whether it has changed, such as an open file, or if the
    course's own code has changed in this session, the trial is trained anew each time. Raises
    SettingsError, and what `train` raises.
    """
    settings = course.settings.with_changes(**changes)
    precision = choose_precision(course.device, changes.get("precision", course.precision.name))
    epochs = require_epochs(epochs)
    # The course with other settings; what it writes before it's finished isn't copied to Drive.
    attempt = replace(course, settings=settings, precision=precision, drive=None)
    if model is None:
        model = attempt.new_model()
    model_is = _identity_or_none(model)
    sealed = course.data.sealed
    training: dict[str, Any] = {
        "course": attempt.identity,
        "precision": precision.name,
        "epochs": epochs,
        "augmented": augmented,
        "images": images.content_digest(),
        "model": model_is or secrets.token_hex(8),  # one that can't be known is like no other
        "code": training_code_digest(),
    }
    if ranks() > 1:  # batch norm sees each process's share of a batch
        training["processes"] = ranks()
    measured = {"heldout": heldout.content_digest() if heldout else None}
    if sealed is not None:
        measured["sealed"] = sealed.content_digest()
        measured["recipe"] = _recipe(training, model)
    name = content_digest(training | measured)[:16]
    path = course.folder / "trials" / f"{name}.json"
    if path.exists():
        if heldout is not None:
            report_overlap(images, heldout)  # as `train` does
        try:
            return read_sealed(path)
        except CheckpointError as error:
            print(f"{error} This trial is trained again.")
    unfinished = replace(attempt, folder=course.unfinished_trials / name)
    folder = unfinished.folder / "stage-1"
    stage = Stage(unfinished, StageSpec(1, "a trial"), folder, epochs, is_trial=True)
    copy = deepcopy(model)  # so that the model which was passed in stays new
    history = train(copy, images, stage, augmented=augmented, heldout=heldout, live=NoDisplay())
    if heldout is not None:
        history[-1]["heldout_right"] = _right(copy, heldout, attempt)
    if sealed is not None:
        # Nothing else may look at them, so this is a course in which nothing is sealed.
        unsealed = replace(attempt, data=replace(attempt.data, sealed=None, hidden={}))
        right = _right(copy, sealed, unsealed)
        history[-1]["sealed"] = {
            "training": content_digest(training)[:16],  # whatever was measured on its network
            "recipe": measured["recipe"],
            "weights": weights_digest(copy.state_dict()),  # of the finished network
            "trained_on": len(images),
            "images": measured["sealed"],
            "right": "".join("1" if each else "0" for each in right),  # not to be read by accident
        }
    if model_is is not None:
        with rank_0_first():  # the other processes need the file next time, too
            write_sealed(path, history)
    unfinished.forget(unfinished.folder)
    return history


def _recipe(training: dict[str, Any], model: nn.Module) -> str:
    """A digest of what a training depends on, but for its seed and the weights it begins with."""
    course = training["course"]
    settings = {name: value for name, value in course["settings"].items() if name != "seed"}
    without_seed = {"course": course | {"settings": settings}, "model": architecture(model)}
    return content_digest(training | without_seed)[:16]


def _identity_or_none(model: nn.Module) -> str | None:
    """What a new model is; None, and a message, if it or what trains it may have changed."""
    if training_code_has_changed():
        say_once(
            "The course's code has changed since it was imported, so trials are trained anew each "
            "time. To keep them again, restart the kernel."
        )
        return None
    try:
        return new_model_identity(model)
    except NotDescribed as error:
        say_once(f"Trials of this network are trained anew each time: {error}.")
        return None


def _right(model: nn.Module, images: Images, course: Course) -> list[bool]:
    """For each image, in order, whether the model predicts its label."""
    predicted = predict(model, images, course).argmax(1)
    return (predicted == images.labels).tolist()
