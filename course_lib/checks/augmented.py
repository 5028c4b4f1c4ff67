"""The exercise that augments images.

A right answer is random, too, so every limit below leaves it room. By chance, it's refused in fewer
than one of ten million checks: about 15 comparisons with `differs` and `is_not_half` may go wrong
with a probability of 1e-9 each; the smallest of 1,024 crops is larger than 9.5% with 1e-8, the
largest is smaller than 90% with 6e-10; and the largest angle is less than 88° with 3e-9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from PIL import Image
from torch import Tensor

from ..augment import plain_transform
from .seen import SIZE, Seen, differs, gradients, is_not_half, look, recorded_degrees, share
from .verdict import Wrong, check, compare, refuse

MyBatch: TypeAlias = Callable[[list[Image.Image], bool], Tensor]

SQUARE = (256, 256)  # width and height of an image
COPIES = 1024  # of the square image
OTHERS = [(256, 160), (160, 256)] * 16  # widths and heights of more images
FEW = 0.02  # a share of pictures that doesn't count


@check
def augmentation(my_batch: MyBatch) -> str:
    """Check `my_batch(images, training)`: PIL images → float32 (B, 3, 64, 64) in [-1, 1].

    Images are augmented only when training.
    """
    different = [gradients(SQUARE), gradients(OTHERS[0]), gradients(OTHERS[1])]
    heldout = as_batch(my_batch(different, False), len(different))
    hint = "held-out images are only resized and normalised, not augmented"
    compare(heldout, plain(different), [], hint, tolerance=0.05)

    images = [gradients(SQUARE)] * COPIES + [gradients(size) for size in OTHERS]
    with recorded_degrees() as degrees:
        pictures = as_batch(my_batch(images, True), len(images))
    seen = look(pictures)
    copies = Seen(*(quantity[:COPIES] for quantity in seen))
    require_normalised(pictures)
    require_a_draw_each(pictures[:COPIES], plain(different[:1]))
    require_crops_before_rotation(copies)
    require_nothing_else(copies)
    require_rotation(copies, degrees)
    require_grey_corners(pictures)
    require_flips(copies)
    require_crops(copies)
    require_crops_of_originals(seen)
    require_new_draws(my_batch, different)
    return (
        "Each training image has its own crop, flips and rotation with mid-grey corners; "
        "held-out images stay plain."
    )


def plain(images: list[Image.Image]) -> Tensor:
    """Images resized and normalised, (B, 3, 64, 64)."""
    transform: Any = plain_transform(SIZE)  # torchvision doesn't say what it returns
    return torch.stack([transform(image) for image in images])


def as_batch(answer: object, count: int) -> Tensor:
    """The answer, if it's a batch of this many pictures; raises Wrong otherwise."""
    refuse(answer is None, "Your function returns None: is a `return` missing?")
    if not isinstance(answer, Tensor):
        kind = type(answer).__name__
        raise Wrong(f"Return one tensor, not a {kind}: torch.stack the images.")
    batch = answer.detach().cpu().as_subclass(Tensor)
    shape = tuple(batch.shape)
    refuse(
        shape != (count, 3, SIZE, SIZE),
        f"Return (B, 3, {SIZE}, {SIZE}), not {shape}, for {count} images.",
    )
    refuse(batch.dtype != torch.float32, f"Return float32, not {batch.dtype}.")
    refuse(not batch.isfinite().all(), "Your pictures hold numbers that aren't finite.")
    return batch


# --- What has to be right


def require_normalised(pictures: Tensor) -> None:
    """Raise Wrong unless values range from -1 to 1."""
    low, high = pictures[:, :2].aminmax()
    refuse(
        low > -0.5 or low < -1.01 or high > 1.01,
        f"Training pictures range from {low:.2g} to {high:.2g}, not from -1 to 1: "
        "normalise them, once.",
    )


def require_a_draw_each(pictures: Tensor, unchanged: Tensor) -> None:
    """Raise Wrong if pictures of the same image are plain, or the same."""
    stay_plain = ((pictures - unchanged).abs().mean((1, 2, 3)) < 0.01).sum().item()
    refuse(
        stay_plain > FEW * len(pictures),
        f"{stay_plain} of {len(pictures)} training images stay plain: augment every one.",
    )
    different = len({picture.numpy().tobytes() for picture in pictures})
    refuse(
        different < 0.6 * len(pictures),
        "Copies of an image come out alike: each needs a draw of its own.",
    )


def require_crops_before_rotation(seen: Seen) -> None:
    """Raise Wrong if pictures are stretched after they were turned, so that right angles aren't."""
    refuse(
        share(seen.skew[seen.whole] > 0.05) > FEW,
        "The crop comes after the rotation, so it distorts the rotated picture: crop first.",
    )


def require_nothing_else(seen: Seen) -> None:
    """Raise Wrong if pictures are shrunk, or parts of the image changed."""
    area = (seen.width * seen.height)[seen.whole]
    refuse(
        share(area > 1.05) > 0,
        "Something shrinks pictures after the crop: leave expand=True out of the rotation.",
    )
    refuse(
        share(~seen.whole) > FEW,
        "You change more than place and size: leave colours as they are, and erase nothing.",
    )


def require_rotation(seen: Seen, degrees: list[float]) -> None:
    """Raise Wrong unless pictures are turned by -90° to 90°, all angles equally often.

    degrees: what RandomRotation was told, if it was used.
    """
    largest = seen.angle.abs().max().item()
    refuse(largest < 2, "Pictures aren't rotated: use RandomRotation(90).")
    refuse(
        any(abs(limit) > 90 for limit in degrees),
        f"RandomRotation turns pictures by {min(degrees, default=0):g}° to "
        f"{max(degrees, default=0):g}°, not by up to 90° in either direction: "
        "use RandomRotation(90).",
    )
    refuse(
        largest < 88,
        f"Pictures are rotated by up to {largest:.0f}°, not 90°: use RandomRotation(90).",
    )
    # If flips come after the rotation, a single one reverses its direction.
    mirrored = seen.flipped_across != seen.flipped_down
    for angles in (seen.angle[~mirrored], seen.angle[mirrored]):
        to_one_side = len(angles) > 0 and not 0.1 < share(angles > 0) < 0.9
        refuse(to_one_side, "Pictures are rotated in one direction only: use RandomRotation(90).")
        refuse(
            differs(angles, torch.linspace(-90, 90, 10_000)),
            "Not all angles from -90° to 90° are equally likely: use RandomRotation(90).",
        )


def require_grey_corners(pictures: Tensor) -> None:
    """Raise Wrong unless the corners that a rotation leaves empty are 0."""
    corners = pictures[:, 2, [0, 0, -1, -1], [0, -1, 0, -1]]  # (B, 4)
    empty = corners[corners < 0.9]
    refuse(len(empty) == 0, "Rotated pictures have no empty corners: fill them with 0.")
    fill = empty.median()
    refuse(fill.abs() > 1e-3, f"Corners are {fill:.1g}, not 0: rotate after Normalize.")


def require_flips(seen: Seen) -> None:
    """Raise Wrong unless every second picture is flipped, in each direction, independently."""
    across = share(seen.flipped_across)
    down = share(seen.flipped_down)
    both = share(seen.flipped_across == seen.flipped_down)
    count = len(seen.angle)
    refuse(
        is_not_half(across, count),
        f"{across:.0%} of the pictures are flipped horizontally, not half of them.",
    )
    refuse(
        is_not_half(down, count),
        f"{down:.0%} of the pictures are flipped vertically, not half of them.",
    )
    refuse(
        is_not_half(both, count),
        "Whether a picture is flipped vertically depends on whether it's flipped horizontally: "
        "draw two numbers.",
    )


def require_crops(seen: Seen) -> None:
    """Raise Wrong unless crops are distributed as RandomResizedCrop's."""
    area = seen.width * seen.height
    ratio = seen.width / seen.height
    low, high = area.aminmax()
    refuse(
        not 0.07 < low < 0.095 or high < 0.9,
        f"Crops show {low:.0%} to {high:.0%} of an image, not 8% to 100%.",
    )
    refuse(
        share((ratio - 1).abs() > 0.03) < 0.5,
        "Crops are square: their width is 3/4 to 4/3 of their height.",
    )
    right_area, right_ratio = usual_crops()
    refuse(
        differs(ratio, right_ratio),
        f"Crops are {ratio.min():.2f} to {ratio.max():.2f} times as wide as high, with another "
        "distribution than RandomResizedCrop's.",
    )
    refuse(
        differs(area, right_area),
        "Crops have another distribution of areas than RandomResizedCrop's.",
    )
    for place, side in ((seen.across, seen.width), (seen.down, seen.height)):
        refuse(
            differs(place[side < 0.8], torch.linspace(0, 1, 10_000)),
            "Not all places are equally likely for a crop.",
        )


def require_crops_of_originals(seen: Seen) -> None:
    """Raise Wrong if images that aren't square are squeezed before they're cropped."""
    widths, heights = torch.tensor(OTHERS).T
    ratio = seen.width[COPIES:] * widths / (seen.height[COPIES:] * heights)  # in pixels
    refuse(
        share((ratio < 0.7) | (ratio > 1.4)) > 0.1,
        "Crop the original, not a squeezed copy: an image that isn't square is distorted.",
    )


def require_new_draws(my_batch: MyBatch, images: list[Image.Image]) -> None:
    """Raise Wrong if a second call augments the same images in the same way."""
    first = as_batch(my_batch(images, True), len(images))
    second = as_batch(my_batch(images, True), len(images))
    refuse(
        torch.equal(first, second),
        "Each call augments images as the call before did, so every epoch sees the same pictures: "
        "don't seed inside my_batch.",
    )


def usual_crops() -> tuple[Tensor, Tensor]:
    """Areas and aspect ratios of RandomResizedCrop, of a square image of area 1.

    It draws an area and the logarithm of a ratio, and draws both again if the crop doesn't fit.
    """
    area = torch.linspace(0.08, 1, 500)[:, None]
    ratio = torch.linspace(math.log(3 / 4), math.log(4 / 3), 500).exp()
    fits = (area * ratio <= 1) & (area / ratio <= 1)  # squares of width and height
    return area.expand_as(fits)[fits], ratio.expand_as(fits)[fits]
