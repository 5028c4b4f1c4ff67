"""Does training with two processes end at the same accuracy? Stage 2, once with one process, once
with two, per seed.

COURSE_SIZE=32 COURSE_EPOCHS=20 OMP_NUM_THREADS=1 python benchmarks/processes.py    # README.md has
the table
"""

import json
import os
import subprocess
import sys
from statistics import mean, stdev

from course_lib.experiment import CHECKOUT

SEEDS = 3
COMMANDS = {
    "one process": [sys.executable],
    "two processes": [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
    ],
}


def final(command, name, seed):
    """Train and measure stage 2 with notebook 03 in a home of its own, or load it; returns
    {"train_plain": …, …}."""
    home = (
        CHECKOUT / "runs" / "processes" / f"{name}, seed {seed}".replace(" ", "-").replace(",", "")
    )
    environment = os.environ | {
        "COURSE_HOME": str(home),
        "COURSE_SEED": str(seed),
        "MPLBACKEND": "Agg",
    }
    subprocess.run(
        [*command, CHECKOUT / "notebooks" / "03_without_augmentation.py"],
        env=environment,
        check=True,
    )
    [path] = home.glob("*/results.json")
    return json.loads(path.read_text(encoding="utf-8"))["stages"]["2"]["final"]


if __name__ == "__main__":
    found = {
        name: [final(command, name, seed) for seed in range(SEEDS)]
        for name, command in COMMANDS.items()
    }
    print(
        "| stage 2 with | training images, plain | held-out images, plain | mean ± standard deviation |"
    )
    print("|---|---|---|---|")
    for name, runs in found.items():
        train, heldout = (
            [100 * run[kind] for run in runs] for kind in ("train_plain", "heldout_plain")
        )
        cells = (
            ", ".join(f"{share:.1f}" for share in shares) + " %" for shares in (train, heldout)
        )
        print(f"| {name} | {' | '.join(cells)} | {mean(heldout):.1f} ± {stdev(heldout):.1f}% |")
