"""Checkpoints that survive: written whole, read back, kept two deep, and taken up again only if every byte is right.

A checkpoint is a `.pt` file of tensors and plain Python; beside it, written last, a small `.json` holds its SHA-256.
Without that seal, or with another sum, a checkpoint does not count, and the one before it is taken.
"""

import hashlib
import json
from contextlib import contextmanager
from pathlib import Path

import torch

from .errors import CheckpointError
from .files import replacing, write_text

KEEP = 2


def save(folder, state, epoch, step, keep=KEEP):
    """Write `state`, a dict of tensors and plain Python, as the checkpoint of `epoch` whole epochs and `step` images
    of the next.

    The file is read back and its sum compared before all but the newest `keep` are deleted. Raises CheckpointError
    where the disk refuses.
    """
    path = Path(folder) / f"checkpoint-{epoch:05d}-{step:07d}.pt"
    with _disk_errors_in_words(path):
        with replacing(path) as file:
            summing = _Summing(file)
            torch.save(state, summing)
        if _sha256(path) != summing.sum.hexdigest():
            raise CheckpointError(
                f"{path} reads back differently from what was written: the disk cannot be trusted. "
                "Training goes no further; set COURSE_HOME to another disk."
            )
        write_text(_seal(path), json.dumps({"file": path.name, "sha256": summing.sum.hexdigest()}))
    present = _newest_first(folder)
    here = present.index(path)  # what lies further on was passed over when training took up again: it is damaged
    for old in present[:here] + present[here + keep :]:
        _seal(old).unlink(missing_ok=True)  # first the seal: half a deletion leaves nothing that looks whole
        old.unlink(missing_ok=True)


def load_newest(folder, say=print):
    """The newest checkpoint of `folder` that verifies, as `save` was given it, on the CPU; None where there is none.

    say: told, in a sentence, of each checkpoint that has to be passed over. Nothing in a file is executed.
    """
    for path in _newest_first(folder):
        try:
            seal = json.loads(_seal(path).read_bytes())
            if _sha256(path) != seal["sha256"]:
                raise ValueError("its bytes have changed since it was written")
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever is wrong with a checkpoint, the one before it is the answer; it is said
            say(f"{path.name} cannot be used ({error}); going back to the checkpoint before it.")
    return None


def write_model(path, model):
    """Write `model.pth`: the bare state_dict, in float32 on the CPU, as the report's own code loads it."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with _disk_errors_in_words(path), replacing(path) as file:
        torch.save(weights, file)


@contextmanager
def _disk_errors_in_words(path):
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__  # torch.save hides it behind its own error
        if not isinstance(cause, OSError):
            raise
        raise CheckpointError(
            f"{path} cannot be written ({cause.strerror}). What was saved before still stands: free some space and run "
            "the cell again."
        ) from error


def _newest_first(folder):
    return sorted(Path(folder).glob("checkpoint-*.pt"), reverse=True)


def _seal(path):
    return path.with_suffix(".json")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Summing:
    """A binary file that sums what is written through it."""

    def __init__(self, file):
        self.file, self.sum = file, hashlib.sha256()

    def write(self, data):
        self.sum.update(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()
