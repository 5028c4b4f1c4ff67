"""`make gpu`: is the course right on this GPU, and how fast? Prints one table for an issue.

    python gpu.py [--cpu] [--quick]

It takes at most six minutes. A part that fails is a row of the table, and the others still run.
The exit status is 0 if all is right, 1 if something isn't, and 2 if there is no GPU.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from gpu_correct import (
    against_float64,
    against_torchvision,
    killed_and_resumed,
    learning,
    overflow,
    resident_or_not,
    several,
    to_the_cpu_and_back,
)
from gpu_setup import QUICK, Effort, Part, Row, open_place
from gpu_speed import launching, memory, speed
from places import Place
from table import processor, verdict
from tqdm import tqdm

from course_lib.device import best_device

NO_GPU = 2  # the exit status
WRONG = 1
HEAD = "| what | found | compared with | right? |\n|---|---|---|---|"
# Each is measured in the first size; speed also in the others.
PARTS: tuple[Part, ...] = (
    against_float64,
    against_torchvision,
    learning,
    overflow,
    resident_or_not,
    killed_and_resumed,
    to_the_cpu_and_back,
    several,
    launching,
)
IN_EACH_SIZE: tuple[Part, ...] = (speed, memory)


def measure_all(effort: Effort, home: Path) -> list[Row]:
    """The rows of all parts, measured in a folder."""
    deadline = time.monotonic() + effort.most_seconds
    places = [open_place(home, size, effort) for size in effort.sizes]
    tasks = [(part, places[0]) for part in PARTS]
    for place in places:
        tasks += [(part, place) for part in IN_EACH_SIZE]
    rows = []
    for part, place in tqdm(tasks, "measuring", unit=" parts", leave=False):
        if time.monotonic() > deadline:
            rows.append(Row(title(part, place), "left out: the time was up"))
        else:
            rows.extend(rows_of(part, place, effort))
    for place in places:
        place.reporter.shutdown()
    return rows


def rows_of(part: Part, place: Place, effort: Effort) -> list[Row]:
    """The rows of a part; if it fails, the last one is its error."""
    rows = []
    try:
        rows.extend(part(place, effort))
    except Exception as error:  # whatever it is: it belongs into the table
        message = " ".join(f"{type(error).__name__}: {error}".split())
        rows.append(Row(title(part, place), message.replace("|", "/")[-500:], "", False))
    return rows


def title(part: Part, place: Place) -> str:
    """A part in words."""
    return f"{part.__name__.replace('_', ' ')}, {place.size.pixels} px"


def markdown(row: Row) -> str:
    """A row of the table."""
    right = "" if row.right is None else verdict(row.right)
    return f"| {row.what} | {row.found} | {row.bar} | {right} |"


def machine(place_device: torch.device) -> str:
    """The device in one line: name, memory, driver, versions."""
    facts = [processor()]
    if place_device.type == "cuda":
        properties = torch.cuda.get_device_properties(place_device)
        facts.append(f"{properties.total_memory / 2**30:.0f} GiB")
        facts.append(f"compute capability {properties.major}.{properties.minor}")
        facts.append(f"driver {driver()}")
        facts.append(f"{torch.cuda.device_count()} GPUs in all")
    facts.append(f"{os.cpu_count()} CPU cores")
    facts.append(f"Python {sys.version.split()[0]}, torch {torch.__version__}")
    return "; ".join(facts)


def driver() -> str:
    """The version of NVIDIA's driver, as nvidia-smi says."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        printed = subprocess.run(command, capture_output=True, text=True, timeout=20).stdout
    except OSError:
        return "unknown"
    return printed.split("\n")[0] or "unknown"


def main() -> int:
    """Measure everything in a temporary folder and print what to paste; returns the exit status."""
    parser = argparse.ArgumentParser(description="Is the course right on this GPU, and how fast?")
    parser.add_argument("--cpu", action="store_true", help="on the CPU: does the benchmark run?")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes: does it run? Its figures say nothing"
    )
    chosen = parser.parse_args()
    if chosen.cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    device = best_device()
    if device.type == "cpu" and not chosen.cpu:
        print("There is no GPU here that PyTorch can use, so there's nothing to measure.")
        return NO_GPU
    effort = QUICK if chosen.quick else Effort()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as home:
        rows = measure_all(effort, Path(home))
    print("Paste all that follows into an issue:\n")
    print(f"{machine(device)}; {time.monotonic() - start:.0f} seconds\n\n{HEAD}")
    for row in rows:
        print(markdown(row))
    return WRONG if any(row.right is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
