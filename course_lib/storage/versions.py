"""Two versions of a file, one here and one on Google Drive: which one follows from the other."""

from __future__ import annotations

import zipfile
from enum import Enum
from io import BytesIO
from pathlib import Path

from ..errors import CheckpointError
from .checkpoints import digest_of
from .files import unsealed


class Side(Enum):
    """One of a run's two folders: the one that is newer, or has got further."""

    HERE = "the local disk"
    DRIVE = "Google Drive"
    NEITHER = "both are the same"
    UNKNOWN = "both have changed"


def newer_side(ours: bytes, theirs: bytes, last_same: str | None, checked: bool = False) -> Side:
    """The side whose version may take the place of the other's: never of one that isn't known.

    ours: the file's content here. theirs: on Drive. last_same: the digest of what both had when
    they were last the same, or None if that isn't known. checked: whether every version carries a
    checksum, as only the course's own files do; then a damaged one gives way.
    """
    if ours == theirs:
        return Side.NEITHER
    if checked and is_proven(ours) != is_proven(theirs):
        return Side.HERE if is_proven(ours) else Side.DRIVE
    if is_torn(theirs, ours):
        return Side.HERE
    if last_same == digest_of(theirs):  # so only ours has changed since
        return Side.HERE
    if last_same == digest_of(ours):
        return Side.DRIVE
    return Side.UNKNOWN


def is_proven(data: bytes) -> bool:
    """Whether data carries a checksum, and matches it: a zip (as `model.pth` is) or sealed JSON."""
    if data.startswith(b"PK"):  # how a zip begins
        try:
            with zipfile.ZipFile(BytesIO(data)) as archive:
                return archive.testzip() is None
        except Exception:  # what a damaged zip leads to isn't only BadZipFile
            return False
    try:
        unsealed(data, Path())
    except CheckpointError:
        return False
    return True


def is_torn(theirs: bytes, ours: bytes) -> bool:
    """Whether Drive's version is the beginning of ours, perhaps filled up with zeros.

    That is how Drive tears a file. If someone really has shortened it there, nothing is lost.
    """
    return ours.startswith(theirs.rstrip(b"\0"))
