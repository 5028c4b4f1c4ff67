"""`make bench`: how fast the course is, as ratios within one run; prints a table for README.md.

Speeds vary by a quarter from hour to hour, ratios don't. So contestants take turns (A, B, C, A, B,
C, …), each round gives a ratio, and the table shows the median of the rounds and their range.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import report_recipe
import torch
from PIL import Image
from places import QUICK, Place, Plan
from table import HEAD, interleaved, machine, rate, row

from course_lib import augment_batch, augmentations
from course_lib.data.bank import open_data

WAYS = ("plain", "augmented")
WORKERS = (0, 2)  # of the report's DataLoader
RECIPE = "the report's recipe"
SPEED = "{:.1f} images/s"
HIGH_SPEED = "{:,.0f} images/s"
# What the ratios must at least be: by size, of augmented training against the report's recipe …
BARS = {64: 1.5, 224: 2.5}
BARE = 0.97  # … against bare steps
FEED = 50  # … of the host's feed against the report's loader
# … and at most: of the time of a stage to that of its steps, and of the time of importing
STAGE = 1.05
IMPORT = 1.15


def training(place: Place) -> Iterator[str]:
    """Whole batches, data and augmentation included."""
    contestants = {"bare steps": place.bare_steps}
    for way in WAYS:
        contestants[way] = partial(place.ours, way)
        for workers in WORKERS:
            contestants[f"report, {way}, {workers}"] = partial(place.report, way, workers)
    pixels = place.size.pixels
    figures = interleaved(f"training, {pixels} px", place.plan.rounds, contestants)
    for way in WAYS:
        rates = {workers: figures[f"report, {way}, {workers}"] for workers in WORKERS}
        best = fastest(rates)
        against = f"{RECIPE}, {best} workers"
        bar = BARS.get(pixels) if way == "augmented" else None
        bare = BARE if way == "augmented" else None
        what = f"training, {pixels} px, {way}"
        yield row(what, figures[way], against, rates[best], SPEED, least=bar)
        yield row(what, figures[way], "bare steps", figures["bare steps"], SPEED, least=bare)


def fastest(rates: dict[int, list[float]]) -> int:
    """The key of the rates with the largest median."""
    return max(rates, key=lambda key: median(rates[key]))


def outside_the_steps(place: Place) -> Iterator[str]:
    """A whole stage, with saving and measuring, against the training steps of its epochs alone."""
    count = place.plan.stage_images
    epochs = place.plan.stage_epochs
    heldout = place.images.take(max(1, count // 8), seed=1)
    history = []

    def train_stage():
        history.extend(place.train("augmented", count, epochs, heldout))

    whole = place.seconds(train_stage)
    steps = sum(entry["seconds"] for entry in history)
    what = f"stage of {epochs} epochs, {place.size.pixels} px"
    yield row(what, [whole], "its steps alone", [steps], "{:.2f} s", most=STAGE)


def feeding(place: Place) -> Iterator[str]:
    """What's left for the host if the rest is on the device: to gather shuffled uint8 batches."""
    batch = place.plan.batch

    def gathered() -> Iterator:
        while True:
            for positions in torch.randperm(len(place.host_images)).split(batch):
                yield place.host_images.batch(positions)

    def measured(batches: Iterable, count: int) -> float:
        look_at_all = deque(maxlen=0).extend
        return rate(look_at_all, batches, count, batch, place.device)

    def ours(number: int) -> float:
        return measured(gathered(), 40 * place.size.ours)

    def theirs(number: int) -> float:
        return measured(place.loader("augmented", workers=2), 6 * place.size.report)

    figures = interleaved("feeding", place.plan.rounds, {"ours": ours, "theirs": theirs})
    what = f"host feed, {place.size.pixels} px"
    against = "the report's augmented DataLoader, 2 workers"
    yield row(what, figures["ours"], against, figures["theirs"], HIGH_SPEED, least=FEED)


def duel(
    place: Place,
    what: str,
    count: int,
    ours: Callable[[], Any],
    against: str,
    theirs: Callable[[], Any],
    times: int = 1,
) -> str:
    """The row of two functions that do the same to `count` images; times: as many rounds."""
    contestants = {
        "ours": lambda number: count / place.seconds(ours),
        "theirs": lambda number: count / place.seconds(theirs),
    }
    figures = interleaved(what, times * place.plan.rounds, contestants)
    title = f"{what}, {place.size.pixels} px"
    return row(title, figures["ours"], against, figures["theirs"], HIGH_SPEED)


def augmentation(place: Place) -> Iterator[str]:
    """Augmentation alone, random draws included, of a decoded batch."""
    pixels = place.size.pixels
    samples = torch.arange(place.plan.batch)
    batch = place.images.batch(samples)
    decoded = [Image.fromarray(picture) for picture in batch.cpu().numpy()]
    transform = report_recipe.transform(pixels, augmented=True)

    def ours():
        drawn = augmentations(place.images, samples.numpy(), place.course)
        augment_batch(batch, drawn, pixels)

    def theirs():
        return [transform(picture) for picture in decoded]

    against = "the report's, by torchvision"
    yield duel(place, "augmentation alone", len(samples), ours, against, theirs, times=5)


def decoding(place: Place) -> Iterator[str]:
    """From files to pixels: ours once, into a file; the report's again in every epoch."""
    dataset = report_recipe.dataset(place.folder, place.size.pixels, augmented=False)
    data = place.course.data
    count = len(data.train) + len(data.test)
    banks = place.home / "decoding"

    def ours():
        shutil.rmtree(banks, ignore_errors=True)
        open_data(str(place.folder), place.course.settings, banks)

    def theirs():
        return [dataset[index % len(dataset)] for index in range(count)]

    yield duel(place, "decoding", count, ours, "the report's MyDataset, plain", theirs)


def memory(place: Place) -> Iterator[str]:
    """The peak of a process that only trains, augmented, as it reports at its end."""

    def peak(whose: str) -> float:
        arguments = [whose, str(place.size.pixels), str(place.plan.batch), str(place.folder)]
        script = Path(__file__).with_name("peak.py")
        printed = subprocess.check_output([sys.executable, script, *arguments])
        return float(printed.split()[-1])

    what = f"peak memory, {place.size.pixels} px"
    yield row(what, [peak("ours")], f"{RECIPE}, 0 workers", [peak("report")], "{:,.0f} MB")


def importing(plan: Plan) -> Iterator[str]:
    """The seconds an import takes in a fresh process."""
    ours = "import course_lib"
    theirs = "import torch, torchvision"

    def seconds(statement: str, number: int) -> float:
        code = (
            f"import time; start = time.perf_counter(); {statement}; "
            "print(time.perf_counter() - start)"
        )
        return float(subprocess.check_output([sys.executable, "-c", code]))

    contestants = {statement: partial(seconds, statement) for statement in (theirs, ours)}
    figures = interleaved("importing", plan.rounds, contestants)
    yield row(f"`{ours}`", figures[ours], f"`{theirs}`", figures[theirs], "{:.3f} s", most=IMPORT)


def measure_all(plan: Plan, home: Path) -> tuple[str, list[str]]:
    """Measure everything in a folder; returns the machine in one line, and the table's rows."""
    places = []
    for size in plan.sizes:
        folder = report_recipe.files(home, size.pixels, plan.per_class)
        places.append(Place(plan, size, folder))
    # First, since on Linux a child's peak starts at its parent's:
    peaks = list(itertools.chain.from_iterable(memory(place) for place in places))
    rows = []
    for measure in (training, augmentation, decoding):
        for place in places:
            rows.extend(measure(place))
    rows.extend(outside_the_steps(places[0]))
    rows.extend(feeding(places[-1]))
    rows.extend(peaks)
    rows.extend(importing(plan))
    for place in places:
        place.reporter.shutdown()
    return machine(plan.rounds, plan.batch, places[0].course.precision.name), rows


def main() -> None:
    """Measure everything in a temporary folder and print one Markdown table."""
    parser = argparse.ArgumentParser(description="How fast the course is, as ratios.")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: does it run? The figures say nothing"
    )
    plan = QUICK if parser.parse_args().quick else Plan()
    with tempfile.TemporaryDirectory() as home:
        where, rows = measure_all(plan, Path(home))
    print(f"{where}\n\n{HEAD}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
