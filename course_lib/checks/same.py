"""Do two networks with the same weights do the same? If not: which layer, which mode, which
direction?"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .verdict import Mistake, Wrong, compare, refuse

PRECISE = 1e-6  # in float64, two right answers differ far less than that
CONVOLUTION_SETTINGS = ("stride", "dilation", "padding_mode", "padding")
NORM_SETTINGS = ("eps", "momentum")


def compare_passes(
    mine: nn.Module, ours: nn.Module, x: Tensor, mistakes: Iterable[Mistake], hint: str
) -> None:
    """Raise Wrong unless a forward and a backward pass of x, float64, come to the same.

    mine, ours: in float64, with the same weights, in the same mode. mistakes, hint: as in
    `compare`, about the outputs.
    """
    our_x = x.clone().requires_grad_()
    our_output = ours(our_x)
    my_x = x.clone().requires_grad_()
    given = my_x.clone()  # as in a network, something that was computed from weights
    my_output = forward(mine, ours, given)
    refuse(
        not given.equal(x),
        "Your block changes x itself, so training would fail: write a + b, not a += b.",
    )
    refuse(
        any(layer.training != ours.training for layer in mine.modules()),
        "Your block switches between training and eval mode: leave that to whoever uses it.",
    )
    if not close(my_output, our_output):
        refuse_other_settings(mine, ours)
    compare(my_output, our_output, mistakes, hint, PRECISE)
    compare_statistics(mine, ours)
    compare_gradients(mine, ours, my_output, our_output, my_x, our_x)


def forward(mine: nn.Module, ours: nn.Module, given: Tensor) -> Tensor:
    """The output of your network. If it fails, a likely reason is named first."""
    try:
        output = mine(given)
    except RuntimeError:  # shapes that don't agree, above all
        refuse_other_settings(mine, ours)
        raise
    refuse(output is None, "Your forward returns None: is a `return` missing?")
    kind = type(output).__name__
    refuse(not isinstance(output, Tensor), f"Your forward returns a {kind}, not a tensor.")
    return output


def refuse_other_settings(mine: nn.Module, ours: nn.Module) -> None:
    """Raise Wrong if a layer of the same name is built in another way."""
    my_layers = dict(mine.named_modules())
    for name, layer in ours.named_modules():
        my_layer = my_layers.get(name)
        if isinstance(layer, nn.ReLU) and isinstance(my_layer, nn.Module):
            kind = type(my_layer).__name__
            refuse(not isinstance(my_layer, nn.ReLU), f"{name} is {kind}, not ReLU.")
        if isinstance(layer, nn.Conv2d) and isinstance(my_layer, nn.Conv2d):
            refuse(
                name.endswith("conv1.0") and my_layer.stride != layer.stride,
                "The stride is on conv1; a 1×1 convolution then skips three of four pixels: "
                "put it on conv2.",
            )
            refuse_other_values(name, my_layer, layer, CONVOLUTION_SETTINGS)
        if isinstance(layer, nn.BatchNorm2d) and isinstance(my_layer, nn.BatchNorm2d):
            refuse_other_values(name, my_layer, layer, NORM_SETTINGS)


def refuse_other_values(
    name: str, mine: nn.Module, ours: nn.Module, settings: tuple[str, ...]
) -> None:
    """Raise Wrong if one of these settings of a layer has another value than ours."""
    for setting in settings:
        my_value = getattr(mine, setting)
        value = getattr(ours, setting)
        refuse(
            my_value != value,
            f"{name} has {setting}={my_value}, but {setting}={value} in the report's block.",
        )


def compare_statistics(mine: nn.Module, ours: nn.Module) -> None:
    """Raise Wrong unless the pass left the same running statistics in every batch norm."""
    my_statistics = dict(mine.named_buffers())
    for name, value in ours.named_buffers():
        if value.is_floating_point() and not close(my_statistics.get(name), value):
            refuse_other_settings(mine, ours)
            raise Wrong(
                f"The output is right, but {name} isn't: call each layer once, "
                "and leave batch norm's mode alone."
            )


def compare_gradients(
    mine: nn.Module,
    ours: nn.Module,
    my_output: Tensor,
    our_output: Tensor,
    my_x: Tensor,
    our_x: Tensor,
) -> None:
    """Raise Wrong unless the gradients of x and of every weight are the same."""
    refuse(
        not my_output.requires_grad,
        "The output is right, but has no gradient, so nothing would be learned: "
        "no torch.no_grad, no detach.",
    )
    mine.zero_grad()
    ours.zero_grad()
    # Of any loss that depends on every output.
    loss_gradient = torch.arange(our_output.numel(), dtype=our_output.dtype).sin()
    our_output.backward(loss_gradient.view_as(our_output))
    try:
        my_output.backward(loss_gradient.view_as(our_output))
    except RuntimeError as error:
        if "inplace" not in str(error):
            raise
        raise Wrong(
            "The output is right, but the backward pass fails, since a value it needs was "
            "overwritten: write a + b, not a += b."
        ) from None
    my_weights = dict(mine.named_parameters())
    gradients = {}
    for name, weight in ours.named_parameters():
        my_weight = my_weights.get(name)
        gradients[name] = (my_weight.grad if my_weight is not None else None, weight.grad)
    gradients["x"] = (my_x.grad, our_x.grad)
    for name, (my_gradient, gradient) in gradients.items():
        refuse(
            not close(my_gradient, gradient),
            f"The output is right, but not the gradient of {name}: no detach, no .data, "
            "no frozen weights.",
        )


def close(mine: Tensor | None, ours: Tensor | None) -> bool:
    """Both are missing, or both have the same shape and nearly the same numbers."""
    if mine is None or ours is None:
        return mine is ours
    if mine.shape != ours.shape:
        return False
    scale = max(1.0, ours.abs().max().item())
    return (mine - ours).abs().max().item() <= PRECISE * scale
