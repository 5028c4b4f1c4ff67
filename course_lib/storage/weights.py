"""A `model.pth` from anywhere: its weights, or in words what it is instead.

Read are a `state_dict`, as `torch.save(model.state_dict(), …)` writes it, and a checkpoint (a dict)
with one inside. Nothing in the file is executed.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import CheckpointError, brief

SAVE = "torch.save(model.state_dict(), …)"
MOST_WRAPPERS = 4  # such as torch.compile around DistributedDataParallel

# Other files that people call model.pth: how they begin, and what they are.
OTHER_FILES = {
    b"version https://git-lfs": "a Git LFS pointer. Run `git lfs pull` in its repository.",
    b"<": "a web page, such as a log-in or an exceeded quota. Download the file in a browser.",
    b"\x89HDF": "an HDF5 file, as Keras writes it. This model needs weights of its PyTorch code.",
    b"\x1f\x8b": "compressed by gzip. Unpack it, and pass the file inside.",
    b"GGUF": "a GGUF file. This model needs weights of its PyTorch code.",
}
TORCHSCRIPT = (
    "a TorchScript program, not a state_dict. Load it with torch.jit.load, and save its weights "
    f"with {SAVE}."
)
ANOTHER_ZIP = (
    "a zip archive that torch.save didn't write. If the weights are a file inside, unpack it."
)


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load the weights in a file into `model`; every tensor must fit and be possible.

    Names may begin with what DataParallel, torch.compile or a LightningModule puts before them.
    Raises CheckpointError, which says what the file is instead, or what doesn't fit.
    """
    path = Path(path)
    own = model.state_dict()
    found = _state_dict_in(path, _read(path))
    weights = _under_own_names(path, found, own)
    _require_same_names(path, weights, own)
    _require_same_shapes(path, weights, own)
    _require_same_kinds(path, weights, own)
    model.load_state_dict(weights)
    # Not before they are loaded: a large float64 becomes infinite in the model's float32.
    _require_finite(path, model.state_dict())
    _require_possible_statistics(path, model.state_dict())


def _read(path: Path) -> Any:
    """What torch.save wrote into a file: tensors and plain Python, on the CPU."""
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder. Pass the file with the weights.")
    if not path.is_file():
        raise CheckpointError(f"{path} isn't a regular file. Pass the file with the weights.")
    try:
        _require_torch_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}.") from error
    except Exception as error:  # torch.load raises whatever unknown bytes lead to
        found = re.search(r"GLOBAL (\S+)", str(error))
        if found:  # how torch.load names what it refuses to create
            raise CheckpointError(
                f"{path} holds Python objects ({brief(found[1])}), not only tensors; loading them "
                f"could run any code. Where the model was trained, save it with {SAVE}."
            ) from error
        raise CheckpointError(
            f"{path} is damaged, or another program's file: torch.load can't read it. "
            f"Copy it again, or save it with {SAVE}."
        ) from error


def _require_torch_file(path: Path) -> None:
    """Raise CheckpointError if a file is of a known other kind, is cut short or is damaged."""
    with path.open("rb") as file:
        head = file.read(64)
    if not head:
        raise CheckpointError(f"{path} is empty. Copy or download it again.")
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")  # what may come before the text of a web page
    for beginning, kind in OTHER_FILES.items():
        if text.startswith(beginning):
            raise CheckpointError(f"{path} is {kind}")
    if head[8:10] == b'{"':  # eight bytes with the length of a JSON text, then this text
        raise CheckpointError(
            f"{path} is a safetensors file. Convert it: "
            f'torch.save(safetensors.torch.load_file("{path.name}"), "model.pth").'
        )
    if head.startswith(b"PK\x03\x04"):  # a zip archive, as torch.save writes it since PyTorch 1.6
        _require_torch_archive(path)


def _require_torch_archive(path: Path) -> None:
    """Raise CheckpointError if a zip archive isn't torch.save's, is cut short or is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = {name.rpartition("/")[2] for name in archive.namelist()}
            damaged = archive.testzip()  # torch.load itself doesn't check the checksums
    except zipfile.BadZipFile as error:
        raise CheckpointError(
            f"{path} is cut short or damaged. Copy or download it again."
        ) from error
    if "constants.pkl" in names:
        raise CheckpointError(f"{path} is {TORCHSCRIPT}")
    if "data.pkl" not in names:
        raise CheckpointError(f"{path} is {ANOTHER_ZIP}")
    if damaged:
        raise CheckpointError(
            f"{path} is damaged: the checksum of {brief(damaged)} in it is wrong. "
            "Copy or download it again."
        )


def _state_dict_in(path: Path, content: Any) -> dict[str, Tensor]:
    """The state_dict in a file: all of it, or the only one among a checkpoint's entries."""
    if _is_state_dict(content):
        return content
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise CheckpointError(f"{path} holds a {kind}, not a state_dict. Save it with {SAVE}.")
    if not content:
        raise CheckpointError(f"{path} holds an empty dict. Save the model with {SAVE}.")
    if "param_groups" in content:
        raise CheckpointError(
            f"{path} holds an optimizer's state, not a model's. Save the model with {SAVE}."
        )
    inside = [key for key, value in content.items() if _is_state_dict(value)]
    if len(inside) > 1:
        raise CheckpointError(
            f"{path} is a checkpoint with several models: {_briefly(inside)}. Choose one: "
            f'torch.save(torch.load("{path.name}")[{brief(inside[0])}], "model.pth").'
        )
    if not inside:
        others = []
        for key, value in content.items():
            if not _is_state_dict({key: value}):
                others.append(f"{brief(key)} ({type(value).__name__})")
        raise CheckpointError(
            f"{path} holds {_some(others)}; a state_dict has only names and tensors. Save the "
            f"model with {SAVE}."
        )
    return content[inside[0]]


def _is_state_dict(value: Any) -> bool:
    """Whether a value is a dict of names and tensors, and not empty."""
    if not isinstance(value, dict) or not value:
        return False
    has_names = all(isinstance(name, str) for name in value)
    return has_names and all(isinstance(tensor, Tensor) for tensor in value.values())


def _under_own_names(
    path: Path, weights: dict[str, Tensor], own: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The weights under the model's own names: without what wrappers have put before them.

    DataParallel and DistributedDataParallel put "module." before all names, and a LightningModule
    the name of an attribute; torch.compile puts "_orig_mod." before those of what it compiles.
    """
    plain = {name.replace("_orig_mod.", ""): tensor for name, tensor in weights.items()}
    if len(plain) < len(weights):
        raise CheckpointError(f"{path} has some tensors twice: with and without _orig_mod.")
    for _ in range(MOST_WRAPPERS):
        beginnings = _first_parts(plain)
        if len(beginnings) > 1 or beginnings <= _first_parts(own):  # no wrapper, or no more
            break
        wrapper = beginnings.pop()
        plain = {name.removeprefix(wrapper + "."): tensor for name, tensor in plain.items()}
    return plain


def _first_parts(names: Iterable[str]) -> set[str]:
    """What names begin with: the first part of "conv1.weight" is "conv1"."""
    return {name.partition(".")[0] for name in names}


def _require_same_names(path: Path, weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless the file has all of the model's tensors and no others."""
    # Files from before PyTorch 0.4.1 don't count BatchNorm's batches.
    counted = [name for name in own if not name.endswith("num_batches_tracked")]
    missing = [name for name in counted if name not in weights]
    unknown = [name for name in weights if name not in own]
    if "n_averaged" in unknown:
        # Its BatchNorm statistics may belong to other weights, and nothing in the file tells.
        raise CheckpointError(
            f"{path} holds an average of several models (n_averaged). Update its BatchNorm with "
            "torch.optim.swa_utils.update_bn, then save averaged.module.state_dict()."
        )
    if missing and unknown:
        raise CheckpointError(
            f"{path} belongs to another network. Missing are {len(missing)} of this model's "
            f"{len(own)} tensors: {_briefly(missing)}. Unexpected are {_briefly(unknown)}."
        )
    if missing:
        raise CheckpointError(
            f"{path} lacks {len(missing)} of this model's {len(own)} tensors: {_briefly(missing)}."
        )
    if unknown:
        raise CheckpointError(f"{path} has tensors that this model lacks: {_briefly(unknown)}.")


def _require_same_shapes(path: Path, weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless all tensors have the shapes of the model's."""
    differing = [name for name in weights if weights[name].shape != own[name].shape]
    if not differing:
        return
    first = differing[0]
    found = list(weights[first].shape)
    expected = list(own[first].shape)
    message = f"{path}: {first} has the shape {found} instead of {expected}"
    last_name = list(own)[-1]
    last_layer = last_name.rpartition(".")[0]  # "fc" of "fc.bias"
    if all(name.startswith(last_layer + ".") for name in differing):
        raise CheckpointError(f"{message}. Is it a model of another number of classes?")
    raise CheckpointError(f"{message}; {len(differing)} of {len(own)} tensors don't fit.")


def _require_same_kinds(path: Path, weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raise CheckpointError unless all tensors are dense, and as real or whole as the model's."""
    for name, tensor in weights.items():
        has_values = tensor.device.type == "cpu"  # one on the device "meta" has only a shape
        is_dense = tensor.layout == torch.strided and not tensor.is_quantized
        same_real = tensor.is_floating_point() == own[name].is_floating_point()
        same_complex = tensor.is_complex() == own[name].is_complex()
        if not (has_values and is_dense and same_real and same_complex):
            raise CheckpointError(
                f"{path}: {name} is {tensor.dtype} ({tensor.layout}, {tensor.device}) instead of "
                f"{own[name].dtype}."
            )


def _require_finite(path: Path, loaded: dict[str, Tensor]) -> None:
    """Raise CheckpointError if a loaded tensor has NaN or infinity in it."""
    for name, tensor in loaded.items():
        finite = tensor.isfinite()
        if not finite.all():
            wrong = tensor.numel() - int(finite.sum())
            raise CheckpointError(
                f"{path}: {wrong} of {tensor.numel()} values of {name} aren't finite numbers. The "
                "training that made it has diverged, or the file is damaged: use an earlier one."
            )


def _require_possible_statistics(path: Path, loaded: dict[str, Tensor]) -> None:
    """Raise CheckpointError if a BatchNorm has a negative variance, or has counted below 0."""
    for name, tensor in loaded.items():
        if name.endswith(("running_var", "num_batches_tracked")) and (tensor < 0).any():
            raise CheckpointError(
                f"{path}: {name} has values down to {tensor.min().item():.3g}, which no training "
                "leads to: the file is damaged, or was changed. Use an earlier one."
            )


def _briefly(names: list[str]) -> str:
    """Names from a file, each shortened; the first three, and how many more there are."""
    return _some([brief(name) for name in names])


def _some(texts: list[str]) -> str:
    """The first three, and how many more there are."""
    shown = ", ".join(texts[:3])
    if len(texts) > 3:
        shown += f" and {len(texts) - 3} more"
    return shown
