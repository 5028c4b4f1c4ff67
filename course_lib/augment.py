"""The report's two transforms (1.E): image by image with torchvision, and batch by batch.

The report crops and resizes, normalises, flips, and then rotates to the nearest pixel, so the
corners that a rotation leaves empty are 0 *after* normalisation: mid-grey. `augment_batch` does all
of that for a whole batch, on the model's device, in one interpolation. The strength of each step is
a setting; the defaults are the report's, which are torchvision's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import transforms

from .data import draws
from .device import send
from .distributed import batch_end, ranks, share

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .data.bank import Images
    from .experiment import Course
    from .stage import Stage

EVALUATION_BATCH = 256
CROP_TRIES = 10  # as in torchvision: if no crop fits by then, the largest centred one is taken
CROP_RATIOS = (3 / 4, 4 / 3)  # width / height of a crop, at least and at most; as in torchvision
DRAWS = 4 * CROP_TRIES + 4  # random numbers per image; `Uniforms` says what for


def plain_transform(size: int) -> transforms.Compose:
    """PIL image → float32 (3, size, size) in [-1, 1]: the report's, without augmentation (1.E)."""
    return transforms.Compose(
        [
            transforms.Resize((size, size)),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )


def augmented_transform(size: int) -> transforms.Compose:
    """PIL image → float32 (3, size, size) in [-1, 1]: the report's augmentation (1.E)."""
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


class Uniforms(NamedTuple):
    """An image's random numbers, by what they decide; float64 in [0, 1), one row per image."""

    area: np.ndarray  # (B, 10), of each try to crop
    ratio: np.ndarray  # (B, 10)
    top: np.ndarray  # (B, 10)
    left: np.ndarray  # (B, 10)
    flips: np.ndarray  # (B, 2), horizontal and vertical
    angle: np.ndarray  # (B, 1)
    stays: np.ndarray  # (B, 1), whether the image stays plain

    @classmethod
    def of(cls, numbers: np.ndarray) -> Uniforms:
        """Name the columns of `numbers`, float64 (B, DRAWS)."""
        tries = numbers[:, : 4 * CROP_TRIES].reshape(-1, CROP_TRIES, 4)
        others = numbers[:, 4 * CROP_TRIES :]
        return cls(
            area=tries[:, :, 0],
            ratio=tries[:, :, 1],
            top=tries[:, :, 2],
            left=tries[:, :, 3],
            flips=others[:, 0:2],
            angle=others[:, 2:3],
            stays=others[:, 3:4],
        )


class Boxes(NamedTuple):
    """A crop of each image, in pixels of the original."""

    corner: np.ndarray  # int64 (B, 2), left and top
    lengths: np.ndarray  # int64 (B, 2), width and height


class Augmentations(NamedTuple):
    """What happens to each image of a batch.

    Every field is float32 (B, 2): one row per image, horizontal before vertical. Lengths are in
    pixels of the originals.
    """

    corner: Tensor  # of the crop: left and top
    lengths: Tensor  # of the crop: width and height
    originals: Tensor  # width and height of the whole image
    flips: Tensor  # 1 if the image is flipped that way, else 0
    direction: Tensor  # cosine and sine of the angle

    def to(self, device: torch.device) -> Augmentations:
        """The same augmentations on `device`."""
        # Five small copies to a GPU take five times as long as one: send all fields together.
        packed = send(torch.cat(self, dim=1), device)  # (B, 10)
        return Augmentations(*packed.split(2, dim=1))


def plain_batch(images: Tensor, size: int) -> Tensor:
    """Resize and normalise a whole batch: `plain_transform`.

    images: uint8 (B, S, S, 3). Returns float32 (B, 3, size, size) in [-1, 1], channels last.
    """
    batch = images.permute(0, 3, 1, 2).float()
    if batch.shape[-1] != size:
        batch = F.interpolate(batch, (size, size), mode="bilinear", antialias=True)
    return batch.div_(127.5).sub_(1)


def augment_batch(images: Tensor, augmentations: Augmentations, size: int) -> Tensor:
    """The report's augmentation of a whole batch, a different one for each image (1.E).

    images: uint8 (B, S, S, 3), each original squeezed to S × S. augmentations: on the images'
    device. Returns float32 (B, 3, size, size) in [-1, 1]. A test compares this with torchvision,
    image by image.
    """
    # Where is each output pixel read from? We go backwards through the report's steps: rotation,
    # flips, resized crop. Horizontal and vertical coordinates lie in one tensor, (2, B, …), so that
    # one operation does both.
    corner = _over_pixels(augmentations.corner)  # (2, B, 1, 1), like the next three
    lengths = _over_pixels(augmentations.lengths)
    originals = _over_pixels(augmentations.originals)
    flips = _over_pixels(augmentations.flips)
    # 1. Rotation: (2, B, size, size), column and row of each pixel before it was rotated.
    pixels, inside = _before_rotation(augmentations.direction, size)
    # 2. Flips: a flipped pixel is counted from the other end,
    #        pixel → size − 1 − pixel
    # 3. Resized crop: pixel centres are spread over the box,
    #        pixel → (pixel + 0.5) · lengths / size + corner, in pixels of the original
    # 4. grid_sample's unit, which is the same for the original and its squeezed copy in the bank:
    #        position → position · 2 / originals − 1
    # All three are linear, so together they're one slope and one offset per image.
    slope = (1 - 2 * flips) * lengths / size
    offset = ((size - 1) * flips + 0.5) * lengths / size + corner
    grid = pixels.mul_(slope * 2 / originals).add_(offset * 2 / originals - 1)
    # Only the crop is resized: pixels beyond its border mustn't blend in.
    first = (corner + 0.5) * 2 / originals - 1
    last = (corner + lengths - 0.5) * 2 / originals - 1
    grid.clamp_(first, last)
    batch = F.grid_sample(
        plain_batch(images, images.shape[1]),
        grid.permute(1, 2, 3, 0),  # (B, size, size, 2)
        mode="bilinear",
        padding_mode="border",
        align_corners=False,
    )
    # The corners that a rotation leaves empty are 0: mid-grey.
    return batch.mul_(inside.unsqueeze(1))


def _over_pixels(pairs: Tensor) -> Tensor:
    """(B, 2) → (2, B, 1, 1), to compute with tensors of (2, B, size, size)."""
    return pairs.T[:, :, None, None]


def _before_rotation(direction: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Where each pixel was before it was rotated about the image's centre.

    direction: float32 (B, 2), cosine and sine of each angle. Returns the pixels' columns and rows,
    float32 (2, B, size, size), rounded to the *nearest* pixel, as torchvision does; and which of
    them lie inside the image, bool (B, size, size).
    """
    cosine, sine = _over_pixels(direction)  # (B, 1, 1) each
    middle = (size - 1) / 2
    steps = torch.arange(size, dtype=torch.float32, device=direction.device) - middle
    # column = middle + cos · x − sin · y,  row = middle + sin · x + cos · y
    across = torch.stack([cosine, sine]) * steps  # (2, B, 1, size), the terms with x
    down = torch.stack([-sine, cosine]) * steps[:, None]  # (2, B, size, 1), the terms with y
    pixels = (across + (down + middle)).round_()
    columns_inside, rows_inside = (pixels - middle).abs_() <= middle
    return pixels, columns_inside & rows_inside


def draw_augmentations(
    uniforms: np.ndarray,
    widths: ArrayLike,
    heights: ArrayLike,
    crop: float = 0.08,
    flips: tuple[float, float] = (0.5, 0.5),
    degrees: float = 90,
    plain: float = 0,
) -> Augmentations:
    """Decide what happens to each image of a batch; the result is on the CPU.

    uniforms: float64 (B, DRAWS) in [0, 1). widths, heights: int (B,), pixels of the originals;
    crops are drawn in the original's geometry. crop, flips, degrees, plain: as in
    `Settings`.
    """
    u = Uniforms.of(uniforms)
    originals = np.column_stack([widths, heights])  # (B, 2)
    box = crop_boxes(u, widths, heights, crop)
    stays = u.stays < plain  # (B, 1), for both columns of a pair
    corner = np.where(stays, 0, box.corner)
    lengths = np.where(stays, originals, box.lengths)
    flipped = (u.flips < flips) & ~stays
    angle = np.where(stays, 0, np.deg2rad(degrees * (2 * u.angle - 1)))  # (B, 1)
    direction = np.hstack([np.cos(angle), np.sin(angle)])
    fields = (corner, lengths, originals, flipped, direction)
    return Augmentations(*(torch.from_numpy(field.astype(np.float32)) for field in fields))


def crop_boxes(u: Uniforms, widths: ArrayLike, heights: ArrayLike, smallest: float = 0.08) -> Boxes:
    """Draw torchvision's RandomResizedCrop boxes (area 8–100%, aspect ratio 3/4–4/3; report 1.E).

    widths, heights: int (B,), pixels of the originals. smallest: area, as a share. Of an image's
    ten tries, the first that fits is taken; if none does, the largest centred box.
    """
    W = np.asarray(widths)[:, None]  # (B, 1), beside (B, 10) tries
    H = np.asarray(heights)[:, None]
    area = W * H * (smallest + (1 - smallest) * u.area)  # (B, 10), like the next five
    low, high = math.log(CROP_RATIOS[0]), math.log(CROP_RATIOS[1])
    ratio = np.exp(low + (high - low) * u.ratio)
    w = np.rint(np.sqrt(area * ratio))
    h = np.rint(np.sqrt(area / ratio))
    top = np.floor(u.top * (H - h + 1))
    left = np.floor(u.left * (W - w + 1))
    fits = (0 < w) & (w <= W) & (0 < h) & (h <= H)
    image = np.arange(len(fits))
    first = fits.argmax(axis=1)  # the first try that fits; 0 if none does
    corner = np.column_stack([left[image, first], top[image, first]])
    lengths = np.column_stack([w[image, first], h[image, first]])
    largest = _largest_boxes(W, H)
    any_fits = fits.any(axis=1, keepdims=True)  # (B, 1), beside pairs
    return Boxes(
        np.where(any_fits, corner, largest.corner).astype(np.int64),
        np.where(any_fits, lengths, largest.lengths).astype(np.int64),
    )


def _largest_boxes(W: np.ndarray, H: np.ndarray) -> Boxes:
    """The largest centred boxes of a permitted aspect ratio, whole numbers. W, H: int (B, 1)."""
    w = np.rint(np.minimum(W, H * CROP_RATIOS[1]))
    h = np.rint(np.minimum(H, W / CROP_RATIOS[0]))
    return Boxes(np.hstack([(W - w) // 2, (H - h) // 2]), np.hstack([w, h]))


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
    resumes sees what it would have seen. The last batch may be smaller or larger than the others:
    see `batch_end`.
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


def evaluation_batches(
    images: Images, course: Course, augmented: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """All images in order, in large batches, each with its labels, on the model's device.

    augmented: always with the same draws, which training never uses (epoch 0).
    """
    draw = (0, 0) if augmented else None
    for indices in share(torch.arange(len(images))).split(EVALUATION_BATCH):
        yield _batch(images, indices, course, draw)


def _batch(
    images: Images, indices: Tensor, course: Course, draw: tuple[int, int] | None
) -> tuple[Tensor, Tensor]:
    """One batch and its labels. draw: stage and epoch of its augmentation, or None."""
    size = course.settings.size
    pixels = send(images.batch(indices), course.device)
    labels = send(images.labels[indices], course.device)
    if draw is None:
        return plain_batch(pixels, size), labels
    stage_number, epoch = draw
    decided = augmentations(images, indices, course, stage_number, epoch)
    return augment_batch(pixels, decided, size), labels


def augmentations(
    images: Images, indices: ArrayLike, course: Course, stage_number: int = 0, epoch: int = 0
) -> Augmentations:
    """The augmentations of the images at `indices`, on the device; training never uses epoch 0."""
    indices = np.asarray(indices)
    settings = course.settings
    decided = draw_augmentations(
        draws.uniforms(settings.seed, stage_number, epoch, indices, DRAWS),
        images.widths[indices],
        images.heights[indices],
        crop=settings.crop,
        flips=settings.flips,
        degrees=settings.degrees,
        plain=settings.plain,
    )
    return decided.to(course.device)
