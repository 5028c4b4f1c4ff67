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
# # 3. Training with augmentation
#
# The report went on with the same model, for about 50 more epochs, now on augmented images: cropped, mirrored and
# turned anew each time. It ended at 85 %, on training images. *About two minutes on two CPU cores.*
#
# The report leaves open whether plain images were mixed in, and what the 85 % was measured on; its code trains on
# augmented images only, and so does this.

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
# ## The model of stage 2
#
# Loaded from its `model.pth`; trained first where notebook 2 has not been run.

# %%
from course_lib import trained_model

model = trained_model(course, bank, 2)

# %% [markdown]
# ## Train on
#
# **Predict:** the running accuracy of the first epoch; and whether the accuracy on held-out images rises or falls.

# %%
from course_lib import keep, plot_history, train

model = trained_model(course, bank, 2)  # here once more, so that this cell can be run again by itself
history = train(model, bank.train, course.stage(3), augmented=True, heldout=bank.heldout)

# %%
from course_lib import measure, record, table

final = measure(model, bank, course)
results = record(course, bank, 3, history, final)
print(table(results))

# %%
histories = {int(number): stage["epochs"] for number, stage in results["stages"].items()}
keep(plot_history(histories), course.folder / "curves.png")

# %% [markdown]
# **Measured**, on the generated data: without augmentation the two curves part, and the held-out one falls back while
# the training images are learned by heart. With augmentation they rise together. The model no longer meets the same
# picture twice, so knowing pictures by heart does not pay; what pays is what all pictures of a class have in common.
# That is why the accuracy on images it has never seen is so much higher now, although the training images were left
# at less than 100 %.
#
# Between one epoch and the next an accuracy moves by several points: the learning rate is never lowered, as in the
# report, and each curve point of the held-out images rests on a share of them. Compare the table, not single points.

# %% [markdown]
# ## To keep, or to start over
#
# Take the `#` off a line and run the cell.

# %%
# course.stage(3).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.download("stage-3/model.pth")  # its weights, as the report's own code loads them
# course.leave_drive()  # wait for Google Drive and unmount it, before you close the runtime
# course.download("curves.png")
