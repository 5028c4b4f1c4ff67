"""What the benchmarks share: taking turns, the rows of a table, the machine's name."""

import itertools
import os
import platform
import re
import time
from pathlib import Path
from statistics import median

import torch
from tqdm import tqdm

from course_lib.device import best_device

HEAD = "| what | ours | compared with | ratio: median (range) | bar |\n|---|---|---|---|---|"


def interleaved(title, rounds, contestants):
    """{name: [its figure in each round]}. contestants: {name: function of the round's number that
    returns a figure}."""
    figures = {name: [] for name in contestants}
    for number, name in tqdm(
        [*itertools.product(range(rounds), contestants)], title, unit=" turns", leave=False
    ):
        figures[name].append(contestants[name](number))
    return figures


def row(what, ours, against, theirs, unit, least=None, most=None):
    """A row of the table. ours, theirs: one figure per round. unit: their format. least, most: the
    ratio's bar."""
    ratios = [mine / other for mine, other in zip(ours, theirs)]
    ratio, bar = median(ratios), ""
    if least or most:
        met = ratio >= least if least else ratio <= most
        bar = f"{f'≥ {least}' if least else f'≤ {most}'}, {'met' if met else '**missed**'}"
    shown, low, high = (
        f"{r:,.0f}" if r >= 100 else f"{r:.3g}" for r in (ratio, min(ratios), max(ratios))
    )
    ours, theirs = unit.format(median(ours)), unit.format(median(theirs))
    return f"| {what} | {ours} | {against}: {theirs} | {shown} ({low}–{high}) | {bar} |"


def rate(consume, batches, count, size, device):
    """Images per second of `consume`, which goes through an iterable, from the third of the
    `batches` of `size` on."""
    marks = []

    def now():
        if device.type != "cpu":  # wait until the device is done
            getattr(torch, device.type).synchronize()
        return time.perf_counter()

    def clocked():
        source = iter(batches)
        yield next(source)
        yield next(source)
        marks.append(now())  # asked for the third: two steps are done
        for _ in range(count):
            yield next(source)
        marks.append(now())

    consume(clocked())
    return count * size / (marks[1] - marks[0])


def machine(rounds, batch, precision):
    """What the figures were measured on, in one line."""
    device, info = best_device(), Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    name = (
        torch.cuda.get_device_name()
        if device.type == "cuda"
        else found[1]
        if found
        else platform.machine()
    )
    return (
        f"{name}, {os.cpu_count()} cores, {torch.get_num_threads()} threads; torch {torch.__version__}, ours in "
        f"{precision}; rounds: {rounds}, batches of {batch}."
    )
