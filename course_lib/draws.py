"""Random numbers as a pure function of (seed, stage, epoch, sample): a run that goes on draws what it would have
drawn.

Every sample of every epoch has a counter-based generator of its own (Philox), so that nothing depends on the batch
around it, on the number of devices, on what was drawn before, or on the global random state. Source: ours (DESIGN:
randomness).
"""

import numpy as np

_ORDER, _AUGMENT = 0, 1  # two streams that never overlap


def _generator(seed, stage, epoch, sample, stream):
    # Philox counts upwards in the first word; the other words tell the samples, epochs and streams apart.
    return np.random.Generator(np.random.Philox(key=[seed, stage], counter=[0, sample, epoch, stream]))


def order(seed, stage, epoch, count):
    """The order in which an epoch visits `count` images: int64 (count,), a permutation of 0 … count − 1."""
    return _generator(seed, stage, epoch, 0, _ORDER).permutation(count)


def uniforms(seed, stage, epoch, samples, count):
    """`count` uniforms in [0, 1) for each of `samples` (indices of images): float64 (len(samples), count)."""
    return np.stack([_generator(seed, stage, epoch, int(sample), _AUGMENT).random(count) for sample in samples])
