"""Training, evaluation and prediction: right for any number of images, and the same however often they are cut off."""

import csv
import itertools
import os
import random
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import at_step, conv_model, linear_model, noise_images, same_weights
from torch.utils._python_dispatch import TorchDispatchMode

import course_lib
from course_lib import (
    CheckpointError,
    DataError,
    DeviceMemoryError,
    MyModel,
    evaluate,
    get_model,
    open_bank,
    open_course,
    predict,
    train,
    trained_model,
)
from course_lib.batches import training_batches
from course_lib.workspace import Precision

HERE = Path(__file__).parent
EPOCHS, IMAGES, BATCH = 3, 20, 8  # three steps an epoch, the last of them smaller
STEPS = 9


@pytest.fixture(autouse=True)
def one_thread():
    """Sums are the same bit for bit only where they are split up in the same way."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def short(course):
    """A course whose stages take three epochs in batches of 8, and save after every step."""
    return course.with_settings(epochs={1: EPOCHS, 2: EPOCHS, 3: EPOCHS}, batch_size=BATCH, checkpoint_seconds=0.0)


_homes = itertools.count()


def elsewhere(course):
    """The same course with an empty home of its own."""
    return replace(course, home=course.home / f"other-{next(_homes)}")


def measured(history):
    """A history without what depends on the machine's speed."""
    return [{key: entry[key] for key in ("epoch", "loss", "train_accuracy", "heldout_accuracy")} for entry in history]


def directly(model, images):
    """Mean loss and accuracy, one image after the other, in double precision."""
    model, losses, right = model.double().eval(), [], 0
    for position in range(len(images)):
        pixels = images.batch(torch.tensor([position])).double() / 127.5 - 1
        logits = model(pixels.permute(0, 3, 1, 2))
        losses.append(F.cross_entropy(logits, images.labels[position : position + 1]).item())
        right += int(logits.argmax()) == int(images.labels[position])
    model.float()
    return pytest.approx(np.mean(losses), abs=1e-4), pytest.approx(right / len(images), abs=1e-9)


# --- Every image counts once ---------------------------------------------------------------------------------------


@given(count=st.integers(1, 600))
@example(count=1)
@example(count=256)
@example(count=257)
def test_an_evaluation_counts_every_image_once(course, count):
    """The report counts range(32) and divides by 40,000; a last batch of any size must be right here."""
    model, images = linear_model(count), noise_images(count, seed=count)
    found = evaluate(model, images, course)
    assert (found.loss, found.accuracy) == directly(model, images) and found.images == count


@given(count=st.integers(1, 150), batch=st.integers(1, 64))
@example(count=33, batch=32)
def test_training_counts_every_image_once(course, count, batch):
    """With a learning rate of 0 the running figures of an epoch are those of a model that stands still."""
    images = noise_images(count, seed=count)
    images.labels[::3] = predict(linear_model(), images, course).argmax(1)[::3]  # some are right from the beginning
    still = elsewhere(course.with_settings(lr=0.0, batch_size=batch))
    (entry,) = train(linear_model(), images, still.stage(2), augmented=False)
    assert (entry["loss"], entry["train_accuracy"]) == directly(linear_model(), images)
    assert entry["train_accuracy"] >= 1 / 3 and entry["epoch"] == 1 and entry["heldout_accuracy"] is None


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("count", [1, 2, 9])
def test_data_sets_of_any_size_can_be_trained_on(short, count, augmented):
    history = train(linear_model(), noise_images(count), short.stage(2), augmented=augmented)
    assert [entry["epoch"] for entry in history] == [1, 2, 3]


def test_nothing_to_train_on_is_said_in_words(short):
    with pytest.raises(DataError, match="at least one image"):
        train(linear_model(), noise_images(3).subset([]), short.stage(2), augmented=False)
    unknown = noise_images(3)
    unknown.labels[1] = -1
    with pytest.raises(DataError, match="label"):
        train(linear_model(), unknown, short.stage(2), augmented=False)


@pytest.mark.parametrize("augmented", [False, True])
def test_training_is_sgd_with_momentum_on_the_mean_cross_entropy(short, augmented):
    """The report's settings, written out: v ← 0.9 v + g, w ← w − 0.01 v."""
    model, ours, images = linear_model(), linear_model(), noise_images(IMAGES)
    history = train(ours, images, short.stage(3), augmented=augmented)
    velocity = [torch.zeros_like(weight) for weight in model.parameters()]
    for epoch in range(1, EPOCHS + 1):
        loss_sum = 0.0
        for batch, labels in training_batches(images, short, 3, epoch, augmented):
            loss = F.cross_entropy(model(batch), labels)
            loss_sum += loss.item() * len(labels)
            for i, (weight, gradient) in enumerate(
                zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())))
            ):
                velocity[i] = 0.9 * velocity[i] + gradient
                weight.data -= 0.01 * velocity[i]
        assert history[epoch - 1]["loss"] == pytest.approx(loss_sum / IMAGES, rel=1e-5)
    for ours_weight, weight in zip(ours.parameters(), model.parameters()):
        torch.testing.assert_close(ours_weight, weight, rtol=1e-5, atol=1e-6)


def test_training_learns(short):
    images, model = noise_images(16), linear_model()
    easy = short.with_settings(epochs={1: 40, 2: 1, 3: 1}, lr=5.0, checkpoint_seconds=60)
    history = train(model, images, easy.stage(1), augmented=False)
    assert history[-1]["train_accuracy"] == 1 and history[-1]["loss"] < history[0]["loss"] / 10


def test_heldout_accuracy_is_measured_after_each_epoch_and_changes_nothing(short):
    images, heldout = noise_images(IMAGES), noise_images(30, seed=1)
    with_it, without = conv_model(), conv_model()
    history = train(with_it, images, short.stage(2), augmented=True, heldout=heldout)
    train(without, images, elsewhere(short).stage(2), augmented=True)
    assert same_weights(with_it, without)
    shares = [entry["heldout_accuracy"] for entry in history]
    share = heldout.take(max(1, IMAGES // 8))  # see `heldout_share`
    assert shares[-1] == evaluate(with_it, share, short).accuracy and all(0 <= found <= 1 for found in shares)


# --- No waiting for the device, no traces ---------------------------------------------------------------------------


class Waits(TorchDispatchMode):
    """Counts how often a number is read off a tensor: on a GPU the host waits each time until all is computed."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("augmented", [False, True])
def test_no_step_waits_for_the_device(short, augmented):
    quiet, counts = short.with_settings(checkpoint_seconds=60), []
    for count in (BATCH, 25 * BATCH):  # 1 and 25 steps an epoch
        stage = elsewhere(quiet).stage(2)
        with Waits() as waits:
            train(linear_model(), noise_images(count), stage, augmented=augmented, heldout=noise_images(3))
        counts.append(waits.count)
    assert counts[0] == counts[1] <= 8 * EPOCHS


def test_no_batch_of_an_evaluation_waits_for_the_device(course):
    counts = []
    for count in (5, 1000):
        with Waits() as waits:
            evaluate(linear_model(), noise_images(count), course)
        counts.append(waits.count)
    assert counts[0] == counts[1]


def random_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


def test_the_global_random_state_is_neither_used_nor_changed(short):
    models, images = [], noise_images(IMAGES)
    for seed in (1, 2):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        before = random_state()
        models.append(conv_model())
        train(models[-1], images, elsewhere(short).stage(3), augmented=True, heldout=images)
        evaluate(models[-1], images, short, augmented=True)
        course_lib.test(models[-1], images, short, short.folder / "result.csv")
        assert random_state() == before
    assert same_weights(*models)


@pytest.mark.parametrize("measure", [evaluate, predict])
def test_an_evaluation_changes_neither_the_model_nor_its_mode(course, measure):
    for training in (True, False):
        model, before = conv_model().train(training), conv_model()
        model[1].eval()  # a layer may be frozen while the rest is trained
        measure(model, noise_images(10), course)
        assert same_weights(model, before)
        assert [layer.training for layer in model] == [training, False] + [training] * 4
        assert model.training == training and all(weight.grad is None for weight in model.parameters())


def test_an_evaluation_that_fails_leaves_the_mode_as_it_was(course):
    model = linear_model()
    model.register_forward_pre_hook(lambda module, inputs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        evaluate(model, noise_images(10), course)
    assert model.training


def test_an_accuracy_without_labels_is_refused(course):
    images = noise_images(5)
    with pytest.raises(DataError, match="at least one image"):
        evaluate(linear_model(), images.subset([]), course)
    images.labels[3] = -1
    with pytest.raises(DataError, match="label"):
        evaluate(linear_model(), images, course)


# --- Cut off, and going on ------------------------------------------------------------------------------------------


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


def test_a_finished_stage_leaves_bare_weights_and_one_checkpoint(short):
    stage, model = short.stage(2), conv_model()
    train(model, noise_images(IMAGES), stage, augmented=False)
    weights = torch.load(stage.model_path, weights_only=True)
    assert list(weights) == list(model.state_dict())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(value.is_contiguous() for value in weights.values())  # the report's code knows no channels_last
    assert len(list(stage.folder.glob("*.pt"))) == 1


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


@pytest.mark.parametrize(
    "name, change",
    [
        ("seed", lambda course: course.with_settings(seed=1)),
        ("size", lambda course: course.with_settings(size=48)),
        ("lr", lambda course: course.with_settings(lr=0.1)),
        ("batch size", lambda course: course.with_settings(batch_size=4)),
        ("precision", lambda course: replace(course, precision=Precision("bf16", "cpu"))),
    ],
)
def test_a_run_does_not_go_on_from_another_runs_checkpoint(short, name, change):
    images = noise_images(IMAGES)
    train(conv_model(), images, short.stage(2), augmented=False)
    model = conv_model(seed=5)
    with pytest.raises(CheckpointError, match=f"was made with {name} .* Delete that folder"):
        train(model, images, change(short).stage(2), augmented=False)
    assert same_weights(model, conv_model(seed=5))


def test_nor_on_other_images_nor_with_another_augmentation_nor_into_another_model(short):
    train(conv_model(), noise_images(IMAGES), short.stage(2), augmented=False)
    with pytest.raises(CheckpointError, match="augmentation"):
        train(conv_model(), noise_images(IMAGES), short.stage(2), augmented=True)
    with pytest.raises(CheckpointError, match="training images"):
        train(conv_model(), noise_images(IMAGES + 1), short.stage(2), augmented=False)
    with pytest.raises(CheckpointError, match="another model.*Delete that folder"):
        train(linear_model(), noise_images(IMAGES), short.stage(2), augmented=False)


def test_in_bf16_the_weights_stay_float32(short):
    course, model = replace(short, precision=Precision("bf16", "cpu")), conv_model()
    train(model, noise_images(IMAGES), course.stage(2), augmented=True, heldout=noise_images(9))
    assert {value.dtype for value in torch.load(course.stage(2).model_path).values()} == {torch.float32, torch.int64}
    assert predict(model, noise_images(5), course).dtype == torch.float32


# --- A device's memory ----------------------------------------------------------------------------------------------


def out_of_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def test_a_full_device_says_what_to_lower_and_training_goes_on_later(short):
    images, stage = noise_images(IMAGES), short.stage(2)
    with pytest.raises(DeviceMemoryError, match="32 × 32 pixels: lower COURSE_SIZE or the batch size"):
        train(at_step(conv_model(), 5, out_of_memory), images, stage, augmented=True)
    model = conv_model(seed=99)
    train(model, images, stage, augmented=True)
    assert same_weights(model, uninterrupted(short, augmented=True)[0])


@pytest.mark.parametrize("measure", [evaluate, predict])
def test_a_device_too_full_to_evaluate_says_what_to_lower(course, measure):
    model = linear_model()
    model.register_forward_pre_hook(lambda module, inputs: out_of_memory())
    with pytest.raises(DeviceMemoryError, match="COURSE_SIZE"):
        measure(model, noise_images(5), course)


# --- Predictions ----------------------------------------------------------------------------------------------------


@given(count=st.integers(1, 300))
def test_predictions_are_probabilities_in_order(course, count):
    model, images = linear_model(), noise_images(count)
    found = predict(model, images, course)
    assert found.shape == (count, 80) and found.dtype == torch.float32
    torch.testing.assert_close(found.sum(1), torch.ones(count))
    last = predict(model, images.subset([count - 1]), course)
    torch.testing.assert_close(found[-1:], last)


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_result_csv_is_the_reports(course):
    """Header `filename,class`; 2 before 10, names that are no numbers too (1.F)."""
    names = ["10.jpg", "2.jpg", "cat 3, left.png", "1.jpg", "고양이.png", "cat 20.png"]
    images = replace(noise_images(6), names=names)
    path = course.folder / "result.csv"
    probabilities = course_lib.test(linear_model(), images, course, path)
    header, *rows = rows_of(path)
    assert header == ["filename", "class"]
    assert [name for name, _ in rows] == ["1.jpg", "2.jpg", "10.jpg", "cat 3, left.png", "cat 20.png", "고양이.png"]
    assert {name: int(label) for name, label in rows} == dict(zip(names, probabilities.argmax(1).tolist()))
    assert path.read_text().splitlines()[0] == "filename,class"


def test_without_test_images_result_csv_has_its_header(course):
    path = course.folder / "result.csv"
    assert course_lib.test(linear_model(), noise_images(3).subset([]), course, path).shape == (0, 80)
    assert rows_of(path) == [["filename", "class"]]


def test_where_result_csv_cannot_be_written_that_is_said(course):
    course.home.parent.joinpath("file").write_text("in the way")
    with pytest.raises(DataError, match="result.csv cannot be written"):
        course_lib.test(linear_model(), noise_images(3), course, course.home.parent / "file" / "result.csv")


# --- The whole experiment in small ----------------------------------------------------------------------------------


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
    found = evaluate(model, bank.heldout, course)
    assert found.images == 80 and 0 <= found.accuracy <= 1
