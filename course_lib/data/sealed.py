"""Sealed images: a part of the labelled images that nothing is measured on until you submit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from ..errors import DataError, brief
from .copies import pictures
from .split import first_copies, split_training

if TYPE_CHECKING:
    from .bank import Bank, Images

FEWEST = 2  # sealed images: one says nothing


class Plan(NamedTuple):
    """One way to seal images."""

    train: Images
    opened: Images  # held out, and free to be measured on
    sealed: Images  # none of their pictures is in another field
    split: str  # where the held-out images come from, in words
    dropped: int = 0  # test images that are in no field: their pictures are in another part, too


def seal(bank: Bank) -> Bank:
    """The same data with some images sealed: their pictures are in `sealed`, and nowhere else.

    - If the data has validation images to make choices on, the labelled test images are sealed.
    - If it has only one of the two, or a class would have no sealed image, half of them are
      sealed, of each class.
    - If it has neither, or a class would still have none, one in ten training images of each class
      are sealed; the held-out images stay open.

    They are drawn with the bank's seed. A picture that is open isn't sealed. Of several copies, one
    is held out or sealed, so that each of these images is evidence of its own. Lines say how many
    images are left out. Raises DataError if fewer than two images would be sealed.
    """
    if bank.sealed is not None:
        return bank
    plan = _plan(bank)
    opened = _one_of_each(plan.opened)
    sealed = _one_of_each(plan.sealed)
    if len(sealed) < FEWEST:
        raise DataError(
            f"{brief(bank.name)} has too few pictures that are nowhere else: only {len(sealed)} "
            f"could be sealed, and a claim needs {FEWEST} or more. Add images."
        )
    if plan.dropped:
        print(
            f"{plan.dropped:,} of {len(bank.heldout):,} test images are left out, not sealed: "
            "their pictures are in another part, too."
        )
    copies = len(plan.opened) - len(opened) + len(plan.sealed) - len(sealed)
    if copies:
        print(f"{copies:,} copies of held-out images are left out: each picture counts once.")
    bank.hidden.update(dict.fromkeys(pictures(sealed), _side(sealed)))
    return replace(
        bank,
        train=plan.train,
        validation=opened,
        heldout=opened,
        test=bank.test if _tests_others(bank) else opened,
        split=plan.split,
        sealed=sealed,
    )


def require_open(images: Images, data: Bank) -> None:
    """Raise DataError if one of these images shows a picture that's sealed.

    data: of a course in which it's sealed, or that was opened together with such a course.
    """
    if not data.hidden or len(images) == 0:
        return
    side = _side(images)
    sides = sorted(set(data.hidden.values()))
    if side not in sides:
        raise DataError(
            f"These images have {side} × {side} pixels and the sealed ones {sides[0]} × "
            f"{sides[0]}, so nobody can tell whether some are sealed. Open them in that size."
        )
    found = []
    for name, picture in zip(images.names, pictures(images)):
        if picture in data.hidden:
            found.append(name)
    if found:
        raise DataError(
            f"{len(found):,} of {len(images):,} images, such as {brief(found[0])}, are sealed "
            "until you submit. Use the images of begin_project: project.data.train or .heldout."
        )


def _side(images: Images) -> int:
    """How many pixels wide and high the images are: a picture is another one in another size."""
    return images.pixels.shape[1]


def _plan(bank: Bank) -> Plan:
    """The first way to seal images that seals two or more, and some of each held-out class."""
    others = [bank.test] if _tests_others(bank) else []
    if not torch.equal(bank.validation.rows, bank.heldout.rows):
        sealed = _unseen(bank.heldout, [bank.train, bank.validation, *others])
        if _are_enough(sealed, bank):
            split = f"the validation images; {bank.split} are sealed"
            dropped = len(bank.heldout) - len(sealed)
            return Plan(bank.train, bank.validation, sealed, split, dropped)
    if not _are_from_training(bank):
        opened, sealed = _split(bank.heldout, [bank.train, *others], bank.seed, one_in=2)
        if _are_enough(sealed, bank):
            split = f"half of {bank.split}; the other half is sealed"
            return Plan(bank.train, opened, sealed, split)
    train, sealed = _split(bank.train, [bank.heldout, *others], bank.seed, one_in=10)
    split = f"{bank.split}; of the others, 1 in 10 of each class are sealed"
    return Plan(train, bank.heldout, sealed, split)


def _split(
    images: Images, others: Sequence[Images], seed: int, one_in: int
) -> tuple[Images, Images]:
    """The images that are kept, and those that are drawn: of each class, one in `one_in`.

    A picture that is among the others isn't drawn.
    """
    unseen = _unseen(images, others)
    copies = np.array(first_copies(pictures(unseen)), dtype=np.int64)
    _, drawn = split_training(unseen.labels.numpy(), copies, seed, one_in)
    sealed = unseen.subset(drawn)
    return _unseen(images, [sealed]), sealed


def _unseen(images: Images, others: Sequence[Images]) -> Images:
    """The images whose pictures aren't among the others."""
    seen: set[bytes] = set()
    for other in others:
        seen.update(pictures(other))
    return images.subset([i for i, picture in enumerate(pictures(images)) if picture not in seen])


def _one_of_each(images: Images) -> Images:
    """The first image of each picture."""
    return images.subset(sorted(set(first_copies(pictures(images)))))


def _tests_others(bank: Bank) -> bool:
    """Whether `result.csv` is written for other images than the held-out ones."""
    return not torch.equal(bank.test.rows, bank.heldout.rows)


def _are_from_training(bank: Bank) -> bool:
    """Whether the held-out images were drawn from the training images, which come first."""
    return bool(bank.heldout.rows.min() < bank.train.rows.max())


def _are_enough(sealed: Images, bank: Bank) -> bool:
    """Whether these images are two or more, and of as many classes as the held-out images."""
    classes = len(bank.heldout.labels.unique())
    return len(sealed) >= FEWEST and len(sealed.labels.unique()) == classes
