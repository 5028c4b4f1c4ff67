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
# # 0. Setup and data
#
# A student built an image classifier and told its story in three stages: it overfits five batches; it learns 40,000
# images by heart; it learns to generalise. These notebooks run that experiment again, step by step, on data of your
# choice. This one looks at the data. *About ten seconds on two CPU cores.*
#
# The form below chooses the data: `shapes` is generated in seconds and needs no download; `cifar100-80` and
# `tiny-imagenet-80` are downloaded and verified; the path of a folder or archive in the report's layout
# (`answer.json` beside `train_data/`), on this machine or on Drive, works as well. With `drive`, in Colab, what a run
# leaves is copied to your Google Drive as it appears, and goes on from there after a disconnect; Colab asks you first.

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

# %% [markdown]
# ## What it is, and how it is split
#
# The bank holds every image once, decoded and squeezed to one size, as bytes. Training reads batches from it by
# number.

# %%
from course_lib.manifest import entry_of

for key, value in entry_of(course).items():
    if isinstance(value, str):
        print(f"{key:8} {value}")
bank = open_bank(course)
print(f"{len(bank.train):,} training images, {len(bank.heldout):,} held out: {bank.split}")
print(f"pixels of all of them: {tuple(bank.train.pixels.shape)}, {bank.train.pixels.dtype}")

# %%
from course_lib import keep, plot_class_histogram

keep(plot_class_histogram(bank), course.folder / "class-histogram.png")

# %% [markdown]
# The held-out images are never trained on. Only they can tell whether a model has learned classes or pictures.
#
# ## What a class is
#
# Three images of each of four classes. **Before you run the next cell:** what may change from one picture of a class
# to the next without making it another class? What must not?

# %%
from course_lib import plot_class_samples

keep(plot_class_samples(bank.train, categories=[0, 23, 46, 69], columns=3), course.folder / "samples.png")

# %% [markdown]
# Look at more of them, class by class. (The menu needs a running kernel: a stored page does not show it.)

# %%
from course_lib import browse_classes

browse_classes(bank.train)

# %% [markdown]
# In the generated data the angle, the size of the motif, the ground and the patches in front change; the motif and
# its colour stay. So a flipped, turned or cropped picture still shows its class. Augmentation will rely on that.
#
# ## One image, as the report reads it
#
# `MyDataset` is the report's class: it opens one file at a time. Without a transform, an image comes back as a
# tensor in [0, 1].

# %%
from course_lib import MyDataset
from course_lib.manifest import locate

source = locate(course)
if source.is_dir():
    dataset = MyDataset(source / "answer.json", source / "train_data")
    image, label = dataset[0]
    print(
        f"{len(dataset):,} images; the first: {tuple(image.shape)}, {image.dtype}, "
        f"from {image.min():.2f} to {image.max():.2f}, class {label}: {bank.classes[label]}"
    )

# %% [markdown]
# ## The same image, augmented nine times
#
# The report crops a random 8 to 100 % of the picture, mirrors it, stands it on its head, and turns it by up to 90°.
# Corners that the turn leaves empty are mid-grey. **Predict:** in how many of the nine would you still name the
# class?

# %%
from course_lib import augment_batch, augmentations, plot_images

one = bank.train.subset([0] * 9)
augmented = augment_batch(one.batch(range(9)), augmentations(one, range(9), course), course.settings.size)
keep(plot_images(augmented, [f"draw {i}" for i in range(1, 10)], columns=9), course.folder / "augmented.png")
