# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     provenance: []
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 1. Does it overfit five batches?
#
# A model that cannot learn 160 images by heart will not learn 40,000. So the report starts here: five batches, over
# and over.
# It costs seconds and tests the code, the learning rate and the depth at once. *About 80 seconds on two CPU cores.*

# %% cellView="form"
# @title Setup: what is run, and on which data
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

from course_lib import describe, open_bank, open_course

course = open_course(data, preset, drive)
print(describe(course))
bank = open_bank(course)

# %% [markdown]
# ## The loop
#
# This is all there is to training: the forward pass, the loss, the backward pass, the step. Sums stay on the device,
# so that it never has to wait; the last batch may be smaller, so that loss and accuracy are weighed by its size.

# %%
import inspect

from course_lib import train_epoch

print(inspect.getsource(train_epoch))

# %% [markdown]
# ## Five batches
#
# 160 images, 15.7 million weights, learning rate 0.01, momentum 0.9, 32 images a batch. **Before you run it:** after
# how many passes will the model know them by heart? Write a number down.

# %%
from course_lib import MyModel, get_model, keep, plot_history, train

settings = course.settings
five = bank.train.take(5 * settings.batch_size, seed=settings.seed)
model = get_model(MyModel, seed=settings.seed)
history = train(model, five, course.stage(1), augmented=False)
keep(plot_history({1: history}), course.folder / "stage-1.png")

# %%
from course_lib import evaluate, record, table

final = evaluate(model, five, course)
by_heart = next((entry["epoch"] for entry in history if entry["train_accuracy"] == 1), None)
print(
    f"{final.accuracy:.1%} of the {final.images} images in eval mode; the first faultless pass (train mode): {by_heart}"
)
print(table(record(course, bank, 1, history, {"train_plain": final})))

# %% [markdown]
# The loop, the loss and the labels work together: the model *can* learn. Nothing is said yet about images it has not
# seen.
#
# ## Which learning rate, which batch size?
#
# The report chose 0.01 and 32 on such a small sample. A few passes with other values, each from the same first
# weights, are set beside the first passes of the run above.
# **Predict:** what happens at ten times the learning rate, and what at a tenth?

# %%
import torch

from course_lib import Totals, measured_once, plot_sweep, training_batches


def few_passes(model, course):
    """Accuracy (train mode, running) of a few passes over the five batches."""
    model.to(course.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=course.settings.lr, momentum=course.settings.momentum)
    scaler, curve = course.precision.scaler(), []
    for epoch in range(1, settings.sweep_passes + 1):
        totals = Totals(course.device)
        batches = training_batches(five, course, stage_number=1, epoch=epoch, augmented=False)
        train_epoch(model, batches, optimizer, scaler, course.precision, totals)
        curve.append(totals.accuracy)
    return curve


def new_model():
    return get_model(MyModel, seed=settings.seed)


above = [entry["train_accuracy"] for entry in history[: settings.sweep_passes]]  # lr 0.01, 32 images, all layers
rates = {
    "lr 0.1": lambda: few_passes(new_model(), course.with_settings(lr=0.1)),
    "lr 0.01": lambda: above,
    "lr 0.001": lambda: few_passes(new_model(), course.with_settings(lr=0.001)),
}
curves = measured_once(course, "sweep-lr", rates)
keep(plot_sweep(curves, "Learning rate (batches of 32)"), course.folder / "sweep-lr.png")

# %%
sizes = {
    "16 images": lambda: few_passes(new_model(), course.with_settings(batch_size=16)),
    "32 images": lambda: above,
    "80 images": lambda: few_passes(new_model(), course.with_settings(batch_size=80)),
}
curves = measured_once(course, "sweep-batch", sizes)
keep(plot_sweep(curves, "Batch size (learning rate 0.01)"), course.folder / "sweep-batch.png")

# %% [markdown]
# ## If it does not overfit: add layers
#
# The report grew its network until it overfitted. Here the same network, cut off after two, three, four and all five
# of its groups of layers. **Predict:** which depth is ahead after a few passes?

# %%
from torch import nn


def first_groups(count):
    """The first `count` of the model's five groups of layers, with a pool and a classifier behind them."""
    whole = new_model()
    groups = [whole.conv1, whole.conv2, whole.conv3, whole.conv4, whole.conv5][:count]
    depth = (64, 128, 256, 512, 1024)[count - 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return nn.Sequential(*groups, whole.pool, nn.Flatten(), nn.Linear(depth, 80))


depths = {f"conv1–conv{count}": lambda count=count: few_passes(first_groups(count), course) for count in (2, 3, 4)}
depths["conv1–conv5"] = lambda: above
curves = measured_once(course, "sweep-depth", depths)
keep(plot_sweep(curves, "Depth (learning rate 0.01, batches of 32)"), course.folder / "sweep-depth.png")

# %% [markdown]
# **Measured**, on the generated data: in these few passes ten times the learning rate learns nothing, and a tenth of
# it is slower. The shallower networks are ahead at first; the whole one, followed to the end above, gets there too.
# The check says that a network *can* learn, not that it is the best one: depth pays where there is more to tell
# apart.

# %% [markdown]
# ## To keep, or to start over
#
# Take the `#` off a line and run the cell.

# %%
# course.stage(1).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.leave_drive()  # wait for Google Drive and unmount it, before you close the runtime
