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
# # 2. Training without augmentation
#
# All training images, resized only: the report trained 30 epochs and reached 100 % on its training images, and
# suspected that this was too good. *About four minutes on two CPU cores.*

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
stage = course.stage(2)

# %% [markdown]
# ## Train
#
# A new model, cross entropy, SGD with learning rate 0.01 and momentum 0.9, batches of 32 in a new order each epoch.
# The held-out images are looked at after every epoch, never trained on. **Predict:** where will the two accuracies
# end?
#
# ■ stops after the step that is running; the same cell goes on. A finished stage is shown again at once.

# %%
from course_lib import MyModel, get_model, keep, plot_history, train

model = get_model(MyModel, seed=course.settings.seed)
history = train(model, bank.train, stage, augmented=False, heldout=bank.heldout)

# %%
keep(plot_history({2: history}), course.folder / "stage-2.png")

# %% [markdown]
# ## Is it overfitting?
#
# The report's test: the *same* model on *augmented* training images. It knows these pictures; only the crop, the
# mirror and the angle are new. And the test the report did not have: images it has never seen. **Predict both
# numbers.**

# %%
from course_lib import measure, record, table

final = measure(model, bank, course)
print(table(record(course, bank, 2, history, final)))

# %%
import torch

from course_lib import augment_batch, augmentations, plain_batch, plot_predictions

some = bank.train.take(6, seed=1)
pixels = some.batch(range(6))
plain = plain_batch(pixels, course.settings.size)
augmented = augment_batch(pixels, augmentations(some, range(6), course), course.settings.size)
model.eval()
with torch.inference_mode(), course.precision.autocast():
    probabilities = model(torch.cat([plain, augmented]).to(course.device)).float().softmax(1).cpu()
keep(
    plot_predictions(torch.cat([plain, augmented]), torch.cat([some.labels] * 2), probabilities, bank.classes),
    course.folder / "stage-2-plain-and-augmented.png",
)

# %% [markdown]
# Above, six training images as the model learned them; below, the same six, augmented. What it knew by heart it often
# no longer recognises once it is turned or cropped (of all 640, see the table): it has learned pictures, not classes.
# Accuracy on training images cannot tell the two apart; images it has not seen can.

# %% [markdown]
# ## To keep, or to start over
#
# Take the `#` off a line and run the cell.

# %%
# course.stage(2).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.download("stage-2/model.pth")  # its weights, as the report's own code loads them
# course.leave_drive()  # wait for Google Drive and unmount it, before you close the runtime
