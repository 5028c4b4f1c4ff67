"""Training, evaluation and prediction: loops that you can read in one sitting (report 1.E, 1.F)."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm.auto import tqdm

from .augment import evaluation_batches, training_batches
from .data.answers import natural_order
from .data.copies import report_overlap
from .data.sealed import require_open
from .data.source import REPORT_LAYOUT
from .device import place
from .distributed import (
    all_gather,
    broadcast_buffers,
    data_parallel,
    rank_0_first,
    ranks,
    require_agreement,
)
from .errors import CheckpointError, DataError, DivergedError, SettingsError, say_once
from .fingerprints import answers, measured_on, same_answers
from .model import eval_mode
from .run import Run
from .run_record import require_same_course
from .settings import STAGES, Settings
from .storage.checkpoints import good_ones, load, newest_good
from .storage.files import replacing
from .storage.identity import weights_digest
from .storage.weights import load_weights

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Course
    from .stage import Stage


def train(
    model: nn.Module,
    images: Images,
    stage: Stage,
    *,
    augmented: bool,
    heldout: Images | None = None,
    live: Any = None,
) -> list[dict[str, Any]]:
    """Train `model` on `images` for a stage; returns the history, one dict per epoch (report 1.E).

    images: with labels, two or more. augmented: with the settings' augmentation, or resize only.
    heldout: images that are never trained on; accuracy on them is measured after each epoch, plain,
    in eval mode; they stay the same until the stage is started over. live: a `live_curve` that
    shows the progress; by default, each epoch is a line of text.

    Every two minutes, and when you press ■, all that the next step depends on is saved: weights,
    momentum, how many images of the epoch are done, and its sums so far. After ■ (which raises
    Stopped) or a kill, call `train` again to continue with the next image after the newest
    checkpoint; a finished stage is loaded. History: epoch (from 1), loss (nats) and train_accuracy
    (while the epoch was running, in train mode), heldout_loss and heldout_accuracy (after it, in
    eval mode; None without held-out images), seconds, images_per_second, threads; accuracies are
    shares in [0, 1]. Raises DataError (also if images are sealed in this course), SettingsError,
    CheckpointError, DivergedError, DiskError.
    """
    course = stage.course
    settings = course.settings
    _require_trainable(model, images, heldout, course)
    images = images.resident(course.device)  # all on the GPU, if they fit
    place(model, course.device)
    optimizer = new_optimizer(model, settings)
    scaler = course.precision.scaler()  # does nothing unless the precision is fp16
    # A run resumes from the newest checkpoint.
    with Run(stage, model, optimizer, scaler, images, augmented, live, heldout) as run:
        network = data_parallel(
            model, settings.sync_batch_norm
        )  # the model, unless on several GPUs
        for epoch in run.epochs():
            model.train()
            batches = training_batches(images, stage, epoch, augmented, first=run.position.seen)
            for batch in run.steps(batches):  # saves every two minutes; ■ stops between two steps
                optimizer.param_groups[0]["lr"] = learning_rate(settings, run.progress)
                with course.precision.autocast():
                    logits = network(batch.images)  # (B, classes)
                    loss = F.cross_entropy(
                        logits, batch.labels, label_smoothing=settings.label_smoothing
                    )
                optimizer.zero_grad()
                scaler.scale(loss * batch.weight).backward()  # weight: 1, unless on several GPUs
                scaler.step(optimizer)
                scaler.update()
                run.count(loss, logits, batch.labels)
            run.end_epoch(evaluate(model, heldout, course) if heldout else None)
        return run.finish()


def new_optimizer(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Stochastic gradient descent with the settings' momentum and weight decay (report 1.E)."""
    return torch.optim.SGD(
        model.parameters(),
        settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )


def learning_rate(settings: Settings, progress: float) -> float:
    """The next step's rate in one of the settings' schedules (`settings.SCHEDULES`).

    "one-cycle" rises to `lr` in the first quarter of the stage, then falls along half a cosine to
    0. progress: the share of the stage that is done, in [0, 1].
    """
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule == "one-cycle":
        if progress < 0.25:
            return settings.lr * max(progress / 0.25, 0.01)
        return settings.lr * (1 + math.cos(math.pi * (progress - 0.25) / 0.75)) / 2
    raise SettingsError(f"There is no learning rate for the schedule {settings.schedule!r} yet.")


def trained_model(course: Course, stage_number: int) -> nn.Module:
    """The finished model of a stage; it, and what it starts from, is trained first if need be.

    Raises what `train` raises.
    """
    weights = _weights_in_use(course, stage_number)
    if weights is not None:
        model = course.new_model()
        model.load_state_dict(weights)
        return model
    stage = course.stage(stage_number)
    model = first_model(stage)
    few = few_heldout(course)
    train(model, stage.images, stage, augmented=stage.spec.augmented, heldout=few)
    return model


def first_model(stage: Stage) -> nn.Module:
    """The model that a stage starts from: a new one, or a finished stage's."""
    before = stage.spec.starts_from
    if before is None:
        return stage.course.new_model()
    return trained_model(stage.course, before)


def _weights_in_use(course: Course, number: int) -> dict[str, torch.Tensor] | None:
    """The weights of a stage that a later one has started from; None if none has.

    However many epochs are asked for now: the later stage continues from these weights.
    """
    stage = course.stage(number)
    for later in course.epochs:
        checkpoint = newest_good(course.stage(later).folder)
        if STAGES[later].starts_from != number or checkpoint is None:
            continue
        identity = load(checkpoint)["identity"]
        require_same_course(course, identity, str(checkpoint))
        wanted = identity["starts from"]
        for finished in good_ones(stage.folder):  # others may have been trained since
            state = load(finished)
            if weights_digest(state["model"]) == wanted:
                require_same_course(course, state["identity"], str(finished))
                _require_reports_network(state, str(finished), course)
                return state["model"]
        if stage.model_path.exists():  # the stage may have been trained further since
            model = course.new_model()
            load_weights(model, stage.model_path)
            weights = model.state_dict()
            if weights_digest(weights) == wanted:
                return weights
    return None


def _require_reports_network(state: dict[str, Any], where: str, course: Course) -> None:
    """Raise CheckpointError if a stage was trained with another network of the same weights."""
    model = course.new_model()
    model.load_state_dict(state["model"])
    place(model, course.device)
    if not same_answers(state["answers"], answers(model, course)):
        raise CheckpointError(
            f"{where} was made with another network than MyModel. Load its weights into yours."
        )


def few_heldout(course: Course) -> Images:
    """Some held-out images to measure after every epoch; each class has its share of them.

    About 320 in all, or one for every eight training images if that's more. They are validation
    images if the data has some: the held-out images then stay unseen until the end.
    """
    wanted = max(320, len(course.data.train) // 8)
    return course.data.validation.sample(wanted, course.settings.seed)


class Measured(NamedTuple):
    """The result of an evaluation."""

    loss: float  # mean, in nats
    accuracy: float  # a share, in [0, 1]
    images: int  # how many
    measured_on: str  # a digest of model, images and course, so that figures can't be mixed up


def evaluate(model: nn.Module, images: Images, course: Course, augmented: bool = False) -> Measured:
    """Loss and accuracy in eval mode, without gradients. The model's own mode is restored.

    augmented: on augmented images, always with the same draws for a seed. Raises DataError if
    labels are missing, or images are sealed in this course.
    """
    _require_labels(images, course)
    logits = _logits(model, images, course, augmented)  # (n, classes)
    _require_outputs(logits, images)
    labels = images.labels.to(logits.device)  # (n,)
    loss = F.cross_entropy(logits, labels).item()
    correct = (logits.argmax(1) == labels).sum().item()
    digest = measured_on(model, images, augmented, course)
    return Measured(loss, correct / len(images), len(images), digest)


def predict(model: nn.Module, images: Images, course: Course) -> torch.Tensor:
    """Class probabilities of each image, in order: float32 (n, classes) on the CPU (report 1.F).

    The images are plain, and the model is in eval mode. Raises DataError if images are sealed in
    this course: whoever sees the answers to them can count the right ones.
    """
    return _logits(model, images, course).softmax(1).cpu()


def test(model: nn.Module, images: Images, course: Course, result_path: str | Path) -> torch.Tensor:
    """Write `result.csv`: `filename,class`, sorted by the number in the file's name (report 1.F).

    If the data isn't in the report's layout, a class may be called "10" and have another number:
    then a column `name` follows. Returns the probabilities of `predict`, in the order of `images`.
    Raises DiskError.
    """
    probabilities = predict(model, images, course)
    rows = list(zip(images.names, probabilities.argmax(1).tolist()))
    rows.sort(key=lambda row: natural_order(row[0]))
    with (
        rank_0_first(),
        replacing(result_path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        writer = csv.writer(file)
        if course.data.layout == REPORT_LAYOUT:
            writer.writerow(["filename", "class"])
            writer.writerows(rows)
        else:
            writer.writerow(["filename", "class", "name"])
            for filename, label in rows:
                writer.writerow([filename, label, course.data.classes[label]])
    return probabilities


def _logits(
    model: nn.Module, images: Images, course: Course, augmented: bool = False
) -> torch.Tensor:
    """Logits of all images in eval mode: float32 (n, classes) on the course's device, in order."""
    require_open(images, course.data)
    place(model, course.device)
    broadcast_buffers(model)
    if ranks() > 1:
        digest = measured_on(model, images, augmented, course)
        require_agreement({"model, images and augmentation": digest})
    batches = evaluation_batches(images.resident(course.device), course, augmented)
    bar = tqdm(total=len(images), unit=" images", desc="evaluating", leave=False, delay=2)
    logits = []
    with bar, eval_mode(model):
        for batch, labels in batches:
            with torch.inference_mode(), course.precision.autocast():
                logits.append(model(batch).float())
            bar.update(len(labels))
    everything = all_gather(torch.cat(logits), len(images))
    if not everything.isfinite().all():
        raise DivergedError(
            "The network's answers aren't finite numbers: its weights are unusable."
        )
    return everything


def _require_trainable(
    model: nn.Module, images: Images, heldout: Images | None, course: Course
) -> None:
    """Raise DataError or SettingsError if these images can't be trained on, or not measured.

    If some are in both, you'll see a message.
    """
    _require_labels(images, course)
    require_open(images, course.data)
    if heldout is not None:
        require_open(heldout, course.data)
        report_overlap(images, heldout)
    if len(images) == 1:
        raise DataError("There is one image; training needs at least two.")
    has_batch_norm = any(isinstance(module, _BatchNorm) for module in model.modules())
    if course.settings.batch_size == 1 and has_batch_norm:
        raise SettingsError("batch_size is 1: batch norm needs batches of two images or more.")


def _require_outputs(logits: torch.Tensor, images: Images) -> None:
    """Raise SettingsError if a label is beyond a network's outputs.

    A GPU wouldn't raise an error that can be understood, and would be unusable afterwards.
    """
    outputs = logits.shape[1]
    label = int(images.labels.max())
    if label >= outputs:
        raise SettingsError(
            f"The network has {outputs:,} outputs, but there are images of class {label:,}, and "
            "classes are numbered from 0. course.new_model() has an output for each class."
        )


def _require_labels(images: Images, course: Course) -> None:
    """Raise DataError if there are no images, or one has no label.

    If they are labels of other classes, you'll see a message.
    """
    if not len(images):
        raise DataError("There are no images.")
    unlabelled = (images.labels < 0).nonzero()
    if len(unlabelled):
        name = images.names[int(unlabelled[0])]
        raise DataError(
            f"Training and evaluation need a label for every image; {name!r} has none "
            f"({len(unlabelled):,} of {len(images):,} images)."
        )
    if images.classes != course.data.classes:
        say_once(
            f"Some images' {len(images.classes):,} classes aren't called like the course's "
            f"{len(course.data.classes):,}. Only if each number means the same is accuracy right."
        )
