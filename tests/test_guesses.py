"""Guesses: kept until something is measured, drawn into the live curve, and compared with it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plots import drawn, texts

from course_lib import SettingsError, answer, answered_guesses, guess, plot_guesses
from course_lib.guesses import guesses_of, read_guesses
from course_lib.live import LiveCurve

ENTRY = {
    "epoch": 1,
    "loss": 2.0,
    "train_accuracy": 0.5,
    "heldout_loss": 2.5,
    "heldout_accuracy": 0.25,
}


def test_a_guess_is_compared_with_what_comes_out(short, capsys):
    guess(short, "stage 2, held-out", 43)
    assert not answered_guesses(short) and not capsys.readouterr().out
    answer(short, "stage 2, held-out", 0.384)
    said = capsys.readouterr().out
    assert {"43", "38.4", "4.6"} <= set(re.findall(r"[\d.]+\d", said))
    assert answered_guesses(short)["stage 2, held-out"] == (43, pytest.approx(38.4))


def test_without_a_guess_nothing_is_said_and_nothing_written(short, capsys):
    guess(short, "stage 2, held-out")
    answer(short, "stage 2, held-out", 0.384)
    assert not capsys.readouterr().out and not answered_guesses(short)
    assert not (short.folder / "guesses.json").exists()


def test_a_slider_that_was_put_back_keeps_the_guess_and_so_does_the_answer(short):
    guess(short, "a", 10)
    guess(short, "a")
    assert read_guesses(short)["a"].percent == 10
    guess(short, "a", 20)
    answer(short, "a", 0.5)
    guess(short, "a", 50)  # once the answer is known, that's no guess
    assert answered_guesses(short)["a"] == (20, 50)


@pytest.mark.parametrize("percent", [-2, 101, float("nan"), float("inf")])
def test_only_percentages_are_guesses(short, percent):
    with pytest.raises(SettingsError, match=re.escape(str(percent))):
        guess(short, "a", percent)
    assert not read_guesses(short)


def test_guesses_about_a_stage_are_lines_across_its_live_curve(short):
    guess(short, "stage 2, training", 90)
    guess(short, "stage 2, held-out", 40)
    guess(short, "stage 3, held-out", 60)
    assert guesses_of(short.stage(2)) == {"training": 90, "held-out": 40}
    curve = LiveCurve(short.stage(2))
    figure = curve._draw([ENTRY], [ENTRY])
    across = {}
    for line in figure.axes[0].lines:
        if "your guess" in line.get_label():
            across[line.get_label()] = set(line.get_ydata())
    assert sorted(across.values(), key=min) == [{40}, {90}]


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=4))
@settings(max_examples=5)
def test_the_figure_has_a_row_for_each(pairs):
    from course_lib.guesses import Guess

    answered = {f"guess {i}": Guess(*pair) for i, pair in enumerate(pairs)}
    figure = drawn(plot_guesses(answered))
    assert set(answered) <= set(texts(figure))
    guessed, measured = figure.axes[0].lines
    assert list(zip(guessed.get_xdata(), measured.get_xdata())) == pairs
