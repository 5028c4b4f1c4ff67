"""A folder, .zip, .tar or .tar.gz, read as it is: nothing is ever unpacked under a name that an
archive chooses."""

import gzip
import hashlib
import mmap
import os
import shutil
import tarfile
import tempfile
import unicodedata
import zipfile
from contextlib import ExitStack
from functools import partial
from stat import S_ISDIR, S_ISLNK, S_ISREG

from ..errors import DataError
from ..storage.files import drive_root
from .answers import data_error, is_safe

# What operating systems leave in folders and archives. Besides, for any file, a Mac's tar adds a
# `._file`, and Windows gives WSL a `file:Zone.Identifier`.
CLUTTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}
MAX_FILE = 200_000_000  # bytes; a bigger file in a data set counts as a decompression bomb


class Files(ExitStack):
    """The files of a folder or archive: `names` (with `/`, in NFC, without an enclosing folder) and
    `read(name)`.

    An archive stays open until the end of the `with` block. Raises DataError if it's damaged.
    """

    def __init__(self, path):
        super().__init__()
        self.path, files = path, {}
        folder = (
            (name, S_ISREG(stat.st_mode), stat.st_size, (path / name).read_bytes)
            for name, stat in _walk(path)
        )
        advice = "Copy it here again; if the disk is full, free some space first."
        with data_error(f"{path.name} can't be used as a folder, .zip, .tar or .tar.gz", advice):
            for name, ordinary, *file in folder if path.is_dir() else _in_archive(path, self):
                name = unicodedata.normalize("NFC", name.removeprefix("./"))
                if name.endswith(":Zone.Identifier") or any(
                    p in CLUTTER or p[:2] == "._" for p in name.split("/")
                ):
                    continue
                if not ordinary or not is_safe(name) or name in files:
                    raise ValueError(
                        f"its {name!r} is a link, leads out of the data folder, or is there twice"
                    )
                files[name] = file
        top = next(iter(files), "").partition("/")[0] + "/"
        enclosed = all(name.startswith(top) for name in files)
        self.names = {
            name.removeprefix(top) if enclosed else name: file for name, file in files.items()
        }

    def read(self, name):
        """The bytes of a file; for any thread. Raises DataError if it's missing, damaged or larger
        than MAX_FILE."""
        if name not in self.names:
            raise DataError(
                f"{self.path.name} has no {name}; it has {', '.join([*self.names][:9]) or 'no files'}."
            )
        size, read = self.names[name]
        with data_error(f"{self.path.name}: {name} can't be read", "Copy the data here again."):
            if size > MAX_FILE:
                raise ValueError(f"at {size / 1e6:,.0f} MB, it's too large for an image")
            return read()


def fingerprint(path):
    """A digest that changes when a source does: of the size and times of an archive, or of every
    file of a folder."""
    digest = hashlib.sha256()
    for name, stat in _walk(path) if path.is_dir() else [("", path.stat())]:
        digest.update(
            repr((name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)).encode()
        )  # a copy may keep mtime
    return digest.hexdigest()


def _walk(folder, below=""):
    """Yield (relative name, os.stat_result) of every file in a folder; links are neither followed
    nor left out."""
    for name in sorted(os.listdir(folder / below)):
        stat = os.lstat(f"{folder}/{below}{name}")
        if S_ISDIR(stat.st_mode):
            yield from _walk(folder, f"{below}{name}/")
        else:
            yield f"{below}{name}", stat


def _in_archive(path, stack):
    """Yield (name, whether it's an ordinary file, bytes, a function that reads it) for each file of
    an archive."""
    file = stack.enter_context(open(path, "rb"))
    start = file.peek(2)[:2]
    if start == b"\x1f\x8b" or drive_root(path):  # neither gzip nor Drive can be read at random
        packed, file = (
            gzip.open(file) if start == b"\x1f\x8b" else file,
            stack.enter_context(tempfile.TemporaryFile()),
        )
        shutil.copyfileobj(packed, file, 1 << 20)
        file.seek(0)
    if start == b"PK":
        try:
            archive = zipfile.ZipFile(
                file, metadata_encoding="utf-8"
            )  # of names that don't tell theirs: a Mac's
        except UnicodeDecodeError:
            archive = zipfile.ZipFile(file, metadata_encoding="cp949")  # a Korean Windows'
        for info in archive.infolist():
            name = info.orig_filename.replace("\\", "/")
            if not name.endswith("/"):
                yield (
                    name,
                    not S_ISLNK(info.external_attr >> 16),
                    info.file_size,
                    partial(archive.read, info),
                )
        return
    archive = tarfile.open(fileobj=file, mode="r:")
    memory = stack.enter_context(
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    )  # any thread may read from it
    for member in archive:
        if not member.isdir():
            content = slice(member.offset_data, member.offset_data + member.size)
            ordinary = member.isreg() and not member.issparse()
            yield member.name, ordinary, member.size, partial(memory.__getitem__, content)
    # tarfile stops without a word at a damaged header or a missing end. Only zeros may follow, and
    # some must.
    end = memory[archive.offset : archive.offset + MAX_FILE]
    if len(end) < 512 or end.strip(b"\0"):
        raise ValueError(f"it's cut short or damaged after {len(archive.members):,} files")
