"""Cut off anywhere and started again: the same weights, bit for bit."""

import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from faults import watched
from tiny import (
    EPOCHS,
    IMAGES,
    STEPS,
    Crash,
    at_step,
    conv_model,
    crash,
    elsewhere,
    linear_model,
    noise_images,
    press_stop,
    same_weights,
)
from torch import nn

from course_lib import (
    CheckpointError,
    DivergedError,
    MyModel,
    Stopped,
    evaluate,
    experiment,
    get_model,
    open_course,
    predict,
    run,
    train,
    trained_model,
)
from course_lib.augment import training_batches
from course_lib.device import Precision
from course_lib.experiment import Course
from course_lib.storage import checkpoints
from course_lib.storage.files import write_sealed
from course_lib.storage.identity import weights_digest

HERE = Path(__file__).parent


def fit(stage, model=None, augmented=True, heldout=9):
    """Train a tiny model for a stage; returns it and its history without what depends on the
    machine's speed."""
    model = model or conv_model()
    heldout = noise_images(heldout) if heldout else None
    history = train(model, noise_images(), stage, augmented=augmented, heldout=heldout)
    names = ("epoch", "loss", "train_accuracy", "heldout_accuracy")
    return model, [[entry[name] for name in names] for entry in history]


def assert_same(found, expected, where=""):
    assert same_weights(found[0], expected[0]) and found[1] == expected[1], where


def stopped(stage, step, augmented=True, action=press_stop):
    """Train until ■ is pressed in the `step`-th step; returns the model."""
    model = at_step(conv_model(), step, action)
    with pytest.raises(Stopped):
        fit(stage, model, augmented)
    return model


def newest(stage):
    return checkpoints.load(checkpoints.newest_good(stage.folder))


def weights_in(path):
    model = conv_model(seed=98)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model


@contextmanager
def no_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", lambda *args, **options: crash())
        yield


# --- ■


@pytest.mark.parametrize("number, augmented", [(1, False), (2, False), (2, True)])
def test_stop_at_any_step_saves_everything_and_the_same_call_resumes(short, number, augmented):
    expected, handler = (
        fit(elsewhere(short).stage(number), augmented=augmented),
        signal.getsignal(signal.SIGINT),
    )
    for step in range(1, STEPS + 1):
        stage = elsewhere(short).stage(number)
        stopped(stage, step, augmented)
        assert signal.getsignal(signal.SIGINT) is handler and stage.state != "finished"
        assert not stage.model_path.exists()
        rest = at_step(
            conv_model(seed=99), STEPS - step + 1, crash
        )  # the weights come from the checkpoint
        assert_same(fit(stage, rest, augmented), expected, step)
        assert stage.state == "finished" and same_weights(weights_in(stage.model_path), expected[0])


def with_dropout(seed=0):
    """A network that draws from PyTorch's global generator in each step."""
    *layers, last = conv_model(seed)
    return nn.Sequential(*layers, nn.Dropout(0.5), last)


def test_dropout_draws_the_same_after_a_resume_and_something_else_in_each_step(short):
    expected = fit(elsewhere(short).stage(2), with_dropout())
    for step in (1, 2, 5):
        torch.manual_seed(step)
        stage = elsewhere(short).stage(2)
        with pytest.raises(Stopped):
            fit(stage, at_step(with_dropout(), step, press_stop))
        torch.rand(step)
        assert_same(fit(stage, with_dropout(seed=99)), expected, step)
    drawn = []
    model = with_dropout()
    model[-2].register_forward_hook(lambda layer, inputs, output: drawn.append(output == 0))
    fit(elsewhere(short, epochs=1).stage(2), model, heldout=None)
    assert not torch.equal(drawn[0], drawn[1])


def test_a_recipe_with_a_schedule_resumes_bit_for_bit_but_not_with_other_epochs(short):
    recipe = {
        "lr": 0.1,
        "schedule": "one-cycle",
        "weight_decay": 0.01,
        "label_smoothing": 0.1,
        "plain": 0.5,
    }
    expected = fit(elsewhere(short, **recipe).stage(2))
    for step in range(1, STEPS + 1):
        stage = elsewhere(short, **recipe).stage(2)
        stopped(stage, step)
        assert_same(fit(stage, conv_model(seed=99)), expected, step)
        with pytest.raises(CheckpointError, match="scheduled for"):
            fit(replace(stage.course, epochs=dict.fromkeys(short.epochs, EPOCHS + 1)).stage(2))


def test_stop_at_any_step_of_stage_3_which_knows_the_model_it_starts_from(short):
    expected = fit(elsewhere(short).stage(3))
    for step in range(1, STEPS + 1):
        stage = elsewhere(short).stage(3)
        stopped(stage, step)
        with pytest.raises(CheckpointError, match="stage-3"):
            fit(stage, conv_model(seed=99))
        assert_same(fit(stage), expected, step)


@pytest.mark.parametrize("evaluation, epochs", [(1, 1), (2, 2), (EPOCHS, EPOCHS)])
def test_stop_while_the_heldout_images_are_measured(short, evaluation, epochs):
    """In the last one, too: Run All stops, and the stage is finished."""
    stage, model, evaluations = short.stage(2), conv_model(), []

    def before_forward(module, inputs):
        if not module.training and len(inputs[0]) > 2:  # not the two pictures of `answers`
            evaluations.append(1)
            if len(evaluations) == evaluation:
                press_stop()

    model.register_forward_pre_hook(before_forward)
    with pytest.raises(Stopped):
        fit(stage, model)
    assert len(newest(stage)["position"]["history"]) == epochs
    assert (stage.state == "finished") == stage.model_path.exists() == (epochs == EPOCHS)
    assert_same(fit(stage, conv_model(seed=99)), fit(elsewhere(short).stage(2)))


def test_pressing_stop_again_and_again_changes_nothing(short):
    stage = short.stage(2)
    stopped(stage, 2, action=lambda: [press_stop() for _ in range(3)])
    assert newest(stage)["position"]["seen"] == 16
    with pytest.raises(KeyboardInterrupt):  # ■ is what it always is once training has ended
        press_stop()


def test_stop_in_stage_2_does_not_start_stage_3(short, monkeypatch):
    monkeypatch.setattr(Course, "new_model", lambda course: at_step(conv_model(), 2, press_stop))
    with pytest.raises(Stopped):
        trained_model(short, 3)
    assert short.stage(3).state is None and not short.stage(3).folder.exists()


@pytest.mark.parametrize("number", [1, 2, 3])
def test_three_resumes_within_one_epoch_with_other_cells_in_between(short, number):
    """Evaluations and random numbers of your own change nothing."""
    course = elsewhere(short, batch_size=4)  # five steps per epoch
    expected, stage = fit(elsewhere(course).stage(number)), course.stage(number)
    for _ in range(3):
        model = stopped(stage, 1)
        assert not newest(stage)["position"]["history"]
        evaluate(model, noise_images(9), course, augmented=True)
        torch.rand(7)
    assert_same(fit(stage), expected)


# --- Crashes, kills, lost files


def test_a_crash_in_any_step_costs_nothing_but_that_step(short, saving_often):
    """Among them the first step of an epoch, when the newest checkpoint is that of the last step
    before it."""
    expected, handler = fit(elsewhere(short).stage(2)), signal.getsignal(signal.SIGINT)
    for step in range(1, STEPS + 1):
        stage = elsewhere(short).stage(2)
        with pytest.raises(Crash):
            fit(stage, at_step(conv_model(), step, crash))
        assert signal.getsignal(signal.SIGINT) is handler and stage.state != "finished"
        model = (
            conv_model() if step == 1 else conv_model(seed=99)
        )  # before the first step there is no checkpoint
        assert_same(fit(stage, at_step(model, STEPS - step + 2, crash)), expected, step)


def test_a_crash_while_the_heldout_images_are_measured(short, saving_often):
    model = conv_model()

    def before_forward(module, inputs):
        if not module.training and len(inputs[0]) > 2:  # not the two pictures of a checkpoint
            crash()

    model.register_forward_pre_hook(before_forward)
    with pytest.raises(Crash):
        fit(short.stage(2), model)
    assert_same(fit(short.stage(2), conv_model(seed=99)), fit(elsewhere(short).stage(2)))


KILLED = """
import os, signal, sys, torch
from tiny import BATCH, EPOCHS, at_step, conv_model, noise_images
from course_lib import experiment, open_course, train
from course_lib.storage import checkpoints
experiment.best_device = lambda: torch.device("cpu")
checkpoints.EVERY_SECONDS = -1
course = open_course().experiment("short", epochs=EPOCHS, batch_size=BATCH)
model = at_step(conv_model(), int(sys.argv[1]), lambda: os.kill(os.getpid(), signal.SIGKILL))
train(model, noise_images(), course.stage(2), augmented=True, heldout=noise_images(9))
"""


def test_after_a_kill_in_mid_epoch_training_resumes_as_if_nothing_had_happened(short):
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, "5"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert short.stage(2).state  # four of the steps are in the checkpoint
    rest = at_step(conv_model(seed=99), STEPS - 4 + 1, crash)
    assert_same(fit(short.stage(2), rest), fit(elsewhere(short).stage(2)))


def test_a_finished_stage_is_loaded_at_once_and_nothing_is_written(short):
    stage = short.stage(2)
    expected = fit(stage)
    files = {path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()}
    with no_training():
        assert_same(fit(stage, conv_model(seed=99)), expected)
        assert files == {
            path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()
        }
        stage.model_path.unlink()
        fit(stage, conv_model(seed=99))
    assert files == {path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()}


def test_a_finished_stage_whose_last_checkpoint_rots_resumes_from_the_previous_one(
    short, saving_often, capsys
):
    stage = short.stage(2)
    expected = fit(stage)
    damaged = checkpoints.newest_first(stage.folder)[0]
    damaged.write_bytes(b"damaged")
    assert_same(fit(stage, at_step(conv_model(seed=99), 2, crash)), expected)
    assert damaged.name in (told := capsys.readouterr().out) and "Resuming stage 2" in told


def test_a_run_folder_deleted_while_the_kernel_lives_does_not_matter(short, saving_often):
    model = at_step(conv_model(), 5, lambda: shutil.rmtree(short.folder))
    expected = fit(short.stage(2), model)
    with no_training():
        assert_same(fit(short.stage(2), conv_model(seed=99)), expected)
    short.start_over()
    assert short.stage(2).state is None and (short.folder / "run.json").exists()
    assert_same(fit(short.stage(2)), expected)


def test_two_notebooks_that_train_the_same_stage_compute_the_same(short, saving_often):
    stage, second = short.stage(2), []
    first = at_step(conv_model(), 5, lambda: second.append(fit(stage, conv_model(seed=99))))
    assert_same(fit(stage, first), second[0])
    assert stage.state == "finished" and len(checkpoints.newest_first(stage.folder)) == 2


def test_a_checkpoint_that_another_notebook_deletes_at_the_same_time_is_no_error(
    short, saving_often
):
    deleted = []

    def delete_first(kind, path):
        if kind == "unlink" and path.suffix == ".pt":
            deleted.append(path.rename(path.with_suffix(".gone")))

    with watched(short.folder, delete_first):
        fit(short.stage(2))
    assert len(deleted) > 5


# --- More epochs, fewer epochs, another clock


def test_more_epochs_resume_where_fewer_ended_and_their_model_does_not_stand_for_more(
    short, monkeypatch
):
    fewer, stage, expected = (
        replace(short, epochs={2: 1}).stage(2),
        short.stage(2),
        fit(elsewhere(short).stage(2)),
    )
    fit(fewer)
    assert fewer.state == "finished" != stage.state
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(checkpoints, "write_model", lambda path, model: crash())
        fit(stage)
    assert_same(fit(stage, at_step(conv_model(seed=99), 1, crash)), expected)
    assert same_weights(weights_in(stage.model_path), expected[0])


@pytest.mark.parametrize("step, epochs", [(5, 2), (6, 2), (7, 3)])
def test_fewer_epochs_in_mid_epoch_finish_the_epoch_that_has_begun(short, step, epochs):
    """`model.pth` is always the state after whole epochs, and the history lists each of them."""
    stopped(short.stage(2), step)
    stage = replace(short, epochs={2: 1}).stage(2)
    assert_same(fit(stage, conv_model(seed=99)), fit(elsewhere(short, epochs=epochs).stage(2)))
    assert stage.state == "finished" and same_weights(weights_in(stage.model_path), fit(stage)[0])
    assert_same(
        fit(short.stage(2), conv_model(seed=99)), fit(elsewhere(short).stage(2))
    )  # and extended again


def test_a_clock_set_back_changes_nothing(short, monkeypatch):
    stage = short.stage(2)
    stopped(stage, 2)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    stopped(stage, 5)
    for age, path in enumerate(checkpoints.newest_first(stage.folder)):
        os.utime(path, (age * 1000, age * 1000))  # the newest is the oldest
    assert_same(fit(stage, conv_model(seed=99)), fit(elsewhere(short).stage(2)))
    assert stage.state == "finished"


@pytest.fixture
def conv_models(monkeypatch):
    """Tiny models in place of the report's, also where `trained_model` makes them."""
    monkeypatch.setattr(Course, "new_model", lambda course: conv_model())


def test_more_epochs_of_all_stages_train_stage_3_further_and_leave_the_stage_2_it_came_from(
    short, conv_models
):
    second, third = trained_model(short, 2), trained_model(short, 3)
    further = replace(short, epochs=dict.fromkeys(short.epochs, EPOCHS + 1))
    longer = trained_model(further, 3)
    assert not same_weights(longer, third) and further.stage(3).state == "finished"
    assert same_weights(trained_model(further, 2), second)


def test_train_can_be_called_again_on_the_same_model(short, conv_models):
    expected = trained_model(elsewhere(short), 3)
    model = at_step(trained_model(short, 2), 5, press_stop)
    train_again = functools.partial(train, model, short.data.train, short.stage(3), augmented=True)
    with pytest.raises(Stopped):
        train_again()
    for _ in range(2):  # resumed, then loaded
        train_again()
        assert same_weights(model, expected)


def test_a_block_of_ones_own_with_as_many_parameters_is_another_model(short):
    class Plain(torch.nn.Sequential):
        def forward(self, x):
            return -super().forward(x)

    fit(short.stage(2))
    with pytest.raises(CheckpointError, match="Plain"):
        fit(short.stage(2), torch.nn.Sequential(Plain(*conv_model())))


@pytest.mark.parametrize("epochs", [1, EPOCHS, 2 * EPOCHS])
def test_of_two_notebooks_that_train_one_stage_only_the_first_to_save_does(short, epochs):
    """The other one is told, and overwrites nothing, however far it gets."""
    first = replace(short, epochs=short.epochs | {2: epochs})
    before = {}

    def first_trains():
        fit(first.stage(2), conv_model(seed=7))
        for path in first.stage(2).folder.iterdir():
            before[path] = path.read_bytes()

    with pytest.raises(CheckpointError, match="stage-2"):
        fit(short.stage(2), at_step(conv_model(), 2, first_trains))
    assert {path: path.read_bytes() for path in first.stage(2).folder.iterdir()} == before


def test_stage_3_refuses_once_stage_2_was_trained_further(short, conv_models):
    trained_model(short, 3)
    with no_training():
        trained_model(short, 3)
    for more in (1, 2):  # until the checkpoint that stage 3 began with isn't kept any more
        further = replace(short, epochs=short.epochs | {2: EPOCHS + more})
        train(conv_model(), further.data.train, further.stage(2), augmented=False)
    before = {path.name: path.read_bytes() for path in short.stage(3).folder.iterdir()}
    with pytest.raises(CheckpointError, match="stage-3.*starts from"):
        trained_model(further, 3)
    assert {path.name: path.read_bytes() for path in short.stage(3).folder.iterdir()} == before
    further.stage(3).start_over()
    trained_model(further, 3)


# --- Other held-out images


@pytest.mark.parametrize("step", [2, 5, None])
def test_a_stage_is_not_measured_on_two_sets_of_heldout_images(short, step):
    """It would return one set's accuracies as the other's, or mix them."""
    stage = short.stage(2)
    if step is None:
        fit(stage)
    else:
        stopped(stage, step)
    files = {path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="stage-2.*held-out images"):
        fit(stage, conv_model(seed=99), heldout=7)
    relit = noise_images(9)
    relit.pixels[0] //= 2
    with pytest.raises(CheckpointError, match="stage-2.*held-out pixels"):
        train(conv_model(), noise_images(), stage, augmented=True, heldout=relit)
    for path, data in files.items():
        assert path.read_bytes() == data
    assert_same(fit(stage, conv_model(seed=99)), fit(elsewhere(short).stage(2)))


def test_measuring_on_no_heldout_images_mixes_nothing(short):
    """Neither before nor after others were measured; but then those are the stage's."""
    stage = short.stage(2)
    with pytest.raises(Stopped):
        fit(stage, at_step(conv_model(), 5, press_stop), heldout=None)
    fit(stage, conv_model(seed=99))
    fit(stage, conv_model(seed=99), heldout=None)
    with pytest.raises(CheckpointError, match="held-out images"):
        fit(stage, conv_model(seed=99), heldout=7)


# --- Another run


def other_names(images):
    return replace(images, names=[f"other {name}" for name in images.names])


def other_labels(images):
    return replace(images, labels=images.labels.roll(1))


@pytest.mark.parametrize(
    "settings, images, augmented, model",
    [
        ({"seed": 1}, noise_images(), True, conv_model),
        ({"size": 48}, noise_images(), True, conv_model),
        ({"lr": 0.1}, noise_images(), True, conv_model),
        ({"momentum": 0.5}, noise_images(), True, conv_model),
        ({"batch_size": 4}, noise_images(), True, conv_model),
        ({}, noise_images(IMAGES + 1), True, conv_model),
        ({}, other_names(noise_images()), True, conv_model),
        ({}, other_labels(noise_images()), True, conv_model),
        ({}, noise_images(), False, conv_model),
        ({}, noise_images(), True, linear_model),
    ],
)
def test_another_runs_checkpoint_is_refused_and_nothing_is_touched(
    short, settings, images, augmented, model
):
    fit(short.stage(2))
    files = {path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()}
    other, mine = replace(short, settings=replace(short.settings, **settings)), model(seed=5)
    with pytest.raises(CheckpointError, match=next(iter(settings), "stage-2")):
        train(mine, images, other.stage(2), augmented=augmented)
    assert same_weights(mine, model(seed=5))
    assert files == {path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()}


def by_hand(stage, make_optimizer, stop_at=None):
    """The loop with another optimizer, as a student might write it; returns the model and its
    optimizer."""
    model, images = at_step(conv_model(), stop_at, press_stop), noise_images()
    optimizer, scaler = make_optimizer(model.parameters()), stage.course.precision.scaler()
    with run.Run(stage, model, optimizer, scaler, images, True) as mine:
        for epoch in mine.epochs():
            model.train()
            first = mine.position.seen
            for batch in mine.steps(training_batches(images, stage, epoch, True, first)):
                logits = model(batch.images)
                loss = F.cross_entropy(logits, batch.labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                mine.count(loss, logits, batch.labels)
            mine.end_epoch()
        mine.finish()
    return model, optimizer


OPTIMIZERS = {
    "SGD": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9),
    "weight_decay": lambda weights: torch.optim.SGD(
        weights, lr=0.01, momentum=0.9, weight_decay=1e-3
    ),
    "nesterov": lambda weights: torch.optim.SGD(weights, lr=0.01, momentum=0.9, nesterov=True),
    "weight_decay ": lambda weights: torch.optim.SGD(  # of a group
        [{"params": list(weights), "weight_decay": 1e-3}], lr=0.01, momentum=0.9
    ),
    "Adam": lambda weights: torch.optim.Adam(weights, lr=0.01),
}


@pytest.mark.parametrize("name", list(OPTIMIZERS)[1:])
def test_a_changed_optimizer_is_refused_not_undone_and_resumes_as_itself(short, name):
    fit(short.stage(2), heldout=0)
    with pytest.raises(CheckpointError, match=name.strip()):
        by_hand(short.stage(2), OPTIMIZERS[name])
    expected, _ = by_hand(elsewhere(short).stage(2), OPTIMIZERS[name])
    stage = elsewhere(short).stage(2)
    with pytest.raises(Stopped):
        by_hand(stage, OPTIMIZERS[name], stop_at=5)
    assert same_weights(by_hand(stage, OPTIMIZERS[name])[0], expected)
    assert not same_weights(expected, by_hand(short.stage(2), OPTIMIZERS["SGD"])[0])


BROKEN = {
    "no identity": lambda state: state.pop("identity"),
    "no position": lambda state: state.pop("position"),
    "no answers": lambda state: state.pop("answers"),
    "another position": lambda state: state.update(position={"epochs": 1}),
    "a position too many": lambda state: state["position"].update(mood="good"),
    "a number as the optimizer": lambda state: state.update(optimizer=3),
    "a list as the weights": lambda state: state.update(model=[1]),
    "no weights": lambda state: state.update(model={}),
    "a word as the sums": lambda state: state.update(sums="two"),
    "nothing about its making": lambda state: state.update(made_on={}),
    "a list as the identity": lambda state: state.update(identity=[1]),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_checkpoint_whose_content_is_not_a_stages_names_itself(short, how):
    fit(short.stage(2))
    state = newest(short.stage(2))
    BROKEN[how](state)
    folder = short.stage(2).folder
    training = checkpoints.training_of(checkpoints.newest_good(folder))
    path = checkpoints.save(folder, state, 9, 0, training)
    with pytest.raises(CheckpointError, match=path.name):
        fit(short.stage(2))


# --- Precision


def in_precision(course, name):
    return replace(course, precision=Precision(name, "cpu"))


@pytest.mark.parametrize("name", ["bf16", "fp16"])
def test_every_precision_resumes_bit_for_bit_and_keeps_weights_in_float32(short, name):
    course = in_precision(short, name)
    uninterrupted = elsewhere(course).stage(2)
    expected = fit(uninterrupted)
    assert 0 < expected[1][0][2] < 1  # an accuracy
    for step in range(1, STEPS + 1):
        stage = elsewhere(course).stage(2)
        stopped(stage, step)
        assert_same(fit(stage, conv_model(seed=99)), expected, step)
        assert newest(stage)["scaler"] == newest(uninterrupted)["scaler"]
    weights = torch.load(stage.model_path, weights_only=True)
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}
    assert predict(expected[0], noise_images(5), course).dtype == torch.float32


@pytest.mark.parametrize(
    "before, after", [("bf16", "fp32"), ("fp16", "fp32"), ("fp32", "fp16"), ("bf16", "fp16")]
)
def test_a_run_resumes_in_another_precision_and_says_so(short, capsys, before, after):
    stopped(in_precision(short, before).stage(2), 4)
    capsys.readouterr()
    stage = in_precision(short, after).stage(2)
    fit(stage, conv_model(seed=99))
    said = capsys.readouterr().out
    assert before in said and after in said and stage.state == "finished"
    assert newest(stage)["made_on"]["precision"] == after


def test_a_step_that_overflows_in_fp16_leaves_no_trace_but_a_message(short, saving_often, capsys):
    """The scaler is the real one, on the CPU. In the first step the activations overflow, in the
    second a gradient."""
    stage, model, states = in_precision(short, "fp16").stage(2), conv_model(), []
    hooks = [model[0].register_forward_hook(lambda module, inputs, output: output * float("inf"))]

    def next_step():
        hooks.pop().remove()
        states.append(
            newest(stage)
            | {"weights": {name: value.clone() for name, value in model.named_parameters()}}
        )
        if len(states) == 1:
            hooks.append(model[0].weight.register_hook(lambda gradient: gradient * float("inf")))

    _, history = fit(stage, at_step(at_step(model, 2, next_step), 3, next_step))
    for skipped, state in enumerate(states, 1):
        assert state["optimizer"]["state"] == {} and state["scaler"]["scale"] == 2.0 ** (
            16 - skipped
        )  # no momentum
        assert state["position"]["skipped"] == skipped
        assert all(
            torch.equal(state["weights"][name], value)
            for name, value in conv_model().named_parameters()
        )
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert not same_weights(model, conv_model()) and all(0 < loss < 10 for _, loss, _, _ in history)
    assert "fp16" in capsys.readouterr().out


def test_images_of_a_step_that_overflowed_count_neither_as_right_nor_with_a_loss(short):
    """Hardly anything is learned at this rate, so all steps have about the same loss."""
    course = in_precision(elsewhere(short, lr=1e-6, epochs=1), "fp16")
    [whole] = train(linear_model(), noise_images(40), course.stage(2), augmented=False)
    model = linear_model()
    model[2].register_forward_hook(overflow_in_steps(2, 4))
    course = in_precision(elsewhere(short, lr=1e-6, epochs=1), "fp16")
    [without] = train(model, noise_images(40), course.stage(2), augmented=False)
    assert without["loss"] == pytest.approx(whole["loss"], rel=0.1)


def overflow_in_steps(*steps):
    """A forward hook whose outputs are infinite in these steps, from 1."""
    count = itertools.count(1)

    def hook(module, inputs, output):
        if not module.training:
            return output
        return output * float("inf") if next(count) in steps else output

    return hook


@pytest.mark.parametrize("where", ["activations", "gradient"])
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_run_whose_every_step_overflows_diverges(short, where, batch_size):
    """However few steps an epoch has: stage 1 has five."""
    course = in_precision(elsewhere(short, epochs=10, batch_size=batch_size), "fp16")
    model = linear_model()
    if where == "gradient":
        model[2].weight.register_hook(lambda gradient: gradient * float("inf"))
    else:
        model[2].register_forward_hook(lambda module, inputs, output: output * float("inf"))
    with pytest.raises(DivergedError):
        fit(course.stage(2), model)
    assert course.stage(2).state != "finished" and not course.stage(2).model_path.exists()


# --- Losses that aren't finite, and a full device


@pytest.mark.parametrize("where", ["loss", "gradient", "loss and ■"])
def test_a_loss_that_is_not_finite_ends_training_and_is_never_saved(short, saving_often, where):
    expected = fit(elsewhere(short).stage(2))
    for step in range(2, STEPS + 1):
        stage, model = elsewhere(short).stage(2), conv_model()

        def poison(model=model):
            if where == "gradient":  # this step's loss is finite, but not the weights after it
                model[5].weight.register_hook(lambda gradient: gradient * float("nan"))
            else:
                model[5].bias.data.fill_(float("nan"))
            if where == "loss and ■":
                press_stop()

        with pytest.raises(DivergedError):
            fit(stage, at_step(model, step, poison))
        assert not stage.model_path.exists()
        position = newest(stage)["position"]
        assert (
            position["epoch"] * IMAGES + position["seen"]
            == (step - 1) // 3 * IMAGES + (step - 1) % 3 * 8
        )
        assert_same(fit(stage, conv_model(seed=99)), expected, step)


def test_training_resumes_after_the_devices_memory_was_full(short, saving_often):
    def out_of_memory():
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(torch.OutOfMemoryError):
        fit(short.stage(2), at_step(conv_model(), 5, out_of_memory))
    assert_same(fit(short.stage(2), conv_model(seed=99)), fit(elsewhere(short).stage(2)))


# --- The whole report, and its times


@pytest.mark.slow
def test_stages_2_and_3_of_the_report_end_to_end(environment, monkeypatch):
    """MyModel on the built-in data, in whatever precision and on whatever device this machine
    offers."""
    settings, epochs = experiment.PRESETS["smoke"]
    monkeypatch.setitem(
        experiment.PRESETS, "smoke", (replace(settings, images_per_class=(1, 1)), epochs)
    )
    environment(PRESET="smoke")
    course = open_course()
    model = trained_model(course, 3)
    assert [course.stage(number).state for number in (1, 2, 3)] == [None, "finished", "finished"]
    assert not same_weights(get_model(MyModel, course.stage(2).model_path), model.cpu())
    with no_training():
        assert same_weights(trained_model(course, 3).cpu(), model)
    found = evaluate(model, course.data.heldout, course)
    assert found.images == 80 and 0 <= found.accuracy <= 1


@pytest.mark.parametrize("every", [-1, 10, 10**9])
def test_seconds_are_those_of_an_epochs_own_steps(short, monkeypatch, every):
    """Each batch takes one second of a clock of our own; saving and measuring, however often,
    aren't counted."""
    clock = [0.0]
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", every)

    def tick(module, inputs):
        clock[0] += 1 if module.training else 100

    def slow_save(*args, real=checkpoints.save):
        clock[0] += 1000
        real(*args)

    monkeypatch.setattr(checkpoints, "save", slow_save)
    model = conv_model()
    model.register_forward_pre_hook(tick)
    history = train(model, noise_images(), short.stage(2), augmented=True, heldout=noise_images(9))
    assert [entry["seconds"] for entry in history] == [3.0, 3.0, 3.0]
    assert {entry["images_per_second"] for entry in history} == {6.7}


@pytest.mark.parametrize(
    "seconds, expected",
    [(50, [(0, 20), (1, 20), (2, 20), (3, 0)]), (15, [(2, 0), (3, 0)]), (1, [(3, 0)]), (130, None)],
)
def test_a_checkpoint_is_saved_every_two_minutes_and_rather_between_two_epochs(
    short, monkeypatch, seconds, expected
):
    """With steps of so many seconds, three per epoch: the positions saved."""
    clock, saved = [0.0], []
    monkeypatch.setattr(run, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    real = checkpoints.save
    monkeypatch.setattr(checkpoints, "save", lambda *args: saved.append(args[2:4]) or real(*args))
    model = conv_model()
    model.register_forward_pre_hook(lambda *_: clock.__setitem__(0, clock[0] + seconds))
    fit(short.stage(2), model, heldout=0)
    every_step = [(epoch, seen) for epoch in range(EPOCHS) for seen in (8, 16, 20)] + [(EPOCHS, 0)]
    assert saved == (expected or every_step)


def test_a_curve_that_cannot_be_drawn_costs_nothing_that_was_trained(short):
    class Broken(run.EpochLines):
        def show(self, history, running=None, finished=False):
            if finished:
                raise Crash

    stage = short.stage(2)
    with pytest.raises(Crash):
        train(conv_model(), noise_images(), stage, augmented=False, live=Broken(stage))
    assert stage.state == "finished" and stage.model_path.exists()


# A model.pth of yours


@pytest.mark.parametrize("content", ["weights", b"", b"my thesis"])
def test_a_model_pth_of_yours_is_kept_under_another_name(short, content, capsys, tmp_path):
    stage = short.stage(2)
    stage.folder.mkdir(parents=True)
    if content == "weights":
        torch.save(conv_model(seed=7).state_dict(), stage.model_path)
    else:
        stage.model_path.write_bytes(content)
    mine = stage.model_path.read_bytes()
    (stage.folder / "model-1.pth").write_text("another")
    expected = fit(stage)
    assert same_weights(weights_in(stage.model_path), expected[0])
    assert (stage.folder / "model-2.pth").read_bytes() == mine
    assert (stage.folder / "model-1.pth").read_text() == "another"
    assert "model-2.pth" in capsys.readouterr().out
    stage.start_over()
    assert (stage.folder / "model-2.pth").read_bytes() == mine


def test_a_stages_own_model_pth_is_replaced(short):
    """Again, after more epochs, and after more of them than checkpoints are kept for."""
    stage = short.stage(2)
    fit(stage)
    fit(stage)
    further = replace(short, epochs=short.epochs | {2: EPOCHS + 1}).stage(2)
    model, _ = fit(further)
    write_sealed(stage.measured_path, {"model": weights_digest(model.state_dict())})
    middle = replace(short, epochs=short.epochs | {2: EPOCHS + 2}).stage(2)
    stopped(middle, 2)
    for path in checkpoints.newest_first(stage.folder)[1:]:
        path.unlink()
    last = replace(short, epochs=short.epochs | {2: EPOCHS + 2}).stage(2)
    model, _ = fit(last)
    assert same_weights(weights_in(stage.model_path), model)
    assert not list(stage.folder.glob("model-*.pth"))


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("whole_run", [True, False])
def test_a_model_pth_of_yours_stays_when_its_stage_starts_over(short, trained, whole_run, capsys):
    """`adopt_model` advises to start over, and the model may lie just there."""
    stage = short.stage(2)
    stage.folder.mkdir(parents=True, exist_ok=True)
    if trained:
        fit(stage)
    torch.save(conv_model(seed=7).state_dict(), stage.model_path)
    mine = stage.model_path.read_bytes()
    (short if whole_run else stage).start_over()
    assert (stage.folder / "model-1.pth").read_bytes() == mine
    assert "model-1.pth" in capsys.readouterr().out
    assert [path.name for path in stage.folder.iterdir()] == ["model-1.pth"]


def test_the_stages_own_model_pth_is_deleted_when_it_starts_over(short):
    stage = short.stage(2)
    fit(stage)
    assert stage.model_path.exists()
    stage.start_over()
    assert not stage.folder.exists()


def test_another_runs_training_is_not_deleted_through_a_link(short):
    """You may have linked a finished stage into an experiment, so as not to train it again."""
    fit(short.stage(2))
    experiment = short.experiment("linked")
    other = experiment.stage(2).folder
    other.symlink_to(short.stage(2).folder)
    for start_over in (experiment.start_over, experiment.stage(2).start_over):
        with pytest.raises(CheckpointError, match="link"):
            start_over()
        assert short.stage(2).finished and other.is_symlink()
    other.unlink()
    experiment.start_over()
    assert short.stage(2).finished
