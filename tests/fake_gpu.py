"""A GPU that isn't there: its tensors have shapes, types and a device, but no values.

PyTorch's FakeTensorMode knows what comes out of each operation. Tensors that meet must be on the
same device; here, that holds for single numbers, too, where a real GPU often allows them.
Tensors on the CPU stay real, so all of `train` runs, down to its files. Values that are read from
the GPU are made up: all are 1. So are gradients: PyTorch can't record a backward pass for a GPU
without having one. In fp16, the scaler thus reads "1" where it asks whether anything overflowed,
and skips every step of the optimizer.
"""

from __future__ import annotations

from contextlib import contextmanager

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
MEMORY = 16 << 30  # bytes
aten = torch.ops.aten
# Only these may take a tensor from the CPU to the GPU. FakeTensorMode alone would let single
# numbers pass, also where a real GPU doesn't, such as in `stack`.
COPIES = (aten._to_copy, aten.copy_, aten.to)
# What autocast computes in less than fp32. In inference mode, PyTorch splits it up less.
LAYERS = (
    aten.conv2d.default,
    aten.convolution.default,
    aten.linear.default,
    aten.addmm.default,
)


class FakeGPU(TorchDispatchMode):
    """Sends each operation to the fake GPU or to the real CPU, by where its tensors are."""

    def __init__(self):
        super().__init__()
        self.computed_in = set()  # the types of what layers have returned
        self.reads = 0  # how often Python has waited for a value
        self.steps = 0  # how often `backward` was called
        self.optimizer = None  # whose parameters get gradients

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if operation is aten._pin_memory.default:  # needs a driver
            return args[0]
        leaves = tree_leaves((args, kwargs))
        if not any(is_on_gpu(leaf) for leaf in leaves):
            with unset_fake_temporarily():
                return operation(*args, **kwargs)
        if operation is aten._local_scalar_dense.default:  # item(), tolist(), bool()
            self.reads += 1
            with unset_fake_temporarily():
                return torch.ones((), dtype=args[0].dtype).item()
        if operation.overloadpacket not in COPIES and any(is_on_cpu(leaf) for leaf in leaves):
            raise RuntimeError(f"{operation}: a tensor on the CPU meets one on the GPU.")
        args, kwargs = tree_map(without_values, (args, kwargs))
        result = operation(*args, **kwargs)
        if operation in LAYERS:
            self.computed_in.add(result.dtype)
        return tree_map(self._with_values, result)

    def _with_values(self, value):
        """A copy from the GPU to the CPU gets values; anything else stays."""
        if not isinstance(value, FakeTensor) or value.device.type != "cpu":
            return value
        self.reads += 1
        with unset_fake_temporarily():
            return torch.ones(value.shape, dtype=value.dtype)

    def zero_grad(self, optimizer):
        """In place of `Optimizer.zero_grad`: remember whose gradients are wanted."""
        self.optimizer = optimizer

    def backward(self, loss):
        """In place of `Tensor.backward`: make up gradients."""
        assert loss.device == GPU and loss.shape == ()
        for group in self.optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = torch.empty_like(parameter)
        self.steps += 1


def is_on_gpu(value):
    """Whether an argument is a tensor of the fake GPU, or the GPU itself."""
    if isinstance(value, torch.device):
        return value.type == "cuda"
    return isinstance(value, FakeTensor)


def is_on_cpu(value):
    """Whether an argument is a real tensor."""
    return isinstance(value, torch.Tensor) and not isinstance(value, FakeTensor)


def without_values(value):
    """A real tensor becomes a fake one on the CPU; anything else stays."""
    if not is_on_cpu(value):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype)


def replace_tensors(module, function, recurse=True):
    """In place of `nn.Module._apply`, which can't replace a fake parameter: what `to` does."""
    if recurse:
        for child in module.children():
            replace_tensors(child, function)
    for name, parameter in module._parameters.items():
        if parameter is not None:
            replaced = nn.Parameter(function(parameter), parameter.requires_grad)
            module._parameters[name] = replaced
    for name, buffer in module._buffers.items():
        if buffer is not None:
            module._buffers[name] = function(buffer)
    return module


@contextmanager
def fake_gpu(monkeypatch):
    """Put a fake GPU into this computer; gives the FakeGPU."""
    gpu = FakeGPU()
    save = torch.save
    load = torch.load

    def save_values(state, file):
        save(tree_map(lambda value: value.cpu() if is_on_gpu(value) else value, state), file)

    def load_values(*args, **options):
        with unset_fake_temporarily():
            return load(*args, **options)

    monkeypatch.setattr(torch, "save", save_values)
    monkeypatch.setattr(torch, "load", load_values)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "fake")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (MEMORY, MEMORY))
    # Autocast and GradScaler ask these; without a GPU, they'd turn themselves off.
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(nn.Module, "_apply", replace_tensors)
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: gpu.backward(loss))
    monkeypatch.setattr(
        torch.optim.Optimizer, "zero_grad", lambda optimizer: gpu.zero_grad(optimizer)
    )
    with FakeTensorMode(), gpu, torch.no_grad():
        yield gpu
