"""course_lib/checks/stopping.py: right answers pass, and each typical mistake is explained."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_checks import judged, verdict

from course_lib import checks
from course_lib.checks import verdict as verdicts
from course_lib.checks.stopping import Training, kept_epoch

assert verdict  # a fixture


def stop(accuracies, patience, first=1, rises=lambda new, best: new > best, more=0):
    """Early stopping in a loop; with the last three arguments, a mistake can be made."""
    best = None
    kept = waited = 0
    for epoch, accuracy in enumerate(accuracies, start=first):
        if best is None or rises(accuracy, best):
            best = accuracy
            kept = epoch
            waited = 0
        else:
            waited += 1
            if waited >= patience + more:
                break
    return kept


def without_a_loop_variable(accuracies, patience):
    """By the definition: stop where the last `patience` epochs are no better than those before."""
    for end in range(patience + 1, len(accuracies) + 1):
        before = accuracies[: end - patience]
        if max(accuracies[end - patience : end]) <= max(before):
            return before.index(max(before)) + 1
    return accuracies.index(max(accuracies)) + 1


def with_a_while(accuracies, patience):
    kept = 0
    epoch = 0
    while epoch < len(accuracies) and epoch - kept <= patience:
        if accuracies[epoch] > accuracies[kept]:
            kept = epoch
        epoch += 1
    return kept + 1


def using_up_the_list(accuracies, patience):
    best = accuracies.pop(0)
    kept = epoch = 1
    while accuracies and epoch - kept < patience:
        epoch += 1
        accuracy = accuracies.pop(0)
        if accuracy > best:
            best, kept = accuracy, epoch
    return kept


@judged(
    [
        ("a loop", stop),
        ("by the definition", without_a_loop_variable),
        ("while", with_a_while),
        ("using up the list", using_up_the_list),
        ("a tensor", lambda *training: torch.tensor([stop(*training)])),
        ("NumPy", lambda *training: np.int64(stop(*training))),
        ("a float", lambda *training: float(stop(*training))),
    ]
)
def test_early_stopping_may_be_written_in_any_way(answer, verdict):
    assert verdict(checks.early_stopping, answer).startswith("✓")


def best_of_all(accuracies, patience):
    return accuracies.index(max(accuracies)) + 1


def stopped(accuracies, patience):
    """The epoch in which training stops."""
    kept = stop(accuracies, patience)
    return min(kept + patience, len(accuracies))


def equals_wait(accuracies, patience):
    """The last of equals, of which the later ones don't begin the waiting anew."""
    best = -1
    waited = 0
    for epoch, accuracy in enumerate(accuracies, start=1):
        waited += 1
        if accuracy > best:
            waited = 0
        if accuracy >= best:
            best = accuracy
            kept = epoch
        if waited == patience:
            break
    return kept


def than_the_one_before(accuracies, patience):
    waited = 0
    for epoch in range(1, len(accuracies)):
        waited = 0 if accuracies[epoch] > accuracies[epoch - 1] else waited + 1
        if waited == patience:
            accuracies = accuracies[: epoch + 1]
            break
    return best_of_all(accuracies, patience)


def in_total(accuracies, patience):
    """Doesn't begin anew with a rise."""
    kept = waited = 0
    for epoch, accuracy in enumerate(accuracies):
        if accuracy > accuracies[kept]:
            kept = epoch
        elif epoch > 0:
            waited += 1
        if waited == patience:
            break
    return kept + 1


def never_ending(accuracies, patience):
    kept = epoch = 0
    while epoch - kept < patience:
        epoch += 1
        if accuracies[epoch] > accuracies[kept]:
            kept = epoch
    return kept + 1


def only_if_it_stops(accuracies, patience):
    kept = stop(accuracies, patience)
    if kept + patience <= len(accuracies):
        return kept


def beginning_with_0(accuracies, patience):
    best = kept = 0
    for epoch, accuracy in enumerate(accuracies, start=1):
        if accuracy > best:
            best, kept = accuracy, epoch
        elif epoch - kept >= patience:
            break
    return kept


MISTAKES = [
    ("beginning with 0", beginning_with_0, "begin below 0"),
    ("from 0", lambda a, p: stop(a, p, first=0), "epoch 1"),
    ("best of all", best_of_all, "nobody knows"),
    ("the epoch it stops in", stopped, "in which training stops"),
    ("last of equals", lambda a, p: stop(a, p, rises=lambda new, best: new >= best), "keep the la"),
    ("last of equals, which wait", equals_wait, "keep the last"),
    ("too early", lambda a, p: stop(a, p, more=-1), "too early"),
    ("too late", lambda a, p: stop(a, p, more=1), "too late"),
    ("the one before", than_the_one_before, "epoch before"),
    ("in total", in_total, "from 0"),
    ("accuracy", lambda a, p: a[stop(a, p) - 1], "an accuracy"),
    ("two at once", lambda a, p: stop(a, p, first=0, more=1), "is kept, not"),
    ("always 1", lambda a, p: 1, "is kept, not"),
    ("nan", lambda a, p: float("nan"), "nan"),
    ("past the end", never_ending, "doesn't exist"),
    ("nothing if it never stops", only_if_it_stops, "return"),
    ("both", lambda a, p: (stop(a, p), max(a)), "2 numbers"),
    ("text", lambda a, p: str(stop(a, p)), "str"),
    ("a table", lambda a, p: {"epoch": stop(a, p)}, "dict"),
]


@judged(MISTAKES)
def test_a_mistake_in_early_stopping_is_explained(answer, word, verdict):
    line = verdict(checks.early_stopping, answer)
    assert line.startswith("✗") and word in line


@pytest.mark.parametrize("seed", range(1, 9))
def test_other_examples_give_the_same_verdicts(seed, verdict, monkeypatch):
    """`make grade` draws others."""
    monkeypatch.setattr(verdicts, "SEED", seed)
    for answer in (stop, without_a_loop_variable, with_a_while):
        assert verdict(checks.early_stopping, answer).startswith("✓")
    for _, answer, word in MISTAKES:
        line = verdict(checks.early_stopping, answer)
        assert line.startswith("✗") and word in line


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 4))
@example([2, 1, 3], 1)  # it stops just before a rise
@example([2, 1, 3], 2)
@settings(max_examples=300)
def test_ours_keeps_what_three_other_ways_keep(tenths, patience):
    accuracies = [number / 10 for number in tenths]
    kept = kept_epoch(Training(tuple(accuracies), patience))
    for other in (stop, without_a_loop_variable, with_a_while, using_up_the_list):
        assert other(list(accuracies), patience) == kept
