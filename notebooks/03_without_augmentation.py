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
# # 3. What does 100 % mean?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook from there, and mount
# Drive with the button in the file panel. Without Drive: upload the notebook, then the zipped folder in the file panel,
# and unzip it with `!unzip -q course.zip`.*
#
# *20 minutes, of which about 4 are computing on two CPU cores. You'll train the network on all images, watch two curves
# part, and separate two reasons why a network that gets everything right may know little.*
#
# In the report, 30 epochs on 40,000 images led to 100 % on the training images, "suspected to be overfitting". **The
# question: what does a network that gets all its training images right actually know?**

# %% cellView="form"
# @title Get the course (only Colab needs this)
import os
import sys

repository = ""  # `make publish` writes owner/name here
if "google.colab" in sys.modules and repository and not os.path.isdir("course"):
    if os.system(f"git clone --quiet --depth=1 https://github.com/{repository} course"):
        sys.exit(f"https://github.com/{repository} can't be cloned. Check that it's public, then run this cell again.")
sys.path += ["course", "drive/MyDrive/course"]

# %% cellView="form"
# @title Choose the data, the preset, and whether to keep a copy on Google Drive
data = "shapes"  # @param ["shapes", "cifar100-80", "tiny-imagenet-80"] {allow-input: true}
preset = "lecture"  # @param ["smoke", "lecture", "full"]
drive = False  # @param {type: "boolean"}

from course_lib import open_course

course = open_course(data, preset, drive)
print(course.describe())

# %% [markdown]
# ## Predict two numbers
#
# After the last epoch, what share of the *training* images will the network get right? And of the *held-out* images,
# which it has never seen? Write both down. Guessing gets 1 in 80 images right, 1.25 %.
#
# While it trains: one point per epoch; the held-out curve is measured in eval mode, on a sample with equally many
# images of each class. (The table below uses all of them, so it may differ by a few points.) Press ■ whenever you like:
# it saves and stops, and the same cell continues. If the kernel dies, run the notebook from the top: training resumes
# in the same epoch. If training has already finished, you see the result at once.

# %%
from course_lib import MyModel, few_heldout, get_model, keep, live_curve, train

stage = course.stage(2)
model = get_model(MyModel, seed=course.settings.seed)
history = train(model, course.data.train, stage, augmented=False, heldout=few_heldout(course), live=live_curve(stage))

# %% [markdown]
# ## The accuracy while training isn't the accuracy afterwards
#
# The blue curve is a **running** accuracy: every batch is counted with the weights of that moment and in training mode,
# so the first batches of an epoch were judged by an older network. The finished network is **evaluated** in eval mode.
# Early on, the running accuracy lags behind; at the end, either may be higher. We do that on three sets of images: the
# training images, plain; the same images, augmented, as the report did; and all held-out images.

# %%
from course_lib import measure, record, table

final = measure(model, course)
print(table(record(stage, model, history, final)))
print(
    f"\nRunning accuracy: {history[0]['train_accuracy']:.1%} in the first epoch, "
    f"{history[-1]['train_accuracy']:.1%} in the last."
)

# %% [markdown]
# How close were your two numbers?
#
# ## Two reasons for the drop
#
# The report saw its 100 % drop to 50 % on *augmented* training images and called it overfitting. But there are two
# possible reasons, and they aren't the same:
#
# 1. **Overfitting**: the network has memorised pictures instead of learning classes. Then it fails on *plain* pictures
#    that it hasn't seen.
# 2. **A shift of the distribution**: it has never seen a picture so magnified, or with grey corners. (Upside down is
# nothing new for shapes, which are drawn at any angle; for photographs, it is.) Some crops even show too little to tell
# the class. Then it fails on augmented pictures, known or not.
#
# The augmented training images alone can't tell the two apart. Four numbers can: known or new images, plain or
# augmented. **Predict the fourth**, new images, augmented.

# %%
from course_lib import evaluate

new_augmented = evaluate(model, course.data.heldout, course, augmented=True).accuracy
known = final["train_plain"].accuracy, final["train_augmented"].accuracy
new = final["heldout_plain"].accuracy, new_augmented
print("                 plain   augmented")
print(f"training images  {known[0]:5.1%}  {known[1]:6.1%}")
print(f"held-out images  {new[0]:5.1%}  {new[1]:6.1%}")
print(f"Down the first column, {100 * (known[0] - new[0]):.0f} points: knowing the picture, reason 1.")
print(f"Along the second row, {100 * (new[0] - new[1]):.0f} points: what augmentation takes away, reason 2.")

# %% [markdown]
# Look at the second column: once they're augmented, are known images still better than new ones? If not, then what the
# network had learned by heart were the pictures themselves, pixel by pixel.

# %% [markdown]
# Six training images, plain above, augmented below:

# %%
import torch

from course_lib import augment_batch, augmentations, plain_batch, plot_predictions

six = course.data.train.take(6, seed=1)
pixels = six.batch(range(6))
both = torch.cat(
    [
        plain_batch(pixels, course.settings.size),
        augment_batch(pixels.to(course.device), augmentations(six, range(6), course), course.settings.size).cpu(),
    ]
)
model.eval()
with torch.inference_mode(), course.precision.autocast():
    probabilities = model(both.to(course.device)).float().softmax(1).cpu()
labels = torch.cat([six.labels] * 2)
right = probabilities.argmax(1) == labels
title = f"The same six training images: {right[:6].sum()} right when plain, {right[6:].sum()} when augmented"
figure = plot_predictions(both, labels, probabilities, course.data.classes, title=title)
keep(figure, course.folder / "stage-2-plain-and-augmented.png")

# %% [markdown]
# ## When would you have stopped?

# %%
best = max(history, key=lambda entry: entry["heldout_accuracy"])
last = history[-1]
print(
    f"Held-out accuracy was highest after epoch {best['epoch']}: {best['heldout_accuracy']:.0%}; "
    f"at the end: {last['heldout_accuracy']:.0%}."
)
print(f"Meanwhile, running training accuracy went from {best['train_accuracy']:.0%} to {last['train_accuracy']:.0%}.")

# %% [markdown]
# To stop when accuracy hasn't risen for some epochs, and keep the best weights, is called **early stopping**. There's a
# catch: if you *choose* the epoch by the held-out images, they're no longer unseen, and the number you report tends to
# be too good. That's why one keeps a third set, the **validation** images, for choosing.

# %% [markdown]
# ## Exercise (homework): measure the accuracy
#
# Write the function that measures a model's accuracy, as a share between 0 and 1. `batches` yields pairs of images
# and labels; the check has 70 images in batches of 32, so the last batch is smaller. Measure in eval mode, and leave
# the model in the mode you found it in. (The report's code gets two of these wrong; notebook 06 shows them.)
#
# <details><summary>Hint</summary>
#
# Count right answers and images separately, and divide once, at the end. `model.training` says which mode the model
# is in, and `model.train(mode)` sets it.
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
checks.accuracy(my_accuracy)

# %% [markdown]
# ## Your own experiment
#
# Change a setting, train beside the stages above (nothing is overwritten), and compare. Set `go` to `True` and run the
# cell; it takes as long as the training above. But remember: if you choose a learning rate by this curve, its images
# have become validation images.

# %%
from course_lib import plot_runs

go = False  # @param {type: "boolean"}
if go:
    mine = course.experiment("lr-0.03", lr=0.03)
    other = get_model(MyModel, seed=course.settings.seed)
    mine_history = train(
        other,
        course.data.train,
        mine.stage(2),
        augmented=False,
        heldout=few_heldout(course),
        live=live_curve(mine.stage(2)),
    )
    keep(
        plot_runs({"lr 0.01": history, "lr 0.03": mine_history}, "heldout_accuracy", "My experiment"),
        mine.folder / "mine.png",
    )

# %% [markdown]
# ## Recap
#
# Training accuracy alone tells you almost nothing about new images. The gap to *held-out* images, the **generalisation
# gap**, shows overfitting; augmented training images mix it with a shift of the distribution. Running accuracy and
# evaluation are different measurements. Next: does augmentation help, and is it really augmentation that helps?

# %% [markdown]
# *To train this stage anew, run `course.stage(2).start_over()`. Before you close a Colab runtime that copies to Drive,
# run `course.leave_drive()`.*
