"""Sealed images: a part of the labelled images that nothing is measured on until you submit."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import DataError, brief
from .split import first_copies, split_training

if TYPE_CHECKING:
    from .bank import Bank, Images

FEWEST = 2  # sealed images: one says nothing


def seal(bank: Bank, seed: int) -> Bank:
    """The same data with some images sealed: they are in `sealed`, and in no other field.

    - If the data has validation images to make choices on, the labelled test images are sealed.
    - If it has only one of the two, half of them are sealed, of each class.
    - If it has neither, or a class has only one such image, one in ten training images of each
      class are sealed; the held-out images stay open.

    seed: of the draw. All copies of a picture go the same way. Raises DataError if fewer than two
    images would be sealed.
    """
    if bank.sealed is not None:
        return bank
    train = bank.train
    if not torch.equal(bank.validation.rows, bank.heldout.rows):
        opened = bank.validation
        sealed = bank.heldout
        split = "the validation images; the labelled test images are sealed"
    else:
        opened, sealed = _split(bank.heldout, seed, one_in=2)
        split = f"half of {bank.split}; the other half is sealed"
        if _are_from_training(bank) or _classes_in(sealed) < _classes_in(bank.heldout):
            opened = bank.heldout
            train, sealed = _split(bank.train, seed, one_in=10)
            split = f"{bank.split}; of the others, 1 in 10 of each class are sealed"
    if len(sealed) < FEWEST:
        raise DataError(
            f"{brief(bank.name)} has too few images: only {len(sealed)} could be sealed, and a "
            f"claim needs {FEWEST} or more. Add images."
        )
    test = bank.test
    if torch.equal(bank.test.rows, bank.heldout.rows):
        test = opened
    return replace(
        bank,
        train=train,
        validation=opened,
        heldout=opened,
        test=test,
        split=split,
        sealed=sealed,
    )


def _split(images: Images, seed: int, one_in: int) -> tuple[Images, Images]:
    """The images that are kept, and those that are drawn: of each class, `one_in` of them."""
    pictures = []
    for position in range(len(images)):
        pixels = images.batch([position]).cpu().numpy()
        pictures.append(hashlib.sha256(pixels.tobytes()).digest())
    copies = np.array(first_copies(pictures), dtype=np.int64)
    kept, drawn = split_training(images.labels.numpy(), copies, seed, one_in)
    return images.subset(kept), images.subset(drawn)


def _are_from_training(bank: Bank) -> bool:
    """Whether the held-out images were drawn from the training images, which come first."""
    return bool(bank.heldout.rows.min() < bank.train.rows.max())


def _classes_in(images: Images) -> int:
    """How many classes occur among the images."""
    return len(images.labels.unique())
