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
# # 2. Training without augmentation
#
# We now train on all training images of the preset, resized but not augmented. In the student's report, this took 30
# epochs and reached 100 % on the training images, which looked too good to be true. **What does 100 % mean?**

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
# ## Train
#
# We train a new model with cross entropy and SGD (learning rate 0.01, momentum 0.9). Each epoch shuffles the images and
# goes through them in batches of 32. After each epoch, we measure the accuracy on some of the held-out images.
# **Predict:** what will the accuracy on training images be after the last epoch? And on held-out images?
#
# You can press ■ at any time: training finishes the current step, saves and stops, and the cells below don't run. Run
# this cell again to continue. If the kernel died, run the notebook from the top: training resumes in the same epoch,
# from a checkpoint that is at most two minutes old. (If Colab takes the whole machine away, only a run with `drive`
# ticked survives.) If training has already finished, this cell loads the result.

# %%
from course_lib import MyModel, few_heldout, get_model, keep, plot_history, train

stage = course.stage(2)
model = get_model(MyModel, seed=course.settings.seed)
history = train(model, course.data.train, stage, augmented=False, heldout=few_heldout(course))

# %%
keep(plot_history({2: history}), course.folder / "stage-2.png")

# %% [markdown]
# ## Is it overfitting?
#
# The report tested the *same* model on *augmented* training images. The model knows these images; only the crop, the
# flips and the rotation are new. We also test it on held-out images, which it has never seen. **Predict all three
# accuracies:** training images plain, training images augmented, held-out images plain.

# %%
from course_lib import measure, record, table

final = measure(model, course)
print(table(record(stage, model, history, final)))

# %%
import torch

from course_lib import augment_batch, augmentations, plain_batch, plot_predictions

six = course.data.train.take(6, seed=1)
pixels = six.batch(range(6))
plain = plain_batch(pixels, course.settings.size)
augmented = augment_batch(pixels, augmentations(six, range(6), course), course.settings.size)
model.eval()
with torch.inference_mode(), course.precision.autocast():
    probabilities = model(torch.cat([plain, augmented]).to(course.device)).float().softmax(1).cpu()
labels = torch.cat([six.labels] * 2)
figure = plot_predictions(torch.cat([plain, augmented]), labels, probabilities, course.data.classes)
keep(figure, course.folder / "stage-2-plain-and-augmented.png")

# %%
right = probabilities.argmax(1) == labels
print(f"Of these six images, the model recognises {right[:6].sum()} unchanged and {right[6:].sum()} augmented.")
print(f"Training images: {final['train_plain'].accuracy:.1%} plain, {final['train_augmented'].accuracy:.1%} augmented.")
print(f"Held-out images: {final['heldout_plain'].accuracy:.1%} plain.")

# %% [markdown]
# The top row shows six training images as the model saw them in training; the bottom row shows the same six,
# augmented. If accuracy is much lower on held-out images than on training images, the model has memorised images rather
# than learned classes. Training accuracy alone can't show this; accuracy on images the model has never seen can.

# %% [markdown]
# ## Starting over, leaving Drive
#
# Uncomment a line, run the cell, and comment it out again.

# %%
# course.stage(2).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.leave_drive()  # finish copying to Google Drive and unmount it, before you close the runtime
