"""Files that are either whole or absent: everything the course writes goes through `replacing`."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..errors import CheckpointError, DiskError

# What Google Drive mounts below its root
DRIVE_FOLDERS = {
    "MyDrive",
    "My Drive",
    "내 드라이브",
    "Shareddrives",
    "Shared drives",
    "공유 드라이브",
}
writes_files = True  # False in all processes but the first, if there are several

# A temporary file nobody has written to for this long was left by a killed process.
STALE_SECONDS = 600


@contextmanager
def replacing(path, mode="wb", expected=None, **options):
    """Open a temporary file beside `path`; once it is complete and on disk, rename it to `path`.

    If anything fails on the way (a full disk, a kill, an exception), the old file stays as it was.
    Missing folders are created, but never a missing Google Drive. expected: the bytes that the new
    file must read back as. options: those of `open`. Of several processes, only the first one
    writes. Raises DiskError.
    """
    if not writes_files:
        with open(os.devnull, mode, **options) as file:
            yield file
        return
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        require_mounted(path)
        for folder in reversed(path.parents):
            if (
                folder.name not in DRIVE_FOLDERS and not folder.exists()
            ):  # Drive may be unmounted right now
                folder.mkdir(exist_ok=True)
        for leftover in path.parent.glob(".*.tmp"):
            with suppress(FileNotFoundError):  # it has just been completed
                if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                    leftover.unlink()
        with open(temporary, mode, **options) as file:
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


def write_bytes(path, data):
    """Write some bytes to `path` unless they are there already; verified, and completely or not at
    all."""
    if not path.exists() or path.read_bytes() != data:
        with replacing(path, expected=data) as file:
            file.write(data)


def write_text(path, text):
    """Write `text` to `path` as UTF-8, completely or not at all."""
    write_bytes(Path(path), text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as JSON, completely or not at all."""
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    # A file name that isn't UTF-8 has characters in it which only JSON's own \udc80 can express.
    write_bytes(Path(path), text.encode("utf-8", "backslashreplace"))


def write_sealed(path: str | Path, value: Any) -> None:
    """Write `value` to `path` as JSON with a digest, so that `read_sealed` notices any damage."""
    content = json.loads(json.dumps(value))  # as it will be read: tuples are lists in JSON
    write_json(path, {"sha256": content_digest(content), "content": content})


def read_sealed(path: str | Path) -> Any:
    """Read what `write_sealed` wrote: plain lists, dicts, numbers and texts.

    Raises FileNotFoundError if there's no such file, DiskError if it can't be read, and
    CheckpointError if its content isn't what was written.
    """
    path = Path(path)
    try:
        sealed = json.loads(path.read_text(encoding="utf-8"))
        intact = sealed["sha256"] == content_digest(sealed["content"])
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DiskError(f"{path} can't be read ({error.strerror or error}).") from error
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: it isn't what this course writes.") from error
    if not intact:
        raise CheckpointError(f"{path} is damaged: its content doesn't match its digest.")
    return sealed["content"]


def content_digest(content: Any) -> str:
    """The SHA-256 of what JSON can express, in hexadecimal: the same for any order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def remove(path):
    """Delete a file. It's emptied first: Google Drive's trash takes up space, too."""
    with suppress(FileNotFoundError):  # another notebook may train the same stage
        os.truncate(path, 0)
        os.unlink(path)


def drive_root(path):
    """The folder of a Google Drive (`…/MyDrive`) that `path` lies in, mounted or not; None if it
    lies elsewhere."""
    path = Path(os.path.abspath(path))
    return next((folder for folder in [path, *path.parents] if folder.name in DRIVE_FOLDERS), None)


def require_mounted(path):
    """Raise DiskError if `path` lies on a Google Drive that isn't mounted: it must not become a
    local folder."""
    root = drive_root(path)
    if root and not os.path.isdir(root):  # also if it dropped out
        raise DiskError(
            f"Google Drive isn't mounted: there is no {root}. Mount Drive, then run the cell again."
        )
