"""The device and the precision it computes in: chosen once, then kept for the whole run."""

from contextlib import nullcontext
from dataclasses import dataclass

import torch

from .errors import SettingsError

PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """What the forward pass computes in: fp32, or bf16/fp16 autocast (fp16 with a gradient
    scaler)."""

    name: str
    device_type: str

    def autocast(self):
        """A context in which the forward pass runs in this precision."""
        return (
            nullcontext()
            if self.name == "fp32"
            else torch.autocast(self.device_type, PRECISIONS[self.name])
        )

    def scaler(self):
        """A GradScaler, which changes nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def best_device():
    """The current CUDA device, else the CPU.

    Not Apple's MPS: there, PyTorch's batch norm has wrong gradients for channels_last, which we use
    (pytorch#175189).
    """
    torch.backends.cudnn.benchmark = (
        True  # every batch has the same shape, so it pays to try out all algorithms
    )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # fp32 is fp32
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def computes_in(device, precision):
    """Does this device's hardware compute in `precision` ("fp32", "bf16" or "fp16")?

    torch.cuda.is_bf16_supported() says yes even if bf16 is only emulated, as on a T4, so we don't
    ask it.
    """
    if precision == "bf16" and device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "bf16" and device.type == "cpu":
        capabilities = (
            torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        )
        return capabilities.get("amx_bf16", False) or capabilities.get("avx512_bf16", False)
    return precision == "fp32" or (precision == "fp16" and device.type == "cuda")


def choose_precision(device, wish="auto"):
    """The Precision you ask for; "auto" takes the first of bf16, fp16 and fp32 that the device
    computes in."""
    if wish == "auto":
        wish = next(name for name in ("bf16", "fp16", "fp32") if computes_in(device, name))
    if wish not in PRECISIONS:
        raise SettingsError(f"COURSE_PRECISION is {wish!r}; use auto, {', '.join(PRECISIONS)}.")
    return Precision(wish, device.type)


def send(tensor, device):
    """Move a tensor to `device`; CUDA fetches it from pinned memory, so nothing waits for it to
    arrive."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
