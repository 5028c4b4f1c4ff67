"""The fused augmentation against torchvision, step by step as the report has them (1.E), on the
same draws."""

import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from tiny import elsewhere, noise_images
from torchvision import transforms
from torchvision.transforms import InterpolationMode, functional

from course_lib import (
    augment,
    augmentations,
    augmented_transform,
    distributed,
    plain_transform,
)
from course_lib.augment import evaluation_batches, training_batches
from course_lib.data import draws, shapes


def pictures(count, side):
    """Generated pictures, which have sharp edges and noise: uint8 (count, side, side, 3)."""
    random = np.random.default_rng(side)
    return torch.from_numpy(np.stack([shapes.draw(i * 7 % 80, side, random) for i in range(count)]))


def drawn(count, widths, heights, seed=0):
    """For `count` images: their uniforms, and what was made of them."""
    uniforms = draws.uniforms(seed, 3, 1, range(count), augment.DRAWS)
    widths, heights = np.full(count, widths), np.full(count, heights)
    return uniforms, augment.draw_augmentations(uniforms, widths, heights)


def decided(augmentations, i):
    """Image i's augmentation as torchvision's arguments: (top, left, height, width), flips,
    degrees."""
    left, top = augmentations.corner[i].int().tolist()
    width, height = augmentations.lengths[i].int().tolist()
    mirror, upside_down = augmentations.flips[i].bool().tolist()
    cosine, sine = augmentations.direction[i].tolist()
    degrees = math.degrees(math.atan2(sine, cosine))
    return (top, left, height, width), mirror, upside_down, degrees


def same(augmentations, others):
    """Whether all fields are equal, image by image."""
    return all(map(torch.equal, augmentations, others))


def normalised_flipped_rotated(image, mirror, upside_down, degrees):
    """The report's steps after the resized crop; image: float (3, S, S) in [0, 1]."""
    image = functional.normalize(image, [0.5] * 3, [0.5] * 3)
    image = functional.hflip(image) if mirror else image
    image = functional.vflip(image) if upside_down else image
    return functional.rotate(image, degrees, InterpolationMode.NEAREST, expand=False, fill=0)


def on_float_tensors(picture, augmentation, size):
    box, *rest = augmentation
    image = picture.permute(2, 0, 1).float() / 255
    image = functional.resized_crop(
        image, *box, [size, size], InterpolationMode.BILINEAR, antialias=False
    )
    return normalised_flipped_rotated(image, *rest)


def on_pil_images(picture, augmentation, size):
    box, *rest = augmentation
    image = functional.resized_crop(
        Image.fromarray(picture.numpy()), *box, [size, size], InterpolationMode.BILINEAR
    )
    return normalised_flipped_rotated(functional.to_tensor(image), *rest)


@pytest.mark.parametrize("side", [64, 63, 32])
@pytest.mark.parametrize("reference, bar", [(on_float_tensors, 1e-4), (on_pil_images, 0.004)])
def test_it_is_torchvisions_own_result(side, reference, bar):
    """64 square pictures at their own size: the bars of the course."""
    images, (_, augmentations) = pictures(64, side), drawn(64, side, side)
    found = augment.augment_batch(images, augmentations, side)
    expected = torch.stack(
        [reference(image, decided(augmentations, i), side) for i, image in enumerate(images)]
    )
    assert found.shape == (64, 3, side, side) and found.dtype == torch.float32
    assert (found - expected).abs().mean() <= bar
    assert (
        (found == 0).all(1) == (expected == 0).all(1)
    ).float().mean() > 0.9999  # the empty corners


@pytest.mark.parametrize(
    "width, height, side, size",
    [(96, 64, 64, 64), (50, 75, 64, 64), (64, 64, 96, 64), (33, 90, 48, 32)],
)
def test_every_pixel_is_read_where_torchvision_reads_it(width, height, side, size):
    """Where the original is not square, or the bank larger than the image: torchvision is asked for
    the place in the original that each pixel comes from, and the bank is read there, one pixel
    after the other."""
    images, (_, augmentations) = pictures(16, side), drawn(16, width, height)
    found = augment.augment_batch(images, augmentations, size)
    for i, (picture, image) in enumerate(zip(images, found)):
        box, mirror, upside_down, degrees = decided(augmentations, i)
        places = torch.stack(
            torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        )
        places = torch.cat(
            [places, torch.ones(1, height, width)]
        ).double()  # y, x, and 1 inside the image
        places = functional.resized_crop(
            places, *box, [size, size], InterpolationMode.BILINEAR, antialias=False
        )
        places = functional.hflip(places) if mirror else places
        places = functional.vflip(places) if upside_down else places
        y, x, inside = functional.rotate(places, degrees, InterpolationMode.NEAREST, fill=0)
        expected = read_between(
            picture, (x + 0.5) * side / width - 0.5, (y + 0.5) * side / height - 0.5
        )
        expected = (expected / 127.5 - 1) * inside[..., None]
        assert (image.permute(1, 2, 0) - expected).abs().mean() <= 1e-4


def read_between(picture, x, y):
    """Bilinear interpolation, written out; picture: (S, S, 3), x, y: places in pixels of it, any
    shape."""
    last = len(picture) - 1
    x, y = x.clamp(0, last), y.clamp(0, last)
    left, top = x.long().clamp(max=last - 1), y.long().clamp(max=last - 1)
    right_share, bottom_share = (x - left)[..., None], (y - top)[..., None]
    above = picture[top, left] * (1 - right_share) + picture[top, left + 1] * right_share
    below = picture[top + 1, left] * (1 - right_share) + picture[top + 1, left + 1] * right_share
    return above * (1 - bottom_share) + below * bottom_share


@pytest.mark.parametrize("width, height", [(96, 64), (64, 96), (100, 50)])
def test_originals_that_are_not_square_are_augmented_as_such(width, height):
    """The bank squeezes an original into a square first; what that costs is small beside another
    crop's difference."""
    originals = pictures(64, 100)[:, :height, :width]
    squeezed = [
        Image.fromarray(image.numpy()).resize((64, 64), Image.Resampling.BILINEAR)
        for image in originals
    ]
    images = torch.from_numpy(np.stack([np.array(image) for image in squeezed]))
    uniforms, augmentations = drawn(64, width, height)
    as_if_square = augment.draw_augmentations(uniforms, np.full(64, 64), np.full(64, 64))
    expected = torch.stack(
        [
            on_pil_images(original, decided(augmentations, i), 64)
            for i, original in enumerate(originals)
        ]
    )
    error = (augment.augment_batch(images, augmentations, 64) - expected).abs().mean()
    wrong = (augment.augment_batch(images, as_if_square, 64) - expected).abs().mean()
    assert error < 0.05 and wrong > 4 * error


@contextmanager
def replayed(uniforms):
    """Let torchvision's transforms draw these uniforms instead of random numbers, in the order of
    `DRAWS`.

    In double precision, so that no crop is a pixel wider for float32's rounding.
    """
    crops, places, flips = iter(range(20)), iter(range(2)), iter(uniforms[40:42])
    attempt = 0

    def uniform_(tensor, low, high):
        nonlocal attempt
        if (low, high) == (-90, 90):
            u = uniforms[42]
        else:  # a try's area, then its aspect ratio
            attempt, which = divmod(next(crops), 2)
            u = uniforms[4 * attempt + which]
        return tensor.fill_(float(low) + (float(high) - float(low)) * u)

    def randint(low, high, size):  # the top, then the left of the try that fits
        return torch.full(
            size, math.floor(low + (high - low) * uniforms[4 * attempt + 2 + next(places)])
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", uniform_)
        patch.setattr(torch, "randint", randint)
        patch.setattr(torch, "rand", lambda count: torch.full((count,), next(flips)))
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("side", [64, 45])
def test_the_readable_pipeline_draws_and_does_the_same(side):
    """`augmented_transform` with torchvision's own way to draw crop, flips and angle."""
    images, (uniforms, augmentations) = pictures(64, side), drawn(64, side, side, seed=4)
    found, expected = augment.augment_batch(images, augmentations, side), []
    for picture, numbers in zip(images, uniforms):
        with replayed(numbers):
            expected.append(augmented_transform(side)(Image.fromarray(picture.numpy())))
    assert (found - torch.stack(expected)).abs().mean() <= 0.004


def torchvisions_box(uniforms, width, height, smallest=0.08):
    with replayed(uniforms):
        image = torch.zeros(1).expand(3, height, width)
        top, left, box_height, box_width = transforms.RandomResizedCrop.get_params(
            image, [smallest, 1], [3 / 4, 4 / 3]
        )
    return [left, top, box_width, box_height]


sides = st.one_of(st.integers(1, 40), st.integers(41, 4000))
extreme_uniforms = st.lists(st.sampled_from([0, 0.5, 1 - 2**-53]), min_size=40, max_size=40).map(
    np.array
)
any_uniforms = st.one_of(
    extreme_uniforms,
    st.integers(0, 10**6).map(lambda sample: draws.uniforms(0, 3, 1, [sample], 40)[0]),
)


@given(any_uniforms, sides, sides)
@example(draws.uniforms(0, 3, 1, [0], 40)[0], 1, 1)
@example(draws.uniforms(0, 3, 1, [0], 40)[0], 1000, 10)
@example(draws.uniforms(0, 3, 1, [0], 40)[0], 9, 900)
def test_crops_are_torchvisions_and_lie_inside_the_image(uniforms, width, height):
    numbers = augment.Uniforms.of(np.append(uniforms, [0, 0, 0, 0])[None])
    found = augment.crop_boxes(numbers, [width], [height])
    assert found.corner.dtype == found.lengths.dtype == np.int64
    left, top = found.corner[0].tolist()
    box_width, box_height = found.lengths[0].tolist()
    assert [left, top, box_width, box_height] == torchvisions_box(uniforms, width, height)
    assert 0 <= left and 0 < box_width and left + box_width <= width
    assert 0 <= top and 0 < box_height and top + box_height <= height


def by_image(batches, order):
    """What `batches` give for each image: {position in its Images: float (3, S, S)}."""
    return dict(zip(order, torch.cat([batch.images for batch in batches])))


def batches_of(course, images, number=2, epoch=1, augmented=True, first=0):
    return list(training_batches(images, course.stage(number), epoch, augmented, first))


def test_an_images_draw_does_not_depend_on_the_batch_around_it(course):
    """In batches of 1 or 5, every image comes out as in a batch of 32."""
    images, order = noise_images(40), draws.order(0, 3, 2, 40)
    expected = by_image(batches_of(course, images, 3, 2), order)
    for size in (1, 5):
        found = by_image(batches_of(elsewhere(course, batch_size=size), images, 3, 2), order)
        assert len(found) == 40
        for position, image in found.items():
            torch.testing.assert_close(image, expected[position], rtol=0, atol=1e-6)


@given(
    count=st.integers(2, 70),
    batch=st.integers(1, 32),
    augmented=st.booleans(),
    skipped=st.integers(0, 10),
)
@example(count=33, batch=32, augmented=True, skipped=1)
@example(count=65, batch=32, augmented=True, skipped=1)
def test_an_epoch_that_resumes_sees_the_rest_of_itself_bit_for_bit(
    course, count, batch, augmented, skipped
):
    course, images = elsewhere(course, batch_size=batch), noise_images(count)
    whole = batches_of(course, images, augmented=augmented)
    sizes = [len(batch.labels) for batch in whole]
    assert sum(sizes) == count
    assert set(sizes[:-1]) <= {batch}
    rest = batches_of(course, images, augmented=augmented, first=sum(sizes[:skipped]))
    assert len(rest) == len(whole[skipped:])
    for expected, found in zip(whole[skipped:], rest):
        assert torch.equal(expected.images, found.images)
        assert torch.equal(expected.labels, found.labels)


@given(count=st.integers(2, 300), size=st.integers(1, 64), processes=st.sampled_from([1, 2, 4]))
@example(count=66, size=32, processes=1)
@example(count=640, size=32, processes=1)
def test_no_batch_is_much_smaller_than_the_others(count, size, processes):
    """A last one of two to four images wrecked batch norm's averages, and with them every answer.

    Where all batches are full, none is merged.
    """
    with process(0, processes):
        ends = [0]
        while ends[-1] < count:
            ends.append(distributed.batch_end(ends[-1], size, count))
    sizes = np.diff(ends)
    assert ends[-1] == count
    assert set(sizes[:-1]) <= {size}
    if len(sizes) > 1:
        assert size / 4 <= sizes[-1] and 2 * processes <= max(sizes[-1], size)
    assert sizes[-1] < max(1.25 * size, size + 2 * processes) + 1
    if count % size == 0 and size >= 2 * processes:
        assert set(sizes) == {size}


def test_other_epochs_stages_and_seeds_draw_anew(course):
    images, found = noise_images(8), []
    for seed, stage, epoch in [(0, 3, 1), (0, 3, 2), (0, 2, 1), (1, 3, 1)]:
        order = draws.order(seed, stage, epoch, 8)
        found.append(
            by_image(batches_of(elsewhere(course, seed=seed), images, stage, epoch), order)
        )
    for i, one in enumerate(found):
        for other in found[:i]:
            assert all(
                (one[position] - other[position]).abs().mean() > 0.05 for position in range(8)
            )


@contextmanager
def process(number, of):
    """Be the process with this number, as far as batches are concerned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.distributed, "is_initialized", lambda: True)
        patch.setattr(torch.distributed, "get_rank", lambda: number)
        patch.setattr(torch.distributed, "get_world_size", lambda: of)
        yield


@given(
    count=st.integers(8, 70), size=st.sampled_from([4, 8, 12]), processes=st.sampled_from([1, 2, 4])
)
@example(count=9, size=4, processes=4)  # shares of 2 and 1
def test_the_weighted_shares_add_up_to_the_whole_batch(course, count, size, processes):
    """The average over processes of weight · mean loss is the mean loss of the whole batch."""
    images, course = noise_images(count), elsewhere(course, batch_size=size)
    shares = []
    for number in range(processes):
        with process(number, processes):
            shares.append(batches_of(course, images))
    for step in zip(*shares, strict=True):
        total = sum(len(batch.labels) for batch in step)
        for batch in step:
            assert batch.total == total
            assert batch.weight / processes == pytest.approx(len(batch.labels) / total)
        if total % processes == 0:
            assert {batch.weight for batch in step} == {1.0}
    assert sum(batch.total for batch in shares[0]) == count


@pytest.mark.parametrize("augmented", [False, True])
def test_an_epoch_shows_every_image_once_with_its_label(course, augmented):
    images = noise_images(45)
    images.pixels[:] = torch.arange(45, dtype=torch.uint8)[
        :, None, None, None
    ]  # image i is of one colour, i
    batches = batches_of(course, images, augmented=augmented)
    middles = torch.cat([batch.images[:, 0, 16, 16] for batch in batches])
    colours = ((middles + 1) * 127.5).round().long().tolist()
    assert sorted(colours) == list(range(45)) != colours
    labels = torch.cat([batch.labels for batch in batches])
    assert torch.equal(labels, images.labels[colours])


@pytest.mark.parametrize("augmented", [False, True])
def test_a_device_that_does_not_hold_the_bank_is_sent_the_same_batches(course, augmented):
    """In order, from any image on; PyTorch's `meta` device knows the shapes only."""
    meta, images = replace(course, device=torch.device("meta")), noise_images(75)
    for first in (0, 64, 75):
        here, there = (
            batches_of(one, images, augmented=augmented, first=first) for one in (course, meta)
        )
        assert len(there) == len(here)
        for sent, expected in zip(there, here):
            assert sent.images.is_meta and sent.images.shape == expected.images.shape
            assert sent.labels.is_meta and sent.labels.shape == expected.labels.shape
            assert (sent.total, sent.weight) == (expected.total, expected.weight)


def test_the_augmentations_of_examples_are_the_ones_that_are_trained_on_if_you_name_their_epoch(
    course,
):
    images = noise_images(40)
    order = draws.order(0, 3, 2, 40)[:32]
    some = augmentations(images, order, course, 3, 2)
    for field in some:
        assert field.shape == (32, 2) and field.dtype == torch.float32
    found = augment.augment_batch(images.batch(order), some, 32)
    assert torch.equal(found, batches_of(course, images, 3, 2)[0].images)
    assert not same(augmentations(images, order, course), some)


def test_evaluation_always_sees_the_same_augmentation(course):
    images = noise_images(5)
    (first, labels), (again, _) = (
        next(evaluation_batches(images, course, augmented=True)) for _ in range(2)
    )
    assert torch.equal(first, again) and torch.equal(labels, images.labels)
    (training,) = batches_of(course, images, 3)
    for one in first:
        assert all((one - other).abs().mean() > 0.05 for other in training.images)


@pytest.mark.parametrize("side, size", [(64, 64), (96, 64), (32, 48)])
def test_the_plain_batch_is_the_plain_transform(side, size):
    images = pictures(8, side)
    expected = torch.stack(
        [plain_transform(size)(Image.fromarray(image.numpy())) for image in images]
    )
    found = augment.plain_batch(images, size)
    assert found.dtype == torch.float32 and found.is_contiguous(memory_format=torch.channels_last)
    assert (found - expected).abs().max() <= (
        1e-6 if side == size else 1.5 / 127.5
    )  # Pillow rounds to whole values


# --- Other settings than the report's
# -------------------------------------------------------------------------------


@pytest.mark.parametrize("smallest", [0.35, 0.9, 1.0])
def test_a_milder_crop_is_torchvisions_with_that_scale(smallest):
    uniforms = draws.uniforms(0, 3, 1, range(50), augment.DRAWS)
    found = augment.draw_augmentations(uniforms, np.full(50, 64), np.full(50, 48), crop=smallest)
    boxes = torch.hstack([found.corner, found.lengths])
    assert boxes.tolist() == [torchvisions_box(numbers, 64, 48, smallest) for numbers in uniforms]


@pytest.mark.parametrize("flips", [(0.5, 0), (0, 1), (0, 0)])
@pytest.mark.parametrize("degrees", [0, 15])
def test_flips_and_rotation_are_as_likely_and_as_large_as_asked_for(flips, degrees):
    uniforms = draws.uniforms(0, 3, 1, range(400), augment.DRAWS)
    sides = np.full(400, 64)
    found = augment.draw_augmentations(uniforms, sides, sides, flips=flips, degrees=degrees)
    assert found.flips.mean(0).tolist() == pytest.approx(flips, abs=0.08)
    cosine, sine = found.direction.double().T
    angles = torch.rad2deg(torch.atan2(sine, cosine)).abs()
    assert angles.max() <= degrees + 1e-4 and angles.max() >= 0.9 * degrees
    strong = augment.draw_augmentations(uniforms, sides, sides)
    assert same(found[:3], strong[:3])  # the crops stay the same


@pytest.mark.parametrize("how", [{"plain": 1}, {"crop": 1, "flips": (0, 0), "degrees": 0}])
def test_with_everything_off_an_augmented_image_is_the_plain_one(how):
    images, uniforms = pictures(16, 64), draws.uniforms(0, 3, 1, range(16), augment.DRAWS)
    drawn = augment.draw_augmentations(uniforms, np.full(16, 64), np.full(16, 64), **how)
    found = augment.augment_batch(images, drawn, 64)
    torch.testing.assert_close(found, augment.plain_batch(images, 64), atol=1e-4, rtol=0)


def test_a_share_of_the_images_stays_plain_and_the_others_are_augmented_as_ever(course):
    images, mixed = noise_images(200), elsewhere(course, plain=0.5)
    found = augmentations(images, range(200), mixed, 3, 1)
    strong = augmentations(images, range(200), course, 3, 1)
    whole = augment.Augmentations(
        corner=torch.tensor([0, 0]),
        lengths=torch.tensor([32, 32]),
        originals=torch.tensor([32, 32]),
        flips=torch.tensor([0, 0]),
        direction=torch.tensor([1, 0]),
    )
    stays = torch.hstack([field == value for field, value in zip(found, whole)]).all(1)
    assert 70 < stays.sum() < 130
    for field, expected in zip(found, strong):
        assert torch.equal(field[~stays], expected[~stays])


def test_another_device_gets_the_same_augmentations_in_one_copy(monkeypatch):
    _, augmentations = drawn(7, 50, 60)
    copies = []

    def send(tensor, device):
        copies.append(device)
        return tensor.clone()

    monkeypatch.setattr(augment, "send", send)
    found = augmentations.to(torch.device("cuda"))
    assert copies == [torch.device("cuda")]
    assert found._fields == augmentations._fields and same(found, augmentations)


def test_the_settings_reach_the_batches(course):
    images, off = noise_images(40), elsewhere(course, crop=1.0, flips=(0.0, 0.0), degrees=0.0)
    for found, expected in zip(
        training_batches(images, off.stage(3), 1, True),
        training_batches(images, off.stage(3), 1, False),
    ):
        torch.testing.assert_close(found.images, expected.images, atol=1e-4, rtol=0)
