"""The device and the precision it computes in: chosen once, then kept for the whole run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from .errors import SettingsError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """What the forward pass computes in: fp32, or autocast to bf16 or fp16.

    fp16 can't represent tiny gradients, so it comes with a gradient scaler.
    """

    name: str  # one of PRECISIONS
    device_type: str  # "cuda" or "cpu"

    def autocast(self) -> AbstractContextManager[None | torch.autocast]:
        """A context in which the forward pass runs in this precision."""
        if self.name == "fp32":
            return nullcontext()
        return torch.autocast(self.device_type, PRECISIONS[self.name])

    def scaler(self) -> torch.amp.GradScaler:
        """A GradScaler, which changes nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device_type, enabled=self.name == "fp16")


def best_device() -> torch.device:
    """The current CUDA device if this PyTorch has code for it, else the CPU.

    Not Apple's MPS: there, PyTorch's batch norm has wrong gradients for channels_last, which we use
    (pytorch#175189).
    """
    # Every batch has the same shape, so it pays to try out all algorithms.
    torch.backends.cudnn.benchmark = True
    # fp32 is fp32.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", torch.cuda.current_device())
    is_amd = torch.version.hip is not None  # its GPUs have names, not capabilities
    capability = torch.cuda.get_device_capability(device)
    if is_amd or runs_on(capability, torch.cuda.get_arch_list()):
        return device
    print(
        f"This PyTorch ({torch.__version__}) has no code for this GPU "
        f"({torch.cuda.get_device_name(device)}), so the CPU computes. On Kaggle, switch the "
        "accelerator to T4."
    )
    return torch.device("cpu")


def runs_on(capability: tuple[int, int], built_for: list[str]) -> bool:
    """Whether a PyTorch that was built for some GPUs runs on one of this compute capability.

    torch.cuda.is_available() doesn't tell: it's True for Kaggle's P100, too. built_for: as
    torch.cuda.get_arch_list() names them. "sm_75" is machine code, for 7.5 and what follows up to
    8.0; "compute_75" is translated when it's loaded, for 7.5 and everything newer.
    """
    for name in built_for:
        kind, _, version = name.partition("_")
        built = divmod(int(version.rstrip("af")), 10)  # "90a" → (9, 0)
        if kind == "compute" and built <= capability:
            return True
        if kind == "sm" and built[0] == capability[0] and built <= capability:
            return True
    return not built_for  # an empty list says nothing


def computes_in(device: torch.device, precision: str) -> bool:
    """Whether this device's hardware computes in `precision` ("fp32", "bf16" or "fp16").

    torch.cuda.is_bf16_supported() is also True if bf16 is only emulated, as on a T4, so we don't
    ask it.
    """
    if precision == "fp32":
        return True
    if device.type == "cuda":
        return precision == "fp16" or torch.cuda.get_device_capability(device) >= (8, 0)
    return precision == "bf16" and device.type == "cpu" and _cpu_computes_in_bf16()


def _cpu_computes_in_bf16() -> bool:
    """Whether the processor has instructions for bf16."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
    listed = Path("/proc/cpuinfo")  # an older PyTorch can't tell, but Linux can
    if not listed.exists():
        return False
    flags = listed.read_text(encoding="utf-8", errors="replace").split()
    return "amx_bf16" in flags or "avx512_bf16" in flags


def choose_precision(device: torch.device, wish: str = "auto") -> Precision:
    """The Precision you ask for; "auto" is the first of bf16, fp16, fp32 that the device has.

    One that the device only emulates is slow, and that is reported. Raises SettingsError.
    """
    if wish == "auto":
        wish = next(name for name in ("bf16", "fp16", "fp32") if computes_in(device, name))
    if wish not in PRECISIONS:
        raise SettingsError(f"COURSE_PRECISION is {wish!r}; use auto, {', '.join(PRECISIONS)}.")
    if not computes_in(device, wish):
        # Not an error: a run that was begun in fp16 on a GPU can be looked at and continued here.
        print(
            f"This {device.type.upper()} only emulates {wish}, which can be ten times slower than "
            "fp32. COURSE_PRECISION=auto takes what it computes in."
        )
    return Precision(wish, device.type)


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model to `device`, in the order of memory in which convolutions are fastest there."""
    return model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to `device` without waiting until it has arrived.

    CUDA does so only from pinned memory.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
