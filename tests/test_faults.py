"""Dying, filling up and ■ at every operation on a file: the next start resumes from a good
state."""

import itertools
import json
import os
import time
from dataclasses import replace

import pytest
from faults import CHANGES, Death, Died, Full, total_size, watched
from tiny import EPOCHS, conv_model, elsewhere, linear_model, noise_images, press_stop, same_weights

import course_lib
from course_lib import DiskError, Stopped, measure, read_results, record, train, trial
from course_lib.storage import checkpoints, files


@pytest.fixture
def expected(short):
    """The model of a run that nothing has interrupted."""
    return fit(elsewhere(short).stage(2))


def fit(stage, model=None):
    model = model or conv_model()
    train(model, noise_images(), stage, augmented=True)
    return model


def resumed(stage):
    """The model after another start, which takes its weights from the checkpoint if there is
    one."""
    return fit(stage, conv_model(seed=99 if checkpoints.newest_good(stage.folder) else 0))


def operations_of(course):
    """Every operation of a whole run that changes a file, in order."""
    kinds, stage = [], elsewhere(course).stage(2)
    with watched(stage.course.folder, lambda kind, path: kinds.append(kind)):
        fit(stage)
    return [kind for kind in kinds if kind in CHANGES]


@pytest.mark.slow
def test_death_at_every_operation_of_every_save_and_of_the_end(short, expected, saving_often):
    """Killed at each write, fsync, rename, deletion and new folder in turn: the same weights, bit
    for bit."""
    kinds, deaths = operations_of(short), 0
    positions = [(epoch, seen) for epoch in range(EPOCHS + 1) for seen in (0, 8, 16, 20)][:-3]
    for number in range(1, len(kinds) + 1):
        stage = elsewhere(short).stage(2)
        with watched(stage.course.folder, Death(number)), pytest.raises(Died):
            fit(stage)
        deaths += 1
        saves = max(
            0, kinds[: number - 1].count("replace") - 1
        )  # the first file is run.json, the last model.pth
        newest = checkpoints.newest_good(stage.folder)
        assert (checkpoints.position(newest) if newest else (0, 0)) == positions[
            min(saves, len(positions) - 1)
        ]
        assert same_weights(resumed(stage), expected), (
            f"after death at operation {number}, a {kinds[number - 1]}"
        )
        assert stage.state == "finished" and stage.model_path.exists()
    assert deaths > 50 and {"write", "fsync", "replace", "unlink", "mkdir"} <= set(kinds)


@pytest.mark.slow
def test_a_disk_that_fills_up_at_every_operation_of_a_run(short, expected, saving_often):
    kinds, failures = operations_of(short), 0
    for number in itertools.count(1):
        stage, full = elsewhere(short).stage(2), Full(number)
        with watched(stage.course.folder, full):
            try:
                fit(stage)
            except DiskError:
                failures += 1
        assert not list(stage.course.folder.rglob(".*.tmp"))
        if not full.reached:
            break
        assert same_weights(resumed(stage), expected), f"after a full disk at operation {number}"
    assert failures == number - 1 == sum(kind in ("write", "fsync", "mkdir") for kind in kinds) > 20


def test_a_disk_that_becomes_read_only_is_a_disk_error_and_costs_nothing(
    short, expected, saving_often
):
    stage, opened = short.stage(2), []

    def read_only(kind, path):
        if kind == "open" and str(path).endswith(".tmp"):
            opened.append(path)
            if len(opened) == 5:
                raise OSError(30, os.strerror(30))

    with watched(short.folder, read_only), pytest.raises(DiskError):
        fit(stage)
    assert same_weights(resumed(stage), expected)


@pytest.mark.slow
def test_stop_at_any_file_operation_even_twice_saves_and_the_same_call_resumes(
    short, expected, saving_often
):
    kinds, presses = operations_of(short), 0
    for point in range(0, len(kinds), 2):
        stage, count = elsewhere(short).stage(2), itertools.count()

        def press(kind, path, point=point, count=count):
            if kind in CHANGES and next(count) in (point, point + 1):
                press_stop()

        with watched(stage.course.folder, press), pytest.raises((Stopped, KeyboardInterrupt)):
            fit(stage)  # before the first step, ■ is what it always is
        presses += 1
        assert same_weights(resumed(stage), expected) and stage.state == "finished"
    assert presses > 25


def test_a_run_never_takes_the_space_of_more_than_three_checkpoints(short, saving_often):
    largest, course = [], elsewhere(short, epochs=20)

    def look(kind, path):
        largest.append(total_size(course.folder))

    with watched(course.folder, look, look):
        fit(course.stage(2))
    checkpoint = checkpoints.newest_first(course.stage(2).folder)[0].stat().st_size
    assert len(largest) > 500 and 2 * checkpoint < max(largest) <= 3.5 * checkpoint


def test_half_written_files_of_killed_processes_are_swept_and_live_ones_are_not(
    short, saving_often
):
    stage = short.stage(2)
    with watched(short.folder, Death(10)), pytest.raises(Died):
        fit(stage)
    (left,) = stage.folder.glob(".*.tmp")
    fit(stage)
    assert left.exists()  # it may be another notebook's
    os.utime(left, (time.time() - 2 * files.STALE_SECONDS,) * 2)
    fit(replace(stage, epochs=EPOCHS + 1))
    assert not left.exists()


@pytest.mark.parametrize("what", ["result.csv", "trial", "run.json"])
def test_a_disk_that_fills_up_at_any_moment_leaves_the_previous_file(short, what):
    """And where there was none, there is none."""
    images, passes = noise_images(), itertools.count()

    def write():
        count = next(passes)
        if what == "result.csv":
            course_lib.test(linear_model(count), images, short, short.folder / "result.csv")
        elif what == "trial":
            trial(short, images, epochs=1, model=linear_model(count))
        else:
            elsewhere(short).claim()

    def content():
        files = {path for path in short.home.rglob("*") if path.is_file() and path.suffix != ".npy"}
        return {path: path.read_bytes() for path in files if "unfinished-trials" not in path.parts}

    failures = 0
    if what != "run.json":
        write()
    for number in itertools.count(1):
        full, before = Full(number), content()
        with watched(short.home, full):
            try:
                write()
            except DiskError:
                failures += 1
        if not full.reached:
            break
        assert content() == before
    assert failures == number - 1 >= 2


def test_a_disk_that_fills_up_while_results_are_recorded_leaves_whole_files(short):
    """`results.json` is only put together from the stages, so it may be behind, but never half."""
    stage = short.stage(2)
    model = conv_model()
    train(model, short.data.train, stage, augmented=False)
    measured = measure(model, short)
    only_one = {"train_plain": measured["train_plain"]}
    failures = 0
    for number in itertools.count(1):
        record(stage, model, [], measured)
        full = Full(number)
        with watched(short.home, full):
            try:
                record(stage, model, [], only_one)
            except DiskError:
                failures += 1
        exported = json.loads((short.folder / "results.json").read_text(encoding="utf-8"))
        for results in (read_results(short), exported):
            final = results["stages"]["2"]["final"]
            assert final["train_plain"] == measured["train_plain"].accuracy
        if not full.reached:
            break
    assert list(read_results(short)["stages"]["2"]["final"]) == ["train_plain"]
    assert failures == number - 1 >= 2
