"""What a training run must remember to go on as if nothing had happened, and the ■ that may stop it between two
steps."""

import hashlib
import signal
import threading
import time
from contextlib import contextmanager

import torch

from . import checkpoint
from .errors import CheckpointError


class Totals:
    """Sums of an epoch, kept on the device, so that the loop never waits for it: reading `loss` or `accuracy`
    does."""

    def __init__(self, device):
        self.loss_sum = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = 0

    def add(self, loss, logits, labels):
        """Count a batch: `loss` is its mean, so it is weighed by the batch's size (the last one is smaller)."""
        self.loss_sum += loss.detach().float() * len(labels)
        self.correct += (logits.argmax(1) == labels).sum()
        self.seen += len(labels)

    @property
    def loss(self):
        """Mean loss of an image (waits for the device)."""
        return self.loss_sum.item() / self.seen

    @property
    def accuracy(self):
        """Share of right predictions, in [0, 1] (waits for the device)."""
        return self.correct.item() / self.seen


class Run:
    """What a checkpoint holds: weights, optimizer, scaler, position, sums of the running epoch, history, identity."""

    def __init__(self, stage, model, optimizer, scaler, identity):
        self.stage, self.identity = stage, identity
        self.model, self.optimizer, self.scaler = model, optimizer, scaler
        self.epoch, self.resumed_at, self.seconds, self.history = 0, 0, 0.0, []
        self.last_seal = self.saved = None  # seal and position of the checkpoint last written or gone on from
        self.totals = Totals(stage.course.device)
        self.saved_at, self.started = time.monotonic(), None  # `started`: since when an epoch's steps are being taken

    def between(self, batches, stop, bar):
        """Hand out `batches`; between two of them, that is after a whole step, save when it is time and stop when
        asked."""
        self.started = time.monotonic()
        for images, labels in batches:
            if stop.pressed:
                return
            yield images, labels
            bar.update(len(labels))
            self.save_if_due()

    def save_if_due(self, share=1):
        """Save if `share` of the time between two checkpoints has passed."""
        if self.stage.course.drive:
            self.stage.course.drive.tell()
        if time.monotonic() - self.saved_at > share * self.stage.course.settings.checkpoint_seconds:
            self.save()

    def end_epoch(self):
        """Close the epoch's sums and return its entry in the history."""
        self.epoch += 1
        loss, accuracy = self.totals.loss, self.totals.accuracy  # the only waiting for the device in an epoch
        seconds = self._stop_watch()
        self.history.append(
            {
                "epoch": self.epoch,
                "loss": loss,
                "train_accuracy": accuracy,
                "heldout_accuracy": None,
                "seconds": round(seconds, 3),
                "images_per_second": round(self.totals.seen / seconds, 1),
            }
        )
        self.totals, self.seconds = Totals(self.stage.course.device), 0.0
        return self.history[-1]

    def save(self):
        """Write a checkpoint of this very moment, which must lie between two steps.

        Raises CheckpointError where another notebook saves in the same folder.
        """
        if self.saved == (self.epoch, self.totals.seen):
            return
        checkpoint.require_ours(self.stage.folder, self.last_seal)
        stepping = self.started is not None
        self._stop_watch()
        totals = {
            "loss_sum": self.totals.loss_sum.cpu(),
            "correct": self.totals.correct.cpu(),
            "seen": self.totals.seen,
        }
        state = {
            "identity": self.identity,
            "epoch": self.epoch,
            "totals": totals,
            "seconds": self.seconds,
            "history": self.history,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "made_on": made_on(self.stage.course),
        }
        checkpoint.save(self.stage.folder, state, self.epoch, self.totals.seen)
        self.last_seal, self.saved = checkpoint.newest_seal(self.stage.folder), (self.epoch, self.totals.seen)
        self.saved_at = time.monotonic()
        if stepping:
            self.started = self.saved_at  # the time a save takes is no step's

    def _stop_watch(self):
        """The seconds spent on the steps of this epoch, up to now."""
        if self.started is not None:
            self.seconds += time.monotonic() - self.started
            self.started = None
        return self.seconds

    def resume(self):
        """Go on from the stage's newest good checkpoint, if any; raise CheckpointError if it is another run's."""
        self.stage.bring_back()
        checkpoint.sweep(self.stage.folder)
        self.last_seal = checkpoint.newest_seal(self.stage.folder)
        state = checkpoint.load_newest(self.stage.folder)
        if state is None:
            return
        made_with = state["identity"] | {"model": _shapes(state["model"])}
        for name, value in (self.identity | {"model": _shapes(self.model.state_dict())}).items():
            if made_with.get(name) != value:
                differ = "another model" if name == "model" else f"{name} {made_with.get(name)}, this run has {value}"
                raise CheckpointError(
                    f"The checkpoint in {self.stage.course.shown(self.stage.folder)} was made with {differ}. To start "
                    f"the stage afresh: course.stage({self.stage.number}).start_over(). To keep both, set COURSE_HOME "
                    "to another place."
                )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty where the checkpoint was made in another precision than fp16
            self.scaler.load_state_dict(state["scaler"])
        self.epoch = self.resumed_at = state["epoch"]
        self.history, self.seconds = state["history"], state["seconds"]
        device = self.stage.course.device
        self.totals.loss_sum = state["totals"]["loss_sum"].to(device)
        self.totals.correct = state["totals"]["correct"].to(device)
        self.totals.seen = state["totals"]["seen"]
        self.saved = (self.epoch, self.totals.seen)
        if self.epoch < self.stage.epochs:
            print(
                f"Going on with stage {self.stage.number} in epoch {self.epoch + 1} of {self.stage.epochs}, "
                f"after {self.totals.seen:,} of its images."
            )
            here = made_on(self.stage.course)
            if state["made_on"] != here:
                was, now = (", ".join(f"{key} {made[key]}" for key in here) for made in (state["made_on"], here))
                print(
                    f"It was made with {was}; this is {now}. What follows is as right, but not bit for bit "
                    "what it would have been there."
                )
        else:
            print(
                f"Stage {self.stage.number} was finished earlier: {self.epoch} epochs, shown again from its checkpoint."
            )

    def finish(self):
        """Leave a checkpoint, and `model.pth` too if the stage is trained to its end; say so if it is not."""
        if self.epoch < self.stage.epochs:
            self.save()
            print(
                f"Stage {self.stage.number} stopped in epoch {self.epoch + 1} of {self.stage.epochs} and is saved: "
                "run the cell again to go on."
            )
        elif not self.stage.finished or self.epoch > self.resumed_at:
            self.save()
            checkpoint.write_model(self.stage.model_path, self.model)


def _shapes(weights):
    return {name: value.shape for name, value in weights.items()}


def identity(stage, images, augmented):
    """What must agree before a run may go on from a checkpoint."""
    course, settings = stage.course, stage.course.settings
    return {
        "data": course.data_name,
        "training images": len(images),
        "file names and labels": _digest(images),
        "size": settings.size,
        "seed": settings.seed,
        "augmentation": augmented,
        "lr": settings.lr,
        "momentum": settings.momentum,
        "batch size": settings.batch_size,
    }


def _digest(images):
    """A few letters that tell a set of images from another with the same name and number."""
    return hashlib.sha256(repr((images.names, images.labels.tolist())).encode()).hexdigest()[:12]


def made_on(course):
    """What must agree for a resumed run to be the same, bit for bit (on the CPU; a GPU adds its own disorder)."""
    return {
        "device": course.device.type,
        "precision": course.precision.name,
        "torch": torch.__version__.split("+")[0],
        "threads": torch.get_num_threads(),
    }


class _Stop:
    pressed = False


@contextmanager
def stop_button():
    """While this lasts, ■ (SIGINT) sets `pressed` instead of breaking a step in two. A second ■ changes nothing."""
    stop = _Stop()
    if threading.current_thread() is not threading.main_thread():  # signals reach the main thread only
        yield stop
        return

    def press(signum, frame):
        stop.pressed = True

    previous = signal.signal(signal.SIGINT, press)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
