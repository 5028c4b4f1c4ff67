"""The files of a folder: those that belong to a data set, and nothing else."""

from __future__ import annotations

import os
from functools import partial
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import TYPE_CHECKING

from ..errors import brief
from .answers import data_error, is_hidden
from .entries import IS_A_DEVICE, IS_A_LINK, Entry, clean, enclosing_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def home_of(folder: Path, belongs: tuple[str, ...]) -> Path:
    """The folder that holds the data set: this one, or the only one in it that has belongs[0]."""
    top = visible(folder)
    if belongs[0] in top:
        return folder
    candidates = []
    for name in top:
        inside = folder / name
        if not inside.is_symlink() and os.path.lexists(inside / belongs[0]):
            candidates.append(name)
    return folder / enclosing_folder(candidates, brief(folder.name))


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
