"""The checks of the exercises: right answers pass, stubs aren't done, and each typical mistake is explained."""

from inspect import signature

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import transforms

from course_lib import MyModel, Stopped, checks, get_model, res_block


@pytest.fixture
def verdict(capsys):
    """Run a check and return the one line that it prints."""

    def run(check, *answers):
        capsys.readouterr()
        assert check(*answers) is None
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 and lines[0][:2] in ("✓ ", "✗ ", "… ")
        return lines[0]

    return run


# --- Right answers --------------------------------------------------------------------------------------------------


def my_loss(logits, labels):
    return (logits.logsumexp(1) - logits[range(len(labels)), labels]).mean()


def my_accuracy(model, batches):
    was_training = model.training
    model.eval()
    batches = [(model(images).argmax(1), labels) for images, labels in batches]
    model.train(was_training)
    return sum((predicted == labels).sum().item() for predicted, labels in batches) / sum(len(b) for _, b in batches)


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


def my_share(labels, predicted):
    wrong = predicted != labels
    return (predicted[wrong] % 20 == labels[wrong] % 20).float().mean()


RIGHT = [
    (checks.res_block, res_block),
    (checks.res_block, lambda in_, out_, stride=1: Block(in_, out_, stride)),
    (checks.layers, 41),
    (checks.cross_entropy, my_loss),
    (checks.cross_entropy, lambda logits, labels: F.cross_entropy(logits, labels).item()),
    (checks.accuracy, my_accuracy),
    (checks.augmentation, batch_maker(CROP, *NORMALIZED, *FLIPS, ROTATION)),
    (checks.augmentation, batch_maker(CROP, *FLIPS, *NORMALIZED, ROTATION)),
    (checks.colour_share, my_share),
    (checks.colour_share, lambda labels, predicted: my_share(labels, predicted).item()),
    (checks.separating_experiment, "c"),
    (checks.separating_experiment, " C)"),
]


@pytest.mark.parametrize("check, answer", RIGHT)
def test_a_right_answer_passes(check, answer, verdict):
    assert verdict(check, answer).startswith("✓")


def test_there_are_checks_for_the_eight_exercises():
    public = {name for name in vars(checks) if getattr(vars(checks)[name], "__wrapped__", None)}
    assert public == {check.__name__ for check, _ in RIGHT} | {"no_shortcut"} and len(public) == 8


# --- What isn't done, and what goes wrong in any exercise -----------------------------------------------------------

CHECKS = sorted({check for check, _ in RIGHT}, key=lambda check: check.__name__) + [checks.no_shortcut]
OF_FUNCTIONS = [check for check in CHECKS if check not in (checks.layers, checks.separating_experiment)]


def raising(error):
    def answer(*arguments):
        raise error

    return answer


def others(check):
    """The other arguments of a check, after the first."""
    return [1.0, None][: len(signature(check).parameters) - 1]


@pytest.mark.parametrize("check", CHECKS)
def test_a_stub_is_not_done_yet(check, verdict):
    assert verdict(check, ..., *others(check)).startswith("…")
    assert verdict(check, raising(checks.Todo), *others(check)).startswith("…" if check in OF_FUNCTIONS else "✗")
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


@pytest.mark.parametrize("check, answer", [*RIGHT, (checks.augmentation, batch_maker(*NORMALIZED))])
def test_the_global_random_state_stays_and_doesnt_matter(check, answer, verdict):
    torch.manual_seed(5)
    before, line = torch.get_rng_state(), verdict(check, answer)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert verdict(check, answer) == line


# --- Typical mistakes: (a word of its sentence, the answer) ---------------------------------------------------------


class Block(nn.Module):
    """A `res_block` with other names and in another order, and with switches for mistakes."""

    def __init__(self, in_, out_, stride=1, *, on_conv1=False, shortcut_if=None):
        super().__init__()
        first, second = (stride, 1) if on_conv1 else (1, stride)
        self.a, self.norm_a = nn.Conv2d(in_, out_, 1, first, bias=False), nn.BatchNorm2d(out_)
        self.b, self.norm_b = nn.Conv2d(out_, out_, 3, second, padding=1, bias=False), nn.BatchNorm2d(out_)
        self.c, self.norm_c = nn.Conv2d(out_, 2 * out_, 1, bias=False), nn.BatchNorm2d(2 * out_)
        self.shortway = nn.Sequential()
        if shortcut_if(in_, out_, stride) if shortcut_if else stride != 1 or in_ != 2 * out_:
            self.shortway = nn.Sequential(nn.Conv2d(in_, 2 * out_, 1, stride, bias=False), nn.BatchNorm2d(2 * out_))

    def main(self, x):
        x = self.norm_a(self.a(x)).relu()
        return self.norm_c(self.c(self.norm_b(self.b(x)).relu()))

    def forward(self, x):
        return (self.main(x) + self.shortway(x)).relu()


class NoReluAfterAddition(Block):
    def forward(self, x):
        return self.main(x) + self.shortway(x)


class ReluBeforeAddition(Block):
    def forward(self, x):
        return self.main(x).relu() + self.shortway(x)


class ReluBeforeAndAfterAddition(Block):
    def forward(self, x):
        return (self.main(x).relu() + self.shortway(x)).relu()


class PlainBlock(Block):
    def forward(self, x):
        return self.main(x).relu()


class IdentityRemoved(Block):
    def forward(self, x):
        return (self.main(x) + self.shortway(x) if len(self.shortway) else self.main(x)).relu()


class BiasInConv1(res_block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv1[0] = nn.Conv2d(in_, out_, 1)


class NoNormInConv3(res_block):
    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv3[1] = nn.Identity()


class NoReluInConv1(Block):
    def main(self, x):
        return self.norm_c(self.c(self.norm_b(self.b(self.a(x))).relu()))


def block_with(**switches):
    return lambda in_, out_, stride=1: Block(in_, out_, stride, **switches)


def overflowing_loss(logits, labels):
    exponentials = logits.exp()
    return -(exponentials / exponentials.sum(1, keepdim=True))[range(len(labels)), labels].log().mean()


def shares(model, batches):
    return [(model(images).argmax(1) == labels).float().mean() for images, labels in batches]


def counted_by_range_32(model, batches):
    return sum(int(model.eval()(x).argmax(1)[i] == y[i]) for x, y in batches for i in range(32)) / 70


def left_in_eval_mode(model, batches):
    return my_accuracy(model.eval(), batches)


def in_the_mode_it_has(model, batches):
    return sum((model(images).argmax(1) == labels).sum() for images, labels in batches) / 70


def restoring(measure):
    def restored(model, batches):
        was_training = model.training
        share = measure(model.eval(), batches)
        model.train(was_training)
        return share

    return restored


def one_draw(images, training):
    plain = torch.stack([transforms.Compose([RESIZE, *NORMALIZED])(image) for image in images])
    return transforms.Compose([CROP, *FLIPS, ROTATION])(plain) if training else plain


def heldout_augmented(images, training):
    return batch_maker(CROP, *NORMALIZED, *FLIPS, ROTATION)(images, True)


MISTAKES = {
    checks.res_block: [
        ("no ReLU after", NoReluAfterAddition),
        ("before the addition", ReluBeforeAddition),
        ("conv3 ends in a ReLU", ReluBeforeAndAfterAddition),
        ("isn't added", PlainBlock),
        ("on conv1", block_with(on_conv1=True)),
        ("channels", block_with(shortcut_if=lambda in_, out_, stride: stride != 1)),
        ("stride", block_with(shortcut_if=lambda in_, out_, stride: in_ != 2 * out_)),
        ("conv1.0.bias", BiasInConv1),
        ("conv3.1.weight", NoNormInConv3),
        ("compare", NoReluInConv1),
    ],
    checks.layers: [("40", 40), ("all convolutions", 44), ("short-cuts: ", 45), ("“over 50”", 50), ("39: ", 39)],
    checks.cross_entropy: [
        ("softmax twice", lambda logits, labels: F.cross_entropy(logits.softmax(1), labels)),
        ("sum", lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum")),
        ("sign", lambda logits, labels: -my_loss(logits, labels)),
        ("80", lambda logits, labels: my_loss(logits, labels) / 80),
        ("1000", overflowing_loss),
        ("shape (6,)", lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")),
        ("You get", lambda logits, labels: my_loss(logits, labels) + 1),
    ],
    checks.accuracy: [
        ("range(32)", counted_by_range_32),
        ("96", restoring(lambda model, batches: my_accuracy(model, batches) * 70 / 96)),
        ("mean of three", restoring(lambda model, batches: sum(shares(model, batches)) / 3)),
        ("train mode", in_the_mode_it_has),
        ("mode has changed", left_in_eval_mode),
        ("percentage", lambda model, batches: 100 * my_accuracy(model, batches)),
        ("You get", lambda model, batches: my_accuracy(model, batches) / 2),
    ],
    checks.augmentation: [
        ("−1", batch_maker(CROP, *FLIPS, ROTATION, *NORMALIZED)),
        ("one draw", one_draw),
        ("Held-out images are augmented", heldout_augmented),
        ("as plain", lambda images, training: batch_maker()(images, False)),
        ("RandomRotation", batch_maker(CROP, *NORMALIZED, *FLIPS)),
        ("flipped", batch_maker(CROP, *NORMALIZED, FLIPS[0], ROTATION)),
        ("RandomResizedCrop", batch_maker(RESIZE, *NORMALIZED, *FLIPS, ROTATION)),
        ("nothing else", batch_maker(plain=[RESIZE, transforms.ToTensor()])),
        ("(64, 3, 60, 60)", batch_maker(plain=[transforms.Resize((60, 60)), *NORMALIZED])),
    ],
    checks.colour_share: [
        ("divide by all", lambda labels, predicted: my_share(labels, predicted) * 200 / 400),
        ("motif", lambda labels, predicted: (predicted // 20 == labels // 20)[predicted != labels].float().mean()),
        ("right answers", lambda labels, predicted: (labels % 20 == predicted % 20).float().mean()),
        ("You get", lambda labels, predicted: 0.123),
    ],
    checks.separating_experiment: [("(a)", "a"), ("(b)", "B"), ("(d)", "d"), ("(e)", "(e)"), ("letters", "f")],
}


@pytest.mark.parametrize("check", MISTAKES)
def test_each_typical_mistake_has_a_sentence_of_its_own(check, verdict):
    lines = [verdict(check, answer) for _, answer in MISTAKES[check]]
    assert len(set(lines)) == len(lines)
    for (word, _), line in zip(MISTAKES[check], lines):
        assert line.startswith("✗") and word in line and "Error" not in line


def test_flips_in_either_direction_are_missed(verdict):
    for flip in FLIPS:
        assert "flipped" in verdict(checks.augmentation, batch_maker(CROP, *NORMALIZED, flip, ROTATION))


def test_the_count_is_that_of_the_model():
    layers = [name for name, layer in MyModel(res_block).named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len([name for name in layers if "shortway" not in name]) == 41
    assert len(layers) == 45


# --- The block without its short-cut --------------------------------------------------------------------------------


def test_a_block_without_short_cut_is_trained_and_the_prediction_compared(course, verdict, monkeypatch):
    monkeypatch.setattr(checks, "PASSES", 2)
    line = verdict(checks.no_shortcut, PlainBlock, 4, course)
    images = course.data.train.take(checks.IMAGES, seed=0)
    losses = []
    for block in PlainBlock, res_block:
        model = get_model(lambda _, block=block: MyModel(block), seed=0)
        losses += [checks.trial(course, images, epochs=2, model=model, size=32, batch_size=160)[-1]["loss"]]
    assert line.startswith("✓") and "4" in line and all(f"{loss:.3g}" in line for loss in losses)
    assert len(list((course.folder / "trials").iterdir())) == 2  # read, not measured again


def test_a_block_that_still_has_a_short_cut_is_refused_untrained(verdict):
    for block in res_block, Block, IdentityRemoved:
        line = verdict(checks.no_shortcut, block, 4.0, None)
        assert line.startswith("✗") and "still has a short-cut" in line


def test_a_loss_that_cant_be_is_refused_untrained(verdict):
    line = verdict(checks.no_shortcut, PlainBlock, 0, None)
    assert line.startswith("✗") and "above 0" in line
    assert verdict(checks.no_shortcut, PlainBlock, "4", None).startswith("✗")
