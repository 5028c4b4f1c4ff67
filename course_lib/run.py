"""A stage being trained: what survives a kill, ■ and a lost runtime, behind the plain verbs that
`loops.train` uses."""

import signal
import time

import psutil
import torch
from tqdm.auto import tqdm

from .distributed import add_up, agree, batch_end, rank, rank_0_first, ranks, require_agreement
from .errors import DivergedError, Stopped
from .storage import checkpoints
from .storage.identity import require_same, stage_identity, weights_digest

_MOST_THREADS = torch.get_num_threads()


class Run:
    """Trains a stage from its newest good checkpoint, which holds all that the next step depends
    on, to its last epoch.

    Raises CheckpointError if the checkpoint belongs to another run.
    """

    def __init__(self, stage, model, optimizer, scaler, images, augmented, live=None):
        """images: the Images trained on. augmented: whether they are augmented. live: see
        EpochLines."""
        self.stage, self.course, self.model, self.optimizer, self.scaler = (
            stage,
            stage.course,
            model,
            optimizer,
            scaler,
        )
        self.images, self.live = len(images), live or EpochLines(stage)
        self.identity = stage_identity(stage, model, optimizer, images, augmented)
        self.epoch, self.seen, self.skipped, self.seconds, self.history, self.origin = (
            0,
            0,
            0,
            0.0,
            [],
            None,
        )
        self.sums = torch.zeros(
            2, device=self.course.device
        )  # of the epoch so far: losses (nats), right answers
        self.saved, self.saved_at, self.interrupted = None, time.perf_counter(), False
        with rank_0_first():  # whatever it has written until now is there
            self._resume()
        # An epoch that has begun is finished, even if fewer epochs are asked for now.
        self.last_epoch = max(stage.epochs, self.epoch + (self.seen > 0))
        require_agreement(
            (self.course.identity, self.epoch, self.seen, self.last_epoch), self.course.device
        )
        self._scale = scaler.get_scale()
        self._statistics = [
            buffer for buffer in model.buffers() if buffer.is_floating_point()
        ]  # BatchNorm's
        self._last_statistics = [buffer.clone() for buffer in self._statistics]

    def __enter__(self):
        done, total = self.epoch * self.images + self.seen, self.last_epoch * self.images
        self.bar = tqdm(initial=done, total=total, unit=" images", leave=False)
        self._handler = signal.signal(
            signal.SIGINT, lambda *_: setattr(self, "interrupted", rank() == 0)
        )
        return self

    def __exit__(self, kind, error, traceback):
        signal.signal(signal.SIGINT, self._handler)
        self.bar.total = self.bar.n  # a notebook's bar turns red if it closes early
        self.bar.close()
        if error is None:
            if self.course.drive:
                self.course.drive.wait()
            self._stop_if_interrupted()

    @property
    def progress(self):
        """The share of the stage that is done, in [0, 1]."""
        return (self.epoch + self.seen / self.images) / self.last_epoch

    def epochs(self):
        """The numbers of the epochs still to be trained, from 1; the first may be one that was
        interrupted."""
        while self.epoch < self.last_epoch:
            self._stop_if_interrupted()
            self.bar.set_description(
                f"stage {self.stage.number}, epoch {self.epoch + 1} of {self.last_epoch}"
            )
            yield self.epoch + 1

    def steps(self, batches):
        """Yield `batches`. After each step, stop if you pressed ■, and save if two minutes have
        passed."""
        start = time.perf_counter()
        for images, labels in batches:
            batch = batch_end(self.seen, self.course.settings.batch_size, self.images) - self.seen
            self.weight = (
                len(labels) * ranks() / batch
            )  # gradients are averaged over processes: 1, if shares are equal
            yield images, labels
            self.seen += batch
            self.seconds += time.perf_counter() - start
            self.bar.update(batch)
            self.live.show(self.history, self._entry)
            self._stop_if_interrupted()
            self._save_after(checkpoints.EVERY_SECONDS)
            start = time.perf_counter()
        self.sums.tolist()  # waits for the device, once per epoch, so that the seconds are true
        self.seconds += time.perf_counter() - start

    def count(self, loss, logits, labels):
        """Add a batch to the epoch's sums, on the device. loss: its mean, (); logits: (B, 80);
        labels: int64 (B,)."""
        loss = loss.detach().float()
        if self.scaler.is_enabled():
            loss = self._forget_overflow(loss)
        self.sums += add_up(torch.stack([loss * len(labels), (logits.argmax(1) == labels).sum()]))

    def end_epoch(self, heldout=None):
        """Close the epoch: add it to the history, show it, start new sums. heldout: an accuracy in
        [0, 1]."""
        self._require_finite()
        self.history.append(self._entry(heldout))
        self.live.show(self.history)
        if self.skipped:
            tqdm.write(f"fp16 overflowed: {self.skipped} steps of this epoch were skipped.")
        self.sums.zero_()
        self.epoch, self.seen, self.skipped, self.seconds = self.epoch + 1, 0, 0, 0.0
        self._save_after(
            checkpoints.EVERY_SECONDS / 2
        )  # between two epochs rather than in the middle of the next

    def finish(self):
        """Leave a checkpoint and `model.pth`; returns the history, one dict per epoch."""
        self._save()
        checkpoints.write_model(self.stage.model_path, self.model)
        agree(self.model)
        if self.history:  # a model from elsewhere may have come without one
            self.live.show(self.history, finished=True)
        return self.history

    def _entry(self, heldout=None):
        """The epoch in progress as it appears in the history; its number is a fraction until it is
        finished."""
        loss, right = self.sums.tolist()
        return {
            "epoch": self.epoch + (self.seen / self.images if self.seen < self.images else 1),
            "loss": loss / self.seen,
            "train_accuracy": right / self.seen,
            "heldout_accuracy": heldout,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.seen / self.seconds, 1),
        }

    def _save_after(self, seconds):
        if time.perf_counter() - self.saved_at > seconds:
            self._save()

    def _save(self):
        """Save a checkpoint, unless there is one already; only between two steps. Raises
        DivergedError, DiskError."""
        if rank() or self.saved == (self.epoch, self.seen):
            return
        self._require_finite()
        kept = ("epoch", "seen", "skipped", "seconds", "history", "origin")
        state = {
            "identity": self.identity,
            "made_on": made_on(self.course),
            "sums": self.sums.cpu(),
        }
        state |= {"position": {name: getattr(self, name) for name in kept}}
        state |= {
            name: getattr(self, name).state_dict() for name in ("model", "optimizer", "scaler")
        }
        checkpoints.save(self.stage.folder, state, self.epoch, self.seen)
        self.saved, self.saved_at = (self.epoch, self.seen), time.perf_counter()

    def _resume(self):
        course, number = self.course, self.stage.number
        if (
            course.drive and not (course.folder / "run.json").exists()
        ):  # deleted while the kernel lives
            course.drive.restore()
        course.claim()
        path = checkpoints.newest_good(self.stage.folder)
        if path is None:
            return choose_threads(course.device, _MOST_THREADS)
        state = checkpoints.load(path)
        if self.identity["starts from"] == weights_digest(
            state["model"]
        ):  # `train` again, with the model it left
            self.identity["starts from"] = state["identity"]["starts from"]
        advice = f"To train this stage from scratch, run course.stage({number}).start_over()."
        require_same(state["identity"], self.identity, path, advice)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty if the checkpoint wasn't made in fp16
            self.scaler.load_state_dict(state["scaler"])
        self.sums.copy_(state["sums"])
        vars(self).update(state["position"])
        self.saved = (self.epoch, self.seen)
        before = state["made_on"]
        choose_threads(course.device, min(_MOST_THREADS, before["threads"]))
        if self.epoch >= self.stage.epochs and not self.seen:
            print(f"Stage {number}: all {self.epoch} epochs are done; loaded from the checkpoint.")
            return
        self.live.show(self.history)
        print(
            f"Resuming stage {number} in epoch {self.epoch + 1}, after {self.seen:,} of its images."
        )
        now = made_on(course)
        if changed := [
            f"{name} {now[name]} instead of {before[name]}"
            for name in now
            if now[name] != before[name]
        ]:
            print(f"Results are equally valid, but won't be bit-identical: {', '.join(changed)}.")

    def _forget_overflow(self, loss):
        """If fp16 overflowed and the scaler skipped the step, undo its effects; returns the loss, 0
        if not finite."""
        scale = self.scaler.get_scale()
        skipped, self._scale = scale < self._scale, scale
        self.skipped += skipped
        kept = self._last_statistics if skipped else self._statistics
        if kept:  # a model may have no BatchNorm
            torch._foreach_copy_(self._statistics if skipped else self._last_statistics, kept)
        return loss.nan_to_num(0, 0, 0) if skipped else loss

    def _stop_if_interrupted(self):
        if self.interrupted:
            self._save()
            raise Stopped(
                f"stage {self.stage.number} is saved: {self.stage.state}. Run the cell again to continue."
            )

    def _require_finite(self):
        """Raise DivergedError if the loss or a weight isn't finite, or if fp16 overflows even
        without scaling."""
        weights_finite = all(value.isfinite().all() for value in self.model.state_dict().values())
        if not self.sums.isfinite().all() or not weights_finite or self._scale < 1:
            raise DivergedError(
                f"The loss is no longer a finite number (stage {self.stage.number}, epoch {self.epoch + 1}): lower the "
                'learning rate, as in course.experiment("lr-0.001", lr=0.001). The last good checkpoint is still there.'
            )


class EpochLines:
    """Shows a stage's progress in text, a line per epoch; `explore.LiveCurve` draws it instead."""

    def __init__(self, stage):
        self.stage, self.printed = stage, 0

    def show(self, history, running=None, finished=False):
        """Print the epochs of `history` that are new, unless the stage is `finished`. running: not
        used here."""
        for entry in [] if finished else history[self.printed :]:
            heldout = entry["heldout_accuracy"]
            tqdm.write(
                f"stage {self.stage.number}, epoch {entry['epoch']:2}/{self.stage.epochs}: loss {entry['loss']:.3f}, "
                f"accuracy {entry['train_accuracy']:.1%} (training, running)"
                + ("" if heldout is None else f", {heldout:.1%} (held-out)")
                + f", {entry['images_per_second']:.0f} images/s"
            )
        self.printed = len(history)


def made_on(course):
    """What must agree for a resumed run to be bit-identical on a CPU; a GPU adds up in another
    order each time."""
    return {
        "device": course.device.type,
        "precision": course.precision.name,
        "torch": torch.__version__.split("+")[0],
        "threads": torch.get_num_threads(),
        "processes": ranks(),
    }


def choose_threads(device, wanted):
    """On a CPU, compute with `wanted` threads, or with fewer if the processor has fewer idle cores;
    reports that.

    Two threads that share one free core are up to seventy times slower than one: they wait for each
    other thousands of times per second. Idle cores are counted for a quarter of a second.
    """
    if device.type == "cpu" and wanted > 1:
        idle = psutil.cpu_count() * (1 - psutil.cpu_percent(interval=0.25) / 100)
        free = max(1, min(wanted, round(idle)))
        if free < wanted:
            print(
                f"Other programs are using this computer's processor: computing with {free} of {wanted} threads."
            )
        wanted = free
    torch.set_num_threads(wanted)
