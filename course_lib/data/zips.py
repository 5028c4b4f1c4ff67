"""The files of a .zip, found and read by `zipfile`. Nothing is unpacked."""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from ..errors import DataError, brief
from .entries import COPY_AGAIN, IS_A_LINK, MAX_FILES, PACK_AGAIN, Entry, clean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zipfile import ZipInfo

# Numbers from PKWARE's APPNOTE.TXT, the definition of the format
ENCRYPTED = 1 << 0  # a flag of an entry
UTF8_NAME = 1 << 11  # a flag of an entry
UNICODE_PATH = 0x7075  # the number of an extra field
ENTRY_BYTES = 110  # of an entry in the table of contents, on average: 46, its name, its times
END_BYTES = 22  # of the record that ends the file, without its comment
END64_BYTES = 76  # of the two records before it in a large zip, ZIP64
READABLE = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
METHODS = {
    9: "Deflate64 (what Windows uses for large files)",
    93: "Zstandard",
    95: "XZ",
    98: "PPMd",
}

CODE_PAGES = ("utf-8", "cp949")  # of names on a Mac, and on a Korean Windows; the likelier first

# A file larger than this (in bytes) that was packed this well is a decompression bomb.
BOMB_BYTES = 32_000_000
BOMB_RATIO = 30


class _End(NamedTuple):
    """What the end of a zip says about it."""

    disk: int  # the number of this part, from 0
    table_bytes: int  # size of the table of contents
    is_zip64: bool


def zip_entries(file: BinaryIO, where: str) -> Iterator[Entry]:
    """Yield an Entry for each file of a zip.

    where: its name in messages. Raises DataError, or zipfile's errors if it's damaged.
    """
    size = file.seek(0, 2)
    end = _read_end(file, size, where)
    if end.disk:
        raise DataError(f"{where} is the last part of a zip in several parts. {PACK_AGAIN}")
    if size >= 1 << 32 and not end.is_zip64:
        raise DataError(
            f"{where} has over 4 GB, but lacks the larger numbers (ZIP64) that such a zip needs; "
            f"a Mac's Finder packs like that. {PACK_AGAIN}"
        )
    if end.table_bytes > MAX_FILES * ENTRY_BYTES:
        raise DataError(f"{where} has more than {MAX_FILES:,} files, too many for this course.")
    archive = _open(file, where)
    members = archive.infolist()
    code_page = _code_page(members, where)
    for info in members:
        # Older programs on Windows write \ between folders.
        stored = _name(info, code_page).replace("\\", "/")
        if not stored.endswith("/"):
            read = partial(_read, archive, info, f"{where}: {brief(stored)}")
            yield Entry(clean(stored), stored, info.file_size, read, _refusal(info))


def _read_end(file, size, where):
    """The _End of a zip of `size` bytes."""
    longest = (1 << 16) + END_BYTES + END64_BYTES
    file.seek(max(0, size - longest))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + END_BYTES:
        raise DataError(
            f"{where} has no table of contents at its end: it's cut short, or the first of several "
            f"parts. {COPY_AGAIN} If it has several parts: {PACK_AGAIN}"
        )
    disk, table_bytes = struct.unpack_from("<H6xL", tail, at + 4)
    is_zip64 = at >= END64_BYTES and tail[at - 20 : at - 16] == b"PK\6\7"
    if is_zip64:
        disk, table_bytes = struct.unpack_from("<L20xQ", tail, at - END64_BYTES + 16)
    return _End(disk, table_bytes, is_zip64)


def _open(file, where):
    """The zipfile.ZipFile of an open file."""
    try:
        return zipfile.ZipFile(file)
    except NotImplementedError as error:
        raise DataError(f"{where} can't be read by Python ({error}). {PACK_AGAIN}") from error


def _refusal(info):
    """Why an entry of a zip can't be used; "" if it can."""
    if stat.S_ISLNK(info.external_attr >> 16):
        return IS_A_LINK
    if info.flag_bits & ENCRYPTED:
        return f"is protected by a password. {PACK_AGAIN}"
    if info.compress_type not in READABLE:
        method = METHODS.get(info.compress_type, f"method {info.compress_type}")
        return f"is packed by {method}, which Python can't read. {PACK_AGAIN}"
    if info.file_size > max(BOMB_BYTES, BOMB_RATIO * info.compress_size):
        return f"would unpack from {info.compress_size:,} to {info.file_size:,} bytes; remove it"
    return ""


def _read(archive, info, what):
    """The bytes of an entry, checked against its checksum. what: archive and entry in messages."""
    try:
        return archive.read(info)
    except NotImplementedError as error:
        raise DataError(f"{what} can't be read by Python ({error}). {PACK_AGAIN}") from error
    except zipfile.BadZipFile as error:
        if "differ" not in str(error):
            raise
        # zipfile refuses an entry whose name isn't the same in both places that hold it.
        raise DataError(f"{what} has another name inside the archive. {PACK_AGAIN}") from error


# --- names
# A zip says of each name either that it's UTF-8 or nothing. `zipfile` takes the rest for CP437,
# which has a character for every byte, so the bytes are still known.


def _name(info: ZipInfo, code_page: str) -> str:
    """The path of an entry. code_page: how names are encoded that don't say it themselves."""
    if info.flag_bits & UTF8_NAME:
        return info.orig_filename
    return _unicode_path(info) or _name_bytes(info).decode(code_page)


def _name_bytes(info):
    return info.orig_filename.encode("cp437")


def _unicode_path(info):
    """The name in an entry's Unicode path field; "" if it has none or it's that of another name."""
    extra = info.extra
    while len(extra) >= 4:
        number, length = struct.unpack_from("<HH", extra)
        field = extra[4 : 4 + length]
        extra = extra[4 + length :]
        if number == UNICODE_PATH and len(field) > 5:
            checksum, name = field[1:5], field[5:]
            if checksum == struct.pack("<L", zlib.crc32(_name_bytes(info))):
                return name.decode("utf-8")
    return ""


def _code_page(members, where):
    """The encoding of the names that don't say theirs; it's printed unless it must be UTF-8."""
    names = []
    for info in members:
        if not info.flag_bits & UTF8_NAME and not _unicode_path(info):
            names.append(_name_bytes(info))
    names = [name for name in names if not name.isascii()]
    possible = [page for page in CODE_PAGES if _can_decode(names, page)]
    if not names or possible == ["utf-8"]:
        return "utf-8"
    code_page = possible[0] if possible else "cp437"  # the standard's own
    print(
        f"{where} doesn't say how its file names are encoded; reading them as "
        f"{code_page.upper()}, such as {brief(names[0].decode(code_page))}. "
        f"If that's wrong: {PACK_AGAIN}",
        flush=True,
    )
    return code_page


def _can_decode(names, encoding):
    """Whether all of these names are valid in an encoding."""
    try:
        for name in names:
            name.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
