"""How much Python has to launch for one training step, and the cheapest way to launch less.

A small step is launch-bound: the GPU is done before Python has launched the next operation, and
waits. CUDA graphs record the forward and the backward pass of the network once, and replay each
with a single launch. Nothing is compiled, and the operations stay the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from places import Place
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from course_lib import loops
from course_lib.device import Precision
from course_lib.settings import Settings

CALLS = (
    "cudaLaunchKernel",
    "cuLaunchKernel",
    "cudaMemcpyAsync",
    "cudaMemsetAsync",
    "cudaGraphLaunch",
)
# What only looks at a tensor in another way, or allocates one: nothing is launched for it.
FREE = {
    "aten::as_strided",
    "aten::detach",
    "aten::empty",
    "aten::empty_like",
    "aten::empty_strided",
    "aten::expand",
    "aten::permute",
    "aten::resolve_conj",
    "aten::resolve_neg",
    "aten::result_type",
    "aten::select",
    "aten::slice",
    "aten::t",
    "aten::transpose",
    "aten::unsqueeze",
    "aten::view",
}


def launches_per_step(place: Place, way: str, network: type[nn.Module]) -> float:
    """What's launched for one training step: on a GPU counted; on the CPU, its operators.

    On the CPU, one operator on a list of tensors counts once, although a GPU may need a few
    launches for it.
    """
    few = launches_in(place, way, network, steps=1)
    more = launches_in(place, way, network, steps=3)
    return (more - few) / 2  # without what's launched once per epoch


def launches_in(place: Place, way: str, network: type[nn.Module], steps: int) -> int:
    """What's launched while a new model is trained for some steps."""
    with profiled(place) as recorded, patch.object(loops, "new_optimizer", optimizer_of_a_gpu):
        place.train(way, steps * place.plan.batch, epochs=1, network=network)
    if place.device.type == "cuda":
        return sum(event.count for event in recorded.key_averages() if event.key in CALLS)
    return sum(operators(event) for event in recorded.events() if event.cpu_parent is None)


def profiled(place: Place) -> profile:
    """A profiler of the CPU and, if there is one, of the GPU."""
    activities = [ProfilerActivity.CPU]
    if place.device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    return profile(activities=activities)


def optimizer_of_a_gpu(model: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """What `loops.new_optimizer` makes, as it steps on a GPU: all tensors in one operation."""
    optimizer = new_optimizer(model, settings)
    optimizer.param_groups[0]["foreach"] = True  # PyTorch's default on a GPU
    return optimizer


new_optimizer = loops.new_optimizer


def operators(event: Any) -> int:
    """How many operators an event of the profiler consists of, without views and allocations."""
    if event.name.startswith("aten::_foreach"):
        return 1
    children = [operators(child) for child in event.cpu_children]
    if children:
        return sum(children)
    return int(event.name.startswith("aten::") and event.name not in FREE)


def with_graphs(place: Place) -> Any:
    """A context in which `train` replays its network as CUDA graphs. It's off everywhere else.

    `train` calls what `data_parallel` returns; so that's replaced.
    """
    size = place.size.pixels
    sample = torch.zeros(place.plan.batch, 3, size, size, device=place.device)
    sample = sample.contiguous(memory_format=torch.channels_last)
    replaying = partial(graphed, sample=sample, precision=place.course.precision)
    return patch.object(loops, "data_parallel", replaying)


def graphed(
    model: nn.Module,
    sync_batch_norm: bool,
    sample: Tensor,
    precision: Precision,
    capture: Callable[..., Any] = torch.cuda.make_graphed_callables,
) -> Callable[[Tensor], Tensor]:
    """What to call instead of `model` in train mode: it replays batches of the shape of `sample`.

    Other batches, such as an epoch's last one, go through the model. It's for one GPU.
    """
    model.train()
    shell = nn.Sequential(model)  # capturing changes the `forward` of what it's given
    # Capturing runs the network a few times, and batch norm would average that, too.
    averages = [buffer.clone() for buffer in model.buffers()]
    # The casts of weights belong into the graph, not into autocast's cache.
    cached = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        with precision.autocast():
            replay = capture(shell, (sample,))
    finally:
        torch.set_autocast_cache_enabled(cached)
    with torch.no_grad():
        for buffer, before in zip(model.buffers(), averages):
            buffer.copy_(before)

    def network(images: Tensor) -> Tensor:
        if images.shape == sample.shape:
            return replay(images)
        return model(images)

    return network
