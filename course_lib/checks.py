"""Checks of the exercises: each prints one sentence, ✓ for right, ✗ for wrong and why, … for not
done yet.

Mistakes are recognised by imitation: a check computes the right answer and what each typical
mistake would give, and explains the mistake that your answer agrees with.
"""

import functools
from copy import deepcopy

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from .augment import plain_transform
from .errors import CourseError
from .model import MyModel, get_model
from .model import res_block as our_block
from .results import trial

PASSES, IMAGES = 30, 160  # what `no_shortcut` trains: all images in one batch, so one step per pass


class Todo(Exception):
    """Raised by an exercise that isn't done yet."""


class _Wrong(Exception):
    """Raised by a check, with the sentence that says what is wrong."""


def _check(judge):
    """Make a check of `judge(*answers)`, which returns a sentence if they're right and raises
    _Wrong if they aren't."""

    @functools.wraps(judge)
    def check(*answers):
        try:
            if any(answer is ... for answer in answers):
                raise Todo
            with torch.enable_grad(), torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(
                    0
                )  # torch.manual_seed would seed the CUDA devices as well
                print("✓", judge(*answers))
        except Todo:
            print(
                "… Not done yet: write your answer in the exercise's cell, run it, and then run this one again."
            )
        except _Wrong as wrong:
            print("✗", wrong)
        except CourseError:  # ■ was pressed, say, or the disk is full
            raise
        except Exception as error:  # whatever the student's code raises
            print(f"✗ Your code raises {type(error).__name__}: {' '.join(str(error).split())}")

    return check


def _refuse(is_wrong, sentence):
    """Raise _Wrong with this sentence if it applies."""
    if is_wrong:
        raise _Wrong(sentence)


def _compare(answer, right, mistakes, hint, tolerance=1e-4):
    """Raise _Wrong unless `answer` is close to `right`. mistakes: {sentence: the answer that this
    mistake leads to}."""
    _refuse(answer is None, "Your function returns None: is a `return` missing?")
    answer, right = torch.as_tensor(answer).detach().cpu().double(), torch.as_tensor(right).double()
    _refuse(
        answer.shape != right.shape,
        f"Your shape is {tuple(answer.shape)}, not {tuple(right.shape)}: {hint}.",
    )
    is_close_to = functools.partial(torch.allclose, answer, rtol=tolerance, atol=tolerance)
    if not is_close_to(right):
        for sentence, value in mistakes.items():
            _refuse(is_close_to(torch.as_tensor(value).double()), sentence)
        off = f"the right shape, but numbers off by up to {(answer - right).abs().max():.2g}"
        raise _Wrong(f"You get {off if answer.ndim else f'{answer:.4g}, not {right:.4g}'}: {hint}.")


@_check
def res_block(my_res_block):
    """`my_res_block(in_, out_, stride=1)` gets the weights of our block, and must compute the
    same."""
    for in_, out_, stride in (
        (8, 4, 1),
        (6, 4, 1),
        (8, 4, 2),
    ):  # same shape; other channels only; other height and width
        ours, x = our_block(in_, out_, stride), torch.randn(2, in_, 8, 8)
        theirs = my_res_block(in_, out_) if stride == 1 else my_res_block(in_, out_, stride)
        needs, has = ours.state_dict(), theirs.state_dict()
        missing, extra = needs.keys() - has.keys(), has.keys() - needs.keys()
        short = {name for name in {**needs, **has} if name.startswith("shortway")}
        call = f"my_res_block({in_}, {out_}, {stride})"
        because = "the channels differ (in_ ≠ 2·out_)" if stride == 1 else "the stride isn't 1"
        _refuse(
            missing and extra,
            "A model.pth won't load with these weight names: make each part an nn.Sequential.",
        )
        _refuse(
            missing and missing == short,
            f"{call} needs a convolution on the short-cut, since {because}.",
        )
        _refuse(
            extra and extra == short,
            f"{call}: The shapes agree here, so the short-cut is the identity.",
        )
        for name in [*has, *needs]:
            found, expected = (
                tuple(names[name].shape) if name in names else "missing" for names in (has, needs)
            )
            _refuse(
                found != expected,
                f"In {call}, {name} is {found}, but {expected} in the report's block.",
            )
        theirs.load_state_dict(needs)
        _refuse(theirs.conv2[0].padding == (0, 0), "The 3×3 convolution needs padding=1.")
        with torch.no_grad():
            right, main, short = ours(x), ours.conv3(ours.conv2(ours.conv1(x))), ours.shortway(x)
            early = main.relu() + short
            ours.conv1[0].stride, ours.conv2[0].stride = ours.conv2[0].stride, ours.conv1[0].stride
            mistakes = {
                "There's no ReLU after the addition; the block computes relu(F(x) + S(x)).": main
                + short,
                "The ReLU comes before the addition: add the short-cut first.": early,
                "conv3 ends in a ReLU, so F(x) is never negative: leave that ReLU out.": early.relu(),
                "The short-cut isn't added: you return relu(F(x)), not relu(F(x) + S(x)).": main.relu(),
                "The stride is on conv1; a 1×1 convolution then skips three of four pixels: put it on conv2.": ours(
                    x
                ),
            }
            _compare(
                theirs(given := x.clone()),
                right,
                mistakes,
                "compare each layer and each ReLU with the formula",
            )
            _refuse(
                not given.equal(x),
                "Your block changes x itself, so training would fail: write a + b, not a += b.",
            )
    return "Your block computes what the report's does, whether or not its short-cut needs a convolution."


@_check
def layers(my_count):
    """The number of layers with weights on the longest path from the image to the logits."""
    _refuse(not isinstance(my_count, int | float), "Give a number.")
    every = f"{my_count} counts a convolution on every short-cut; only four have one, and none is on the main path."
    _refuse(my_count in (53, 54), every)
    mistakes = {
        13: "13 counts blocks; each has three convolutions.",
        40: "40 forgets one of the ends: conv1 before the blocks, or fc (a linear layer has weights, too).",
        44: "44 is the number of all convolutions: leave out those on short-cuts, and add fc.",
        45: "45 counts the short-cuts: their four convolutions lie beside the main path, not on it.",
        50: "That's what the report says (“over 50”): count the layers in its code instead.",
    }
    other = f"It isn't {my_count}: follow an image from conv1 to fc, and count the layers with weights on the way."
    _refuse(my_count != 41, mistakes.get(min(my_count, 50), other))
    return "41: conv1, three convolutions in each of 13 blocks, and fc."


@_check
def cross_entropy(my_cross_entropy):
    """`my_cross_entropy(logits, labels)`: float (B, 80), int64 (B,) → the mean loss in nats."""
    logits, labels = 3 * torch.randn(6, 80), torch.randint(80, (6,))
    right, twice = F.cross_entropy(logits, labels), F.cross_entropy(logits.softmax(1), labels)
    over_images, no_logarithm = (
        F.nll_loss(logits.log_softmax(0), labels),
        F.nll_loss(logits.softmax(1), labels),
    )
    mistakes = {
        "That's softmax twice: the loss takes logits and needs only one log-softmax.": twice,
        "That's the sum: take the mean, so that the loss doesn't grow with the batch.": 6 * right,
        "The sign is wrong: the logarithm of a probability is negative, so the loss is minus the mean.": -right,
        "Take the softmax over the classes: dim=1.": over_images,
        "The logarithm is missing.": no_logarithm,
    }
    _compare(
        my_cross_entropy(logits.clone(), labels),
        right,
        mistakes,
        "average minus log p of the right classes",
    )
    logits = torch.tensor([[1000.0] + [0.0] * 79] * 2)
    hint = "with a logit of 1000, exp overflows or becomes 0, so take the log-softmax directly, with logsumexp"
    _compare(my_cross_entropy(logits, torch.tensor([0, 1])), 500, {}, hint)
    return "Your loss agrees with PyTorch's, even for a logit of 1000."


@_check
def no_shortcut(my_block, my_prediction, course):
    """Train with `my_block`, which has no short-cut; how far is the predicted loss of the last pass
    from its loss?"""
    for in_, stride in (8, 1), (6, 2):
        block, ours, x = (
            my_block(in_, 4, stride),
            our_block(in_, 4, stride),
            torch.randn(2, in_, 8, 8),
        )
        block.load_state_dict(
            ours.state_dict(), strict=False
        )  # the short-cut's weights may be missing
        main = ours.conv3(ours.conv2(ours.conv1(x))).detach()
        hint = "your block still has a short-cut, or you've changed more than the addition (a layer, or its name)"
        _compare(
            block(x),
            main.relu(),
            {"The last ReLU is missing: change only the addition.": main},
            hint,
        )
    _refuse(not isinstance(my_prediction, int | float), "Your prediction isn't a number.")
    _refuse(
        not 0 < my_prediction < float("inf"),
        "Predict a loss above 0: a cross entropy is never negative.",
    )
    images, seed = course.data.train.take(IMAGES, seed=course.settings.seed), course.settings.seed
    models = [
        get_model(lambda _, block=block: MyModel(block), seed=seed)
        for block in (my_block, our_block)
    ]
    histories = [
        trial(course, images, epochs=PASSES, model=model, size=32, batch_size=IMAGES)
        for model in models
    ]
    without, ours = [history[-1]["loss"] for history in histories]
    factor = max(my_prediction / without, without / my_prediction)
    return (
        f"Without the short-cut, the loss is {without:.3g} after {PASSES} passes; you predicted {my_prediction:.3g}, "
        f"off by a factor of {factor:.1f}. With the short-cut, it's {ours:.3g}."
    )


@_check
def accuracy(my_accuracy):
    """`my_accuracy(model, batches)`: the share of right answers in eval mode; the model's mode must
    not change."""
    model = nn.Sequential(
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 80)
    ).eval()
    images = torch.randn(70, 3, 8, 8) + 1
    labels = model(images).argmax(1)
    labels[[*range(20), *range(65, 70)]] ^= (
        1  # now 12, 32 and 1 of the answers in the three batches are right
    )
    batches = list(zip(images.split(32), labels.split(32)))  # 32, 32 and 6 images
    mistakes = {
        "You divide by 3 · 32 = 96 images, but the last batch has only 6: add up len(labels).": 45
        / 96,
        "That's the mean of three accuracies, so the last 6 images count as much as 32.": (
            12 / 32 + 1 + 1 / 6
        )
        / 3,
    }
    mixing = "The model is in training mode, where BatchNorm mixes the images of a batch: call model.eval() first."
    model[2].register_forward_pre_hook(lambda norm, _: _refuse(norm.training, mixing))
    for training in True, False:
        given = deepcopy(model).train(training)
        try:
            _compare(
                my_accuracy(given, batches),
                45 / 70,
                mistakes,
                "divide all right answers by all images",
            )
        except IndexError:
            raise _Wrong(
                "The last batch has 6 images, so range(32) runs past its end: use its own length."
            ) from None
        _refuse(
            any(p.training != training for p in given.modules()),
            "Restore the mode at the end: model.train(mode).",
        )
    return "Each of the 70 images counts once, in eval mode, and the model's mode is unchanged."


@_check
def augmentation(my_batch):
    """`my_batch(images, training)`: PIL images → float32 (B, 3, 64, 64) in [-1, 1], augmented only
    when training."""
    down, white = Image.linear_gradient("L"), Image.new("L", (256, 256), 255)
    image = Image.merge("RGB", [down.transpose(Image.Transpose.TRANSPOSE), down, white])
    images = 128 * [image] + [
        image.rotate(90).resize((256, 192))
    ]  # so many that chance fails no right answer
    plain = torch.stack([plain_transform(64)(image) for image in images])
    heldout, pictures = my_batch(images, False), my_batch(images, True)
    for batch in heldout, pictures:
        _refuse(not isinstance(batch, torch.Tensor), "Return one tensor: torch.stack the images.")
        _refuse(
            batch.dtype != torch.float32 or batch.shape != plain.shape,
            "Return float32 (B, 3, 64, 64).",
        )
    _compare(
        heldout,
        plain,
        {},
        "held-out images are only resized and normalised, not augmented",
        tolerance=0.05,
    )
    pictures, blue = pictures[:128], pictures[:128, 2:]
    _refuse(
        (pictures == pictures[0]).all(),
        "Copies of an image come out alike: each needs a draw of its own.",
    )
    # The mean slopes of red and green make up the linear map from a picture to the image: its rows
    # are as long as the crop is wide and high, lie at right angles, and turn with the rotation.
    inside = F.max_pool2d(-blue, 3, stride=1, padding=1) < -0.9
    slopes = torch.stack(torch.gradient(pictures[:, :2], dim=(3, 2)), dim=2)  # across and down
    maps = 31.5 * slopes.where(inside[:, :, None], torch.nan).nanmean((3, 4))  # (B, 2, 2)
    areas, angles = maps.norm(dim=2).prod(1), (maps[:, 0, 1] / maps[:, 0, 0]).atan().rad2deg().abs()
    skewed, turned = maps.prod(1).sum(1).abs() > 0.05 * areas, (angles > 75) & (angles < 88)
    _refuse(
        skewed.any(),
        "The crop comes after the rotation, so it distorts the rotated picture: crop first.",
    )
    _refuse(not turned.any(), "No picture is rotated by about 80°: use RandomRotation(90).")
    _refuse(
        blue.min() < -0.5 or (blue != 0).all(),
        f"Corners are {blue.min():.1g}, not 0: rotate after Normalize.",
    )
    flips = maps.diagonal(dim1=1, dim2=2)[angles < 75] > 0
    _refuse(len(flips.unique(dim=0)) < 4, "Pictures aren't flipped in both directions.")
    low, high = areas.aminmax()
    _refuse(
        not 0.07 < low < 0.2 or high < 0.7,
        f"Crops show {low:.0%} to {high:.0%} of an image, not 8% to 100%.",
    )
    return "Each training image has its own crop, flips and rotation with mid-grey corners; held-out images stay plain."


@_check
def colour_share(my_share):
    """`my_share(labels, predicted)`: the share of the errors whose colour is right (class = motif ·
    20 + colour)."""
    labels, shift = torch.randint(80, (400,)), 20 * torch.randint(4, (400,))
    predicted = torch.cat([labels[:200], (labels + shift)[200:300] % 80, torch.randint(80, (100,))])
    wrong, motif, colour = (
        predicted != labels,
        predicted // 20 == labels // 20,
        predicted % 20 == labels % 20,
    )
    mistakes = {
        "You divide by all images: divide by the number of errors.": (wrong & colour)
        .float()
        .mean(),
        "That's the motif: label // 20 is the motif, and label % 20 is the colour.": motif[wrong]
        .float()
        .mean(),
        "You count right answers, too: pick the errors first.": colour.float().mean(),
    }
    _compare(
        my_share(labels, predicted),
        colour[wrong].float().mean(),
        mistakes,
        "compare label % 20 of the errors",
    )
    return "Right: you divide the errors with the right colour by all errors."


@_check
def separating_experiment(my_choice):
    """The letter of the experiment that separates augmentation from longer training."""
    mistakes = {
        "a": "(a) shows that augmented images are hard, but trains nothing, so it can't tell you what training does.",
        "b": "(b) adds epochs and augmentation together again, so you still can't tell which of them helped.",
        "d": "(d) changes both, too: compared with stage 2, there are more epochs as well as augmentation.",
        "e": "(e) tells you how much of the gain is luck, but in every repetition both causes change together.",
    }
    if (letter := str(my_choice).strip(" ()").lower()) != "c":
        raise _Wrong(mistakes.get(letter, "Choose one of the letters a to e."))
    return "(c): same start and same number of epochs, so augmentation is all that differs from stage 3."
