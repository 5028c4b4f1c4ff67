"""Checkpoints: written completely, verified by the digest in their names; the last two are kept.

`checkpoint-00012-0013792-<digest>.pt` is the state after 12 whole epochs and 13,792 images of the
next. The digest is that of the file's bytes, so a damaged file gives itself away, here and on
Google Drive.
"""

import hashlib
import io
from contextlib import suppress
from pathlib import Path

import torch

from .files import remove, write_bytes

PATTERN = "checkpoint-*.pt"
KEPT = 2  # how many are kept: if the newest one is damaged, there's the one before
EVERY_SECONDS = 120  # how often a checkpoint is saved: what a disconnect costs at most


def save(folder, state, epoch, images):
    """Write `state` (tensors, plain Python) as the checkpoint at this position, then delete older
    ones.

    epoch: whole epochs trained. images: images trained in the next one. Returns the path. Raises
    DiskError.
    """
    data = _serialized(state)
    path = Path(folder) / f"checkpoint-{epoch:05d}-{images:07d}-{digest_of(data)}.pt"
    write_bytes(path, data)
    delete_older(path.parent)
    return path


def delete_older(folder):
    """Keep only the furthest good checkpoints in `folder`, KEPT of them."""
    paths = newest_first(folder)
    kept = [path for path in paths if is_good(path)][:KEPT]
    for path in paths:
        if path not in kept:
            remove(path)


def newest_good(folder):
    """The path of the newest undamaged checkpoint in `folder`, or None; reports every damaged one
    it passes over."""
    for path in newest_first(folder):
        if is_good(path):
            return path
        print(f"{path.name} is damaged; using the previous checkpoint.")
    return None


def load(path):
    """Load a checkpoint onto the CPU: the dict that `save` was given. Nothing in the file is
    executed."""
    return torch.load(path, map_location="cpu", weights_only=True)


def newest_first(folder):
    """The paths of all checkpoints in `folder`, the furthest first."""
    return sorted(Path(folder).glob(PATTERN), key=position, reverse=True)


def position(path):
    """(whole epochs, images of the next one) of a checkpoint, from its name."""
    _, epoch, images, _ = path.stem.split("-")
    return int(epoch), int(images)


def is_good(path):
    """Do a checkpoint's bytes match the digest in its name?"""
    with suppress(FileNotFoundError):  # another notebook has just deleted it
        return digest_of(path.read_bytes()) == path.stem.split("-")[-1]


def digest_of(data):
    """The first 16 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def write_model(path, model):
    """Write `model.pth`, the bare state_dict in float32 on the CPU, as the report's code loads it
    (1.E)."""
    weights = {
        name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()
    }
    write_bytes(path, _serialized(weights))


def _serialized(state):
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()
