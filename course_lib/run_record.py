"""`run.json`: whose folder a run's is, and what is said if its data has changed since."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, brief
from .storage.checkpoints import load, newest_good
from .storage.files import write_sealed
from .storage.identity import read_record, require_same
from .storage.run_folder import RUN

if TYPE_CHECKING:
    from .data.bank import Bank
    from .experiment import Course

MOST_CLASSES = 5  # that are named in a message
ADVICE = (
    "To keep both, use another COURSE_HOME or experiment name. To give up the old one, delete its "
    "folder."
)


def claim_folder(course: Course, on_drive: dict[str, Any] | None = None) -> dict[str, Any]:
    """Claim a run's folder and return its `run.json`.

    Until training begins, the data and the precision may still change. on_drive: the `run.json` of
    what has been trained on Drive, which then counts. Raises CheckpointError if the folder is that
    of another run, or was trained on other data.
    """
    record = read_record(course.folder)
    begun = any(course.stage(number).state is not None for number in course.epochs)
    if record is not None and not begun:
        settings = record["identity"].get("settings")
        ours = _as_read(course.identity["settings"])
        require_same({"settings": settings}, {"settings": ours}, str(course.folder), ADVICE)
    if record is None and begun:
        _require_own_checkpoints(course)
    if on_drive is not None and not begun:
        write_sealed(course.folder / RUN, on_drive)
        return on_drive
    if record is None or not begun:
        record = {
            "identity": course.identity,
            "precision": course.precision.name,
            "data": {"place": course.data.place, "classes": course.data.counts},
        }
        write_sealed(course.folder / RUN, record)
        return record
    require_same_run(course, record, course.folder)
    return record


def _require_own_checkpoints(course: Course) -> None:
    """Raise CheckpointError if a stage in the course's folder was trained on other data."""
    ours = _as_read(course.identity)
    for number in course.epochs:
        path = newest_good(course.stage(number).folder)
        if path is not None:
            identity = _as_read(load(path)["identity"])
            found = {name: identity.get(name) for name in ours}
            require_same(found, ours, str(path), ADVICE)


def require_same_run(course: Course, record: dict[str, Any] | None, folder: Path) -> None:
    """Raise CheckpointError unless the `run.json` of a folder is this run's, or None."""
    if record is None:
        return
    ours = _as_read(course.identity)
    found = record["identity"]
    if found.get("data", {}).get("digest") != ours["data"]["digest"]:
        before = record.get("data", {}).get("classes", {})
        changes = "; ".join(data_changes(before, course.data.counts))
        raise CheckpointError(
            f"{brief(course.data.name)} has changed since {folder} was trained: {changes}. Nothing "
            "was changed there. To train on what is there now, start over, which deletes that "
            "training: add start_over=True to open_course, experiment or begin_project, whichever "
            "raised this, or make reproduce FRESH=1. To keep the old run, rename the data."
        )
    require_same(found, ours, str(folder), ADVICE)


def data_changes(before: dict[str, int], now: dict[str, int]) -> list[str]:
    """What has become of a data set, in words: ["61 images instead of 60", "cat has one more"].

    before, now: the name of each class → how many images it has.
    """
    changes = []
    total_before = sum(before.values())
    total_now = sum(now.values())
    if total_now != total_before:
        changes.append(f"{total_now:,} images instead of {total_before:,}")
    of_classes = []
    for name in [*before, *(name for name in now if name not in before)]:
        change = _class_change(brief(name)[1:-1], before.get(name, 0), now.get(name, 0))
        if change:
            of_classes.append(change)
    changes += of_classes[:MOST_CLASSES]
    if len(of_classes) > MOST_CLASSES:
        changes.append(f"{len(of_classes) - MOST_CLASSES:,} more classes differ")
    if not changes:
        changes.append("as many images of each class, but other files, names or labels")
    return changes


def _class_change(name, before, now):
    """What has become of a class, in words; "" if it has as many images as before."""
    if before == now:
        return ""
    if before == 0:
        return f"{name} is new"
    if now == 0:
        return f"{name} is gone"
    if now > before:
        return f"{name} has {_number(now - before)} more"
    return f"{name} has {_number(before - now)} fewer"


def _number(count):
    return "one" if count == 1 else f"{count:,}"


def _as_read(content):
    """Something as it's read back from JSON, where tuples are lists."""
    return json.loads(json.dumps(content))


def is_same_data(record: dict[str, Any], data: Bank) -> bool:
    """Whether a `run.json` is that of a run of this data, wherever it lay."""
    return record["identity"].get("data", {}).get("digest") == data.digest


def lay_there(record: dict[str, Any], data: Bank) -> bool:
    """Whether a run's data lay where this data lies: then it has changed since."""
    return record.get("data", {}).get("place") == data.place
