"""Copies of a picture in a data set: an image that was trained on can't be measured on as well."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from course_lib.data.bank import CHUNK, Images


def pictures(images: Images) -> list[bytes]:
    """A digest of each image's pixels: copies of a picture have the same."""
    digests = []
    for part in torch.arange(len(images)).split(CHUNK):
        for pixels in images.batch(part).cpu().numpy():
            digests.append(hashlib.sha256(pixels.tobytes()).digest())
    return digests


def without_copies(images: Images, of: Images) -> Images:
    """The images whose pictures aren't among those `of` others; says how many are left out."""
    others = set(pictures(of))
    new = np.array([picture not in others for picture in pictures(images)], dtype=bool)
    if new.all():
        return images
    print(f"{np.count_nonzero(~new):,} images are copies of training images, so they're left out.")
    return images.subset(new)
