"""Dying, rotting and filling up at every point of a save: the next start goes on from a good state."""

import itertools
import json
import os
import re
import shutil
import signal
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from faults import Death, Died, Full, total_size, watched
from tiny import EPOCHS, IMAGES, STEPS, at_step, conv_model, elsewhere, linear_model, noise_images, same_weights

import course_lib
from course_lib import DataError, checkpoint, evaluate, keep, measured_once, open_bank, plot_history, train
from course_lib.bank import Bank
from course_lib.device import Precision


@pytest.fixture
def expected(short):
    """The model of a run that nothing has interrupted."""
    model = conv_model()
    train(model, noise_images(IMAGES), elsewhere(short).stage(2), augmented=True)
    return model


def run(stage, model=None):
    model = model or conv_model()
    train(model, noise_images(IMAGES), stage, augmented=True)
    return model


def operations_of(short):
    """Every operation of a whole run that changes a file, in order."""
    counted = []
    course = elsewhere(short)
    with watched(course.home, lambda kind, path: counted.append(kind)):
        run(course.stage(2))
    return [kind for kind in counted if kind in ("write", "fsync", "replace", "unlink")]


def test_death_at_every_operation_of_a_save_in_mid_run_and_of_the_end(short, expected):
    """Killed at each write, fsync, rename and deletion in turn: the next start ends in the same weights, bit for
    bit."""
    kinds = operations_of(short)
    a_save = [index for index, kind in enumerate(kinds, 1) if kind == "replace"]
    # Two renames a save (the file, its seal): the save of step 4, where an older one is deleted too; the end.
    points = [*range(a_save[5] + 1, a_save[7] + 3), *range(a_save[-2] + 1, len(kinds) + 1)]
    assert len(points) > 60 and {kinds[point - 1] for point in points} == {"write", "fsync", "replace", "unlink"}
    for point in points:
        stage = elsewhere(short).stage(2)
        with watched(stage.course.home, Death(point)), pytest.raises(Died):
            run(stage)
        model = run(stage, conv_model(seed=99 if stage.state else 0))
        assert same_weights(model, expected), f"after death at operation {point}, a {kinds[point - 1]}"
        assert stage.finished and not list(stage.folder.glob(".*"))


def test_a_flipped_bit_or_a_cut_is_always_noticed(tmp_path, short):
    """At 200 random places of the newest checkpoint and of its seal."""
    random, folder = np.random.default_rng(0), short.stage(2).folder
    run(
        short.with_settings(epochs={1: 1, 2: 2, 3: 1}).stage(2),
        at_step(conv_model(), 5, lambda: os.kill(os.getpid(), signal.SIGINT)),
    )
    newest, before = sorted(folder.glob("*.pt"), reverse=True)
    good, position = newest.read_bytes(), checkpoint.load_newest(folder)["totals"]["seen"]
    earlier = torch.load(before, weights_only=True)["totals"]["seen"]
    assert position != earlier
    for place in random.integers(0, len(good), 200):
        bad = bytearray(good)
        bad[place] ^= 1 << random.integers(8)
        for damaged in (bytes(bad), good[:place]):
            newest.write_bytes(damaged)
            said = []
            assert checkpoint.load_newest(folder, said.append)["totals"]["seen"] == earlier
            assert said == [
                f"{newest.name} cannot be used (its bytes have changed since it was written); "
                "the one before it is taken, if there is one."
            ]
    newest.write_bytes(good)
    seal = newest.with_suffix(".json")
    digits = json.loads(seal.read_text())["sha256"]
    for place in range(len(digits)):
        seal.write_text(json.dumps({"sha256": digits[:place] + "x" + digits[place + 1 :]}))
        assert checkpoint.load_newest(folder, said.append)["totals"]["seen"] == earlier
        seal.write_text(json.dumps({"sha256": digits})[: -place - 1])
        assert checkpoint.load_newest(folder, said.append)["totals"]["seen"] == earlier


def test_eighty_epochs_of_saves_take_the_space_of_three_checkpoints(short):
    course = short.with_settings(epochs={1: 1, 2: 80, 3: 1}, batch_size=IMAGES)
    largest = []

    def look(kind, path):
        largest.append(total_size(course.home))

    with watched(course.home, look, look):
        run(course.stage(2))
    last = max(course.stage(2).folder.glob("*.pt"))
    assert max(largest) <= 3 * (last.stat().st_size + 1000)


@pytest.mark.parametrize("what", ["results.json", "result.csv", "figure.png", "sweep.json", "bank"])
def test_a_disk_that_fills_up_at_any_moment_is_said_and_the_file_of_before_stays(course, what):
    images = noise_images(8)
    bank = Bank("noise", images, images, images, images.classes, "all of them")
    passes = iter(range(1000))
    write = {
        "results.json": lambda: course_lib.record(course, bank, 1, [_entry() | {"epoch": next(passes)}], {}),
        "result.csv": lambda: course_lib.test(linear_model(next(passes)), images, course, course.folder / "result.csv"),
        "figure.png": lambda: keep(plot_history({1: [_entry()]}), course.folder / "figure.png"),
        "sweep.json": lambda: measured_once(course.with_settings(seed=next(passes)), "sweep", {"a": lambda: [1.0]}),
        "bank": lambda: open_bank(course),
    }[what]
    write()
    path = next((course.home / "banks").glob("*.npy")) if what == "bank" else course.folder / what
    before, failures = path.read_bytes(), 0
    for source in (course.home / "data").rglob("answer.json"):
        os.utime(source, (1, 1))  # so that the bank is built again
    for number in itertools.count(1, 60 if what == "bank" else 1):
        full = Full(number)
        with watched(course.home, full):
            try:
                write()
            except DataError as error:
                failures += 1
                assert re.search("cannot be written .*No space left on device.*: free some space", str(error))
        if not full.reached:
            break
        assert path.read_bytes() == before and not list(path.parent.glob(".*"))
    assert failures == len(range(1, number, 60 if what == "bank" else 1)) > 1
    plt.close("all")


@pytest.mark.parametrize("number", [1, 2, 3])
def test_three_resumes_within_one_epoch_with_other_cells_in_between(short, number):
    """Evaluations, plots and random numbers of the reader's own change nothing; nor does a fresh model."""
    augmented = number == 3
    images, heldout = noise_images(IMAGES), noise_images(9, seed=1)
    quiet = short.with_settings(batch_size=4, checkpoint_seconds=60)  # five steps an epoch
    reference = conv_model()
    train(reference, images, elsewhere(quiet).stage(number), augmented=augmented, heldout=heldout)
    stage = quiet.stage(number)
    for stop_after in (1, 1, 1):
        model = conv_model() if not stage.state else conv_model(seed=99)
        train(
            at_step(model, stop_after, lambda: os.kill(os.getpid(), signal.SIGINT)),
            images,
            stage,
            augmented=augmented,
            heldout=heldout,
        )
        assert stage.state.startswith("in epoch 1 of 3")
        evaluate(model, heldout, quiet, augmented=True)
        plt.close(plot_history({number: [_entry()]}))
        torch.rand(7), np.random.random(7)
    model = conv_model(seed=99)
    history = train(model, images, stage, augmented=augmented, heldout=heldout)
    assert same_weights(model, reference) and len(history) == EPOCHS


def _entry():
    return dict(epoch=1, loss=1.0, train_accuracy=0.5, heldout_accuracy=0.5, seconds=1.0, images_per_second=1.0)


@pytest.mark.parametrize("step", range(1, STEPS))
@pytest.mark.parametrize("number", [1, 3])
def test_going_on_at_every_step_of_the_other_stages(short, number, step):
    images, stage = noise_images(IMAGES), short.stage(number)
    reference = conv_model()
    train(reference, images, elsewhere(short).stage(number), augmented=number == 3)
    stopped = at_step(conv_model(), step, lambda: os.kill(os.getpid(), signal.SIGINT))
    train(stopped, images, stage, augmented=number == 3)
    model = conv_model(seed=99)
    train(model, images, stage, augmented=number == 3)
    assert same_weights(model, reference)


def test_stop_at_any_file_operation_even_twice_saves_and_the_same_call_goes_on(short, expected):
    kinds = operations_of(short)
    for point in range(1, len(kinds), 13):
        stage, count = elsewhere(short).stage(2), [0]

        def press(kind, path, point=point, count=count):
            count[0] += 1
            if point <= count[0] < point + 2:
                os.kill(os.getpid(), signal.SIGINT)

        try:
            with watched(stage.course.home, press):
                run(stage)
        except KeyboardInterrupt:
            pass  # before the first step or behind the last one, ■ is what it always is
        model = run(stage, conv_model(seed=99 if stage.state else 0))
        assert same_weights(model, expected) and stage.finished


def test_an_overflow_in_fp16_leaves_weights_and_momentum_and_the_scaler_is_kept(short):
    """The scaler is the real one, on the CPU; the overflow of the first step is forced."""
    course = replace(short, precision=Precision("fp16", "cpu")).with_settings(epochs={1: 1, 2: 1, 3: 1})
    model, before, after = conv_model(), conv_model(), []
    overflow = model[0].weight.register_hook(lambda gradient: gradient * float("inf"))

    def second_step():
        overflow.remove()
        after.extend(parameter.detach().clone() for parameter in model.parameters())
        state = checkpoint.load_newest(course.stage(2).folder)
        assert state["optimizer"]["state"] == {}  # no momentum yet
        assert state["scaler"]["scale"] == 2.0**15  # halved after the overflow

    train(at_step(model, 2, second_step), noise_images(IMAGES), course.stage(2), augmented=True)
    assert all(torch.equal(now, then) for now, then in zip(after, before.parameters()))
    assert not same_weights(model, before)
    state = checkpoint.load_newest(course.stage(2).folder)
    assert state["scaler"]["scale"] == 2.0**15 and state["optimizer"]["state"]


def test_a_run_in_fp16_goes_on_where_there_is_none(short, capsys):
    gpu = replace(short, precision=Precision("fp16", "cpu"))
    stopped = at_step(conv_model(), 4, lambda: os.kill(os.getpid(), signal.SIGINT))
    run(gpu.stage(2), stopped)
    capsys.readouterr()
    run(short.stage(2), conv_model(seed=99))
    said = capsys.readouterr().out
    assert "precision fp16" in said and "precision fp32" in said and "not bit for bit" in said
    assert short.stage(2).finished


def test_a_run_without_a_scaler_goes_on_in_fp16(short):
    """As from an A100, in bf16, to a T4, which has none."""
    run(short.stage(2), at_step(conv_model(), 4, lambda: os.kill(os.getpid(), signal.SIGINT)))
    gpu = replace(short, precision=Precision("fp16", "cpu"))
    run(gpu.stage(2), conv_model(seed=99))
    assert gpu.stage(2).finished


def test_two_notebooks_that_train_the_same_stage_are_noticed(short):
    """The second goes on from the first one's checkpoint; the first stops when it sees the second one's."""
    stage, second = short.stage(2), []

    def another_notebook():
        second.append(run(stage, conv_model(seed=99)))

    first = at_step(conv_model(), 5, another_notebook)
    with pytest.raises(course_lib.CheckpointError, match="Another notebook is training the same stage"):
        run(stage, first)
    assert stage.finished and same_weights(run(stage, conv_model(seed=5)), second[0])


def test_starting_a_stage_over(short, expected, capsys):
    stage = short.stage(2)
    run(stage, at_step(conv_model(), 4, lambda: os.kill(os.getpid(), signal.SIGINT)))
    stage.start_over()
    assert stage.state is None and not stage.folder.exists()
    assert same_weights(run(stage), expected)
    said = capsys.readouterr().out
    assert "Stage 2 starts over." in said and "Stage 3" not in said
    train(conv_model(), noise_images(IMAGES), short.stage(3), augmented=True)
    shutil.rmtree(stage.folder)
    stage.start_over()  # nothing there: nothing to do
    assert "course.stage(3).start_over()" in capsys.readouterr().out
