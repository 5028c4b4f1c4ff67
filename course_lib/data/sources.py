"""A folder, .zip, .tar or .tar.gz, read as it is: nothing is ever unpacked under a name that an archive chooses."""

import gzip
import hashlib
import os
import tarfile
import unicodedata
import zipfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from stat import S_ISLNK
from threading import Lock

from tqdm.auto import tqdm

from ..errors import CourseError, DataError
from ..storage.files import drive_root, replacing
from .answers import is_safe

CLUTTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}  # left in folders and archives by operating systems
MAX_FILE = 200_000_000  # bytes; a bigger file in a data set counts as a decompression bomb
MAX_GROWTH = 20  # so does a .tar.gz that grows to more than this many times its size, plus MAX_FILE


class Files:
    """The files of a folder or archive: `names` (with `/`, in NFC) and `read(name)`. An enclosing folder is left out.

    found: (name, whether it is a link or a device, size in bytes, a function that reads it) of every file.
    """

    def __init__(self, path, found):
        self.path, files = path, {}
        for name, odd, *file in found:
            name = unicodedata.normalize("NFC", name.removeprefix("./"))
            if odd or not is_safe(name) or name in files:
                why = "is in it twice" if name in files else "is a link, or leads out of the data folder"
                raise DataError(f"{path.name}: {name!r} {why}. Remove it and pack the archive again.")
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
            raise DataError(f"{self.path.name}: {name} has {size / 1e6:,.0f} MB, a decompression bomb. Remove it.")
        try:
            return read()
        except Exception as error:  # whatever damaged bytes lead to in zipfile, zlib, …
            raise DataError(f"{self.path.name} is damaged at {name} ({error}). Copy or download it again.") from error


@contextmanager
def open_files(path, home):
    """The Files of a folder or an archive. An archive on Drive is copied to `home`/data first, and the copy kept."""
    with ExitStack() as stack:
        try:
            found = _archived(path, Path(home) / "data", stack)
            if path.is_dir():
                found = ((name, False, stat.st_size, (path / name).read_bytes) for name, stat in walk(path))
            files = Files(path, found)
        except CourseError:
            raise
        except Exception as error:  # whatever damaged bytes lead to in zipfile, tarfile, gzip, …
            raise DataError(f"{path} isn't a whole .zip, .tar or .tar.gz ({error}). Copy it here again.") from error
        yield files


def walk(folder, below=""):
    """Yield (relative name, os.stat_result) of every file in a folder. Raises DataError for a link that leads out."""
    for entry in sorted(os.scandir(folder / below), key=lambda entry: entry.name):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(folder.resolve()):
            raise DataError(f"{entry.path} is a link that leads out of the data folder. Put the files there instead.")
        if entry.is_dir(follow_symlinks=False):
            yield from walk(folder, f"{below}{entry.name}/")
        elif entry.is_file():
            yield f"{below}{entry.name}", entry.stat()


def fingerprint(path):
    """A text that changes when a source does: size and time of an archive, or of every file of a folder."""
    files = walk(path) if path.is_dir() else [("", path.stat())]
    return short_hash([(name, found.st_size, found.st_mtime_ns) for name, found in files])


def short_hash(value):
    """16 hexadecimal digits that stand for a value, such as a path."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:16]


def _archived(path, folder, stack):
    """Yield what Files takes for each file of an archive, which stays open until `stack` is closed."""
    with open(path, "rb") as file:
        start = file.read(2)
    local = path
    if start == b"\x1f\x8b" or drive_root(path):
        local = _copy(path, folder, start == b"\x1f\x8b")
        if not drive_root(path):
            stack.callback(local.unlink, missing_ok=True)
    if start == b"PK":
        archive = stack.enter_context(zipfile.ZipFile(local))
        for info in archive.infolist():
            name = info.orig_filename
            if not info.flag_bits & 0x800 and not name.isascii():  # a Mac writes UTF-8, a Korean Windows CP949
                raw = name.encode("cp437")
                name = raw.decode("utf-8", "ignore")
                name = name if name.encode() == raw else raw.decode("cp949", "replace")
            name = name.replace("\\", "/")
            if not name.endswith("/"):
                yield name, S_ISLNK(info.external_attr >> 16), info.file_size, partial(archive.read, info)
        return
    file, lock = stack.enter_context(open(local, "rb")), Lock()

    def read(offset, size):
        with lock:
            file.seek(offset)
            return file.read(size)

    archive = tarfile.open(fileobj=file, mode="r:")
    for member in archive:
        if not member.isdir():
            odd = not member.isreg() or member.issparse()
            yield member.name, odd, member.size, partial(read, member.offset_data, member.size)
    # tarfile stops without a word at a damaged header or a missing end. Only zeros may follow, and some must.
    end = read(archive.offset, MAX_FILE)
    if len(end) < 512 or end.strip(b"\0"):
        raise DataError(f"{path.name} is cut short or damaged after {len(archive.members):,} files. Copy it again.")


def _copy(path, folder, zipped):
    """A local copy of an archive, unpacked if it's a .tar.gz. Another version of it gets another copy."""
    place, limit = short_hash(str(path)), MAX_GROWTH * path.stat().st_size + MAX_FILE
    copy = folder / f"{path.name[:60]}.{place}.{fingerprint(path)}"
    if not copy.exists():
        for old in folder.glob(f"*.{place}.*"):
            old.unlink()
        with replacing(copy) as file:
            for chunk in _chunks(path, zipped):
                file.write(chunk)
                if file.tell() > limit:
                    raise DataError(f"{path.name} unpacks to over {MAX_GROWTH} times its size: a decompression bomb.")
    return copy


def _chunks(path, zipped):
    size = path.stat().st_size
    try:
        with open(path, "rb") as far, gzip.open(far) if zipped else far as source:
            with tqdm(desc=f"copying {path.name}", total=size, unit="B", unit_scale=True, leave=False) as bar:
                while chunk := source.read(1 << 20):
                    yield chunk
                    bar.update(far.tell() - bar.n)
                if far.tell() != size:
                    raise OSError(f"it ended at byte {far.tell():,} of {size:,}")
    except OSError as error:  # not to be taken for a full disk at the other end
        raise DataError(f"{path} can't be read ({error}). Copy it here again; for Drive, mount it again.") from error
