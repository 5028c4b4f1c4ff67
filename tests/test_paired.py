"""course_lib/checks/paired.py: right answers pass, and each typical mistake is explained."""

import re

import numpy as np
import pytest

from course_lib.checks.paired import paired_difference


def right(mine, control):
    difference = mine - control
    return 100 * difference.mean(), 100 * difference.std() / len(difference) ** 0.5


def in_numpy(mine, control):
    difference = mine.numpy() - control.numpy()
    return 100 * np.array([difference.mean(), difference.std() / np.sqrt(len(difference))])


def unpaired(mine, control):
    error = 100 * ((mine.var() + control.var()) / len(mine)) ** 0.5
    return right(mine, control)[0], error


def without_root(mine, control):
    return right(mine, control)[0], 100 * (mine - control).std()


def divided_by_n(mine, control):
    return right(mine, control)[0], 100 * (mine - control).std() / len(mine)


def shares(mine, control):
    return tuple(number / 100 for number in right(mine, control))


def other_sign(mine, control):
    return right(control, mine)


def swapped(mine, control):
    return right(mine, control)[::-1]


@pytest.mark.parametrize("answer", [right, in_numpy])
def test_right_answers_pass(answer, capsys):
    assert paired_difference(answer) is True
    assert capsys.readouterr().out.startswith("✓")


@pytest.mark.parametrize(
    "answer, named",
    [
        (unpaired, "different images"),
        (without_root, "varies less"),
        (divided_by_n, "divide by n"),
        (shares, "points"),
        (other_sign, "sign"),
        (swapped, "first"),
        (lambda mine, control: None, "return"),
        (lambda mine, control: mine.mean() - control.mean(), "shape"),
    ],
)
def test_each_mistake_is_explained(answer, named, capsys):
    assert paired_difference(answer) is False
    printed = capsys.readouterr().out
    assert printed.startswith("✗") and re.search(named, printed)
