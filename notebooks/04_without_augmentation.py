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
# # 4. What does 100% mean?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *20 minutes to present, an hour to work through; three minutes of computing on two CPU cores with
# bf16, about six times as long without. You'll train the network on all images, watch two curves
# drift apart, and separate two reasons why a perfect score in training may mean little.*
#
# In the report, 30 epochs on 40,000 images led to 100% on the training images, which the student
# took as a sign of overfitting. **The question: what does a network that gets all its training
# images right actually know?**
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
# ## Predict two numbers
#
# After the last epoch, what share of the *training* images will the network get right? And of the
# *held-out* images, which it has never seen? Enter both below; they become lines in the figure.
# Before that, see what takes no learning at all:

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What takes no learning at all
classes = len(course.data.classes)
print(f"Guessing gets 1 in {classes} images right, {100 * course.data.guessing:.3g}%.")
largest, share = course.data.largest_class
unequal = course.data.is_unequal
if unequal:
    is_largest = course.data.heldout.labels == course.data.classes.index(largest)
    heldout_share = is_largest.float().mean().item()
    print(f"Always answering “{largest}”, the largest class, gets {share:.1%} of the training")
    print(f"images right, and {heldout_share:.1%} of the held-out ones.")

# %% cellView="form"
# @title Your guesses, in percent (−1: no guess)
training_guess = -1  # @param {type: "slider", min: -1, max: 100, step: 1}
heldout_guess = -1  # @param {type: "slider", min: -1, max: 100, step: 1}

from course_lib import guess

guess(course, "stage 2, training", training_guess)
guess(course, "stage 2, held-out", heldout_guess)

# %% [markdown]
# While it trains, the curves grow by one point per epoch. The held-out curve is measured in eval
# mode, on a sample (`few_heldout`), in which each class has its share. (The table below uses all
# held-out images, so it may differ by a few points.) Press ■ at any time to save and stop; run the
# cell again to resume. If the kernel dies, run the notebook from the top: training resumes in the
# same epoch. If training has already finished, you'll see the result at once.

# %%
from course_lib import few_heldout, keep, live_curve, train

stage, few = course.stage(2), few_heldout(course)
model = course.new_model()
history = train(
    model, course.data.train, stage, augmented=False, heldout=few, live=live_curve(stage)
)

# %% [markdown]
# ## The accuracy while training isn't the accuracy afterwards
#
# The blue curve shows **running** accuracy: each batch is counted in training mode with the weights
# of that moment, so the first batches of an epoch are judged by an older network. The finished
# network is **evaluated** in eval mode. Early on, running accuracy lags behind; at the end, either
# may be higher. (In the first epochs, the held-out loss may be far off the axis, and ↑ says how
# far: the running averages of batch norm haven't caught up with the weights yet.)
#
# `measure` evaluates on three sets of images: the training images as they are, or **plain**; the
# same images, augmented, as in the report; and all held-out images, plain.

# %%
from IPython.display import display

from course_lib import measure, record, table

final = measure(model, course)
display(table(record(stage, model, history, final), last_stage=2))

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Running accuracy, and your guesses
from course_lib import answer

if history:  # a model from elsewhere comes without
    first, last = history[0], history[-1]
    then, now = (f"{entry['train_accuracy']:.1%}" for entry in (first, last))
    print(f"Running accuracy: {then} in the first epoch, {now} in the last.")
answer(course, "stage 2, training", final["train_plain"].accuracy)
answer(course, "stage 2, held-out", final["heldout_plain"].accuracy)

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **The network has memorised its training images: with each of five seeds, it gets at least 98.8%
# of them right, but at most 59.4% of the held-out images.** <!-- holds:
# training_images_are_memorised -->
#
# **Photographs don't change that: of 40,000, the report's network gets 99.6% right, and 36.8% of
# the held-out ones.**
# <!-- holds: photographs_are_memorised_too -->
#
# (We trained that network ourselves, for 30 epochs like the report, which had no held-out images.)
#
# </details>
#
# ## Two reasons for the drop
#
# The report saw its 100% drop to 50% on *augmented* training images and called that overfitting.
# But there are two possible reasons:
#
# 1. **Overfitting**: the network has memorised pictures instead of learning classes. Then it fails
#    on pictures that it hasn't seen, even if they aren't augmented.
# 2. **Distribution shift**: it has never seen pictures this magnified, or with grey corners.
#    (Upside down is new for most photographs. It isn't for things that lie at any angle.) Some
#    crops even show too little to tell the class. Then it fails on augmented pictures, whether it
#    has seen the originals or not.
#
# Augmented training images alone can't tell the two apart. Four numbers can: training and held-out
# images, each as they are and augmented. **Predict** the fourth: held-out images, augmented.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The four numbers
from course_lib import evaluate, markdown_table

four = {name: measured.accuracy for name, measured in final.items()}
four["heldout_augmented"] = evaluate(model, course.data.heldout, course, augmented=True).accuracy
rows = [["", "as they are", "augmented"]]
for images, name in {"training images": "train", "held-out images": "heldout"}.items():
    plain, augmented = four[f"{name}_plain"], four[f"{name}_augmented"]
    rows.append([images, f"{plain:.1%}", f"{augmented:.1%}"])
display(markdown_table(rows))

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The two differences
from math import sqrt

overfitting = 100 * (four["train_plain"] - four["heldout_plain"])
shift = 100 * (four["heldout_plain"] - four["heldout_augmented"])
images = len(course.data.heldout)
variance = sum(share * (1 - share) for share in (four["heldout_plain"], four["heldout_augmented"]))
luck = 200 * sqrt(variance / images)  # notebook 11 explains it
luck = max(luck, 100 / images)  # a single image may always be luck
print(f"Training minus held-out, not augmented: {overfitting:+.0f} points.")
if overfitting > luck:
    print("Overfitting would explain it.")
print(f"Not augmented minus augmented, held-out images: {shift:+.0f} points.")
if shift > luck:
    print("Distribution shift would explain it, and so would crops that show too little.")
if unequal:
    mixture = 100 * (share - heldout_share)
    print(f"Always answering “{largest}” makes {mixture:+.0f} points of the first difference.")
print(f"With {images:,} held-out images, differences of up to {luck:.0f} points may be luck.")

# %% [markdown]
# If both differences are more than luck, both reasons are at work, and the report's 50% can't tell
# how much each of them took away. Now look at the second column: once they're augmented, does the
# network still do better on training images than on held-out ones? If the two are close, memorising
# is no help here: the network remembers exact pictures, and augmentation changes them.

# %% [markdown]
# Here are up to six training images, first as they are, then augmented. Above each is what the
# network answers, and the probability that it gives to its answer:

# %%
from course_lib import show_plain_and_augmented

figure = show_plain_and_augmented(model, course.data.train.take(6, seed=1), course)
keep(figure, course.folder / "stage-2-plain-and-augmented.png")

# %% [markdown]
# ## When would you have stopped?
#
# Look at the held-out curve above once more, and name an epoch before you run the next cell.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What came out
if history:
    best = max(history, key=lambda entry: entry["heldout_accuracy"])
    then, now = (f"{entry['heldout_accuracy']:.0%}" for entry in (best, last))
    print(f"Held-out accuracy was highest after epoch {best['epoch']}: {then}; at the end: {now}.")
    then, now = (f"{entry['train_accuracy']:.0%}" for entry in (best, last))
    print(f"Meanwhile, running training accuracy went from {then} to {now}.")
if course.data.validation.names != course.data.heldout.names:
    print("(Here and in the curve, they're the validation images that this data comes with.)")

# %% [markdown]
# <details><summary>What five seeds say, on the images that the course draws</summary>
#
# **Training longer made it worse: with each of five seeds, held-out accuracy was highest between
# epochs 16 and 23 of 44, and after 30 more epochs without augmentation, it was lower than
# after 44.**
# <!-- holds: training_longer_made_it_worse -->
#
# </details>
#
# Stopping when accuracy hasn't risen for some epochs, and keeping the best weights, is called
# **early stopping**. There's a catch: if you use the held-out images to *choose* the epoch, they're
# no longer unseen, and the accuracy you report tends to be too high. That's why people set aside a
# third set for such choices, the **validation** images.

# %% [markdown]
# ## Exercise (homework): measure the accuracy
#
# Write a function that measures a model's accuracy, as a share between 0 and 1. `batches` yields
# pairs of images and labels; the check has 70 images in batches of 32, so the last batch is
# smaller. Measure in eval mode, and leave the model in the mode you found it in. (The report's code
# counts in training mode, and takes for granted that every batch is full. Notebook 10 shows where
# that leads.)
#
# <details><summary>Hint</summary>
#
# Count right answers and images separately, and divide only once, at the end. `model.training` says
# which mode the model is in, and `model.train(mode)` sets it.
#
# </details>

# %% tags=["exercise"]
import torch

from course_lib import checks


def my_accuracy(model, batches):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# import torch
#
# from course_lib import checks
#
#
# def my_accuracy(model, batches):
#     was_training = model.training
#     model.eval()
#     right = count = 0
#     with torch.inference_mode():
#         for images, labels in batches:
#             right += (model(images).argmax(1) == labels).sum().item()
#             count += len(labels)
#     model.train(was_training)
#     return right / count
# ```
#
# </details>

# %% tags=["check"]
passed = checks.accuracy(my_accuracy)

# %% [markdown]
# ## Your own experiment
#
# Change a setting, train again, and compare. Your run gets its own folder, so nothing is
# overwritten. Set `go` to `True` and run the cell; it takes as long as the training above. But
# remember: if you use this curve to choose a learning rate, the held-out images become validation
# images.

# %%
from course_lib import plot_runs

go = False  # @param {type: "boolean"}
if go:
    mine = course.experiment("lr-0.03", lr=0.03)
    my_stage, other = mine.stage(2), mine.new_model()
    curve = live_curve(my_stage)
    found = train(other, course.data.train, my_stage, augmented=False, heldout=few, live=curve)
    runs = {"lr 0.01": history, "lr 0.03": found}
    keep(plot_runs(runs, "heldout_accuracy", "My experiment"), mine.folder / "mine.png")

# %% [markdown]
# ## Five questions
#
# 1. A network gets 100% of its training images right. What do you know about new images?
# 2. The report saw accuracy drop from 100% to 50% on augmented training images. Why doesn't that
#    prove overfitting?
# 3. Which comparison does show overfitting?
# 4. Why is it cheating to stop training where held-out accuracy was highest, and to report that
#    accuracy?
# 5. Running accuracy says 97%, an evaluation of the same training images 99%. How can both be
#    correct?
#
# <details><summary>Answers</summary>
#
# 1. Next to nothing. In this notebook, such a network gets many held-out images wrong.
# 2. Augmented images also look unlike anything the network has seen (distribution shift), and some
#    crops show too little. A network that hasn't memorised anything would drop, too.
# 3. Training images with held-out images, both as they are and both in eval mode.
# 4. You've chosen the epoch because these images happened to be right. They're no longer unseen, so
#    the number tends to be too high. Choose on validation images, and report on others.
# 5. The running one was counted during the epoch, in training mode, by networks that were still
#    changing; the other one afterwards, in eval mode, by the finished network.
#
# </details>
#
# ## Recap
#
# Training accuracy alone tells you almost nothing about new images. The gap to *held-out* images,
# the **generalisation gap**, shows overfitting; accuracy on augmented training images mixes it with
# distribution shift. Running accuracy and evaluation are different measurements.
#
# Next: [does augmentation help, and is it really the reason?](05_with_augmentation.ipynb)

# %% [markdown]
# *To train this stage from scratch, run `course.stage(2).start_over()`. Before you close a Colab
# runtime that copies to Drive, run `course.leave_drive()`.*
