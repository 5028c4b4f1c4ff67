"""The files of an image bank: all images of a data set, decoded once, as uint8 pixels.

`<name>.npy` is a NumPy array (images, side, side, 3) that is mapped into memory. `<name>.json`,
written last, holds everything else, with checksums of the pixels and of itself: a bank that was
damaged, or whose files don't belong together because a process was killed, is noticed when it's
opened.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..errors import CheckpointError, DataError, DiskError, brief
from ..storage.files import read_sealed, replacing, write_sealed
from .deep_pixels import are_scaled_by, common_whites
from .findings import (
    Facts,
    ImageRow,
    report_transparency,
    report_whites,
    require_bright_images,
    require_consistent_labels,
)
from .images import UnreadableImage, read_picture
from .split import first_copies

if TYPE_CHECKING:
    from .source import Source

# Raise it if the same image files give other pixels than before, or if Contents changes: banks
# that are on disk are then decoded again.
VERSION = 5

BLOCK = 64  # images that are decoded at once, and share a checksum

MOST_NAMES = 9  # of ignored files in a message


class BankMissing(DataError):
    """A source has no bank yet, or has changed since its bank was made."""


class BankDamaged(DataError):
    """A bank isn't what was written."""


@dataclass
class Contents:
    """All that a bank holds besides pixels.

    Lists have one item per image: training images first, then validation, then test images.
    """

    version: int
    mark: str  # the fingerprint of the folder or archive that was decoded
    layout: str  # of the data set, in words
    training: int  # how many of the images are training images
    validation: int  # how many are validation images; the others are test images
    classes: list[str]
    names: list[str]  # paths relative to the folder of training, validation or test images
    labels: list[int]  # −1 if unknown
    widths: list[int]  # of the originals, upright, in pixels
    heights: list[int]
    copies: list[int]  # the row of the first image with the same pixels
    # Hex SHA-256 of all rows' paths, labels and file bytes in order: the same on every machine.
    digest: str
    checksums: list[int]  # the CRC-32 of the pixels of each BLOCK images
    left_out: list[str]  # an error for each image that can't be read, if these may be left out
    whites: dict[str, float]  # what white is in pictures that don't say so: see `common_whites`


class _Decoded(NamedTuple):
    """An image as it's written to a bank."""

    pixels: bytes
    facts: Facts


class _Written(NamedTuple):
    """What was found out while all pixels of a bank were written."""

    rows: list[ImageRow]  # those that could be read
    facts: list[Facts]  # one for each of them
    checksums: list[int]
    left_out: list[str]


def build_bank(
    source: Source,
    side: int,
    path: Path,
    mark: str = "",
    advice: str = "",
    skip_unreadable: bool = False,
) -> None:
    """Decode all images of `source` into a bank, squeezed to side × side like the report's Resize.

    path: of the bank's .npy. mark: the source's fingerprint. advice: a sentence to add to the
    error if an image is wrong. skip_unreadable: leave such images out instead. Prints what
    you should know about the images. Raises DataError.
    """
    if source.skipped:
        names = [brief(name.rpartition("/")[2]) for name in source.skipped[:MOST_NAMES]]
        if len(source.skipped) > MOST_NAMES:
            names.append("…")
        count = f"{len(source.skipped):,} files that aren't images (by their names)"
        print(f"Ignoring {count}: {', '.join(names)}.")
    for note in source.notes:
        print(note)
    wanted = _rows(source)

    # Returns the error if the image is to be left out.
    def decode(row, whites) -> _Decoded | UnreadableImage:
        try:
            return _decode(row, source.read(row.name), side, whites)
        except UnreadableImage as error:
            if skip_unreadable:
                return error
            raise DataError(
                f"{error} To leave it out: open_course(…, skip_unreadable=True), or "
                f"COURSE_SKIP_UNREADABLE=1. {advice}"
            ) from error
        except DataError as error:  # a disk that fails for a moment must not cost an image
            raise DataError(f"{error} {advice}") from error

    with replacing(path) as file:
        # What white is in a data set is known only when its last image has been decoded. Most
        # data sets need no second time: all images are alike, or say themselves what white is.
        written = _write_pixels(file, wanted, lambda row: decode(row, {}), side)
        scales = [image.scale for image in written.facts if image.scale is not None]
        whites = common_whites(scales)
        if not are_scaled_by(whites, scales):
            written = _write_pixels(file, wanted, lambda row: decode(row, whites), side)
        rows = written.rows
        facts = written.facts
        _require_training_images(wanted, rows, source.classes, written.left_out)
        file.seek(0)
        file.write(_npy_header(len(rows), side))  # as long as before: NumPy leaves room for numbers
        copies = first_copies([image.pixel_digest for image in facts])
        report_whites(rows, facts)
        require_bright_images(rows, facts)
        require_consistent_labels(rows, copies, source.classes, advice)
    parts = Counter(row.part for row in rows)
    contents = Contents(
        version=VERSION,
        mark=mark,
        layout=source.layout,
        training=parts["training"],
        validation=parts["validation"],
        classes=list(source.classes),
        names=[_shown_name(row.name, source) for row in rows],
        labels=[row.label for row in rows],
        widths=[image.width for image in facts],
        heights=[image.height for image in facts],
        copies=copies,
        digest=_digest(rows, facts),
        checksums=written.checksums,
        left_out=written.left_out,
        whites=whites,
    )
    write_sealed(path.with_suffix(".json"), asdict(contents))
    report_transparency(rows, facts)


def _write_pixels(
    file: IO[bytes],
    wanted: list[ImageRow],
    decode: Callable[[ImageRow], _Decoded | UnreadableImage],
    side: int,
) -> _Written:
    """Decode all rows and write their pixels, from the beginning of the file."""
    written = _Written([], [], [], [])
    progress = tqdm(total=len(wanted), desc="decoding", unit=" images", leave=False)
    # More threads than cores, since on Drive they mostly wait. Pillow decodes outside the
    # interpreter's lock.
    with ThreadPoolExecutor(16) as pool, progress:
        file.seek(0)
        file.truncate()
        file.write(_npy_header(len(wanted), side))
        for first in range(0, len(wanted), BLOCK):  # so that memory stays flat
            block = wanted[first : first + BLOCK]
            for row, decoded in zip(block, pool.map(decode, block)):
                progress.update()
                if isinstance(decoded, UnreadableImage):
                    written.left_out.append(str(decoded))
                    continue
                file.write(decoded.pixels)
                if len(written.rows) % BLOCK == 0:
                    written.checksums.append(0)
                written.checksums[-1] = zlib.crc32(decoded.pixels, written.checksums[-1])
                written.rows.append(row)
                written.facts.append(decoded.facts)
    return written


def _require_training_images(wanted, rows, classes, left_out):
    """Raise DataError if no training image can be read; print which classes have none left.

    wanted: all rows. rows: those that could be read.
    """
    wanted_labels = {row.label for row in wanted if row.part == "training"}
    labels = {row.label for row in rows if row.part == "training"}
    if not labels:
        raise DataError(f"None of the training images can be read. {left_out[0]}")
    lost = [brief(classes[label]) for label in sorted(wanted_labels - labels)]
    if lost:
        names = ", ".join(lost[:MOST_NAMES])
        print(f"{len(lost):,} classes have no training image that can be read: {names}.")


def _rows(source):
    """The rows of a data set: those of training images, then of validation, then of test images."""
    rows = []
    for part, images in source.parts.items():
        for number, (name, label) in enumerate(images):
            rows.append(ImageRow(name, label, number, part))
    return rows


def _shown_name(name, source):
    """A row's path without the folder of its part."""
    if source.has_part_folders:
        return name.partition("/")[2]
    return name


def _decode(row, data, side, whites):
    """The _Decoded image in a row. data: the bytes of its file. Raises DataError."""
    picture = read_picture(data, row.place, whites)
    pixels = picture.image.resize((side, side), Image.Resampling.BILINEAR).tobytes()
    facts = Facts(
        width=picture.image.width,
        height=picture.image.height,
        was_transparent=picture.was_transparent,
        scale=picture.scale,
        file_digest=hashlib.sha256(data).hexdigest(),
        pixel_digest=hashlib.sha256(pixels).digest(),
    )
    return _Decoded(pixels, facts)


def _digest(rows, facts):
    """The digest of a data set's content, as in Contents."""
    digest = hashlib.sha256()
    for row, image in zip(rows, facts):
        line = f"{row.name}\0{row.label}\0{image.file_digest}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def read_bank(path: Path, side: int, mark: str) -> tuple[np.ndarray, Contents]:
    """The pixels, uint8 (n, side, side, 3), mapped into memory, and the Contents of a bank.

    All of it is verified. Raises BankMissing if there is no bank of a source with this fingerprint
    (`mark`), BankDamaged if it isn't what `build_bank` wrote, and DiskError if it can't be read.
    """
    contents_path = path.with_suffix(".json")
    if not path.exists() or not contents_path.exists():
        raise BankMissing(f"There is no {path}.")
    try:
        stored = read_sealed(contents_path)
        if stored["version"] != VERSION or stored["mark"] != mark:
            raise BankMissing(f"{path} was made of other data.")
        contents = Contents(**stored)
        pixels = _mapped(path, len(contents.names), side)
    except CheckpointError as error:  # read_sealed's word for damage
        raise BankDamaged(str(error)) from error
    except OSError as error:
        raise DiskError(f"{path} can't be read ({error.strerror or error}).") from error
    blocks = [pixels[first : first + BLOCK] for first in range(0, len(pixels), BLOCK)]
    with ThreadPoolExecutor() as pool:  # at the speed of memory, outside the interpreter's lock
        checksums = list(pool.map(zlib.crc32, blocks))
    if checksums != contents.checksums:
        raise BankDamaged(f"{path} is damaged: its pixels don't match their checksums.")
    return pixels, contents


def _mapped(path, count, side):
    """The pixels in a bank's .npy, mapped into memory. Raises BankDamaged if its size is wrong."""
    header = _npy_header(count, side)
    with open(path, "rb") as file:
        begins_right = file.read(len(header)) == header
        size = file.seek(0, io.SEEK_END)
    if not begins_right or size != len(header) + count * side * side * 3:
        raise BankDamaged(f"{path} is damaged: its size or its header is wrong.")
    # "c", copy on write, because torch wants writable memory; nothing is written to the file.
    return np.load(path, mmap_mode="c")


def _npy_header(count, side):
    """What a .npy file of uint8 (count, side, side, 3) begins with."""
    header = io.BytesIO()
    array = {"descr": "|u1", "fortran_order": False, "shape": (count, side, side, 3)}
    np.lib.format.write_array_header_1_0(header, array)
    return header.getvalue()
