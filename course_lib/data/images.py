"""One image file as upright RGB pixels, whatever its format, mode and metadata."""

from __future__ import annotations

import io
import threading
import zlib
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError, features

from ..errors import DataError
from .answers import data_error, is_hidden, natural_order
from .deep_pixels import COLOUR, Scale, eight_bits, has_deep_colours, nearly_black
from .other_formats import other_format

# Other formats, such as PostScript, would start programs.
FORMATS = ["JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM"]
if "avif" in features.modules and features.check("avif"):
    FORMATS.append("AVIF")

# Files with these names are pictures, also if it turns out that they can't be read.
IMAGE_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".bmp",
    ".gif",
    ".webp",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
    ".avif",
    ".heic",
    ".heif",
    ".jp2",
    ".jxl",
    ".svg",
    ".psd",
)

# More counts as a decompression bomb; Pillow itself only warns, from 89 million on.
MAX_PIXELS = 80_000_000

# Larger pictures than this are decoded one at a time: one of 80 million pixels takes 1.5 GB.
LARGE = 25_000_000
_one_at_a_time = threading.Lock()

_ADVICE = (
    f"Replace it with an image ({', '.join(FORMATS)}), or remove it, with its row in answer.json "
    "if there is one."
)

# A transparent picture with less contrast than this on white is a white one: an icon, for example.
FAINT = 32

# How to turn a picture upright, by its EXIF orientation (EXIF 2.3, tag 0x0112); 1 is upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")  # the chunks that make the picture

JPEG_SIGNATURE = b"\xff\xd8"
JPEG_SCAN = 0xDA  # the marker after which the pixels follow
# Application segments and comments, but for JFIF (0xE0) and Adobe (0xEE), which say how colours
# are stored, and EXIF (0xE1), which says how the picture is turned.
JPEG_METADATA = (*range(0xE2, 0xEE), 0xEF, 0xFE)


def images_among(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split names by suffix: (images, others), both in natural order. Hidden files are others."""
    images = []
    others = []
    for name in sorted(names, key=natural_order):
        if name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(name):
            images.append(name)
        else:
            others.append(name)
    return images, others


class UnreadableImage(DataError):
    """A file was read, but no picture can be made of its bytes, today or tomorrow."""


class Picture(NamedTuple):
    """An image file's content as it's trained on."""

    image: Image.Image  # RGB, upright
    was_transparent: bool  # parts of it were, and are on white now
    scale: Scale | None  # of a picture of more than 8 bits; None for others


def upright_rgb(
    file: str | Path | BinaryIO, name: str, whites: Mapping[str, float] | None = None
) -> Image.Image:
    """A file (or its path) as a PIL image in RGB, upright as its EXIF says, and on white.

    name: what the file is called in messages. whites: those of the data set that the picture is
    like (`Bank.whites`). Raises DataError, also if a picture of more than 8 bits is nearly black,
    unless its white is one of these.
    """
    with data_error(f"{name} can't be read", _ADVICE):
        data = _content(Path(file), name) if isinstance(file, (str, Path)) else file.read()
    whites = whites or {}
    picture = read_picture(data, name, whites)
    scale = picture.scale
    if scale is not None and scale.is_nearly_black and scale.kind not in whites:
        raise nearly_black(name)
    return picture.image


def _content(path, name):
    """The bytes of a file. Raises DataError if it's something else: a pipe would hang."""
    if path.exists() and not path.is_file():
        raise DataError(f"{name} is a folder, a pipe or a device. Give the path of an image file.")
    return path.read_bytes()


def read_picture(data: bytes, name: str, whites: Mapping[str, float] | None = None) -> Picture:
    """The Picture in an image file's bytes.

    Metadata never costs a picture: if it's damaged, the picture is read without it, and at worst
    isn't turned. name: what the file is called in messages. whites: from `common_whites`; by
    default, a picture of more than 8 bits is scaled by what it alone tells. Raises UnreadableImage
    if its pixels are damaged, or if nobody can tell which of its values are black and white; and
    another DataError if there isn't enough memory.
    """
    try:
        with data_error(f"{name} can't be read", _ADVICE):
            return _with_or_without_metadata(data, name, whites or {})
    except DataError as error:
        if isinstance(error.__cause__, MemoryError):
            raise DataError(
                f"There isn't enough memory to read {name}. Close other programs, then try again."
            ) from error
        raise UnreadableImage(str(error)) from error


def _with_or_without_metadata(data, name, whites):
    """The Picture in an image file's bytes. Raises DataError, or whatever Pillow raises."""
    try:
        return _decoded(data, name, whites)
    except (DataError, MemoryError):
        raise
    except Exception:  # Pillow raises all kinds, and doesn't say whether pixels are damaged
        pass
    try:
        return _decoded(without_metadata(data), name, whites)
    except UnidentifiedImageError as error:
        raise _not_an_image(data, name) from error


def _not_an_image(data, name):
    """The error about a file that Pillow doesn't recognise."""
    other = other_format(data)
    if other is not None:
        return DataError(f"{name} is {other.name}. {other.cure}")
    if not data:
        return DataError(f"{name} is empty. {_ADVICE}")
    return DataError(f"{name} isn't an image, whatever its name says. {_ADVICE}")


def without_metadata(data: bytes) -> bytes:
    """A PNG or JPEG without the metadata that Pillow may stumble over; other files as they are."""
    if data.startswith(PNG_SIGNATURE):
        return _png_without_metadata(data)
    if data.startswith(JPEG_SIGNATURE):
        return _jpeg_without_metadata(data)
    return data


def _png_without_metadata(data):
    """A PNG of the chunks that make its picture, and its EXIF unless that's damaged."""
    kept = [PNG_SIGNATURE]
    start = len(PNG_SIGNATURE)
    while start + 12 <= len(data):  # each chunk: length, kind, content, checksum
        content_end = start + 8 + int.from_bytes(data[start : start + 4], "big")
        kind = data[start + 4 : start + 8]
        checksum = int.from_bytes(data[content_end : content_end + 4], "big")
        intact = zlib.crc32(data[start + 4 : content_end]) == checksum
        if kind in PNG_PIXELS or (kind == b"eXIf" and intact):
            kept.append(data[start : content_end + 4])
        start = content_end + 4
    return b"".join(kept)


def _jpeg_without_metadata(data):
    """A JPEG without comments and most application segments."""
    kept = [JPEG_SIGNATURE]
    start = len(JPEG_SIGNATURE)
    while start + 4 <= len(data):  # each segment: 0xFF, marker, length, content
        marker = data[start + 1]
        if data[start] != 0xFF or marker == JPEG_SCAN:
            break
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        if marker not in JPEG_METADATA:
            kept.append(data[start:end])
        start = end
    return b"".join([*kept, data[start:]])


def _decoded(data, name, whites):
    """The Picture in a file, which is the first one if there are several."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        pixels = image.width * image.height
        if pixels > MAX_PIXELS:
            raise DataError(
                f"{name} has {image.width} × {image.height} pixels, more than {MAX_PIXELS:,}. "
                "Make it smaller, or remove it."
            )
        with _one_at_a_time if pixels > LARGE else nullcontext():
            return _loaded(image, name, whites)


def _loaded(image, name, whites):
    """The Picture in an image that is open, but whose pixels haven't been read yet."""
    is_deep = has_deep_colours(image)
    image.load()
    turn = TURNS.get(_orientation(image))
    scale = None
    if image.mode.startswith(("I", "F")):
        image, scale = eight_bits(image, name, whites)
    elif is_deep:
        # Pillow may have rounded it up, and the largest of 14 bits with it to over a quarter.
        brightest = max(0.0, float(np.asarray(image.convert("RGB")).max()) - 0.5)
        scale = Scale(COLOUR, brightest, white=255)
        if "transparency" in image.info:  # the colour that is transparent
            image.info["transparency"] = tuple(v >> 8 for v in image.info["transparency"])
    image, was_transparent = _on_white(image)
    if turn is not None:
        image = image.transpose(turn)
    return Picture(image, was_transparent, scale)


def _orientation(image):
    """A picture's EXIF orientation, 1 to 8; 1 if its EXIF is damaged."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF raises all kinds, and the picture is good without it
        return 1
    return orientation if isinstance(orientation, int) else 1


def _on_white(image):
    """A picture as RGB, and whether it was transparent.

    It's put on white where it is, or on black if it would vanish on white.
    """
    if not image.has_transparency_data:
        return image.convert("RGB"), False
    image = image.convert("RGBA")
    least, most = image.getchannel("A").getextrema()
    is_opaque = least == 255
    is_invisible = most == 0  # then the transparency is a mistake: its colours are what was meant
    if is_opaque or is_invisible:
        return image.convert("RGB"), False
    picture = _on_ground(image, "white")
    if _contrast(picture) < FAINT:
        picture = _on_ground(image, "black")
    return picture, True


def _on_ground(image, colour):
    """An RGBA picture on a ground of one colour, as RGB."""
    ground = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(ground, image).convert("RGB")


def _contrast(image):
    """The largest difference between two pixels of an RGB picture in any channel: 0 to 255."""
    return max(highest - lowest for lowest, highest in image.getextrema())
