"""Training, evaluation and prediction: right for any number of images, quiet on the device, and
without traces."""

import csv
import inspect
import random
import warnings
from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import (
    BATCH,
    EPOCHS,
    IMAGES,
    conv_model,
    elsewhere,
    linear_model,
    noise_images,
    same_weights,
)
from torch.utils._python_dispatch import TorchDispatchMode

import course_lib
from course_lib import DataError, DiskError, SettingsError, evaluate, few_heldout, predict, train
from course_lib.augment import training_batches
from course_lib.device import Precision
from course_lib.loops import learning_rate


def directly(model, images):
    """Mean loss and accuracy of all images at once, in double precision."""
    pixels = images.batch(torch.arange(len(images))).double() / 127.5 - 1
    logits = model.double()(pixels.permute(0, 3, 1, 2))
    model.float()
    loss, right = (
        F.cross_entropy(logits, images.labels).item(),
        (logits.argmax(1) == images.labels).double(),
    )
    return pytest.approx(loss, abs=1e-4), pytest.approx(right.mean().item(), abs=1e-9)


# --- Every image counts once


@hypothesis.settings(max_examples=12)
@given(count=st.integers(1, 600))
@example(count=1)
@example(count=256)
@example(count=257)
def test_an_evaluation_counts_every_image_once(course, count):
    """The report counts range(32) and divides by 40,000; a last batch of any size must be right
    here."""
    model, images = linear_model(count), noise_images(count, seed=count)
    found = evaluate(model, images, course)
    assert (found.loss, found.accuracy) == directly(model, images) and found.images == count


@hypothesis.settings(max_examples=12)
@given(count=st.integers(2, 200), batch=st.integers(1, 64))
@example(count=33, batch=32)
@example(count=34, batch=32)
def test_training_counts_every_image_once(course, count, batch):
    """With a learning rate of 0 the running figures of an epoch are those of a model that stands
    still."""
    images = noise_images(count, seed=count)
    images.labels[::3] = predict(linear_model(), images, course).argmax(1)[
        ::3
    ]  # some are right from the beginning
    still = elsewhere(course, lr=0.0, batch_size=batch)
    (entry,) = train(linear_model(), images, still.stage(2), augmented=False)
    assert (entry["loss"], entry["train_accuracy"]) == directly(linear_model(), images)
    assert entry["train_accuracy"] >= 1 / 3
    assert list(entry) == [
        "epoch",
        "loss",
        "train_accuracy",
        "heldout_loss",
        "heldout_accuracy",
        "seconds",
        "images_per_second",
        "threads",
    ]
    assert entry["epoch"] == 1
    assert entry["heldout_loss"] is None and entry["heldout_accuracy"] is None
    assert entry["seconds"] >= 0 and entry["images_per_second"] > 0


@pytest.mark.parametrize("augmented", [False, True])
@pytest.mark.parametrize("count", [2, 33, 65])
def test_a_model_with_batch_norm_trains_on_any_number_of_images(course, count, augmented):
    """It can't normalise a last batch of one image of 1 × 1, as it is in the report's last layers
    at 32 pixels."""
    pool, norm, classify = (
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.BatchNorm2d(3),
        torch.nn.Linear(3, 80),
    )
    model = torch.nn.Sequential(pool, norm, torch.nn.Flatten(), classify)
    history = train(model, noise_images(count), elsewhere(course).stage(2), augmented=augmented)
    assert len(history) == 1 and np.isfinite(history[0]["loss"])


def test_what_cannot_be_trained_or_measured_on_is_refused(short):
    images, unknown = noise_images(5), noise_images(5)
    unknown.labels[3] = -1
    for refused in (images.subset([]), images.subset([0]), unknown):
        with pytest.raises(DataError):
            train(linear_model(), refused, short.stage(2), augmented=False)
    for refused in (images.subset([]), unknown):
        with pytest.raises(DataError):
            evaluate(linear_model(), refused, short)
    assert short.stage(2).state is None


def test_a_label_beyond_the_networks_outputs_cannot_be_measured(short):
    """A GPU would be unusable after it."""
    images = noise_images()
    images.labels[7] = 80  # the network's outputs are 0 to 79
    with pytest.raises(SettingsError, match=r"\b80\b"):
        evaluate(linear_model(), images, short)


@pytest.mark.parametrize("augmented", [False, True])
def test_training_is_sgd_with_momentum_on_the_mean_cross_entropy(short, augmented):
    """The report's settings, written out: v ← 0.9 v + g, w ← w − 0.01 v."""
    model, ours, images = linear_model(), linear_model(), noise_images()
    history = train(ours, images, short.stage(3), augmented=augmented)
    velocity = [torch.zeros_like(weight) for weight in model.parameters()]
    for epoch in range(1, EPOCHS + 1):
        loss_sum = 0.0
        for batch in training_batches(images, short.stage(3), epoch, augmented):
            loss = F.cross_entropy(model(batch.images), batch.labels)
            loss_sum += loss.item() * len(batch.labels)
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            for i, (weight, gradient) in enumerate(zip(model.parameters(), gradients)):
                velocity[i] = 0.9 * velocity[i] + gradient
                weight.data -= 0.01 * velocity[i]
        assert history[epoch - 1]["loss"] == pytest.approx(loss_sum / IMAGES, rel=1e-5)
    for ours_weight, weight in zip(ours.parameters(), model.parameters()):
        torch.testing.assert_close(ours_weight, weight, rtol=1e-5, atol=1e-6)


def test_a_recipe_is_pytorchs_weight_decay_label_smoothing_and_schedule(short):
    recipe = {"lr": 0.1, "weight_decay": 0.01, "label_smoothing": 0.2, "schedule": "one-cycle"}
    stage, images = elsewhere(short, **recipe).stage(2), noise_images()
    model, ours = linear_model(), linear_model()
    train(ours, images, stage, augmented=False)
    optimizer, seen = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=0.01), 0
    for epoch in range(1, EPOCHS + 1):
        for batch in training_batches(images, stage, epoch, False):
            optimizer.param_groups[0]["lr"] = learning_rate(
                stage.course.settings, seen / (EPOCHS * IMAGES)
            )
            loss = torch.nn.CrossEntropyLoss(label_smoothing=0.2)(model(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            seen += len(batch.labels)
    assert same_weights(ours, model)


def test_an_unknown_schedule_is_refused_before_anything_is_trained(short):
    with pytest.raises(SettingsError, match="cosine"):
        short.experiment("cosine", schedule="cosine")


@given(progress=st.floats(0, 1))
def test_one_cycle_rises_to_the_rate_and_falls_to_nothing_and_the_reports_rate_is_constant(
    course, progress
):
    settings = replace(course.settings, lr=0.4, schedule="one-cycle")
    rate, later = (learning_rate(settings, min(1, progress + step)) for step in (0, 0.001))
    assert 0 <= rate <= 0.4 == learning_rate(settings, 0.25) and learning_rate(
        settings, 1
    ) == pytest.approx(0)
    assert rate <= later if progress < 0.249 else rate >= later if progress > 0.25 else True
    assert abs(rate - later) < 0.003  # no jumps
    assert learning_rate(course.settings, progress) == 0.01


def test_training_learns(short):
    stage = elsewhere(short, epochs=40, lr=5.0).stage(1)
    history = train(linear_model(), noise_images(16), stage, augmented=False)
    assert history[-1]["train_accuracy"] == 1 and history[-1]["loss"] < history[0]["loss"] / 10


def test_heldout_accuracy_is_measured_after_each_epoch_and_changes_nothing(short):
    images, heldout = noise_images(), noise_images(30, seed=1)
    with_it, without = conv_model(), conv_model()
    history = train(with_it, images, short.stage(2), augmented=True, heldout=heldout)
    train(without, images, elsewhere(short).stage(2), augmented=True)
    assert same_weights(with_it, without)
    shares = [entry["heldout_accuracy"] for entry in history]
    final = evaluate(with_it, heldout, short)
    assert shares[-1] == final.accuracy and history[-1]["heldout_loss"] == final.loss
    assert all(0 <= found <= 1 for found in shares)


def test_few_heldout_images_are_equally_many_of_each_class_and_always_the_same(course):
    data = course.data
    many = replace(
        course, data=replace(data, validation=data.train.subset(list(range(160)) * 5))
    )  # 10 of each class
    few = few_heldout(many)
    assert set(few.labels.bincount().tolist()) == {4} and few.names == few_heldout(many).names
    assert sorted(few_heldout(course).names) == sorted(data.heldout.names)  # no more are held out


def test_the_loop_can_be_read_aloud():
    """Notebook 02 prints it."""
    assert len(inspect.getsource(train).split('"""')[2].splitlines()) <= 30


# --- No waiting for the device, no traces


class Waits(TorchDispatchMode):
    """Counts how often a number is read off a tensor: on a GPU the host waits each time until all
    is computed."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("augmented", [False, True])
def test_no_step_waits_for_the_device(short, augmented):
    counts = []
    for steps in (1, 25):
        with Waits() as waits:
            images, stage = noise_images(steps * BATCH), elsewhere(short).stage(2)
            train(conv_model(), images, stage, augmented=augmented, heldout=noise_images(3))
        counts.append(waits.count)
    assert counts[0] == counts[1] > 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("augmented", [False, True])
def test_no_step_waits_for_a_cuda_device(short, augmented):
    """PyTorch itself warns each time it waits (fp16 is left out: its scaler asks once per step)."""
    device, counts = torch.device("cuda", torch.cuda.current_device()), []
    for steps in (1, 1, 25):  # the first time, libraries are loaded
        course = replace(elsewhere(short), device=device, precision=Precision("bf16", "cuda"))
        torch.cuda.set_sync_debug_mode("warn")
        with warnings.catch_warnings(record=True) as waits:
            warnings.simplefilter("always")
            train(conv_model(), noise_images(steps * BATCH), course.stage(2), augmented=augmented)
        torch.cuda.set_sync_debug_mode("default")
        counts.append(sum("synchronizing" in str(warning.message) for warning in waits))
    assert counts[1] == counts[2] > 0


def test_no_batch_of_an_evaluation_waits_for_the_device(course):
    counts = []
    for count in (5, 1000):
        with Waits() as waits:
            evaluate(linear_model(), noise_images(count), course)
        counts.append(waits.count)
    assert counts[0] == counts[1]


def random_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()


@pytest.mark.parametrize("shared", [0, 3])
def test_training_says_so_if_it_is_measured_on_the_same_images(short, shared, capsys):
    images = noise_images()
    positions = range(10 - shared, 20 - shared)
    train(
        linear_model(),
        images.subset(range(10)),
        short.stage(2),
        augmented=False,
        heldout=images.subset(positions),
    )
    assert (f"{shared} of 10" in capsys.readouterr().out) == (shared > 0)


def test_labels_of_other_classes_are_reported(course, capsys):
    images = noise_images()
    evaluate(linear_model(), replace(images, classes=course.data.classes), course)
    assert "classes" not in capsys.readouterr().out
    evaluate(linear_model(), replace(images, classes=["cat", "dog"]), course)
    assert "2 classes" in capsys.readouterr().out


def test_the_global_random_state_is_neither_used_nor_changed(short):
    models, images = [], noise_images()
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
def test_an_evaluation_changes_neither_the_model_nor_its_modes(course, measure):
    for training in (True, False):
        model, before = conv_model().train(training), conv_model()
        model[1].eval()  # a layer may be frozen while the rest is trained
        measure(model, noise_images(10), course)
        assert same_weights(model, before)
        assert [layer.training for layer in model] == [training, False] + [training] * 4
        assert model.training == training and all(
            weight.grad is None for weight in model.parameters()
        )


def test_training_is_in_train_mode_and_measuring_in_eval_mode_without_gradients(course):
    model = conv_model().eval()
    modes = []

    def before_forward(module, inputs):
        if len(inputs[0]) == 5:  # a checkpoint's two pictures aren't of interest here
            modes.append((module.training, torch.is_grad_enabled()))

    model.register_forward_pre_hook(before_forward)
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


# --- Predictions


@hypothesis.settings(max_examples=12)
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
    """Header `filename,class`; 2 before 10, names without a number too, and one row for each image
    (1.F)."""
    names = [
        "10.jpg",
        "2.jpg",
        "cat 3, left.png",
        "1.jpg",
        "고양이.png",
        "cat 20.png",
        "b/1.png",
        "a/1.png",
    ]
    images, path = replace(noise_images(8), names=names), course.folder / "result.csv"
    probabilities = course_lib.test(linear_model(), images, course, path)
    header, *rows = rows_of(path)
    assert header == ["filename", "class"]
    assert [name for name, _ in rows] == [
        *(
            "1.jpg",
            "2.jpg",
            "10.jpg",
            "a/1.png",
            "b/1.png",
            "cat 3, left.png",
            "cat 20.png",
            "고양이.png",
        )
    ]
    assert {name: int(label) for name, label in rows} == dict(
        zip(names, probabilities.argmax(1).tolist())
    )


def test_a_result_csv_that_cannot_be_written_is_a_disk_error(course, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DiskError, match="result.csv"):
        course_lib.test(linear_model(), noise_images(3), course, tmp_path / "file" / "result.csv")
