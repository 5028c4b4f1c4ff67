"""The parts of `gpu.py` that ask how fast a GPU trains, and what it waits for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from statistics import median
from typing import Any

import report_recipe
import torch
from gpu_setup import NETWORKS, Effort, Row, repeat_images
from launches import launches_per_step, profiled, with_graphs
from places import Place
from table import interleaved

from course_lib.settings import PRESETS

WAYS = ("plain", "augmented")
WORKERS = (0, 2)  # of the report's DataLoader
GRAPHS = "augmented, CUDA graphs"
BARE = "bare steps"
FULL_IMAGES = 40_000  # of the report: 80 classes of 500
FULL_EPOCHS = {"plain": 30, "augmented": 50}
PROFILED = 10  # steps


def speed(place: Place, effort: Effort) -> Iterator[Row]:
    """Images per second, against the report's recipe and against bare steps."""
    rates = measure_rates(place, effort)
    size = f"{place.size.pixels} px"
    for name, rate in rates.items():
        compared = ""
        if name in WAYS:
            report = max(rates[recipe(name, workers)] for workers in WORKERS)
            compared = f"{rate / report:.2g} × the report's recipe, "
        if name != BARE:
            compared += f"{rate / rates[BARE]:.2g} × bare steps"
        yield Row(f"training, {size}, {name}", f"{rate:,.0f} images/s", compared)
    yield from waiting(place, rates)
    yield from minutes(place, rates)


def measure_rates(place: Place, effort: Effort) -> dict[str, float]:
    """Images per second of everything that's compared, the median of some rounds.

    Contestants take turns.
    """
    pilot = place.bare_steps(0)
    batches = max(place.size.ours, round(effort.seconds * pilot / effort.batch))
    place.size = place.size._replace(ours=batches)
    repeat_images(place, batches)
    contestants = {BARE: place.bare_steps}
    for way in WAYS:
        contestants[way] = partial(place.ours, way)
        for workers in WORKERS:
            contestants[recipe(way, workers)] = partial(place.report, way, workers)
    if place.device.type == "cuda":
        contestants[GRAPHS] = partial(replayed, place)
    figures = interleaved(f"training, {place.size.pixels} px", effort.rounds, contestants)
    return {name: median(found) for name, found in figures.items()}


def recipe(way: str, workers: int) -> str:
    """The name of the report's recipe among the contestants."""
    return f"the report's recipe, {way}, {workers} workers"


def replayed(place: Place, number: int) -> float:
    """Images per second of augmented training if the network is replayed as CUDA graphs."""
    with with_graphs(place):
        return place.ours("augmented", number)


def waiting(place: Place, rates: dict[str, float]) -> Iterator[Row]:
    """The share of a step in which the GPU computes nothing."""
    size = f"{place.size.pixels} px"
    if place.device.type != "cuda":
        yield Row(f"the GPU waits, {size}", "not measured: there is no GPU")
        return
    for way in WAYS:
        seconds = place.plan.batch / rates[way]
        share = max(0.0, 1 - computing(place, way) / seconds)
        yield Row(
            f"the GPU waits, {size}, {way}", f"{share:.0%} of {1000 * seconds:.1f} ms per step"
        )


def computing(place: Place, way: str) -> float:
    """The seconds of a step in which the GPU computes, by the profiler's clock."""
    count = PROFILED * place.plan.batch
    place.train(way, count, epochs=1)  # finds the fastest algorithms, which isn't of interest here
    with profiled(place) as recorded:
        place.train(way, count, epochs=1)
    return sum(map(device_seconds, recorded.key_averages())) / PROFILED


def device_seconds(event: Any) -> float:
    """The GPU's time for an event of the profiler. It's counted for kernels, not for operators."""
    if event.device_type != torch.autograd.DeviceType.CUDA:
        return 0.0
    return event.self_device_time_total / 1e6


def minutes(place: Place, rates: dict[str, float]) -> Iterator[Row]:
    """How long whole runs take at this speed: their training steps alone."""
    size = place.size.pixels
    lecture = PRESETS["lecture"]
    if lecture.settings.size in (size, 2 * size):  # 2: if it's tried out in tiny sizes
        images = 80 * lecture.settings.images_per_class[0]
        seconds = 160 * lecture.epochs[1] / rates["plain"]
        seconds += images * lecture.epochs[2] / rates["plain"]
        seconds += images * lecture.epochs[3] / rates["augmented"]
        what = "preset lecture, all three stages"
        yield Row(what, f"{seconds / 60:,.1f} minutes", "computed from images/s")
    seconds = 0.0
    for way, epochs in FULL_EPOCHS.items():
        seconds += epochs * FULL_IMAGES / rates[way]
    what = f"40,000 images, 30 + 50 epochs, {size} px"
    yield Row(what, f"{seconds / 60:,.0f} minutes", "computed from images/s")


def launching(place: Place, effort: Effort) -> Iterator[Row]:
    """How much Python launches for a step, with and without CUDA graphs."""
    size = f"{place.size.pixels} px"
    network = NETWORKS[effort.network]
    if place.device.type != "cuda":
        for way in WAYS:
            found = f"{launches_per_step(place, way, network):,.0f} operators"
            yield Row(f"a step, {size}, {way}", found, "counted on the CPU")
        return
    for way in WAYS:
        found = f"{launches_per_step(place, way, network):,.0f} launches"
        yield Row(f"a step, {size}, {way}", found)
    with with_graphs(place):
        found = f"{launches_per_step(place, 'augmented', network):,.0f} launches"
    yield Row(f"a step, {size}, {GRAPHS}", found)


def memory(place: Place, effort: Effort) -> Iterator[Row]:
    """The most memory that training takes on the GPU, the resident images included."""
    what = f"peak memory, {place.size.pixels} px, augmented"
    if place.device.type != "cuda":
        yield Row(what, "not measured: there is no GPU")
        return
    batches = 3
    ours = peak(lambda: place.train("augmented", batches * effort.batch, epochs=1))

    def train_as_the_report():
        loader = place.loader("augmented", workers=0)
        report_recipe.trainer(place.device, effort.batch)(itertools.islice(loader, batches))

    theirs = peak(train_as_the_report)
    yield Row(what, f"{ours:,.0f} MB", f"the report's recipe: {theirs:,.0f} MB")


def peak(action) -> float:
    """The most megabytes that are allocated on the GPU during an action."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    action()
    return torch.cuda.max_memory_allocated() / 1e6
