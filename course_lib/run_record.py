"""Which folder a run has, and its `run.json`, which says whose folder it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, SettingsError, brief
from .homes import folder_name
from .storage.checkpoints import load, newest_good
from .storage.drive import records_on_drive
from .storage.files import write_sealed
from .storage.identity import read_record, require_ours, require_same
from .storage.run_folder import RUN

if TYPE_CHECKING:
    from .data.bank import Bank
    from .experiment import Course

MOST_OF_A_NAME = 20  # data sets of one name whose runs have a folder each
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
    for number in course.epochs:
        path = newest_good(course.stage(number).folder)
        if path is not None:
            require_same_course(course, load(path)["identity"], str(path))


def require_same_course(course: Course, identity: dict[str, Any], where: str) -> None:
    """Raise CheckpointError if a stage was trained on other data, or with other settings.

    identity: the stage's, as its checkpoint in the file `where` holds it.
    """
    ours = _as_read(course.identity)
    found = _as_read({name: identity.get(name) for name in ours})
    require_same(found, ours, where, ADVICE)


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


def choose_folder(course: Course, runs_on_drive: Path | None, start_over: bool) -> Path:
    """The folder of this data's run, here or on Drive; else a new one.

    It's that of a run of the same data, wherever that lay; else of data that lay in the same place
    and has changed since; else one that's free. Its name has a number if the names before it belong
    to other data. start_over: a damaged `run.json` may be deleted.
    """
    folders = []
    for number in range(1, MOST_OF_A_NAME + 1):
        name = course.data.name if number == 1 else f"{course.data.name}-{number}"
        folders.append(course.home / folder_name(name, course.preset, course.settings))
    require_ours(folders[0])
    found = _records(folders, runs_on_drive, start_over)
    for fits in (_is_same_data, _lay_there):
        for folder in folders:
            if any(fits(record, course.data) for record in found[folder]):
                return folder
    for folder in folders:
        if not found[folder]:
            return folder
    raise SettingsError(
        f"There are {MOST_OF_A_NAME} runs of other data called {course.data.name}. Rename the data."
    )


def _records(
    folders: list[Path], runs_on_drive: Path | None, start_over: bool
) -> dict[Path, list[dict[str, Any]]]:
    """The `run.json` of each folder that has one, here or on Drive."""
    found: dict[Path, list[dict[str, Any]]] = {folder: [] for folder in folders}
    try:
        for folder in folders:
            record = read_record(folder)
            if record is not None:
                found[folder].append(record)
        if runs_on_drive:
            copies = records_on_drive([runs_on_drive / folder.name for folder in folders])
            for folder, record in zip(folders, copies):
                if record is not None:
                    found[folder].append(record)
    except CheckpointError:  # damaged
        if not start_over:
            raise
    return found


def _is_same_data(record: dict[str, Any], data: Bank) -> bool:
    """Whether a `run.json` is that of a run of this data, wherever it lay."""
    return record["identity"].get("data", {}).get("digest") == data.digest


def _lay_there(record: dict[str, Any], data: Bank) -> bool:
    """Whether a run's data lay where this data lies: then it has changed since."""
    return record.get("data", {}).get("place") == data.place
