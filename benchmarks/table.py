"""What the benchmarks share: taking turns, the rows of a table, the machine's name."""

from __future__ import annotations

import itertools
import os
import platform
import re
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from course_lib.device import best_device

HEAD = "| what | ours | compared with | ratio: median (range) | bar |\n|---|---|---|---|---|"


def interleaved(
    title: str, rounds: int, contestants: dict[str, Callable[[int], float]]
) -> dict[str, list[float]]:
    """Let contestants take turns; returns {name: [its figure in each round]}.

    contestants: {name: function of the round's number that returns a figure}.
    """
    figures = {name: [] for name in contestants}
    turns = list(itertools.product(range(rounds), contestants))
    for number, name in tqdm(turns, title, unit=" turns", leave=False):
        figures[name].append(contestants[name](number))
    return figures


def row(
    what: str,
    ours: list[float],
    against: str,
    theirs: list[float],
    unit: str,
    least: float | None = None,
    most: float | None = None,
) -> str:
    """A row of the table.

    ours, theirs: one figure per round. unit: their format. least, most: the bar for the ratio.
    """
    ratios = [mine / other for mine, other in zip(ours, theirs)]
    ratio = median(ratios)
    bar = ""
    if least is not None:
        bar = f"≥ {least}, {verdict(ratio >= least)}"
    elif most is not None:
        bar = f"≤ {most}, {verdict(ratio <= most)}"
    our_figure = unit.format(median(ours))
    their_figure = unit.format(median(theirs))
    share = f"{rounded(ratio)} ({rounded(min(ratios))}–{rounded(max(ratios))})"
    return f"| {what} | {our_figure} | {against}: {their_figure} | {share} | {bar} |"


def verdict(met: bool) -> str:
    """A bar that is met, or missed, in words."""
    return "met" if met else "**missed**"


def rounded(ratio: float) -> str:
    """A ratio with three digits, or as a whole number if it's large."""
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"


def rate(
    consume: Callable[[Iterable], object],
    batches: Iterable,
    count: int,
    size: int,
    device: torch.device,
) -> float:
    """Images per second of `consume`, which goes through an iterable of batches.

    The first two batches only warm up; `count` batches of `size` images are timed.
    """
    marks = []

    def now() -> float:
        if device.type != "cpu":  # wait until the device is done
            getattr(torch, device.type).synchronize()
        return time.perf_counter()

    def clocked() -> Iterator:
        source = iter(batches)
        yield next(source)
        yield next(source)
        marks.append(now())  # asked for the third: two steps are done
        for _ in range(count):
            yield next(source)
        marks.append(now())

    consume(clocked())
    start, end = marks
    return count * size / (end - start)


def machine(rounds: int, batch: int, precision: str) -> str:
    """What the figures were measured on, in one line."""
    return (
        f"{processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; "
        f"torch {torch.__version__}, ours in {precision}; rounds: {rounds}, batches of {batch}."
    )


def processor() -> str:
    """The name of the GPU or, without one, of the processor."""
    if best_device().type == "cuda":
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*: (.*)", info.read_text())
        if found:
            return found[1]
    return platform.machine()
