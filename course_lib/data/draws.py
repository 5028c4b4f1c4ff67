"""Random numbers as a pure function of (seed, stage, epoch, image): a resumed run draws what it
would have drawn.

Every image of every epoch has its own counter-based generator (Philox): nothing depends on the rest
of the batch, on the number of devices, on earlier draws, or on the global random state.
"""

import numpy as np


def order(seed, stage, epoch, count):
    """The order in which an epoch visits `count` images: int64 (count,), a permutation of 0 … count
    − 1."""
    return _generator(seed, stage, epoch, 0, stream=0).permutation(count)


def uniforms(seed, stage, epoch, samples, count):
    """`count` uniforms in [0, 1) for each of `samples` (indices of images): float64 (len(samples),
    count)."""
    return np.stack(
        [_generator(seed, stage, epoch, int(sample), stream=1).random(count) for sample in samples]
    )


def _generator(seed, stage, epoch, sample, stream):
    # Philox counts upwards in the first word; the other words tell samples, epochs and streams
    # apart.
    return np.random.Generator(
        np.random.Philox(key=[seed, stage], counter=[0, sample, epoch, stream])
    )
