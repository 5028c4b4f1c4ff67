"""Several processes that train one model, each with its share of every batch, started by `torchrun`
(one per GPU).

PyTorch's DistributedDataParallel averages their gradients. The first process (rank 0) alone writes
files and shows progress. Without torchrun, there is one process, and nothing here does anything.
"""

import atexit
import os
import sys
import zlib
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel

from .errors import CourseError, SettingsError
from .storage import files


def join(batch_size):
    """Join the other processes, if torchrun started any. Raises SettingsError if their number
    doesn't fit."""
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        return
    sys.excepthook = _show_once
    if cuda := torch.cuda.is_available():
        if int(os.environ["LOCAL_WORLD_SIZE"]) > torch.cuda.device_count():
            raise SettingsError(
                f"Each process needs its own GPU: use --nproc-per-node={torch.cuda.device_count()}."
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group(
        "nccl" if cuda else "gloo", timeout=timedelta(hours=1)
    )  # rank 0 may have to decode images
    atexit.register(dist.destroy_process_group)
    if rank():
        sys.stdout = sys.stderr = open(os.devnull, "w")
        files.writes_files = False
    if batch_size % ranks():
        raise SettingsError(
            f"{ranks()} processes can't share batches of {batch_size}: use a number that divides it."
        )


def rank():
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks():
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(indices):
    """This process's share of some indices."""
    return indices[rank() :: ranks()]


def batch_end(first, size, count):
    """The end of the batch that begins at `first`; it includes the rest of `count` images if that's
    too small."""
    end = first + size
    return count if count - end < 2 * ranks() else end


def add_up(tensor):
    """The sum of a tensor over all processes."""
    if ranks() > 1:
        dist.all_reduce(tensor)
    return tensor


def require_agreement(value, device):
    """Raise SettingsError unless all processes have the same `value`."""
    digest = zlib.crc32(repr(value).encode())
    if add_up(torch.tensor(digest, device=device)) != ranks() * digest:
        raise SettingsError(
            "The processes disagree about the data, the settings, or how far the stage has got. Give all computers the "
            "same COURSE_ variables, with a COURSE_HOME on a shared disk."
        )


def gather(rows, count):
    """Put together what each process computed for its `share` of `count` images: (count, …), in
    order."""
    everyone = rows.new_zeros(count, *rows.shape[1:])
    everyone[rank() :: ranks()] = rows
    return add_up(everyone)


def parallel(model, sync_batch_norm):
    """What to call instead of `model`, so that `backward` averages the gradients of all
    processes."""
    if ranks() == 1:
        return model
    return DistributedDataParallel(
        SyncBatchNorm.convert_sync_batchnorm(model) if sync_batch_norm else model
    )


def agree(model):
    """Give all processes rank 0's buffers: each process's BatchNorm has seen other images."""
    for buffer in model.buffers() if ranks() > 1 else ():
        dist.broadcast(buffer, 0)


@contextmanager
def rank_0_first():
    """Let rank 0 run a block first; the others then find what it has left."""
    if rank():
        dist.barrier()
    yield
    if ranks() > 1 and not rank():
        dist.barrier()


def _show_once(kind, error, traceback):
    """Show what ends a process, but not a lost connection, and once per computer what ends all of
    them."""
    if "gloo/transport" not in str(error) and not (
        int(os.environ["LOCAL_RANK"]) and isinstance(error, CourseError)
    ):
        sys.stderr = sys.__stderr__
        sys.__excepthook__(kind, error, traceback)
