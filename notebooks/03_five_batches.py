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
# # 3. Can the network memorise five batches?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *15 minutes to present, 45 to work through; two minutes of computing on two CPU cores with bf16,
# about six times as long without. You'll overfit a network on purpose, compare learning rates,
# batch sizes and depths, and learn what such a small experiment can't tell you.*
#
# A network that can't memorise 160 images won't learn 40,000. So the report starts here: five
# batches, over and over. The first run takes about a minute, and it tests the loss, the gradient,
# the step, the learning rate and the network all at once. **The question: does the network learn,
# and which settings make it learn fastest?**
#
# We've also trained with five **seeds**, the numbers that all random choices follow from. Below
# each measurement, a line that you can click says what held for all five. Open it after you've seen
# your own result, which may be a little different: other processors round differently.
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
# ## Five batches, over and over
#
# 160 images (all of them, if your data has fewer), learning rate 0.01, momentum 0.9, batches of 32.
# **Predict:** after how many epochs will the network get 95% of them right while training? Write
# your number down, then run the cell and watch the curve. (Dotted: guessing. Wide and grey, if
# there's one for this data: a run stored with the course.)

# %%
from course_lib import keep, live_curve, plot_history, train

settings, stage = course.settings, course.stage(1)
five = course.data.train.take(5 * settings.batch_size, seed=settings.seed)
model = course.new_model()
history = train(model, five, stage, augmented=False, live=live_curve(stage))

# %% [markdown]
# `evaluate` measures the finished network in eval mode, and `record` writes the result into the
# run's folder.

# %%
from course_lib import evaluate, record

keep(plot_history({1: history}, data=course.data), course.folder / "stage-1.png")
final = evaluate(model, five, course)
results = record(stage, model, history, {"train_plain": final})

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What came out
import math

first = next((entry["epoch"] for entry in history if entry["train_accuracy"] >= 0.95), None)
print(f"First epoch with 95% right: {first or 'none so far'}. How close was your prediction?")
print(
    f"In the end, in eval mode, the network gets {final.accuracy:.1%} of the {final.images} images"
    " right."
)
classes = len(course.data.classes)
print(f"Guessing costs ln {classes} = {math.log(classes):.2f}.")

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **This network can memorise five batches: with each of five seeds, it gets at least 96.9% of
# the 160 images right.**
# <!-- holds: five_batches_are_memorised -->
#
# </details>
#
# If the loss falls, the pieces work together: the network *can* learn. If it had stayed near the
# loss of guessing, you'd look for a bug now, before spending hours on 40,000 images: images that
# get other labels in every epoch, a softmax before the loss, a forgotten `optimizer.step()`, or a
# learning rate that's off by a factor of 100.
#
# ## Which learning rate?
#
# The report chose 0.01 on five batches like these. `trial` trains a new network briefly, with
# another setting; each run below starts from the same weights. If the losses differ a lot, their
# axis is logarithmic, because the interesting part is near zero. What counts is the mean of the
# last three epochs: the loss jumps from epoch to epoch, so a single one may be lucky. **Predict:**
# what happens if the learning rate is ten times as large? And if it's a tenth?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title A helper: how low the loss of a run ends
from statistics import mean


def late(run):
    """The mean loss of a run's last three epochs: a single one may be lucky."""
    return mean(entry["loss"] for entry in run[-3:])


# %%
from course_lib import plot_runs, trial

epochs = min(20, len(history))
runs = {
    "lr 0.1": trial(course, five, epochs=epochs, lr=0.1),
    "lr 0.01": history[:epochs],  # ours
    "lr 0.001": trial(course, five, epochs=epochs, lr=0.001),
}
figure = plot_runs(runs, "loss", "Three learning rates", classes=classes)
keep(figure, course.folder / "sweep-lr.png")

# %%
for label, run in runs.items():
    right = mean(entry["train_accuracy"] for entry in run[-3:])
    print(
        f"{label}: loss {late(run):.2f} and {right:.0%} right while training, in the last three of"
        f" {epochs} epochs"
    )

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **Ten times the learning rate hardly learns: with each of five seeds, its loss after 20 epochs is
# at least 3.24; with 0.01 and with a tenth of that, it's at most 0.97.**
# <!-- holds: a_large_rate_hardly_learns -->
#
# </details>
#
# Typically, a learning rate that's too large overshoots: the loss falls late, and in jumps. One
# that's too small is safe but slow, though a tenth of 0.01 may not be too small yet. There's
# nothing special about the report's 0.01; it's what worked on five batches of its data. Do loss and
# accuracy agree on the best rate? They needn't: a few images that are badly wrong cost more than
# many that are barely wrong.
#
# ## Which batch size?
#
# What's a fair comparison: equal epochs, equal steps or equal time? Each answers a different
# question. We take equal *steps*. **Predict:** after the same number of steps, which batch size has
# the lowest loss, and which takes the most time?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title A helper: as many steps with any batch size
from experiments.sweeps import steps_per_epoch

all_steps = epochs * steps_per_epoch(len(five), 32)  # of our run


def with_equal_steps(size):
    """The history of a run with batches of this size, with the number of steps at each epoch."""
    steps = steps_per_epoch(len(five), size)
    if size == 32:
        run = history[:epochs]
    else:
        run = trial(course, five, epochs=max(1, all_steps // steps), batch_size=size)
    return [entry | {"step": entry["epoch"] * steps} for entry in run]


# %%
runs = {}
for size in (16, 32, 64):
    if size // 2 < len(five):  # otherwise, the size before holds all the images already
        runs[f"batches of {min(size, len(five))}"] = with_equal_steps(size)
figure = plot_runs(runs, "loss", "Equal numbers of steps", x="step", classes=classes)
keep(figure, course.folder / "sweep-batch.png")

# %%
for label, run in runs.items():
    images = len(run) * len(five)
    print(
        f"{label}: loss {late(run):.2f} in the last three epochs; {run[-1]['step']} steps on"
        f" {images:,} images in all"
    )

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **After the same number of steps, larger batches have memorised more: with each of five seeds, the
# loss is at most 0.11 with batches of 64, and at least 2.91 with batches of 16.**
# <!-- holds: larger_batches_memorise_more_per_step -->
#
# </details>
#
# Larger batches give less noisy gradients, but the network has also seen each image more often;
# this figure can't tell the two apart. (And the last three epochs are more steps if batches are
# smaller.) Each step takes longer, too. Per second, the ranking may change again, because small
# batches leave a GPU partly idle.
#
# ## Would fewer layers do?
#
# The report added layers until the network overfitted. Here's the same network, cut off after its
# second, third or fourth group, if `conv1` counts as the first, and followed by a new linear layer.
# **Predict:** which depth memorises fastest?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title A helper: the first groups of the network
import torch
from torch import nn


def first_groups(count):
    """The first `count` parts of conv1 … conv5, followed by pooling and a linear layer."""
    whole = course.new_model()
    groups = [whole.conv1, whole.conv2, whole.conv3, whole.conv4, whole.conv5][:count]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        channels = (64, 128, 256, 512, 1024)[count - 1]
        return nn.Sequential(*groups, whole.pool, nn.Flatten(), nn.Linear(channels, classes))


# %%
runs = {}
for n in (2, 3, 4):
    runs[f"conv1–conv{n}"] = trial(course, five, epochs=epochs, model=first_groups(n))
runs["conv1–conv5"] = history[:epochs]
figure = plot_runs(runs, "loss", "Which depth memorises fastest?", classes=classes)
keep(figure, course.folder / "sweep-depth.png")

# %%
for label, run in runs.items():
    print(f"{label}: loss {late(run):.2f} in the last three of {epochs} epochs")

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **Fewer layers memorise just as fast: after 20 epochs, the network that's cut off after its third
# group has the lower loss in 4 of five seeds.**
# <!-- holds: fewer_layers_memorise_as_fast -->
#
# (Lower than the whole network's, that is.)
#
# </details>
#
# But that's memorising a few images quickly. To find out whether depth pays off, you need more
# images, and images that the network hasn't seen.

# %% [markdown]
# ## Exercise: take the short-cut away
#
# The report says that without its `res_block`, the loss was at least ten times as large. We take
# that to mean: without the short-cut. Write a block without one (change only the addition; keep the
# last ReLU), and predict: after 30 epochs, each a single step with all of these images at 32 × 32
# pixels, what will the loss be? (You've seen above what guessing costs.) The check trains the
# network once with your block and once with ours, so that you can compare. That takes about a
# minute.
#
# <details><summary>Hint</summary>
#
# `class my_block(res_block)` inherits the layers `conv1`, `conv2`, `conv3`, `shortway` and `relu`,
# so you only need to write `forward`.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks, res_block


class my_block(res_block):
    def forward(self, x):
        raise checks.Todo


my_prediction = ...

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# import math
#
# from course_lib import checks, res_block
#
#
# class my_block(res_block):
#     def forward(self, x):
#         return self.relu(self.conv3(self.conv2(self.conv1(x))))
#
#
# my_prediction = math.log(len(course.data.classes))  # no better than a guess
# ```
#
# </details>

# %% tags=["check"]
passed = checks.no_shortcut(my_block, my_prediction, course)

# %% [markdown]
# ## What five batches can't tell you
#
# - **Whether the labels are right.** Wrong labels are memorised, too.
# - **How well the network does on new images.** Memorising 160 images says nothing about the 161st.
# - **Which settings suit the real run.** The best learning rate for 20 epochs on 160 images
#   needn't be the best for 30 epochs over 40,000.
# - **How much is luck.** Each curve is one run with one seed. With another seed, curves that are
#   close may swap places. To try that, run `%env COURSE_SEED=1` in a new cell at the top, and then
#   all the others again.
#
# What they do tell you: nothing is broken, and the learning rate has the right order of magnitude.
#
# ## Five questions
#
# 1. What does it show if a network memorises five batches, and what does it show if it can't?
# 2. Why is that no evidence that the network recognises anything?
# 3. Two learning rates end with losses of 0.30 and 0.28 after 20 epochs, with one seed each. Which
#    one is better?
# 4. We compared batch sizes after equally many steps. Which of them does that favour, and which
#    would equally many epochs have favoured?
# 5. Why do we average the last three epochs instead of taking the last one?
#
# <details><summary>Answers</summary>
#
# 1. If it can, the loss, the gradients and the step fit together. If it can't, something is broken,
#    or a setting is far off: look for it before you train on 40,000 images.
# 2. It has only been tested on images that it was trained on. It could tell them apart by any
#    detail, and it would memorise wrong labels just as well.
# 3. You can't tell: with other seeds, they might swap places.
# 4. After equal steps, larger batches have seen more images; after equal epochs, smaller ones would
#    have taken more steps. Each is one fair comparison of several, so say which one you've made.
# 5. At a constant learning rate, the loss jumps from epoch to epoch, so a single one may be lucky.
#
# </details>
#
# ## Recap
#
# You've watched a network memorise five batches, compared learning rates, batch sizes and depths,
# and learned how far you can trust such comparisons.
#
# Next: [all training images](04_without_augmentation.ipynb).

# %% [markdown]
# *To train this stage from scratch, run `course.stage(1).start_over()`. Before you close a Colab
# runtime that copies to Drive, run `course.leave_drive()`.*
