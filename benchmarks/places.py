"""Where the benchmarks train: one place per image size, for the course and for the report."""

from __future__ import annotations

import io
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import report_recipe
import torch
from torch import nn

from course_lib import MyModel, get_model, loops, open_course, train, training_batches
from course_lib.data.bank import Images

STAGES = {"plain": 2, "augmented": 3}


class Size(NamedTuple):
    """A side of images, and how many batches are timed per round, after some that only warm up."""

    pixels: int
    ours: int
    report: int


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    sizes: tuple[Size, ...] = (Size(64, ours=12, report=8), Size(224, ours=6, report=2))
    batch: int = 32
    per_class: int = 20  # images that are generated
    rounds: int = 4
    stage_images: int = 640  # of the stage that is timed as a whole: as in the lecture
    stage_epochs: int = 8


QUICK = Plan(
    sizes=(Size(32, ours=1, report=1),),
    batch=8,
    per_class=1,
    rounds=1,
    stage_images=16,
    stage_epochs=1,
)


class Place:
    """The files of a data set in one size, a course that trains on it, and its images."""

    def __init__(self, plan: Plan, size: Size, folder: Path):
        self.plan = plan
        self.size = size
        self.folder = folder
        self.home = folder.parent
        os.environ["COURSE_HOME"] = str(self.home)
        os.environ["COURSE_SIZE"] = str(size.pixels)
        self.course = open_course(str(folder)).experiment("bench", batch_size=plan.batch)
        self.device = self.course.device
        self.host_images = self.course.data.train
        self.images = self.host_images.resident(self.device)
        # A process of its own: the course changes how this one handles memory, for instance.
        self.reporter = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def ours(self, way: str, number: int) -> float:
        """Images per second of our training steps, in one round."""
        count = self.size.ours * self.plan.batch
        first, second = self.train(way, count, epochs=2)  # the first one allocates memory
        return second["images_per_second"]

    def bare_steps(self, number: int) -> float:
        """The same without any data: every step gets the same batch, resident and float."""
        stage = self.course.stage(STAGES["augmented"])
        batch = next(training_batches(self.images, stage, 1, True))
        images = batch.images.contiguous(memory_format=torch.channels_last)
        batches = [batch._replace(images=images)] * self.size.ours
        with patch.object(loops, "training_batches", lambda *_, **__: batches):
            return self.ours("augmented", number)

    def report(self, way: str, workers: int, number: int) -> float:
        """Images per second of the report's training steps, in one round."""
        asked = self.reporter.submit(
            report_recipe.training_rate,
            self.folder,
            self.size.pixels,
            way == "augmented",
            workers,
            self.plan.batch,
            self.size.report,
            self.device,
        )
        return asked.result()

    def train(
        self,
        way: str,
        count: int,
        epochs: int,
        heldout: Images | None = None,
        network: type[nn.Module] = MyModel,
    ) -> list[dict[str, Any]]:
        """The history of a new model trained on `count` images."""
        course = self.course.experiment("bench", batch_size=self.plan.batch, epochs=epochs)
        stage = course.stage(STAGES[way])
        shutil.rmtree(stage.folder, ignore_errors=True)
        with redirect_stdout(io.StringIO()):
            return train(
                get_model(network),
                self.images.take(count),
                stage,
                augmented=way == "augmented",
                heldout=heldout,
            )

    def loader(self, way: str, workers: int) -> Iterable:
        """The report's batches."""
        augmented = way == "augmented"
        return report_recipe.loader(
            self.folder, self.size.pixels, augmented, workers, self.plan.batch
        )

    def seconds(self, action: Callable[[], Any]) -> float:
        """How long `action` takes."""
        start = self.now()
        action()
        return self.now() - start

    def now(self) -> float:
        """The time at which the device has done what it was given."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()
        return time.perf_counter()
