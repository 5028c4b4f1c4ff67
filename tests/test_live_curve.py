"""The live curve: what it shows and tells, how often, and the script that brings it into view."""

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import Javascript
from tiny import BATCH, conv_model, noise_images

from course_lib import live, live_curve, plot_history, train
from course_lib.pictures import Picture
from course_lib.progress import EpochLines

TRAINING = "training images (running average of the epoch)"
HELDOUT = "held-out images (plain)"
PAGE = Path(__file__).with_name("page.js")


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would be given to show: [(figure, whether it replaces the last one), …]."""
    shown = []

    class Handle:
        def update(self, figure):
            shown.append((figure, True))

    def display(thing, display_id=None):
        shown.append((thing, False))
        return Handle() if display_id else None

    monkeypatch.setattr(live, "display", display)
    return shown


@pytest.fixture
def curve(short, monkeypatch):
    """A LiveCurve of stage 2 that's always due; two epochs of a run are stored with the course."""

    class Eager(live.LiveCurve):
        cost = property(lambda self: 0, lambda self, seconds: None)

    before = [entry(1, 0.25), entry(2, 0.5)]
    monkeypatch.setattr(live, "stored", lambda course: {"stages": {"2": {"epochs": before}}})
    return Eager(short.stage(2))


def entry(epoch, accuracy, heldout=...):
    """An epoch of a history; by default, half as many held-out images are right."""
    return {
        "epoch": epoch,
        "loss": 1 / epoch,
        "train_accuracy": accuracy,
        "heldout_loss": None if heldout is None else 2 / epoch,
        "heldout_accuracy": accuracy / 2 if heldout is ... else heldout,
        "threads": 2,
    }


def figures(shown):
    return [thing for thing, _ in shown if isinstance(thing, Picture)]


def lines(figure):
    """A figure's accuracies, in percent: {label: its points}; what wasn't measured is left out."""
    found = {}
    for line in figure.axes[0].lines:
        points = line.get_xydata().tolist()
        found[line.get_label()] = [[x, y] for x, y in points if y == y]
    return found


def test_the_figure_grows_in_place_with_the_epoch_in_progress(curve, shown):
    curve.show([], lambda: entry(0.4, 0.1, None))
    curve.show([entry(1, 0.5)], lambda: entry(1.4, 0.7, None))
    curve.show([entry(1, 0.5), entry(2, 0.75)])
    (first, _), (script, _), (second, in_place), (third, again) = shown
    assert isinstance(script, Javascript) and in_place and again
    assert lines(first)[TRAINING] == [[0.4, 10]] and HELDOUT not in lines(first)
    assert lines(second)[TRAINING] == [[1, 50], [1.4, 70]] and lines(second)[HELDOUT] == [[1, 25]]
    assert lines(third)[TRAINING] == [[1, 50], [2, 75]]
    titles = [figure.get_suptitle() for figure in (first, second, third)]
    assert titles[0] == "In epoch 1 of 3: 10% of training images right"
    assert titles[1].startswith("In epoch 2 of 3: 70% of training and 25% of held-out images right")
    for figure, title in zip((first, second, third), titles):
        assert title in figure.alt


def test_what_it_shows_is_also_there_as_data(curve, shown):
    curve.show([], lambda: entry(0.4, 0.1, None))
    curve.show([entry(1, 0.5)], lambda: entry(1.4, 0.7, None))
    curve.show([entry(1, 0.5), entry(2, 0.75), entry(3, 0.75)], finished=True)
    for figure, epoch in zip(figures(shown), (1, 2, 3), strict=True):
        data, _ = InteractiveShell.instance().display_formatter.format(figure)
        told = json.loads(json.dumps(data[live.EPOCH_DATA]))
        assert told == {"stage": 2, "epoch": epoch, "epochs": 3, "text": figure.get_suptitle()}
        assert base64.b64decode(data["image/png"]).startswith(b"\x89PNG")


def test_only_the_live_curve_carries_data():
    """What a notebook keeps in its file for readers has none."""
    figure = plot_history({2: [entry(1, 0.5)]})
    assert set(figure._repr_mimebundle_()[0]) == {"image/png", "text/plain"}


def test_the_stored_run_is_drawn_behind_and_the_distance_is_in_the_title(curve, shown):
    curve.show([entry(1, 0.5)])
    curve.show([entry(1, 0.5), entry(2, 0.3)])
    curve.show([entry(1, 0.5), entry(2, 0.3), entry(3, 0.3)])  # the stored run has no third epoch
    distances = []
    for epoch, figure in enumerate(figures(shown), 1):
        # No further than this run, or it would give the outcome away.
        assert lines(figure)["the stored run"] == [[1, 25], [2, 50]][:epoch]
        grey = [line for line in figure.axes[0].lines if line.get_color() == "#c8c8c8"]
        assert len(grey) == 2 and all(line.get_zorder() < 2 for line in grey)
        match = re.search(r"\((.*) points from the stored run\)", figure.get_suptitle())
        distances.append(match and match[1])
    assert distances == ["+12", "-10", None]


def test_the_lines_of_guessing_follow_the_data(short, shown):
    labels = short.data.train.labels.clamp(max=1)
    train_images = replace(short.data.train, labels=labels)
    data = replace(short.data, train=train_images, classes=["sad", "happy"])
    live.LiveCurve(replace(short, data=data).stage(2)).show([entry(1, 0.5)])
    levels = {name: points[0][1] for name, points in lines(shown[0][0]).items()}
    assert levels["chance (50%)"] == 50
    [always] = [name for name in levels if "happy" in name]
    assert levels[always] == pytest.approx(100 * labels.float().mean())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_loss_with_label_smoothing_is_told_from_one_without(short, shown, smoothing):
    course = short.experiment("smooth", label_smoothing=smoothing)
    live.LiveCurve(course.stage(2)).show([entry(1, 0.5)])
    [figure] = figures(shown)
    assert ("smoothing 0.1" in figure.axes[1].get_ylabel()) == (smoothing > 0)


def test_a_stored_run_without_held_out_images_is_no_problem(short, shown, monkeypatch):
    before = {"stages": {"2": {"epochs": [entry(1, 0.25, None)]}}}
    monkeypatch.setattr(live, "stored", lambda course: before)
    live.LiveCurve(short.stage(2)).show([entry(1, 0.5)])
    title = shown[0][0].get_suptitle()
    assert "25% of held-out" in title and "stored" not in title


@pytest.mark.parametrize("results", [None, {"stages": {}}, {"stages": {"1": {"epochs": []}}}])
def test_without_a_stored_run_there_is_no_grey_and_no_distance(short, shown, monkeypatch, results):
    monkeypatch.setattr(live, "stored", lambda course: results)
    live.LiveCurve(short.stage(2)).show([entry(1, 0.5)])
    figure = shown[0][0]
    assert "the stored run" not in lines(figure) and "stored" not in figure.get_suptitle()


def test_drawing_takes_a_small_part_of_the_time(short, shown, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(live.time, "monotonic", lambda: now[0])
    plot = live.plot_live

    def in_a_second(*arguments, **options):
        now[0] += 1
        return plot(*arguments, **options)

    monkeypatch.setattr(live, "plot_live", in_a_second)
    curve = live.LiveCurve(short.stage(2))
    for _ in range(600):  # ten minutes of training, a step per second
        curve.show([entry(1, 0.5)], lambda: entry(1.5, 0.5, None))
        now[0] += 1
    assert 20 <= len(shown) <= 35


def test_a_trained_stage_is_shown_at_once_and_a_run_feeds_the_curve(short, shown):
    images = noise_images()
    stage = short.stage(2)

    def train_with_curve():
        curve = live.LiveCurve(stage)
        return train(conv_model(), images, stage, augmented=False, heldout=images, live=curve)

    history = train_with_curve()
    epochs = []
    for figure in figures(shown):
        epochs.append([x for x, _ in lines(figure)[TRAINING]])
    assert epochs[0] == [BATCH / len(images)] and epochs[-1] == [1, 2, 3] and len(history) == 3
    shown.clear()
    train_with_curve()
    [(figure, _), (script, _)] = shown
    assert [x for x, _ in lines(figure)[TRAINING]] == [1, 2, 3]
    assert figure.get_suptitle().startswith("After epoch 3 of 3")


def test_in_a_script_an_epoch_is_a_line_of_text(short, monkeypatch):
    assert isinstance(live_curve(short.stage(2)), EpochLines)
    monkeypatch.setattr(live, "get_ipython", lambda: type("Shell", (), {"kernel": object()}))
    assert isinstance(live_curve(short.stage(2)), live.LiveCurve)


# --- The script that brings the running cell into view

needs_node = pytest.mark.skipif(not shutil.which("node"), reason="there is no node")
ENOUGH = 100  # ticks for two runs: ten seconds


def scroll_in(place):
    """Run the script in one of the places of page.js, and return what has happened."""
    command = ["node", PAGE, place]
    result = subprocess.run(
        command, input=live.SCROLL, capture_output=True, encoding="utf-8", check=True
    )
    return json.loads(result.stdout)


@needs_node
@pytest.mark.parametrize("place, done", [("running", "into view"), ("running, not laid out", -100)])
def test_the_running_cell_is_brought_into_view(place, done):
    page = scroll_in(place)
    assert set(page["done"]) == {done}
    assert page["ticks"] < ENOUGH and not page["errors"]


@needs_node
@pytest.mark.parametrize(
    "place",
    [
        "running, not laid out, no panel",
        "finished",
        "a cell without a prompt",
        "no cell",
        "an old browser",
        "jQuery",  # the classic Notebook
        "a list",
        "a string",
        "null",
        "undefined",
        "no element",  # VS Code
        "no page",
    ],
)
def test_elsewhere_it_does_nothing_throws_nothing_and_ends(place):
    page = scroll_in(place)
    assert page["done"] == [] and page["errors"] == [] and page["ticks"] < ENOUGH


@needs_node
def test_it_ends_even_if_it_fails():
    page = scroll_in("fails")
    assert 0 < len(page["errors"]) < ENOUGH and page["ticks"] < ENOUGH


def test_a_stage_that_was_trained_for_longer_is_shown_whole(short, shown):
    stage = replace(short.stage(2), epochs=2)
    live.LiveCurve(stage).show([entry(epoch, 0.5) for epoch in range(1, 5)], finished=True)
    [figure] = figures(shown)
    assert figure.axes[0].get_xlim()[1] >= 4
    assert figure.get_suptitle().startswith("After epoch 4 of 4")
