"""Checks of the exercises: each prints one sentence, ✓ for right, ✗ for wrong and why, … for not
done yet.

`checks.accuracy(my_accuracy)` returns True, False or None, in the same order. A check tries your
answer on several random examples. If one comes out wrong, the check computes what typical mistakes
would give for it, and explains the mistake that your answer agrees with.
"""

from .accumulating import accumulation
from .augmented import augmentation
from .block import no_shortcut, res_block
from .choice import layers, separating_experiment
from .loss import cross_entropy
from .paired import paired_difference
from .seeing import receptive_field, temperature
from .shares import accuracy, colour_share
from .stopping import early_stopping
from .testing import catches_bugs
from .verdict import Todo

__all__ = [
    "Todo",
    "accumulation",
    "accuracy",
    "augmentation",
    "catches_bugs",
    "colour_share",
    "cross_entropy",
    "early_stopping",
    "layers",
    "no_shortcut",
    "paired_difference",
    "receptive_field",
    "res_block",
    "separating_experiment",
    "temperature",
]
