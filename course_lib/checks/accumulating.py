"""The exercise that adds up gradients: those of a batch that doesn't fit into memory at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .verdict import Mistake, Wrong, check, examples, is_close, refuse, same_state

Parts: TypeAlias = list[tuple[Tensor, Tensor]]  # of images (B, 3, 8, 8) and labels (B,)
Accumulate: TypeAlias = Callable[[nn.Module, Parts], object]

CLASSES = 5  # of the random model, whatever your data has
TOLERANCE = 1e-4  # of the gradient's length


@check
def accumulation(my_gradients: Accumulate) -> str:
    """Check `my_gradients(model, parts)`: it gives each weight the whole batch's gradient, `.grad`.

    The whole batch's loss is the mean over all images of all parts. The model is in eval mode. Only
    one part at a time fits into memory.
    """
    random = examples()
    for sizes in ((6, 3, 1), (4, 4), (5,), (2, 9, 4, 5)):
        model = random_model(random)
        parts = random_parts(sizes, random)
        for old in (None, random_like(model, random)):
            accumulate_once(my_gradients, model, parts, old)
    return "Part by part, you get the gradient of the whole batch."


def accumulate_once(
    my_gradients: Accumulate, model: nn.Module, parts: Parts, old: Tensor | None
) -> None:
    """Raise Wrong unless the gradients are right, and the model is otherwise left as it was.

    old: what the gradients are before, as one vector; None: there are none.
    """
    mine = deepcopy(model)
    if old is not None:
        set_gradients(mine, old)
    watch_memory(mine, max(len(labels) for _, labels in parts))
    given = [(images.clone(), labels.clone()) for images, labels in parts]
    my_gradients(mine, given)
    refuse(not same_state(mine, model), "Your function changes the weights: leave out the step.")
    refuse(
        any(layer.training for layer in mine.modules()),
        "Your function leaves the model in training mode: don't switch it.",
    )
    compare_gradients(gradients(mine), model, parts, old)


def compare_gradients(mine: Tensor, model: nn.Module, parts: Parts, old: Tensor | None) -> None:
    """Raise Wrong unless your gradients are those of all images; both are one vector."""
    right = whole_gradient(model, parts)
    scale = right.norm()

    def agrees(other: Tensor | float) -> bool:
        return is_close((mine / scale).double(), torch.as_tensor(other) / scale, TOLERANCE)

    if agrees(right):
        return
    for mistake in mistakes(model, parts):
        refuse(agrees(mistake.gives), mistake.sentence)
    refuse(
        old is not None and agrees(right + old),
        "You add to gradients from before: clear them first, with model.zero_grad().",
    )
    raise Wrong(
        f"Your gradient is {(mine - right).norm() / scale:.0%} of its length off: add up each "
        "part's mean loss · its images / all images."
    )


def mistakes(model: nn.Module, parts: Parts) -> Iterator[Mistake]:
    """What typical mistakes lead to, as gradients in one vector."""
    sizes = [len(labels) for _, labels in parts]
    of_parts = [whole_gradient(model, [part]) for part in parts]
    sums = [size * gradient for size, gradient in zip(sizes, of_parts)]
    right = sum_of(sums) / sum(sizes)
    if len(parts) == 1:
        yield Mistake(sums[0], SUM_OF_IMAGES)
        return
    yield Mistake(
        sum_of(of_parts) / len(parts),
        "You average the parts' mean losses, so an image of a small part counts more than others: "
        "weight each part by its share of the images.",
    )
    yield Mistake(
        sum_of(of_parts),
        "You add up the parts' mean losses: that's their sum, not the mean over all images.",
    )
    yield Mistake(sum_of(sums), SUM_OF_IMAGES)
    last = "Only the last part is left: is zero_grad() inside the loop?"
    yield Mistake(of_parts[-1], last)
    yield Mistake(sums[-1], last)
    yield Mistake(sums[-1] / sum(sizes), last)
    yield Mistake(of_parts[-1] / len(parts), last)
    first = "That's the first part alone: is a `return` inside the loop?"
    yield Mistake(of_parts[0], first)
    yield Mistake(sums[0] / sum(sizes), first)
    yield Mistake(
        sum_of(sums) / (sizes[0] * len(parts)),
        "You take all parts for as large as the first: add up len(labels).",
    )
    yield Mistake(
        right / len(parts),
        "You divide by the number of parts as well: the shares of the images already add up to 1.",
    )


SUM_OF_IMAGES = "That's the sum over all images: divide by their number."


# --- Gradients as one vector


def whole_gradient(model: nn.Module, parts: Parts) -> Tensor:
    """The gradient of the mean loss over all images, as if they were one batch."""
    images = torch.cat([images for images, _ in parts])
    labels = torch.cat([labels for _, labels in parts])
    loss = F.cross_entropy(model(images), labels)
    found = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([each.flatten() for each in found])


def gradients(model: nn.Module) -> Tensor:
    """Every weight's `.grad`, as one vector. Raises Wrong if one has none."""
    found = []
    for name, weight in model.named_parameters():
        if weight.grad is None:
            raise Wrong(f"{name} has no gradient afterwards: call backward() on each part's loss.")
        found.append(weight.grad.flatten())
    return torch.cat(found)


def set_gradients(model: nn.Module, vector: Tensor) -> None:
    """Set every weight's `.grad` to its part of a vector."""
    begin = 0
    for weight in model.parameters():
        end = begin + weight.numel()
        weight.grad = vector[begin:end].reshape(weight.shape).clone()
        begin = end


def sum_of(vectors: list[Tensor]) -> Tensor:
    """The sum of vectors of equal length."""
    return torch.stack(vectors).sum(0)


def random_like(model: nn.Module, random: torch.Generator) -> Tensor:
    """A random vector with a number for each weight."""
    return torch.randn(sum(weight.numel() for weight in model.parameters()), generator=random)


# --- Examples


def random_model(random: torch.Generator) -> nn.Module:
    """A small network with batch norm, in eval mode."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, CLASSES),
    )
    for weight in model.parameters():
        weight.data = torch.randn(weight.shape, generator=random)
    return model.eval()


def random_parts(sizes: tuple[int, ...], random: torch.Generator) -> Parts:
    """Random images and labels, in parts of these sizes."""
    parts = []
    for size in sizes:
        images = torch.randn(size, 3, 8, 8, generator=random)
        parts.append((images, torch.randint(CLASSES, (size,), generator=random)))
    return parts


def watch_memory(model: nn.Module, most: int) -> None:
    """Make a model raise Wrong if it's used as only a machine with more memory could.

    most: images that fit into memory at once.
    """
    waiting = []  # outputs whose backward pass hasn't begun, so that memory still holds their maps

    def before(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        refuse(layer.training, "The model is in training mode: leave it in eval mode.")
        refuse(
            len(inputs[0]) > most,
            f"You pass {len(inputs[0])} images at once, but only {most} fit into memory: take one "
            "part at a time.",
        )
        refuse(
            bool(waiting),
            "You keep a part's feature maps until the next one is there, and they don't fit into "
            "memory together: call backward() for each part, inside the loop.",
        )

    def after(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if output.requires_grad:
            waiting.append(len(output))
            output.register_hook(lambda gradient: waiting.clear())

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after)
