"""The exercises that write a block: `res_block`, and one without its short-cut."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from ..model import MyModel, plain_block
from ..model import res_block as our_block
from ..trials import trial
from .same import compare_passes
from .verdict import Mistake, Wrong, as_number, check, examples, refuse

if TYPE_CHECKING:
    from ..experiment import Course

BlockMaker: TypeAlias = type[nn.Module]
# What typical mistakes make of x, of a copy of your block and a copy of ours
MistakesOf: TypeAlias = Callable[[nn.Module, nn.Module, Tensor], Iterator[Mistake]]

EPOCHS = 30  # how long `no_shortcut` trains; all images are in one batch, so one step per epoch
IMAGES = 160  # how many it trains on; all of them, if the data has fewer


class Case(NamedTuple):
    """A block's arguments."""

    in_: int
    out_: int
    stride: int

    @property
    def shapes_agree(self) -> bool:
        """The block's input can be added to F(x) as it is."""
        return self.in_ == 2 * self.out_ and self.stride == 1


CASES = (
    Case(8, 4, 1),  # the same shape: the short-cut is the identity
    Case(6, 4, 1),  # other channels
    Case(4, 4, 1),  # as many channels as inside the block
    Case(8, 4, 2),  # another height and width
    Case(6, 4, 2),  # other channels, height and width
    Case(4, 4, 2),
)
BATCHES = {True: (3, 7, 10), False: (1, 9, 6)}  # images, height, width when training, and when not


@check
def res_block(my_res_block: BlockMaker) -> str:
    """Check `my_res_block(in_, out_, stride=1)`: with the weights of our block, it does the same.

    Outputs, gradients and running statistics are compared, alone and in MyModel, in both modes.
    """
    random = examples()
    for case in CASES:
        ours = with_random_norms(our_block(*case), random)
        mine = built(my_res_block, case)
        require_same_weights(mine, ours, case)
        mine.load_state_dict(ours.state_dict())
        compare_blocks(mine, ours, case, random, formula_mistakes)
    compare_networks(my_res_block, our_block, random)
    return (
        "Your block computes what the report's does, "
        "whether or not its short-cut needs a convolution."
    )


@check
def no_shortcut(my_block: BlockMaker, my_prediction: object, course: Course) -> str:
    """Check that `my_block` is a block without its short-cut; train with it, and with ours.

    my_prediction: the loss of the last epoch. The sentence tells how far off it is.
    """
    random = examples()
    for case in CASES:
        ours = with_random_norms(plain_block(*case), random)
        mine = built(my_block, case)
        require_main_path(mine, ours)
        mine.load_state_dict(ours.state_dict(), strict=False)  # it may still have a short-cut's
        compare_blocks(mine, ours, case, random, shortcut_mistakes)
    compare_networks(my_block, plain_block, random)

    predicted = as_number(my_prediction)
    if predicted is None:
        raise Wrong("Your prediction isn't a number.")
    refuse(
        not 0 < predicted < math.inf,
        "Predict a loss above 0: a cross entropy is never negative.",
    )

    without = loss_after_training(my_block, course)
    ours = loss_after_training(our_block, course)
    factor = max(predicted / without, without / predicted)
    return (
        f"Without the short-cut, the loss is {without:.3g} after {EPOCHS} epochs; you predicted "
        f"{predicted:.3g}, off by a factor of {factor:.1f}. With the short-cut, it's {ours:.3g}."
    )


def loss_after_training(block: BlockMaker, course: Course) -> float:
    """The loss in nats of the last of some epochs on a few images."""
    seed = course.settings.seed
    images = course.data.train.take(IMAGES, seed=seed)
    model = course.new_model(block=block)
    history = trial(course, images, epochs=EPOCHS, model=model, size=32, batch_size=IMAGES)
    return history[-1]["loss"]


# --- The weights: which there are, and their shapes


def built(make_block: BlockMaker, case: Case) -> nn.Module:
    """Your block for these arguments."""
    block = make_block(case.in_, case.out_, case.stride)
    if case.stride == 1:
        block = make_block(case.in_, case.out_)  # stride=1 is the default
    refuse(not isinstance(block, nn.Module), "Your block isn't an nn.Module: derive it from one.")
    return block


def with_random_norms(block: nn.Module, random: torch.Generator) -> nn.Module:
    """A block whose batch norms have something to show, as after some training.

    New ones have weights of 1 and shifts of 0, which hide what is done with them. Outputs of large
    weights also tell ReLU from what is cut off at 6.
    """
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            shape = layer.weight.shape
            layer.weight.data = 4 + torch.randn(shape, generator=random)
            layer.bias.data = torch.randn(shape, generator=random)
            layer.running_mean = torch.randn(shape, generator=random) / 4
            layer.running_var = 0.2 + torch.rand(shape, generator=random)
    return block


def require_same_weights(mine: nn.Module, ours: nn.Module, case: Case) -> None:
    """Raise Wrong unless the names and shapes of all weights are those of the report's block."""
    call = "my_res_block({}, {}, {})".format(*case)
    needs = shapes_of(ours)
    has = shapes_of(mine)
    missing = [name for name in needs if name not in has]
    extra = [name for name in has if name not in needs]
    for name, shape in needs.items():
        refuse(
            has.get(name, shape) != shape,
            f"In {call}, {name} is {has.get(name)}, but {shape} in the report's block.",
        )
    missing_in_main = [name for name in missing if not name.startswith("shortway")]
    extra_in_main = [name for name in extra if not name.startswith("shortway")]
    if missing and extra:
        raise Wrong(
            f"A model.pth won't load with these weight names, since {extra[0]} should be "
            f"{missing[0]}: make each part an nn.Sequential of a convolution, a batch norm "
            "and perhaps a ReLU, in this order."
        )
    if missing and not missing_in_main:
        because = "the stride isn't 1" if case.stride != 1 else "the channels differ (in_ ≠ 2·out_)"
        raise Wrong(f"{call} needs a convolution on the short-cut, since {because}.")
    if extra and case.shapes_agree and not extra_in_main:
        raise Wrong(f"{call}: The shapes agree here, so the short-cut is the identity.")
    if extra:
        raise Wrong(f"In {call}, {extra[0]} is one weight too many: the report's block has none.")
    if missing:
        raise Wrong(f"In {call}, {missing[0]} is missing: the report's block has one.")


def require_main_path(mine: nn.Module, ours: nn.Module) -> None:
    """Raise Wrong unless all weights but the short-cut's are those of the report's block."""
    needs = shapes_of(ours)
    has = shapes_of(mine)
    for name, shape in needs.items():
        refuse(name not in has, f"{name} is missing: keep all layers, and their names.")
        refuse(has[name] != shape, f"{name} is {has[name]}, not {shape}: keep all layers.")
    for name in has:
        is_new = name not in needs and not name.startswith("shortway")
        refuse(is_new, f"{name} is new: change only the addition.")


def shapes_of(block: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of each weight, and of each running statistic."""
    return {name: tuple(weight.shape) for name, weight in block.state_dict().items()}


# --- What the weights are used for


def compare_blocks(
    mine: nn.Module, ours: nn.Module, case: Case, random: torch.Generator, mistakes_of: MistakesOf
) -> None:
    """Raise Wrong unless the two blocks, which have the same weights, do the same in both modes."""
    mine.double()
    ours.double()
    for training, (count, height, width) in BATCHES.items():
        mine.train(training)
        ours.train(training)
        x = torch.randn(count, case.in_, height, width, generator=random, dtype=torch.float64)
        mistakes = mistakes_of(deepcopy(mine), deepcopy(ours), x)
        try:
            compare_passes(mine, ours, x, mistakes, "compare each layer and ReLU with the formula")
        except Wrong as wrong:
            if training:
                raise
            raise Wrong(f"All is well in training mode, but not in eval mode: {wrong}") from None


def compare_networks(make_block: BlockMaker, our_make: BlockMaker, random: torch.Generator) -> None:
    """Raise Wrong unless MyModel does the same with either block, at 32 × 32, in both modes."""
    ours = MyModel(our_make).double()
    mine = MyModel(make_block).double()
    mine.load_state_dict(ours.state_dict(), strict=False)
    x = torch.randn(4, 3, 32, 32, generator=random, dtype=torch.float64)
    hint = "a block mustn't share layers with other blocks"
    for training in (True, False):
        mine.train(training)
        ours.train(training)
        try:
            compare_passes(mine, ours, x, [], hint)
        except Wrong as wrong:
            raise Wrong(f"Your block alone is right, but in MyModel it isn't: {wrong}") from None


def formula_mistakes(mine: nn.Module, ours: nn.Module, x: Tensor) -> Iterator[Mistake]:
    """What typical mistakes in relu(F(x) + S(x)) lead to."""
    main = main_path(ours, x)
    short = ours.get_submodule("shortway")(x)
    yield Mistake(
        main + short,
        "There's no ReLU after the addition; the block computes relu(F(x) + S(x)).",
    )
    yield Mistake(
        main.relu() + short,
        "The ReLU comes before the addition: add the short-cut first.",
    )
    yield Mistake(
        (main.relu() + short).relu(),
        "conv3 ends in a ReLU, so F(x) is never negative: leave that ReLU out.",
    )
    yield Mistake(
        (main + short.relu()).relu(),
        "The short-cut ends in a ReLU, so S(x) is never negative: leave that ReLU out.",
    )
    yield Mistake(
        main.relu(),
        "The short-cut isn't added: you return relu(F(x)), not relu(F(x) + S(x)).",
    )
    yield Mistake(
        (main + short).clamp(0, 6),
        "The last ReLU cuts off at 6: take relu, not relu6.",
    )
    for name in ("conv1", "conv2"):
        yield Mistake(
            (main_path(ours, x, without_relu_in=name) + short).relu(),
            f"{name} has no ReLU: two convolutions without one in between are just one.",
        )


def shortcut_mistakes(mine: nn.Module, ours: nn.Module, x: Tensor) -> Iterator[Mistake]:
    """What typical mistakes in relu(F(x)) lead to."""
    main = main_path(ours, x)
    yield Mistake(main, "The last ReLU is missing: change only the addition.")
    for name in ("conv1", "conv2"):
        yield Mistake(
            main_path(ours, x, without_relu_in=name).relu(),
            f"The ReLU of {name} is missing: change only the addition.",
        )
    shortway = getattr(mine, "shortway", None)
    short = shortway(x) if isinstance(shortway, nn.Module) else None
    if short is not None and short.shape == main.shape:
        still = "Your block still adds the short-cut: return relu(F(x))."
        yield Mistake((main + short).relu(), still)
        yield Mistake(
            main + short, "Your block still adds the short-cut, and its last ReLU is gone."
        )


def main_path(block: nn.Module, x: Tensor, without_relu_in: str | None = None) -> Tensor:
    """F(x), the three convolutions; `without_relu_in`: "conv1" or "conv2", leave out its ReLU."""
    for name in ("conv1", "conv2", "conv3"):
        layers = list(block.get_submodule(name).children())
        if name == without_relu_in:
            layers = layers[:2]
        x = nn.Sequential(*layers)(x)
    return x
