"""What lies in a folder, a .zip, a .tar or a .tar.gz, read without unpacking it: many small files cost the most where
they are files. Nothing in an archive is ever written under a name it chooses."""

import gzip
import os
import shutil
import stat
import tarfile
import tempfile
import threading
import unicodedata
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm.auto import tqdm

from .datasets import is_safe
from .errors import DataError
from .files import in_order, need_space, replacing
from .workspace import on_drive

CLUTTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"}  # what systems leave in folders and archives
MAX_FILE = 200_000_000  # bytes; one file of a data set that unpacks to more is taken for a decompression bomb
MAX_GROWTH = 20  # so is a .tar.gz that unpacks to more than this many times its size, beyond …
MAX_UNPACKED = 1_000_000_000  # … this many bytes; photographs do not shrink
MANY = 200  # files; a folder on Drive with more of them is packed into one archive first
_CHUNK = 1 << 20


class Contents:
    """The files of a folder or archive: `names`, their paths inside it (with `/`, in NFC), and their bytes.

    One folder that encloses everything else, as archiving programs like to make it, is left out of the names.
    """

    def __init__(self, path, stored, read_stored, close=lambda: None):
        self.path, self.close, self._read_stored = path, close, read_stored
        self._stored = {}  # name → what read_stored takes
        for name, where in stored:
            # A Mac spells 가 in two characters and others in one: one spelling (NFC) inside the course.
            name = unicodedata.normalize("NFC", name.removeprefix("./"))
            if CLUTTER.isdisjoint(name.split("/")):
                if name in self._stored:
                    raise DataError(f"{path.name} holds {name} twice: keep one of the two, and pack it again.")
                self._stored[name] = where
        roots = {name.split("/", 1)[0] if "/" in name else "" for name in self._stored}
        if len(roots) == 1 and "" not in roots:
            self._stored = {name.split("/", 1)[1]: where for name, where in self._stored.items()}
        self.names = list(self._stored)

    def read(self, name):
        """The bytes of the file `name`. Raises DataError where it is damaged, or unpacks to more than MAX_FILE."""
        if name not in self._stored:
            raise DataError(f"{self.path.name} has no {name}.")
        try:
            return self._read_stored(self._stored[name])
        except DataError:
            raise
        except Exception as error:  # zlib, zipfile, lzma, the disk: whatever the broken bytes lead to
            raise DataError(
                f"{self.path.name} is damaged at {name} ({error}): copy or download it once more."
            ) from error


def open_contents(path, scratch=None, check=lambda file: None):
    """Look into a folder or an archive; returns Contents. Raises DataError for whatever is wrong with it.

    scratch: a folder on the local disk for a nameless copy of an archive on Drive, or of an unpacked .tar.gz; `close`
    removes it. check: called with the archive, an open binary file, before anything is read from it.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise DataError(f"There is no data set at {path}: neither a folder nor an archive has that name.")
    file = _near(path, scratch)
    try:
        check(file)
        beginning = file.read(2)
        if beginning == b"PK":
            return _zip(path, file)
        if beginning == b"\x1f\x8b":
            file = _unzipped(path, file, scratch)
        return _tar(path, file)
    except DataError:
        file.close()
        raise
    except Exception as error:  # zipfile and tarfile raise what broken bytes lead to
        file.close()
        raise DataError(
            f"{path} is neither a folder nor a whole .zip, .tar or .tar.gz ({error}): it may have been cut short; "
            "copy it once more."
        ) from error


def _folder(folder):
    top = folder.resolve()

    def read(file):
        _refuse_bomb(file, os.stat(file).st_size)
        return Path(file).read_bytes()

    try:
        stored = [(Path(file).relative_to(folder).as_posix(), file) for file in _files(folder, top)]
    except OSError as error:
        raise DataError(f"{folder} cannot be listed ({error}).") from error
    return Contents(folder, stored, read)


def _files(folder, top):
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(top):
            raise DataError(
                f"{entry.path} is a link that leads out of the data folder: put the files themselves there."
            )
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path, top)
        elif entry.is_file():
            yield entry.path


def _zip(path, file):
    archive = zipfile.ZipFile(file)

    def stored():
        for info in archive.infolist():
            name = _zip_name(info)
            if info.is_dir() or name.endswith("/"):
                continue
            _refuse_escape(path, name, link=stat.S_ISLNK(info.external_attr >> 16))
            yield name, info

    def read(info):
        _refuse_bomb(info.filename, info.file_size)
        return archive.read(info)  # safe in threads; reads no more than file_size, and checks its CRC

    return Contents(path, stored(), read, file.close)


def _zip_name(info):
    """A member's name. Some programs write UTF-8 (a Mac) or CP949 (a Korean Windows) without saying so."""
    name = info.orig_filename
    if not info.flag_bits & 0x800 and not name.isascii():
        raw = name.encode("cp437")
        for encoding in ("utf-8", "cp949"):
            try:
                name = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/")


def _tar(path, file):
    file.seek(0)
    archive, lock = tarfile.open(fileobj=file, mode="r:"), threading.Lock()

    def stored():
        for member in archive:
            if member.isdir():
                continue
            _refuse_escape(path, member.name, link=not member.isreg() or member.issparse())
            yield member.name, (member.name, member.offset_data, member.size)

    def read(where):
        name, offset, size = where
        _refuse_bomb(name, size)
        with lock:
            file.seek(offset)
            return file.read(size)

    return Contents(path, stored(), read, file.close)


def _refuse_escape(path, name, link):
    if link:
        raise DataError(f"{path.name} holds {name}, which is a link or no plain file: pack the files themselves.")
    if not is_safe(name):
        raise DataError(f"{path.name} holds {name!r}, which leads out of the data folder. Nothing was unpacked.")


def _refuse_bomb(name, size):
    if size > MAX_FILE:
        raise DataError(
            f"{name} unpacks to {size / 1e6:,.0f} MB, more than {MAX_FILE / 1e6:,.0f}: taken for a decompression bomb, "
            "and not read. Take it out of the data set."
        )


def _near(path, scratch):
    """The archive, open; one on Drive is copied to the local disk first, under no name: closing it removes it."""
    if not on_drive(path):
        return open(path, "rb")
    size = path.stat().st_size
    need_space(scratch or tempfile.gettempdir(), size, f"a local copy of {path.name}")
    copy = tempfile.TemporaryFile(dir=scratch)
    try:
        with open(path, "rb") as far, tqdm.wrapattr(far, "read", size, desc=f"copying {path.name}", leave=False) as far:
            shutil.copyfileobj(far, copy, _CHUNK)
        if copy.tell() != size:
            raise OSError(f"{copy.tell():,} of {size:,} bytes came")
    except OSError as error:
        copy.close()
        raise DataError(f"{path} cannot be copied from Drive ({error}). Mount Drive again and repeat.") from error
    copy.seek(0)
    return copy


def _unzipped(path, file, scratch):
    """A .tar.gz can only be read from its start: unpack it once into one nameless file."""
    packed = file.seek(0, os.SEEK_END)
    limit = max(MAX_UNPACKED, MAX_GROWTH * packed)
    need_space(scratch or tempfile.gettempdir(), packed, f"the unpacked {path.name}")
    file.seek(0)
    whole = tempfile.TemporaryFile(dir=scratch)
    try:
        with file, gzip.GzipFile(fileobj=file) as unpacking:
            while chunk := unpacking.read(_CHUNK):
                whole.write(chunk)
                if whole.tell() > limit:
                    raise DataError(
                        f"{path.name} unpacks to more than {limit / 1e6:,.0f} MB: taken for a decompression bomb."
                    )
    except BaseException:
        whole.close()
        raise
    return whole


def packed(folder):
    """For a folder of many small files on Drive: the path of one archive beside it with the same files, made now or
    earlier; for every other folder or archive, its own path.

    The archive is made once, whole or not at all; the folder stays as it is. It is made again where an `answer.json`
    in the folder is newer.
    """
    pack = folder.with_name(f"{folder.name}.packed.zip")
    if not folder.is_dir() or not on_drive(folder):
        return folder
    if pack.is_file() and all(pack.stat().st_mtime >= file.stat().st_mtime for file in folder.glob("*.json")):
        print(f"Reading {pack.name}, packed earlier from the folder beside it; delete it if the images have changed.")
        return pack
    contents = _folder(folder)
    if len(contents.names) <= MANY:
        return folder
    print(
        f"{folder.name} is a folder of {len(contents.names):,} files on Google Drive, slow to read one by one. "
        f"They are read once now, and kept beside the folder as {pack.name} for next time.",
        flush=True,
    )
    try:
        with ThreadPoolExecutor(16) as pool, replacing(pack) as file, zipfile.ZipFile(file, "w") as archive:
            files = zip(contents.names, in_order(pool, contents.read, contents.names))  # waiting is what takes long
            for name, data in tqdm(files, f"packing {folder.name}", len(contents.names), unit=" files", leave=False):
                archive.writestr(zipfile.ZipInfo(name), data)
    except OSError as error:
        print(f"{pack.name} cannot be written ({error}); reading the folder file by file, as it will be next time.")
        return folder
    return pack
