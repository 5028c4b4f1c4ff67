"""Cut off anywhere, and going on as if nothing had happened: the same weights, bit for bit."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny import (
    BATCH,
    EPOCHS,
    IMAGES,
    STEPS,
    at_step,
    conv_model,
    elsewhere,
    linear_model,
    noise_images,
    same_weights,
)

from course_lib import (
    CheckpointError,
    DeviceMemoryError,
    MyModel,
    checkpoint,
    evaluate,
    get_model,
    open_bank,
    open_course,
    predict,
    resume,
    train,
    trained_model,
)
from course_lib.device import Precision

HERE = Path(__file__).parent


def measured(history):
    """A history without what depends on the machine's speed."""
    return [{key: entry[key] for key in ("epoch", "loss", "train_accuracy", "heldout_accuracy")} for entry in history]


def uninterrupted(course, augmented):
    model = conv_model()
    history = train(
        model, noise_images(IMAGES), elsewhere(course).stage(2), augmented=augmented, heldout=noise_images(9)
    )
    return model, measured(history)


def press_stop():
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_the_stop_button_ends_training_cleanly_and_the_same_call_goes_on(short, capsys, step, augmented):
    quiet, images, heldout = short.with_settings(checkpoint_seconds=60), noise_images(IMAGES), noise_images(9)
    stage, handler = quiet.stage(2), signal.getsignal(signal.SIGINT)
    stopped = at_step(conv_model(), step, press_stop)
    history = train(stopped, images, stage, augmented=augmented, heldout=heldout)
    assert len(history) == step // 3  # whole epochs; the step in which ■ came is still taken
    assert signal.getsignal(signal.SIGINT) is handler
    assert stage.finished == (step == STEPS)
    if step < STEPS:
        assert "run the cell again" in capsys.readouterr().out
    expected, expected_history = uninterrupted(quiet, augmented)
    model = conv_model(seed=99)  # the weights come from the checkpoint
    history = train(model, images, stage, augmented=augmented, heldout=heldout)
    assert same_weights(model, expected) and measured(history) == expected_history
    assert stage.finished


def test_pressing_stop_again_and_again_changes_nothing(short):
    def press_often():
        for _ in range(3):
            press_stop()

    train(at_step(linear_model(), 2, press_often), noise_images(IMAGES), short.stage(2), augmented=False)
    with pytest.raises(KeyboardInterrupt):  # and it is given back
        press_stop()


class Crash(Exception):
    pass


def crash():
    raise Crash


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_crash_in_any_step_costs_nothing_but_that_step(short, step):
    """Among them the first step of an epoch, when the newest checkpoint is that of the last step before it."""
    images, heldout, stage = noise_images(IMAGES), noise_images(9), short.stage(2)
    with pytest.raises(Crash):
        train(at_step(conv_model(), step, crash), images, stage, augmented=True, heldout=heldout)
    assert not stage.finished
    model = conv_model() if step == 1 else conv_model(seed=99)  # before the first step there is no checkpoint
    counted = at_step(model, STEPS - step + 2, crash)  # one step more than are left
    history = train(counted, images, stage, augmented=True, heldout=heldout)
    expected, expected_history = uninterrupted(short, augmented=True)
    assert same_weights(counted, expected) and measured(history) == expected_history


def test_a_crash_while_the_heldout_images_are_measured(short):
    images, heldout, stage = noise_images(IMAGES), noise_images(9), short.stage(2)
    model = conv_model()
    model.register_forward_pre_hook(lambda module, inputs: None if module.training else crash())
    with pytest.raises(Crash):
        train(model, images, stage, augmented=True, heldout=heldout)
    model = conv_model(seed=99)
    history = train(model, images, stage, augmented=True, heldout=heldout)
    expected, expected_history = uninterrupted(short, augmented=True)
    assert same_weights(model, expected) and measured(history) == expected_history


KILLED = """
import os, signal, sys, torch
from tiny import at_step, conv_model, noise_images
from course_lib import open_course, train, workspace
torch.set_num_threads(1)
workspace.best_device = lambda: torch.device("cpu")
epochs, images, batch, step = map(int, sys.argv[1:])
course = open_course().with_settings(epochs={1: epochs, 2: epochs, 3: epochs}, batch_size=batch, checkpoint_seconds=0.0)
model = at_step(conv_model(), step, lambda: os.kill(os.getpid(), signal.SIGKILL))
train(model, noise_images(images), course.stage(2), augmented=True, heldout=noise_images(9))
"""


def test_after_a_kill_in_mid_epoch_training_goes_on_as_if_nothing_had_happened(short):
    paths = [str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, (EPOCHS, IMAGES, BATCH, 5))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)},
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    model = at_step(conv_model(seed=99), STEPS - 4 + 1, crash)  # 4 of the steps are in the checkpoint
    history = train(model, noise_images(IMAGES), short.stage(2), augmented=True, heldout=noise_images(9))
    expected, expected_history = uninterrupted(short, augmented=True)
    assert same_weights(model, expected) and measured(history) == expected_history


@contextmanager
def no_training():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "backward", lambda *args, **options: crash())
        yield


def test_a_finished_stage_is_shown_again_at_once(short, capsys):
    images, stage, model = noise_images(IMAGES), short.stage(2), conv_model()
    history = train(model, images, stage, augmented=False)
    files = {file.name: file.read_bytes() for file in stage.folder.iterdir()}
    capsys.readouterr()
    with no_training():
        again = conv_model(seed=99)
        assert train(again, images, stage, augmented=False) == history
    assert same_weights(again, model) and "finished earlier" in capsys.readouterr().out
    assert files == {file.name: file.read_bytes() for file in stage.folder.iterdir()}


def test_a_finished_stage_leaves_bare_weights_and_two_checkpoints(short):
    stage, model = short.stage(2), conv_model()
    train(model, noise_images(IMAGES), stage, augmented=False)
    weights = torch.load(stage.model_path, weights_only=True)
    assert list(weights) == list(model.state_dict())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(value.is_contiguous() for value in weights.values())  # the report's code knows no channels_last
    assert len(list(stage.folder.glob("*.pt"))) == 2


def test_a_finished_stage_whose_last_checkpoint_rots_goes_on_from_the_one_before(short, capsys):
    stage, model, images = short.stage(2), conv_model(), noise_images(IMAGES)
    train(model, images, stage, augmented=True)
    max(stage.folder.glob("*.pt")).write_bytes(b"damaged")
    again = at_step(conv_model(seed=99), 2, crash)  # at most the steps behind the checkpoint before it are repeated
    train(again, images, stage, augmented=True)
    assert same_weights(again, model) and "Going on with stage 2 in epoch 3 of 3" in capsys.readouterr().out


def test_more_epochs_go_on_where_fewer_ended(short):
    images = noise_images(IMAGES)
    fewer = short.with_settings(epochs={1: 1, 2: 1, 3: 1})
    model = conv_model()
    train(model, images, fewer.stage(2), augmented=True)
    history = train(model, images, short.stage(2), augmented=True)
    expected = conv_model()
    assert measured(history) == measured(train(expected, images, elsewhere(short).stage(2), augmented=True))
    assert same_weights(model, expected)
    weights = torch.load(short.stage(2).model_path, weights_only=True)
    assert all(torch.equal(weights[name], value) for name, value in expected.state_dict().items())


def test_the_model_of_fewer_epochs_does_not_stand_for_more(short, monkeypatch):
    """Nor where a kill comes between the last checkpoint and the new `model.pth`."""
    images, stage = noise_images(IMAGES), short.stage(2)
    fewer = short.with_settings(epochs={1: 1, 2: 1, 3: 1})
    train(conv_model(), images, fewer.stage(2), augmented=True)
    assert fewer.stage(2).finished and not stage.finished
    with monkeypatch.context() as patch, pytest.raises(Crash):
        patch.setattr(checkpoint, "write_model", lambda path, model: crash())
        train(conv_model(), images, stage, augmented=True)
    assert not stage.finished
    model = conv_model(seed=99)
    train(model, images, stage, augmented=True)
    weights = torch.load(stage.model_path, weights_only=True)
    assert stage.finished and all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    "name, change",
    [
        ("seed", lambda course: course.with_settings(seed=1)),
        ("size", lambda course: course.with_settings(size=48)),
        ("lr", lambda course: course.with_settings(lr=0.1)),
        ("batch size", lambda course: course.with_settings(batch_size=4)),
    ],
)
def test_a_run_does_not_go_on_from_another_runs_checkpoint(short, name, change):
    images = noise_images(IMAGES)
    train(conv_model(), images, short.stage(2), augmented=False)
    model = conv_model(seed=5)
    with pytest.raises(CheckpointError, match=f"was made with {name} .*start_over"):
        train(model, images, change(short).stage(2), augmented=False)
    assert same_weights(model, conv_model(seed=5))


def test_nor_on_other_images_nor_with_another_augmentation_nor_into_another_model(short):
    train(conv_model(), noise_images(IMAGES), short.stage(2), augmented=False)
    with pytest.raises(CheckpointError, match="augmentation"):
        train(conv_model(), noise_images(IMAGES), short.stage(2), augmented=True)
    with pytest.raises(CheckpointError, match="training images"):
        train(conv_model(), noise_images(IMAGES + 1), short.stage(2), augmented=False)
    others = replace(noise_images(IMAGES), names=[f"other {i}.png" for i in range(IMAGES)])
    with pytest.raises(CheckpointError, match="file names and labels"):
        train(conv_model(), others, short.stage(2), augmented=False)
    with pytest.raises(CheckpointError, match="another model.*start_over"):
        train(linear_model(), noise_images(IMAGES), short.stage(2), augmented=False)


def test_in_bf16_the_weights_stay_float32(short):
    course, model = replace(short, precision=Precision("bf16", "cpu")), conv_model()
    train(model, noise_images(IMAGES), course.stage(2), augmented=True, heldout=noise_images(9))
    assert {value.dtype for value in torch.load(course.stage(2).model_path).values()} == {torch.float32, torch.int64}
    assert predict(model, noise_images(5), course).dtype == torch.float32


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_full_device_says_what_to_lower_and_training_goes_on_later(short):
    images, stage = noise_images(IMAGES), short.stage(2)
    with pytest.raises(DeviceMemoryError, match="32 × 32 pixels: lower COURSE_SIZE or the batch size"):
        train(at_step(conv_model(), 5, out_of_memory), images, stage, augmented=True)
    model = conv_model(seed=99)
    train(model, images, stage, augmented=True)
    assert same_weights(model, uninterrupted(short, augmented=True)[0])


def test_stages_2_and_3_of_the_report_end_to_end(environment):
    """MyModel on the embedded data, in whatever precision and on whatever device this machine offers."""
    environment(PRESET="smoke")
    course = open_course()
    bank = open_bank(course)
    assert len(bank.train) == 160 and len(bank.heldout) == 80
    model = trained_model(course, bank, 3)
    assert course.stage(2).finished and course.stage(3).finished and not course.stage(1).finished
    assert not same_weights(get_model(MyModel, course.stage(2).finished_model()), model)
    with no_training():
        assert same_weights(trained_model(course, bank, 3), model)
    course.stage(3).model_path.unlink()
    for file in course.stage(3).folder.glob("*.pt"):
        file.write_bytes(b"damaged")
    assert same_weights(trained_model(course, bank, 3), model)  # from the model of stage 2 again, not from a new one
    for number, other in ((2, True), (3, False)):  # 2 was trained without augmentation, 3 with it
        with pytest.raises(CheckpointError, match=f"augmentation {not other}, this run has {other}"):
            train(model, bank.train, course.stage(number), augmented=other)
    found = evaluate(model, bank.heldout, course)
    assert found.images == 80 and 0 <= found.accuracy <= 1


@pytest.mark.parametrize("share", [0, 1e-9, 1e9])
def test_seconds_are_those_of_an_epochs_own_steps(short, monkeypatch, share):
    """Each batch takes one second of a clock of our own; saving and measuring, however often, are not counted."""
    clock = [0.0]
    monkeypatch.setattr(resume.time, "monotonic", lambda: clock[0])

    def tick(module, inputs):
        clock[0] += 1 if module.training else 100

    def slow_save(*args, real=checkpoint.save):
        clock[0] += 1000
        real(*args)

    monkeypatch.setattr(checkpoint, "save", slow_save)
    model = conv_model()
    model.register_forward_pre_hook(tick)
    course = short.with_settings(checkpoint_seconds=share)
    history = train(model, noise_images(IMAGES), course.stage(2), augmented=True, heldout=noise_images(9))
    assert [entry["seconds"] for entry in history] == [3.0, 3.0, 3.0]
    assert {entry["images_per_second"] for entry in history} == {6.7}


def test_a_stage_that_has_begun_needs_no_earlier_one(course):
    """Its weights are those of its own checkpoint; the stage before it need not be there any more."""
    bank, stage = open_bank(course), course.stage(3)
    train(at_step(get_model(MyModel, seed=0), 2, press_stop), bank.train, stage, augmented=True)
    assert stage.state.startswith("in epoch 1 of 1") and not course.stage(2).folder.exists()
    trained_model(course, bank, 3)
    assert stage.finished and not course.stage(2).folder.exists()


def test_what_a_killed_process_left_half_written_is_swept(short):
    stage = short.stage(2)
    stage.folder.mkdir(parents=True)
    (stage.folder / ".checkpoint-00001-0000008.pt.1.tmp").write_bytes(b"half")
    train(linear_model(), noise_images(IMAGES), stage, augmented=False)
    assert not list(stage.folder.glob(".*"))
