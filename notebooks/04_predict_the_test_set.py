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
# # 4. Predicting the test set
#
# The last step of the report: one class for each test image, written to `result.csv`. *Under ten seconds on two CPU
# cores.*

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
# ## The model of stage 3
#
# Loaded where stage 3 is finished; otherwise stages 2 and 3 are trained first.

# %%
from course_lib import trained_model

model = trained_model(course, bank, 3)

# %% [markdown]
# ## `result.csv`
#
# Eval mode, resize only, batches in order; a row an image, ordered by the number in the file's name.

# %%
import course_lib

result = course.folder / "result.csv"
probabilities = course_lib.test(model, bank.test, course, result)
print(f"{len(bank.test):,} rows in {course.shown(result)}, the first of them:")
print("\n".join(result.read_text().splitlines()[:4]))

# %% [markdown]
# ## Right and wrong
#
# **Before you look:** which classes will be mixed up: those that share a colour, or those that share a motif?

# %%
from course_lib import keep, plot_predictions
from course_lib.draws import order

some = order(course.settings.seed, 0, 0, len(bank.test))[:18]
figure = plot_predictions(bank.test.batch(some), bank.test.labels[some], probabilities[some], bank.classes)
keep(figure, course.folder / "predictions.png")

# %% [markdown]
# **Measured**, on the generated data: of the eight that are wrong here, seven have the right colour and another motif;
# one has the right motif and the colour beside its own. The model has learned the colours first.
#
# ## A photograph of your own
#
# Give a path (in Colab, upload the file first, with the folder sign on the left). A model always answers with one of
# *its* classes: one that was trained on generated shapes has never seen a dog. Empty: an image of the test set.

# %% cellView="form"
# @title Your photograph
photograph = ""  # @param {type: "string"}

from course_lib import plot_top_five, predict
from course_lib.bank import from_file

own = from_file(photograph, course.settings.size) if photograph else bank.test.subset([0])
keep(plot_top_five(own.batch([0])[0], predict(model, own, course)[0], bank.classes), course.folder / "own.png")

# %% [markdown]
# ## To keep, or to start over
#
# Take the `#` off a line and run the cell.

# %%
# course.download("result.csv")
# course.download("predictions.png")
# course.leave_drive()  # wait for Google Drive and unmount it, before you close the runtime
