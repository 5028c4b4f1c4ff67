"""Checkpoints that survive: written whole, read back, kept two deep, and taken up again only if every byte is right.

A checkpoint is a `.pt` file of tensors and plain Python; beside it, written last, a small `.json` holds its SHA-256.
Without that seal, or with another sum, a checkpoint does not count, and the one before it is taken. The same holds on
Drive, where a copy is written under its own name, read back, and sealed.
"""

import errno
import hashlib
import json
import os
from contextlib import contextmanager
from pathlib import Path

import torch

from .errors import CheckpointError, brief
from .files import copying, replacing, write_text


def save(folder, state, epoch, step):
    """Write `state`, a dict of tensors and plain Python, as the checkpoint of `epoch` whole epochs and `step` images
    of the next.

    The file is read back and its sum compared before all but the newest two are deleted. Raises CheckpointError
    where the disk refuses.
    """
    path = Path(folder) / f"checkpoint-{epoch:05d}-{step:07d}.pt"
    with _disk_errors_in_words(path):
        with replacing(path) as file:
            summing = _Summing(file)
            torch.save(state, summing)
        if sha256(path) != summing.sum.hexdigest():
            raise CheckpointError(
                f"{path} reads back differently from what was written: the disk cannot be trusted. "
                "Training goes no further; set COURSE_HOME to another disk."
            )
        write_text(_seal(path), json.dumps({"file": path.name, "sha256": summing.sum.hexdigest()}))
    _keep_two(path)


def load_newest(folder, say=print):
    """The newest checkpoint of `folder` that verifies, as `save` was given it, on the CPU; None where there is none.

    say: told, in a sentence, of each checkpoint that has to be passed over. Nothing in a file is executed.
    """
    for path in _newest_first(folder):
        try:
            problem = _problem(path)
            if problem is None:
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # whatever is wrong with a checkpoint, the one before it is the answer; it is said
            problem = error
        say(_passed_over(path, problem))
    return None


def copy_newest(source, target, say=print, empty=False, progress=lambda size: None):
    """Bring the newest checkpoint of `source` that verifies to `target`, unless `target` is as far already.

    The copy is written under its own name, read back, and sealed; only then are older ones in `target` deleted.
    say: told of each checkpoint that is passed over. empty: empty files before deleting them, as Drive's trash
    counts. progress: told how many bytes were copied. Raises OSError where either side refuses.
    """
    target = Path(target)
    as_far = next((path.name for path in _newest_first(target) if _problem(path) is None), "")
    for path in _newest_first(source):
        if path.name <= as_far:
            return
        problem = _problem(path)
        if problem:
            if path.exists():  # else it was deleted meanwhile, as there is a newer one
                say(_passed_over(path, problem))
            continue
        target.mkdir(exist_ok=True)  # not its parents: an unmounted Drive is not made anew
        for half in _newest_first(target):
            if _problem(half):  # what an attempt that failed has left takes up space
                remove(_seal(half), empty)
                remove(half, empty)
        for file in (path, _seal(path)):  # the seal last
            if copying(file, target / file.name, progress) != sha256(target / file.name):
                raise OSError(errno.EIO, "it reads back differently from what was written")
        _keep_two(target / path.name, empty)
        return


def write_model(path, model):
    """Write `model.pth`: the bare state_dict, in float32 on the CPU, as the report's own code loads it."""
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with _disk_errors_in_words(path), replacing(path) as file:
        torch.save(weights, file)


def newest_seal(folder):
    """Name and content of the newest seal in `folder`, which change when anyone saves there; None: there is none."""
    seal = _last_seal(folder)
    return seal and (seal.name, seal.read_bytes())


def require_ours(folder, *ours):
    """Raise CheckpointError where the newest seal in `folder` is none of `ours`: then someone else saves there too."""
    newest = newest_seal(folder)
    if newest and newest not in ours:
        raise CheckpointError(
            f"Another notebook is training the same stage: it has saved a checkpoint in {folder} since this one last "
            "did. This one stops and saves nothing more. Go on there; or stop that one and run this cell again."
        )


def is_seal(path):
    """Is this the file that makes a checkpoint count?"""
    return path.name.startswith("checkpoint-") and path.suffix == ".json"


def position(folder):
    """(whole epochs, images of the next) of the newest sealed checkpoint, by its name; None where there is none."""
    seal = _last_seal(folder)
    return seal and tuple(map(int, seal.stem.split("-")[1:]))


def any_good(folder):
    """Is there a checkpoint in `folder` that verifies?"""
    return any(_problem(path) is None for path in _newest_first(folder))


def saved_at(folder):
    """When the newest sealed checkpoint was written here, in seconds; there must be one."""
    return _last_seal(folder).stat().st_mtime


def sweep(folder):
    """Delete what a process that was killed has left half-written in `folder`."""
    for path in Path(folder).glob(".*.tmp"):
        path.unlink(missing_ok=True)


def remove(path, empty=False):
    """Delete a file if it is there; `empty` cuts its content off first."""
    if empty and path.exists():
        os.truncate(path, 0)
    path.unlink(missing_ok=True)


def sha256(path):
    """The SHA-256 of a file's bytes, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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


def _last_seal(folder):
    return max(Path(folder).glob("checkpoint-*.json"), default=None)


def _keep_two(path, empty=False):
    """Delete the checkpoints of a folder but `path`, the newest, and the one before it."""
    present = _newest_first(path.parent)
    here = present.index(path)  # what lies further on was passed over when training took up again: it is damaged
    for old in present[:here] + present[here + 2 :]:
        remove(_seal(old), empty)  # first the seal: half a deletion leaves nothing that looks whole
        remove(old, empty)


def _problem(path):
    """Why a checkpoint does not count, in words; None if it does."""
    try:
        seal = json.loads(_seal(path).read_bytes())
        return None if sha256(path) == seal["sha256"] else "its bytes have changed since it was written"
    except FileNotFoundError:
        return "it was not written to its end"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        return f"its seal is damaged: {brief(error)}"


def _passed_over(path, problem):
    return f"{path.name} cannot be used ({problem}); the one before it is taken, if there is one."


class _Summing:
    """A binary file that sums what is written through it."""

    def __init__(self, file):
        self.file, self.sum = file, hashlib.sha256()

    def write(self, data):
        self.sum.update(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()
