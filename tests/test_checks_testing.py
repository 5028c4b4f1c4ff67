"""course_lib/checks/testing.py: tests that catch all bugs pass, and what others lack is named."""

import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_checks import judged, verdict

from course_lib import checks
from course_lib.checks import testing
from course_lib.checks import verdict as verdicts

assert verdict  # a fixture


def data(sizes, wrong=(), classes=10):
    """Random outputs and labels in batches of these sizes; `wrong`: which answers are."""
    outputs = torch.randn(sum(sizes), classes)
    labels = outputs.argmax(1)
    for image in wrong:
        labels[image] = (labels[image] + 1) % classes
    return list(zip(outputs.split(sizes), labels.split(sizes)))


def expected(batches):
    outputs = torch.cat([outputs for outputs, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    accuracy = (outputs.argmax(1) == labels).double().mean().item()
    return F.cross_entropy(outputs, labels).item(), accuracy


def the_test(*sizes, wrong=(-1, -2, -3)):
    """A student's test of both results, with batches of these sizes."""

    def my_test(loss_and_accuracy):
        batches = data(sizes, wrong)
        loss, accuracy = loss_and_accuracy(batches)
        assert math.isclose(loss, expected(batches)[0], rel_tol=1e-5)
        assert math.isclose(accuracy, expected(batches)[1], rel_tol=1e-5)

    return my_test


def with_pytorch(loss_and_accuracy):
    batches = data((40, 25), (-1, -2))
    torch.testing.assert_close(torch.tensor(loss_and_accuracy(batches)), tensors(batches))


def tensors(batches):
    return torch.tensor(expected(batches))


def with_numpy(loss_and_accuracy):
    batches = data((34, 32, 31), (0, -1, -2))
    np.testing.assert_allclose(loss_and_accuracy(batches), expected(batches), rtol=1e-4)


def with_pytest(loss_and_accuracy):
    batches = data((64, 6), (-1, -2, -3))
    assert loss_and_accuracy(batches) == pytest.approx(expected(batches), rel=1e-5)


def several_small_ones(loss_and_accuracy):
    for sizes, wrong in (((4, 2), (-1,)), ((5, 1), (-1,)), ((70,), (0,)), ((33, 1), (1,))):
        the_test(*sizes, wrong=wrong)(loss_and_accuracy)


def raising_itself(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    loss, accuracy = loss_and_accuracy(batches)
    right_loss, right_accuracy = expected(batches)
    if abs(loss - right_loss) > 1e-4 or abs(accuracy - right_accuracy) > 1e-4:
        raise AssertionError("wrong")


@judged(
    [
        ("math.isclose", the_test(40, 30)),
        ("PyTorch's", with_pytorch),
        ("NumPy's", with_numpy),
        ("pytest's", with_pytest),
        ("several tests in one", several_small_ones),
        ("raise AssertionError", raising_itself),
    ]
)
def test_a_test_that_catches_all_may_be_written_in_any_way(answer, verdict):
    assert verdict(checks.catches_bugs, answer).startswith("✓")


def of_the_accuracy(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    assert abs(loss_and_accuracy(batches)[1] - expected(batches)[1]) < 1e-6


def of_the_loss(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    assert abs(loss_and_accuracy(batches)[0] - expected(batches)[0]) < 1e-4


def exact(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    assert loss_and_accuracy(batches) == expected(batches)


def exact_about_an_old_result(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    assert loss_and_accuracy(batches)[0] == round(expected(batches)[0], 6)


def expecting_a_percentage(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    accuracy = loss_and_accuracy(batches)[1]
    assert abs(accuracy - 100 * expected(batches)[1]) < 1e-6, "my own words"


def returning(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    return abs(loss_and_accuracy(batches)[1] - expected(batches)[1]) < 1e-6


def raising_another_error(loss_and_accuracy):
    batches = data((40, 30), (-1, -2, -3))
    if abs(loss_and_accuracy(batches)[1] - expected(batches)[1]) > 1e-6:
        raise RuntimeError("wrong")


def only_running(loss_and_accuracy):
    loss_and_accuracy(data((40, 30)))


def catching_its_own(loss_and_accuracy):
    try:
        the_test(40, 30)(loss_and_accuracy)
    except AssertionError:
        print("wrong")


@judged(
    [
        ("no asserts", only_running, "0 of 8"),
        ("one batch", the_test(32), "averages|smaller|32"),
        ("equal batches", the_test(33, 33), "smaller"),
        ("equal accuracies", the_test(40, 20, wrong=(0, 1, 40)), "accuracies"),
        ("only small batches", the_test(20, 8), "more than 32"),
        ("all right", the_test(40, 30, wrong=()), "accurac"),
        ("batches of 32", the_test(32, 32, wrong=(0,)), "have 32"),
        ("only the accuracy", of_the_accuracy, "compare the loss"),
        ("only the loss", of_the_loss, "compare the accuracy"),
        ("exact", exact, "accepts another"),
        ("exact, of digits", exact_about_an_old_result, "even a right.*rounding"),
        ("a wrong expectation", expecting_a_percentage, "my own words.*expect"),
        ("rejecting everything", lambda f: exec("assert False"), "right implementation"),
        ("returning", returning, "bool.*assert"),
        ("raising another error", raising_another_error, "RuntimeError.*assert"),
        ("doing nothing", lambda f: None, "never calls"),
        ("catching its own error", catching_its_own, "0 of 8"),
        ("no batches", lambda f: f([]), "ZeroDivisionError"),
        ("nonsense", lambda f: f(3), "TypeError"),
    ]
)
def test_what_a_test_lacks_is_named(answer, word, verdict, capsys):
    assert checks.catches_bugs(answer) is False
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("✗")
    assert re.search(word, line)


@pytest.mark.parametrize("bug", testing.BUGS, ids=lambda bug: bug.function.__name__)
def test_each_bug_is_named_when_it_alone_gets_past(bug, verdict):
    """By a test that knows this one implementation, and looks away."""
    thorough = the_test(40, 30)

    def my_test(loss_and_accuracy):
        batches = data((40, 30), (-1, -2, -3))
        if loss_and_accuracy(batches) != bug.function(batches):
            thorough(loss_and_accuracy)

    line = verdict(checks.catches_bugs, my_test)
    assert line.startswith("✗") and "7 of 8" in line and bug.does in line and bug.remedy in line


def test_a_test_that_counts_its_calls_is_refused(verdict):
    calls = []

    def my_test(loss_and_accuracy):
        calls.append(loss_and_accuracy(data((3,))))
        assert len(calls) <= len(testing.RIGHT)

    assert "chance" in verdict(checks.catches_bugs, my_test)


@pytest.mark.parametrize("seed", range(1, 6))
def test_other_random_numbers_give_the_same_verdicts(seed, verdict, monkeypatch):
    monkeypatch.setattr(verdicts, "SEED", seed)
    for answer in (the_test(40, 30), with_pytorch, several_small_ones):
        assert verdict(checks.catches_bugs, answer).startswith("✓")
    for answer in (exact, of_the_loss, the_test(20, 8), the_test(33, 33)):
        assert verdict(checks.catches_bugs, answer).startswith("✗")
