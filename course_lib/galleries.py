"""Galleries of the notebooks: some classes, a transform step by step, an image twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .augment import augment_batch, augmentations, plain_batch
from .captions import short_names
from .pictures import Picture
from .plots import plot_images, plot_predictions

if TYPE_CHECKING:
    from PIL import Image
    from torch import nn
    from torchvision.transforms import Compose

    from .data.bank import Images
    from .experiment import Course

LETTERS = 128  # that fit above a row of images
APART = 0.29  # of all classes lie between two that are shown: neighbours may look alike


def show_classes(images: Images, count: int, columns: int = 8) -> Picture:
    """Show the first images of some classes, one class per row, captioned at its left.

    count: of classes, as far apart in the order of their labels as fits; fewer if there are fewer.
    columns: images per class; fewer if no class has that many.
    """
    present: list[int] = images.labels.unique().tolist()
    widest = (len(present) - 1) // max(1, count - 1)  # or there wouldn't be `count` of them
    step = max(1, min(round(APART * len(present)), widest))
    shown = present[::step][:count]
    rows = [(images.labels == label).nonzero().flatten()[:columns] for label in shown]
    columns = max(len(row) for row in rows)
    white = torch.full_like(images.batch([0]), 255)  # fills up the rows of small classes
    names = short_names(images.classes, LETTERS // max(6, columns))
    pictures = []
    captions = []
    for label, row in zip(shown, rows):
        missing = columns - len(row)
        pictures += [images.batch(row), white.repeat(missing, 1, 1, 1)]
        captions += [names[label]] + [""] * (columns - 1)
    title = f"{len(shown)} of {len(present)} classes"
    return plot_images(torch.cat(pictures), captions, columns=columns, title=title)


def show_shapes(picture: Image.Image, transform: Compose) -> None:
    """Print what each step of a transform makes of a picture: its size, or its shape and range."""
    step: Any = picture
    for part in transform.transforms:
        step = part(step)
        name = type(part).__name__
        if isinstance(step, torch.Tensor):
            low, high = step.min(), step.max()
            print(f"{name:10} {tuple(step.shape)}, values from {low:+.2f} to {high:+.2f}")
        else:
            print(f"{name:10} a picture of {step.width} × {step.height} pixels")


def show_steps(picture: Image.Image, plain: Compose, augmented: Compose, seed: int = 3) -> Picture:
    """Show a picture, and what each random step of `augmented` makes of it, drawn with `seed`.

    plain: what prepares the picture itself, a tensor in [-1, 1]. The steps until `augmented` has
    made such a tensor, too, are shown as one. PyTorch's own random numbers stay as they are.
    """
    steps: list[Any] = [plain(picture)]  # tensors
    captions = ["the picture"]
    names = []  # of the steps that the next image shows
    step: Any = picture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for transform in augmented.transforms:
            step = transform(step)
            names.append(type(transform).__name__)
            if names[-1] in ("RandomResizedCrop", "ToTensor"):
                continue  # Normalize comes next
            steps.append(step)
            captions.append(names[0].removeprefix("Random"))
            names = []
    title = "One draw of the augmentation, step by step"
    return plot_images(torch.stack(steps), captions, title=title)


def show_plain_and_augmented(model: nn.Module, images: Images, course: Course) -> Picture:
    """Show images and, below them, what augmentation makes of them, with the model's predictions.

    images: up to six. The augmentation is that of the first epoch; the model is left in eval mode.
    """
    numbers = range(len(images))
    size = course.settings.size
    pixels = images.batch(numbers)
    drawn = augmentations(images, numbers, course)
    augmented = augment_batch(pixels.to(course.device), drawn, size).cpu()
    both = torch.cat([plain_batch(pixels, size), augmented])
    model.eval()
    with torch.inference_mode(), course.precision.autocast():
        probabilities = model(both.to(course.device)).float().softmax(1).cpu()
    labels = torch.cat([images.labels, images.labels])
    right = probabilities.argmax(1) == labels
    plain_right = right[: len(images)].sum()
    augmented_right = right[len(images) :].sum()
    title = (
        f"The same {len(images)} training images: {plain_right} right when plain,"
        f" {augmented_right} when augmented"
    )
    return plot_predictions(both, labels, probabilities, images.classes, title=title)


def show_predictions(images: Images, probabilities: torch.Tensor, count: int, seed: int) -> Picture:
    """Show some images, drawn with `seed`, with the likeliest class of each.

    images: n with known labels. probabilities: float (n, K). count: of those shown, if there are as
    many. The title says how many of all n are misclassified.
    """
    some = images.take(count, seed=seed)
    numbers = [images.names.index(name) for name in some.names]
    wrong = (probabilities.argmax(1) != images.labels).sum()
    return plot_predictions(
        some.batch(range(len(some))),
        some.labels,
        probabilities[numbers],
        images.classes,
        title=f"{wrong:,} of {len(images):,} held-out images are misclassified",
    )
