"""`make bench`: how fast the course is, as ratios within one run; prints the table in
benchmarks/README.md.

Speeds vary by a quarter from hour to hour, ratios don't. So contestants take turns (A, B, C, A, B,
C, …), each round gives a ratio, and the table shows the median of the rounds and their range.
"""

import argparse
import io
import itertools
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from unittest.mock import patch

import report_recipe
import torch
from PIL import Image
from table import HEAD, interleaved, machine, rate, row

from course_lib import (
    MyModel,
    augment_batch,
    augmentations,
    get_model,
    loops,
    open_course,
    train,
    training_batches,
)
from course_lib.data.bank import open_data

WAYS = ("plain", "augmented")
RECIPE, TORCH = "the report's recipe", "import torch, torchvision"
BARS = {64: 1.5, 224: 2.5}  # augmented training against the report's recipe, by size
IMPORT = 1.15


@dataclass(frozen=True)
class Plan:
    """How much is measured. ours, report: batches per round, one number per size, after some that
    only warm up. stage_: the stage that is timed as a whole."""

    sizes: tuple = (64, 224)
    ours: tuple = (12, 6)
    report: tuple = (8, 2)
    batch: int = 32
    per_class: int = 20
    rounds: int = 4
    stage_images: int = 640  # as the lecture
    stage_epochs: int = 8


QUICK = Plan((32,), (1,), (1,), batch=8, per_class=1, rounds=1, stage_images=16, stage_epochs=1)


class Place:
    """One size: the folder of the data set's files, a course that trains on it, and its images.
    `ours`, `bare_steps` and `report` return the images per second of whole training steps in one
    round."""

    def __init__(self, plan, size, folder):
        self.plan, self.size, self.folder, self.home = plan, size, folder, folder.parent
        os.environ |= {"COURSE_HOME": str(self.home), "COURSE_SIZE": str(size)}
        self.course = open_course(str(folder)).experiment("bench", batch_size=plan.batch)
        self.device = self.course.device
        self.host_images = self.course.data.train
        self.images = self.host_images.resident(self.device)
        # The report trains in a process that doesn't have the course's settings, such as those of
        # the memory.
        self.reporter = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def ours(self, way, number):
        """The second of two epochs of `train`; the first one allocates memory."""
        count = self.plan.ours[self.plan.sizes.index(self.size)]
        return self.train(way, count * self.plan.batch, 2)[-1]["images_per_second"]

    def bare_steps(self, number):
        """The same without any data: every step gets the same batch, resident and float."""
        count = self.plan.ours[self.plan.sizes.index(self.size)]
        stage = self.course.stage(3)
        images, labels = next(training_batches(self.images, stage, 1, True))
        batch = images.contiguous(memory_format=torch.channels_last), labels
        with patch.object(loops, "training_batches", lambda *_, **__: [batch] * count):
            return self.ours("augmented", number)

    def report(self, way, workers, number):
        count, augmented = self.plan.report[self.plan.sizes.index(self.size)], way == "augmented"
        asked = self.folder, self.size, augmented, workers, self.plan.batch, count, self.device
        return self.reporter.submit(report_recipe.training_rate, *asked).result()

    def train(self, way, count, epochs, heldout=None):
        """The history of a new model trained on `count` images."""
        stage = self.course.experiment("bench", batch_size=self.plan.batch, epochs=epochs).stage(
            2 + WAYS.index(way)
        )
        shutil.rmtree(stage.folder, ignore_errors=True)
        with redirect_stdout(io.StringIO()):
            images, augmented = self.images.take(count), way == "augmented"
            return train(get_model(MyModel), images, stage, augmented=augmented, heldout=heldout)

    def loader(self, way, workers):
        return report_recipe.loader(
            self.folder, self.size, way == "augmented", workers, self.plan.batch
        )

    def rate(self, consume, batches, counts, times=1):
        """Images per second of `consume`, which goes through an iterable of batches."""
        count = counts[self.plan.sizes.index(self.size)] * times
        return rate(consume, batches, count, self.plan.batch, self.device)

    def seconds(self, action):
        """How long `action` takes."""
        start = self.now()
        action()
        return self.now() - start

    def now(self):
        """The time at which the device has done what it was given."""
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()
        return time.perf_counter()


def training(place):
    """Whole batches, data and augmentation included."""
    contestants = {way: partial(place.ours, way) for way in WAYS} | {"bare": place.bare_steps}
    contestants |= {
        (way, workers): partial(place.report, way, workers) for way in WAYS for workers in (0, 2)
    }
    figures = interleaved(f"training, {place.size} px", place.plan.rounds, contestants)
    for way in WAYS:
        what, augmented = f"training, {place.size} px, {way}", way == "augmented"
        best = max((0, 2), key=lambda workers, way=way: median(figures[way, workers]))
        least = BARS.get(place.size) if augmented else None
        yield row(
            what,
            figures[way],
            f"{RECIPE}, {best} workers",
            figures[way, best],
            "{:.1f} images/s",
            least,
        )
        yield row(
            what,
            figures[way],
            "bare steps",
            figures["bare"],
            "{:.1f} images/s",
            0.97 if augmented else None,
        )


def outside_the_steps(place):
    """A whole stage, with saving and measuring, against the training steps of its epochs alone."""
    count, epochs, history = place.plan.stage_images, place.plan.stage_epochs, []
    heldout = place.images.take(max(1, count // 8), seed=1)
    whole = place.seconds(lambda: history.extend(place.train("augmented", count, epochs, heldout)))
    steps = sum(entry["seconds"] for entry in history)
    yield row(
        f"stage of {epochs} epochs, {place.size} px",
        [whole],
        "its steps alone",
        [steps],
        "{:.2f} s",
        most=1.05,
    )


def feeding(place):
    """What is left for the host if the rest is on the device: to gather shuffled uint8 batches."""
    images, look_at = place.host_images, deque(maxlen=0).extend
    gathered = (
        images.batch(i)
        for _ in itertools.count()
        for i in torch.randperm(len(images)).split(place.plan.batch)
    )
    contestants = {
        "ours": lambda _: place.rate(look_at, gathered, place.plan.ours, times=40),
        "report": lambda _: place.rate(
            look_at, place.loader("augmented", 2), place.plan.report, times=6
        ),
    }
    figures = interleaved("feeding", place.plan.rounds, contestants)
    what, against = f"host feed, {place.size} px", "the report's augmented DataLoader, 2 workers"
    yield row(what, figures["ours"], against, figures["report"], "{:,.0f} images/s", least=50)


def duel(place, what, count, ours, against, theirs, times=1):
    """The row of two functions that do the same to `count` images."""
    contestants = {
        name: lambda _, name=name: count / place.seconds(name) for name in (ours, theirs)
    }
    figures = interleaved(what, times * place.plan.rounds, contestants)
    yield row(
        f"{what}, {place.size} px", figures[ours], against, figures[theirs], "{:,.0f} images/s"
    )


def augmentation(place):
    """Augmentation alone, random draws included, of a decoded batch."""
    samples, images = torch.arange(place.plan.batch).numpy(), place.images
    pixels = images.batch(torch.from_numpy(samples))
    decoded = [Image.fromarray(picture) for picture in pixels.cpu().numpy()]
    transform = report_recipe.transform(place.size, augmented=True)

    def ours():
        augment_batch(pixels, augmentations(images, samples, place.course), place.size)

    def theirs():
        return [transform(picture) for picture in decoded]

    return duel(
        place,
        "augmentation alone",
        len(samples),
        ours,
        "the report's, by torchvision",
        theirs,
        times=5,
    )


def decoding(place):
    """From files to pixels: ours once, into the bank's file on disk; the report's again in every
    epoch."""
    dataset, count = (
        place.loader("plain", 0).dataset,
        len(place.course.data.train) + len(place.course.data.test),
    )
    banks = place.home / "decoding"

    def ours():
        shutil.rmtree(banks, ignore_errors=True)
        open_data(str(place.folder), place.course.settings, banks)

    def theirs():
        return [dataset[index % len(dataset)] for index in range(count)]

    return duel(place, "decoding", count, ours, "the report's MyDataset, plain", theirs)


def memory(place):
    """The peak of a process that only trains, augmented, as it reports at its end."""

    def peak(whose):
        plan = "QUICK" if place.plan is QUICK else "Plan()"
        code = f"import bench; bench.print_peak({whose!r}, bench.{plan}, {place.size}, {str(place.folder)!r})"
        return [
            float(
                subprocess.check_output(
                    [sys.executable, "-c", code], cwd=Path(__file__).parent
                ).split()[-1]
            )
        ]

    yield row(
        f"peak memory, {place.size} px",
        peak("ours"),
        f"{RECIPE}, 0 workers",
        peak("report"),
        "{:,.0f} MB",
    )


def print_peak(whose, plan, size, folder):
    """Train three batches and print the process's peak memory in MB; importing torch alone takes
    some hundreds."""
    place = Place(plan, size, Path(folder))
    if whose == "ours":
        place.train("augmented", 3 * plan.batch, 1)
    else:
        report_recipe.trainer(place.device, plan.batch)(
            itertools.islice(place.loader("augmented", 0), 3)
        )
    print(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1e6 if sys.platform == "darwin" else 1e6 / 1024)
    )


def importing(plan):
    """The seconds an import takes in a fresh process."""

    def fresh(statement, number):
        clocked = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
        return float(subprocess.check_output([sys.executable, "-c", clocked]))

    ours = "import course_lib"
    figures = interleaved(
        "importing", plan.rounds, {name: partial(fresh, name) for name in (TORCH, ours)}
    )
    yield row(f"`{ours}`", figures[ours], f"`{TORCH}`", figures[TORCH], "{:.3f} s", most=IMPORT)


def main():
    """Measure everything in a temporary folder and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: does it run? The figures say nothing"
    )
    plan = QUICK if parser.parse_args().quick else Plan()
    with tempfile.TemporaryDirectory() as home:
        places = [
            Place(plan, size, report_recipe.files(Path(home), size, plan.per_class))
            for size in plan.sizes
        ]
        # First, since on Linux a child's peak starts at its parent's:
        peaks = [line for place in places for line in memory(place)]
        rows = [
            line
            for measure in (training, augmentation, decoding)
            for place in places
            for line in measure(place)
        ]
        rows += [*outside_the_steps(places[0]), *feeding(places[-1]), *peaks, *importing(plan)]
        for place in places:
            place.reporter.shutdown()
    print(f"{machine(plan.rounds, plan.batch, places[0].course.precision.name)}\n\n{HEAD}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
