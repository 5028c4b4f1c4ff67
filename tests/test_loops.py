"""Training, evaluation and prediction: right for any number of images, quiet on the device, and without traces."""

import csv
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import BATCH, EPOCHS, IMAGES, conv_model, elsewhere, linear_model, noise_images, same_weights
from torch.utils._python_dispatch import TorchDispatchMode

import course_lib
from course_lib import DataError, DeviceMemoryError, Totals, evaluate, predict, train, train_epoch
from course_lib.batches import training_batches
from course_lib.device import Precision


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resident", [False, True])
@pytest.mark.parametrize("augmented", [False, True])
def test_no_step_waits_for_a_cuda_device(short, augmented, resident):
    """PyTorch itself raises an error where it would wait (fp16 is left out: its scaler asks once a step)."""
    device = torch.device("cuda", torch.cuda.current_device())
    course = replace(short, device=device, precision=Precision("bf16", "cuda"))
    images, model = noise_images(25 * BATCH), linear_model().to(device)
    optimizer, totals = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9), Totals(device)
    batches = training_batches(images.resident(device) if resident else images, course, 2, 1, augmented)
    torch.cuda.set_sync_debug_mode("error")
    try:
        train_epoch(model, batches, optimizer, course.precision.scaler(), course.precision, totals)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert totals.seen == len(images)


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


def test_training_is_in_train_mode_and_measuring_in_eval_mode_without_gradients(course):
    model, modes = conv_model().eval(), []
    model.register_forward_pre_hook(lambda module, inputs: modes.append((module.training, torch.is_grad_enabled())))
    train(model, noise_images(5), course.stage(2), augmented=False, heldout=noise_images(5))
    predict(model, noise_images(5), course)
    assert modes == [(True, True), (False, False), (False, False)]
    assert model[1].num_batches_tracked == 1  # BatchNorm saw the one training batch


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


@pytest.mark.parametrize("measure", [evaluate, predict])
def test_a_device_too_full_to_evaluate_says_what_to_lower(course, measure):
    model = linear_model()

    def out_of_memory(module, inputs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    model.register_forward_pre_hook(out_of_memory)
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
