"""Does training with two processes end at the same accuracy? Stage 2, with one and with two.

COURSE_SIZE=32 COURSE_EPOCHS=20 OMP_NUM_THREADS=1 python benchmarks/processes.py

README.md has the table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from statistics import mean, stdev

from course_lib.homes import CHECKOUT

SEEDS = 3
TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
COMMANDS = {"one process": [sys.executable], "two processes": [sys.executable, *TWO]}


def final(command: list[str], name: str, seed: int) -> dict[str, float]:
    """Train and measure stage 2 with notebook 04 in a home of its own, or load what it measured.

    Returns accuracies, {"train_plain": …, …}.
    """
    home = CHECKOUT / "runs" / "processes" / f"{name.replace(' ', '-')}-seed-{seed}"
    environment = dict(os.environ)
    environment["COURSE_HOME"] = str(home)
    environment["COURSE_SEED"] = str(seed)
    environment["MPLBACKEND"] = "Agg"
    script = CHECKOUT / "notebooks" / "04_without_augmentation.py"
    subprocess.run([*command, script], env=environment, check=True)
    [path] = home.glob("*/results.json")
    return json.loads(path.read_text(encoding="utf-8"))["stages"]["2"]["final"]


def percent(shares: list[float]) -> str:
    """Shares as in "97.5, 98.1%"."""
    return ", ".join(f"{100 * share:.1f}" for share in shares) + "%"


def main() -> None:
    """Train with all commands and seeds and print one Markdown table."""
    head = "| stage 2 with | training images, plain | held-out images, plain |"
    print(f"{head} mean ± standard deviation |\n|---|---|---|---|")
    for name, command in COMMANDS.items():
        runs = [final(command, name, seed) for seed in range(SEEDS)]
        train = [run["train_plain"] for run in runs]
        heldout = [run["heldout_plain"] for run in runs]
        summary = f"{100 * mean(heldout):.1f} ± {100 * stdev(heldout):.1f}%"
        print(f"| {name} | {percent(train)} | {percent(heldout)} | {summary} |")


if __name__ == "__main__":
    main()
