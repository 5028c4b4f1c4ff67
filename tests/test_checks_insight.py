"""The checks of notebook 13: right answers pass, and each typical mistake is explained."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_checks import judged, verdict

from course_lib import checks
from course_lib.checks import verdict as verdicts
from course_lib.checks.seeing import random_windows
from course_lib.insight import best_temperature

assert verdict  # a fixture


def field(windows, first=1, own_stride_first=False, shrinking=1, strides=True):
    side = first
    step = 1
    for kernel, stride in windows:
        if own_stride_first:
            step *= stride
        side += (kernel - shrinking) * step
        if strides and not own_stride_first:
            step *= stride
    return side


def backwards(windows):
    """The receptive field from the last layer to the image: another right way."""
    side = 1
    for kernel, stride in reversed(windows):
        side = (side - 1) * stride + kernel
    return side


@judged(
    [
        ("forwards", field),
        ("backwards", backwards),
        ("a tensor", lambda windows: torch.tensor([field(windows)])),
        ("a float", lambda windows: float(field(windows))),
        ("using up the list", lambda windows: field([windows.pop(0) for _ in windows[:]])),
    ]
)
def test_the_receptive_field_may_be_computed_in_any_way(answer, verdict):
    assert verdict(checks.receptive_field, answer).startswith("✓")


@judged(
    [
        ("own stride", lambda windows: field(windows, own_stride_first=True), "own stride"),
        ("no strides", lambda windows: field(windows, strides=False), "strides out"),
        ("from 0", lambda windows: field(windows, first=0), "one short"),
        ("k instead of k − 1", lambda windows: field(windows, shrinking=0), "k − 1"),
        ("reversed", lambda windows: field(windows[::-1]), "wrong end"),
        ("area", lambda windows: field(windows) ** 2, "its side"),
        ("something else", lambda windows: 5.5, "(kernel − 1) · step"),
    ]
)
def test_a_mistake_in_the_receptive_field_is_explained(answer, word, verdict):
    line = verdict(checks.receptive_field, answer)
    assert line.startswith("✗") and word in line


@pytest.mark.parametrize("seed", range(1, 9))
def test_other_examples_give_the_same_verdicts(seed, verdict, monkeypatch):
    """`make grade` draws others; then, a mistake may agree with another one, but not pass."""
    monkeypatch.setattr(verdicts, "SEED", seed)
    assert verdict(checks.receptive_field, field).startswith("✓")
    assert verdict(checks.temperature, by_search).startswith("✓")
    for mistake in ({"own_stride_first": True}, {"first": 0}, {"shrinking": 0}, {"strides": False}):
        line = verdict(checks.receptive_field, lambda windows, m=mistake: field(windows, **m))
        assert line.startswith("✗")
    for mistake in (inverse, of_probabilities, lambda *data: 1.0):
        assert verdict(checks.temperature, mistake).startswith("✗")


@given(count=st.integers(1, 6), seed=st.integers(0, 99))
def test_examples_tell_a_layers_own_stride_from_those_before_it(count, seed):
    windows = random_windows(count, torch.Generator().manual_seed(seed))
    assert len(windows) == count
    assert field(windows) != field(windows, own_stride_first=True)


def by_search(logits, labels, lowest=0.2, highest=5):
    temperatures = torch.linspace(lowest, highest, 97)
    losses = [F.cross_entropy(logits / temperature, labels) for temperature in temperatures]
    return temperatures[torch.stack(losses).argmin()]


def by_descent(logits, labels):
    log_temperature = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([log_temperature], max_iter=50)

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits / log_temperature.exp(), labels)
        loss.backward()
        return loss

    optimizer.step(step)
    return log_temperature.exp()


def inverse(logits, labels):
    return 1 / best_temperature(logits, labels)


def of_probabilities(logits, labels):
    return best_temperature(logits.softmax(1), labels)


@judged(
    [
        ("a search", by_search),
        ("a coarse search", lambda x, y: round(best_temperature(x, y) * 20) / 20),
        ("gradient descent", by_descent),
        ("a Python number", best_temperature),
    ]
)
def test_a_temperature_may_be_found_in_any_way(answer, verdict):
    assert verdict(checks.temperature, answer).startswith("✓")


@judged(
    [
        ("inverse", inverse, "1 / T"),
        ("probabilities", of_probabilities, "before the softmax"),
        ("nothing", lambda x, y: 1.0, "changes nothing"),
        ("above 1 only", lambda x, y: by_search(x, y, lowest=1), "smaller ones"),
        ("loss", lambda x, y: F.cross_entropy(x / best_temperature(x, y), y), "smallest loss"),
        ("all of them", lambda x, y: torch.linspace(1, 2, 5), "shape"),
        ("nan", lambda x, y: float("nan"), "nan"),
    ]
)
def test_a_mistake_in_the_temperature_is_explained(answer, word, verdict):
    line = verdict(checks.temperature, answer)
    assert line.startswith("✗") and word in line


@given(factor=st.floats(1.3, 3))
@settings(max_examples=5)
def test_a_temperature_that_is_far_off_does_not_pass(factor):
    for wrong in (factor, 1 / factor):
        assert checks.temperature(lambda x, y, w=wrong: w * best_temperature(x, y)) is False


def matches_confidence(logits, labels):
    """The temperature at which mean confidence and accuracy are equal: another criterion."""
    accuracy = (logits.argmax(1) == labels).float().mean()
    temperatures = torch.linspace(0.1, 5, 491)
    confidence = [(logits / t).softmax(1).amax(1).mean() for t in temperatures]
    return temperatures[(torch.stack(confidence) - accuracy).abs().argmin()]


def best_brier_score(logits, labels):
    right = F.one_hot(labels, logits.shape[1]).float()
    temperatures = torch.linspace(0.1, 5, 491)
    scores = [((logits / t).softmax(1) - right).square().sum(1).mean() for t in temperatures]
    return temperatures[torch.stack(scores).argmin()]


def in_half_steps(logits, labels):
    return round(2 * best_temperature(logits, labels)) / 2


@pytest.mark.parametrize("answer", [matches_confidence, best_brier_score, in_half_steps])
def test_only_the_smallest_loss_makes_a_temperature_right(answer, verdict):
    assert verdict(checks.temperature, answer).startswith("✗")
