"""Checkpoints: written completely, verified by the digest in their own names, and kept two deep.

`checkpoint-00012-0013792-<digest>.pt` is the state after 12 whole epochs and 13,792 images of the next. The digest is
that of the file's bytes, so a damaged file gives itself away, here and on Google Drive.
"""

import hashlib
import io
from pathlib import Path

import torch

from ..errors import CheckpointError, DiskError, brief
from .files import replacing

EVERY_SECONDS = 120  # how often a checkpoint is saved: what a disconnect costs at most
KEPT = 2  # if the newest one is damaged, there is the one before


def save(folder, state, epoch, images):
    """Write `state`, a dict of tensors and plain Python, as the checkpoint at this position; delete older ones.

    epoch: whole epochs trained. images: images trained in the next one. Returns the path. Raises DiskError.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path = Path(folder) / f"checkpoint-{epoch:05d}-{images:07d}-{digest_of(buffer.getbuffer())}.pt"
    with replacing(path) as file:
        file.write(buffer.getbuffer())
    if not is_good(path):
        raise DiskError(f"{path} reads back differently from what was written. Set COURSE_HOME to another disk.")
    passed = [other for other in newest_first(folder) if position(other) > (epoch, images)]  # damaged, so passed over
    rest = [other for other in newest_first(folder) if other not in [path, *passed]]
    for old in passed + rest[KEPT - 1 :]:
        old.unlink()
    return path


def newest_good(folder):
    """The path of the newest undamaged checkpoint in `folder`, or None; reports every damaged one it passes over."""
    for path in newest_first(folder):
        if is_good(path):
            return path
        print(f"{path.name} is damaged; using the previous checkpoint.")
    return None


def load(path):
    """Read a checkpoint as `save` was given it, onto the CPU. Nothing in the file is executed."""
    return torch.load(path, map_location="cpu", weights_only=True)


def newest_first(folder):
    """The paths of all checkpoints in `folder`, the furthest first."""
    return sorted(Path(folder).glob("checkpoint-*.pt"), key=position, reverse=True)


def position(path):
    """(whole epochs, images of the next one) of a checkpoint, from its name."""
    _, epoch, images, _ = path.stem.split("-")
    return int(epoch), int(images)


def is_good(path):
    """Are a checkpoint's bytes those that its name promises?"""
    return digest_of(path.read_bytes()) == path.stem.split("-")[-1]


def digest_of(data):
    """The first 16 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def weights_digest(weights):
    """A digest of a state_dict's names, shapes and values: the same on every machine and for every file format."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def write_model(path, model):
    """Write `model.pth`, the bare state_dict in float32 on the CPU, as the report's code loads it (1.E)."""
    buffer = io.BytesIO()
    torch.save({name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}, buffer)
    if not path.exists() or path.read_bytes() != buffer.getbuffer():
        with replacing(path) as file:
            file.write(buffer.getbuffer())


def require_same(found, expected, where, advice):
    """Raise CheckpointError that names all differences if `found`, the record of a run in `where`, isn't `expected`."""
    found, expected = _flat(found), _flat(expected)
    differences = [
        f"{key} {brief(found.get(key))} instead of {brief(expected.get(key))}"
        for key in sorted({*found, *expected})
        if found.get(key) != expected.get(key)
    ]
    if differences:
        raise CheckpointError(f"{where} belongs to another run: {'; '.join(differences)}. Nothing was changed. {advice}")


def _flat(record, prefix=""):
    """{"settings": {"lr": 0.1}} → {"settings lr": 0.1}; tuples become lists, as in JSON."""
    if not isinstance(record, dict):
        return {prefix.strip(): list(record) if isinstance(record, tuple) else record}
    return {key: value for name, part in record.items() for key, value in _flat(part, f"{prefix}{name} ").items()}
