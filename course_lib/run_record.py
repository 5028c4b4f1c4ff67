"""`run.json`: whose folder a run's is, and what is said if its data has changed since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, brief
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


def claim_folder(course: Course) -> dict[str, Any]:
    """Claim a run's folder and return its `run.json`.

    Until training begins, the data and the precision may still change. Raises CheckpointError if
    the folder is that of another run, or was trained on other data.
    """
    record = read_record(course.folder)
    begun = any(course.stage(number).state is not None for number in course.epochs)
    if record is not None and not begun:
        settings = record["identity"].get("settings")
        ours = _as_read(course.identity["settings"])
        require_same({"settings": settings}, {"settings": ours}, str(course.folder), ADVICE)
    if record is None or not begun:
        record = {
            "identity": course.identity,
            "precision": course.precision.name,
            "data": {"place": course.data.place, "classes": course.data.counts},
        }
        write_sealed(course.folder / RUN, record)
        return record
    require_same_run(course, record)
    return record


def require_same_run(course: Course, record: dict[str, Any] | None) -> None:
    """Raise CheckpointError unless a `run.json` is this run's, or there is none yet (None)."""
    if record is None:
        return
    ours = _as_read(course.identity)
    found = record["identity"]
    if found.get("data") != ours["data"]:
        before = record.get("data", {}).get("classes", {})
        changes = "; ".join(data_changes(before, course.data.counts))
        raise CheckpointError(
            f"{brief(course.data.name)} has changed since {course.folder} was trained: {changes}. "
            "Nothing was changed there. To train on what is there now, start over: "
            "open_course(…, start_over=True), or make reproduce FRESH=1. To keep the old run, give "
            "the data another name."
        )
    require_same(found, ours, str(course.folder), ADVICE)


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


def may_hold(record: dict[str, Any] | None, data: Bank) -> bool:
    """Whether a folder with this `run.json` (None: without one) may be a run's of this data.

    It may if the data is the same, or lies where the run's lay: then it has changed.
    """
    if record is None:
        return True
    found = record["identity"].get("data", {})
    if found.get("digest") == data.digest:
        return True
    return record.get("data", {}).get("place") == data.place
