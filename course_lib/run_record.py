"""Which folder a run has, and its `run.json`, which says whose folder it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, SettingsError, brief
from .homes import folder_name
from .settings import Settings
from .storage.checkpoints import load, newest_good
from .storage.drive import record_on_drive
from .storage.files import as_read, write_sealed
from .storage.identity import KEEP_BOTH, read_record, require_ours, require_same
from .storage.run_folder import RUN, stages_in

if TYPE_CHECKING:
    from .data.bank import Bank
    from .experiment import Course

MOST_OF_A_NAME = 20  # data sets of one name whose runs have a folder each
MOST_CLASSES = 5  # that are named in a message


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
        ours = as_read(course.identity["settings"])
        require_same({"settings": settings}, {"settings": ours}, str(course.folder), KEEP_BOTH)
    if record is None and begun:
        _require_own_checkpoints(course)
    if on_drive is not None and not begun:
        write_sealed(course.folder / RUN, on_drive)
        return on_drive
    if record is None or not begun:
        return new_record(course)
    require_same_run(course, record, course.folder)
    return record


def new_record(course: Course) -> dict[str, Any]:
    """Write the `run.json` of a run that begins, and return it.

    It takes the place of any other: whoever has deleted a run owns its folder.
    """
    record = {
        "identity": course.identity,
        "precision": course.precision.name,
        "data": {"place": course.data.place, "classes": course.data.counts},
        "experiments": list(course.experiments),
    }
    write_sealed(course.folder / RUN, record)
    return record


def require_own_name(course: Course, remote: Path | None) -> None:
    """Raise CheckpointError unless the course's folder may be started over.

    Runs of other settings, or of data that has changed, may be; but not an experiment of another
    name, or a run that's none: "seed1" may be an experiment, or a run with COURSE_SEED=1. If
    `run.json` is damaged, all depends on what was trained there. remote: the copy on Drive.
    """
    for folder in (course.folder, remote):
        if folder is None:
            continue
        try:
            record = read_record(folder) if folder == course.folder else record_on_drive(folder)
        except CheckpointError:
            if not _trained_here(course, course.folder):
                raise CheckpointError(_unknown_owner(course.folder)) from None
            continue
        if record is None:
            continue
        found = _experiments(course, record)
        if found != list(course.experiments):
            raise CheckpointError(
                f"{folder} isn't deleted: it's that of {_called(found)}, and this is "
                f"{_called(list(course.experiments))}. Use another name."
            )


def _experiments(course: Course, record: dict[str, Any]) -> list[str]:
    """The names of the experiments that a `run.json` belongs to; none if it's a run by itself.

    Earlier versions didn't write them: then it's a run by itself if its folder is called like one.
    """
    found = record.get("experiments")
    if isinstance(found, list):
        return found
    settings = record["identity"].get("settings")
    try:
        names = _folder_names(course, Settings(**settings))
    except (TypeError, SettingsError):  # of another version
        return list(course.experiments)
    if course.folder.name in names:
        return []
    return list(course.experiments)


def _called(experiments: list[str]) -> str:
    """A run in words, by the names of its experiments."""
    if not experiments:
        return "a run that's no experiment"
    return f"the experiment {' of '.join(brief(name) for name in reversed(experiments))}"


def _trained_here(course: Course, folder: Path) -> bool:
    """Whether something is trained in a folder, and all of it is this run's."""
    identities = []
    for stage in stages_in(folder):
        path = newest_good(folder / stage)
        if path is not None:
            identities.append(load(path).get("identity"))
    ours = as_read(course.identity)
    for identity in identities:
        if not isinstance(identity, dict):
            return False
        found = as_read({name: identity.get(name) for name in ours})
        if found != ours:
            return False
    return len(identities) > 0


def _unknown_owner(folder: Path) -> str:
    return (
        f"{folder / RUN} (or its copy on Drive) is damaged, and nothing shows that the run is this "
        "one, so nothing was deleted. Rename the folder, or delete it to give up what's in it."
    )


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
    ours = as_read(course.identity)
    found = as_read({name: identity.get(name) for name in ours})
    require_same(found, ours, where, KEEP_BOTH)


def require_same_run(course: Course, record: dict[str, Any] | None, folder: Path) -> None:
    """Raise CheckpointError unless the `run.json` of a folder is this run's, or None."""
    if record is None:
        return
    ours = as_read(course.identity)
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
    require_same(found, ours, str(folder), KEEP_BOTH)


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


def choose_folder(course: Course, runs_on_drive: Path | None, start_over: bool) -> Path:
    """The folder of this data's run, here or on Drive; else a new one.

    It's that of a run of the same data, wherever that lay; else of data that lay in the same place
    and has changed since; else one that's free. Its name has a number if the names before it belong
    to other data. A folder with a damaged `run.json` is nobody's, unless this run was trained there
    and start_over says that it may be deleted. Raises CheckpointError if there's such a folder, and
    none whose `run.json` says that it's this data's.
    """
    folders = [course.home / name for name in _folder_names(course, course.settings)]
    require_ours(folders[0])
    found: dict[Path, list[dict[str, Any]]] = {}
    damaged: dict[Path, CheckpointError] = {}
    for folder in folders:
        try:
            found[folder] = _records(folder, runs_on_drive)
        except CheckpointError as error:
            damaged[folder] = error
    for fits in (_is_same_data, _lay_there):
        for folder, records in found.items():
            if any(fits(record, course.data) for record in records):
                return folder
    for folder, error in damaged.items():
        if not start_over:
            raise error
        if _trained_here(course, folder):
            return folder
        raise CheckpointError(_unknown_owner(folder)) from error
    for folder, records in found.items():
        if not records:
            return folder
    raise SettingsError(
        f"There are {MOST_OF_A_NAME} runs of other data called {course.data.name}. Rename the data."
    )


def _folder_names(course: Course, settings: Settings) -> list[str]:
    """What the folder of a run with these settings, which is no experiment, may be called."""
    names = []
    for number in range(1, MOST_OF_A_NAME + 1):
        data = course.data.name if number == 1 else f"{course.data.name}-{number}"
        names.append(folder_name(data, course.preset, settings))
    return names


def _records(folder: Path, runs_on_drive: Path | None) -> list[dict[str, Any]]:
    """The `run.json` of a folder, here and on Drive, where it has one."""
    records = [read_record(folder)]
    if runs_on_drive:
        records.append(record_on_drive(runs_on_drive / folder.name))
    return [record for record in records if record is not None]


def _is_same_data(record: dict[str, Any], data: Bank) -> bool:
    """Whether a `run.json` is that of a run of this data, wherever it lay."""
    return record["identity"].get("data", {}).get("digest") == data.digest


def _lay_there(record: dict[str, Any], data: Bank) -> bool:
    """Whether a run's data lay where this data lies: then it has changed since."""
    return record.get("data", {}).get("place") == data.place
