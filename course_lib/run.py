"""Trains a stage so that it survives a kill, ■ (Jupyter's stop button) and a lost runtime.

The training loop itself is in `loops.train`, which uses the verbs of `Run`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from tqdm.auto import tqdm

from .augment import Batch
from .distributed import (
    all_reduce,
    broadcast_buffers,
    rank,
    rank_0_first,
    require_agreement,
)
from .errors import CheckpointError, DivergedError, Stopped
from .fingerprints import answers, made_on, stage_identity, training_code_digest
from .generators import restoring_generators, seed_step
from .overflow import OverflowGuard
from .position import Position
from .progress import EpochLines, ProgressBar
from .resume import (
    report_finished,
    report_resumption,
    report_trained_model,
    require_same_answers,
    require_same_stage,
)
from .storage import checkpoints
from .storage.kept_model import keep_unknown_model
from .threads import MOST, choose_threads

if TYPE_CHECKING:
    from .data.bank import Images
    from .loops import Measured
    from .stage import Stage


class Run:
    """Trains a stage from its newest good checkpoint to its last epoch.

    A checkpoint holds all that the next step depends on. Raises CheckpointError if it belongs to
    another run.
    """

    def __init__(
        self,
        stage: Stage,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        images: Images,
        augmented: bool,
        live: Any = None,
        heldout: Images | None = None,
    ):
        """images: trained on. augmented: whether they are augmented. live: see EpochLines.

        heldout: what the caller measures after each epoch, if it does.
        """
        self.stage = stage
        self.course = stage.course
        self.model = model
        self.optimizer = optimizer
        self.scaler = scaler
        self.images_per_epoch = len(images)
        self.live = live or EpochLines(stage)
        self.position = Position()
        # Sums over the epoch in progress: the images' losses, and the number of right answers.
        self.sums = torch.zeros(2, device=self.course.device)
        self.interrupted = False
        self.training = checkpoints.new_training()  # unless it continues one
        self.saved: tuple[int, int] | None = None  # (epoch, seen) of the last checkpoint
        self.saved_at = time.perf_counter()
        self.identity = stage_identity(stage, model, optimizer, images, augmented, heldout)
        self._resumed_in_mid_epoch = False
        with rank_0_first():  # the others then find the files that it has written
            self._resume()
        # An epoch that has begun is finished, even if fewer epochs are asked for now.
        begun = self.position.epoch
        if self.position.seen > 0:
            begun += 1
        self.last_epoch = max(stage.epochs, begun)
        require_agreement(
            self.identity
            | {
                "precision": self.course.precision.name,
                "course_lib": training_code_digest(),
                "position": [self.position.epoch, self.position.seen, self.last_epoch],
                "details": None,  # such as which process it is
            }
        )
        self._overflow = OverflowGuard(model, scaler)
        self._step_was_skipped = False

    def __enter__(self) -> Run:
        self._generators = restoring_generators(self.course.device)
        self._generators.__enter__()
        done = self.position.epoch * self.images_per_epoch + self.position.seen
        self.bar = ProgressBar(self.stage.number, self.last_epoch, self.images_per_epoch, done)
        self._in_main_thread = threading.current_thread() is threading.main_thread()
        if self._in_main_thread:  # Python allows signal handlers only there; ■ sends SIGINT
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if self._in_main_thread:
            signal.signal(signal.SIGINT, self._handler)
        self._generators.__exit__(kind, error, traceback)
        self.bar.close()
        if error is None:
            if self.course.drive:
                self.course.drive.wait()
            self._stop_if_interrupted()  # ■ was pressed after the last step

    @property
    def progress(self) -> float:
        """The share of the stage that is done, in [0, 1]."""
        return (self.position.epoch + self.position.seen / self.images_per_epoch) / self.last_epoch

    def epochs(self) -> Iterator[int]:
        """The numbers of the epochs still to be trained, from 1."""
        while self.position.epoch < self.last_epoch:
            self._stop_if_interrupted()
            number = self.position.epoch + 1
            self.bar.begin_epoch(number)
            self._choose_threads()
            yield number

    def steps(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Yield `batches`. After each step, stop if you pressed ■, and save every two minutes."""
        start = time.perf_counter()
        for batch in batches:
            seed_step(self.course, self.stage.number, self.position)
            yield batch  # here, the caller trains on it
            self.position.seen += batch.total
            self.position.seconds += time.perf_counter() - start
            if self._step_was_skipped:
                self.position.skipped += 1
                self.position.not_counted += batch.total
            self.bar.update(batch.total)
            if self.position.counted > 0:
                self.live.show(self.position.history, running=self._entry)
            self._stop_if_interrupted()
            self._save_if_older_than(checkpoints.EVERY_SECONDS)
            start = time.perf_counter()
        if self.course.device.type == "cuda":
            torch.cuda.synchronize()  # once per epoch, so that the seconds are true
        self.position.seconds += time.perf_counter() - start

    def count(self, loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> None:
        """Add a batch to the epoch's sums, on the device.

        loss: the batch's mean loss, a scalar. logits: (B, classes). labels: int64 (B,). A step that
        was skipped because fp16 overflowed isn't counted.
        """
        self._step_was_skipped = self.scaler.is_enabled() and self._overflow.undo_skipped_step()
        if self._step_was_skipped:
            return
        loss = loss.detach().float()
        right = (logits.argmax(1) == labels).sum()
        self.sums += all_reduce(torch.stack([loss * len(labels), right]))

    def end_epoch(self, heldout: Measured | None = None) -> None:
        """Close the epoch: add it to the history, show it, start new sums.

        heldout: what was measured on held-out images after it, if anything was.
        """
        self._require_finite()
        position = self.position
        position.history.append(self._entry(heldout))
        self.live.show(position.history)
        if position.skipped:
            tqdm.write(
                f"fp16 overflowed: {position.skipped} steps of this epoch were skipped, and their "
                f"{position.not_counted:,} images aren't counted."
            )
        self.sums.zero_()
        position.begin_next_epoch()
        # Saving here is better than in the middle of the next epoch, so half the time is enough.
        self._save_if_older_than(checkpoints.EVERY_SECONDS / 2)

    def finish(self) -> list[dict[str, Any]]:
        """Save a last checkpoint and `model.pth`; returns the history, one dict per epoch.

        Of a trial, the history is all that's kept.
        """
        if not self.stage.is_trial:
            self._save()
            self._claim()
            if rank() == 0:
                keep_unknown_model(self.stage.folder)
            checkpoints.write_model(self.stage.model_path, self.model)
        broadcast_buffers(self.model)  # all processes end with rank 0's BatchNorm
        if self.position.history:  # a model from elsewhere may have come without one
            self.live.show(self.position.history, finished=True)
        return self.position.history

    def _interrupt(self, number: int, frame: Any) -> None:
        """Called by Python when you press ■."""
        if rank() == 0:
            self.interrupted = True

    def _choose_threads(self) -> None:
        """Choose how many threads compute an epoch; a resumed one keeps the number it had."""
        if not self._resumed_in_mid_epoch:
            self.position.threads = choose_threads(self.course.device)
            return
        self._resumed_in_mid_epoch = False
        if self.position.threads > MOST:
            print(
                f"This computer has {MOST} threads instead of {self.position.threads}: results are "
                "equally valid, but won't be bit-identical."
            )
            self.position.threads = MOST
        torch.set_num_threads(self.position.threads)

    def _entry(self, heldout: Measured | None = None) -> dict[str, Any]:
        return self.position.entry(self.images_per_epoch, self.sums, heldout)

    def _save_if_older_than(self, seconds: float) -> None:
        if time.perf_counter() - self.saved_at > seconds:
            self._save()

    def _save(self) -> None:
        """Save a checkpoint, unless this position is saved. Call it only between two steps.

        Raises DivergedError, DiskError.
        """
        epoch = self.position.epoch
        seen = self.position.seen
        if rank() > 0 or self.saved == (epoch, seen):
            return
        self._require_finite()
        self._claim()
        state = {
            "identity": self.identity,
            "made_on": made_on(self.course),
            "position": asdict(self.position),
            "sums": self.sums.cpu(),
            "answers": answers(self.model, self.course),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        checkpoints.save(self.stage.folder, state, epoch, seen, self.training)
        self.saved = (epoch, seen)
        self.saved_at = time.perf_counter()

    def _claim(self) -> None:
        """Raise CheckpointError if another run or training was begun in the folder meanwhile."""
        self.course.claim()
        if rank() == 0:  # the others don't write, and have drawn other ids
            checkpoints.require_only(self.training, self.stage.folder)

    def _resume(self) -> None:
        """Continue from the newest good checkpoint, if there is one."""
        course = self.course
        if course.drive and not (course.folder / "run.json").exists():
            # Somebody has deleted the run on the local disk.
            course.drive.restore()
        course.claim()
        path = checkpoints.newest_good(self.stage.folder)
        if path is None:
            report_trained_model(self.model, self.stage)
            return
        self.training = checkpoints.training_of(path)
        checkpoints.require_only(self.training, self.stage.folder)
        state = checkpoints.load(path)
        try:
            self._continue_from(state, str(path))
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise CheckpointError(
                f"{path} doesn't hold the state of a stage ({error}). Delete or rename it, and the "
                "checkpoint before it is used."
            ) from error
        if self.position.epoch >= self.stage.epochs and self.position.seen == 0:
            report_finished(self.stage, self.position)
        else:
            self.live.show(self.position.history)
            report_resumption(self.stage, self.position, state["made_on"])

    def _continue_from(self, state: dict[str, Any], where: str) -> None:
        """Take over all that a checkpoint holds. Raises CheckpointError if it's another run's."""
        self.identity = require_same_stage(state, self.identity, self.stage, where)
        self.model.load_state_dict(state["model"])
        require_same_answers(state, self.model, self.stage, where)
        self.optimizer.load_state_dict(state["optimizer"])
        if state["scaler"]:  # empty if the checkpoint wasn't made in fp16
            self.scaler.load_state_dict(state["scaler"])
        self.sums.copy_(state["sums"])
        self.position = Position(**state["position"])
        self.saved = (self.position.epoch, self.position.seen)
        self._resumed_in_mid_epoch = self.position.seen > 0

    def _stop_if_interrupted(self) -> None:
        if self.interrupted:
            self._save()
            raise Stopped(
                f"stage {self.stage.number} is saved: {self.stage.state}. Run the cell again to "
                "continue."
            )

    def _require_finite(self) -> None:
        """Raise DivergedError if the loss or a weight isn't finite, or fp16 keeps overflowing."""
        finite = bool(self.sums.isfinite().all())
        for value in self.model.state_dict().values():
            finite = finite and bool(value.isfinite().all())
        # fp16's scale is halved at each overflow. Below 1, scaling can't help any more.
        if not finite or self._overflow.scale < 1:
            raise DivergedError(
                f"The loss is no longer a finite number (stage {self.stage.number}, epoch "
                f"{self.position.epoch + 1}): lower the learning rate, as in "
                'course.experiment("lr-0.001", lr=0.001). The last good checkpoint is still there.'
            )
