"""What was measured on a stage, and the table that compares it with the report's numbers."""

from __future__ import annotations

import json
import platform
import subprocess
from dataclasses import asdict
from typing import Any

import torch
import torchvision
from torch import nn

from .errors import CheckpointError
from .experiment import Course
from .fingerprints import answers, decoder, images_identity, measured_on, same_answers
from .homes import CHECKOUT
from .loops import Measured, evaluate
from .settings import STAGES
from .stage import Stage
from .storage.checkpoints import load, newest_good
from .storage.files import content_digest, read_sealed, write_json, write_sealed
from .storage.identity import weights_digest
from .tables import Markdown, markdown_table

REPORT = {  # report 3: all its figures are on training images
    ("1", "train_plain"): "overfits",
    ("2", "train_plain"): "100%",
    ("2", "train_augmented"): "50%",
    ("3", "train_augmented"): "85%",
}
MEASURED_ON = {
    "train_plain": "{:,} training images, plain, eval mode",
    "train_augmented": "{:,} training images, augmented, eval mode",
    "heldout_plain": "{:,} held-out images ({}), plain, eval mode",
}


def measure(model: nn.Module, course: Course) -> dict[str, Measured]:
    """A stage's final figures: on training images, plain and augmented, and on held-out ones."""
    return {
        "train_plain": evaluate(model, course.data.train, course),
        "train_augmented": evaluate(model, course.data.train, course, augmented=True),
        "heldout_plain": evaluate(model, course.data.heldout, course),
    }


def record(
    stage: Stage,
    model: nn.Module,
    history: list[dict[str, Any]],
    final: dict[str, Measured],
) -> dict[str, Any]:
    """Save what was measured on a finished stage, in its folder; returns all stages' results.

    model: the stage's finished model. history: from `train`, or empty. final: from `measure`. The
    run's `results.json` is written anew, for people to read. Raises CheckpointError if the model or
    the history isn't the stage's, or `final` wasn't measured on this model and this data.
    """
    course = stage.course
    path = newest_good(stage.folder)
    if path is None or not stage.finished:
        raise CheckpointError(
            f"The stage isn't finished: run the training cell of stage {stage.number} first."
        )
    state = load(path)
    digest = weights_digest(model.state_dict())
    if weights_digest(state["model"]) != digest:
        raise CheckpointError(
            f"This isn't the finished model of stage {stage.number}. Run its training cell first."
        )
    if not same_answers(state["answers"], answers(model, course)):
        raise CheckpointError(
            f"This isn't the network of stage {stage.number}: with the same weights, it answers "
            "differently."
        )
    note = _require_as_named(stage, state)
    trained = state["position"]["history"]
    # Without the times: each of several processes has its own.
    losses = [entry["loss"] for entry in trained]
    if history and [entry["loss"] for entry in history] != losses:
        raise CheckpointError(f"This isn't the history of stage {stage.number}'s training.")
    descriptions = {}
    for name, figure in final.items():
        images = course.data.heldout if name == "heldout_plain" else stage.images
        augmented = name == "train_augmented"
        if figure.measured_on != measured_on(model, images, augmented, course):
            raise CheckpointError(
                f"{name} wasn't measured on stage {stage.number}'s model and data. Run the "
                "notebook's cells from the top, in order."
            )
        descriptions[name] = MEASURED_ON[name].format(figure.images, course.data.split)
    measured = {
        "course": content_digest(course.identity),
        "epochs": trained,
        "final": {name: figure.accuracy for name, figure in final.items()},
        "measured_on": descriptions,
        "checkpoint": path.name,
        "model": digest,
        "starts_from": state["identity"]["starts from"],
        "origin": state["position"]["origin"],  # the file, if the model was trained elsewhere
        "measured_with": session(course),
    }
    if note:
        measured["note"] = note
    write_sealed(stage.measured_path, measured)
    results = read_results(course)
    write_json(course.folder / "results.json", results)
    return results


def _require_as_named(stage: Stage, state: dict[str, Any]) -> str | None:
    """Raise CheckpointError if a stage wasn't trained as its name says.

    state: what its checkpoint holds. Returns a note if it began with another model than is usual,
    which may be on purpose.
    """
    identity = state["identity"]
    if state["position"]["origin"]:  # trained elsewhere: nobody can tell how
        return None
    if identity["augmented"] != stage.spec.augmented:
        raise CheckpointError(
            f"Stage {stage.number} is the one {stage.spec.title}, but it was trained with "
            f"augmented={identity['augmented']}. To train it again, run "
            f"course.stage({stage.number}).start_over()."
        )
    expected = images_identity(stage.images)
    if identity["images"] != expected:
        raise CheckpointError(
            f"Stage {stage.number} was trained on other images than the stage's: on "
            f"{identity['images']}, not on {expected}. To train it again, run "
            f"course.stage({stage.number}).start_over()."
        )
    same_decoder = state["made_on"]["decoder"] == decoder()  # another one's pixels may differ
    if same_decoder and identity["pixels"] != stage.images.content_digest():
        raise CheckpointError(
            f"Stage {stage.number} was trained on other pixels than the stage's, under the same "
            "names: perhaps on images of another seed or size. Train an experiment on its own "
            f"images, .stage({stage.number}).images. To train it again, run "
            f"course.stage({stage.number}).start_over()."
        )
    before = stage.spec.starts_from
    if before is not None and not newest_good(stage.course.stage(before).folder):
        return f"not from stage {before}"
    return None


def read_results(course: Course) -> dict[str, Any]:
    """What was measured on all stages, put together from their folders.

    A stage that has been retrained since it was measured is left out; a message says so. Each
    stage says in "measured_with" which device, versions and so on measured it; what's the same for
    all stages is also beside the stages.
    """
    stages: dict[str, Any] = {}
    for number in course.epochs:
        spec = STAGES[number]
        measured = read_measured(course.stage(number))
        if measured is None:
            continue
        if spec.starts_from is not None:
            before = stages.get(str(spec.starts_from))
            if before is not None and before["model"] != measured["starts_from"]:
                print(
                    f"Stage {number} was trained from an earlier version of stage "
                    f"{spec.starts_from}, so it's left out. To train it again, run "
                    f"course.stage({number}).start_over()."
                )
                continue
        del measured["course"]  # only to compare; the export names the data and the settings
        stages[str(number)] = measured
    sessions = [measured.get("measured_with", {}) for measured in stages.values()]
    return about(course) | _in_common(sessions) | {"stages": stages}


def about(course: Course) -> dict[str, Any]:
    """What a course's results belong to: its data and settings."""
    data = course.data
    return {
        "data": {
            "name": data.name,
            "train": len(data.train),
            "heldout": len(data.heldout),
            "split": data.split,
            "digest": data.digest,
        },
        "preset": course.preset,
        "seed": course.settings.seed,
        "settings": asdict(course.settings),
    }


def session(course: Course) -> dict[str, Any]:
    """What computes in this session: device, threads, precision, versions and commit."""
    device = course.device.type
    if device == "cuda":
        device = torch.cuda.get_device_name()
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "precision": course.precision.name,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "commit": commit(),
    }


def _in_common(sessions: list[dict[str, Any]]) -> dict[str, Any]:
    """What all sessions say alike; nothing if there are none."""
    if not sessions:
        return {}
    common = dict(sessions[0])
    for other in sessions[1:]:
        common = {key: value for key, value in common.items() if other.get(key) == value}
    return common


def read_measured(stage: Stage) -> dict[str, Any] | None:
    """What `record` saved for a stage; None if there's nothing, or it's out of date."""
    try:
        measured = read_sealed(stage.measured_path)
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        print(f"{error} Stage {stage.number} is left out. Run its notebook again.")
        return None
    checkpoint = newest_good(stage.folder)
    same_course = measured["course"] == content_digest(stage.course.identity)
    if checkpoint is None or checkpoint.name != measured["checkpoint"] or not same_course:
        print(
            f"Stage {stage.number} has changed since it was measured, so it's left out. Run its "
            "notebook again."
        )
        return None
    return measured


def stored(
    course: Course, name: str = "results.json", same_heldout: bool = False
) -> dict[str, Any] | None:
    """The content of the file `name` in `results/` for the same data, preset and size, or None.

    Its seed may be another one, and generated data then has other images (see `is_same_data`).
    same_heldout: only what was measured on the course's own held-out images, so that accuracies
    can be compared.
    """
    size = course.settings.size
    for path in sorted((CHECKOUT / "results").glob(f"*/{name}")):
        results = json.loads(path.read_text(encoding="utf-8"))
        same_preset = results["preset"] == course.preset
        same_size = results.get("settings", {}).get("size", size) == size
        if not (same_preset and same_size and is_same_data(results["data"], course)):
            continue
        if same_heldout and not _has_same_heldout(results["data"], course):
            continue
        return results
    return None


def _has_same_heldout(stored: dict[str, Any], course: Course) -> bool:
    """Whether something was measured on a course's very held-out images, as its "data" says."""
    data = course.data
    return stored.get("digest") == data.digest and stored["split"] == data.split


def is_same_data(stored: dict[str, Any], course: Course) -> bool:
    """Whether something was measured on a course's data, as its "data" says.

    Your own data is known by its content; generated data is other images for every seed, so it's
    known by its name and the number of images.
    """
    data = course.data
    if data.place:  # only your own data has one
        return stored.get("digest") == data.digest
    counts = (data.name, len(data.train), len(data.heldout))
    return (stored["name"], stored["train"], stored["heldout"]) == counts


def table(results: dict[str, Any], last_stage: int = 3) -> Markdown:
    """The report's numbers beside this run's, up to a stage: a later one may still be guessed."""
    rows = [["stage", "report", "this run", "measured on"]]
    for number, stage in sorted(results["stages"].items()):
        if int(number) > last_stage:
            continue
        note = f" ({stage['note']})" if "note" in stage else ""
        for name, accuracy in stage["final"].items():
            rows.append(
                [
                    f"{number}{note}, {len(stage['epochs']) or '?'} epochs",
                    REPORT.get((number, name), "–"),
                    f"{accuracy:.1%}",
                    stage["measured_on"][name],
                ]
            )
    return markdown_table(rows)


def commit() -> str | None:
    """The checkout's commit, with ", edited" if `course_lib` has been; None outside a checkout.

    A repository that the course is only a folder of doesn't count.
    """
    head = _git("rev-parse", "HEAD")
    if head and _git("status", "--porcelain", "--", "course_lib"):
        return f"{head}, edited"
    return head


def _git(*command: str) -> str | None:
    """What git prints about the checkout, or None if it fails."""
    own = ["git", "-C", str(CHECKOUT), "--git-dir", str(CHECKOUT / ".git")]
    own.append("--no-optional-locks")  # you may be committing something right now
    try:
        output = subprocess.check_output([*own, *command], text=True, stderr=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError):
        return None
    return output.strip()
