"""`data_manifest.json`: which data sets there are, and how to get each one onto this machine."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import unicodedata
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import Request, urlopen

from tqdm.auto import tqdm

from ..errors import DataError, brief
from ..storage.files import replacing
from ..storage.mounts import require_mounted
from . import shapes
from .answers import data_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..settings import Settings

IN_CHECKOUT = Path(__file__).parents[2] / "data_manifest.json"
IN_PACKAGE = Path(__file__).parents[1] / "data_manifest.json"  # if the course was installed by pip
MANIFEST = IN_PACKAGE if IN_PACKAGE.exists() else IN_CHECKOUT  # see tests/manifest_schema.json

# A mirror that is silent for so long, or slower than a modem, gives way to the next one.
PATIENCE_SECONDS = 20
BYTES_PER_SECOND = 5_000


class Located(NamedTuple):
    """Where a data set is."""

    path: Path  # absolute, of a folder or an archive
    name: str  # short, and safe in the names of folders
    layout: str | None  # one of layouts.LAYOUTS; None for your own data, whose files tell it
    generated: bool = False  # whether the course has drawn the images itself

    @property
    def place(self) -> str:
        """Eight hexadecimal digits that stand for the path, without naming your machine."""
        return f"{zlib.crc32(os.fsencode(self.path)):08x}"


def locate(data: str, settings: Settings, home: str | Path) -> Located:
    """Find a data set; it's generated or downloaded first if need be.

    data: a name in the manifest, or the path of a folder or archive. settings: size, seed and
    images_per_class of generated data. home: a local folder. Raises DataError if there is no such
    data set, or no mirror has it.
    """
    manifest = json.loads(MANIFEST.read_bytes())
    folder = Path(home).resolve() / "data"
    entry = manifest.get(data, {})
    is_built_in = entry.get("layout") == "generated" or "archive" in entry
    if is_built_in and Path(data).exists():
        print(
            f"Using the course's own data set {data}. For the file or folder of that name in the "
            f"working directory, write ./{data}.",
            flush=True,
        )
    if entry.get("layout") == "generated":
        train, test = settings.images_per_class
        path = shapes.generate(folder, settings.size, train, test, settings.seed)
        return Located(path, data, "report", generated=True)
    if "archive" in entry:
        return Located(_fetch(entry, folder), data, entry["layout"])
    path = _own(data, manifest)
    name = _safe_name(path)
    if name in manifest:
        name = f"own-{name}"  # a folder called shapes isn't the generated data
    return Located(path, name, None)


def _own(data, manifest):
    """The absolute path of your own data set."""
    with data_error(f"The path {brief(data)} can't be used", "Check its spelling."):
        path = Path(data).expanduser()
        require_mounted(path)
        path = path.resolve()
        exists = path.exists()
    if not exists:
        names = ", ".join(name for name in manifest if name != "folder")
        raise DataError(
            f"There is no data set {brief(data)}. "
            f"Use {names}, or the path of a folder, .zip, .tar or .tar.gz."
        )
    return path


def _safe_name(path):
    """The name of a folder or archive without its suffix, for use in the names of other folders."""
    name = unicodedata.normalize("NFC", path.name)
    name = re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    name = re.sub(r"[^\w.+-]", "_", name)[:60]
    # A file's name has at most 255 bytes, and more is added to this.
    return name.encode()[:180].decode(errors="ignore") or "data"


# --- downloads


def _fetch(entry: dict, folder: Path) -> Path:
    """The archive of an entry in `folder`, from the first mirror whose file has the right MD5."""
    archive = entry["archive"]
    path = folder / archive["file"]
    if path.exists() and _md5(path) == archive["md5"]:
        return path
    size = f"{archive['bytes'] / 1e6:,.0f} MB"
    print(f"{entry['title']}: {size}. Licence: {entry['licence']}; {entry['terms']}.", flush=True)
    for address in archive["mirrors"]:
        try:
            _download(address, path, archive["bytes"], archive["md5"])
            return path
        except DataError as error:
            print(error, flush=True)
    raise DataError(
        f"{path.name} couldn't be downloaded; each mirror's error is printed above. "
        f"Download it with a browser (see {entry['source']}) and save it as {path}."
    )


def _download(address, path, size, md5):
    """Write a mirror's file to `path`. Raises DataError unless it has this size and MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    with (
        replacing(path) as file,
        tqdm(desc=path.name, total=size, unit="B", unit_scale=True, leave=False) as progress,
    ):
        for data in _received(address, size):
            file.write(data)
            digest.update(data)
            progress.update(len(data))
        if digest.hexdigest() != md5:
            raise DataError(f"{address}: the file has another MD5, so it's damaged or changed.")


def _received(address: str, size: int) -> Iterator[bytes]:
    """Yield what a mirror sends, exactly `size` bytes in all. Raises DataError."""
    started = time.monotonic()
    received = 0
    request = Request(address, headers={"User-Agent": "course_lib"})
    try:
        with urlopen(request, timeout=PATIENCE_SECONDS) as response:
            while data := response.read1(1 << 16):  # what is there, without waiting for more
                received += len(data)
                if received > size:
                    raise DataError(f"{address} sends more than the {size:,} bytes expected.")
                waited = time.monotonic() - started
                if waited > PATIENCE_SECONDS + received / BYTES_PER_SECOND:
                    raise DataError(f"{address} is too slow: {received:,} bytes in {waited:.0f} s.")
                yield data
    except (OSError, HTTPException) as error:
        raise DataError(f"{address}: {brief(str(error))}.") from error
    if received < size:
        raise DataError(f"{address} ended after {received:,} of {size:,} bytes.")


def _md5(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
