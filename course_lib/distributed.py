"""Several processes that train one model, each with its share of every batch (one per GPU).

`torchrun` starts them, and PyTorch's DistributedDataParallel averages their gradients. The first
process (rank 0) alone writes files and shows progress. Without torchrun, there is one process, and
nothing here does anything.
"""

from __future__ import annotations

import atexit
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.rendezvous import rendezvous
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel

from .errors import SettingsError
from .storage import files
from .storage.identity import differing

PATIENCE = timedelta(hours=1)  # of processes that wait for rank 0, which may have to decode images


def init_process_group(batch_size: int) -> None:
    """Join the other processes, if torchrun started any.

    Raises SettingsError if their number doesn't fit the GPUs or the batch size.
    """
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        return
    store, number, count = next(rendezvous("env://"))
    sys.excepthook = _Telling(store)
    backend = "gloo"
    if torch.cuda.is_available():
        backend = "nccl"
        gpus = torch.cuda.device_count()
        if int(os.environ["LOCAL_WORLD_SIZE"]) > gpus:
            raise SettingsError(f"Each process needs its own GPU: use --nproc-per-node={gpus}.")
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    atexit.register(dist.destroy_process_group)
    if rank() > 0:
        silence = open(os.devnull, "w")
        sys.stdout = silence
        sys.stderr = silence
        files.writes_files = False
    if batch_size % ranks():
        raise SettingsError(
            f"{ranks()} processes can't share batches of {batch_size}: use a number of processes "
            "that divides it."
        )


def rank() -> int:
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(indices: Any) -> Any:
    """This process's share of some indices (a tensor, an array or a list)."""
    return indices[rank() :: ranks()]


def batch_end(first: int, size: int, count: int) -> int:
    """The end of the batch of `size` that begins at image `first` of `count`.

    If what would be left is too small for a batch of its own, it's included. That's less than a
    quarter of a batch, whose few images would give batch norm averages far off all others, or fewer
    than two images per process.
    """
    end = first + size
    left = count - end
    if left < size / 4 or left < 2 * ranks():
        return count
    return end


def all_reduce(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of a tensor over all processes."""
    if ranks() > 1:
        dist.all_reduce(tensor)
    return tensor


def all_gather(rows: torch.Tensor, count: int) -> torch.Tensor:
    """Put together what each process computed for its `share` of `count` images.

    rows: (this process's images, …). Returns (count, …), in order, on all processes.
    """
    everyone = rows.new_zeros(count, *rows.shape[1:])
    everyone[rank() :: ranks()] = rows
    return all_reduce(everyone)


def data_parallel(model: nn.Module, sync_batch_norm: bool) -> nn.Module:
    """What to call instead of `model`, so that `backward` averages all processes' gradients."""
    if ranks() == 1:
        return model
    if sync_batch_norm:
        model = SyncBatchNorm.convert_sync_batchnorm(model)
    return DistributedDataParallel(model)


def broadcast_buffers(model: nn.Module) -> None:
    """Give all processes rank 0's buffers: each process's BatchNorm has seen other images."""
    if ranks() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


def require_agreement(record: dict[str, Any]) -> None:
    """Raise SettingsError, naming the differences, unless all processes have the same record."""
    if ranks() == 1:
        return
    records: list[dict[str, Any]] = [{} for _ in range(ranks())]
    dist.all_gather_object(records, record)
    for number, other in enumerate(records):
        differences = "; ".join(differing(other, records[0]))
        if differences:
            raise SettingsError(
                f"Process {number} (“there”) differs from process 0 (“here”): {differences}. Give "
                "all processes the same code and the same COURSE_ variables, and all computers a "
                "COURSE_HOME on a shared disk."
            )


@contextmanager
def rank_0_first() -> Iterator[None]:
    """Let rank 0 run a block first; the others then find what it has left."""
    if rank() > 0:
        dist.barrier()
    yield
    if ranks() > 1 and rank() == 0:
        dist.barrier()


class _Telling:
    """Shows the error that ends a process; if it ends several, the first on a computer does."""

    def __init__(self, store: Any):
        self.store = store  # it lives in torchrun, so it outlives the processes

    def __call__(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        if "gloo/transport" in str(error):  # a lost connection: another process tells why
            return
        message = f"{kind.__name__}: {error}"
        computer = os.environ.get("GROUP_RANK", "0")  # on each of them, somebody may be watching
        key = f"told on {computer}: {zlib.crc32(message.encode()):08x}"
        if self.store.add(key, 1) > 1:
            return
        sys.stderr = sys.__stderr__
        sys.__excepthook__(kind, error, traceback)
