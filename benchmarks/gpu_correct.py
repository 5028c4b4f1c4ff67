"""The parts of `gpu.py` that ask whether a GPU computes what it should."""

from __future__ import annotations

import copy
import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import gpu_worker
import torch
import torch.nn.functional as F
from gpu_setup import NETWORKS, Effort, Row, at_most, precisions
from places import Place
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook
from torchvision.transforms import InterpolationMode, functional

from course_lib import (
    augment_batch,
    augmentations,
    get_model,
    plain_batch,
    predict,
    train,
    training_batches,
)
from course_lib.augment import Augmentations
from course_lib.device import Precision
from course_lib.device import place as move
from course_lib.experiment import Course
from course_lib.storage import checkpoints

CPU = torch.device("cpu")
FP32 = Precision("fp32", "cpu")
TIMES = 3  # how many times the CPU's error a GPU's may be
AUGMENTATION = 1e-4  # mean difference of pixels in [-1, 1]: the bar of tests/test_augment.py
PROBABILITIES = 0.05  # largest difference between two devices, in different precisions
LOSS = 0.05  # largest relative difference between two trainings of a few steps


def against_float64(place: Place, effort: Effort) -> Iterator[Row]:
    """Logits and gradients of a batch, against the same in float64 on the CPU.

    41 layers add up rounding errors, so a GPU may be as wrong as the CPU is in the same precision,
    TIMES as much at most. (In fp16, as in bf16: it has more digits, but CPUs are slow at it.)
    """
    indices = torch.arange(effort.batch)
    images = plain_batch(place.host_images.batch(indices), place.size.pixels)
    labels = place.host_images.labels[indices]
    model = get_model(NETWORKS[effort.network])
    exact = logits_and_gradients(copy.deepcopy(model).double(), images.double(), labels)
    for name in precisions(place.device):
        found = computed(model, images, labels, Precision(name, place.device.type))
        ours = errors(found, exact)
        like = "bf16" if name == "fp16" else name
        bars = errors(computed(model, images, labels, Precision(like, "cpu")), exact)
        yield at_most(f"logits in {name}, relative error", ours[0], TIMES * bars[0])
        yield at_most(f"gradients in {name}, relative error", ours[1], TIMES * bars[1])


def computed(
    model: nn.Module, images: Tensor, labels: Tensor, precision: Precision
) -> tuple[Tensor, Tensor]:
    """Logits and gradients of a copy of the model, as `train` computes them on a device."""
    device = torch.device(precision.device_type)
    model = move(copy.deepcopy(model), device)
    return logits_and_gradients(model, images.to(device), labels.to(device), precision)


def logits_and_gradients(
    model: nn.Module, images: Tensor, labels: Tensor, precision: Precision = FP32
) -> tuple[Tensor, Tensor]:
    """The logits, and the gradients of all parameters in one vector, in train mode."""
    with precision.autocast():
        logits = model(images)
        loss = F.cross_entropy(logits, labels)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return logits, torch.cat([gradient.flatten() for gradient in gradients])


def errors(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> tuple[float, float]:
    """The relative errors of logits and of gradients."""
    return error(found[0], exact[0]), error(found[1], exact[1])


def error(found: Tensor, exact: Tensor) -> float:
    """The length of the difference, relative to that of `exact`."""
    difference = found.detach().cpu().double() - exact
    return (difference.norm() / exact.norm()).item()


def against_torchvision(place: Place, effort: Effort) -> Iterator[Row]:
    """The augmentation of a batch on the device, against torchvision's, image by image."""
    size = place.size.pixels
    indices = torch.arange(len(place.host_images))[:64]
    decided = augmentations(place.images, indices.numpy(), place.course)
    found = augment_batch(place.images.batch(indices), decided, size).cpu()
    on_cpu = Augmentations(*(field.cpu() for field in decided))
    expected = []
    for number, picture in enumerate(place.host_images.batch(indices)):
        expected.append(by_torchvision(picture, on_cpu, number, size))
    difference = (found - torch.stack(expected)).abs().mean().item()
    yield at_most("augmentation, mean difference from torchvision", difference, AUGMENTATION)


def by_torchvision(picture: Tensor, decided: Augmentations, number: int, size: int) -> Tensor:
    """The report's augmentation (1.E) of one image, step by step. picture: uint8 (S, S, 3)."""
    left, top = decided.corner[number].int().tolist()
    width, height = decided.lengths[number].int().tolist()
    mirrored, upside_down = decided.flips[number].bool().tolist()
    cosine, sine = decided.direction[number].tolist()
    image = picture.permute(2, 0, 1).float() / 255
    image = functional.resized_crop(
        image, top, left, height, width, [size, size], InterpolationMode.BILINEAR, antialias=False
    )
    image = functional.normalize(image, [0.5] * 3, [0.5] * 3)
    if mirrored:
        image = functional.hflip(image)
    if upside_down:
        image = functional.vflip(image)
    degrees = math.degrees(math.atan2(sine, cosine))
    return functional.rotate(image, degrees, InterpolationMode.NEAREST, expand=False, fill=0)


def learning(place: Place, effort: Effort) -> Iterator[Row]:
    """In each precision, the loss of one batch falls if it's trained on again and again."""
    for name in precisions(place.device):
        course = new_course(place, f"gpu {name}", effort.steps, name)
        losses = [entry["loss"] for entry in fit(course, place, effort, effort.batch)]
        what = f"loss of one batch in {name}, {effort.steps} steps"
        yield Row(what, f"{losses[0]:.3f} → {losses[-1]:.3f}", "falls", losses[-1] < losses[0])


def overflow(place: Place, effort: Effort) -> Iterator[Row]:
    """In fp16, with a loss scale that's far too large: steps are skipped until it fits."""
    course = new_course(place, "gpu overflow", effort.steps, "fp16")
    done = []

    def too_large(precision: Precision) -> torch.amp.GradScaler:
        return torch.amp.GradScaler(precision.device_type, init_scale=effort.scale)

    counting = register_optimizer_step_post_hook(lambda *_: done.append(1))
    try:
        with patch.object(Precision, "scaler", too_large):
            loss = fit(course, place, effort, effort.batch)[-1]["loss"]
    finally:
        counting.remove()
    skipped = effort.steps - len(done)
    found = f"{skipped} of {effort.steps} steps skipped, last loss {loss:.3f}"
    right = 0 < skipped < effort.steps and 0 < loss < math.inf
    yield Row("overflow in fp16", found, "some skipped, not all", right)


def killed_and_resumed(place: Place, effort: Effort) -> Iterator[Row]:
    """A process dies in the middle of an epoch; `train` continues, as if nothing had happened."""
    count = 4 * effort.batch
    name = "gpu killed"
    new_course(place, name, 2)
    died = run_worker([], "die", name, place, effort)
    if died.returncode != gpu_worker.DIED:
        raise RuntimeError(
            f"The process that was to die ended with {died.returncode}:\n{died.stderr}"
        )
    course = place.course.experiment(name, epochs=2, batch_size=effort.batch)
    checkpoint = checkpoints.newest_good(course.stage(gpu_worker.STAGE).folder)
    if checkpoint is None:
        raise RuntimeError("The process that died left no checkpoint.")
    epoch, seen = checkpoints.position(checkpoint)
    resumed = fit(course, place, effort, count)
    whole = fit(new_course(place, "gpu whole", 2), place, effort, count)
    found = f"after epoch {epoch}, image {seen}; loss {resumed[-1]['loss']:.4f}"
    difference = abs(resumed[-1]["loss"] / whole[-1]["loss"] - 1)
    right = seen > 0 and len(resumed) == 2 and difference <= LOSS
    yield Row("killed and resumed", found, f"uninterrupted: {whole[-1]['loss']:.4f}", right)


def run_worker(
    launcher: list[str], what: str, name: str, place: Place, effort: Effort
) -> subprocess.CompletedProcess[str]:
    """Run `gpu_worker.py` in a process of its own, or in several."""
    script = Path(__file__).with_name("gpu_worker.py")
    command = [sys.executable, *launcher, str(script), what, name, effort.network]
    command += [str(place.size.pixels), str(effort.batch), str(place.folder)]
    return subprocess.run(command, capture_output=True, text=True)


def resident_or_not(place: Place, effort: Effort) -> Iterator[Row]:
    """Batches are the same bits, whether the images are on the device or sent batch by batch."""
    stage = place.course.stage(3)
    same = True
    kept = training_batches(place.images, stage, 1, True)
    sent = training_batches(place.host_images, stage, 1, True)
    for ours, theirs in zip(kept, sent, strict=True):
        same = same and torch.equal(ours.images, theirs.images)
        same = same and torch.equal(ours.labels, theirs.labels)
    found = "the same bits" if same else "different"
    yield Row("batches, images resident or not", found, "the same bits", same)


def to_the_cpu_and_back(place: Place, effort: Effort) -> Iterator[Row]:
    """A stage is continued on the CPU, then on the device again; both predict the same."""
    name = "gpu travels"
    count = 2 * effort.batch
    fit(new_course(place, name, 1), place, effort, count)
    devices = [CPU, place.device]
    answers = []
    for epochs, device in enumerate(devices, start=2):
        course = place.course.experiment(name, epochs=epochs, batch_size=effort.batch)
        if device == CPU:
            course = replace(course, device=CPU, precision=FP32)
        model = get_model(NETWORKS[effort.network])
        history = fit(course, place, effort, count, model)
        if len(history) != epochs:
            raise RuntimeError(f"{len(history)} epochs instead of {epochs} are in the history.")
    for device in devices:
        course = replace(place.course, device=device)
        if device == CPU:
            course = replace(course, precision=FP32)
        answers.append(predict(model, place.host_images, course))
    difference = (answers[0] - answers[1]).abs().max().item()
    what = "GPU → CPU → GPU, probabilities on both, largest difference"
    yield at_most(what, difference, PROBABILITIES)


def several(place: Place, effort: Effort) -> Iterator[Row]:
    """One epoch on all GPUs together, against the same on one of them."""
    processes = torch.cuda.device_count() if place.device.type == "cuda" else 2
    if processes == 1:
        yield Row("several GPUs", "not measured: there is one")
        return
    while effort.batch % processes:
        processes -= 1
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    name = "gpu several"
    new_course(place, name, 1)
    done = run_worker(launcher, "train", name, place, effort)
    if done.returncode:
        raise RuntimeError(f"{processes} processes failed:\n{done.stderr}")
    together = json.loads(done.stdout.splitlines()[-1])
    alone = fit(new_course(place, "gpu alone", 1), place, effort, 4 * effort.batch)[-1]["loss"]
    right = None  # without synchronised batch norm, it's another network
    if place.device.type == "cuda":
        right = abs(together / alone - 1) <= LOSS
    yield Row(f"{processes} processes, loss", f"{together:.4f}", f"one: {alone:.4f}", right)


def new_course(place: Place, name: str, epochs: int, precision: str = "") -> Course:
    """A run of its own that hasn't begun yet. precision: by default, the device's."""
    course = place.course.experiment(name, epochs=epochs, batch_size=place.plan.batch)
    course.start_over()
    if precision:
        course = replace(course, precision=Precision(precision, place.device.type))
    return course


def fit(
    course: Course, place: Place, effort: Effort, count: int, model: nn.Module | None = None
) -> list[dict[str, Any]]:
    """The history of a stage that's trained on `count` images, augmented."""
    model = model or get_model(NETWORKS[effort.network])
    images = place.host_images.take(count)
    stage = course.stage(gpu_worker.STAGE)
    unseen = io.StringIO()
    with redirect_stdout(unseen), redirect_stderr(unseen):
        return train(model, images, stage, augmented=True)
