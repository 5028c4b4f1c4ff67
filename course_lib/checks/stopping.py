"""The exercise on early stopping: which epoch's weights are kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch

from .verdict import Wrong, as_tensor, check, examples, refuse

Stop: TypeAlias = Callable[[list[float], int], object]

EXAMPLES = 300
LONGEST = 16  # epochs
MOST_PATIENT = 4  # epochs


class Training(NamedTuple):
    """An example: validation accuracies, one per epoch, and how many epochs are waited for more."""

    accuracies: tuple[float, ...]
    patience: int


class Habit(NamedTuple):
    """A typical mistake: the epoch it leads to, and the sentence that explains it."""

    epoch: Callable[[Training], float]
    sentence: str


@check
def early_stopping(my_stop: Stop) -> str:
    """Check `my_stop(accuracies, patience)`: the epoch whose weights early stopping keeps.

    accuracies: on validation images, one per epoch; epochs count from 1. patience: 1 or more.
    """
    trainings = [*FIRST, *random_trainings(examples())]
    answers = {training: epoch_of(my_stop, training) for training in trainings}
    wrong = [training for training in trainings if answers[training] != kept_epoch(training)]
    if not wrong:
        refuse(
            epoch_of(my_stop, BEGINS_AT_0) != kept_epoch(BEGINS_AT_0),
            "A first accuracy of 0, as of a new network, isn't above yours at the start, though "
            "it's the best so far: begin below 0.",
        )
        return "You keep the best epoch before the end, and the first one of equals."
    telling = [training for training in trainings if training.patience > 1]
    for habit in HABITS:
        refuse(
            all(answers[training] == habit.epoch(training) for training in telling),
            habit.sentence,
        )
    first = wrong[0]
    raise Wrong(
        f"With accuracies {list(first.accuracies)} and patience {first.patience}, epoch "
        f"{kept_epoch(first)} is kept, not {answers[first]:g}: training stops once so many in a "
        "row aren't above the best so far."
    )


def epoch_of(my_stop: Stop, training: Training) -> float:
    """Your answer for one training. Raises Wrong if it isn't a number, or if the list ends."""
    accuracies = list(training.accuracies)
    try:
        answer = as_tensor(my_stop(accuracies, training.patience))
    except IndexError:
        raise Wrong(
            f"You look for an epoch that doesn't exist, of {len(training.accuracies)}: training "
            "may also end because there are no more epochs."
        ) from None
    refuse(
        answer.numel() != 1,
        f"You return {answer.numel()} numbers: only the epoch is asked for.",
    )
    return answer.item()


# --- The right answer, and typical mistakes


def kept_epoch(training: Training) -> int:
    """The best epoch before early stopping ends a training, the first of equals."""
    return best_of_the_first(training, last_epoch(training))


def last_epoch(training: Training) -> int:
    """The epoch after which early stopping ends a training."""
    best = float("-inf")
    waited = 0
    for epoch, accuracy in enumerate(training.accuracies, start=1):
        waited += 1
        if accuracy > best:
            best = accuracy
            waited = 0
        if waited == training.patience:
            return epoch
    return len(training.accuracies)


def best_of_the_first(training: Training, epochs: int) -> int:
    """The first of the best among so many epochs."""
    accuracies = training.accuracies[:epochs]
    return accuracies.index(max(accuracies)) + 1


def last_of_equals(training: Training) -> int:
    """The last of the best among those before the end."""
    accuracies = training.accuracies[: last_epoch(training)]
    return len(accuracies) - accuracies[::-1].index(max(accuracies))


def equal_is_a_rise(training: Training) -> int:
    """The same, if an accuracy that equals the best so far begins the waiting anew."""
    best = float("-inf")
    kept = 0
    for epoch, accuracy in enumerate(training.accuracies, start=1):
        if accuracy >= best:
            best = accuracy
            kept = epoch
        elif epoch - kept == training.patience:
            break
    return kept


def with_other_patience(training: Training, more: int) -> int:
    """What is kept by someone who waits for more epochs, or for fewer."""
    return kept_epoch(training._replace(patience=training.patience + more))


def above_the_epoch_before(training: Training) -> int:
    """What is kept if an accuracy above that of the epoch before begins the waiting anew."""
    before = float("-inf")
    waited = 0
    for epoch, accuracy in enumerate(training.accuracies, start=1):
        waited = 0 if accuracy > before else waited + 1
        before = accuracy
        if waited == training.patience:
            return best_of_the_first(training, epoch)
    return best_of_the_first(training, len(training.accuracies))


def not_in_a_row(training: Training) -> int:
    """What is kept if all epochs without a rise count, not only those in a row."""
    best = float("-inf")
    waited = 0
    for epoch, accuracy in enumerate(training.accuracies, start=1):
        waited += accuracy <= best
        best = max(best, accuracy)
        if waited == training.patience:
            return best_of_the_first(training, epoch)
    return best_of_the_first(training, len(training.accuracies))


LAST_OF_EQUALS = (
    "Of equal accuracies, you keep the last: an epoch that only equals the best so far isn't a "
    "rise, so compare with >, not >=."
)
HABITS = (
    Habit(
        lambda training: kept_epoch(training) - 1,
        "You count epochs from 0: the first one is epoch 1.",
    ),
    Habit(
        lambda training: best_of_the_first(training, len(training.accuracies)),
        "You choose from all epochs, even those after training has stopped: nobody knows their "
        "accuracies.",
    ),
    Habit(last_epoch, "That's the epoch in which training stops: the best one before is kept."),
    Habit(last_of_equals, LAST_OF_EQUALS),
    Habit(equal_is_a_rise, LAST_OF_EQUALS),
    Habit(
        lambda training: with_other_patience(training, -1),
        "You stop one epoch too early: with patience 3, the third epoch without a rise is the "
        "last.",
    ),
    Habit(
        lambda training: with_other_patience(training, 1),
        "You stop one epoch too late: with patience 3, the third epoch without a rise is the last.",
    ),
    Habit(
        above_the_epoch_before,
        "You compare with the epoch before: compare with the best epoch so far.",
    ),
    Habit(
        not_in_a_row,
        "You count all epochs without a rise: after each rise, start again from 0.",
    ),
    Habit(
        lambda training: max(training.accuracies[: last_epoch(training)]),
        "That's an accuracy: return the number of its epoch.",
    ),
)


# --- Examples

FIRST = (
    Training((0.3, 0.5, 0.4, 0.45, 0.6), 2),
    Training((0.3, 0.5, 0.4, 0.5, 0.6), 2),
    Training((0.2, 0.4, 0.3, 0.5, 0.4, 0.6), 2),
    Training((0.1, 0.2, 0.3), 2),
    Training((0.5, 0.4, 0.3, 0.2), 3),
    Training((0.4, 0.4, 0.4), 4),
    Training((0.7,), 1),
    Training((0.5, 0.5001, 0.4, 0.4, 0.6), 2),
)
BEGINS_AT_0 = Training((0.0, 0.0, 0.1), 2)


def random_trainings(random: torch.Generator) -> list[Training]:
    """Accuracies that rise ever more slowly, with noise; in percent, so that some are equal."""
    trainings = []
    for _ in range(EXAMPLES):
        epochs = int(torch.randint(1, LONGEST + 1, (), generator=random))
        patience = int(torch.randint(1, MOST_PATIENT + 1, (), generator=random))
        noise = 0.02 * torch.randn(epochs, generator=random)
        accuracies = 0.5 - 0.2 * torch.exp(-torch.arange(epochs) / 4) + noise
        trainings.append(Training(tuple(round(each, 2) for each in accuracies.tolist()), patience))
    return trainings
