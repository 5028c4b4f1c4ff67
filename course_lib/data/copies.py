"""Copies: which images show the same picture."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

from ..errors import say_once

if TYPE_CHECKING:
    from .bank import Images

AT_ONCE = 1024  # images whose pixels are read together: memory stays flat


def pictures(images: Images) -> list[bytes]:
    """What each image shows: the SHA-256 of its pixels, the same for all copies of a picture."""
    digests = []
    for positions in torch.arange(len(images)).split(AT_ONCE):
        for pixels in images.batch(positions).cpu().numpy():
            digests.append(hashlib.sha256(pixels.data).digest())
    return digests


def report_overlap(images: Images, heldout: Images) -> None:
    """Say so if some of the images to measure on are trained on as well."""
    # Copies within a bank were reported when it was opened.
    if images.pixels is heldout.pixels:
        trained_on = set(images.rows.tolist())
        found = heldout.rows.tolist()
    else:
        trained_on = set(pictures(images))
        found = pictures(heldout)
    overlap = sum(picture in trained_on for picture in found)
    if overlap:
        say_once(
            f"{overlap:,} of {len(heldout):,} held-out images are trained on as well: accuracy on "
            "them says nothing about new images."
        )
