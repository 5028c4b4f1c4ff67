"""Facts about each decoded image, and the messages about a data set that follow from them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import DataError, brief
from .deep_pixels import UNCLEAR, Scale, nearly_black
from .split import other_label

# Large published data sets have a few pictures with two labels: the first 80 classes of Tiny
# ImageNet 4 in 42,000. More than this share is a mistake.
TOLERATED = 1 / 1000


class ImageRow(NamedTuple):
    """An image of a data set, before it's decoded."""

    name: str
    label: int  # −1 if unknown
    number: int  # its row, counted from 0 in its part
    part: str  # "training", "validation" or "test"

    @property
    def place(self) -> str:
        """The image in words."""
        return f"{brief(self.name)} (row {self.number})"


class Facts(NamedTuple):
    """What a bank needs to know about an image besides its pixels."""

    width: int  # of the original, upright
    height: int
    was_transparent: bool
    scale: Scale | None  # of a picture of more than 8 bits
    file_digest: str  # hex SHA-256
    pixel_digest: bytes  # SHA-256 of the pixels in the bank


def report_whites(rows: list[ImageRow], facts: list[Facts]) -> None:
    """Print which value was taken for white in pictures that don't say so themselves."""
    for kind, words in UNCLEAR.items():
        scales = {}
        for row, image in zip(rows, facts):
            if image.scale is not None and image.scale.kind == kind:
                scales[row] = image.scale
        if not scales:
            continue
        highest = max(scales, key=lambda row: scales[row].brightest)
        print(
            f"{len(scales):,} of {len(rows):,} images have {words} values, which could have any "
            f"scale. White is {scales[highest].white:,g} in all of them, because the largest "
            f"value, in {highest.place}, is {scales[highest].brightest:,g}."
        )


def require_bright_images(rows: list[ImageRow], facts: list[Facts]) -> None:
    """Raise DataError if all images of more than 8 bits are nearly black; print how many are."""
    dark = []
    some_are_bright = False
    for row, image in zip(rows, facts):
        if image.scale is None:
            continue
        if image.scale.is_nearly_black:
            dark.append(row)
        elif image.scale.brightest > 0:
            some_are_bright = True
    if not dark:
        return
    if not some_are_bright:
        raise nearly_black(dark[0].place)
    print(
        f"{len(dark):,} of {len(rows):,} images are stored with more than 8 bits and are nearly "
        f"black, such as {dark[0].place}."
    )


def require_consistent_labels(
    rows: list[ImageRow], copies: list[int], classes: list[str], advice: str
) -> None:
    """Print how many pictures have several labels. Raises DataError if it's more than a few.

    copies: for each row, the first one with the same pixels. classes: their names. advice: a
    sentence to add to the error.
    """
    labels = np.array([row.label for row in rows])
    wrong = other_label(labels, np.array(copies))
    if len(wrong) == 0:
        return
    second = rows[wrong[0]]
    first = rows[copies[wrong[0]]]
    found = (
        f"{first.place}, class {brief(classes[first.label])}, and "
        f"{second.place}, class {brief(classes[second.label])}, are the same picture"
    )
    count = f"{len(wrong):,} of {len(rows):,} images show a picture that also has another class"
    if len(wrong) > TOLERATED * len(rows):
        raise DataError(f"{found}. Remove one of them, or correct its class. {count}. {advice}")
    print(f"{count}: {found}, for example.")


def report_leaks(labels: list[int], copies: list[int], training: int, validation: int) -> None:
    """Print how many labelled images of a part can also be found in an earlier part.

    labels, copies: one for each image, as in a bank's Contents. training, validation: how many of
    them, the first ones, are training images, and how many validation images follow.
    """
    first_test = training + validation
    parts = {
        "training": range(training),
        "validation": range(training, first_test),
        "test": range(first_test, len(labels)),
    }
    for part, earlier, so in (
        ("validation", "training", "there, accuracy says nothing about new images"),
        ("test", "training", "there, accuracy says nothing about new images"),
        ("test", "validation", "there, accuracy is no test of choices that were made on these"),
    ):
        seen = {copies[row] for row in parts[earlier]}
        leaked = [row for row in parts[part] if labels[row] >= 0 and copies[row] in seen]
        if leaked:
            print(
                f"{len(leaked):,} of {len(parts[part]):,} {part} images can also be found among "
                f"the {earlier} images: {so}."
            )


def report_transparency(rows: list[ImageRow], facts: list[Facts]) -> None:
    """Print how many images were transparent, and what became of them."""
    names = [row.name for row, image in zip(rows, facts) if image.was_transparent]
    if names:
        print(
            f"{len(names):,} of {len(rows):,} images have transparent parts, such as "
            f"{brief(names[0])}. They were put on white, or on black if white would hide them."
        )
