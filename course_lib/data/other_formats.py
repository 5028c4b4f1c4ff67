"""Files that are named like pictures, but that Pillow doesn't read: what they are, and the cure."""

from __future__ import annotations

from typing import NamedTuple

_TO_JPEG = "Convert it to JPEG or PNG"
_DOWNLOAD = "Download the picture itself"


class OtherFormat(NamedTuple):
    """A kind of file that isn't a picture in one of `images.FORMATS`."""

    name: str  # "an SVG drawing"
    cure: str
    starts: tuple[bytes, ...]  # what such files begin with, in lower case
    offset: int = 0  # where they begin so


OTHER_FORMATS = (
    OtherFormat(
        "a HEIC photograph",
        f'{_TO_JPEG}: on an iPhone, choose "Most Compatible" as the format of the camera, or '
        "install pillow-heif and save it with Pillow.",
        (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypmif1", b"ftypmsf1"),
        offset=4,
    ),
    OtherFormat(
        "an AVIF picture, which this version of Pillow doesn't read",
        "Update Pillow (pip install -U pillow), then restart Python.",
        (b"ftypavif", b"ftypavis"),
        offset=4,
    ),
    OtherFormat("a video", "Save single frames of it as JPEG.", (b"ftyp",), offset=4),
    OtherFormat("an SVG drawing", f"{_TO_JPEG} of a fixed size.", (b"<svg",)),
    OtherFormat(
        "a web page",
        f"{_DOWNLOAD}: its address led to a page instead.",
        (b"<!doctype html", b"<html"),
    ),
    OtherFormat(
        "what Git LFS keeps in place of a file",
        f"{_DOWNLOAD}: git lfs pull",
        (b"version https://git-lfs",),
    ),
    OtherFormat("a PDF", f"{_TO_JPEG}, page by page.", (b"%pdf",)),
    OtherFormat("a Photoshop file", f"{_TO_JPEG}.", (b"8bps",)),
    OtherFormat("a JPEG XL picture", f"{_TO_JPEG}.", (b"\xff\x0a", b"\0\0\0\x0cjxl ")),
    OtherFormat("a JPEG 2000 picture", f"{_TO_JPEG}.", (b"\0\0\0\x0cjp  ", b"\xff\x4f\xff\x51")),
    OtherFormat("a zip", "Unpack it, and keep the pictures in it.", (b"pk\x03\x04",)),
)


def other_format(data: bytes) -> OtherFormat | None:
    """What a file is, by its first bytes, if it's one of OTHER_FORMATS; else None."""
    start = data[:400].lower()
    if start.lstrip().startswith(b"<?xml") and b"<svg" in start:
        start = start[start.index(b"<svg") :]
    for kind in OTHER_FORMATS:
        begin = start[kind.offset :] if kind.offset else start.lstrip(b"\xef\xbb\xbf \t\r\n")
        if begin.startswith(kind.starts):
            return kind
    return None
