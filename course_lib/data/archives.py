"""A folder, .zip, .tar or .tar.gz, read as it is, and only what belongs to the data set.

Nothing is ever unpacked under a name that an archive chooses.
"""

from __future__ import annotations

import gzip
import hashlib
import tempfile
from contextlib import ExitStack
from stat import S_ISDIR, S_ISREG
from typing import TYPE_CHECKING, BinaryIO

from ..errors import DataError, DiskError, brief
from ..storage.mounts import drive_root
from .answers import data_error, is_hidden, leads_out, path_problem
from .entries import (
    COPY_AGAIN,
    IS_A_DEVICE,
    PACK_AGAIN,
    REPORT_NAMES,
    Entry,
    Listing,
    at_most,
    encloses,
    enclosing_folder,
    is_a_part,
    only_folder,
)
from .folders import data_folder, list_folder, walk
from .images import images_among
from .tars import tar_entries
from .zips import zip_entries

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_FILE = 200_000_000  # bytes; a bigger file in a data set counts as a decompression bomb

# A .tar.gz may unpack to this many times its size, or to a gigabyte; photographs don't.
GZIP_RATIO = 100
GZIP_BYTES = 1_000_000_000

# The first bytes of files that are no zip and no tar, and what they are
OTHER_ARCHIVES = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"ALZ\x01": "an alz archive",
    b"EGGA": "an egg archive",
    b"\xfd7zXZ\x00": "packed by xz",
    b"BZh": "packed by bzip2",
    b"\x28\xb5\x2f\xfd": "packed by Zstandard",
    b"PK\x07\x08": "the first part of a zip in several parts",
    b"PK00PK": "the first part of a zip in several parts",
}
NO_ARCHIVES = {
    b"<!doctype": "a web page",
    b"<html": "a web page",
    b"version https://git-lfs": "what Git LFS keeps in place of a file",
}
GZIP = b"\x1f\x8b"


class Files:
    """The files of a data set in a folder or archive. It's open until the end of the `with` block.

    path: of the folder or archive. With an `answer.json` in it, or in a folder in it, only what
    belongs to the report's layout is looked at. What's hidden (see `is_hidden`) is always ignored.
    home: the course's own folder, which is ignored, too. Raises DataError if an archive is
    damaged, or if something that belongs can't be used.
    """

    names: list[str]  # paths with `/`, in NFC, without the enclosing folder
    folders: list[str]  # as in Listing
    hidden_folders: list[str]

    def __init__(self, path: Path, home: Path | None = None) -> None:
        self._where = brief(path.name)
        self._entries: dict[str, Entry] = {}
        require_file_or_folder(path)
        with ExitStack() as opened:
            if path.is_dir():
                folder, belonging = data_folder(path, home)
                listing = list_folder(folder, belonging, home)
            else:
                every = list(at_most(_archive_entries(path, self._where, opened), self._where))
                listing = _belonging(every, self._where)
            for entry in at_most(listing.entries, self._where):
                self._add(entry)
            self._opened = opened.pop_all()
        self.names = list(self._entries)
        self.folders = listing.folders
        self.hidden_folders = listing.hidden_folders

    def __enter__(self) -> Files:
        return self

    def __exit__(self, *exception: object) -> None:
        self._opened.close()

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def _add(self, entry):
        problem = entry.refusal
        is_used = entry.name.startswith(REPORT_NAMES) or images_among([entry.name])[0]
        if not problem and is_used:
            problem = path_problem(entry.name)
        if problem:
            raise DataError(f"{self._where}: {brief(entry.stored)} {problem}.")
        if entry.name in self._entries:
            first, second = self._entries[entry.name].stored, entry.stored
            # Two spellings of 가 look the same unless they're written as numbers.
            names = f"{brief(first)} twice" if first == second else f"{first!a} and {second!a}"
            raise DataError(f"{self._where} has {names}: one file name for two files. Rename one.")
        self._entries[entry.name] = entry

    def size(self, name: str) -> int:
        """How many bytes a file has."""
        return self._entries[name].size

    def read(self, name: str) -> bytes:
        """The bytes of a file; for any thread. Raises DataError, also if it's over MAX_FILE."""
        if name not in self._entries:
            raise DataError(f"{self._where} has no {brief(name)}.")
        entry = self._entries[name]
        what = f"{self._where}: {brief(name)}"
        if entry.size > MAX_FILE:
            size = f"{entry.size / 1e6:,.0f} MB"
            raise DataError(f"{what} is too large ({size}; at most {MAX_FILE / 1e6:,.0f} MB).")
        with data_error(f"{what} can't be read", COPY_AGAIN):
            return entry.read()


def fingerprint(path: Path, home: Path | None = None) -> str:
    """A digest that changes when a data set does, made without reading it. Arguments: as in Files.

    It's that of the size and times of an archive, or of every file of a folder. Raises DataError.
    """
    require_file_or_folder(path)
    if path.is_dir():
        files = walk(*data_folder(path, home), home)
    else:
        files = [("", path.stat())]
    digest = hashlib.sha256()
    for name, status in files:
        # Also the time of the last change of anything (ctime): a copy may keep its mtime.
        known = (name, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        digest.update(repr(known).encode())
    return digest.hexdigest()


def require_file_or_folder(path: Path) -> None:
    """Raise DataError unless `path` is a file or a folder: opening a pipe would wait for ever."""
    with data_error(f"{brief(str(path))} can't be used", "Check the path and its permissions."):
        mode = path.stat().st_mode
    if not S_ISREG(mode) and not S_ISDIR(mode):
        raise DataError(f"{brief(str(path))} {IS_A_DEVICE}.")


def _archive_entries(path: Path, where: str, opened: ExitStack) -> Iterator[Entry]:
    """Yield an Entry for each file of an archive. opened: what closes the archive in the end."""
    with data_error(f"{where} can't be read", COPY_AGAIN):
        file: BinaryIO = opened.enter_context(open(path, "rb"))
        start = file.read(32)
        file.seek(0)
        _require_known(start, where)
        if start.startswith(GZIP) or drive_root(path):
            # Neither gzip nor Drive can be read at random.
            file = _local_copy(file, start, path, where, opened)
        entries = zip_entries(file, where) if start.startswith(b"PK") else tar_entries(file)
        for entry in entries:
            if leads_out(entry.stored):
                raise DataError(f"{where}: {brief(entry.stored)} leads out of the data folder.")
            yield entry


def _require_known(start, where):
    """Raise DataError if a file that starts like this is known to be no zip, tar or tar.gz."""
    if not start:
        raise DataError(f"{where} is empty. {COPY_AGAIN}")
    for signature, kind in OTHER_ARCHIVES.items():
        if start.startswith(signature):
            raise DataError(f"{where} is {kind}, not a .zip, .tar or .tar.gz. {PACK_AGAIN}")
    for signature, kind in NO_ARCHIVES.items():
        if start.lower().startswith(signature):
            raise DataError(f"{where} is {kind}, not a .zip, .tar or .tar.gz. {COPY_AGAIN}")


def _local_copy(file, start, path, where, opened):
    """A temporary file with the content of an archive, unpacked if it's gzip."""
    packed = path.stat().st_size
    limit = packed
    if start.startswith(GZIP):
        file = gzip.open(file)
        limit = max(GZIP_BYTES, GZIP_RATIO * packed)
    copy = opened.enter_context(tempfile.TemporaryFile())
    while data := file.read(1 << 20):
        if copy.tell() + len(data) > limit:
            raise DataError(
                f"{where} would unpack from {packed:,} bytes to more than {limit:,}; "
                f"no photographs do. {PACK_AGAIN}"
            )
        _write(copy, data, where)
    copy.seek(0)
    return copy


def _write(copy, data, where):
    """Append to a temporary file. Raises DiskError if the disk is full."""
    try:
        copy.write(data)
        copy.flush()
    except OSError as error:
        raise DiskError(
            f"A copy of {where} doesn't fit into {tempfile.gettempdir()} "
            f"({error.strerror}). Free some space there."
        ) from error


def _belonging(entries, where):
    """What belongs to the data set in an archive, the same as for folders: see `data_folder`.

    The Listing's paths are relative to the data set's folder.
    """
    visible = [entry for entry in entries if not is_hidden(entry.name)]
    prefix = _prefix([entry.name for entry in visible], where)
    inside = _entries_in(prefix, visible)
    if REPORT_NAMES[0] in {_first(entry.name) for entry in inside}:
        named = [entry for entry in inside if _first(entry.name) in REPORT_NAMES]
        return Listing(named, [], [])
    folders = set()
    hidden_folders = set()
    for entry in _entries_in(prefix, entries):
        folder, _, rest = entry.name.partition("/")
        if is_a_part(folder) and "/" in rest:
            inner, _, rest = rest.partition("/")
            folder = f"{folder}/{inner}"
        if rest and not is_hidden(entry.name):
            folders.add(folder)
        elif is_hidden(folder) and images_among([rest])[0]:
            hidden_folders.add(folder)
    return Listing(inside, sorted(folders), sorted(hidden_folders))


def _prefix(names, where):
    """The path of the folder that holds the data set: "" or "pets/". names: of all files."""
    files = [name for name in names if "/" not in name]
    folders = {_first(name) for name in names if "/" in name}
    if REPORT_NAMES[0] in files or REPORT_NAMES[0] in folders:
        return ""
    with_answers = set()
    for name in names:
        folder, _, rest = name.partition("/")
        if rest == REPORT_NAMES[0]:
            with_answers.add(folder)
    found = enclosing_folder(with_answers, where)
    if found:
        return f"{found}/"
    only = only_folder(list(folders), files)
    inside = [name.removeprefix(f"{only}/") for name in names if name.startswith(f"{only}/")]
    if only and encloses(only, inside):
        return f"{only}/" + _prefix(inside, where)
    return ""


def _entries_in(prefix, entries):
    """The entries whose path begins with `prefix`, without it."""
    inside = [entry for entry in entries if entry.name.startswith(prefix)]
    return [entry._replace(name=entry.name.removeprefix(prefix)) for entry in inside]


def _first(name):
    """The first part of a path."""
    return name.partition("/")[0]
