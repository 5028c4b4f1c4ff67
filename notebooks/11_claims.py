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
# It changes one thing and keeps everything else: the same images, and the same number of epochs. A
# network that was lucky once proves nothing, so `make compare` trains each variant with five seeds
# (the table below each figure says how many there are so far). All of it takes hours on a CPU, so
# it was measured once and stored. Tick the box to do it again: finished variants are kept, and a
# second run reuses them.

# %% cellView="form"
# @title Use the stored measurements, or measure again
measure_again = False  # @param {type: "boolean"}

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What is stored, or measured
from experiments import compare
from experiments.evidence import CLAIMED, Evidence, stored_evidence
from experiments.stored import read_stored

if measure_again:
    everything = [Evidence(course.data.name, compare.compare_variants(course))]
else:
    everything = stored_evidence()
for evidence in everything:
    print(evidence)
print("Each accuracy is measured on images that weren't trained on.")

# %% [markdown]
# When is a variant better? Two kinds of luck could explain a difference. Train a network again with
# another **seed**, and its accuracy changes. Measure it on other **images**, and it changes, too;
# as all seeds are measured on the same ones, more seeds don't help against that. So we give every
# difference an interval that is wide enough for both, and call a variant better or worse only if
# zero lies outside. And because we'll look at eight differences, each interval is wider than it'd
# have to be for one: if none of the eight were real, we'd still call one of them "better" or
# "worse" in at most 5% of cases.
#
# Here's what luck alone does. In this simulation, all nine networks are equally good: each is right
# about the same images with the same probabilities.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Eight differences that are nothing but luck
import numpy as np
from IPython.display import display

from course_lib.differences import plot_verdicts

random = np.random.default_rng(2)
ease = random.normal(0, 1.2, size=640)  # of each image
equally_good = {}
for number in range(9):
    of_seeds = random.normal(0, 0.25, size=(5, 1))  # how well a training went
    probabilities = 1 / (1 + np.exp(-(ease + of_seeds)))
    equally_good[f"network {number}"] = random.random((5, 640)) < probabilities
display(plot_verdicts(equally_good, "network 0", "Nine networks, equally good"))
baseline = equally_good.pop("network 0").mean(1)
always = [
    name
    for name, right in equally_good.items()
    if (right.mean(1) > baseline).all() or (right.mean(1) < baseline).all()
]
print(f"Seed by seed, ahead of network 0 in all five, or behind: {', '.join(always) or 'none'}.")

# %% [markdown]
# A grey line is one seed's accuracy, compared with the mean of network 0. Every mark lies on one
# side or the other, some by several points, and every interval includes zero. (“It's better with
# every seed” would be a weaker rule: it's fooled more often.)
#
# In the figures below, verdicts are about the network after its last epoch; an interval without an
# end continues beyond the figure. At a constant learning rate, accuracy jumps from epoch to epoch,
# so the tables average the last three: mean ± standard deviation over the seeds. For photographs
# (`tiny80`), only one seed is stored, so there's a table without verdicts: an accuracy ± two
# standard errors, √(p(1 − p)/n) for *n* images. It says nothing about the luck of a seed. These
# 2,000 are *training* images that were put aside; notebook 12 says why.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Helpers: show verdicts as a figure and a table, and a verdict on a claim
from course_lib.tables import verdict_card

judged = next(evidence for evidence in everything if evidence.can_be_judged)
verdicts = judged.verdicts(CLAIMED, "baseline")


def show_verdicts(variants, title):
    """For each data set: a figure of the verdicts if it can be judged, and a table."""
    for evidence in everything:
        if evidence.can_be_judged:
            right = evidence.right(CLAIMED)
            display(plot_verdicts(right, "baseline", f"{title} ({evidence.run})", variants))
        else:
            print(f"{evidence.run}, one seed each:")
        display(evidence.table(["baseline", *variants]))


def show_card(claim, verdict, *reasons):
    """Show the verdict on a claim, and keep it for the end."""
    cards[claim] = verdict
    display(verdict_card(claim, verdict, reasons))


cards = {}

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

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The verdict
show_card(
    "The network has over 50 layers",
    "holds" if len(main_path) > 50 else "doesn't hold",
    f"{len(main_path)} layers have weights, the way the field counts them.",
    f"If batch norm counts as a layer of its own, there are {len(main_path) + len(norms)}.",
)

# %% [markdown]
# ## Claim A: augmentation works against overfitting
#
# The report augments with three things at once: a random crop of 8 to 100% of the area, horizontal
# and vertical flips, and a rotation by up to 90° either way. After stage 2, which saw no augmented
# images, it measured 50% on augmented training images. **Predict:** which of the three confuses the
# network of stage 2 most?

# %%
for evidence in everything:
    print(f"{evidence.run}, stage 2, on training images, in eval mode:")
    for transform, accuracy in evidence.found["stage_2"].items():
        print(f"{accuracy:7.1%}  {transform}")

# %% [markdown]
# (On the generated images, this is the network of an earlier run, so “plain” may differ a little
# from notebook 04.) Careful: these are training images, so a drop can have two reasons, as in
# notebook 04. A flipped picture isn't the one that the network has memorised (for shapes, which
# come at any angle, that's the only reason), and a close-up is also unlike anything it has seen.
# Now let networks train with the transforms. All start from scratch: the baseline, three that get
# one of the transforms, one that gets all three, and one that gets all three on half of its images.
# **Predict:** which of these six is best on held-out images after so few epochs?

# %%
transforms = ["augmented", "crop alone", "flips alone", "rotation alone"]
show_verdicts([*transforms, "half plain, half augmented"], "Augmentation from scratch")

# %% [markdown]
# A running accuracy is lower than an evaluation early in training (notebook 04), so it can hide a
# small gap to the held-out images. On the generated images, such runs do have a gap in eval mode
# ([benchmarks](../benchmarks/README.md#several-processes) has three seeds), but a far smaller one
# than after stage 2: there's little overfitting to cure yet, and augmentation makes learning
# harder. Does longer training change the verdict? `make seeds` trained the networks of notebook 05
# on larger images and for more epochs (so two things differ from the runs above):

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Longer training, from the stored seeds, and the verdict
from statistics import mean

seeds = [*read_stored("seeds.json")["shapes-lecture"]["seeds"].values()]
epochs = len(seeds[0]["augmented from scratch"]["epochs"])
gains = []
for run in seeds:
    augmented = run["augmented from scratch"]["final"]["heldout_plain"]
    plain = run["more plain epochs"]["final"]["heldout_plain"]
    gains.append(100 * (augmented - plain))
each_gain = ", ".join(f"{gain:+.0f}" for gain in gains)
show_card(
    "A: augmentation works against overfitting",
    "holds, if you train long enough" if min(gains) > 0 else "depends on the seed",
    f"From scratch, after {judged.epochs} epochs: {verdicts['augmented']}.",
    f"After {epochs} epochs on images of 64 × 64 pixels: {each_gain} points with five seeds.",
)

# %% [markdown]
# On the photographs, that would take hours, so controls stop after ten epochs of all 40,000. “More
# plain epochs” trains the network of stage 2 further, “augmented from scratch” a new one. Stage 3
# has a measurement at the same point. It has 30 plain epochs behind it, and so has “more plain
# epochs”; “augmented from scratch” has none.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The stored controls on photographs
for evidence in everything:
    for control, outcome in evidence.found.get("controls", {}).items():
        *_, reached = (entry["heldout_accuracy"] for entry in outcome["epochs"])
        stage_3 = [
            entry["heldout_accuracy"]
            for entry in read_stored("results.json")[evidence.run]["stages"]["3"]["epochs"]
        ]
        after = len(outcome["epochs"])
        print(
            f"{evidence.run}, {after} epochs: {reached:.1%} held out with {control},"
            f" {stage_3[after - 1]:.1%} in stage 3. After {len(stage_3)}, stage 3 has"
            f" {stage_3[-1]:.1%}."
        )

# %% [markdown]
# **Claim A holds if you train long enough: after 20 epochs at 32 × 32 pixels, augmentation is 5.5
# points behind (0.7 to 10.3); after 74 epochs at 64 × 64, it's ahead by 30.3 to 39.5 points with
# each of five seeds.**
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
# @title A helper: the gradients of the 1×1 convolutions that begin a block
from course_lib import plot_runs
from experiments.sweeps import relative_gradients


def gradients(block):
    """The gradient of each block's first convolution, divided by the norm of its weights."""
    ratios = relative_gradients(course, block)["1×1, conv1"]
    return [{"block": number, "gradient": ratio} for number, ratio in enumerate(ratios, 1)]


# %%
norms = {"with the short-cut": gradients(res_block), "without": gradients(plain_block)}
display(plot_runs(norms, "gradient", "Gradients before training", x="block"))
for name, entries in norms.items():
    print(
        f"{name}: in the first block, the gradient is"
        f" {entries[0]['gradient'] / entries[-1]['gradient']:.0f} × the last block's"
    )

# %% [markdown]
# The axis is logarithmic, and block 1 is next to the image. Each block begins with a 1×1
# convolution; only layers of one kind can be compared fairly, and only if each gradient is divided
# by the size of the weights that it would change. Read the figure from right to left, the way
# gradients travel: a curve that falls on its way means vanishing gradients, one that rises means
# *exploding* ones. If both rise, which one is steeper? If gradients explode, a learning rate that
# suits the last layers may be too large for the first. Does the network without short-cuts train
# worse?
#
# **Gradients explode without the short-cut: that of the first 1×1 convolution is 354 times the last
# one's in relation to its weights, and with the short-cut it's 30 times.**
# <!-- holds: shortcuts_tame_gradients -->

# %%
for evidence in everything:
    runs = {name: evidence.histories(name) for name in ("baseline", "without short-cut")}
    title = f"The short-cut ({evidence.run})"
    display(plot_runs(runs, "loss", title, classes=len(course.data.classes)))
show_verdicts(["without short-cut"], "The short-cut")

# %% [markdown]
# Guessing costs 4.38 nats, so one loss can be ten times as large as another only once the other is
# below about 0.4. After those 20 epochs, it's still 2. In stage 2, it ends near 0.1, after 44
# epochs at 64 × 64 pixels. `make sweeps` trained the network without its short-cut for as long,
# with three seeds, and once with each of two smaller learning rates. **Predict:** how many times
# as large is its loss in the end? Can a smaller learning rate rescue it?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title All 44 epochs, from the stored runs
shortcut = read_stored("sweeps.json")["shapes-lecture"]["shortcut"]
losses = {
    "with the short-cut": [run["2"]["epochs"] for run in seeds],
    "without": shortcut["0.01"],
    "without, learning rate 0.003": shortcut["0.003"],
    "without, learning rate 0.001": shortcut["0.001"],
}
all_epochs = len(shortcut["0.01"][0])
title = f"The short-cut (shapes-lecture, {all_epochs} epochs)"
display(plot_runs(losses, "loss", title, classes=len(course.data.classes)))


def mean_loss(label, epoch):
    """The loss after `epoch` epochs (averaged over that epoch and the two before) of all seeds."""
    last_three = [history[max(0, epoch - 3) : epoch] for history in losses[label]]
    return mean(entry["loss"] for entries in last_three for entry in entries)


ratios = []
claimed = []
for epoch in range(1, all_epochs + 1):
    ratio = mean_loss("without", epoch) / mean_loss("with the short-cut", epoch)
    ratios.append({"epoch": epoch, "ratio": ratio})
    claimed.append({"epoch": epoch, "ratio": 10})
lines = {"without / with the short-cut": ratios, "claimed": claimed}
display(plot_runs(lines, "ratio", "How many times as large is the loss?"))

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The verdict
final_losses = {}
for name in ("baseline", "without short-cut"):
    entries = [entry for history in judged.histories(name) for entry in history[-3:]]
    final_losses[name] = mean(entry["loss"] for entry in entries)
early = final_losses["without short-cut"] / final_losses["baseline"]
late = ratios[-1]["ratio"]
show_card(
    "B: without the short-cut, the loss is at least ten times as large",
    "holds, if you train long enough" if late >= 10 else "doesn't hold as stated",
    f"After {judged.epochs} epochs at 32 × 32 pixels, it's {final_losses['without short-cut']:.2f}"
    f" without, {final_losses['baseline']:.2f} with it: {early:.1f} times as large.",
    f"After {all_epochs} at 64 × 64, it's {mean_loss('without', all_epochs):.2f} without,"
    f" {mean_loss('with the short-cut', all_epochs):.2f} with it: {late:.0f} times as large.",
    f"Without it, on held-out images, after {judged.epochs}: {verdicts['without short-cut']}.",
)

# %% [markdown]
# **Without the short-cut, the network learns nothing in 20 epochs: with each of five seeds, its
# loss ends above that of guessing, 4.38 nats, and it gets at most 2.0% of the held-out images
# right.**
# <!-- holds: without_shortcut_nothing_is_learned -->
#
# A loss above that of guessing means that the network is wrong with some confidence: in training
# mode, batch norm amplifies even meaningless differences (notebook 02).
#
# **Claim B holds at stage 2's budget: after 44 epochs at 64 × 64 pixels, the loss is 2.98 without
# the short-cut and 0.09 with it, so it's 35 times as large. A smaller learning rate helps, but it's
# no rescue: with 0.001, the loss is 1.96.**
# <!-- holds: the_loss_ends_ten_times_as_large -->
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
show_verdicts(["two 3×3 convolutions"], "The bottleneck")

# %% [markdown]
# Multiplications aren't seconds: a processor is better at some layers than at others. So we time a
# training step, roughly.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The seconds of a training step, and the verdict
import time

import torch.nn.functional as F

from course_lib import training_batches


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
with_bottleneck = seconds_per_step(res_block)
without_bottleneck = seconds_per_step(two_conv_block)
torch.set_num_threads(threads)
saved = costs["two 3×3 convolutions"][1] / costs["baseline"][1]
show_card(
    "C: the bottleneck saves computing",
    "holds" if saved > 1 and without_bottleneck > with_bottleneck else "doesn't hold here",
    f"Without it, a step takes {saved:.1f} times as many multiplications.",
    f"It took {without_bottleneck:.3f} s instead of {with_bottleneck:.3f} s on this computer:"
    f" {without_bottleneck / with_bottleneck:.1f} times as long.",
    f"What that buys, on held-out images: {verdicts['two 3×3 convolutions']}.",
)

# %% [markdown]
# **Whether the bottleneck costs accuracy at 32 × 32 pixels, five seeds can't tell: without it, the
# network is 1.9 points ahead, but the interval goes from −8.8 to +12.5.**
# <!-- holds: the_bottleneck_is_not_clearly_worse -->
#
# Is the factor of the seconds that of the multiplications? It rarely is. Batch norm, ReLU and 1×1
# convolutions spend much of their time moving numbers rather than multiplying them, and so does a
# layer whose weights don't fit into the processor's cache.
#
# ## Claim D: doubling the channels makes the network better
#
# From `conv2` to `conv5`, the report's network halves the image three times and doubles the
# channels each time, from 128 to 1,024. In `ConstantWidth`, every block ends with 256 channels.
# You've just seen its cost: about as many multiplications, but far fewer weights, since more of the
# work is done on large images. **Predict:** which one is better, and would you have guessed it from
# the number of weights?

# %%
show_verdicts(["constant width"], "A constant width instead of doubling")

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The verdict
words = {
    "better": "doesn't hold on these images",
    "worse": "holds",
    "no clear difference": "can't be told: no clear difference",
}
show_card(
    "D: doubling the channels makes the network better",
    words[verdicts["constant width"].verdict],
    f"A constant width, compared with doubling: {verdicts['constant width']}.",
    f"It has {costs['constant width'][0] / costs['baseline'][0]:.0%} of the weights.",
)

# %% [markdown]
# **Whether claim D holds at 32 × 32 pixels, five seeds can't tell: the network of constant width is
# 7.6 points ahead, but the interval goes from −1.1 to +16.2.**
# <!-- holds: constant_width_is_not_clearly_better -->
#
# Do the data sets agree? If they don't, the size of the images may be a reason. On the generated
# ones, which have 32 × 32 pixels here, `conv5` works on a single pixel: around it, its 3×3 windows
# see nothing but padding. On photographs of 64 × 64 pixels, it works on 2 × 2. `ConstantWidth` does
# more of its work on larger pictures. The report's images have 224 × 224 pixels, and there the
# answer may differ again.
#
# ## Your five answers
#
# How many of your five answers were right?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title All verdicts
from course_lib import markdown_table

display(markdown_table([["claim", "verdict"], *cards.items()]))
variants = [name for name in CLAIMED if name != "baseline"]
display(plot_verdicts(judged.right(CLAIMED), "baseline", f"All variants ({judged.run})", variants))

# %% [markdown]
# ## Try it: a claim of your own
#
# A variant is one call. This one asks whether a tenth of the learning rate is better after two
# epochs, with three seeds and an interval; change what you like (`lr`, `momentum`, `batch_size`,
# `weight_decay`, `augmented`, …), or give it a `model` of your own. **Predict** first, then run it.

# %%
from course_lib import few_heldout, judge, trial

few, others = course.data.train.take(320), few_heldout(course)
options = {"epochs": 2, "heldout": others, "size": 32}
ours = [trial(course, few, seed=seed, **options) for seed in range(3)]
yours = [trial(course, few, seed=seed, lr=0.001, **options) for seed in range(3)]

# %%
right = [[history[-1]["heldout_right"] for history in runs] for runs in (yours, ours)]
print(f"Your change, on {len(others):,} held-out images: {judge(*right)}")

# %% [markdown]
# ## Recap
#
# - A claim needs a comparison: one change, equal budget, and a measure fixed beforehand.
# - A difference without an interval is a number, not a result. The interval has to allow for the
#   seeds *and* for the images, and for how many differences you look at.
# - “No clear difference” doesn't mean “equal”: say how large a difference would have been found.
# - "It depends" is an answer if you can say on what: the budget, the data, the seed.
#
# Next: if you may choose the recipe freely,
# [how much better can the same network get?](12_a_better_recipe.ipynb)

# %% [markdown]
# *The measurements are made by `make compare`, and on other data by `COURSE_SIZE=64 make compare
# DATA=… PRESET=full`; those of claim B's 44 epochs and of gradients by `make sweeps`.*
