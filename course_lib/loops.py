"""Training, evaluation and prediction: explicit loops, to be read from top to bottom in one sitting (report 1.E,
1.F)."""

import csv
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from . import checkpoint
from .batches import evaluation_batches, training_batches
from .datasets import natural_order
from .device import keep_precision
from .errors import DataError, DeviceMemoryError
from .files import result_file
from .model import MyModel, get_model
from .resume import Run, Totals, identity, stop_button


def train_epoch(model, batches, optimizer, scaler, precision, totals):
    """One pass over `batches` in train mode; adds each batch's loss and right predictions to `totals` (report 1.E).

    batches: iterable of (images, labels): float32 (B, 3, S, S) in [-1, 1] and int64 (B,), on the model's device; B
    may vary.
    """
    model.train()
    for images, labels in batches:
        with precision.autocast():
            logits = model(images)  # (B, 80)
            loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        totals.add(loss, logits, labels)


def train(model, images, stage, *, augmented, heldout=None):
    """Train a stage to its end, going on from its newest checkpoint; returns its history, a dict an epoch.

    images: the training Images. augmented: the report's augmentation (True) or resize only (False). heldout: Images
    whose accuracy is measured, without augmentation, after each epoch (a fixed share of them, see `heldout_share`);
    they are never trained on. ■ (interrupt) stops after the step that is running, saves, and returns what there is;
    the same cell goes on.
    History entries: epoch (from 1), loss, train_accuracy (running, in train mode), heldout_accuracy (eval mode, or
    None), seconds, images_per_second. Raises DataError where images have no labels, CheckpointError, DeviceMemoryError.
    """
    _require_labels(images)
    course, settings = stage.course, stage.course.settings
    model.to(course.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
    scaler = course.precision.scaler()
    run = Run(stage, model, optimizer, scaler, identity(stage, images, augmented))
    run.resume()
    keep_precision(course.folder, course.precision)
    if heldout is not None:
        heldout = heldout_share(heldout, len(images), settings.seed).resident(course.device)
    images = images.resident(course.device)
    done = run.epoch * len(images) + run.totals.seen
    with (
        stop_button() as stop,
        _memory_errors_in_words(course),
        tqdm(
            total=stage.epochs * len(images), initial=done, unit=" images", desc=f"stage {stage.number}", leave=False
        ) as bar,
    ):
        while run.epoch < stage.epochs and not stop.pressed:
            batches = training_batches(images, course, stage.number, run.epoch + 1, augmented, first=run.totals.seen)
            train_epoch(model, run.between(batches, stop, bar), optimizer, scaler, course.precision, run.totals)
            if run.totals.seen == len(images):  # not so where ■ came in the middle
                entry = run.end_epoch()
                if heldout is not None:
                    entry["heldout_accuracy"] = evaluate(model, heldout, course).accuracy
                print(epoch_line(entry, stage.epochs))
                run.save_if_due(share=1 / 4)  # rather between two epochs than in the middle of the next
        run.finish()
    if course.drive:
        course.drive.wait()
    return run.history


def trained_model(course, bank, stage_number):
    """The model that stage 2 or 3 ends with: loaded where the stage is finished, else trained now, stage by stage.

    Stage 2 starts from a new model, stage 3 from the model of stage 2 (report 3.B, 3.C).
    """
    stage = course.stage(stage_number)
    stage.bring_back()
    if not stage.finished:
        if stage_number == 2 or checkpoint.any_good(stage.folder):  # then its weights come from there
            model = get_model(MyModel, seed=course.settings.seed)
        else:
            model = trained_model(course, bank, stage_number - 1)
        train(model, bank.train, stage, augmented=stage_number == 3, heldout=bank.heldout)
    return get_model(MyModel, stage.finished_model())


@dataclass(frozen=True)
class Measured:
    """What an evaluation found: mean loss, accuracy as a share in [0, 1], and on how many images."""

    loss: float
    accuracy: float
    images: int


def evaluate(model, images, course, augmented=False):
    """Loss and accuracy in eval mode, without gradients; changes neither the model, its mode, nor any random state.

    augmented: measure on augmented images instead of plain ones: always the same draw for a seed. Returns Measured.
    Raises DataError where images have no labels, DeviceMemoryError.
    """
    _require_labels(images)
    totals = Totals(course.device)
    with _evaluating(model, course):
        batches = evaluation_batches(images.resident(course.device), course, augmented)
        for batch, labels in _shown(batches, images, "measuring"):
            with course.precision.autocast():
                logits = model(batch)
            totals.add(F.cross_entropy(logits.float(), labels), logits, labels)
    return Measured(totals.loss, totals.accuracy, totals.seen)


def predict(model, images, course):
    """Class probabilities of each image (plain, eval mode), in order: float32 (n, 80) on the CPU (report 1.F)."""
    probabilities = []
    with _evaluating(model, course):
        for batch, _ in _shown(evaluation_batches(images.resident(course.device), course), images, "predicting"):
            with course.precision.autocast():
                logits = model(batch)
            probabilities.append(logits.float().softmax(1))
    return torch.cat(probabilities).cpu() if probabilities else torch.zeros(0, 80)


def test(model, images, course, result_path):
    """Write `result.csv` as the report does: header `filename,class`, rows by the number in the name (report 1.F).

    Returns the probabilities of `predict`, in the order of `images`. Raises DataError where the file cannot be
    written.
    """
    probabilities = predict(model, images, course)
    rows = sorted(zip(images.names, probabilities.argmax(1).tolist()), key=lambda row: natural_order(row[0]))
    with result_file(result_path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("filename", "class"), *rows])
    return probabilities


def heldout_share(heldout, training_count, seed):
    """The held-out images measured after every epoch: at most an eighth as many as are trained on, so that measuring
    stays
    cheap; a fixed draw from the seed. The final figures are always measured on all of them."""
    return heldout.take(max(1, min(len(heldout), training_count // 8)), seed)


def epoch_line(entry, epochs):
    """An epoch in a line: "epoch  3/25: loss 2.10, accuracy 41.2 % (training, running), 35.0 % (held out), 251
    images/s"."""
    heldout = "" if entry["heldout_accuracy"] is None else f", {entry['heldout_accuracy']:.1%} (held out)"
    return (
        f"epoch {entry['epoch']:2}/{epochs}: loss {entry['loss']:.3f}, accuracy {entry['train_accuracy']:.1%} "
        f"(training, running){heldout}, {entry['images_per_second']:.0f} images/s"
    )


def _require_labels(images):
    if len(images) == 0 or (images.labels < 0).any():
        raise DataError(
            "Training and accuracy need at least one image, and a label for each; some of these images have none."
        )


def _shown(batches, images, what):
    """The batches, with a progress bar where they take more than two seconds."""
    with tqdm(total=len(images), unit=" images", desc=what, leave=False, delay=2) as bar:
        for batch, labels in batches:
            yield batch, labels
            bar.update(len(labels))


@contextmanager
def _evaluating(model, course):
    modes = [(module, module.training) for module in model.modules()]  # one by one: some may be frozen
    model.to(course.device, memory_format=torch.channels_last).eval()
    try:
        with torch.inference_mode(), _memory_errors_in_words(course):
            yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _memory_errors_in_words(course):
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceMemoryError(
            f"The device's memory is full at {course.settings.size} × {course.settings.size} pixels: lower COURSE_SIZE "
            "or the batch size, restart the runtime and run the cell again; it goes on from the last checkpoint."
        ) from error
