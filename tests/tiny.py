"""Models and images small enough that a test can train on them many times over."""

import itertools
import signal
from dataclasses import replace

import numpy as np
import torch
from torch import nn

from course_lib.data.bank import Images

EPOCHS, IMAGES, BATCH = (
    3,
    20,
    8,
)  # of the `short` course: three steps per epoch, the last of them smaller
STEPS = 9
_others = itertools.count()


def _built(build, seed):
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build()


def linear_model(seed=0):
    """A linear classifier of 48 averages; without BatchNorm, so an image's logits depend on that
    image alone."""
    return _built(
        lambda: nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 80)), seed
    )


def conv_model(seed=0):
    """What a checkpoint has to keep in small: a convolution, BatchNorm with its running statistics,
    a linear layer."""
    return _built(
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, bias=False),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 80),
        ),
        seed,
    )


def noise_images(count=IMAGES, side=32, seed=0):
    """`count` images of noise as a bank hands them out. Half are of the class that `conv_model`
    sees most often."""
    random = np.random.default_rng(seed)
    sides = np.full(count, side)
    return Images(
        torch.from_numpy(random.integers(0, 256, (count, side, side, 3), dtype=np.uint8)),
        torch.arange(count),
        torch.from_numpy(np.where(np.arange(count) % 2, random.integers(0, 80, count), 30)),
        sides,
        sides,
        [f"{i}.png" for i in range(count)],
        [f"class {i}" for i in range(80)],
    )


def at_step(model, step, action):
    """Call `action` as `model` begins its `step`-th training step (from 1); evaluations don't
    count."""
    steps = itertools.count(1)

    def before_forward(module, inputs):
        if module.training and next(steps) == step:
            action()

    model.register_forward_pre_hook(before_forward)
    return model


def press_stop():
    """Press ■: the notebook sends its kernel this signal."""
    signal.raise_signal(signal.SIGINT)


class Crash(Exception):
    """What no code expects, for a test that ends training at some point."""


def crash():
    raise Crash


def same_weights(first, second):
    """Are two models' weights and statistics the same, bit for bit?"""
    first, second = first.state_dict(), second.state_dict()
    return list(first) == list(second) and all(
        torch.equal(first[name], second[name]) for name in first
    )


def elsewhere(course, epochs=None, **changes):
    """The same course with an empty folder of its own; epochs: of each stage; changes: fields of
    Settings."""
    epochs = dict.fromkeys(course.epochs, epochs) if epochs else course.epochs
    folder = course.home / f"other-{next(_others)}"
    return replace(
        course, folder=folder, epochs=epochs, settings=replace(course.settings, **changes)
    )
