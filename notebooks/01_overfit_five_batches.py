# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     provenance: []
#   jupytext:
#     cell_metadata_filter: slideshow,tags,cellView,-all
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
# # 1. Can the model overfit five batches?
#
# A model that can't memorise 160 images won't learn 40,000. So the report starts here: five batches, over and over.
# That takes seconds, and it tests the code, the learning rate and the depth at once.

# %% cellView="form"
# @title Setup: the data, and how much of it
data = "shapes"  # @param ["shapes", "cifar100-80", "tiny-imagenet-80"] {allow-input: true}
preset = "lecture"  # @param ["smoke", "lecture", "full"]
drive = False  # @param {type: "boolean"}

import subprocess
import sys
from pathlib import Path

if "google.colab" in sys.modules and not Path("course").exists():  # Colab has all packages, but not the course
    repository = "https://github.com/OWNER/REPOSITORY.git"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", repository, "course"], check=True)
if "google.colab" in sys.modules:
    sys.path.insert(0, "course")

from course_lib import open_course

course = open_course(data, preset, drive)
print(course.describe())

# %% [markdown]
# ## The model
#
# The report stacks 13 *residual bottleneck blocks*. Each one computes y = relu(F(x) + S(x)): F is three convolutions,
# and S, the short-cut, is the identity unless the shapes differ. This is the whole block:

# %%
import inspect

from course_lib import res_block

print(inspect.getsource(res_block))

# %% [markdown]
# ## The loop
#
# And this is all of training: forward pass, loss, backward pass, step, count. `run` takes care of everything that isn't
# learning: it resumes from the newest checkpoint, hands out the batches, saves every two minutes, and stops cleanly
# between two steps when you press ■. So if the runtime dies in the middle of an epoch, you run the cell again, and it
# continues in the same epoch, from the last checkpoint.

# %%
from course_lib import train

print(inspect.getsource(train))

# %% [markdown]
# ## Five batches
#
# 160 images, 15.7 million weights, learning rate 0.01, momentum 0.9, 32 images per batch. **Predict:** after how many
# passes will the model know all of them by heart? Write your number down.

# %%
from course_lib import MyModel, get_model, keep, plot_history

settings = course.settings
five = course.data.train.take(5 * settings.batch_size, seed=settings.seed)
model = get_model(MyModel, seed=settings.seed)
history = train(model, five, course.stage(1), augmented=False)
keep(plot_history({1: history}), course.folder / "stage-1.png")

# %%
from course_lib import evaluate, record, table

final = evaluate(model, five, course)
faultless = next((entry["epoch"] for entry in history if entry["train_accuracy"] == 1), None)
print(f"{final.accuracy:.1%} of the {final.images} images in eval mode. First pass without a mistake: {faultless}")
print(table(record(course.stage(1), model, history, {"train_plain": final})))

# %% [markdown]
# The model, the loss and the labels work together: the model *can* learn. That says nothing yet about images it has
# never seen.
#
# ## Which learning rate? Which batch size?
#
# The report chose 0.01 and 32 on such a small sample. Here are the first few passes with other values, each from the
# same initial weights. **Predict:** what happens at ten times the learning rate? And at a tenth of it?

# %%
from course_lib import plot_sweep, trial

passes = min(4, course.epochs[1])


def accuracies(history):
    return [entry["train_accuracy"] for entry in history[:passes]]


curves = {f"lr {lr}": accuracies(trial(course, five, epochs=passes, lr=lr)) for lr in (0.1, 0.01, 0.001)}
keep(plot_sweep(curves, "Learning rate (batches of 32)"), course.folder / "sweep-lr.png")

# %%
curves = {f"{n} images": accuracies(trial(course, five, epochs=passes, batch_size=n)) for n in (16, 32, 80)}
keep(plot_sweep(curves, "Batch size (learning rate 0.01)"), course.folder / "sweep-batch.png")

# %% [markdown]
# ## Would fewer layers do?
#
# The report added layers until the network overfitted. Here is the same network, cut off after two, three, four and all
# five of its groups of layers. **Predict:** which depth is ahead after a few passes?

# %%
import torch
from torch import nn


def first_groups(count):
    """The first `count` of the model's five groups of layers, followed by pooling and a classifier."""
    whole = get_model(MyModel, seed=settings.seed)
    groups = [whole.conv1, whole.conv2, whole.conv3, whole.conv4, whole.conv5][:count]
    depth = (64, 128, 256, 512, 1024)[count - 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return nn.Sequential(*groups, whole.pool, nn.Flatten(), nn.Linear(depth, 80))


curves = {
    f"conv1–conv{count}": accuracies(trial(course, five, epochs=passes, model=first_groups(count)))
    for count in (2, 3, 4, 5)
}
keep(plot_sweep(curves, "Depth (learning rate 0.01, batches of 32)"), course.folder / "sweep-depth.png")

# %%
best = max(curves, key=lambda label: curves[label][-1])
print(f"After {passes} passes, {best} is ahead with {curves[best][-1]:.1%} (running accuracy on the five batches).")

# %% [markdown]
# This check tells you that a network *can* learn, not that it's the best one. A few passes favour small networks;
# depth pays when there is more to tell apart.

# %% [markdown]
# ## Starting over, leaving Drive
#
# Uncomment a line, run the cell, and comment it out again.

# %%
# course.stage(1).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.leave_drive()  # finish copying to Google Drive and unmount it, before you close the runtime
