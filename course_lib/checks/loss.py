"""The exercise that computes the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .verdict import Mistake, check, compare, examples, refuse

CLASSES = 80  # of the random logits, whatever your data has


@check
def cross_entropy(my_cross_entropy: Callable[[Tensor, Tensor], object]) -> str:
    """Check `my_cross_entropy(logits, labels)`: float (B, K), int64 (B,) → mean loss in nats."""
    random = examples()
    for size in (6, 1, 33, CLASSES):
        logits = 3 * torch.randn(size, CLASSES, generator=random)
        labels = torch.randint(CLASSES, (size,), generator=random)
        mine = logits.clone()
        answer = my_cross_entropy(mine, labels.clone())
        refuse(
            not torch.equal(mine, logits),
            "Your function changes the logits that it's given: avoid -=, and functions that end "
            "in _.",
        )
        compare(
            answer,
            F.cross_entropy(logits, labels),
            loss_mistakes(logits, labels),
            "average minus log p of the right classes",
        )
    for logits, labels in extreme_logits():
        try:
            answer = my_cross_entropy(logits.clone(), labels.clone())
        except OverflowError:  # of Python's own math.exp
            answer = math.inf
        hint = (
            f"with logits of {logits.min():.0f} to {logits.max():.0f}, exp overflows or becomes 0, "
            "so take the log-softmax directly, with logsumexp"
        )
        compare(answer, F.cross_entropy(logits, labels), [], hint)
    return "Your loss agrees with PyTorch's, even for a logit of 1000."


def loss_mistakes(logits: Tensor, labels: Tensor) -> Iterator[Mistake]:
    """What typical mistakes in the loss lead to."""
    right = F.cross_entropy(logits, labels)
    yield Mistake(
        F.cross_entropy(logits.softmax(1), labels),
        "That's softmax twice: the loss takes logits and needs only one log-softmax.",
    )
    yield Mistake(
        len(labels) * right,
        "That's the sum: take the mean, so that the loss doesn't grow with the batch.",
    )
    yield Mistake(
        right / CLASSES,
        "You divide by all logits of an image, too: each image has only one loss.",
    )
    yield Mistake(
        -right,
        "The sign is wrong: the logarithm of a probability is negative, so the loss is minus "
        "the mean.",
    )
    yield Mistake(
        F.nll_loss(logits.log_softmax(0), labels),
        "Take the softmax over the classes: dim=1.",
    )
    yield Mistake(F.nll_loss(logits.softmax(1), labels), "The logarithm is missing.")
    yield Mistake(
        F.nll_loss(logits, labels),
        "The softmax is missing: you average minus the logits of the right classes.",
    )
    yield Mistake(right / math.log(2), "That's in bits: take the natural logarithm, not log2.")
    yield Mistake(right / math.log(10), "That's log10: take the natural logarithm.")


def extreme_logits() -> Iterator[tuple[Tensor, Tensor]]:
    """Logits whose exp float32 can't hold, and labels."""
    large = torch.zeros(2, CLASSES)
    large[:, 0] = 1000
    yield large, torch.tensor([0, 1])  # losses of 0 and 1000
    mixed = torch.zeros(2, CLASSES)
    mixed[0, 0] = 1000
    yield mixed, torch.tensor([0, 1])  # the largest logit of all isn't that of each image
    yield torch.full((2, CLASSES), -1000.0), torch.tensor([0, 1])
