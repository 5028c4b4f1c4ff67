"""Guesses: kept until something is measured, drawn into the live curve, and compared with it."""

import re
import shutil
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_plots import drawn, texts
from tiny import linear_model, noise_images

from course_lib import SettingsError, answer, answered_guesses, guess, plot_guesses, train
from course_lib.guesses import guesses_of, read_guesses
from course_lib.live import LiveCurve
from course_lib.storage.files import read_sealed, write_json, write_sealed

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
    assert not (short.folder / "guesses").exists()


def test_a_slider_that_was_put_back_keeps_the_guess_and_so_does_the_answer(short):
    guess(short, "a", 10)
    guess(short, "a")
    assert read_guesses(short)["a"].percent == 10
    guess(short, "a", 20)
    answer(short, "a", 0.5)
    guess(short, "a", 50)  # once the answer is known, that's no guess
    assert answered_guesses(short)["a"] == (20, 50)


@pytest.mark.parametrize("percent", [-2, 101, float("nan"), float("inf"), "50", None, [50], True])
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


DAMAGED = [
    *(b"", b"{", b"[]", b"\xff\xfe{}", b"[" * 200_000, b'{"sha256": "", "content": {}}'),
    *(None, "no longer sealed", "another percent", "a folder"),
]


@pytest.mark.parametrize("damage", DAMAGED, ids=lambda damage: str(damage)[:20])
def test_a_damaged_guess_is_named_and_left_out_and_the_others_stay(short, capsys, damage):
    guess(short, "stage 2, training", 90)
    (path,) = (short.folder / "guesses").iterdir()
    guess(short, "stage 2, held-out", 40)
    if damage is None:
        write_sealed(path, {"name": "stage 2, training", "percent": 90})
    elif damage == "no longer sealed":
        write_json(path, read_sealed(path))
    elif damage == "another percent":
        write_sealed(path, read_sealed(path) | {"percent": "90"})
    elif damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(damage)
    assert guesses_of(short.stage(2)) == {"held-out": 40}
    assert path.name in capsys.readouterr().out
    guess(short, "stage 2, training", 80)
    answer(short, "stage 2, training", 0.5)
    assert LiveCurve(short.stage(2)).guesses == {"training": 80, "held-out": 40}
    assert set(answered_guesses(short)) == {"stage 2, training"}
    assert path.exists()  # whatever it is, it isn't overwritten


def test_what_is_not_a_folder_of_guesses_stops_no_training(short, capsys):
    (short.folder / "guesses").write_text("mine")
    assert LiveCurve(short.stage(2)).guesses == {}
    assert "guesses" in capsys.readouterr().out


def test_whatever_becomes_of_guesses_while_a_stage_is_trained_it_is_trained(short):
    guess(short, "stage 2, training", 90)
    curve = LiveCurve(short.stage(2))
    for path in (short.folder / "guesses").iterdir():
        path.write_text("{")
    curve._is_due = lambda history: True
    history = train(linear_model(), noise_images(), short.stage(2), augmented=False, live=curve)
    assert len(history) == 3


def test_guesses_are_deleted_with_the_run_that_they_are_about(short):
    guess(short, "stage 2, held-out", 43)
    answer(short, "stage 2, held-out", 0.384)
    short.start_over()
    assert not read_guesses(short)
    assert not (short.folder / "guesses").exists()


@pytest.mark.parametrize("changed", ["data", "settings"])
def test_guesses_about_something_else_are_no_guesses_about_this_run(short, changed):
    guess(short, "stage 2, held-out", 43)
    answer(short, "stage 2, held-out", 0.384)
    if changed == "data":
        other = replace(short, data=replace(short.data, digest="another"))
    else:
        other = replace(short, settings=replace(short.settings, lr=0.5))
    assert not read_guesses(other)
    guess(other, "stage 2, held-out", 20)
    assert read_guesses(other) == {"stage 2, held-out": (20, None)}
    assert read_guesses(short) == {"stage 2, held-out": (43, pytest.approx(38.4))}


@pytest.mark.parametrize("change", ["started over", "trained further"])
def test_an_outcome_belongs_to_what_was_trained_then(short, change):
    train(linear_model(), noise_images(), short.stage(2), augmented=False)
    guess(short, "stage 2, held-out", 43)
    answer(short, "stage 2, held-out", 0.384)
    train(linear_model(), noise_images(), short.stage(3), augmented=True)
    assert answered_guesses(short)  # stage 3 came later
    if change == "started over":
        short.stage(2).start_over()
    else:
        further = replace(short, epochs=short.epochs | {2: 4}).stage(2)
        train(linear_model(), noise_images(), further, augmented=False)
    assert read_guesses(short) == {"stage 2, held-out": (43, None)}
    guess(short, "stage 2, held-out", 60)
    assert read_guesses(short) == {"stage 2, held-out": (60, None)}


@given(
    made=st.lists(st.tuples(st.booleans(), st.sampled_from("ab"), st.integers(0, 100)), max_size=6)
)
@settings(max_examples=15)
def test_no_two_computers_ever_write_different_things_to_one_file(short, made):
    """So Drive can have all files of both, whoever is first."""
    here = short
    there = replace(short, folder=short.home / "another computer's")
    for is_here, name, percent in made:
        guess(here if is_here else there, name, percent)
    ours = {path.name: path.read_bytes() for path in (here.folder / "guesses").glob("*")}
    theirs = {path.name: path.read_bytes() for path in (there.folder / "guesses").glob("*")}
    for name in ours.keys() & theirs.keys():
        assert ours[name] == theirs[name]
    for name, data in theirs.items():
        (here.folder / "guesses").mkdir(exist_ok=True)
        (here.folder / "guesses" / name).write_bytes(data)
    assert set(read_guesses(here)) == {name for _, name, _ in made}
    shutil.rmtree(here.folder / "guesses", ignore_errors=True)
    shutil.rmtree(there.folder, ignore_errors=True)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=4))
@settings(max_examples=5)
def test_the_figure_has_a_row_for_each(pairs):
    from course_lib.guesses import Guess

    answered = {f"guess {i}": Guess(*pair) for i, pair in enumerate(pairs)}
    figure = drawn(plot_guesses(answered))
    assert set(answered) <= set(texts(figure))
    guessed, measured = figure.axes[0].lines
    assert list(zip(guessed.get_xdata(), measured.get_xdata())) == pairs
