"""Pictures of more than 8 bits per channel as 8 bits, with black and white where they belong."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile
from PIL.TiffImagePlugin import TiffImageFile

from ..errors import DataError

# The values that can mean white where Pillow keeps more than 8 bits per channel.
WHITES = {
    "I;16": (65535,),  # PNG and TIFF: white is the largest value of 16 bits, by their standards
    "I": (1, 255, 65535),  # 32 bits: what programs put into them are masks, or 8 or 16 bits
    "F": (1, 255, 65535),  # floats: from 0 to 1 by convention, or whole numbers as above
}
# Those of several possible whites. One picture can't tell which: a dark one looks like one of
# fewer bits. The brightest picture of a data set tells it for all of them.
UNCLEAR = {"I": "32-bit", "F": "floating-point"}
OVERSHOOT = 2  # sharpened images have some values beyond white: up to so many times white
UNDERSHOOT = 0.1  # and some below black, down to this part of white

PHOTOMETRIC = 262  # the tag of a TIFF that says what its values mean
WHITE_IS_ZERO = 0  # for grey values: 0 is white

# A picture of more than 8 bits whose brightest value is at most this part of white is nearly
# black: probably, only 10, 12 or 14 of its 16 bits are used.
NEARLY_BLACK = 1 / 4

COLOUR = "colour"  # the kind of a picture in colour, of whose 16 bits Pillow keeps 8


class Scale(NamedTuple):
    """How the values of a picture of more than 8 bits were made into 8 bits."""

    kind: str  # a key of WHITES, or COLOUR
    brightest: float  # the picture's largest value
    white: float  # the value that means white

    @property
    def is_nearly_black(self) -> bool:
        """Whether the picture isn't black, but nearly so."""
        return 0 < self.brightest / self.white <= NEARLY_BLACK


def common_whites(scales: Iterable[Scale]) -> dict[str, float]:
    """The white of all pictures of each unclear kind, which is that of the brightest one.

    scales: of all pictures of a data set, each as it is alone.
    """
    whites: dict[str, float] = {}
    for scale in scales:
        if scale.kind in UNCLEAR:
            whites[scale.kind] = max(scale.white, whites.get(scale.kind, 0))
    return whites


def are_scaled_by(whites: Mapping[str, float], scales: Iterable[Scale]) -> bool:
    """Whether no picture has another white than `whites` says."""
    return all(scale.white == whites.get(scale.kind, scale.white) for scale in scales)


_RESCALE = (
    "Convert all images of the data set to 8 bits with the same scale, so that black becomes 0 and "
    "white 255."
)


def has_deep_colours(image: ImageFile.ImageFile) -> bool:
    """Whether the file of a colour picture has more than 8 bits per channel.

    Pillow keeps the upper 8. Only how it'll read the pixels still tells.
    """
    if image.mode.startswith(("I", "F")):  # grey, and all bits are kept
        return False
    if image.format == "PPM":
        arguments = image.tile[0][3]  # (mode, largest value), unless it's 1 bit or 8
        return isinstance(arguments, tuple) and arguments[1] > 255
    return ";16" in str(image.tile)


def eight_bits(
    image: ImageFile.ImageFile, name: str, whites: Mapping[str, float]
) -> tuple[Image.Image, Scale]:
    """A grey picture of 16 or 32 bits or floats as 8 bits (convert() would clip it), and its Scale.

    NaN and infinite values become black. whites: from `common_whites`; what isn't in it is told
    by this picture alone. Raises DataError if its scale can't be told.
    """
    values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
    brightest = float(values.max())
    kind = _kind(image)
    white = whites.get(kind) or _white(kind, brightest, name)
    darkest = float(values.min())
    if darkest < -UNDERSHOOT * white:
        raise DataError(
            f"{name} has values down to {darkest:,g}, and all below 0 would be black. {_RESCALE}"
        )
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = white - values
    # Slightly less than 256 for white, so that 16 bits lose exactly their lower 8.
    scaled = values * (65535 / 256 / white)
    grey = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    transparent_value = image.info.get("transparency")
    if isinstance(transparent_value, int):
        opaque = np.asarray(image) != transparent_value
        grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return grey, Scale(kind, brightest, white)


def _kind(image):
    """The key of WHITES for a grey picture."""
    is_scaled = image.format == "PPM" and image.mode == "I"  # by Pillow, to 16 bits
    if image.mode.startswith("I;16") or is_scaled:  # I;16B and I;16L differ in byte order
        return "I;16"
    return image.mode


def _white(kind, brightest, name):
    """The value that means white in a grey picture; black if 0 is white. Raises DataError."""
    possible = [white for white in WHITES[kind] if brightest <= white * OVERSHOOT]
    if not possible:
        raise DataError(
            f"{name} has values up to {brightest:,g}, which is more than 16 bits. {_RESCALE}"
        )
    return possible[0]


def nearly_black(name: str) -> DataError:
    """The error about a picture of more than 8 bits that is nearly black."""
    return DataError(
        f"{name} would be nearly black: its brightest value is less than a quarter of its format's "
        f"white, as if 10, 12 or 14 bits were stored in 16. {_RESCALE}"
    )
