"""The exercises that measure a share: the accuracy, and the errors of the right colour."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from ..data.shapes import COLOURS, MOTIFS
from .verdict import Mistake, Wrong, as_tensor, check, compare, examples, refuse, same_state

Batches: TypeAlias = list[tuple[Tensor, Tensor]]  # of images (B, 3, 8, 8) and labels (B,)
MeasureAccuracy: TypeAlias = Callable[[nn.Module, Batches], object]

CLASSES = 80  # of the random model, whatever your data has
GENERATED = len(MOTIFS) * len(COLOURS)  # classes of the generated data


# --- The accuracy


class Example(NamedTuple):
    """A model, images and labels in batches, and how many answers are right in each batch."""

    model: nn.Module
    batches: Batches
    right: list[int]

    @property
    def images(self) -> int:
        return sum(len(labels) for _, labels in self.batches)

    @property
    def accuracy(self) -> float:
        return sum(self.right) / self.images


@check
def accuracy(my_accuracy: MeasureAccuracy) -> str:
    """Check `my_accuracy(model, batches)`: the share of right answers in eval mode.

    Measuring must leave the model as it was: its mode, that of each layer, and its weights.
    """
    random = examples()
    first = accuracy_example([(32, 12), (32, 32), (6, 1)], random)
    others = [
        accuracy_example([(32, 32), (32, 32)], random),
        accuracy_example([(5, 0)], random),
        accuracy_example([(7, 2), (16, 9), (16, 3), (1, 1)], random),
        accuracy_example([(4, 3)] * 3 + [(4, 1)] * 8, random),
    ]
    for example in [first, *others]:
        for training in (True, False):
            measure_once(my_accuracy, example, training)
    refuse_counting_ties(my_accuracy, random)
    return "Each of the 70 images counts once, in eval mode, and the model's mode is unchanged."


def measure_once(my_accuracy: MeasureAccuracy, example: Example, training: bool) -> None:
    """Raise Wrong unless the accuracy is right, and the model is left as it was."""
    model = deepcopy(example.model).train(training)
    try:
        answer = my_accuracy(model, list(example.batches))
    except IndexError as error:
        if "out of bounds" not in str(error):
            raise
        size = len(example.batches[-1][1])
        raise Wrong(
            f"The last batch has {size} images, so range(32) runs past its end: use its own length."
        ) from None
    hint = "divide all right answers by all images"
    compare(answer, example.accuracy, accuracy_mistakes(example), hint)
    refuse(
        any(layer.training != training for layer in model.modules()),
        "Restore the mode at the end: model.train(mode).",
    )
    refuse(
        not torch.is_grad_enabled(),
        "You leave gradients switched off, so training would fail: use `with torch.no_grad():`.",
    )
    trainable = all(weight.requires_grad for weight in model.parameters())
    refuse(
        not trainable or not same_state(model, example.model),
        "Your function changes the model's weights.",
    )


def accuracy_example(sizes: list[tuple[int, int]], random: torch.Generator) -> Example:
    """Random images for a random model that is right as often as `sizes` says.

    sizes: the number of images, and of right answers, of each batch. Some of the wrong answers are
    nearly right: a class that the model thinks second or fourth most likely.
    """
    model = nn.Sequential(
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.BatchNorm1d(12),
        nn.Dropout(0.2),
        nn.Linear(12, CLASSES),
    ).eval()
    model[4].weight.data = torch.randn(CLASSES, 12, generator=random)
    batches = []
    for count, right in sizes:
        images = torch.randn(count, 3, 8, 8, generator=random) + 1
        with torch.no_grad():
            ranked = model(images).argsort(1, descending=True)  # (B, K), likeliest class first
        labels = ranked[:, 0].clone()
        wrong = torch.randperm(count, generator=random)[right:]
        for first, rank in enumerate((1, 3, CLASSES // 2)):
            some = wrong[first::3]
            labels[some] = ranked[some, rank]
        batches.append((images, labels))
    for layer in (model[2], model[3]):
        layer.register_forward_pre_hook(refuse_training_mode)
    return Example(model, batches, [right for _, right in sizes])


def refuse_training_mode(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Raise Wrong if batch norm or dropout is about to work in training mode."""
    refuse(
        layer.training,
        "The model is in training mode, where BatchNorm mixes the images of a batch: "
        "call model.eval() first.",
    )


def accuracy_mistakes(example: Example) -> Iterator[Mistake]:
    """What typical mistakes in the accuracy lead to."""
    right = example.accuracy
    sizes = [len(labels) for _, labels in example.batches]
    full = len(sizes) * sizes[0]
    yield Mistake(
        sum(example.right) / full,
        f"You divide by {len(sizes)} · {sizes[0]} = {full} images, but the last batch has only "
        f"{sizes[-1]}: add up len(labels).",
    )
    shares = [count / size for count, size in zip(example.right, sizes)]
    yield Mistake(
        sum(shares) / len(shares),
        f"That's the mean of {len(shares)} accuracies, so an image of the last, smaller batch "
        "counts more than others.",
    )
    yield Mistake(
        shares[-1],
        "That's the last batch alone: count in all of them.",
    )
    yield Mistake(
        shares[0],
        "That's the first batch alone: is the `return` inside the loop?",
    )
    yield Mistake(1 - right, "That's the share of wrong answers.")
    yield Mistake(100 * right, "That's a percentage: return a share between 0 and 1.")
    yield Mistake(sum(example.right), "That's the number of right answers: divide by all images.")
    yield Mistake(
        top_5_accuracy(example),
        "You accept any of the model's best five classes. Only its first choice counts.",
    )


def top_5_accuracy(example: Example) -> float:
    """The share of images whose class is among the five that the model thinks likeliest."""
    right = 0
    with torch.no_grad():
        for images, labels in example.batches:
            best = example.model(images).topk(5).indices
            right += (best == labels[:, None]).sum().item()
    return right / example.images


def refuse_counting_ties(my_accuracy: MeasureAccuracy, random: torch.Generator) -> None:
    """Raise Wrong if an answer counts for a model that finds all classes (almost) equally likely.

    Whichever class is picked, it's the right one for one image per class.
    """
    images = torch.randn(CLASSES, 3, 8, 8, generator=random)
    for spread in (0.0, 1e-4):
        linear = nn.Linear(12, CLASSES)
        nn.init.zeros_(linear.weight)
        linear.bias.data = torch.linspace(0, spread, CLASSES)
        model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), linear).eval()
        answer = as_tensor(my_accuracy(model, [(images, torch.arange(CLASSES))]))
        refuse(
            answer > 0.5,
            "When all classes are almost equally likely, you accept any answer: compare argmax "
            "with the label.",
        )


# --- The errors of the right colour


@check
def colour_share(my_share: Callable[[Tensor, Tensor], object]) -> str:
    """Check `my_share(labels, predicted)`: the share of the errors whose colour is right.

    Both are int64 (n,), of the generated data's classes: class = motif · 20 + colour. With other
    data, too, it's these that the answer is checked on.
    """
    random = examples()
    for right, right_colour, others in ((200, 90, 110), (0, 20, 37), (90, 0, 60), (5, 9, 0)):
        labels, predicted = predictions(right, right_colour, others, random)
        wrong = predicted != labels
        same_colour = predicted % len(COLOURS) == labels % len(COLOURS)
        compare(
            my_share(labels.clone(), predicted.clone()),
            same_colour[wrong].double().mean(),
            colour_mistakes(labels, predicted),
            "compare label % 20 of the errors",
        )
    return (
        "Right, for the generated data's classes: "
        "you divide the errors with the right colour by all errors."
    )


def predictions(
    right: int, right_colour: int, others: int, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random labels (n,) and predictions (n,) in random order.

    right, right_colour, others: how many predictions are right, are errors of the right colour, and
    are drawn from all classes of another colour.
    """
    count = right + right_colour + others
    labels = torch.randint(GENERATED, (count,), generator=random)
    motif_shift = torch.randint(1, len(MOTIFS), (count,), generator=random) * len(COLOURS)
    any_motif_shift = torch.randint(len(MOTIFS), (count,), generator=random) * len(COLOURS)
    colour_shift = torch.randint(1, len(COLOURS), (count,), generator=random)
    wrong_colour = (labels + colour_shift) % len(COLOURS)
    other = (labels // len(COLOURS) * len(COLOURS) + wrong_colour + any_motif_shift) % GENERATED
    predicted = labels.clone()
    predicted[right:] = ((labels + motif_shift) % GENERATED)[right:]
    predicted[right + right_colour :] = other[right + right_colour :]
    order = torch.randperm(count, generator=random)
    return labels[order], predicted[order]


def colour_mistakes(labels: Tensor, predicted: Tensor) -> Iterator[Mistake]:
    """What typical mistakes in the share of errors with the right colour lead to."""
    wrong = predicted != labels
    motif = predicted // len(COLOURS) == labels // len(COLOURS)
    colour = predicted % len(COLOURS) == labels % len(COLOURS)
    share = colour[wrong].double().mean()
    yield Mistake(
        (wrong & colour).double().mean(),
        "You divide by all images: divide by the number of errors.",
    )
    yield Mistake(
        motif[wrong].double().mean(),
        "That's the motif: label // 20 is the motif, and label % 20 is the colour.",
    )
    yield Mistake(colour.double().mean(), "You count right answers, too: pick the errors first.")
    yield Mistake(
        (wrong & colour).sum(),
        "That's the number of errors with the right colour: divide it by the number of errors.",
    )
    yield Mistake(100 * share, "That's a percentage: return a share between 0 and 1.")
    yield Mistake(1 - share, "That's the share of errors whose colour is wrong.")
    yield Mistake(
        wrong[colour].double().mean(),
        "You divide by all images with the right colour: divide by the number of errors.",
    )
