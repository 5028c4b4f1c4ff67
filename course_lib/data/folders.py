"""The files of a folder: those that belong to a data set, and nothing else."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from ..errors import CourseError, DataError, brief, say_once
from ..storage.identity import read_record
from ..storage.mounts import drive_root
from .answers import data_error, is_hidden
from .entries import (
    IS_A_DEVICE,
    IS_A_LINK,
    REPORT_NAMES,
    Entry,
    Listing,
    clean,
    encloses,
    enclosing_folder,
    is_a_part,
    only_folder,
)
from .images import images_among

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def data_folder(folder: Path, home: Path | None = None) -> tuple[Path, list[str]]:
    """The folder that holds the data set, and the names in it that belong to the data set.

    It's this folder or one in it. With an `answer.json`, only REPORT_NAMES belong; otherwise,
    everything does but `home`, the course's own folder, and older ones like it. A folder with only
    notes beside it is looked into. Raises DataError.
    """
    top = visible(folder, home)
    if REPORT_NAMES[0] in top:
        return folder, list(REPORT_NAMES)
    folders = [name for name in top if _is_folder(folder / name)]
    with_answers = [name for name in folders if os.path.lexists(folder / name / REPORT_NAMES[0])]
    found = enclosing_folder(with_answers, brief(folder.name))
    if found:
        return folder / found, list(REPORT_NAMES)
    if _is_everything(folder):
        raise DataError(
            f"{brief(str(folder))} has no {REPORT_NAMES[0]}, and holds everything that you keep "
            "there. Give the folder of your images."
        )
    files = [name for name in top if name not in folders]
    only = only_folder(folders, files)
    if only and encloses(only, visible(folder / only, home)):
        return data_folder(folder / only, home)
    if folder == home:
        raise DataError(
            f"{brief(str(folder))} is the folder for your runs (COURSE_HOME). Put your images into "
            "a folder of their own."
        )
    return folder, top


def _is_folder(path):
    return path.is_dir() and not path.is_symlink()


def _is_everything(folder):
    """Whether a folder is somebody's whole Drive, home folder or disk."""
    return folder in (drive_root(folder), Path.home(), Path(folder.anchor))


def list_folder(folder: Path, belongs: list[str], home: Path | None = None) -> Listing:
    """What belongs to the data set in a folder. belongs: the names at its top that do."""
    entries = _entries(folder, belongs, home)
    if REPORT_NAMES[0] in belongs:  # then there are no classes' folders
        return Listing(entries, [], [])
    folders, hidden = _class_level(folder, home)
    return Listing(entries, folders, hidden)


def _class_level(folder, home):
    """The folders where classes may lie, at the top and in parts, and hidden ones with images."""
    folders = []
    hidden = []
    with _reading(folder), os.scandir(folder) as found:
        names = sorted(entry.name for entry in found if entry.is_dir(follow_symlinks=False))
    for name in names:
        if _is_for_runs(folder / name, home):
            continue
        if is_hidden(name):
            if _has_images(folder / name):
                hidden.append(clean(name))
            continue
        folders.append(clean(name))
        if is_a_part(name):
            inner_folders, inner_hidden = _class_level(folder / name, home)
            folders.extend(f"{name}/{inner}" for inner in inner_folders)
            hidden.extend(f"{name}/{inner}" for inner in inner_hidden)
    return folders, hidden


def _has_images(folder):
    """Whether images lie in a hidden folder. Nobody but the system may look into some of these."""
    try:
        return bool(images_among(os.listdir(folder))[0])
    except OSError:
        return False


def _entries(folder, belongs, home):
    """Yield an Entry for each file in a folder that belongs to the data set."""
    for name, status in walk(folder, belongs, home):
        refusal = ""
        if S_ISLNK(status.st_mode):
            refusal = IS_A_LINK
        elif not S_ISREG(status.st_mode):
            refusal = IS_A_DEVICE
        read = partial(_read, folder / name)
        yield Entry(clean(name), name, status.st_size, read, refusal)


def _read(path):
    with _reading(path):
        return path.read_bytes()


def walk(
    folder: Path, belongs: Iterable[str], home: Path | None = None
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (path relative to `folder`, its status) of each file; a link counts as a file.

    Folders for runs are left out: `home`, and those that were it before.
    """
    waiting = [name for name in reversed(visible(folder, home)) if name in belongs]
    while waiting:
        name = waiting.pop()
        status = _status(f"{folder}/{name}")
        if S_ISDIR(status.st_mode):
            if _is_for_runs(folder / name, home):
                continue
            inside = [f"{name}/{child}" for child in visible(folder / name, home)]
            waiting.extend(reversed(inside))
        else:
            yield name, status


def _status(path):
    with _reading(path):
        return os.lstat(path)


def visible(folder: Path, home: Path | None = None) -> list[str]:
    """The sorted names in a folder, without what `is_hidden`, and without the folder `home`."""
    with _reading(folder):
        names = os.listdir(folder)
    return sorted(name for name in names if not is_hidden(name) and folder / name != home)


def _is_for_runs(folder, home):
    """Whether a folder is the course's home, or was it once.

    A message names it if you may have thought that its images belong to the data.
    """
    if folder == home:
        if _has_images(folder):
            _report_left_out(folder, "is the folder for your runs (COURSE_HOME)")
        return True
    if not _holds_a_run(folder):
        return False
    _report_left_out(folder, "holds runs of this course")
    return True


def _holds_a_run(folder):
    """Whether there's a run's folder in a folder."""
    try:
        with os.scandir(folder) as found:
            inside = [entry.path for entry in found if entry.is_dir(follow_symlinks=False)]
        return any(read_record(Path(path)) is not None for path in inside)
    except (OSError, CourseError):  # whoever reads the data in it will say what's wrong
        return False


def _report_left_out(folder, reason):
    """Say why a folder's images don't belong to the data."""
    say_once(
        f"{brief(str(folder))} {reason}, so no image in it is part of the data. If some are, move "
        "them to a folder of their own."
    )


def _reading(path):
    """Turn an error into a DataError that says how to get at the file."""
    advice = "Make it readable (chmod -R u+rX), or move it elsewhere."
    return data_error(f"{brief(str(path))} can't be read", advice)
