"""`make bench`: how fast the course is, as ratios within one run; prints the table of benchmarks/README.md.

Figures change by a quarter from hour to hour, ratios do not: what is compared takes turns (A, B, C, A, B, C, …), a
ratio is taken within each round, and the table shows the median of the rounds and their range.
"""

import argparse
import io
import itertools
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median

import report_recipe
import torch
from PIL import Image
from table import HEAD, interleaved, machine, rate, row

from course_lib import (
    MyModel,
    Totals,
    augment_batch,
    augmentations,
    checkpoint,
    get_model,
    open_bank,
    open_course,
    train,
)
from course_lib.bank import build_bank
from course_lib.batches import training_batches
from course_lib.device import PRECISIONS
from course_lib.loops import train_epoch
from course_lib.sources import open_source

WAYS = ("plain", "augmented")
RECIPE, TORCH = "the report's recipe", "import torch, torchvision"
BARS = {64: 1.5, 224: 2.5}  # augmented training against the report's recipe, by size


@dataclass(frozen=True)
class Plan:
    """How much is measured. `ours`, `report`: batches a round, one number a size; two more, before the clock starts,
    start the workers and allocate memory. `matrix`: side of the matrix product. `stage_`: of the stage that is
    timed as a whole."""

    sizes: tuple = (64, 224)
    ours: tuple = (12, 6)
    report: tuple = (8, 2)
    batch: int = 32
    per_class: int = 20
    rounds: int = 4
    matrix: int = 2048
    stage_images: int = 640  # as the lecture
    stage_epochs: int = 8


QUICK = Plan((32,), (1,), (1,), batch=8, per_class=1, rounds=1, matrix=256, stage_images=16, stage_epochs=1)


class Place:
    """One size: the folder of the data set's files, a course that trains on it, and the images of its bank. `ours`,
    `bare_steps` and `report` return images a second of whole training steps; number: the round's."""

    def __init__(self, plan, size, folder):
        self.plan, self.size, self.folder, self.home = plan, size, folder, folder.parent
        self.course = replace(open_course(), data=str(folder), home=self.home)
        self.course = self.course.with_settings(size=size, batch_size=plan.batch)
        self.device = self.course.device
        self.host_images = open_bank(self.course).train
        self.images = self.host_images.resident(self.device)
        # The report trains in a process that knows nothing of the course's settings, such as those of the memory.
        self.reporter = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def ours(self, way, number):
        return self.rate(self.trainer(), self.batches(way, number + 1), self.plan.ours)

    def bare_steps(self, number):
        images, labels = next(self.batches("augmented"))  # resident and float: nothing is left but the step
        batch = images.contiguous(memory_format=torch.channels_last), labels
        return self.rate(self.trainer(), itertools.repeat(batch), self.plan.ours)

    def report(self, way, workers, number):
        count, augmented = self.plan.report[self.plan.sizes.index(self.size)], way == "augmented"
        asked = self.folder, self.size, augmented, workers, self.plan.batch, count, self.device
        return self.reporter.submit(report_recipe.training_rate, *asked).result()

    def trainer(self):
        """A function that trains a new model on an iterable of batches, as `course_lib.train` does."""
        settings, precision = self.course.settings, self.course.precision
        model = get_model(MyModel).to(self.device, memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
        scaler, totals = precision.scaler(), Totals(self.device)
        return lambda batches: train_epoch(model, batches, optimizer, scaler, precision, totals)

    def batches(self, way, epoch=1):
        return training_batches(self.images, self.course, 2 + WAYS.index(way), epoch, way == "augmented")

    def loader(self, way, workers):
        return report_recipe.loader(self.folder, self.size, way == "augmented", workers, self.plan.batch)

    def rate(self, consume, batches, counts, times=1):
        """Images a second of `consume`, which goes through an iterable of batches."""
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
    contestants = {"peak": partial(matrix_product, place)}  # between the report's last turn and our first
    contestants |= {way: partial(place.ours, way) for way in WAYS} | {"bare": place.bare_steps}
    contestants |= {(way, workers): partial(place.report, way, workers) for way in WAYS for workers in (0, 2)}
    figures = interleaved(f"training, {place.size} px", place.plan.rounds, contestants)
    for way in WAYS:
        what, augmented = f"training, {place.size} px, {way}", way == "augmented"
        best = max((0, 2), key=lambda workers, way=way: median(figures[way, workers]))
        least = BARS.get(place.size) if augmented else None
        yield row(what, figures[way], f"{RECIPE}, {best} workers", figures[way, best], "{:.1f} images/s", least)
        yield row(what, figures[way], "bare steps", figures["bare"], "{:.1f} images/s", 0.97 if augmented else None)
    ours = [rate * step_flop(place.size) / 1e9 for rate in figures["augmented"]]
    against = f"{place.course.precision.name} matrix product"
    yield row(f"arithmetic, {place.size} px, augmented", ours, against, figures["peak"], "{:.0f} GFLOP/s")


def outside_the_steps(place):
    """A stage by the clock, its saving and measuring included, against the training steps of its epochs alone."""
    count, epochs = place.plan.stage_images, place.plan.stage_epochs
    stage = place.course.with_settings(epochs={1: 1, 2: 1, 3: epochs}).stage(3)
    images, heldout, model, history = place.images.take(count), place.images.take(count, seed=1), get_model(MyModel), []
    with redirect_stdout(io.StringIO()):
        whole = place.seconds(lambda: history.extend(train(model, images, stage, augmented=True, heldout=heldout)))
    steps = sum(entry["seconds"] for entry in history)
    yield row(f"stage of {epochs} epochs, {place.size} px", [whole], "its steps alone", [steps], "{:.2f} s", most=1.05)


def step_flop(size):
    """Floating-point operations of a training step, an image: two a multiplication and addition, in three passes."""
    model, products = get_model(MyModel).eval(), []
    for layer in model.modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.Linear)):
            layer.register_forward_hook(lambda one, _, out: products.append(out.numel() * one.weight[0].numel()))
    with torch.inference_mode():
        model(torch.zeros(1, 3, size, size))
    return 3 * 2 * sum(products)


def matrix_product(place, number):
    """GFLOP/s of a large matrix product in the precision that the course trains in, the best of eight."""
    n, dtype = place.plan.matrix, PRECISIONS[place.course.precision.name] or torch.float32
    a, b = (torch.randn(n, n, device=place.device).to(dtype) for _ in range(2))
    return max(2 * n**3 / place.seconds(lambda: a @ b) / 1e9 for _ in range(8))


def feeding(place):
    """All that the host must do when the rest is on the device: gather shuffled uint8 batches in contiguous memory."""
    images, look_at = place.host_images, deque(maxlen=0).extend
    gathered = (images.batch(i) for _ in itertools.count() for i in torch.randperm(len(images)).split(place.plan.batch))
    contestants = {
        "ours": lambda _: place.rate(look_at, gathered, place.plan.ours, times=40),
        "report": lambda _: place.rate(look_at, place.loader("augmented", 2), place.plan.report, times=6),
    }
    figures = interleaved("feeding", place.plan.rounds, contestants)
    what, against = f"host feed, {place.size} px", "the report's augmented DataLoader, 2 workers"
    yield row(what, figures["ours"], against, figures["report"], "{:,.0f} images/s", least=50)


def duel(place, what, count, ours, against, theirs, times=1):
    """The line of two functions that do the same to `count` images."""
    contestants = {name: lambda _, name=name: count / place.seconds(name) for name in (ours, theirs)}
    figures = interleaved(what, times * place.plan.rounds, contestants)
    yield row(f"{what}, {place.size} px", figures[ours], against, figures[theirs], "{:,.0f} images/s")


def augmentation(place):
    """Augmentation alone, the draws included, of a batch that is decoded."""
    samples, images = torch.arange(place.plan.batch).numpy(), place.images
    pixels = images.batch(torch.from_numpy(samples))
    decoded = [Image.fromarray(picture) for picture in pixels.cpu().numpy()]
    transform = report_recipe.transform(place.size, augmented=True)

    def ours():
        augment_batch(pixels, augmentations(images, samples, place.course), place.size)

    def theirs():
        return [transform(picture) for picture in decoded]

    return duel(place, "augmentation alone", len(samples), ours, "the report's, by torchvision", theirs, times=5)


def decoding(place):
    """From files to pixels: ours once, into the bank's file on the disk; the report's in every epoch."""
    dataset, source = place.loader("plain", 0).dataset, open_source(place.folder)
    first = range(min(len(dataset), 512))
    part = replace(source, train=source.train[: len(first)], test=[])
    ours, against = partial(build_bank, part, place.size, place.home / "decoding.npy"), "the report's MyDataset, plain"
    return duel(place, "decoding", len(first), ours, against, lambda: [dataset[index] for index in first])


def saving(place):
    """Weights and momentum, forced to the disk and read back; the report's torch.save of the weights is neither."""
    weights, folder, bare = get_model(MyModel).state_dict(), place.home / "checkpoints", place.home / "model.pth"
    state = {"model": weights, "optimizer": {name: torch.zeros_like(weight) for name, weight in weights.items()}}
    size = sum(weight.nbytes for weight in weights.values()) / 1e6  # MB
    contestants = {
        "ours": lambda number: 2 * size / place.seconds(lambda: checkpoint.save(folder, state, epoch=number, step=0)),
        "report": lambda _: size / place.seconds(lambda: torch.save(weights, bare)),
    }
    rates = interleaved("saving", place.plan.rounds, contestants)
    what = f"checkpoint of {2 * size:.0f} MB in {2 * size / median(rates['ours']):.2f} s"
    yield row(what, rates["ours"], f"torch.save of {size:.0f} MB", rates["report"], "{:.0f} MB/s")


def memory(place):
    """The peak of a process that does nothing but train, augmented, as it reads at its own end."""

    def peak(whose):
        plan = "QUICK" if place.plan is QUICK else "Plan()"
        code = f"import bench; bench.print_peak({whose!r}, bench.{plan}, {place.size}, {str(place.folder)!r})"
        return [float(subprocess.check_output([sys.executable, "-c", code], cwd=Path(__file__).parent).split()[-1])]

    yield row(f"peak memory, {place.size} px", peak("ours"), f"{RECIPE}, 0 workers", peak("report"), "{:,.0f} MB")


def print_peak(whose, plan, size, folder):
    """Train three batches and print the process's peak memory in MB; importing torch alone takes some hundreds."""
    place = Place(plan, size, Path(folder))
    batches = place.batches("augmented") if whose == "ours" else place.loader("augmented", 0)
    train = place.trainer() if whose == "ours" else report_recipe.trainer(place.device, plan.batch)
    train(itertools.islice(batches, 3))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e6 / 1024))


def importing(plan):
    """Seconds that an import takes in a fresh process."""

    def fresh(statement, number):
        clocked = f"import time; start = time.perf_counter(); {statement}; print(time.perf_counter() - start)"
        return float(subprocess.check_output([sys.executable, "-c", clocked]))

    ours = ("import course_lib", "from course_lib import MyModel, open_bank, train")
    figures = interleaved("importing", plan.rounds, {name: partial(fresh, name) for name in (TORCH, *ours)})
    for name in ours:
        yield row(f"`{name}`", figures[name], f"`{TORCH}`", figures[TORCH], "{:.3f} s", most=1.15)


def main():
    """Measure everything in a temporary folder and print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes: does it run? The figures say nothing")
    plan = QUICK if parser.parse_args().quick else Plan()
    with tempfile.TemporaryDirectory() as home:
        places = [Place(plan, size, report_recipe.files(Path(home), size, plan.per_class)) for size in plan.sizes]
        peaks = [
            line for place in places for line in memory(place)
        ]  # first: on Linux a child's peak begins at its parent's
        rows = [line for measure in (training, augmentation, decoding) for place in places for line in measure(place)]
        rows += [*outside_the_steps(places[0]), *feeding(places[-1]), *saving(places[-1]), *peaks, *importing(plan)]
    print(f"{machine(plan.rounds, plan.batch)}\n\n{HEAD}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()
