"""Files that are either whole or absent: everything the course writes goes through `replacing`."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..errors import CheckpointError, DiskError
from .mounts import drive_root, require_mounted

writes_files = True  # False in all processes but the first, if there are several

# A temporary file nobody has written to for this long was left by a killed process.
STALE_SECONDS = 600
LONGEST = 200  # bytes of a file's name in a temporary one; file systems allow 255 in all


class Look(NamedTuple):
    """What a file looks like from outside: at least one of these changes if it's written."""

    size: int  # bytes
    written: int  # ns
    number: int  # on the disk; another file has another


@contextmanager
def replacing(
    path: str | Path, mode: str = "wb", expected: bytes | None = None, **options: Any
) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; once it is complete and on disk, rename it to `path`.

    If anything fails on the way (a full disk, a kill, an exception), the old file stays as it was.
    Missing folders are created, but never a missing Google Drive, nor one called ~, which is your
    home. expected: the bytes that the new file must read back as. options: those of `open`. Of
    several processes, only the first one writes. Raises DiskError.
    """
    if not writes_files:
        with open(os.devnull, mode, **options) as file:
            yield file
        return
    path = Path(os.path.expanduser(path))
    # At random: other computers may write the same file, and their processes have equal numbers.
    name = _short(path.name)
    temporary = path.with_name(f".{name}.{secrets.randbits(64)}.tmp")
    try:
        require_mounted(path)
        _make_folders(path.parent)
        sweep_leftovers(path.parent, re.compile(re.escape(name)))
        with open(temporary, mode.replace("w", "x"), **options) as file:  # x: never through a link
            yield file
            file.flush()
            os.fsync(file.fileno())
        if expected is not None and temporary.read_bytes() != expected:
            raise OSError("it reads back differently")
        os.replace(temporary, path)
    except OSError as error:
        advice = "Nothing was overwritten. Free some space, or set COURSE_HOME to another folder."
        raise DiskError(f"{path} can't be written ({error.strerror or error}). {advice}") from error
    finally:
        if temporary.exists():
            temporary.unlink()


def _short(name: str) -> str:
    """The beginning of a file's name, so that a longer one made of it is allowed, too."""
    return os.fsencode(name)[:LONGEST].decode(errors="ignore")


def _make_folders(folder: Path) -> None:
    """Create a folder and those above it, but none that Google Drive would bring along."""
    for place in _from_the_top(folder):
        if not place.exists() and drive_root(place) != place:  # Drive may be unmounted right now
            place.mkdir(exist_ok=True)


def _from_the_top(folder: Path) -> list[Path]:
    """A folder and all those above it, the uppermost first."""
    return [*reversed(folder.parents), folder]


def sweep_leftovers(folder: Path, name: re.Pattern[str]) -> None:
    """Delete what killed processes left when they wrote files with such a name; no other file."""
    temporary = re.compile(rf"\.{name.pattern}\.[0-9]+\.tmp")
    for leftover in folder.iterdir():
        if temporary.fullmatch(leftover.name):
            with suppress(FileNotFoundError):  # it has just been completed
                if time.time() - leftover.lstat().st_mtime > STALE_SECONDS:
                    leftover.unlink()


def final_name(name: str) -> str:
    """The name that a temporary file will have once it's complete; any other name as it is."""
    temporary = re.fullmatch(r"\.(.+)\.[0-9]+\.tmp", name)
    if temporary is None:
        return name
    return temporary[1]


def write_bytes(path: Path, data: bytes) -> None:
    """Write some bytes to `path` unless it has them already: verified, completely or not at all."""
    there = None
    with suppress(OSError):  # if it's missing, or unreadable, writing will tell
        if path.is_file():  # a pipe would keep us waiting
            there = path.read_bytes()
    if there != data:
        with replacing(path, expected=data) as file:
            file.write(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, completely or not at all."""
    write_bytes(Path(path), text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as JSON, completely or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # A file name that isn't UTF-8 has characters in it which only JSON's own \udc80 can express.
    write_bytes(Path(path), text.encode("utf-8", "backslashreplace"))


def write_sealed(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as JSON with a digest, so that `read_sealed` notices any damage."""
    content = as_read(value)
    write_json(path, {"sha256": content_digest(content), "content": content})


def as_read(content: Any) -> Any:
    """Something as it's read back from JSON, where tuples are lists."""
    return json.loads(json.dumps(content))


def read_sealed(path: str | Path) -> Any:
    """Read what `write_sealed` wrote: plain lists, dicts, numbers and texts.

    Raises FileNotFoundError if there's no such file, DiskError if it can't be read, and
    CheckpointError if its content isn't what was written.
    """
    path = Path(path)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would keep us waiting
            raise CheckpointError(f"{path} isn't a file. Rename it.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskError(f"{path} can't be read ({error.strerror or error}).") from error
    return unsealed(data, path)


def unsealed(data: bytes, path: Path) -> Any:
    """What was sealed in the bytes of a file. Raises CheckpointError, which names it as `path`."""
    try:
        sealed = json.loads(data.decode())
        content = sealed["content"]
        intact = sealed["sha256"] == content_digest(content)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it isn't what this course writes.") from error
    if not intact:
        raise CheckpointError(f"{path} is damaged: its content doesn't match its digest.")
    return content


def content_digest(content: Any) -> str:
    """The SHA-256 of what JSON can express, in hexadecimal: the same for any order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def remove(path: str | Path) -> None:
    """Delete a file. On Google Drive it's emptied first, since the trash takes up space, too.

    What has another name, through a link of either kind, isn't emptied: it may be a backup.
    """
    with suppress(FileNotFoundError):  # another notebook may train the same stage
        found = os.lstat(path)
        has_one_name = stat.S_ISREG(found.st_mode) and found.st_nlink <= 1
        if has_one_name and drive_root(path):
            os.truncate(path, 0)
        os.unlink(path)


def files_in(folder: Path, unreadable: Callable[[OSError], None]) -> list[Path]:
    """The regular files in a folder and below, as paths relative to it; none if it's missing.

    A link to a folder is listed, too, but nothing in that folder. Without hidden files, which may
    be half-written, and hidden folders, such as .git. unreadable: called with the error of what
    can't be read or is missing; unless it raises it, that is left out.
    """
    found = []
    for base, folders, names in os.walk(folder, onerror=unreadable):
        visible = [name for name in folders if not name.startswith(".")]
        folders[:] = visible  # in place: `os.walk` looks only into what is left in its list
        for name in visible:
            path = Path(base, name)
            if path.is_symlink():  # `os.walk` doesn't follow it
                found.append(path.relative_to(folder))
        for name in names:
            path = Path(base, name)
            try:
                is_file = path.is_file()
            except OSError as error:
                unreadable(error)
                continue
            if is_file and not name.startswith("."):
                found.append(path.relative_to(folder))
    return sorted(found)


def remove_if_empty(folder: Path) -> None:
    """Delete a folder if there's nothing in it; a link to one stays."""
    if folder.is_dir() and not folder.is_symlink() and not entries(folder):
        folder.rmdir()


def obstacle(top: Path, folder: Path) -> Path | None:
    """The first place on the way from `top` to a folder in it that isn't really a folder, or None.

    folder: relative to `top`, as is what's returned: a link to a folder, a file, a pipe, … What is
    missing is no obstacle.
    """
    for place in _from_the_top(folder):
        if place == Path():  # `top` itself may be a link
            continue
        found = top / place
        is_folder = found.is_dir() and not found.is_symlink()
        if os.path.lexists(found) and not is_folder:
            return place
    return None


def entries(folder: Path) -> list[Path]:
    """The paths of what is in a folder, sorted; none if it's missing. Raises DiskError."""
    try:
        return sorted(folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DiskError(f"{folder} can't be read ({error.strerror or error}).") from error


def content_of(path: Path) -> bytes | None:
    """The bytes of a file, or None if it's missing."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def look_at(path: Path) -> Look | None:
    """What a file looks like from outside; None if it's missing."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Look(size=found.st_size, written=found.st_mtime_ns, number=found.st_ino)
