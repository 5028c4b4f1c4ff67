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
# # 5. Does augmentation make the network generalise?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *20 minutes to present, an hour to work through; two minutes of computing on two CPU cores with
# bf16, about six times as long without. You'll continue training on augmented images, find three
# ways to read one number in the report, and see which experiments you need before you can say
# "because".*
#
# The report continues with the network of stage 2: about 50 more epochs "together with the
# augmented images", and accuracy reaches 85%. **The question: does the network now recognise images
# it has never seen, and is augmentation the reason?**
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
# ## Keep training, on pictures that are never the same
#
# We load the network of stage 2 (it's trained first if you skipped notebook 04). The optimizer
# starts afresh: its sum of past gradients is zero again. The report doesn't say whether plain
# images were mixed in, too; its code trains on augmented images only, and so do we.
# **Predict:** what will the running accuracy of the very first epoch be, near the old 100% or near
# chance? And will the held-out curve rise or fall?

# %% cellView="form"
# @title Your guess: held-out accuracy after stage 3, in percent (−1: no guess)
heldout_guess = -1  # @param {type: "slider", min: -1, max: 100, step: 1}

from course_lib import guess

guess(course, "stage 3, held-out", heldout_guess)

# %%
from course_lib import evaluate, few_heldout, keep, live_curve, train, trained_model

stage, few = course.stage(3), few_heldout(course)
model = trained_model(course, 2)
at_first = evaluate(model, few, course).accuracy
history = train(
    model, course.data.train, stage, augmented=True, heldout=few, live=live_curve(stage)
)

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How it began
if history:  # a model from elsewhere comes without
    first, last = history[0], history[-1]
    print(
        f"The first augmented epoch: {first['train_accuracy']:.0%} right while training. Chance:"
        f" {100 * course.data.guessing:.3g}%"
    )
    largest, share = course.data.largest_class
    if course.data.is_unequal:
        print(f"Always answering “{largest}”, the largest class: {100 * share:.3g}%")
    began, ended = (f"{entry['heldout_accuracy']:.0%}" for entry in (first, last))
    print(
        f"Held-out images: {at_first:.0%} right after stage 2, {began} after that epoch, {ended} at"
        " the end."
    )

# %%
from IPython.display import display

from course_lib import answer, measure, plot_history, record, table

final = measure(model, course)
results = record(stage, model, history, final)
display(table(results))
answer(course, "stage 3, held-out", final["heldout_plain"].accuracy)

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The whole experiment
histories = {int(number): measured["epochs"] for number, measured in results["stages"].items()}
figure = plot_history(histories, title="The whole experiment", data=course.data)
keep(figure, course.folder / "curves.png")

# %% [markdown]
# In the figure, is held-out accuracy *above* running accuracy in stage 3? They're different
# measurements. Running accuracy is counted in training mode, on augmented images, while the weights
# still change; held-out accuracy in eval mode, on images that aren't augmented, after the epoch.
# Compare a measurement in eval mode only with another one in eval mode.
#
# ## Three readings of "85%"
#
# The report doesn't say what its 85% was measured on. It may be the running accuracy of the last
# epoch, printed by the training loop; or an evaluation on augmented training images; or one on the
# training images as they are. Here's what they are in our run:

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Three readings, and a fourth number
from math import nan

running = [entry["train_accuracy"] for entry in history]
if not running:  # a model from elsewhere may have no history
    running = [nan]
readings = {
    "running accuracy of the last epoch (augmented, training mode)": running[-1],
    "training images, augmented, eval mode": final["train_augmented"].accuracy,
    "training images, plain, eval mode": final["train_plain"].accuracy,
    "held-out images, plain, eval mode (not in the report)": final["heldout_plain"].accuracy,
}
for name, share in readings.items():
    print(f"{share:6.1%}  {name}")
here = f", here {running[0]:.0%}" if history else ""
print(f"The report's 50% may be a running accuracy, too: that of the first augmented epoch{here}.")

# %% [markdown]
# Now compare the stages on images that aren't augmented. (A **gap** that narrows isn't a success by
# itself: it narrows, too, if the training accuracy falls, and an untrained network has none.)

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The gap after each stage
for number, measured in results["stages"].items():
    if "heldout_plain" in measured["final"]:
        plain, heldout = measured["final"]["train_plain"], measured["final"]["heldout_plain"]
        gap = 100 * (plain - heldout)
        print(
            f"After stage {number}: {plain:.1%} of training, {heldout:.1%} of held-out images"
            f" right; a gap of {gap:.0f} points."
        )

# %% [markdown]
# ## Is augmentation the reason?
#
# If held-out accuracy has risen, what could be the reason, besides augmentation?

# %% [markdown]
# ## Exercise: was it the augmentation?
#
# In stage 3, the network has trained with augmentation, but it has also simply trained *longer*.
# Suppose that you can afford one more run. Which one tells the two causes apart? Enter its letter,
# in quotes.
#
# - **a)** Measure the model of stage 2 on augmented training images.
# - **b)** Train stage 3 for twice as many epochs, with augmentation.
# - **c)** From the same model of stage 2, train for as many epochs as stage 3, without
#   augmentation.
# - **d)** From a new model, train with augmentation for as many epochs as stages 2 and 3 together.
# - **e)** Repeat stages 2 and 3 with another seed.
#
# <details><summary>Hint</summary>
#
# An experiment separates two causes if it includes one but not the other, and everything else stays
# the same.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks

my_choice = ...

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
# my_choice = "c"
# ```
#
# </details>

# %% tags=["check"]
passed = checks.separating_experiment(my_choice)

# %% [markdown]
# ## Two controls
#
# An experiment that's the same in every respect except the supposed cause is called a **control**.
# The course comes with two, each run with five seeds. The first continues after stage 2 for as many
# epochs as stage 3, but *without augmentation*. The second augments from the very first epoch, for
# as many epochs as both stages together. Lines are means; bands span the lowest to the highest seed
# in each epoch.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The stored controls
from statistics import mean, stdev

from course_lib import plot_runs, stored

seeds = stored(course, "seeds.json")
every = list(seeds["seeds"].values()) if seeds else []
if not seeds:
    print("No controls are stored for this data and preset. `make seeds` runs them.")


def after_stage_2(name):
    """The histories of each seed, with epochs counted from the start of stage 2."""
    before = len(every[0]["2"]["epochs"])
    return [[e | {"epoch": e["epoch"] + before} for e in run[name]["epochs"]] for run in every]


def heldout(name):
    """Accuracy of each seed on all held-out images, in percent, at the end."""
    return [100 * run[name]["final"]["heldout_plain"] for run in every]


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Stage 3 and its two controls
if seeds:
    from_scratch = [run["augmented from scratch"]["epochs"] for run in every]
    runs = {
        "stage 2: plain": [run["2"]["epochs"] for run in every],
        "stage 3: augmented": after_stage_2("3"),
        "control: more plain epochs": after_stage_2("more plain epochs"),
        "control: augmented from scratch": from_scratch,
    }
    figure = plot_runs(runs, "heldout_accuracy", "Stage 3 and its two controls")
    display(keep(figure, course.folder / "controls.png"))

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Means and spreads
if seeds:
    print(
        "Held-out images, not augmented, eval mode: mean ± standard deviation of"
        f" {len(every)} seeds"
    )
    labels = {
        "2": "stage 2",
        "more plain epochs": "and then more plain epochs",
        "3": "and then stage 3",
    }
    for name in (*labels, "augmented from scratch"):
        spread = stdev(heldout(name)) if len(every) > 1 else 0
        print(f"{mean(heldout(name)):6.1f} ± {spread:.1f}%  {labels.get(name, name)}")
    gains = [three - plain for three, plain in zip(heldout("3"), heldout("more plain epochs"))]
    ahead = sum(gain > 0 for gain in gains)
    print(
        f"After the same number of epochs, augmentation is ahead in {ahead} of {len(gains)} seeds,"
    )
    print(f"by {min(gains):.1f} to {max(gains):.1f} points.")
    detour = mean(heldout("3")) - mean(heldout("augmented from scratch"))
    print(f"The detour through stage 2 makes a difference of {detour:+.1f} points to the mean.")

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **Augmentation is the reason: after the same number of epochs, stage 3 is ahead of more plain
# epochs by 21.7 to 35.5 points with each of five seeds.**
# <!-- holds: augmentation_is_the_reason -->
#
# **Stopping early doesn't explain it: stage 3 is still 10.0 to 17.8 points ahead of the best epoch
# of stage 2, even if that's chosen with hindsight.**
# <!-- holds: early_stopping_is_not_enough -->
#
# **The detour through 100% costs about 8 points: augmenting from the first epoch is better with
# each of five seeds.**
# <!-- holds: the_detour_costs_accuracy -->
#
# </details>
#
# This doesn't tell you which part of the augmentation it is; notebook 11 tries them one by one.
#
# ## Why does it work?
#
# Each picture looks different in every epoch, so there's little to memorise; what pays off is to
# learn what all versions of all pictures of a class have in common. The price: some crops show too
# little to tell the class, so don't expect 100% on augmented images.
#
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **Even after 74 augmented epochs, the network gets at most 85.8% of the augmented training
# images right.**
# <!-- holds: augmented_images_stay_hard -->
#
# </details>
#
# The curves jump by several points from epoch to epoch. We think that's mostly because the learning
# rate is never lowered, as in the report, so the last steps are as large as the first. Besides, a
# few hundred images give only a coarse measurement. Compare tables and means, not single points.

# %% [markdown]
# ## Exercise: write the augmentation
#
# `my_batch` gets a list of PIL images and returns a batch, float32 (B, 3, 64, 64) in [-1, 1]. When
# training, each image is augmented with the report's transforms: random resized crop, both flips,
# and a rotation by up to 90° in either direction, whose empty corners are 0, mid-grey. Otherwise,
# images, which needn't be square, are only resized and normalised. You can use torchvision, but
# think first: which images need their own random values, and what's the right order?
#
# <details><summary>Hint</summary>
#
# Apply a `transforms.Compose` to one image at a time and `torch.stack` the results. A rotation
# fills corners with 0. What does `Normalize(0.5, 0.5)` turn a 0 into?
#
# </details>

# %% tags=["exercise"]
import torch
from torchvision import transforms

from course_lib import checks


def my_batch(images, training):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# import torch
# from torchvision import transforms
#
# from course_lib import checks
#
# normalized = [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
# plain = transforms.Compose([transforms.Resize((64, 64)), *normalized])
# augmented = transforms.Compose(
#     [
#         transforms.RandomResizedCrop((64, 64)),
#         *normalized,
#         transforms.RandomHorizontalFlip(),
#         transforms.RandomVerticalFlip(),
#         transforms.RandomRotation(90),
#     ]
# )
#
#
# def my_batch(images, training):
#     transform = augmented if training else plain
#     return torch.stack([transform(image) for image in images])
# ```
#
# </details>

# %% tags=["check"]
passed = checks.augmentation(my_batch)

# %% [markdown]
# ## Five questions
#
# 1. After stage 3, the gap has narrowed. Why isn't that enough to call it a success?
# 2. Which control shows that augmentation is the reason, and not the additional epochs?
# 3. What does “augmented from scratch” tell you that the first control can't?
# 4. Why can held-out accuracy be higher than the running accuracy of the same epoch?
# 5. Somebody reports “85% accuracy”. What do you ask?
#
# <details><summary>Answers</summary>
#
# 1. A gap also narrows if training accuracy falls, and an untrained network has none. What counts
#    is held-out accuracy.
# 2. The one that trains the network of stage 2 for as many epochs, without augmentation: it differs
#    in nothing else.
# 3. Whether the detour through 100% was worth it: it has the same number of epochs in all, with
#    augmentation from the first.
# 4. They're different measurements: held-out images aren't augmented, and they're measured in eval
#    mode, by the network at the end of the epoch.
# 5. On which images, augmented or not, in which mode, measured during or after training, and with
#    how many seeds?
#
# </details>
#
# ## Recap
#
# The table shows whether the gap between training and held-out images has narrowed; the controls
# show whether augmentation is the *reason*. A number like 85% can mean three things, so say what
# you measured, on which images, and in which mode.
#
# Next: [which mistakes are left?](06_predictions_and_errors.ipynb)

# %% [markdown]
# *To train this stage from scratch, run `course.stage(3).start_over()`. Before you close a Colab
# runtime that copies to Drive, run `course.leave_drive()`.*
