"""From a bank to the model: whole batches, gathered as uint8, sent to the device, made into what the model takes
there."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from . import augment, draws
from .device import pinned, send
from .files import in_order

EVALUATION_BATCH = 256


def training_batches(images, course, stage_number, epoch, augmented, first=0):
    """The batches of one epoch from its `first` image on: (images, labels) on the course's device, as `train_epoch`
    takes them.

    epoch: from 1. The order, and each image's augmentation, are pure functions of (seed, stage, epoch, image).
    """
    order = torch.from_numpy(draws.order(course.settings.seed, stage_number, epoch, len(images)))
    chunks = order[first:].split(course.settings.batch_size) if first < len(order) else ()
    return _batches(images, chunks, course, (stage_number, epoch) if augmented else None)


def evaluation_batches(images, course, augmented=False):
    """All images in order, in large batches. Augmented: one fixed draw an image, which training never uses (epoch
    0)."""
    chunks = torch.arange(len(images)).split(EVALUATION_BATCH) if len(images) else ()
    return _batches(images, chunks, course, (0, 0) if augmented else None)


def augmentations(images, indices, course, stage_number=0, epoch=0):
    """What happens to the images at these positions in this epoch: float32 (B, 10) for `augment_batch`, on the course's
    device. Epoch 0 of stage 0 is never trained on."""
    indices = np.asarray(indices)  # NumPy takes a tensor of one index for a number, and a batch of one for no batch
    uniforms = draws.uniforms(course.settings.seed, stage_number, epoch, indices, augment.DRAWS)
    return send(augment.draw_augmentations(uniforms, images.widths[indices], images.heights[indices]), course.device)


def _batches(images, chunks, course, draw):
    """(images, labels) for each chunk of indices; `draw`: the stage and epoch of the augmentation, or None."""
    for indices, pixels in _gathered(images, chunks, course.device):
        labels = send(images.labels[indices], course.device)
        if draw:
            table = augmentations(images, indices, course, *draw)
            yield augment.augment_batch(pixels, table, course.settings.size), labels
        else:
            yield augment.plain_batch(pixels, course.settings.size), labels


def _gathered(images, chunks, device):
    """(indices, their pixels on `device`: uint8 (B, side, side, 3)) for each chunk.

    Pixels that lie elsewhere, in a memory-mapped file, are read and pinned by a thread that is up to three batches
    ahead, so that a slow disk is not waited for.
    """
    if images.pixels.device.type == device.type:
        for indices in chunks:
            yield indices, images.batch(indices)
    else:
        with ThreadPoolExecutor(1) as reader:
            read = in_order(reader, lambda indices: (indices, pinned(images.batch(indices), device)), chunks, ahead=3)
            for indices, pixels in read:
                yield indices, pixels.to(device, non_blocking=True)
