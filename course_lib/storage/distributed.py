"""Several processes that train one model, each on its GPU and its share of every batch; `torchrun` starts them.

PyTorch's DistributedDataParallel averages their gradients. The first process (rank 0) alone writes files and shows
progress. Without torchrun, there is one process, and nothing here does anything.
"""

import atexit
import os
import sys
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn import SyncBatchNorm
from torch.nn.parallel import DistributedDataParallel

from ..errors import CourseError, SettingsError


def join(batch_size):
    """Join the other processes, if torchrun has started any. Raises SettingsError if a batch can't be shared evenly."""
    if not dist.is_torchelastic_launched() or dist.is_initialized():
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo", timeout=timedelta(hours=1))  # while rank 0 decodes images
    atexit.register(dist.destroy_process_group)
    sys.excepthook = _report
    if rank():
        sys.stdout = sys.stderr = open(os.devnull, "w")
    if batch_size % ranks():
        raise SettingsError(f"Batches of {batch_size} images can't be shared evenly by {ranks()} processes.")


def rank():
    """This process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def ranks():
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batch):
    """This process's part of a batch of indices: every `ranks()`-th one."""
    return batch[rank() :: ranks()]


def batch_end(first, size, count):
    """Where the batch that begins at image `first` of an epoch of `count` ends.

    BatchNorm can't normalise a single image. A last batch that would leave a process with less than two belongs to the
    batch before it.
    """
    end = first + size
    return count if count - end < 2 * ranks() else end


def add_up(tensor):
    """The sum of a tensor over all processes, on its device."""
    if ranks() > 1:
        dist.all_reduce(tensor)
    return tensor


def gather(rows, count):
    """The rows that all processes have computed for their shares of `count` images, in order: (count, …)."""
    everyone = rows.new_zeros(count, *rows.shape[1:])
    everyone[rank() :: ranks()] = rows
    return add_up(everyone)


def parallel(model, sync_batch_norm):
    """What to call in the place of `model` so that each `backward` averages the gradients of all processes."""
    if ranks() == 1:
        return model
    if sync_batch_norm:
        model = SyncBatchNorm.convert_sync_batchnorm(model)
    return DistributedDataParallel(model)


def agree(model):
    """Give every process rank 0's buffers, which are BatchNorm's statistics: each has seen other images."""
    if ranks() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, 0)


@contextmanager
def rank_0_first():
    """Let rank 0 run a block before the others do, who then find what it has left."""
    if rank():
        dist.barrier()
    yield
    if ranks() > 1 and not rank():
        dist.barrier()


def _report(kind, error, traceback):
    """Show an error once: what all processes raise is rank 0's to show, and a lost connection is another's error."""
    if not (rank() and isinstance(error, CourseError)) and "gloo" not in str(error).lower():
        sys.stderr = sys.__stderr__
        sys.__excepthook__(kind, error, traceback)
