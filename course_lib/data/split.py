"""Which images are trained on and which are held out, so that no picture is both."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from . import draws

if TYPE_CHECKING:
    from collections.abc import Sequence


def first_copies(pictures: Sequence[bytes]) -> list[int]:
    """For each picture, the position of the first that is the same: its own, if it's the first."""
    first: dict[bytes, int] = {}
    positions = []
    for position, picture in enumerate(pictures):
        if picture not in first:
            first[picture] = position
        positions.append(first[picture])
    return positions


def other_label(labels: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """The rows (int64) whose picture has been there before, under another label.

    labels: int64 (n,), −1 if unknown. copies: int64 (n,), what `first_copies` returned.
    """
    return np.flatnonzero((labels != labels[copies]) & (labels >= 0))


def split_training(
    labels: np.ndarray, copies: np.ndarray, seed: int, one_in: int = 10
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training images into those to train on and those to hold out, one in ten per class.

    All copies of a picture go the same way. One with several labels is never held out: no answer
    to it would be right. labels, copies: int64 (n,), as for `other_label`. one_in: another number
    than ten. Returns the rows of both, int64, sorted.
    """
    pictures = np.unique(copies)  # a row of each picture: the first one
    ambiguous = copies[other_label(labels, copies)]
    pictures = np.setdiff1d(pictures, ambiguous)
    order = draws.order(seed, 0, 0, len(pictures))
    drawn = pictures[held_out(labels[pictures], order, one_in)]
    is_held_out = np.isin(copies, drawn)
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def held_out(labels: np.ndarray, order: np.ndarray, one_in: int = 10) -> np.ndarray:
    """Draw one in ten images of each class, rounded up, but never a class's only image.

    one_in: another number than ten.

    labels: int64 (n,). order: int64 (n,), the shuffled positions 0 … n − 1; the first ones of each
    class are drawn. Returns their positions, int64, sorted.
    """
    drawn: list[int] = []
    for label in np.unique(labels):
        of_this_class = order[labels[order] == label]
        if len(of_this_class) > 1:
            drawn.extend(of_this_class[: math.ceil(len(of_this_class) / one_in)])
    return np.array(sorted(drawn), dtype=np.int64)
