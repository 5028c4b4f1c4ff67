"""The checks of the exercises: right answers pass, stubs aren't done, and each typical mistake is
explained."""

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


# --- Right answers
# --------------------------------------------------------------------------------------------------


def my_loss(logits, labels):
    return (logits.logsumexp(1) - logits[range(len(labels)), labels]).mean()


def my_accuracy(model, batches):
    was_training = model.training
    model.eval()
    batches = [(model(images).argmax(1), labels) for images, labels in batches]
    model.train(was_training)
    return sum((predicted == labels).sum().item() for predicted, labels in batches) / sum(
        len(b) for _, b in batches
    )


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
    (checks.augmentation, batch_maker(CROP, *NORMALIZED, ROTATION, *FLIPS)),
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


# --- What isn't done, and what goes wrong in any exercise
# -----------------------------------------------------------

CHECKS = sorted({check for check, _ in RIGHT}, key=lambda check: check.__name__) + [
    checks.no_shortcut
]
OF_FUNCTIONS = [
    check for check in CHECKS if check not in (checks.layers, checks.separating_experiment)
]


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
    assert verdict(check, raising(checks.Todo), *others(check)).startswith(
        "…" if check in OF_FUNCTIONS else "✗"
    )
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


# --- Typical mistakes: (a word of its sentence, the answer)
# ---------------------------------------------------------


class Block(nn.Module):
    """A `res_block` with its ReLUs in `forward`, and with switches for mistakes."""

    def __init__(self, in_, out_, stride=1, *, on_conv1=False, padding=1, shortcut_if=None):
        super().__init__()
        first, second = (stride, 1) if on_conv1 else (1, stride)
        self.conv1 = nn.Sequential(nn.Conv2d(in_, out_, 1, first, bias=False), nn.BatchNorm2d(out_))
        self.conv2 = nn.Sequential(
            nn.Conv2d(out_, out_, 3, second, padding, bias=False), nn.BatchNorm2d(out_)
        )
        self.conv3 = nn.Sequential(
            nn.Conv2d(out_, 2 * out_, 1, bias=False), nn.BatchNorm2d(2 * out_)
        )
        self.shortway = nn.Sequential()
        if shortcut_if(in_, out_, stride) if shortcut_if else stride != 1 or in_ != 2 * out_:
            self.shortway = nn.Sequential(
                nn.Conv2d(in_, 2 * out_, 1, stride, bias=False), nn.BatchNorm2d(2 * out_)
            )

    def main(self, x):
        return self.conv3(self.conv2(self.conv1(x).relu()).relu())

    def forward(self, x):
        return (self.main(x) + self.shortway(x)).relu()


class NoReluAfterAddition(Block):
    def forward(self, x):
        return self.main(x) + self.shortway(x)


class ReluBeforeAddition(Block):
    def forward(self, x):
        return self.main(x).relu() + self.shortway(x)


class InPlace(Block):
    def forward(self, x):
        y = self.shortway(x)  # often the identity: then y is x
        y += self.main(x)
        return y.relu()


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
        return self.conv3(self.conv2(self.conv1(x)).relu())


class OtherNames(Block):
    """Plain convolutions and bn1 … bn3: it computes the same as the report's block."""

    def __init__(self, in_, out_, stride=1):
        super().__init__(in_, out_, stride)
        self.conv1, self.bn1 = self.conv1
        self.conv2, self.bn2 = self.conv2
        self.conv3, self.bn3 = self.conv3

    def main(self, x):
        x = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu())).relu()
        return self.bn3(self.conv3(x))


class ReturnsNothing(res_block):
    def forward(self, x):
        super().forward(x)


class PlainWithoutLastRelu(Block):
    def forward(self, x):
        return self.main(x)


class PlainWithoutInnerRelu(NoReluInConv1):
    def forward(self, x):
        return self.main(x).relu()


def block_with(**switches):
    return lambda in_, out_, stride=1: Block(in_, out_, stride, **switches)


def overflowing_loss(logits, labels):
    exponentials = logits.exp()
    return (
        -(exponentials / exponentials.sum(1, keepdim=True))[range(len(labels)), labels].log().mean()
    )


def underflowing_loss(logits, labels):
    return overflowing_loss(logits - logits.amax(1, keepdim=True), labels)


def overflowing_in_the_sum(logits, labels):
    return (logits.exp().sum(1).log() - logits[range(len(labels)), labels]).mean()


def shares(model, batches):
    return [(model(images).argmax(1) == labels).float().mean() for images, labels in batches]


def counted_by_range_32(model, batches):
    return (
        sum(int(model.eval()(x).argmax(1)[i] == y[i]) for x, y in batches for i in range(32)) / 70
    )


def left_in_eval_mode(model, batches):
    return my_accuracy(model.eval(), batches)


def only_the_flag_restored(model, batches):
    was_training = model.training
    share = my_accuracy(model.eval(), batches)
    model.training = was_training  # its layers stay in eval mode
    return share


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


def returning(change):
    """A right `my_batch`, but for a change of what it returns."""
    return lambda images, training: change(
        batch_maker(CROP, *NORMALIZED, *FLIPS, ROTATION)(images, training)
    )


MISTAKES = {
    checks.res_block: [
        ("no ReLU after", NoReluAfterAddition),
        ("before the addition", ReluBeforeAddition),
        ("conv3 ends in a ReLU", ReluBeforeAndAfterAddition),
        ("isn't added", PlainBlock),
        ("changes x", InPlace),
        ("on conv1", block_with(on_conv1=True)),
        ("channels", block_with(shortcut_if=lambda in_, out_, stride: stride != 1)),
        ("stride", block_with(shortcut_if=lambda in_, out_, stride: in_ != 2 * out_)),
        ("conv1.0.bias", BiasInConv1),
        ("conv3.1.weight", NoNormInConv3),
        ("with the formula", NoReluInConv1),
        (
            "shapes agree here, so the short-cut is the identity",
            block_with(shortcut_if=lambda *_: True),
        ),
        ("needs padding=1", block_with(padding=0)),
        ("make each part an nn.Sequential", OtherNames),
        ("a `return` missing", ReturnsNothing),
    ],
    checks.layers: [
        ("13 counts blocks; each has three convolutions", 13),
        ("It isn't 39: follow", 39),
        ("40 forgets one of the ends", 40),
        ("It isn't 42: follow", 42),
        ("all convolutions", 44),
        ("short-cuts: ", 45),
        ("“over 50”", 52),
        ("53 counts a convolution on every short-cut", 53),
        ("54 counts a convolution on every short-cut", 54),
        ("Give a number.", "41"),
    ],
    checks.cross_entropy: [
        ("softmax twice", lambda logits, labels: F.cross_entropy(logits.softmax(1), labels)),
        ("sum", lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum")),
        ("sign", lambda logits, labels: -my_loss(logits, labels)),
        ("You get nan, not 500: with a logit of 1000, exp overflows", overflowing_loss),
        ("dim=1", lambda logits, labels: F.nll_loss(logits.log_softmax(0), labels)),
        ("The logarithm is missing.", lambda logits, labels: F.nll_loss(logits.softmax(1), labels)),
        ("shape is (6,)", lambda logits, labels: F.cross_entropy(logits, labels, reduction="none")),
        ("You get", lambda logits, labels: my_loss(logits, labels) + 1),
    ],
    checks.accuracy: [
        ("range(32)", counted_by_range_32),
        ("96", restoring(lambda model, batches: my_accuracy(model, batches) * 70 / 96)),
        ("mean of three", restoring(lambda model, batches: sum(shares(model, batches)) / 3)),
        ("training mode", in_the_mode_it_has),
        ("mode", left_in_eval_mode),
        ("You get", lambda model, batches: my_accuracy(model, batches) / 2),
    ],
    checks.augmentation: [
        ("are -1, not 0", batch_maker(CROP, *FLIPS, ROTATION, *NORMALIZED)),
        (
            "are -0.004, not 0",
            batch_maker(CROP, *FLIPS, transforms.RandomRotation(90, fill=127), *NORMALIZED),
        ),
        ("draw of its own", one_draw),
        ("not augmented", heldout_augmented),
        ("RandomRotation", batch_maker(CROP, *NORMALIZED, *FLIPS)),
        ("crop first", batch_maker(*NORMALIZED, *FLIPS, ROTATION, CROP)),
        ("flipped", batch_maker(CROP, *NORMALIZED, FLIPS[0], ROTATION)),
        ("of an image, not 8% to 100%", batch_maker(RESIZE, *NORMALIZED, *FLIPS, ROTATION)),
        ("Return float32 (B, 3, 64, 64).", returning(lambda batch: batch[..., :60])),
        ("torch.stack the images", returning(list)),
    ],
    checks.colour_share: [
        (
            "divide by all",
            lambda labels, predicted: (
                my_share(labels, predicted) * (labels != predicted).float().mean()
            ),
        ),
        (
            "motif",
            lambda labels, predicted: (
                (predicted // 20 == labels // 20)[predicted != labels].float().mean()
            ),
        ),
        ("right answers", lambda labels, predicted: (labels % 20 == predicted % 20).float().mean()),
        ("You get", lambda labels, predicted: 0.123),
    ],
    checks.separating_experiment: [
        ("(a)", "a"),
        ("(b)", "B"),
        ("(d)", "d"),
        ("(e)", "(e)"),
        ("letters", "f"),
    ],
}


@pytest.mark.parametrize("check", MISTAKES)
def test_each_typical_mistake_has_a_sentence_of_its_own(check, verdict):
    lines = [verdict(check, answer) for _, answer in MISTAKES[check]]
    assert len(set(lines)) == len(lines)
    for (word, _), line in zip(MISTAKES[check], lines):
        assert line.startswith("✗") and word in line and "Error" not in line


def test_flips_in_either_direction_are_missed(verdict):
    for flips in FLIPS[:1], FLIPS[1:], []:
        assert "flipped" in verdict(
            checks.augmentation, batch_maker(CROP, *NORMALIZED, *flips, ROTATION)
        )


def test_what_would_only_fail_later_is_refused(verdict):
    assert "mode" in verdict(checks.accuracy, only_the_flag_restored)
    squares_only = batch_maker(
        CROP, *NORMALIZED, *FLIPS, ROTATION, plain=(transforms.Resize(64), *NORMALIZED)
    )
    assert verdict(checks.augmentation, squares_only).startswith("✗")


def test_gradients_stay_on_whatever_an_answer_does(verdict):
    def without_gradients(model, batches):
        torch.set_grad_enabled(False)
        return my_accuracy(model, batches)

    assert verdict(checks.accuracy, without_gradients).startswith("✓") and torch.is_grad_enabled()


@pytest.mark.parametrize(
    "change", [lambda x: x.permute(0, 2, 3, 1), lambda x: (127.5 * x + 127.5).byte(), len]
)
def test_a_batch_in_another_form_is_refused(change, verdict):
    assert verdict(checks.augmentation, returning(change)).startswith("✗ Return ")


def test_heldout_images_that_arent_normalised_are_refused(verdict):
    line = verdict(
        checks.augmentation,
        batch_maker(CROP, *NORMALIZED, *FLIPS, ROTATION, plain=[RESIZE, NORMALIZED[0]]),
    )
    assert line.startswith("✗") and "only resized and normalised" in line


def test_copies_of_an_image_have_to_differ(verdict):
    assert "come out alike" in verdict(
        checks.augmentation, lambda images, _: batch_maker()(images, False)
    )


@pytest.mark.parametrize("degrees", [45, 70, (90, 90)])
def test_another_rotation_is_noticed(degrees, verdict):
    mine = batch_maker(CROP, *NORMALIZED, *FLIPS, transforms.RandomRotation(degrees))
    assert "RandomRotation(90)" in verdict(checks.augmentation, mine)


@pytest.mark.parametrize("scale", [(0.2, 1), (0.5, 1), (0.08, 0.6), (0.01, 1)])
def test_another_scale_of_the_crops_is_noticed(scale, verdict):
    mine = batch_maker(
        transforms.RandomResizedCrop((64, 64), scale=scale), *NORMALIZED, *FLIPS, ROTATION
    )
    assert "not 8% to 100%" in verdict(checks.augmentation, mine)


def test_a_crop_after_the_rotation_is_noticed_whatever_it_is_done_with(verdict):
    for transforms_ in (
        [ROTATION, CROP, *FLIPS, *NORMALIZED],
        [RESIZE, *NORMALIZED, ROTATION, *FLIPS, CROP],
    ):
        assert "crop first" in verdict(checks.augmentation, batch_maker(*transforms_))


def test_a_right_augmentation_never_fails_by_chance(verdict):
    mine = batch_maker(CROP, *NORMALIZED, *FLIPS, ROTATION)
    for seed in range(5):

        def seeded(images, training, seed=seed):
            torch.manual_seed(seed)
            return mine(images, training)

        assert verdict(checks.augmentation, seeded).startswith("✓")


@pytest.mark.parametrize("divisor", sorted({*range(2, 81)} - {20}))
def test_only_20_separates_motif_and_colour(divisor, verdict):
    def share(labels, predicted):
        wrong = predicted != labels
        return (predicted[wrong] % divisor == labels[wrong] % divisor).float().mean()

    assert verdict(checks.colour_share, share).startswith("✗")
    # noqa: E731
    quotient = lambda labels, predicted: share(labels // divisor, predicted // divisor)
    assert verdict(checks.colour_share, quotient).startswith("✗")


@pytest.mark.parametrize("loss", [overflowing_loss, underflowing_loss, overflowing_in_the_sum])
def test_whoever_subtracted_the_maximum_isnt_told_to(loss, verdict):
    line = verdict(checks.cross_entropy, loss)
    assert (
        line.startswith("✗")
        and "log-softmax directly, with logsumexp" in line
        and "maximum" not in line
    )


@pytest.mark.parametrize(
    "measure",
    [
        lambda model, batches: (
            sum((model(x).argmax(1)[i] == y[i]).item() for x, y in batches for i in range(32)) / 70
        ),
        lambda model, batches: in_the_mode_it_has(model, batches) * 70 / 96,
        lambda model, batches: sum(shares(model, batches)) / 3,
        lambda model, batches: in_the_mode_it_has(model.train(), batches),
    ],
)
def test_a_second_mistake_doesnt_hide_that_of_the_mode(measure, verdict):
    assert "training mode" in verdict(checks.accuracy, measure)


def test_the_count_is_that_of_the_model():
    layers = [
        name
        for name, layer in MyModel(res_block).named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]
    assert len([name for name in layers if "shortway" not in name]) == 41
    assert len(layers) == 45


# --- The block without its short-cut
# --------------------------------------------------------------------------------


def test_a_block_without_short_cut_is_trained_and_the_prediction_compared(
    course, verdict, monkeypatch
):
    monkeypatch.setattr(checks, "PASSES", 2)
    line = verdict(checks.no_shortcut, PlainBlock, 4, course)
    images = course.data.train.take(checks.IMAGES, seed=0)
    losses = []
    for block in PlainBlock, res_block:
        model = get_model(lambda _, block=block: MyModel(block), seed=0)
        losses += [
            checks.trial(course, images, epochs=2, model=model, size=32, batch_size=160)[-1]["loss"]
        ]
    assert line.startswith("✓") and "4" in line and all(f"{loss:.3g}" in line for loss in losses)
    assert len(list((course.folder / "trials").iterdir())) == 2  # read, not measured again


def test_a_block_with_another_change_is_refused_untrained(verdict):
    for block in res_block, Block, IdentityRemoved, NoReluAfterAddition, PlainWithoutInnerRelu:
        line = verdict(checks.no_shortcut, block, 4.0, None)
        assert line.startswith("✗") and "still has a short-cut, or you've changed more" in line
    assert "The last ReLU is missing" in verdict(
        checks.no_shortcut, PlainWithoutLastRelu, 4.0, None
    )
    assert "a `return` missing" in verdict(checks.no_shortcut, ReturnsNothing, 4.0, None)


def test_a_loss_that_cant_be_is_refused_untrained(verdict):
    for prediction in 0, -1.0, float("nan"), float("inf"):
        line = verdict(checks.no_shortcut, PlainBlock, prediction, None)
        assert line.startswith("✗") and "above 0" in line
    for prediction in "4", None, [4]:
        assert (
            verdict(checks.no_shortcut, PlainBlock, prediction, None)
            == "✗ Your prediction isn't a number."
        )
