"""From a bank to the model: whole batches, gathered as uint8, sent to the device, made into what the model takes
there."""

import torch

from . import augment, draws

EVALUATION_BATCH = 256


def training_batches(images, course, stage_number, epoch, augmented, first=0):
    """The batches of one epoch from its `first` image on: (images, labels) on the course's device, as `train_epoch`
    takes them.

    epoch: from 1. The order, and each image's augmentation, are pure functions of (seed, stage, epoch, image).
    """
    settings, device = course.settings, course.device
    order = torch.from_numpy(draws.order(settings.seed, stage_number, epoch, len(images)))
    for start in range(first, len(order), settings.batch_size):
        indices = order[start : start + settings.batch_size]
        labels = _send(images.labels[indices], device)
        pixels = _send(images.batch(indices), device)  # uint8 (B, side, side, 3)
        if augmented:
            yield (
                augment.augment_batch(
                    pixels, _augmentations(images, indices, course, stage_number, epoch), settings.size
                ),
                labels,
            )
        else:
            yield augment.plain_batch(pixels, settings.size), labels


def evaluation_batches(images, course, augmented=False):
    """All images in order, in large batches. Augmented: one fixed draw an image, which training never uses (epoch
    0)."""
    for indices in torch.arange(len(images)).split(EVALUATION_BATCH):
        labels = _send(images.labels[indices], course.device)
        pixels = _send(images.batch(indices), course.device)
        if augmented:
            yield (
                augment.augment_batch(pixels, _augmentations(images, indices, course, 0, 0), course.settings.size),
                labels,
            )
        else:
            yield augment.plain_batch(pixels, course.settings.size), labels


def _augmentations(images, indices, course, stage_number, epoch):
    samples = indices.numpy()  # NumPy takes a tensor of one index for a number, and a batch of one for no batch
    uniforms = draws.uniforms(course.settings.seed, stage_number, epoch, samples, augment.DRAWS)
    return _send(augment.draw_augmentations(uniforms, images.widths[samples], images.heights[samples]), course.device)


def _send(tensor, device):
    """To the device without waiting for it (pinned memory), or as it is where it lies there already."""
    if tensor.device.type == device.type:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
