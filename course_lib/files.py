"""Files that are either whole or not there: everything the course writes goes through `replacing`."""

import hashlib
import os
import shutil
from collections import deque
from contextlib import contextmanager
from pathlib import Path

from .errors import DataError

followers = {}  # folder → a function told of each file that `replacing` has put in its place (the copy on Drive)


@contextmanager
def replacing(path, mode="wb", **options):
    """Open a temporary file beside `path`; rename it to `path` once it is complete and on the disk.

    If anything fails on the way (a full disk, a kill, an exception) the file that stood at `path` before stays as it
    was.
    Takes `open`'s options. The folder is made where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    for follow in list(followers.values()):
        follow(path)


def write_text(path, text):
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with replacing(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)


@contextmanager
def result_file(path, mode="wb", **options):
    """`replacing`, for what a notebook cell writes: where the disk refuses, a DataError says what to do."""
    try:
        with replacing(path, mode, **options) as file:
            yield file
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({error.strerror or error}): free some space, or close it elsewhere, and run "
            "the cell again."
        ) from error


def copying(source, target, progress=lambda size: None):
    """Copy a file's bytes in pieces, telling `progress` the size of each, down to the disk; returns their SHA-256."""
    sum = hashlib.sha256()
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while piece := reader.read(1 << 20):
            writer.write(piece)
            sum.update(piece)
            progress(len(piece))
        writer.flush()
        os.fsync(writer.fileno())
    return sum.hexdigest()


def need_space(folder, size, what):
    """Make `folder`; raise DataError where its disk has no room for `size` bytes of `what`, before any are written."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DataError(f"{folder} cannot be used ({error}): set COURSE_HOME to a folder you may write to.") from error
    if size > free:
        raise DataError(
            f"There is no space for {what}: it needs {size / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left. "
            "Free some space, or set COURSE_HOME to another disk."
        )


def in_order(pool, function, items, ahead=64):
    """`map` in a pool of threads that is never more than `ahead` items ahead of its reader: memory stays flat."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
