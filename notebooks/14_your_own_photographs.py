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
# # 14. Can you build a classifier of your own photographs?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *20 minutes to present, an hour to work through; about 6 minutes of computing on two CPU cores.
# You'll check your own photographs for faults, lock some of them away, train, look at the mistakes,
# and change one thing. Then you open the envelope, once.*
#
# Make a folder for each class, put the pictures in, and zip the folder around them. In Colab,
# upload the zip in the file panel. Then enter its path as `data` in the form below:
#
# ```
# pets/
#     cat/   one.jpg  two.jpg  …
#     dog/   three.jpg  …
# ```
#
# Twenty pictures per class are a start; a hundred tell you more. You may also have `train`, `val`
# and `test` folders with a folder per class in each. **The question: is your own idea better than
# doing without it, and how sure can you be?**
#
# If the next cell stops at a picture, there may be more of its kind. In a new cell, list them all,
# correct them in your folder (and zip it again), and run the next cell once more:
#
# ```python
# from course_lib import describe_data
#
# print(describe_data(data))
# ```
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
# ## What's wrong with the data?
#
# Something always is. **Guess** before you run the cell: are there pictures that can't be opened,
# pictures that are there twice, classes that are too small?

# %%
from course_lib import describe_data

print(describe_data(course))

# %% [markdown]
# | what was found | why it matters | what to do |
# |---|---|---|
# | unreadable images | nothing to learn from | remove them, or add `skip_unreadable=True` above |
# | several labels for a picture | no answer to it is right | keep the right one |
# | a picture in training and test | it may just be remembered | remove it from training |
# | copies within training | each counts as a picture of its own | keep one |
# | classes with few images | little to learn, hardly anything to measure | add pictures |
#
# A program finds only exact copies. If you took ten pictures of the same cat on the same sofa, they
# are almost copies, too: keep them together, all in training or all in test.
#
# Correct what you can, and run the notebook from the top. It's easier now than after training.
#
# ## Lock some pictures away
#
# You're going to make choices, and each one will suit the pictures that it was made on. So the
# course now **seals** some of them: nothing below trains on them, shows them or measures anything
# on them, until you submit. The other held-out pictures are **open**: use them as often as you
# like.

# %%
from course_lib import begin_project

epochs = min(20, course.epochs[2])  # of each stage: a fixed budget
project = begin_project(course, epochs)
training, open_images, sealed = project.data.train, project.data.heldout, project.data.sealed
print(f"Training on {len(training):,} images.")
print(f"Held-out images: {len(open_images):,} open, {len(sealed):,} sealed.")
print(f"Where they come from: {project.data.split}.")

# %% [markdown]
# How much can so many pictures tell you? An accuracy measured on $n$ images is uncertain by up to
# $\pm 1.96 \sqrt{0.25 / n}$, because other images would have been harder or easier:

# %%
from math import sqrt

for name, images in {"open": open_images, "sealed": sealed}.items():
    uncertain = 100 * 1.96 * sqrt(0.25 / len(images))
    print(f"{len(images):,} {name} images: up to ±{min(uncertain, 100):.0f} points.")
if len(sealed) < 100:
    print("That's a lot. You'll see whether an idea helps only if it helps a great deal, so if you")
    print("can, add pictures.")

# %% [markdown]
# Here are a few of the training images. What else do the pictures of a class have in common: the
# background, the light, the camera? A network may learn that instead.

# %%
from course_lib import keep, show_classes

keep(show_classes(training, 4, columns=6), project.folder / "classes.png")

# %% [markdown]
# ## Predict
#
# Guessing needs no pictures at all:

# %%
print(f"Guessing is right {100 * project.data.guessing:.3g}% of the time.")
if project.data.is_unequal:
    largest, share = project.data.largest_class
    print(f"Always answering “{largest}”, the largest class: {share:.1%} of training images.")

# %% cellView="form"
# @title Your guesses: how many percent of the open images will it get right? (None: no guess)
after_stage_2 = None  # @param {type: "raw"}
after_stage_3 = None  # @param {type: "raw"}
guesses = {2: after_stage_2, 3: after_stage_3}

# %% [markdown]
# ## Three stages, one budget
#
# **Stage 1** is a check: can the network memorise five batches at all? If it can't, something is
# wrong with the labels or with the learning rate, and there's no point in continuing.

# %%
from course_lib import live_curve, train

stage = project.stage(1)
model = project.new_model()
history = train(model, stage.images, stage, augmented=False, live=live_curve(stage))

# %%
if history:
    first, last = history[0], history[-1]
    print(f"Loss: {first['loss']:.2f} in the first epoch, {last['loss']:.2f} in the last.")
    seconds = epochs * len(training) / last["images_per_second"]
    print(f"At this speed, each of the next two stages takes about {seconds:,.0f} seconds.")

# %% [markdown]
# **Stage 2** starts anew and trains on all training images, without augmentation. The curve of
# held-out images is measured on open ones.

# %%
from course_lib import evaluate, few_heldout

stage, few = project.stage(2), few_heldout(project)
model = project.new_model()
plain = train(model, training, stage, augmented=False, heldout=few, live=live_curve(stage))
known = {2: evaluate(model, training, project).accuracy}
new = {2: evaluate(model, open_images, project).accuracy}

# %% [markdown]
# **Stage 3** continues with augmentation: crops, flips, rotations.

# %%
from course_lib import trained_model

stage = project.stage(3)
model = trained_model(project, 2)
augmented = train(model, training, stage, augmented=True, heldout=few, live=live_curve(stage))
known[3] = evaluate(model, training, project).accuracy
new[3] = evaluate(model, open_images, project).accuracy

# %%
from course_lib import plot_history

histories = {1: history, 2: plain, 3: augmented}
figure = plot_history(histories, title=f"Three stages on {project.data.name}", data=project.data)
keep(figure, project.folder / "curves.png")

# %% [markdown]
# Were your guesses close?

# %%
for number, guess in guesses.items():
    print(f"After stage {number}, {known[number]:.1%} of the training images are right,")
    print(f"and {new[number]:.1%} of the open ones.")
    if guess is not None:
        off = abs(guess - 100 * new[number])
        print(f"    Your guess was {guess:g}%, off by {off:.0f} points.")

# %% [markdown]
# A large gap between training images and new ones is overfitting (notebook 04). If both are low,
# the network hasn't finished learning: more epochs may help. If stage 3 is worse than stage 2, ask
# whether your classes survive the augmentation: is a 6 upside down still a 6?
#
# ## Look at the mistakes
#
# Begin with the mistakes that the network is surest of. Look for wrong labels, pictures that show
# two classes, and backgrounds that belong to another class.

# %%
from course_lib import predict

images = open_images
probabilities = predict(model, images, project)  # float32 (n, K)
shares, predicted = probabilities.max(1)
wrong = predicted != images.labels
print(f"{wrong.sum():,} of {len(images):,} open images are misclassified.")

# %%
from IPython.display import display

from course_lib import plot_predictions

surest = (shares * wrong).argsort(descending=True)[: min(12, int(wrong.sum()))]
if len(surest):
    shown = images.batch(surest), images.labels[surest], probabilities[surest]
    figure = plot_predictions(*shown, images.classes, title="The surest mistakes")
    display(keep(figure, project.folder / "mistakes.png"))

# %%
from course_lib import plot_confusion

title = f"True and predicted classes of {len(images):,} open images"
figure = plot_confusion(images.labels, predicted, images.classes, title)
keep(figure, project.folder / "confusion.png")

# %% [markdown]
# If you find a wrong label, correct it in your folder. That changes the data, so start over: run
# the notebook again with `begin_project(course, epochs, start_over=True)`.
#
# ## Change one thing
#
# What would make it better? Choose *one* idea, and say why you think so, before you run anything.
# Some that may help:
#
# | change | idea |
# |---|---|
# | `{"schedule": "one-cycle"}` | large steps first, small steps at the end (notebook 12) |
# | `{"flips": (0.5, 0)}` | photographs have a top and a bottom |
# | `{"degrees": 15}` | and are rarely turned by 90° |
# | `{"crop": 0.5}` | crops that show at least half of the picture |
# | `{"label_smoothing": 0.1}` | be less sure |
# | `{"lr": 0.003}` | smaller steps |

# %%
idea = "a one-cycle schedule"  # as it'll appear on the board
change = {"schedule": "one-cycle"}

# %% [markdown]
# The **control** is trained in the same way, but without the change: the same images, the same
# number of epochs, with augmentation, from a new network. Both are trained with three seeds, since
# a single training may be lucky. Each takes half as many epochs as a stage, so all six take about
# as long as three stages. They're kept: the next time, they're there at once.
#
# If the control is no better than guessing, or than always giving the same answer, raise `rounds`:
# networks that have learned nothing can't be compared.

# %%
from course_lib import trial

rounds = max(1, epochs // 2)  # epochs of each training
options = {"epochs": rounds, "augmented": True, "heldout": open_images}


def train_three_seeds(**change):
    histories = []
    for seed in range(3):
        history = trial(project, training, seed=seed, **options, **change)
        print(f"Seed {seed}: {history[-1]['heldout_accuracy']:.1%} of the open images are right.")
        histories.append(history)
    return histories


control = train_three_seeds()

# %%
mine = train_three_seeds(**change)

# %%
from course_lib import plot_runs

title = f"Open images: mean, lowest and highest of {len(mine)} seeds"
figure = plot_runs({"the control": control, idea: mine}, "heldout_accuracy", title)
keep(figure, project.folder / "idea.png")

# %% [markdown]
# Is the difference more than luck? There are two kinds of it: other seeds, and other images.
# `judge` gives the difference with an interval that is wide enough for both. If 0 lies inside, you
# can't tell which one is better.

# %%
import numpy as np

from course_lib import judge

mine_right = np.array([history[-1]["heldout_right"] for history in mine])
control_right = np.array([history[-1]["heldout_right"] for history in control])
open_verdict = judge(mine_right, control_right)
print(f"{idea}, compared with the control on {len(open_images):,} open images:")
print(open_verdict)

# %% [markdown]
# You may try several ideas here. But the best of many looks better than it is: if you choose among
# ten, luck has ten chances. That's what the sealed images are for.
#
# ## Exercise: compare in pairs
#
# Two networks have answered the same images. `mine` and `control` say which ones they got right:
# float32 (n,), 1 for right and 0 for wrong. Return two numbers, in percentage points: how far
# `mine` is ahead, and the standard error of that difference. An image that both get right tells you
# nothing about the difference, so compare image by image.
#
# <details><summary>Hint</summary>
#
# `mine - control` is 1, 0 or −1 for each image. The standard error of a mean of $n$ numbers is
# their standard deviation divided by $\sqrt n$.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_difference(mine, control):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
#
# def my_difference(mine, control):
#     difference = mine - control
#     standard_error = difference.std() / len(difference) ** 0.5
#     return 100 * difference.mean(), 100 * standard_error
# ```
#
# </details>

# %% tags=["check"]
passed = checks.paired_difference(my_difference)

# %% [markdown]
# ## Before you open the envelope
#
# Write your claim down first, in a cell of its own: one sentence, with the number that you expect.
# This is how it'll be read:
#
# | a good claim says | a weak one |
# |---|---|
# | what it was compared with: the same budget, without the change | "it works well" |
# | by how much, and how sure that is | "it's better" |
# | on which images it was measured, and that no choice was made on them | the best of ten epochs |
# | how many ideas were tried before | only the one that worked |
# | what it isn't about: other classes, other cameras, longer training | "augmentation helps" |
#
# "No clear difference" is a result, too. It's worth as much as any other if the comparison was
# fair.
#
# ## Submit
#
# Each of the six networks has answered the sealed images after its last epoch, but nobody has seen
# the answers. They are opened for *one* comparison. It's counted: if you come back with another
# idea, the board says that they were opened twice, so set `i_am_sure` back to `False` before you
# try one. (Running the cell again with the same trainings shows the first result, and opens
# nothing.)

# %%
student = "anonymous"  # @param {type: "string"}
i_am_sure = project.data.generated  # with your own images: True, once your claim is written down

# %%
from course_lib import submit

if i_am_sure:
    claim = submit(project, mine, control, model=idea, student=student)
    print(claim)
    print(f"\nYour row for the class's board is in {project.shown(project.folder / 'board.csv')}.")
else:
    print("Still sealed. Set i_am_sure to True in the cell above, and run all from there.")

# %%
if i_am_sure:
    print(f"{idea}: {claim.accuracy:.1f} ± {claim.accuracy_margin:.1f}% of the sealed images.")
    print(f"Difference on the open images: {open_verdict.difference:+.1f} points;")
    print(f"on the sealed ones: {claim.difference:+.1f} points.")

# %% [markdown]
# If the difference has shrunk, that's what usually happens to an idea that was *chosen* because it
# looked good. The sealed images are the ones to quote.
#
# ## Recap
#
# You've checked data for faults before training on it, set a part aside before making choices, and
# compared one change with a control at the same budget. You know how large a difference has to be
# before you believe it. Your classifier is in the project's folder, in `stage-3/model.pth`;
# notebook 06 shows how to try it on a single photograph.
#
# Next: [can several GPUs train one network?](15_several_gpus.ipynb)

# %% [markdown]
# *To start this project over, run `project.start_over()`: that deletes its trainings and its row.
# Before you close a Colab runtime that copies to Drive, run `course.leave_drive()`.*
