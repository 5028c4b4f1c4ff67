"""A folder, .zip, .tar or .tar.gz, read as it is: nothing is ever unpacked under a name that an archive chooses."""

import gzip
import hashlib
import os
import shutil
import tarfile
import tempfile
import unicodedata
import zipfile
from contextlib import ExitStack, contextmanager
from functools import partial
from stat import S_ISLNK
from threading import Lock

from ..errors import DataError
from ..storage.files import drive_root
from .answers import is_safe

CLUTTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}  # left in folders and archives by operating systems
MAX_FILE = 200_000_000  # bytes; a bigger file in a data set counts as a decompression bomb


class Files:
    """The files of a folder or archive: `names` (with `/`, in NFC, without an enclosing folder) and `read(name)`."""

    def __init__(self, path, found):  # found: (name, whether it's a link or device, bytes, a function that reads it)
        self.path, files = path, {}
        for name, odd, *file in found:
            name = unicodedata.normalize("NFC", name.removeprefix("./"))
            if odd or not is_safe(name) or name in files:
                raise DataError(f"{name!r} is a link, leads out of the data folder, or is in it twice. Remove it.")
            if CLUTTER.isdisjoint(name.split("/")):
                files[name] = file
        enclosed = len({name.partition("/")[0] for name in files}) == 1 and all("/" in name for name in files)
        self._files = {name.partition("/")[2] if enclosed else name: file for name, file in files.items()}
        self.names = list(self._files)

    def read(self, name):
        """The bytes of a file; for any thread. Raises DataError if it's missing, damaged or larger than MAX_FILE."""
        if name not in self._files:
            top = sorted({name.partition("/")[0] for name in self.names})[:9]
            raise DataError(f"{self.path.name} has no {name}; it has {', '.join(top) or 'no files'}.")
        size, read = self._files[name]
        if size > MAX_FILE:
            raise DataError(f"{self.path.name}: {name} has {size / 1e6:,.0f} MB, too many for an image. Remove it.")
        try:
            return read()
        except Exception as error:  # whatever damaged bytes lead to in zipfile, zlib, …
            raise DataError(f"{self.path.name}: {name} can't be read ({error}). Copy the data here again.") from error


@contextmanager
def open_files(path):
    """The Files of a folder or an archive. Raises DataError if it's damaged."""
    with ExitStack() as stack:
        try:
            folder = ((name, odd, stat.st_size, (path / name).read_bytes) for name, odd, stat in walk(path))
            files = Files(path, folder if path.is_dir() else _in_archive(path, stack))
        except Exception as error:  # ours, or whatever damaged bytes lead to in zipfile, tarfile, gzip, …
            raise DataError(f"{path.name} can't be used as a folder, .zip, .tar or .tar.gz: {error}") from error
        yield files


def walk(folder, below=""):
    """Yield (relative name, whether it's a link or device, os.stat_result) of every file in a folder."""
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(folder, f"{below}{entry.name}/")
        else:
            yield f"{below}{entry.name}", not entry.is_file(follow_symlinks=False), entry.stat(follow_symlinks=False)


def fingerprint(path):
    """A text that changes when a source does: size and times of an archive, or of every file of a folder."""
    files = walk(path) if path.is_dir() else [("", False, path.stat())]  # ctime: a copy may keep its mtime
    return short_hash([(name, found.st_size, found.st_mtime_ns, found.st_ctime_ns) for name, _, found in files])


def short_hash(value):
    """16 hexadecimal digits that stand for a value, such as a path."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _in_archive(path, stack):
    """Yield what Files takes for each file of an archive, which stays open until `stack` is closed."""
    file = stack.enter_context(open(path, "rb"))
    start = file.peek(2)[:2]
    if start == b"\x1f\x8b" or drive_root(path):  # neither gzip nor Drive can be read at random
        packed, file = gzip.open(file) if start == b"\x1f\x8b" else file, stack.enter_context(tempfile.TemporaryFile())
        shutil.copyfileobj(packed, file, 1 << 20)
        file.seek(0)
    if start == b"PK":
        try:
            archive = zipfile.ZipFile(file, metadata_encoding="utf-8")  # of names that don't tell theirs: a Mac's
        except UnicodeDecodeError:
            archive = zipfile.ZipFile(file, metadata_encoding="cp949")  # a Korean Windows'
        for info in archive.infolist():
            name = info.orig_filename.replace("\\", "/")
            if not name.endswith("/"):
                yield name, S_ISLNK(info.external_attr >> 16), info.file_size, partial(archive.read, info)
        return
    archive, lock = tarfile.open(fileobj=file, mode="r:"), Lock()

    def read(member):
        with lock:
            return archive.extractfile(member).read()

    for member in archive:
        if not member.isdir():
            yield member.name, not member.isreg(), member.size, partial(read, member)
    # tarfile stops without a word at a damaged header or a missing end. Only zeros may follow, and some must.
    file.seek(archive.offset)
    end = file.read(MAX_FILE)
    if len(end) < 512 or end.strip(b"\0"):
        raise DataError(f"it's cut short or damaged after {len(archive.members):,} files. Copy it here again.")
