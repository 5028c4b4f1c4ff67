"""The files of a .tar, found by `tarfile` and read by any thread. Nothing is unpacked."""

from __future__ import annotations

import tarfile
import threading
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from .entries import IS_A_DEVICE, IS_A_LINK, Entry, clean

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512  # bytes; a tar consists of these
MAX_HEADER = 1_000_000  # bytes; long names and their like take some hundred


class SharedFile:
    """A file that several threads read, each where it likes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._one_at_a_time = threading.Lock()

    def read_at(self, start: int, size: int) -> bytes:
        """Exactly `size` bytes from position `start`. Raises ValueError if the file ends before."""
        with self._one_at_a_time:
            self._file.seek(start)
            data = self._file.read(size)
        if len(data) < size:  # it was cut short after it was opened
            raise ValueError(f"the archive ends after {len(data):,} of its {size:,} bytes")
        return data


class _Headers:
    """The file as `tarfile` sees it, which only reads headers; gigabytes are no header."""

    def __init__(self, file):
        self._file = file
        self.seek = file.seek
        self.tell = file.tell

    def read(self, size):
        if not 0 <= size <= MAX_HEADER:
            raise ValueError(f"one of its headers claims to have {size:,} bytes")
        return self._file.read(size)


def tar_entries(file: BinaryIO) -> Iterator[Entry]:
    """Yield an Entry for each file of a tar. Raises tarfile's errors or ValueError if it's damaged.

    file: opened in binary mode, at random access, not packed.
    """
    shared = SharedFile(file)
    end = file.seek(0, 2)
    file.seek(0)
    archive = _open(file)
    count = 0
    while (member := archive.next()) is not None:
        archive.members.clear()  # tarfile would keep every header in memory
        count += 1
        # A size that is negative sends tarfile back to the same header, for ever (CVE-2025-8194).
        if member.size < 0 or archive.offset <= member.offset:
            raise ValueError(f"a file in it claims to have {member.size:,} bytes")
        if member.isdir():
            continue
        refusal = _refusal(member)
        if not refusal and member.offset_data + member.size > end:
            raise ValueError(f"it's cut short in its file number {count:,}")
        read = partial(shared.read_at, member.offset_data, member.size)
        yield Entry(clean(member.name), member.name, member.size, read, refusal)
    _require_end(file, archive.offset, count)


def _open(file):
    """The tarfile.TarFile of an open file."""
    try:
        return tarfile.open(fileobj=_Headers(file), mode="r:")  # type: ignore
    except tarfile.ReadError as error:
        raise ValueError("it's neither a .zip nor a .tar nor a .tar.gz") from error


def _refusal(member):
    """Why a member of a tar can't be used; "" if it can."""
    if member.issym() or member.islnk():
        return IS_A_LINK
    if member.issparse():
        return "is stored with holes; pack it again without --sparse"
    if not member.isreg():
        return IS_A_DEVICE
    return ""


def _require_end(file, start, count):
    """Raise ValueError unless only zeros follow from `start` on, at least a block of them.

    tarfile itself stops without a word at a damaged header, or where the end is missing.
    """
    file.seek(start)
    zeros = 0
    while data := file.read(1 << 20):
        if data.strip(b"\0"):
            raise ValueError(f"it's damaged after {count:,} files")
        zeros += len(data)
    if zeros < BLOCK:
        raise ValueError(f"it's cut short after {count:,} files")
