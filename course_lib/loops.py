"""Training, evaluation and prediction: explicit loops that you can read in one sitting (report 1.E,
1.F)."""

import csv
import math
from collections import namedtuple

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from .augment import evaluation_batches, training_batches
from .data.answers import natural_order
from .distributed import agree, gather, parallel, rank_0_first
from .errors import DataError, SettingsError
from .model import MyModel, get_model
from .run import Run
from .storage.files import replacing


def train(model, images, stage, *, augmented, heldout=None, live=None):
    """Train `model` on `images` for a stage; returns the history, one dict per epoch (report 1.E).

    images: Images with labels, two or more. augmented: with the settings' augmentation, or resize
    only. heldout: Images that are never trained on; accuracy on them is measured after each epoch,
    plain, in eval mode. live: a `live_curve` that shows the progress; by default, each epoch is a
    line of text.

    Every two minutes, and when you press ■, all that the next step depends on is saved: weights,
    momentum, how many images of the epoch are done, and its sums so far. After ■ (which raises
    Stopped) or a kill, call `train` again to continue with the next image after the newest
    checkpoint; a finished stage is loaded. History: epoch (from 1), loss (nats) and train_accuracy
    (while the epoch was running, in train mode), heldout_accuracy, seconds, images_per_second;
    accuracies are shares in [0, 1]. Raises DataError, CheckpointError, DivergedError, DiskError.
    """
    _require_labels(images, at_least=2)
    course, settings = stage.course, stage.course.settings
    images = images.resident(course.device)  # all on the GPU, if they fit
    model.to(course.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(),
        settings.lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    scaler = course.precision.scaler()  # does nothing unless the precision is fp16
    with Run(
        stage, model, optimizer, scaler, images, augmented, live
    ) as run:  # resumes from the newest checkpoint
        network = parallel(
            model, settings.sync_batch_norm
        )  # the model; of several processes, each takes its share
        for epoch in run.epochs():
            model.train()
            batches = training_batches(images, stage, epoch, augmented, first=run.seen)
            for batch, labels in run.steps(
                batches
            ):  # saves every two minutes; ■ stops it between two steps
                optimizer.param_groups[0]["lr"] = learning_rate(settings, run.progress)
                with course.precision.autocast():
                    logits = network(batch)  # (B, 80)
                    loss = F.cross_entropy(logits, labels, label_smoothing=settings.label_smoothing)
                optimizer.zero_grad()
                scaler.scale(
                    loss * run.weight
                ).backward()  # weight: 1, unless the shares are uneven
                scaler.step(optimizer)
                scaler.update()
                run.count(loss, logits, labels)
            run.end_epoch(evaluate(model, heldout, course).accuracy if heldout else None)
        return run.finish()


def learning_rate(settings, progress):
    """The next step's rate: `lr`; or for "one-cycle", a rise to it in the first quarter, then half
    a cosine down to 0.

    progress: the share of the stage that is done, in [0, 1]. Raises SettingsError for another
    schedule.
    """
    if settings.schedule == "constant":
        return settings.lr
    if settings.schedule != "one-cycle":
        raise SettingsError(
            f'The schedule is {settings.schedule!r}; use "constant" or "one-cycle".'
        )
    if progress < 0.25:
        return settings.lr * max(progress / 0.25, 0.01)
    return settings.lr * (1 + math.cos(math.pi * (progress - 0.25) / 0.75)) / 2


def trained_model(course, stage_number):
    """The finished model of stage 2, or of stage 3, which starts from it; trained first if need be
    (report 3)."""
    before = course.stage(2).model_path
    if stage_number == 2 and course.stage(3).state and before.exists():
        return get_model(
            MyModel, before
        )  # however many epochs are asked for now: stage 3 continues from this one
    model = (
        trained_model(course, 2)
        if stage_number == 3
        else get_model(MyModel, seed=course.settings.seed)
    )
    stage, few = course.stage(stage_number), few_heldout(course)
    train(model, course.data.train, stage, augmented=stage_number == 3, heldout=few)
    return model


def few_heldout(course):
    """Some held-out images to measure after every epoch: equally many of each class, if possible.

    About 320 in all, or one for every eight training images if that's more.
    """
    heldout = course.data.heldout
    each = max(1, max(320, len(course.data.train) // 8) // len(heldout.labels.unique()))
    return heldout.of_each_class(0, each, course.settings.seed)


# The result of an evaluation: mean loss in nats, accuracy as a share in [0, 1], number of images.
Measured = namedtuple("Measured", "loss accuracy images")


def evaluate(model, images, course, augmented=False):
    """Loss and accuracy in eval mode, without gradients; returns Measured. The model's own mode is
    restored.

    augmented: on augmented images, always with the same draws for a seed. Raises DataError if
    labels are missing.
    """
    _require_labels(images)
    logits = _logits(model, images, course, augmented)  # (n, 80)
    labels = images.labels.to(logits.device)  # (n,)
    correct = (logits.argmax(1) == labels).sum()
    return Measured(
        F.cross_entropy(logits, labels).item(), correct.item() / len(images), len(images)
    )


def predict(model, images, course):
    """Class probabilities of each image (plain, eval mode), in order: float32 (n, 80) on the CPU
    (report 1.F)."""
    return _logits(model, images, course).softmax(1).cpu()


def test(model, images, course, result_path):
    """Write `result.csv`: header `filename,class`, rows sorted by the number in the file's name
    (report 1.F).

    Returns the probabilities of `predict`, in the order of `images`. Raises DiskError.
    """
    probabilities = predict(model, images, course)
    rows = sorted(
        zip(images.names, probabilities.argmax(1).tolist()), key=lambda row: natural_order(row[0])
    )
    with (
        rank_0_first(),
        replacing(result_path, "w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        csv.writer(file).writerows([("filename", "class"), *rows])
    return probabilities


def _logits(model, images, course, augmented=False):
    """Logits of all images in eval mode, in order: float32 (n, 80) on the course's device."""
    logits, modes = (
        [],
        {module: module.training for module in model.modules()},
    )  # one by one: some may be frozen
    model.eval().to(course.device, memory_format=torch.channels_last)
    agree(model)
    try:
        with tqdm(
            total=len(images), unit=" images", desc="evaluating", leave=False, delay=2
        ) as bar:
            for batch, labels in evaluation_batches(
                images.resident(course.device), course, augmented
            ):
                with torch.inference_mode(), course.precision.autocast():
                    logits.append(model(batch).float())
                bar.update(len(labels))
    finally:
        for module, training in modes.items():
            module.training = training
    return gather(torch.cat(logits), len(images))


def _require_labels(images, at_least=1):
    if len(images) < at_least:
        raise DataError(f"There are {len(images)} images; at least {at_least} are needed.")
    if (images.labels < 0).any():
        raise DataError(
            "Training and evaluation need a label for every image, but some of these images have none."
        )
