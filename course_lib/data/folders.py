"""The files of a folder: those that belong to a data set, and nothing else."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from ..errors import DataError, brief
from ..storage.mounts import drive_root
from .answers import data_error, is_hidden
from .entries import (
    IS_A_DEVICE,
    IS_A_LINK,
    REPORT_NAMES,
    Entry,
    clean,
    encloses,
    enclosing_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def data_folder(folder: Path) -> tuple[Path, list[str]]:
    """The folder that holds the data set, and the names in it that belong to the data set.

    It's this folder or one in it. With an `answer.json`, only REPORT_NAMES belong; otherwise,
    everything does, and a folder without anything beside it is looked into. Raises DataError.
    """
    top = visible(folder)
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
    if len(top) == 1 and folders:
        inside = visible(folder / top[0])
        if encloses(top[0], inside):
            return data_folder(folder / top[0])
    return folder, top


def _is_folder(path):
    return path.is_dir() and not path.is_symlink()


def _is_everything(folder):
    """Whether a folder is somebody's whole Drive, home folder or disk."""
    return folder in (drive_root(folder), Path.home(), Path(folder.anchor))


def folder_entries(folder: Path, belongs: Iterable[str]) -> Iterator[Entry]:
    """Yield an Entry for each file in a folder that belongs to the data set."""
    for name, status in walk(folder, belongs):
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


def walk(folder: Path, belongs: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (path relative to `folder`, its status) of each file; a link counts as a file."""
    waiting = [name for name in reversed(visible(folder)) if name in belongs]
    while waiting:
        name = waiting.pop()
        status = _status(f"{folder}/{name}")
        if S_ISDIR(status.st_mode):
            inside = [f"{name}/{child}" for child in visible(folder / name)]
            waiting.extend(reversed(inside))
        else:
            yield name, status


def _status(path):
    with _reading(path):
        return os.lstat(path)


def visible(folder: Path) -> list[str]:
    """The sorted names in a folder, without what `is_hidden`."""
    with _reading(folder):
        return sorted(name for name in os.listdir(folder) if not is_hidden(name))


def _reading(path):
    """Turn an error into a DataError that says how to get at the file."""
    advice = "Make it readable (chmod -R u+rX), or move it elsewhere."
    return data_error(f"{brief(str(path))} can't be read", advice)
