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
# # 4. Predicting the test set
#
# The last step of the report: predict a class for each test image and write them to `result.csv`. **Which mistakes does
# the model make?**

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
# ## The model of stage 3
#
# It's loaded from its checkpoint; stages that aren't finished are trained first.

# %%
from course_lib import trained_model

model = trained_model(course, 3)

# %% [markdown]
# ## `result.csv`
#
# Eval mode, resize only, batches in order. One row per image, sorted by the number in the file's name.

# %%
import course_lib

images, result = course.data.test, course.folder / "result.csv"
probabilities = course_lib.test(model, images, course, result)
print(f"{len(images):,} rows in {course.shown(result)}. The first ones:")
print("\n".join(result.read_text(encoding="utf-8").splitlines()[:4]))

# %% [markdown]
# ## Right and wrong
#
# **Before you look, predict:** which classes will be confused, those that share a colour or those that share a motif?

# %%
from course_lib import keep, plot_predictions

some = images.take(18, seed=course.settings.seed)
shown = [images.names.index(name) for name in some.names]
figure = plot_predictions(some.batch(range(len(some))), some.labels, probabilities[shown], course.data.classes)
keep(figure, course.folder / "predictions.png")

# %%
predicted, labels = probabilities.argmax(1), images.labels
if (labels >= 0).all():
    wrong = predicted != labels
    print(f"{wrong.sum()} of {len(labels)} are wrong.")
if course.data.name == "shapes" and wrong.any():  # class = motif × 20 + colour
    colour = (predicted % 20 == labels % 20)[wrong].float().mean()
    motif = (predicted // 20 == labels // 20)[wrong].float().mean()
    print(f"Of these, {colour:.0%} have the right colour and {motif:.0%} the right motif.")

# %% [markdown]
# ## A photograph of your own
#
# Enter a path. (In Colab, upload the file first, with the folder icon on the left.) A model always answers with one of
# *its own* classes: one that was trained on generated shapes has never seen a dog. Leave it empty to use a test image.

# %% cellView="form"
# @title Your photograph
photograph = ""  # @param {type: "string"}

from course_lib import plot_top_five, predict
from course_lib.data.bank import from_file

own = from_file(photograph, course.settings.size) if photograph else images.subset([0])
keep(plot_top_five(own.batch([0])[0], predict(model, own, course)[0], course.data.classes), course.folder / "own.png")

# %% [markdown]
# ## Starting over, leaving Drive
#
# Uncomment a line, run the cell, and comment it out again.

# %%
# course.leave_drive()  # finish copying to Google Drive and unmount it, before you close the runtime
