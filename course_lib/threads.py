"""How many threads compute on a CPU: at most one per core that other programs leave free.

Two threads that share one free core are up to seventy times slower than one: they wait for each
other thousands of times per second. So before each epoch, we look at how much other programs have
computed since the last look. Reading the system's counters costs nothing.
"""

from __future__ import annotations

import os
import time
from typing import NamedTuple

import psutil
import torch

MOST = torch.get_num_threads()  # one per core, or what OMP_NUM_THREADS says
# A core counts as free if others use less of it than this, as an idle browser does.
SPARE = 0.3


class Usage(NamedTuple):
    """What the processor's clocks say at one moment, in seconds."""

    clock: float
    everybody: float  # computed so far, by all programs together
    ours: float  # computed so far, by this process


def usage() -> Usage:
    """Read the clocks."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0)
    total = sum(times) - getattr(times, "guest", 0)  # Linux counts virtual machines twice
    return Usage(time.perf_counter(), total - idle, time.process_time())


_last_look = usage()


def free_cores() -> float:
    """How many cores other programs have left unused since the last call (or the import)."""
    global _last_look
    now = usage()
    before = _last_look
    _last_look = now
    seconds = max(now.clock - before.clock, 1e-3)
    others = (now.everybody - before.everybody) - (now.ours - before.ours)
    return (psutil.cpu_count() or 1) - max(0, others) / seconds


def choose_threads(device: torch.device) -> int:
    """Let PyTorch compute with as many threads as there are free cores; returns how many.

    OMP_NUM_THREADS pins the number. On a GPU, nothing changes.
    """
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        free = int(free_cores() + SPARE)
        wanted = max(1, min(MOST, free))
        if wanted < torch.get_num_threads():
            print(
                "Other programs are using this computer's processor: computing with "
                f"{wanted} of {MOST} threads."
            )
        torch.set_num_threads(wanted)
    return torch.get_num_threads()
