"""Random numbers as a pure function of (seed, stage, epoch, image).

A resumed run draws what it would have drawn: every image of every epoch has its own counter-based
generator (Philox), and nothing depends on the rest of the batch, on the number of devices, on
earlier draws, or on the global random state.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def order(seed: int, stage: int, epoch: int, count: int) -> np.ndarray:
    """The order in which an epoch visits `count` images: a permutation of 0 … count − 1, int64."""
    return _generator(seed, stage, epoch, 0, stream=0).permutation(count)


def uniforms(seed: int, stage: int, epoch: int, samples: Iterable[int], count: int) -> np.ndarray:
    """`count` uniforms in [0, 1) for each of `samples`: float64 (len(samples), count).

    samples: indices of images.
    """
    drawn = []
    for sample in samples:
        drawn.append(_generator(seed, stage, epoch, int(sample), stream=1).random(count))
    return np.stack(drawn)


def seed_of_step(seed: int, stage: int, epoch: int, seen: int, process: int = 0) -> int:
    """A seed for PyTorch's own generators, for the step after `seen` images of an epoch.

    process: the number of the process, if several train together. Returns a whole number from 0 to
    2⁶³ − 1.
    """
    generator = _generator(seed, stage, epoch, seen, stream=2 + process)
    return int(generator.integers(2**63, dtype=np.uint64))


def _generator(seed, stage, epoch, sample, stream):
    """The generator of one image of one epoch.

    Philox counts upwards in the first word of its counter; the other words tell samples, epochs
    and streams apart.
    """
    philox = np.random.Philox(key=[seed, stage], counter=[0, sample, epoch, stream])
    return np.random.Generator(philox)
