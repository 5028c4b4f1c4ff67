"""The exercise that tests a function: whether the test catches typical bugs."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import CourseError
from .verdict import Todo, Wrong, check, refuse

Batches: TypeAlias = list[tuple[Tensor, Tensor]]  # of outputs (B, K) and labels (B,)
Measure: TypeAlias = Callable[[Batches], tuple[float, float]]  # mean loss and accuracy

USUAL_BATCH = 32  # images per batch in the report


class Implementation(NamedTuple):
    """A function that a test is tried on, right or wrong."""

    function: Measure
    does: str  # what it does, after "an implementation that"
    remedy: str = ""  # what a test needs, so that it notices this bug


class Outcome(NamedTuple):
    """What came of a test of one implementation."""

    rejected: bool
    reason: str  # what the test says if it rejects it
    calls: int  # of the implementation
    returned: object  # by the test


@check
def catches_bugs(my_test: Callable[[Measure], object]) -> str:
    """Check `my_test(loss_and_accuracy)`: it rejects wrong implementations, and no right one.

    A test rejects an implementation by raising AssertionError.
    """
    refuse_rejecting_right_ones([try_on(my_test, each) for each in RIGHT])
    outcomes = [try_on(my_test, bug) for bug in BUGS]
    missed = [bug for bug, outcome in zip(BUGS, outcomes) if not outcome.rejected]
    if missed:
        refuse_testing_nothing(outcomes)
        caught = len(BUGS) - len(missed)
        raise Wrong(
            f"Your test catches {caught} of {len(BUGS)} bugs. An implementation that "
            f"{missed[0].does} passes it: {missed[0].remedy}."
        )
    refuse(
        any(try_on(my_test, each).rejected for each in RIGHT),
        "Your test rejects an implementation that it accepted before: it mustn't depend on chance, "
        "or on the calls before.",
    )
    return f"Your test catches all {len(BUGS)} bugs, and accepts different right implementations."


def try_on(my_test: Callable[[Measure], object], implementation: Implementation) -> Outcome:
    """Run a test on one implementation."""
    calls = 0
    returned = None
    reason = None

    def loss_and_accuracy(batches: Batches) -> tuple[float, float]:
        nonlocal calls
        calls += 1
        return implementation.function(list(batches))

    try:
        returned = my_test(loss_and_accuracy)
    except AssertionError as error:
        reason = " ".join(str(error).split())
    except (Todo, CourseError):
        raise
    except Exception as error:
        if implementation in RIGHT:
            raise
        raise Wrong(
            f"Given an implementation that {implementation.does}, your test raises "
            f"{type(error).__name__}. Use `assert`, which raises AssertionError."
        ) from None
    return Outcome(reason is not None, reason or "", calls, returned)


def refuse_rejecting_right_ones(outcomes: list[Outcome]) -> None:
    """Raise Wrong if a test rejects a right implementation; outcomes: of RIGHT, in order."""
    rejected = [outcome.rejected for outcome in outcomes]
    refuse(
        any(rejected) and not all(rejected),
        "Your test rejects a right implementation, and accepts another that differs from it only "
        "by rounding: don't compare floats with ==, but with math.isclose, say.",
    )
    reason = f" ({outcomes[0].reason})" if outcomes[0].reason else ""
    refuse(
        all(rejected),
        f"Your test rejects even a right implementation{reason}. Is what you expect right? And do "
        "you allow for rounding, with math.isclose, say?",
    )


def refuse_testing_nothing(outcomes: list[Outcome]) -> None:
    """Raise Wrong if a test doesn't call what it tests, or never asserts anything."""
    refuse(
        not any(outcome.calls for outcome in outcomes),
        "Your test never calls the function that it's given: call loss_and_accuracy(batches).",
    )
    returned = [outcome.returned for outcome in outcomes if outcome.returned is not None]
    if returned and not any(outcome.rejected for outcome in outcomes):
        kind = type(returned[0]).__name__
        raise Wrong(
            f"Your test returns a {kind}, which nobody looks at: a test says that something is "
            "wrong by raising AssertionError, so write `assert`."
        )


# --- Right implementations, which differ only by rounding


def add_up(batches: Batches) -> tuple[float, float]:
    """Add up all batches' losses and right answers, then divide by all images."""
    loss = sum(F.cross_entropy(*batch, reduction="sum").item() for batch in batches)
    images = sum(len(labels) for _, labels in batches)
    return loss / images, sum(map(right_answers, batches)) / images


def put_together(batches: Batches) -> tuple[float, float]:
    """Make one large batch of all."""
    outputs = torch.cat([outputs for outputs, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    loss = F.cross_entropy(outputs, labels).item()
    return loss, right_answers((outputs, labels)) / len(labels)


def with_more_digits(batches: Batches) -> tuple[float, float]:
    """Do the same as `add_up`, in float64."""
    return add_up([(outputs.double(), labels) for outputs, labels in batches])


def right_answers(batch: tuple[Tensor, Tensor]) -> int:
    """How many of a batch's images have their own class as the likeliest."""
    outputs, labels = batch
    return int((outputs.argmax(1) == labels).sum())


# --- Wrong ones


def fixed_divisors(batches: Batches) -> tuple[float, float]:
    """Divide by the report's numbers of batches and images."""
    return sum(mean_losses(batches)) / 1250, sum(map(right_answers, batches)) / 40_000


def percentage(batches: Batches) -> tuple[float, float]:
    """Return the accuracy as 85.7 instead of 0.857."""
    loss, accuracy = add_up(batches)
    return loss, 100 * accuracy


def full_batches(batches: Batches) -> tuple[float, float]:
    """Take each batch for one of 32 images."""
    loss, _ = add_up(batches)
    return loss, sum(map(right_answers, batches)) / (USUAL_BATCH * len(batches))


def without_smaller_last(batches: Batches) -> tuple[float, float]:
    """Leave out the last batch if it's smaller than the first, as `drop_last` does."""
    smaller = len(batches[-1][1]) < len(batches[0][1])
    return add_up(batches[:-1] if smaller else batches)


def mean_accuracy(batches: Batches) -> tuple[float, float]:
    """Average the batches' accuracies."""
    loss, _ = add_up(batches)
    shares = [(outputs.argmax(1) == labels).double().mean().item() for outputs, labels in batches]
    return loss, sum(shares) / len(shares)


def mean_loss(batches: Batches) -> tuple[float, float]:
    """Average the batches' losses."""
    _, accuracy = add_up(batches)
    return sum(mean_losses(batches)) / len(batches), accuracy


def loss_of_the_last(batches: Batches) -> tuple[float, float]:
    """Overwrite the loss with that of each batch."""
    _, accuracy = add_up(batches)
    return mean_losses(batches)[-1], accuracy


def first_32(batches: Batches) -> tuple[float, float]:
    """Count right answers among the first 32 images of each batch, but divide by all images."""
    loss, _ = add_up(batches)
    firsts = [(outputs[:USUAL_BATCH], labels[:USUAL_BATCH]) for outputs, labels in batches]
    images = sum(len(labels) for _, labels in batches)
    return loss, sum(map(right_answers, firsts)) / images


def mean_losses(batches: Batches) -> list[float]:
    """The mean loss of each batch."""
    return [F.cross_entropy(outputs, labels).item() for outputs, labels in batches]


RIGHT = (
    Implementation(add_up, "adds up, and divides once"),
    Implementation(put_together, "makes one batch of all"),
    Implementation(with_more_digits, "computes in float64"),
)
BUGS = (
    Implementation(
        fixed_divisors,
        "divides by 40,000 images, however many there are",
        "compare both results with those that you expect",
    ),
    Implementation(
        percentage,
        "returns a percentage",
        "compare the accuracy, with some answers right",
    ),
    Implementation(
        full_batches,
        f"divides by {USUAL_BATCH} times the number of batches",
        f"use a last batch that doesn't have {USUAL_BATCH} images, and compare the accuracy",
    ),
    Implementation(
        without_smaller_last,
        "leaves out the last batch if it's smaller",
        "use a last batch that's smaller, with other results than the rest",
    ),
    Implementation(
        mean_accuracy,
        "averages the batches' accuracies",
        "use a last batch that's smaller, with a larger or smaller share of right answers",
    ),
    Implementation(
        mean_loss,
        "averages the batches' losses",
        "use a last batch that's smaller, with another mean loss, and compare the loss",
    ),
    Implementation(
        loss_of_the_last,
        "returns the loss of the last batch alone",
        "use several batches whose losses differ, and compare the loss",
    ),
    Implementation(
        first_32,
        f"looks for right answers only among the first {USUAL_BATCH} images of a batch",
        f"use a batch of more than {USUAL_BATCH} images, with right answers at its end, too",
    ),
)
