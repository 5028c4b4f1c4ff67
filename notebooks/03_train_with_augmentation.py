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
# # 3. Training with augmentation
#
# The report continued with the same model for about 50 epochs, now on images that are cropped, flipped and rotated anew
# each time, and ended at 85 %, on training images. **What does augmentation change?**
#
# The report doesn't say whether plain images were mixed in, or what exactly its 85 % was measured on. Its code trains
# on augmented images only, and so do we.

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
# ## The model of stage 2
#
# It's loaded from its checkpoint, or trained first if you haven't run notebook 2.
#
# ## Keep training
#
# **Predict:** what will the running accuracy of the first epoch be? Will the accuracy on held-out images rise or fall?

# %%
from course_lib import few_heldout, keep, plot_history, train, trained_model

stage = course.stage(3)
model = trained_model(course, 2)
history = train(model, course.data.train, stage, augmented=True, heldout=few_heldout(course))

# %%
from course_lib import measure, record, table

results = record(stage, model, history, measure(model, course))
print(table(results))

# %%
histories = {int(number): measured["epochs"] for number, measured in results["stages"].items()}
keep(plot_history(histories), course.folder / "curves.png")

# %%
for number, measured in results["stages"].items():
    if "heldout_plain" in measured["final"]:
        plain, heldout = measured["final"]["train_plain"], measured["final"]["heldout_plain"]
        print(f"After stage {number}: {plain:.1%} on training images, {heldout:.1%} on held-out images, both plain.")

# %% [markdown]
# Without augmentation, the two curves drift apart while the model memorises its training images. With augmentation, it
# never sees the same picture twice, so memorising doesn't pay; what pays is what all pictures of a class have in
# common.
#
# The accuracies move by several points from one epoch to the next: the learning rate is never lowered, as in the
# report, and the held-out curve is measured on only some of the images. Compare the table, not single points of a
# curve.

# %% [markdown]
# ## Starting over, leaving Drive
#
# Uncomment a line, run the cell, and comment it out again.

# %%
# course.stage(3).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.leave_drive()  # finish copying to Google Drive and unmount it, before you close the runtime
