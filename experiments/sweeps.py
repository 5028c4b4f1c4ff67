"""What notebooks 03 and 11 conclude from several seeds: sweeps over one thing at a time.

`make sweeps` runs them all on the course's images: learning rates, batch sizes and depths on five
batches; the network without its short-cut for as many epochs as stage 2, also with smaller learning
rates; how large its gradients are before training; and how accurate stage 3's network is on parts
of images. Everything is resumed if it was stopped.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from statistics import mean
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from course_lib import (
    CourseError,
    MyModel,
    evaluate,
    open_course,
    plain_block,
    res_block,
    trained_model,
    training_batches,
    trial,
)
from course_lib.data.bank import Images
from course_lib.distributed import batch_end
from course_lib.experiment import Course

from .stored import write_stored

SEEDS = 5
SHORTCUT_SEEDS = 3
FIVE_BATCHES_EPOCHS = 20
LEARNING_RATES = (0.1, 0.01, 0.001)
BATCH_SIZES = (16, 32, 64)
GROUPS = (2, 3, 4)  # how many of conv1 … conv5 are kept; all five is the baseline
RESCUES = (0.003, 0.001)  # learning rates at which the network without short-cut is tried again
CROP_AREAS = (1.0, 0.75, 0.5, 0.35, 0.2, 0.08)  # of a part, as a share of the image
CROPS = {  # how far right and down a part lies
    "centre": (0.5, 0.5),
    "top left": (0, 0),
    "top right": (1, 0),
    "bottom left": (0, 1),
    "bottom right": (1, 1),
}

History = list[dict[str, Any]]


def five_batches(course: Course, seed: int) -> dict[str, History]:
    """Histories of stage 1 with other learning rates, batch sizes and depths, for one seed.

    Batch sizes are compared after equally many steps, so the smaller ones take fewer epochs.
    """
    images = course.stage(1).images
    run = partial(trial, course, images, seed=seed)
    usual = course.settings.batch_size
    steps = FIVE_BATCHES_EPOCHS * steps_per_epoch(len(images), usual)
    runs = {}
    for rate in LEARNING_RATES:
        model = course.new_model(seed=seed)
        runs[f"lr {rate}"] = run(epochs=FIVE_BATCHES_EPOCHS, model=model, lr=rate)
    for size in BATCH_SIZES:
        epochs = max(1, steps // steps_per_epoch(len(images), size))
        model = course.new_model(seed=seed)
        runs[f"batches of {size}"] = run(epochs=epochs, model=model, batch_size=size)
    for groups in GROUPS:
        model = first_groups(course, groups, seed)
        runs[f"conv1–conv{groups}"] = run(epochs=FIVE_BATCHES_EPOCHS, model=model)
    return runs


def steps_per_epoch(images: int, batch_size: int) -> int:
    """How many batches an epoch of so many images has; a short rest joins the batch before it."""
    steps = 0
    end = 0
    while end < images:
        end = batch_end(end, batch_size, images)
        steps += 1
    return steps


def first_groups(course: Course, count: int, seed: int) -> nn.Module:
    """The network cut off after the first `count` of conv1 … conv5, with a new linear layer."""
    whole = course.new_model(seed=seed)
    assert isinstance(whole, MyModel)
    groups = [whole.conv1, whole.conv2, whole.conv3, whole.conv4, whole.conv5][:count]
    channels = (64, 128, 256, 512, 1024)[count - 1]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        linear = nn.Linear(channels, len(course.data.classes))
    return nn.Sequential(*groups, whole.pool, nn.Flatten(), linear)


def without_shortcut(course: Course, seed: int, rate: float) -> History:
    """The history of stage 2's epochs without the short-cut, at some learning rate.

    With the short-cut, stage 2 itself has trained for as long: its histories are in `seeds.json`.
    """
    return trial(
        course,
        course.data.train,
        epochs=course.epochs[2],
        model=course.new_model(seed=seed, block=plain_block),
        seed=seed,
        lr=rate,
    )


def relative_gradients(course: Course, block: type[res_block]) -> dict[str, list[float]]:
    """How large gradients are before training: {kind of layer: from the image to the logits}.

    Each is the norm of the gradient of a convolution's weights on the first batch, divided by the
    norm of those weights: the share by which a step with learning rate 1 would change them. Only
    layers of the same kind are compared, because their shapes are alike.
    """
    model = course.new_model(block=block).to(course.device)
    batch = next(training_batches(course.data.train, course.stage(2), epoch=1, augmented=False))
    F.cross_entropy(model(batch.images), batch.labels).backward()
    kinds: dict[str, list[float]] = {}
    for name, layer in model.named_modules():
        if not isinstance(layer, nn.Conv2d) or "shortway" in name or name.count(".") < 2:
            continue  # also the very first layer, which has no others of its kind
        kind = f"{layer.kernel_size[0]}×{layer.kernel_size[1]}, {name.split('.')[2]}"
        gradient = layer.weight.grad
        assert gradient is not None
        ratio = gradient.norm() / layer.weight.norm()
        kinds.setdefault(kind, []).append(ratio.item())
    return kinds


def accuracy_by_crop(course: Course) -> dict[str, dict[str, float]]:
    """Held-out accuracy of stage 3's network on parts of images, enlarged to the usual size.

    {where: {share of the image's area: accuracy}}, with "centre", and "corners": the mean of four.
    """
    model = trained_model(course, 3)
    accuracies: dict[str, dict[str, float]] = {"centre": {}, "corners": {}}
    for area in CROP_AREAS:
        found = {}
        for name, (right, down) in CROPS.items():
            images = cropped(course.data.heldout, area, right, down)
            found[name] = evaluate(model, images, course).accuracy
        accuracies["centre"][str(area)] = found.pop("centre")
        accuracies["corners"][str(area)] = mean(found.values())
    return accuracies


def cropped(images: Images, area: float, right: float, down: float) -> Images:
    """A part of each image, enlarged to the size of the image.

    area: its share of the image's area. right, down: where it lies, from 0 (left, top) to 1.
    """
    pixels = images.batch(torch.arange(len(images)))  # uint8 (n, side, side, 3)
    side = pixels.shape[1]
    part = max(1, round(side * math.sqrt(area)))
    left = round(right * (side - part))
    top = round(down * (side - part))
    parts = pixels[:, top : top + part, left : left + part].permute(0, 3, 1, 2)
    enlarged = F.interpolate(parts.float(), size=(side, side), mode="bilinear", antialias=True)
    enlarged = enlarged.round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    return replace(images, pixels=enlarged, rows=torch.arange(len(images)))


def run_all(course: Course, after_each: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Run all sweeps, the shortest first; returns a dict.

    shortcut: {learning rate: [history of each seed]}, all without the short-cut. gradients:
    {network: what `relative_gradients` returns}. five_batches: {run: [history of each seed]}.
    crops: what `accuracy_by_crop` returns. after_each: called with what was found so far.
    """
    found: dict[str, Any] = {"shortcut": {}, "gradients": {}, "five_batches": {}, "crops": {}}
    blocks = {"with the short-cut": res_block, "without": plain_block}
    for name, block in blocks.items():
        found["gradients"][name] = relative_gradients(course, block)
    for seed in range(SEEDS):
        for name, history in five_batches(course, seed).items():
            found["five_batches"].setdefault(name, []).append(history)
            report(f"five batches, {name}, seed {seed}", history)
        after_each(found)
    usual = course.settings.lr
    for seed in range(SHORTCUT_SEEDS):
        history = without_shortcut(course, seed, usual)
        found["shortcut"].setdefault(str(usual), []).append(history)
        report(f"without short-cut, seed {seed}", history)
        after_each(found)
    for rate in RESCUES:
        history = without_shortcut(course, 0, rate)
        found["shortcut"][str(rate)] = [history]
        report(f"without short-cut, learning rate {rate}", history)
        after_each(found)
    found["crops"] = accuracy_by_crop(course)
    after_each(found)
    return found


def report(name: str, history: History) -> None:
    """Print the mean loss of a run's last three epochs."""
    loss = mean(entry["loss"] for entry in history[-3:])
    print(f"{name}: loss {loss:.3f}", flush=True)


def main() -> None:
    """Run all sweeps, the shortest first, and store what there is after each."""
    try:
        course = open_course()
        run_all(course, lambda found: write_stored(course, "sweeps.json", found))
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
