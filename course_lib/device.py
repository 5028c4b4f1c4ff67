"""The device and how it computes: precision, memory, determinism; decided once a run, then kept."""

import ctypes
import json
import os
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from .errors import SettingsError, brief
from .files import result_file

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """How numbers are kept during training: fp32, or bf16/fp16 autocast (fp16 with a gradient scaler)."""

    name: str
    device_type: str

    def autocast(self):
        """A context in which the forward pass runs in this precision."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device_type, PRECISIONS[self.name])

    def scaler(self):
        """A GradScaler, which passes everything through unless the precision is fp16."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def best_device():
    """The first CUDA device, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def computes_in(device, precision):
    """Does this device's hardware compute in `precision` (`fp32`, `bf16`, `fp16`)?

    torch.cuda.is_bf16_supported() is not asked: it says yes where bf16 is only emulated, as on a T4.
    """
    if precision == "bf16" and device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "bf16" and device.type == "cpu":
        capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        return capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return precision == "fp32" or (precision == "fp16" and device.type == "cuda")


def choose_precision(device, wish="auto"):
    """`auto` → the first of bf16, fp16, fp32 that the device computes in; any other wish is granted if it can be."""
    if wish != "auto" and wish not in PRECISIONS:
        raise SettingsError(f"COURSE_PRECISION is {wish!r}; it can be auto, {', '.join(PRECISIONS)}.")
    if wish == "fp16" and device.type != "cuda":
        raise SettingsError("COURSE_PRECISION is fp16, which needs a CUDA device; take auto.")
    if wish == "auto":
        wish = next(name for name in ("bf16", "fp16", "fp32") if computes_in(device, name))
    return Precision(wish, device.type)


def kept_precision(folder, device, otherwise):
    """The Precision that the run in `folder` began in, if `device` computes in it; else `otherwise`, which is said."""
    try:
        began = json.loads((folder / "run.json").read_bytes())["precision"]
    except (OSError, ValueError, KeyError, TypeError):
        return otherwise  # nothing is trained yet; or not readable, and a checkpoint says itself what it was made in
    if began in PRECISIONS and computes_in(device, began):
        return Precision(began, device.type)
    print(f"This run began in {brief(began)}; here ({device.type}) it goes on in {otherwise.name}.")
    return otherwise


def keep_precision(folder, precision):
    """Remember in the run's folder what it computes in, so that another runtime goes on in the same."""
    path, text = folder / "run.json", json.dumps({"precision": precision.name})
    if not path.exists() or path.read_text() != text:
        with result_file(path, "w", encoding="utf-8") as file:
            file.write(text)


def prepare(device):
    """Set what PyTorch and the C library leave to the program, for the whole process.

    CUDA: cuDNN tries out its algorithms (every batch has the same shape) and may choose ones that add up in another
    order from run to run; fp32 is fp32, without TF32: who wants to be faster takes bf16 or fp16. CPU: memory that a
    training step frees is kept for the next one; returned to the system, as glibc does by default with blocks of this
    size, it has to be fetched again page by page in every step.
    """
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    if device.type == "cpu":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
        if mallopt:  # glibc: M_MMAP_THRESHOLD (−3), M_TRIM_THRESHOLD (−1), in bytes
            mallopt(-3, 1 << 30)
            mallopt(-1, 2**31 - 1)


def send(tensor, device):
    """The tensor on `device`, without waiting for it to get there; as it is where it lies there already."""
    return tensor if tensor.device.type == device.type else pinned(tensor, device).to(device, non_blocking=True)


def pinned(tensor, device):
    """A tensor in memory from which a CUDA device copies by itself; any other device takes it as it is."""
    return tensor.pin_memory() if device.type == "cuda" else tensor
