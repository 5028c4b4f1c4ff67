# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     provenance: []
#   jupytext:
#     cell_metadata_filter: slideshow,tags,cellView,jupyter,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: accelerator,colab,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 11. Do the report's claims hold?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *30 minutes to present, an hour and a half to work through; almost no computing: the comparisons
# are stored with the course. You'll test five
# claims of the report, one change at a time, and learn what it takes before you may say that one
# holds.*
#
# The report gives reasons for four of its choices, and says how deep its network is. It gives few
# numbers to support them. **The question: which of the five claims survive a measurement?** Write
# down five answers before you go on:
#
# - The network has over 50 layers.
# - A: augmentation works against overfitting.
# - B: without the short-cut, the loss is at least ten times as large.
# - C: the bottleneck saves computing.
# - D: doubling the channels makes the network better.
#
# The [glossary](glossary.md) explains the terms.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Open the course: choose the data, the preset, and whether to keep a copy on Google Drive
data = "shapes"  # @param ["shapes", "cifar100-80", "tiny-imagenet-80"] {allow-input: true}
preset = "lecture"  # @param ["smoke", "lecture", "full"]
drive = False  # @param {type: "boolean"}

import importlib.util
import os
import sys

repository = ""  # `make publish` writes owner/name here
ref = ""
sys.path += [".", "..", "course", "drive/MyDrive/course"]  # where the course may be


def course_is_here():
    found = importlib.util.find_spec("course_lib")
    return found is not None and found.origin is not None  # not just a folder of this name


if repository and not course_is_here():
    address = f"https://github.com/{repository}"
    clone = f"git clone --quiet --depth=1 --config=advice.detachedHead=false --branch={ref}"
    if os.system(f"{clone} {address} course"):
        sys.exit(
            f"{address} can't be cloned. Check that it's public, and that this computer may use the"
            " Internet (on Kaggle, it's a setting of the notebook). Then run this cell again."
        )
    importlib.invalidate_caches()
if not course_is_here():
    sys.exit(
        "The course isn't here. Put its folder, called course, beside this notebook, or open the"
        " notebook in the course's own folder. Then run this cell again."
    )

from course_lib import open_course

course = open_course(data, preset, drive)
print(course.describe())

# %% [markdown]
# ## The rules
#
# Every variant is compared with the *baseline*: the report's network, trained without augmentation.
# It changes one thing and keeps everything else: the same images, the same number of epochs, the
# same seed for everything random. A network that was lucky once proves nothing, so `make compare`
# trains each variant with three seeds on the generated images; the next cell says how many are
# stored. Accuracy is measured on images that weren't trained on; since it jumps from epoch to epoch
# at a constant learning rate, we average the last three epochs.
#
# On the photographs (`tiny80` below), we measure on 2,000 *training* images that were put aside for
# it, not on the 2,000 held-out ones; notebook 12 says why. Only stage 3 and its controls, further
# down, are measured on those.
#
# All of it takes hours on a CPU, so it was measured once and stored. Tick the box to do it again:
# finished variants are kept, and a second run reuses them.

# %% cellView="form"
# @title Use the stored measurements, or measure again
measure_again = False  # @param {type: "boolean"}

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What is stored, or measured
from course_lib import stored
from experiments import compare
from experiments.stored import read_stored

if measure_again:
    everything = {course.data.name: compare.compare_variants(course)}
    classes = len(course.data.classes)
else:
    everything = read_stored("compare.json")
    classes = 80  # of both stored data sets
for name, found in everything.items():
    runs, size = found["runs"], found["size"]
    seeds = max(map(len, runs.values()), default=0)
    fewer = [
        f"“{variant}” {len(histories)}"
        for variant, histories in runs.items()
        if len(histories) < seeds
    ]
    print(
        f"{name}: {found['trained']:,} images of {size} × {size} pixels to train on,"
        f" {found['measured']:,} to measure; {len(runs)} of {len(compare.VARIANTS)} variants, seeds"
        f" of each: {seeds}",
        *fewer,
        sep=", ",
    )
if not measure_again and stored(course, "compare.json") is None:
    print(f"Nothing is stored for {course.data.name}, preset {course.preset}, so what follows")
    print("is about the data sets above. Tick the box to measure yours.")

# %% [markdown]
# When does a claim hold? With several seeds, we compare seed by seed: a variant is better if it's
# ahead in *every* one. (Even that isn't proof: of two equally good variants, one is ahead in all of
# three seeds in a quarter of the cases.) With only one seed, we can't see how much luck there is in
# the training. We can at least ask whether the choice of the measured images explains a difference:
# the accuracy p of *n* images has a **standard error** of √(p(1 − p)/n), and for a difference, you
# add the squares of both under the root. Less than two standard errors decides nothing; more means
# "better in this run". (The formula is for two different sets of images. Both networks see the same
# ones, which usually makes a difference more certain than the formula says.)

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Helpers: compare two variants, and draw their curves
from math import sqrt
from statistics import mean

from IPython.display import display

from course_lib import plot_runs


def measured(*names):
    """The data sets on which all these variants were measured: (name, what was found)."""
    return [(name, found) for name, found in everything.items() if {*names} <= {*found["runs"]}]


def compared(found, one, other):
    """Mean accuracies in percent, how far `one` is ahead in each seed, and the verdict."""
    pairs = [
        [compare.late(history) for history in pair]
        for pair in zip(found["runs"][one], found["runs"][other])
    ]
    gains = [100 * (a - b) for a, b in pairs]
    doubtful = 0
    if len(pairs) == 1:
        doubtful = 200 * sqrt(sum(share * (1 - share) for share in pairs[0]) / found["measured"])
    ahead = one if min(gains) > doubtful else other if max(gains) < -doubtful else None
    run = "" if len(pairs) > 1 else " in this run"
    verdict = f"“{ahead}” is better{run}" if ahead else "no clear difference"
    return [100 * mean(shares) for shares in zip(*pairs)], gains, verdict


def report(one, other):
    """Print the comparison of two variants on each data set."""
    if not measured(one, other):
        print(f"“{one}” and “{other}”: not measured yet.")
    for name, found in measured(one, other):
        shares, gains, verdict = compared(found, one, other)
        print(
            f"{name}: “{one}” {shares[0]:.1f}%, “{other}” {shares[1]:.1f}% held out, "
            f"{', '.join(f'{gain:+.1f}' for gain in gains)} points: {verdict}."
        )


def curves(names, quantity, title):
    """One figure per data set: the variants' histories."""
    for name, found in measured(*names):
        runs = {variant: found["runs"][variant] for variant in names}
        display(plot_runs(runs, quantity, f"{title} ({name})", classes=classes))


# %% [markdown]
# ## "Over 50 layers"
#
# The smallest claim first. In notebook 01, you counted the layers with weights on the main path
# from the image to the logits, without the short-cuts. Here's how PyTorch counts them:

# %%
from torch import nn

from course_lib import MyModel, get_model

model = get_model(MyModel)
on_main_path = {name: m for name, m in model.named_modules() if "shortway" not in name}
kinds = (nn.Conv2d, nn.Linear)
main_path = [name for name, layer in on_main_path.items() if isinstance(layer, kinds)]
norms = [name for name, layer in on_main_path.items() if isinstance(layer, nn.BatchNorm2d)]
print(f"{len(main_path)} layers with weights; with batch norm, {len(main_path) + len(norms)}.")
print(f"“Over 50 layers” {'holds' if len(main_path) > 50 else 'does not hold'}.")

# %% [markdown]
# ## Claim A: augmentation works against overfitting
#
# The report augments with three things at once: a random crop of 8 to 100% of the area, horizontal
# and vertical flips, and a rotation by up to 90° either way. After stage 2, which saw no augmented
# images, it measured 50% on augmented training images. **Predict:** which of the three confuses the
# network of stage 2 most?

# %%
for name, found in everything.items():
    print(f"{name}, stage 2, on training images, in eval mode:")
    for transform, accuracy in found["stage_2"].items():
        print(f"{accuracy:7.1%}  {transform}")

# %% [markdown]
# (On the generated images, this is the network of an earlier run, so “plain” differs a little from
# notebook 04.) Careful: these are training images, so a drop can have two reasons, as in notebook
# 04. A flipped picture isn't the one that the network has memorised (for shapes, which come at any
# angle, that's the only reason), and a close-up is also unlike anything it has seen. Now let
# networks train with the transforms. All start from scratch: the baseline, three that get one of
# the transforms, and one that gets all three. (The table adds one that gets half of its images
# plain.) **Predict:** which of these five is best on held-out images after so few epochs?

# %%
transforms = ["baseline", "crop alone", "flips alone", "rotation alone", "augmented"]
curves(transforms, "heldout_accuracy", "Augmentation from scratch")

# %%
for name in [*transforms[1:], "half plain, half augmented"]:
    report(name, "baseline")
for name, found in measured(*transforms):
    for variant in transforms:
        final = mean(history[-1]["train_accuracy"] for history in found["runs"][variant])
        late = mean(map(compare.late, found["runs"][variant]))
        print(
            f"{name}, {variant}: {final:.0%} of training images right (running), {late:.0%} of"
            " held-out ones."
        )

# %% [markdown]
# The first percentage in each line is a running accuracy. Early in training, that's lower than an
# evaluation (notebook 04), so it can hide a small gap. On the generated images, such runs do have a
# gap in eval mode ([benchmarks](../benchmarks/README.md#several-processes) has three seeds), but a
# far smaller one than after stage 2: there's little overfitting to cure yet, and augmentation makes
# learning harder. Where running accuracy is far ahead of held-out accuracy, there's plenty to cure,
# but a few epochs may be too few to learn from augmented images. Does longer training change the
# verdict? `make seeds` trained the networks of notebook 05 on larger images and for more epochs (so
# two things differ from the runs above):

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Longer training, from the stored seeds
seeds = [*read_stored("seeds.json")["shapes-lecture"]["seeds"].values()]
epochs = len(seeds[0]["augmented from scratch"]["epochs"])
gains = [
    100
    * (
        run["augmented from scratch"]["final"]["heldout_plain"]
        - run["more plain epochs"]["final"]["heldout_plain"]
    )
    for run in seeds
]
verdict = "holds" if min(gains) > 0 else "doesn't hold" if max(gains) < 0 else "depends on the seed"
print(
    f"After {epochs} epochs, augmentation gains {', '.join(f'{gain:+.0f}' for gain in gains)}"
    " points."
)
print(f"With that budget, claim A {verdict}.")

# %% [markdown]
# On the photographs, that would take hours, so controls stop after ten epochs of all 40,000. “More
# plain epochs” trains the network of stage 2 further, “augmented from scratch” a new one. Stage 3
# has a measurement at the same point. It has 30 plain epochs behind it, and so has “more plain
# epochs”; “augmented from scratch” has none.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The stored controls on photographs
for name, found in everything.items():
    for control, outcome in found.get("controls", {}).items():
        *_, reached = (entry["heldout_accuracy"] for entry in outcome["epochs"])
        stage_3 = [
            entry["heldout_accuracy"]
            for entry in read_stored("results.json")[name]["stages"]["3"]["epochs"]
        ]
        after = len(outcome["epochs"])
        print(
            f"{name}, {after} epochs: {reached:.1%} held out with {control},"
            f" {stage_3[after - 1]:.1%} in stage 3. After {len(stage_3)}, stage 3 has"
            f" {stage_3[-1]:.1%}."
        )

# %% [markdown]
# **Claim A holds if you train long enough: after 20 epochs at 32 × 32 pixels, augmentation is
# behind with each of three seeds; after 74 epochs at 64 × 64, it's ahead by 30.3 to 39.5 points
# with each of five.**
# <!-- holds: augmentation_takes_time -->
#
# A comparison at equal budget always says: *at this budget*. A network that changes over to
# augmented images may even lose ground at first, before it gains any.
#
# ## Claim B: without the short-cut, the loss is at least ten times as large
#
# The report says "without `res_block`"; we take that to mean its short-cut. `plain_block` is
# `res_block` without the addition. Both see images that aren't augmented.

# %%
import inspect

from course_lib import ConstantWidth, plain_block, res_block, two_conv_block

print(inspect.getsource(plain_block))

# %% [markdown]
# Short-cuts are said to keep gradients from vanishing on their way back to the first layers.
# **Predict:** in a new network, before any training, are the gradients of the first layers smaller
# or larger without the short-cut?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title A helper: the gradient of each layer
import torch.nn.functional as F

from course_lib import training_batches


def gradients(block):
    """The norm of each convolution's gradient on the first batch, from first layer to last."""
    model = course.new_model(block=block).to(course.device)
    batch = next(training_batches(course.data.train, course.stage(2), epoch=1, augmented=False))
    F.cross_entropy(model(batch.images), batch.labels).backward()
    norms = [
        layer.weight.grad.norm().item()
        for name, layer in model.named_modules()
        if name in main_path
    ]
    return [
        {"layer": number, "gradient": norm} for number, norm in enumerate(norms[:-1], 1)
    ]  # without fc


# %%
norms = {"with the short-cut": gradients(res_block), "without": gradients(plain_block)}
display(plot_runs(norms, "gradient", "Gradients before training", x="layer"))
for name, entries in norms.items():
    print(
        f"{name}: the first layer's gradient is"
        f" {entries[0]['gradient'] / entries[-1]['gradient']:.0f} × the last's"
    )

# %% [markdown]
# The axis is logarithmic, and layer 1 is next to the image. Read the figure from right to left, the
# way gradients travel: a curve that falls on its way means vanishing gradients, one that rises
# means *exploding* ones. (The zigzag comes from the three convolutions of a block, which differ in
# shape: compare every third one.) If both rise, which one is steeper? If gradients explode, a
# learning rate that suits the last layers may be too large for the first. Does the network without
# short-cuts train worse?
#
# Only layers of one kind can be compared fairly, and only if each gradient is divided by the size
# of the weights that it would change. Measured that way on the images that the course draws:
# **Gradients explode without the short-cut: that of the first 1×1 convolution is 354 times the last
# one's in relation to its weights, and with the short-cut it's 30 times.**
# <!-- holds: shortcuts_tame_gradients -->

# %%
curves(["baseline", "without short-cut"], "loss", "The short-cut")

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The two losses
from math import log

for name, found in measured("baseline", "without short-cut"):
    ours, without = (
        mean(history[-1]["loss"] for history in found["runs"][variant])
        for variant in ("baseline", "without short-cut")
    )
    verdict = "holds" if without >= 10 * ours else "doesn't hold as stated"
    print(
        f"{name}: loss {without:.2f} without the short-cut, {ours:.2f} with it:"
        f" {without / ours:.1f} ×."
    )
    print(
        f"“At least ten times as large” {verdict} at this budget. Guessing costs ln {classes} ="
        f" {log(classes):.2f}, so for a"
    )
    print(
        "network that learns nothing, the ratio can reach ten only once the other loss is below"
        f" {log(classes) / 10:.2f}."
    )
report("without short-cut", "baseline")

# %% [markdown]
# **Without the short-cut, the network learns nothing in 20 epochs: with each of three seeds, its
# loss ends above that of guessing, 4.38 nats, and it gets at most 1.7% of the held-out images
# right.**
# <!-- holds: without_shortcut_nothing_is_learned -->
#
# A loss above that of guessing means that the network is wrong with some confidence: in training
# mode, batch norm amplifies even meaningless differences (notebook 02).
#
# ## Claim C: the bottleneck saves computing
#
# A bottleneck squeezes the channels with a 1×1 convolution, works on them with a 3×3 one, and
# widens them again. The alternative is two 3×3 convolutions of the full width (`two_conv_block`).
# **Predict:** how many times more weights and multiplications does that take, and how much accuracy
# does it buy?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title A helper: weights and multiplications
import torch
from torch.utils.flop_counter import FlopCounterMode


def cost(model):
    """Weights, and multiplications for one image of 64 × 64 pixels."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 3, 64, 64))
    weights = sum(parameter.numel() for parameter in model.parameters())
    return weights, counter.get_total_flops() // 2  # an addition for each multiplication


# %%
costs = {
    "baseline": cost(get_model(MyModel)),
    "two 3×3 convolutions": cost(get_model(MyModel, block=two_conv_block)),
    "constant width": cost(get_model(ConstantWidth)),
}
for name, (weights, multiplications) in costs.items():
    print(
        f"{weights / 1e6:5.1f} million weights, {multiplications / 1e9:.2f} billion multiplications"
        f"  {name}"
    )

# %%
names = ["baseline", "two 3×3 convolutions"]
curves(names, "heldout_accuracy", "The bottleneck")
report(*reversed(names))
saved = costs["two 3×3 convolutions"][1] / costs["baseline"][1]
print(f"Without the bottleneck, it takes {saved:.1f} times as many multiplications.")

# %% [markdown]
# Multiplications aren't seconds: a processor is better at some layers than at others. So we time a
# training step, roughly.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The seconds of a training step
import time


def seconds_per_step(block, steps=3):
    """The fastest of some training steps without the optimizer, after one to warm up."""
    model = course.new_model(block=block).to(course.device, memory_format=torch.channels_last)
    batch = next(training_batches(course.data.train, course.stage(2), epoch=1, augmented=False))
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        with course.precision.autocast():
            loss = F.cross_entropy(model(batch.images), batch.labels)
        loss.backward()
        model.conv1[0].weight.grad.sum().item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    return min(times[1:])


threads = torch.get_num_threads()
torch.set_num_threads(1)  # so that other programs don't spoil the timings
seconds = [seconds_per_step(block) for block in (res_block, two_conv_block)]
torch.set_num_threads(threads)
print(
    f"{seconds[0]:.3f} s with the bottleneck, {seconds[1]:.3f} s without:"
    f" {seconds[1] / seconds[0]:.1f} × as long."
)

# %% [markdown]
# Is that the factor of the multiplications? It rarely is. Batch norm, ReLU and 1×1 convolutions
# spend much of their time moving numbers rather than multiplying them, and so does a layer whose
# weights don't fit into the processor's cache.
#
# ## Claim D: doubling the channels makes the network better
#
# From `conv2` to `conv5`, the report's network halves the image three times and doubles the
# channels each time, from 128 to 1,024. In `ConstantWidth`, every block ends with 256 channels.
# You've just seen its cost: about as many multiplications, but far fewer weights, since more of the
# work is done on large images. **Predict:** which one is better, and would you have guessed it from
# the number of weights?

# %%
names = ["baseline", "constant width"]
curves(names, "heldout_accuracy", "Doubling the channels")
report(*reversed(names))

# %% [markdown]
# **Claim D doesn't hold at 32 × 32 pixels: the network of constant width is better with each of
# three seeds, by 8.5 to 14.2 points.**
# <!-- holds: constant_width_is_better -->
#
# Do the data sets agree? If they don't, the size of the images may be a reason. On the generated
# ones, which have 32 × 32 pixels here, `conv5` works on a single pixel: around it, its 3×3 windows
# see nothing but padding. On photographs of 64 × 64 pixels, it works on 2 × 2. `ConstantWidth` does
# more of its work on larger pictures. The report's images have 224 × 224 pixels, and there the
# answer may differ again.
#
# ## Your five answers
#
# How many of your five answers were right? Here are the accuracies of the short trainings once
# more. They aren't the whole verdict: for A, add the longer trainings; B is about the loss; C is
# also about multiplications and seconds; and the layers were counted at the start.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The accuracies once more
claims = {
    "A, augmentation": ("augmented", "baseline"),
    "B, the short-cut": ("without short-cut", "baseline"),
    "C, the bottleneck": ("two 3×3 convolutions", "baseline"),
    "D, doubling the channels": ("constant width", "baseline"),
}
for claim, pair in claims.items():
    for name, found in measured(*pair):
        shares, _, verdict = compared(found, *pair)
        print(
            f"{claim} ({name}): “{pair[0]}” {shares[0]:.1f}%, “baseline” {shares[1]:.1f}%:"
            f" {verdict}."
        )

# %% [markdown]
# ## Try it: a claim of your own
#
# A variant is one call. This one asks whether a tenth of the learning rate is better in two epochs;
# change what you like (`lr`, `momentum`, `batch_size`, `weight_decay`, `label_smoothing`,
# `augmented`, …), or give it a `model` of your own. **Predict** first, then run it. (Label
# smoothing and augmentation change what the loss measures: with those, train longer and compare
# `heldout_accuracy`.)

# %%
from course_lib import few_heldout, trial

few, others = course.data.train.take(320), few_heldout(course)
ours = trial(course, few, epochs=2, heldout=others, size=32)
yours = trial(course, few, epochs=2, heldout=others, size=32, lr=0.001)
print(f"Loss after two epochs: {ours[-1]['loss']:.2f}, with your change {yours[-1]['loss']:.2f}.")

# %% [markdown]
# ## Recap
#
# - A claim needs a comparison: one change, equal budget, and a measure fixed beforehand.
# - Without a spread, a difference is a number, not a result. Three seeds are few; one is an
#   anecdote.
# - "It depends" is an answer if you can say on what: the budget, the data, the seed.
#
# Next: if you may choose the recipe freely,
# [how much better can the same network get?](12_a_better_recipe.ipynb)

# %% [markdown]
# *The measurements are made by `make compare`, and on other data by `COURSE_SIZE=64 make compare
# DATA=… PRESET=full`.*
