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
# Now all training images, only resized. The report trained for 30 epochs, reached 100 % on its training images, and
# suspected that this was too good to be true. **What does 100 % on training images mean?**

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
# A new model, cross entropy, SGD with learning rate 0.01 and momentum 0.9, batches of 32 in a new order each epoch.
# After each epoch, some of the held-out images are measured. **Predict:** where will the two accuracies end?
#
# Press ■ whenever you like: training stops after the current step and saves. Run the cell again to continue. A finished
# stage is loaded at once.

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
# The report's test was to show the *same* model *augmented* training images. It knows these pictures; only crop, flips
# and angle are new. Ours adds images the model has never seen. **Predict both accuracies.**

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
print(f"Of these six images, {right[:6].sum()} are recognised as they are, and {right[6:].sum()} when augmented.")
print(f"Training images: {final['train_plain'].accuracy:.1%} plain, {final['train_augmented'].accuracy:.1%} augmented.")
print(f"Held-out images: {final['heldout_plain'].accuracy:.1%} plain.")

# %% [markdown]
# The top row shows six training images as the model learned them; the bottom row shows the same six, augmented. The
# further the three accuracies lie apart, the more the model has learned pictures instead of classes. Accuracy on
# training images can't tell the two apart. Images the model has never seen can.

# %% [markdown]
# ## Starting over, leaving Drive
#
# Uncomment a line and run the cell.

# %%
# course.stage(2).start_over()  # forget this stage, here and on Drive; then run the notebook again
# course.leave_drive()  # wait until Google Drive has everything, and unmount it before you close the runtime
