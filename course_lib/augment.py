"""The report's two transforms (1.E): image by image with torchvision, and for whole batches on the
model's device.

The report crops and resizes, normalises, flips, and then rotates to the nearest pixel, so the
corners a rotation leaves empty are 0 *after* normalisation: mid-grey. `augment_batch` does all of
that in one interpolation. The strength of each step is a setting; the defaults are the report's,
which are torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torchvision import transforms

from .data import draws
from .device import send
from .distributed import batch_end, ranks, share

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Stage

EVALUATION_BATCH = 256
# random numbers per image: 10 tries of (area, ratio, top, left), 2 flips, 1 angle, 1 for staying
# plain
DRAWS = 44
_RATIO, _TRIES = (3 / 4, 4 / 3), 10  # of a crop, as in torchvision


def plain_transform(size):
    """PIL image → float32 (3, size, size) in [-1, 1]: Resize, ToTensor, Normalize (report 1.E,
    1.F)."""
    return transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )


def augmented_transform(size):
    """PIL image → float32 (3, size, size) in [-1, 1]: the report's augmentation of one image
    (1.E)."""
    return transforms.Compose(
        [
            transforms.RandomResizedCrop((size, size)),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomVerticalFlip(),
            transforms.RandomRotation(90, expand=False),
        ]
    )


def plain_batch(images, size):
    """uint8 (B, S, S, 3) → float32 (B, 3, size, size) in [-1, 1], channels last; resized if S ≠
    size."""
    batch = images.permute(0, 3, 1, 2).float()
    if batch.shape[-1] != size:
        batch = F.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return batch.div_(127.5).sub_(1)


def draw_augmentations(uniforms, widths, heights, crop=0.08, flips=(0.5, 0.5), degrees=90, plain=0):
    """Decide what happens to each image of a batch.

    uniforms: float64 (B, DRAWS) in [0, 1). widths, heights: int (B,), pixels of the originals;
    crops are drawn in the original's geometry. crop, flips, degrees, plain: as in `Settings`.
    Returns float32 (B, 10), one row per image: left, top, width and height of the crop, width and
    height of the original (all in pixels of the original), horizontal and vertical flip (0 or 1),
    cosine and sine of the angle.
    """
    stays = uniforms[:, 43:] < plain  # (B, 1)
    whole = np.column_stack([0 * widths, 0 * heights, widths, heights])
    boxes = np.where(
        stays, whole, crop_boxes(uniforms[:, :40].reshape(-1, _TRIES, 4), widths, heights, crop)
    )
    flipped = (uniforms[:, 40:42] < flips) & ~stays
    angles = np.deg2rad(degrees * (2 * uniforms[:, 42] - 1)) * ~stays[:, 0]
    table = np.column_stack([boxes, widths, heights, flipped, np.cos(angles), np.sin(angles)])
    return torch.from_numpy(table.astype(np.float32))


def augment_batch(images, augmentations, size):
    """The report's augmentation of a whole batch, a different one for each image, in one
    interpolation (1.E).

    images: uint8 (B, S, S, 3), each original squeezed to S × S. augmentations: float32 (B, 10) from
    `draw_augmentations`, on the images' device. Returns float32 (B, 3, size, size) in [-1, 1]. A
    test compares this with torchvision, image by image.
    """
    # Where is each output pixel read from? We go backwards through the report's steps: rotation,
    # flips, resized crop. Horizontal and vertical values one above the other, (2, B, 1, 1), so that
    # one operation does both.
    start, length, original, flip, (cos, sin) = augmentations.T.reshape(5, 2, -1, 1, 1)
    # 1. Rotation about the centre, to the *nearest* pixel: torchvision's default, so pixel centres
    # are rounded.
    middle = (size - 1) / 2
    steps = torch.arange(size, dtype=torch.float32, device=augmentations.device) - middle
    across, down = torch.stack([cos, sin]) * steps, torch.stack([-sin, cos]) * steps[:, None]
    pixels = (across + (down + middle)).round_()  # (2, B, size, size)
    across_inside, down_inside = (pixels - middle).abs_() <= middle
    # 2. Flips: a mirrored pixel is counted from the other end. 3. Resized crop: into the box, where
    # the bank's squeezing cancels out. Both are linear, and so is the step to grid_sample's [-1, 1]
    # across the original.
    slope = (1 - 2 * flip) * length / size
    offset = ((size - 1) * flip + 0.5) * length / size + start
    grid = pixels.mul_(slope * 2 / original).add_(offset * 2 / original - 1)
    # Never past the box's outermost pixel centres.
    grid.clamp_((start + 0.5) * 2 / original - 1, (start + length - 0.5) * 2 / original - 1)
    batch = plain_batch(images, images.shape[1])
    batch = F.grid_sample(
        batch, grid.permute(1, 2, 3, 0), padding_mode="border", align_corners=False
    )  # bilinear
    return batch.mul_(
        (across_inside & down_inside).unsqueeze(1)
    )  # the corners a rotation leaves empty: 0, mid-grey


def crop_boxes(u, widths, heights, smallest=0.08):
    """Draw torchvision's RandomResizedCrop boxes for a batch (area 8–100%, aspect ratio 3/4–4/3;
    report 1.E).

    u: float64 (B, 10, 4) uniforms in [0, 1), ten tries per image. widths, heights: int (B,), pixels
    of the originals. smallest: area, as a share. Returns int64 (B, 4): left, top, width, height in
    pixels; the largest centred box if all tries fail.
    """
    W, H = (np.asarray(side)[:, None] for side in (widths, heights))  # (B, 1)
    area = W * H * (smallest + (1 - smallest) * u[..., 0])  # (B, 10)
    low, high = map(math.log, _RATIO)
    ratio = np.exp(low + (high - low) * u[..., 1])
    w, h = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    top, left = np.floor(u[..., 2] * (H - h + 1)), np.floor(u[..., 3] * (W - w + 1))
    fits = (0 < w) & (w <= W) & (0 < h) & (h <= H)
    tries = np.stack([left, top, w, h], axis=-1)  # (B, 10, 4)
    first_that_fits = tries[np.arange(len(u)), fits.argmax(1)]
    w, h = np.rint(np.minimum(W, H * _RATIO[1])), np.rint(np.minimum(H, W / _RATIO[0]))  # (B, 1)
    largest = np.hstack([(W - w) // 2, (H - h) // 2, w, h])
    return np.where(fits.any(1, keepdims=True), first_that_fits, largest).astype(np.int64)


class Batch(NamedTuple):
    """What the loop trains on in one step: this process's share of a batch."""

    images: torch.Tensor  # float32 (B, 3, S, S) in [-1, 1], on the model's device
    labels: torch.Tensor  # int64 (B,)
    total: int  # images of the whole batch, over all processes
    weight: (
        float  # of this share's mean loss in the average of all gradients; 1 if shares are equal
    )


def training_batches(
    images: Images, stage: Stage, epoch: int, augmented: bool, first: int = 0
) -> Iterator[Batch]:
    """The batches of one epoch, from its image number `first` on, on the model's device.

    epoch: from 1. augmented: as the settings say, or resize only. Each of several processes gets
    its share. Order and augmentation depend on (seed, stage, epoch, image) alone, so a run that
    resumes sees what it would have seen.
    """
    course = stage.course
    settings = course.settings
    order = torch.from_numpy(draws.order(settings.seed, stage.number, epoch, len(images)))
    draw = (stage.number, epoch) if augmented else None
    while first < len(images):
        end = batch_end(first, settings.batch_size, len(images))
        mine = share(order[first:end])
        total = end - first
        weight = len(mine) * ranks() / total
        yield Batch(*_batch(images, mine, course, draw), total, weight)
        first = end


def evaluation_batches(images, course, augmented=False):
    """All images in order, in large batches. Augmented: always the same draws, which training never
    uses (epoch 0)."""
    for indices in share(torch.arange(len(images))).split(EVALUATION_BATCH):
        yield _batch(images, indices, course, (0, 0) if augmented else None)


def _batch(images, indices, course, draw):
    """One batch. draw: stage and epoch of its augmentation, or None."""
    pixels, labels = (
        send(images.batch(indices), course.device),
        send(images.labels[indices], course.device),
    )
    if draw is None:
        return plain_batch(pixels, course.settings.size), labels
    return augment_batch(
        pixels, augmentations(images, indices, course, *draw), course.settings.size
    ), labels


def augmentations(images, indices, course, stage_number=0, epoch=0):
    """The augmentations of the images at `indices`: float32 (B, 10) on the device; training never
    uses epoch 0."""
    indices, how = np.asarray(indices), course.settings
    uniforms = draws.uniforms(how.seed, stage_number, epoch, indices, DRAWS)
    sides = images.widths[indices], images.heights[indices]
    return send(
        draw_augmentations(uniforms, *sides, how.crop, how.flips, how.degrees, how.plain),
        course.device,
    )
