"""The checks of the exercises: right answers pass, stubs aren't done, and each typical mistake is
explained."""

import functools
import random
from dataclasses import replace
from fractions import Fraction
from inspect import signature

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torchvision import transforms
from torchvision.transforms import v2

from course_lib import MyModel, Stopped, checks, get_model, plain_block, res_block, trial
from course_lib.augment import DRAWS, augment_batch, draw_augmentations, plain_batch
from course_lib.checks import augmented
from course_lib.checks import block as block_checks

MARKS = {"✓": True, "✗": False, "…": None}


@pytest.fixture
def verdict(capsys):
    """Run a check and return the one line that it prints."""

    def run(check, *answers):
        capsys.readouterr()
        result = check(*answers)
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 and lines[0][1] == " "
        assert result is MARKS[lines[0][0]]
        return lines[0]

    return run


def others(check):
    """The other arguments of a check, after the first."""
    return [1.0, None][: len(signature(check).parameters) - 1]


def identified(rows):
    """The rows of a table as parameters of a test: (name, …) becomes (…), identified by name."""
    return [pytest.param(*row[1:], id=row[0]) for row in rows]


def judged(table):
    """Run the following test for each row (name, answer, …) of a table."""
    width = len(table[0]) - 1
    names = ("answer", "word")[:width]
    return pytest.mark.parametrize(", ".join(names), identified(table))


# --- The block


class Block(nn.Module):
    """The report's block, written anew; in subclasses, one thing is wrong, or another way to be
    right."""

    def __init__(self, in_, out_, stride=1):
        super().__init__()
        self.conv1 = nn.Sequential(*self.convolution(in_, out_, 1), nn.ReLU())
        self.conv2 = nn.Sequential(
            *self.convolution(out_, out_, 3, stride=stride, padding=1), nn.ReLU()
        )
        self.conv3 = nn.Sequential(*self.convolution(out_, 2 * out_, 1))
        self.shortway = nn.Sequential()
        if self.needs_convolution(in_, out_, stride):
            self.shortway = nn.Sequential(*self.convolution(in_, 2 * out_, 1, stride=stride))

    def convolution(self, in_, out_, kernel, **settings):
        return nn.Conv2d(in_, out_, kernel, bias=False, **settings), nn.BatchNorm2d(out_)

    def needs_convolution(self, in_, out_, stride):
        return stride != 1 or in_ != 2 * out_

    def main(self, x):
        return self.conv3(self.conv2(self.conv1(x)))

    def forward(self, x):
        return (self.main(x) + self.shortway(x)).relu()


class WrittenInAnotherWay(Block):
    """F.pad instead of padding, slices instead of a stride, and in place where it's harmless."""

    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.stride = stride
        self.conv1[2] = nn.ReLU(inplace=True)
        self.conv2[2] = nn.ReLU(inplace=True)
        self.conv2[0].padding = (0, 0)
        if len(self.shortway):
            self.shortway[0].stride = (1, 1)
        else:
            self.shortway = nn.Identity()

    def main(self, x):
        return self.conv3(self.conv2(F.pad(self.conv1(x), (1, 1, 1, 1))))

    def forward(self, x):
        y = self.main(x)
        y += self.shortway(x[:, :, :: self.stride, :: self.stride])
        return F.relu_(y)


RIGHT_BLOCKS = [
    ("ours", res_block),
    ("written anew, by a function", lambda in_, out_, stride=1: Block(in_, out_, stride)),
    ("written in another way", WrittenInAnotherWay),
]


class NoReluAfterAddition(Block):
    def forward(self, x):
        return self.main(x) + self.shortway(x)


class ReluBeforeAddition(Block):
    def forward(self, x):
        return self.main(x).relu() + self.shortway(x)


class ReluBeforeAndAfterAddition(Block):
    def forward(self, x):
        return (self.main(x).relu() + self.shortway(x)).relu()


class ReluInShortcut(Block):
    def forward(self, x):
        return (self.main(x) + self.shortway(x).relu()).relu()


class PlainBlock(Block):
    def forward(self, x):
        return self.main(x).relu()


class IdentityRemoved(Block):
    def forward(self, x):
        if len(self.shortway) == 0:
            return self.main(x).relu()
        return (self.main(x) + self.shortway(x)).relu()


class NoShortcutInEvalMode(Block):
    def forward(self, x):
        return super().forward(x) if self.training else self.main(x).relu()


class Relu6(Block):
    def forward(self, x):
        return F.relu6(self.main(x) + self.shortway(x))


class LeakyRelu(Block):
    def forward(self, x):
        return F.leaky_relu(self.main(x) + self.shortway(x), 0.01)


class NoReluInConv1(Block):
    def main(self, x):
        return self.conv3(self.conv2(self.conv1[:2](x)))


class NoReluInConv2(Block):
    def main(self, x):
        return self.conv3(self.conv2[:2](self.conv1(x)))


class GeluInConv1(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv1[2] = nn.GELU()


class StrideOnConv1(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv1[0].stride = (stride, stride)
        self.conv2[0].stride = (1, 1)


class NoStride(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_)


class ShortcutWithoutStride(Block):
    """Right if in_ = 2·out_, which no block of the network with a stride is."""

    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        if in_ != 2 * out_:
            self.shortway[0].stride = (1, 1)


class ShortcutForStrideOnly(Block):
    def needs_convolution(self, in_, out_, stride):
        return stride != 1


class ShortcutForChannelsOnly(Block):
    def needs_convolution(self, in_, out_, stride):
        return in_ != 2 * out_


class ShortcutAlways(Block):
    def needs_convolution(self, in_, out_, stride):
        return True


class NoPadding(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv2[0].padding = (0, 0)


class Reflecting(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        old = self.conv2[0]
        self.conv2[0] = nn.Conv2d(out_, out_, 3, old.stride, 1, bias=False, padding_mode="reflect")


class Dilated(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv2[0].dilation = (2, 2)
        self.conv2[0].padding = (2, 2)


class WithBias(Block):
    def convolution(self, in_, out_, kernel, **settings):
        return nn.Conv2d(in_, out_, kernel, **settings), nn.BatchNorm2d(out_)


class NoNormInConv3(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv3[1] = nn.Identity()


class ReluBeforeNorm(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv1 = nn.Sequential(self.conv1[0], nn.ReLU(), self.conv1[1])


class Unscaled(Block):
    """Batch norm without weights of its own."""

    def convolution(self, in_, out_, kernel, **settings):
        return nn.Conv2d(in_, out_, kernel, bias=False, **settings), nn.BatchNorm2d(
            out_, affine=False
        )


class OtherEps(Block):
    def convolution(self, in_, out_, kernel, **settings):
        return nn.Conv2d(in_, out_, kernel, bias=False, **settings), nn.BatchNorm2d(out_, eps=1e-3)


class OtherMomentum(Block):
    def convolution(self, in_, out_, kernel, **settings):
        return nn.Conv2d(in_, out_, kernel, bias=False, **settings), nn.BatchNorm2d(
            out_, momentum=0.01
        )


class AlwaysBatchStatistics(Block):
    def forward(self, x):
        was_training = self.training
        self.train()
        y = super().forward(x)
        self.train(was_training)
        return y


class SwitchesToTraining(Block):
    def forward(self, x):
        self.train()
        return super().forward(x)


class TwiceThroughConv1(Block):
    def forward(self, x):
        self.conv1(x)
        return super().forward(x)


class WithDropout(Block):
    def forward(self, x):
        return F.dropout(super().forward(x), 0.1, self.training)


class InPlace(Block):
    def forward(self, x):
        y = self.shortway(x)  # often the identity: then y is x
        y += self.main(x)
        return y.relu()


class OverwritesWhatBackwardNeeds(Block):
    def main(self, x):
        y = self.conv1(x)  # a ReLU's backward pass looks at its output
        z = self.conv3(self.conv2(y))
        y += 1
        return z


class NoGradient(Block):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class DetachedShortcut(Block):
    def forward(self, x):
        return (self.main(x) + self.shortway(x.detach())).relu()


class DetachedMain(Block):
    def forward(self, x):
        return (self.main(x).detach() + self.shortway(x)).relu()


class FrozenConv3(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv3.requires_grad_(False)


class Squeezed(Block):
    def forward(self, x):
        return super().forward(x).squeeze()


class Transposed(Block):
    def forward(self, x):
        return super().forward(x.transpose(2, 3)).transpose(2, 3)


class ReturnsNothing(Block):
    def forward(self, x):
        super().forward(x)


class ReturnsBoth(Block):
    def forward(self, x):
        return super().forward(x), x


class OtherNames(Block):
    """Plain convolutions and bn1 … bn3: it computes the same as the report's block."""

    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv1, self.bn1, _ = self.conv1
        self.conv2, self.bn2, _ = self.conv2
        self.conv3, self.bn3 = self.conv3

    def main(self, x):
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return self.bn3(self.conv3(x))


class NarrowBlock(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_ // 2, stride)


WRONG_BLOCKS = [
    ("no ReLU after the addition", NoReluAfterAddition, "no ReLU after the addition"),
    ("ReLU before the addition", ReluBeforeAddition, "comes before the addition"),
    ("ReLU before and after", ReluBeforeAndAfterAddition, "conv3 ends in a ReLU"),
    ("ReLU in the short-cut", ReluInShortcut, "short-cut ends in a ReLU"),
    ("no short-cut", PlainBlock, "isn't added"),
    ("no identity", IdentityRemoved, "isn't added"),
    ("no short-cut in eval mode", NoShortcutInEvalMode, "eval mode: The short-cut isn't added"),
    ("relu6", Relu6, "relu6"),
    ("leaky ReLU", LeakyRelu, "with the formula"),
    ("no ReLU in conv1", NoReluInConv1, "conv1 has no ReLU"),
    ("no ReLU in conv2", NoReluInConv2, "conv2 has no ReLU"),
    ("GELU", GeluInConv1, "conv1.2 is GELU"),
    ("stride on conv1", StrideOnConv1, "stride is on conv1"),
    ("no stride", NoStride, "convolution on the short-cut, since the stride isn't 1"),
    ("short-cut without stride", ShortcutWithoutStride, "shortway.0 has stride=(1, 1)"),
    ("short-cut for strides only", ShortcutForStrideOnly, "since the channels differ"),
    ("short-cut for channels only", ShortcutForChannelsOnly, "since the stride isn't 1"),
    ("short-cut always", ShortcutAlways, "shapes agree here"),
    ("no padding", NoPadding, "conv2.0 has padding=(0, 0)"),
    ("reflecting", Reflecting, "padding_mode=reflect"),
    ("dilated", Dilated, "dilation=(2, 2)"),
    ("biases", WithBias, "conv1.0.bias"),
    ("no batch norm", NoNormInConv3, "conv3.1.weight is missing"),
    ("ReLU before batch norm", ReluBeforeNorm, "conv1.2.weight should be conv1.1.weight"),
    ("batch norm without weights", Unscaled, "conv1.1.weight is missing"),
    ("another eps", OtherEps, "eps=0.001"),
    ("another momentum", OtherMomentum, "momentum=0.01"),
    ("always training mode", AlwaysBatchStatistics, "but not in eval mode"),
    ("switches to training mode", SwitchesToTraining, "switches between"),
    ("batch norm called twice", TwiceThroughConv1, "conv1.1.running_mean isn't"),
    ("dropout", WithDropout, "with the formula"),
    ("in place", InPlace, "changes x"),
    ("overwritten", OverwritesWhatBackwardNeeds, "backward pass fails"),
    ("no gradient", NoGradient, "has no gradient"),
    ("detached short-cut", DetachedShortcut, "gradient of x"),
    ("detached main path", DetachedMain, "gradient of conv1.0.weight"),
    ("frozen", FrozenConv3, "gradient of conv3.0.weight"),
    ("squeezed", Squeezed, "shape is"),
    ("transposed", Transposed, "with the formula"),
    ("returns nothing", ReturnsNothing, "a `return` missing"),
    ("returns a tuple", ReturnsBoth, "returns a tuple"),
    ("other names", OtherNames, "nn.Sequential"),
    ("too narrow", NarrowBlock, "conv1.0.weight is (2, 8, 1, 1)"),
    ("not a module", lambda in_, out_, stride=1: Block(in_, out_, stride).forward, "nn.Module"),
    ("no stride argument", lambda in_, out_: Block(in_, out_), "TypeError"),
    ("shared", functools.cache(lambda in_, out_, stride=1: Block(in_, out_, stride)), "in MyModel"),
]


@judged(RIGHT_BLOCKS)
def test_a_right_block_passes(answer, verdict):
    assert verdict(checks.res_block, answer).startswith("✓")


@judged(WRONG_BLOCKS)
def test_a_wrong_block_is_told_why(answer, word, verdict):
    line = verdict(checks.res_block, answer)
    assert line.startswith("✗") and word in line


@pytest.mark.parametrize("block", [ShortcutWithoutStride, InPlace])
def test_a_block_that_the_network_cannot_train_with_is_wrong(block, verdict):
    with pytest.raises(RuntimeError):
        MyModel(block)(torch.zeros(2, 3, 32, 32)).sum().backward()
    assert verdict(checks.res_block, block).startswith("✗")


# --- The number of layers, and the choice

RIGHT_COUNTS = [
    *(41, 41.0, np.int64(41), np.float32(41), torch.tensor(41), [41], (41,), Fraction(41)),
    *("41", " 41.0 ", ["41"], "41 layers", "41.", "=41"),
]
WRONG_COUNTS = [
    ("blocks", 13, "13 counts blocks; each has three convolutions"),
    ("no ends", 39, "39 counts the blocks only"),
    ("one end", 40, "40 forgets one of the ends"),
    ("nothing known", 42, "It isn't 42: follow"),
    ("all convolutions", 44, "all convolutions"),
    ("short-cuts", 45, "short-cuts: "),
    ("the report", 52, "“over 50”"),
    ("many short-cuts", 53, "53 counts a convolution on every short-cut"),
    ("many short-cuts and an end", np.int64(54), "54 counts a convolution on every short-cut"),
    ("batch norms", torch.tensor(81), "batch norms"),
    ("none", 0, "It isn't 0"),
    ("too large", 41.5, "It isn't 41.5"),
    ("not a number", float("nan"), "It isn't nan"),
    ("text", "forty-one", "Give a number."),
    ("another number and a word", "40 layers", "40 forgets"),
    ("more than a number", "41 or 42", "Give a number."),
    ("another number as text", "40", "40 forgets"),
    ("nothing", None, "Give a number."),
    ("two", [40, 1], "Give a number."),
    ("a truth", True, "Give a number."),
]
RIGHT_CHOICES = [
    *("c", "C", " c ", "c.", "c)", "(c)", "C:", '"c"', "Option c", "ｃ"),
    *("the letter c", "Choice c", "My answer: (c)", "The answer is c.", "Run (c)", "_c_"),
    *("c: same start", "(C): the same start,\nso only augmentation differs"),
    *("c, because both start alike", "c because same start", "c - same epochs", "C) same start"),
    "c, a control",
    *("I choose c", "it's c", "It’s (c).", "c (same start)", "c. A new network would differ, too"),
    *(["c"], ("c",), {"c"}, ["(C)"], np.str_("c"), np.array("c"), np.array(["c"])),
]
WRONG_CHOICES = [
    ("a", "a", "(a)"),
    ("b", "B.", "(b)"),
    ("d", ["d"], "(d)"),
    ("e", "(e)", "(e)"),
    *(
        (repr(choice), choice, "letters")
        for choice in (
            *("f", "", "cc", "c or d", "(c), (d): both", "not c", None, 3, ["c", "d"]),
            *("c: no, d", "c, d", "c - or rather e", "because c", "a c", "c x"),
            *("c, a", "c; (a)."),
        )
    ),
]


@pytest.mark.parametrize("count", RIGHT_COUNTS, ids=repr)
def test_41_is_right_in_any_form(count, verdict):
    assert verdict(checks.layers, count).startswith("✓")


@judged(WRONG_COUNTS)
def test_another_count_is_explained(answer, word, verdict):
    line = verdict(checks.layers, answer)
    assert line.startswith("✗") and word in line


@given(st.one_of(st.integers(), st.floats()).filter(lambda count: count != 41))
def test_no_other_number_is_right(count):
    assert checks.layers(count) is False


@pytest.mark.parametrize("choice", RIGHT_CHOICES, ids=repr)
def test_c_is_right_however_it_is_written(choice, verdict):
    assert verdict(checks.separating_experiment, choice).startswith("✓")


@judged(WRONG_CHOICES)
def test_another_choice_is_explained(answer, word, verdict):
    line = verdict(checks.separating_experiment, answer)
    assert line.startswith("✗") and word in line


def test_the_count_is_that_of_the_model():
    layers = [
        name
        for name, layer in MyModel(res_block).named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert len([name for name in layers if "shortway" not in name]) == 41
    assert len(layers) == 45


# --- The cross entropy


def my_loss(logits, labels):
    return (logits.logsumexp(1) - logits[range(len(labels)), labels]).mean()


def loss_in_numpy(logits, labels):
    logits = logits.numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(labels)), labels.numpy()].mean()


def loss_in_a_loop(logits, labels):
    total = 0.0
    for row, label in zip(logits, labels):
        total += row.logsumexp(0).item() - row[label].item()
    return total / len(labels)


def loss_with_one_hot(logits, labels):
    return -(F.one_hot(labels, 80) * F.log_softmax(logits, dim=1)).sum() / len(labels)


RIGHT_LOSSES = [
    ("logsumexp", my_loss),
    ("a float", lambda logits, labels: my_loss(logits, labels).item()),
    ("NumPy", loss_in_numpy),
    ("a loop", loss_in_a_loop),
    ("one-hot", loss_with_one_hot),
    ("nll_loss", lambda logits, labels: F.nll_loss(logits.log_softmax(1), labels)),
    ("float64", lambda logits, labels: my_loss(logits.double(), labels)),
    ("overwrites its copy", lambda logits, labels: my_loss(logits.clone().sub_(1), labels)),
]


def overflowing_loss(logits, labels):
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return -p[range(len(labels)), labels].log().mean()


def underflowing_loss(logits, labels):
    return overflowing_loss(logits - logits.amax(1, keepdim=True), labels)


def overflowing_in_the_sum(logits, labels):
    return (logits.exp().sum(1).log() - logits[range(len(labels)), labels]).mean()


def shifted_by_the_largest_of_all(logits, labels):
    logits = logits - logits.max()
    return (logits.exp().sum(1).log() - logits[range(len(labels)), labels]).mean()


def overflowing_in_python(logits, labels):
    from math import exp, log

    rows = [[exp(z) for z in row] for row in logits.tolist()]
    losses = [log(sum(row)) - log(row[label]) for row, label in zip(rows, labels.tolist())]
    return sum(losses) / len(losses)


def clamped_loss(logits, labels):
    return -(logits.softmax(1) + 1e-9).log()[range(len(labels)), labels].mean()


WRONG_LOSSES = [
    ("softmax twice", lambda z, y: F.cross_entropy(z.softmax(1), y), "softmax twice"),
    ("the sum", lambda z, y: F.cross_entropy(z, y, reduction="sum"), "sum"),
    ("all logits", lambda z, y: my_loss(z, y) / 80, "divide by all"),
    ("a fixed batch size", lambda z, y: my_loss(z, y) * len(y) / 6, "You get"),
    ("no sign", lambda z, y: -my_loss(z, y), "sign"),
    ("softmax over images", lambda z, y: F.nll_loss(z.log_softmax(0), y), "dim=1"),
    (
        "softmax over everything",
        lambda z, y: F.nll_loss(z.flatten().log_softmax(0).view_as(z), y),
        "You get",
    ),
    ("no logarithm", lambda z, y: F.nll_loss(z.softmax(1), y), "logarithm is missing"),
    ("no softmax", lambda z, y: F.nll_loss(z, y), "softmax is missing"),
    ("bits", lambda z, y: my_loss(z, y) / np.log(2), "bits"),
    ("log10", lambda z, y: my_loss(z, y) / np.log(10), "log10"),
    ("one per image", lambda z, y: F.cross_entropy(z, y, reduction="none"), "shape is (6,)"),
    ("a list", lambda z, y: F.cross_entropy(z, y, reduction="none").tolist(), "shape is (6,)"),
    ("one more", lambda z, y: my_loss(z, y) + 1, "You get"),
    ("label smoothing", lambda z, y: F.cross_entropy(z, y, label_smoothing=0.1), "You get"),
    ("the likeliest class", lambda z, y: my_loss(z, z.argmax(1)), "You get"),
    ("a constant", lambda z, y: 4.38, "You get"),
    ("clamped", clamped_loss, "logsumexp"),
    ("overflows", overflowing_loss, "logsumexp"),
    ("underflows", underflowing_loss, "logsumexp"),
    ("overflows in the sum", overflowing_in_the_sum, "logsumexp"),
    ("overflows in Python", overflowing_in_python, "logsumexp"),
    ("shifted by the largest of all", shifted_by_the_largest_of_all, "logsumexp"),
    ("text", lambda z, y: str(my_loss(z, y).item()), "returns a str"),
]


@judged(RIGHT_LOSSES)
def test_a_right_loss_passes(answer, verdict):
    assert verdict(checks.cross_entropy, answer).startswith("✓")


def test_a_loss_that_changes_the_callers_logits_is_refused(verdict):
    def in_place(logits, labels):
        logits -= logits.amax(1, keepdim=True)
        return F.cross_entropy(logits, labels)

    assert "changes the logits" in verdict(checks.cross_entropy, in_place)


@judged(WRONG_LOSSES)
def test_a_wrong_loss_is_told_why(answer, word, verdict):
    line = verdict(checks.cross_entropy, answer)
    assert line.startswith("✗") and word in line and "maximum" not in line


# --- The accuracy


def my_accuracy(model, batches):
    was_training = model.training
    model.eval()
    right = count = 0
    with torch.inference_mode():
        for images, labels in batches:
            right += (model(images).argmax(1) == labels).sum().item()
            count += len(labels)
    model.train(was_training)
    return right / count


def accuracy_of_all_at_once(model, batches):
    modes = {module: module.training for module in model.modules()}
    model.eval()
    images = torch.cat([images for images, _ in batches])
    labels = torch.cat([labels for _, labels in batches])
    predicted = F.softmax(model(images), dim=1).detach().numpy().argmax(axis=1)
    for module, training in modes.items():
        module.training = training
    return np.mean(predicted == labels.numpy())


def with_mode_restored(predicted_rightly):
    """An accuracy from the number of right answers in a batch, (logits, labels) → number."""

    def measure(model, batches):
        was_training = model.training
        model.eval()
        right = sum(predicted_rightly(model(images), labels) for images, labels in batches)
        model.train(was_training)
        return right / sum(len(labels) for _, labels in batches)

    return measure


RIGHT_ACCURACIES = [
    ("counts", my_accuracy),
    ("NumPy, all at once", accuracy_of_all_at_once),
    ("a tensor", lambda model, batches: torch.tensor(my_accuracy(model, batches))),
    ("float32", lambda model, batches: np.float32(my_accuracy(model, batches))),
    ("a tensor of one", lambda model, batches: torch.tensor([my_accuracy(model, batches)])),
    ("a list of one", lambda model, batches: [my_accuracy(model, batches)]),
    ("max", with_mode_restored(lambda z, y: (z.max(1).indices == y).sum())),
    ("topk", with_mode_restored(lambda z, y: (z.topk(1).indices[:, 0] == y).sum().item())),
    ("sorted", with_mode_restored(lambda z, y: (z.argsort(1)[:, -1] == y).sum())),
    ("a loop", with_mode_restored(lambda z, y: sum(int(a == b) for a, b in zip(z.argmax(1), y)))),
]


def shares_of(model, batches):
    was_training = model.training
    model.eval()
    shares = [(model(x).argmax(1) == y).float().mean().item() for x, y in batches]
    model.train(was_training)
    return shares


def in_the_mode_it_has(model, batches):
    return sum((model(images).argmax(1) == labels).sum() for images, labels in batches) / 70


def only_the_flag_restored(model, batches):
    was_training = model.training
    share = my_accuracy(model.eval(), batches)
    model.training = was_training  # its layers stay in eval mode
    return share


def without_gradients_for_good(model, batches):
    torch.set_grad_enabled(False)
    return my_accuracy(model, batches)


def frozen(model, batches):
    model.requires_grad_(False)
    return my_accuracy(model, batches)


def trained(model, batches):
    share = my_accuracy(model, batches)
    with torch.no_grad():
        model[4].weight *= 2
    return share


def returned_too_early(model, batches):
    return shares_of(model, batches)[0]


def range_32(z, y):
    return sum(int(z.argmax(1)[i] == y[i]) for i in range(32))


def count_ties(z, y):
    return (z[range(len(y)), y] == z.max(1).values).sum()


def top(k):
    return with_mode_restored(lambda z, y: (z.topk(k).indices == y[:, None]).sum())


WRONG_ACCURACIES = [
    ("range(32)", with_mode_restored(range_32), "range(32)"),
    ("96 images", lambda model, batches: my_accuracy(model, batches) * 70 / 96, "96"),
    ("70 images", lambda model, batches: sum(shares_of(model, batches)) / 70, "You get"),
    ("mean of means", lambda model, batches: np.mean(shares_of(model, batches)), "mean of 3"),
    ("the last batch", lambda model, batches: shares_of(model, batches)[-1], "last batch alone"),
    ("the first batch", returned_too_early, "first batch alone"),
    ("top 5", top(5), "best five"),
    ("top 2", top(2), "You get"),
    ("a constant", lambda model, batches: 45 / 70, "You get"),
    ("half", lambda model, batches: my_accuracy(model, batches) / 2, "You get"),
    ("errors", lambda model, batches: 1 - my_accuracy(model, batches), "wrong answers"),
    ("percent", lambda model, batches: 100 * my_accuracy(model, batches), "percentage"),
    ("the count", lambda model, batches: 70 * my_accuracy(model, batches), "number of right"),
    ("ties", with_mode_restored(count_ties), "equally likely"),
    ("training mode", in_the_mode_it_has, "training mode"),
    (
        "always training mode",
        lambda model, _: in_the_mode_it_has(model.train(), _),
        "training mode",
    ),
    ("left in eval mode", lambda model, _: my_accuracy(model.eval(), _), "Restore the mode"),
    (
        "left in training mode",
        lambda model, _: (my_accuracy(model, _), model.train())[0],
        "Restore",
    ),
    ("only the flag restored", only_the_flag_restored, "Restore the mode"),
    ("gradients left off", without_gradients_for_good, "gradients"),
    ("weights frozen", frozen, "changes the model"),
    ("weights changed", trained, "changes the model"),
    ("one per batch", shares_of, "shape is (3,)"),
    ("text", lambda model, batches: f"{my_accuracy(model, batches):.1%}", "returns a str"),
]


@judged(RIGHT_ACCURACIES)
def test_a_right_accuracy_passes(answer, verdict):
    assert verdict(checks.accuracy, answer).startswith("✓")


@pytest.mark.parametrize("most", range(1, 11))
def test_an_accuracy_of_the_first_batches_is_refused(most, verdict):
    def of_the_first(model, batches):
        measured = with_mode_restored(lambda z, y: (z.argmax(1) == y).sum().item())
        return measured(model, batches[:most])

    assert verdict(checks.accuracy, of_the_first).startswith("✗")


def test_an_accuracy_that_counts_near_ties_is_refused(verdict):
    near = with_mode_restored(lambda z, y: (z.gather(1, y[:, None])[:, 0] > z.amax(1) - 1e-3).sum())
    assert verdict(checks.accuracy, near).startswith("✗")


@judged(WRONG_ACCURACIES)
def test_a_wrong_accuracy_is_told_why(answer, word, verdict):
    line = verdict(checks.accuracy, answer)
    assert line.startswith("✗") and word in line


@pytest.mark.parametrize(
    "measure",
    [
        lambda model, batches: range_32(model(batches[0][0]), batches[0][1]) / 70,
        lambda model, batches: in_the_mode_it_has(model, batches) * 70 / 96,
        lambda model, batches: np.mean([model(x).argmax(1) == y for x, y in batches]),
    ],
)
def test_a_second_mistake_doesnt_hide_that_of_the_mode(measure, verdict):
    assert "training mode" in verdict(checks.accuracy, measure)


# --- The errors of the right colour


def my_share(labels, predicted):
    wrong = predicted != labels
    return (predicted[wrong] % 20 == labels[wrong] % 20).float().mean()


def share_in_a_loop(labels, predicted):
    errors = [(y, p) for y, p in zip(labels.tolist(), predicted.tolist()) if y != p]
    return sum(y % 20 == p % 20 for y, p in errors) / len(errors)


RIGHT_SHARES = [
    ("masks", my_share),
    ("a loop", share_in_a_loop),
    ("a float", lambda labels, predicted: my_share(labels, predicted).item()),
    ("NumPy", lambda labels, predicted: np.float64(my_share(labels, predicted))),
    ("a fraction", lambda y, p: Fraction(share_in_a_loop(y, p))),
    ("difference", lambda y, p: ((p - y)[p != y] % 20 == 0).double().mean()),
]
WRONG_SHARES = [
    ("all images", lambda y, p: my_share(y, p) * (y != p).float().mean(), "divide by all images:"),
    ("the motif", lambda y, p: (p // 20 == y // 20)[p != y].float().mean(), "motif"),
    ("right answers, too", lambda y, p: (y % 20 == p % 20).float().mean(), "right answers"),
    ("the count", lambda y, p: my_share(y, p) * (y != p).sum(), "number of errors with"),
    ("percent", lambda y, p: 100 * my_share(y, p), "percentage"),
    ("the wrong colour", lambda y, p: 1 - my_share(y, p), "colour is wrong"),
    (
        "of the right colour",
        lambda y, p: (y != p)[y % 20 == p % 20].float().mean(),
        "with the right colour:",
    ),
    ("a constant", lambda y, p: 0.45, "You get"),
    ("400 images", lambda y, p: my_share(y, p) * (y != p).sum() / 200, "You get"),
    ("one per error", lambda y, p: (y % 20 == p % 20)[y != p], "shape"),
]


@judged(RIGHT_SHARES)
def test_a_right_share_passes(answer, verdict):
    assert verdict(checks.colour_share, answer).startswith("✓")


@judged(WRONG_SHARES)
def test_a_wrong_share_is_told_why(answer, word, verdict):
    line = verdict(checks.colour_share, answer)
    assert line.startswith("✗") and word in line


@pytest.mark.parametrize("divisor", [2, 4, 5, 10, 19, 21, 40, 60, 80])
def test_only_20_separates_motif_and_colour(divisor):
    def remainder(labels, predicted):
        wrong = predicted != labels
        return (predicted[wrong] % divisor == labels[wrong] % divisor).float().mean()

    def quotient(labels, predicted):
        return remainder(labels // divisor, predicted // divisor)

    assert checks.colour_share(remainder) is False
    assert checks.colour_share(quotient) is False


# --- The augmentation, image by image with torchvision

NORMALIZED = [transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
CROP, RESIZE = transforms.RandomResizedCrop((64, 64)), transforms.Resize((64, 64))
FLIPS = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
ROTATION = transforms.RandomRotation(90)


def batch_maker(*augmentation, plain=(RESIZE, *NORMALIZED)):
    """A `my_batch` with these transforms when training, and those otherwise."""

    def my_batch(images, training):
        transform = transforms.Compose(augmentation if training else plain)
        return torch.stack([transform(image) for image in images])

    return my_batch


RIGHT_BATCH = batch_maker(CROP, *NORMALIZED, *FLIPS, ROTATION)
NEW_TRANSFORMS = batch_maker(
    v2.ToImage(),
    v2.RandomResizedCrop((64, 64), antialias=True),
    v2.ToDtype(torch.float32, scale=True),
    v2.Normalize((0.5,) * 3, (0.5,) * 3),
    v2.RandomRotation(90, interpolation=v2.InterpolationMode.BILINEAR),
    v2.RandomHorizontalFlip(),
    v2.RandomVerticalFlip(),
)


def by_hand(images, training):
    """Flips and angles of Python's own random numbers, and a rotation that Pillow does."""
    batch = []
    for image in images:
        if not training:
            image = image.resize((64, 64), 2)
        else:
            image = CROP(image)
            if random.random() < 0.5:
                image = transforms.functional.hflip(image)
            if random.random() < 0.5:
                image = transforms.functional.vflip(image)
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1
        if training:
            angle = random.randint(-90, 90)
            pixels = transforms.functional.rotate(pixels, angle)
        batch.append(pixels)
    return torch.stack(batch)


RIGHT_BATCHES = [
    ("the report's order", RIGHT_BATCH),
    ("transforms v2, first rotated, then flipped", NEW_TRANSFORMS),
    ("by hand", by_hand),
]


def one_draw(images, training):
    plain = torch.stack([transforms.Compose([RESIZE, *NORMALIZED])(image) for image in images])
    return transforms.Compose([CROP, *FLIPS, ROTATION])(plain) if training else plain


def returning(change):
    """A right `my_batch`, but for a change of what it returns."""
    return lambda images, training: change(batch_maker(RESIZE, *NORMALIZED)(images, training))


FILL_127 = transforms.RandomRotation(90, fill=127)
EXPANDING = [transforms.RandomRotation(90, expand=True), transforms.Resize((64, 64))]
IMAGENET = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SQUARES_ONLY = (transforms.Resize(64), *NORMALIZED)
CENTRES = (transforms.Resize(64), transforms.CenterCrop(64), *NORMALIZED)
WRONG_BATCHES = [
    ("normalised last", batch_maker(CROP, *FLIPS, ROTATION, *NORMALIZED), "are -1, not 0"),
    ("fill=127", batch_maker(CROP, *FLIPS, FILL_127, *NORMALIZED), "are -0.004, not 0"),
    ("one draw", one_draw, "draw of its own"),
    ("held-out images augmented", lambda images, _: RIGHT_BATCH(images, True), "not augmented"),
    ("never augmented", lambda images, _: RIGHT_BATCH(images, False), "stay plain"),
    (
        "the wrong way round",
        lambda images, training: RIGHT_BATCH(images, not training),
        "augmented",
    ),
    ("crop last", batch_maker(RESIZE, *NORMALIZED, *FLIPS, ROTATION, CROP), "crop first"),
    ("rotation first", batch_maker(ROTATION, CROP, *FLIPS, *NORMALIZED), "crop first"),
    ("expand=True", batch_maker(CROP, *NORMALIZED, *FLIPS, *EXPANDING), "expand=True"),
    ("±180°", batch_maker(CROP, *NORMALIZED, *FLIPS, transforms.RandomRotation(180)), "-180°"),
    ("±180°, v2", batch_maker(CROP, *NORMALIZED, *FLIPS, v2.RandomRotation(180)), "-180°"),
    ("grey", batch_maker(CROP, transforms.Grayscale(3), *NORMALIZED, *FLIPS, ROTATION), "colours"),
    (
        "erased",
        batch_maker(CROP, *NORMALIZED, transforms.RandomErasing(), *FLIPS, ROTATION),
        "erase",
    ),
    ("ImageNet's mean", batch_maker(CROP, NORMALIZED[0], IMAGENET, *FLIPS, ROTATION), "normalise"),
    ("not normalised", batch_maker(CROP, NORMALIZED[0], *FLIPS, ROTATION), "normalise"),
]
WRONG_FORMS = [
    ("too narrow", returning(lambda batch: batch[..., :60]), "Return (B, 3, 64, 64)"),
    ("channels last", returning(lambda batch: batch.permute(0, 2, 3, 1)), "(3, 64, 64, 3)"),
    ("too few", returning(lambda batch: batch[1:]), "(2, 3, 64, 64)"),
    ("a list", returning(list), "torch.stack the images"),
    ("NumPy", returning(lambda batch: batch.numpy()), "torch.stack the images"),
    ("a number", returning(len), "torch.stack the images"),
    ("bytes", returning(lambda batch: (127.5 * batch + 127.5).byte()), "float32"),
    ("float64", returning(lambda batch: batch.double()), "float32"),
    ("not finite", returning(lambda batch: batch / 0), "finite"),
    ("held-out not normalised", batch_maker(plain=[RESIZE, NORMALIZED[0]]), "only resized"),
    ("squares only", batch_maker(plain=SQUARES_ONLY), "RuntimeError"),
    ("centres of held-out images", batch_maker(plain=CENTRES), "only resized"),
    ("nothing", lambda images, training: None, "a `return` missing"),
]


@judged(RIGHT_BATCHES)
def test_a_right_augmentation_passes(answer, verdict, monkeypatch):
    monkeypatch.setattr(augmented, "COPIES", 400)  # all of them are tried below, which is faster
    assert verdict(checks.augmentation, answer).startswith("✓")


def test_an_augmentation_that_is_the_same_in_every_call_is_told_why(verdict):
    line = verdict(checks.augmentation, lambda images, training: by_batch(seed=3)(images, training))
    assert line.startswith("✗") and "seed" in line


@judged(WRONG_BATCHES + WRONG_FORMS)
def test_a_wrong_augmentation_is_told_why(answer, word, verdict, monkeypatch):
    monkeypatch.setattr(augmented, "COPIES", 100)  # what's wrong with all pictures shows in a few
    line = verdict(checks.augmentation, answer)
    assert line.startswith("✗") and word in line


# --- The augmentation, whole batches by the course's own code, which is faster


def by_batch(change=lambda augmentations: augmentations, seed=0, **strength):
    """A `my_batch` of the course's augmentation with this strength, changed by `change`."""

    random = np.random.default_rng(seed)

    def my_batch(images, training):
        squeezed = {image.size: image for image in images}
        squeezed = {size: np.array(image.resize((64, 64))) for size, image in squeezed.items()}
        batch = torch.from_numpy(np.stack([squeezed[image.size] for image in images]))
        if not training:
            return plain_batch(batch, 64).contiguous()
        uniforms = random.random((len(images), DRAWS))
        widths = np.array([image.width for image in images])
        heights = np.array([image.height for image in images])
        augmentations = draw_augmentations(uniforms, widths, heights, **strength)
        return augment_batch(batch, change(augmentations), 64)

    return my_batch


def to_one_side(augmentations):
    direction = augmentations.direction.clone()
    direction[:, 1].abs_()
    return augmentations._replace(direction=direction)


def right_angles(augmentations):
    quarter = (augmentations.direction[:, 1] > 0).float()
    return augmentations._replace(direction=torch.stack([1 - quarter, quarter], 1))


def square(augmentations):
    side = augmentations.lengths.prod(1, keepdim=True).sqrt().expand(-1, 2)
    corner = augmentations.corner.minimum(augmentations.originals - side)
    return augmentations._replace(lengths=side, corner=corner)


def centred(augmentations):
    corner = (augmentations.originals - augmentations.lengths) / 2
    return augmentations._replace(corner=corner)


def at_the_left(augmentations):
    corner = augmentations.corner * torch.tensor([0.0, 1.0])
    return augmentations._replace(corner=corner)


def flipped_both_ways(augmentations):
    return augmentations._replace(flips=augmentations.flips[:, :1].expand(-1, 2))


def in_pairs(augmentations):
    pairs = torch.arange(len(augmentations.corner)) // 2 * 2
    first = [field[pairs] for field in augmentations]
    return augmentations._replace(
        corner=first[0], lengths=first[1], flips=first[3], direction=first[4]
    )


def one_for_all(field):
    def change(augmentations):
        value = getattr(augmentations, field)
        return augmentations._replace(**{field: value[:1].expand_as(value)})

    return change


def small_crops_only(augmentations):
    lengths = augmentations.lengths * 0.8
    return augmentations._replace(lengths=lengths)


WRONG_DISTRIBUTIONS = [
    ("squeezed first", batch_maker(RESIZE, CROP, *NORMALIZED, *FLIPS, ROTATION), "original"),
    ("no flips", by_batch(flips=(0, 0)), "flipped horizontally"),
    ("horizontal flips only", by_batch(flips=(0.5, 0)), "flipped vertically"),
    ("vertical flips only", by_batch(flips=(0, 0.5)), "flipped horizontally"),
    ("always flipped", by_batch(flips=(1, 1)), "flipped horizontally"),
    ("both or none", by_batch(flipped_both_ways), "depends on whether"),
    ("one flip for all", by_batch(one_for_all("flips")), "flipped"),
    ("no rotation", by_batch(degrees=0), "aren't rotated"),
    ("to one side", by_batch(to_one_side), "one direction only"),
    ("right angles", by_batch(right_angles), "equally likely"),
    ("one angle for all", by_batch(one_for_all("direction")), "RandomRotation(90)"),
    ("every second plain", by_batch(plain=0.5), "stay plain"),
    ("a tenth plain", by_batch(plain=0.1), "stay plain"),
    ("in pairs", by_batch(in_pairs), "draw of its own"),
    ("no crop", by_batch(crop=1), "of an image, not 8% to 100%"),
    ("square crops", by_batch(square), "square"),
    ("one crop for all", by_batch(one_for_all("lengths")), "not 8% to 100%"),
    ("centres only", by_batch(centred), "places"),
    ("left side only", by_batch(at_the_left), "places"),
    ("small crops only", by_batch(small_crops_only), "not 8% to 100%"),
]


@judged(WRONG_DISTRIBUTIONS)
def test_a_wrong_distribution_is_told_why(answer, word, verdict, monkeypatch):
    monkeypatch.setattr(augmented, "COPIES", 400)  # so far off that fewer copies show it
    line = verdict(checks.augmentation, answer)
    assert line.startswith("✗") and word in line


@settings(max_examples=3)
@given(st.integers(0, 10**9))
def test_a_right_augmentation_never_fails_by_chance(seed):
    assert checks.augmentation(by_batch(seed=seed)) is True


@settings(max_examples=2)
@given(st.one_of(st.floats(0, 0.33), st.floats(0.67, 1)), st.booleans(), st.integers(0, 10**9))
def test_any_other_share_of_flips_is_noticed(share, across, seed):
    flips = (share, 0.5) if across else (0.5, share)
    assert checks.augmentation(by_batch(flips=flips, seed=seed)) is False


@settings(max_examples=2)
@given(st.floats(0, 87), st.integers(0, 10**9))
def test_any_smaller_rotation_is_noticed(degrees, seed):
    assert checks.augmentation(by_batch(degrees=degrees, seed=seed)) is False


@settings(max_examples=2)
@given(st.one_of(st.floats(0.001, 0.05), st.floats(0.12, 1)), st.integers(0, 10**9))
def test_any_other_smallest_crop_is_noticed(crop, seed):
    assert checks.augmentation(by_batch(crop=crop, seed=seed)) is False


# --- The block without its short-cut


class PlainWithoutLastRelu(Block):
    def forward(self, x):
        return self.main(x)


class PlainWithoutInnerRelu(NoReluInConv1):
    def forward(self, x):
        return self.main(x).relu()


class PlainWithFewerLayers(Block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        del self.conv2


class PlainWithMoreLayers(PlainBlock):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv4 = nn.Conv2d(2 * out_, 2 * out_, 1)


class PlainWithoutGradient(PlainBlock):
    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


class PlainInTrainingOnly(Block):
    def forward(self, x):
        return self.main(x).relu() if self.training else super().forward(x)


WRONG_PLAIN_BLOCKS = [
    ("ours", res_block, "still adds the short-cut"),
    ("only the identity removed", IdentityRemoved, "still adds the short-cut"),
    ("no ReLU after the addition", NoReluAfterAddition, "its last ReLU is gone"),
    ("no last ReLU", PlainWithoutLastRelu, "The last ReLU is missing"),
    ("no inner ReLU", PlainWithoutInnerRelu, "ReLU of conv1 is missing"),
    ("fewer layers", PlainWithFewerLayers, "conv2.0.weight is missing"),
    ("more layers", PlainWithMoreLayers, "conv4.weight is new"),
    ("no gradient", PlainWithoutGradient, "has no gradient"),
    ("short-cut in eval mode", PlainInTrainingOnly, "eval mode: Your block still adds"),
    ("returns nothing", ReturnsNothing, "a `return` missing"),
]


@judged(WRONG_PLAIN_BLOCKS)
def test_a_block_with_another_change_is_refused_untrained(answer, word, verdict):
    line = verdict(checks.no_shortcut, answer, 4.0, None)
    assert line.startswith("✗") and word in line


def test_a_block_without_short_cut_is_trained_and_the_prediction_compared(
    course, verdict, monkeypatch
):
    monkeypatch.setattr(block_checks, "EPOCHS", 1)
    monkeypatch.setattr(block_checks, "IMAGES", 16)
    line = verdict(checks.no_shortcut, PlainBlock, np.float32(4), course)
    images = course.data.train.take(16, seed=0)
    losses = []
    for block in PlainBlock, res_block:
        model = get_model(MyModel, seed=0, block=block)
        history = trial(course, images, epochs=1, model=model, size=32, batch_size=16)
        losses.append(history[-1]["loss"])
    assert line.startswith("✓") and "4" in line and all(f"{loss:.3g}" in line for loss in losses)
    assert len(list((course.folder / "trials").iterdir())) == 2  # read, not measured again


@pytest.mark.parametrize("classes", [2, 5, 300])
def test_the_network_without_short_cut_chooses_from_the_datas_classes(
    classes, course, verdict, monkeypatch
):
    monkeypatch.setattr(block_checks, "EPOCHS", 1)
    monkeypatch.setattr(block_checks, "compare_networks", lambda *arguments: None)  # slow
    outputs = []

    def watched(course, images, *, model, **options):
        assert len(images) == min(block_checks.IMAGES, len(course.data.train))
        outputs.append(model.fc.out_features)
        return [{"loss": 1.0}]

    monkeypatch.setattr(block_checks, "trial", watched)
    few = course.data.train.subset(range(20))
    names = [f"class {i}" for i in range(classes)]
    course = replace(course, data=replace(course.data, train=few, classes=names))
    assert verdict(checks.no_shortcut, PlainBlock, 1, course).startswith("✓")
    assert outputs == [classes, classes]


def test_a_loss_that_cant_be_is_refused_untrained(monkeypatch, verdict):
    monkeypatch.setattr(block_checks, "compare_networks", lambda *arguments: None)  # slow
    for prediction in float("nan"), torch.tensor(0):
        line = verdict(checks.no_shortcut, plain_block, prediction, None)
        assert line.startswith("✗") and "above 0" in line
    for prediction in "four", [4, 5]:
        line = verdict(checks.no_shortcut, plain_block, prediction, None)
        assert line == "✗ Your prediction isn't a number."


# --- What isn't done, and what goes wrong in any exercise

CHECKS = [getattr(checks, name) for name in checks.__all__ if name != "Todo"]
OF_VALUES = (checks.layers, checks.separating_experiment)
OF_FUNCTIONS = [check for check in CHECKS if check not in OF_VALUES]


def raising(error):
    def answer(*arguments):
        raise error

    return answer


def test_each_exercise_has_a_check_that_prints_one_sentence():
    assert len(CHECKS) == 14 and all(check.__wrapped__ for check in CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_a_stub_is_not_done_yet(check, verdict):
    assert verdict(check, ..., *others(check)).startswith("…")
    stub = verdict(check, raising(checks.Todo), *others(check))
    assert stub.startswith("✗" if check in OF_VALUES else "…")
    if check is checks.no_shortcut:
        assert verdict(check, PlainBlock, ..., None).startswith("…")


@pytest.mark.parametrize("check", OF_FUNCTIONS)
def test_an_exception_is_reported_in_a_sentence(check, verdict):
    line = verdict(check, raising(ValueError("my\nmistake")), *others(check))
    assert line.startswith("✗") and "ValueError" in line and "my mistake" in line
    assert verdict(check, None, *others(check)).startswith("✗")
    assert verdict(check, lambda *_, **__: None, *others(check)).startswith("✗")


def test_pressing_stop_isnt_a_mistake():
    with pytest.raises(Stopped):
        checks.cross_entropy(raising(Stopped("■")))


def test_an_answer_cannot_change_what_comes_after_it(verdict):
    def careless(logits, labels):
        torch.manual_seed(5)
        random.seed(5)
        np.random.seed(5)
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return my_loss(logits, labels)

    def following():
        return torch.rand(()).item(), random.random(), np.random.random()

    for seed in torch.manual_seed, random.seed, np.random.seed:
        seed(0)
    expected = following()
    for seed in torch.manual_seed, random.seed, np.random.seed:
        seed(0)
    assert verdict(checks.cross_entropy, careless).startswith("✓")
    assert following() == expected
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


def test_a_check_that_is_run_again_says_the_same(verdict):
    def guess(labels, predicted):
        return torch.rand(()) + random.random() + np.random.random()

    assert verdict(checks.colour_share, guess) == verdict(checks.colour_share, guess)
