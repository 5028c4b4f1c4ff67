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
# # 0. Setup and data
#
# A student built an image classifier and reported its story in three stages: it overfits five batches; it memorises
# 40,000 training images; it learns to generalise. These notebooks repeat that experiment step by step, on data of your
# choice. **What does the data look like, and what does augmentation do to it?**
#
# Choose the data in the form below. `shapes` is generated in seconds; `cifar100-80` and `tiny-imagenet-80` are
# downloaded and verified. You can also enter the path of your own folder or archive in the report's layout
# (`answer.json` next to `train_data/`). If you tick `drive` in Colab, your run is copied to your Google Drive as it
# grows and resumes from there after a disconnect; Colab asks for permission first.

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
# ## Training images and held-out images
#
# Every image is decoded once, squeezed to one size, and stored as bytes. Training picks its batches from this array.

# %%
images = course.data
print(f"{len(images.train):,} training images, {len(images.heldout):,} held out: {images.split}")
print(f"all their pixels: {tuple(images.train.pixels.shape)}, {images.train.pixels.dtype}")

counts = images.train.labels.bincount(minlength=len(images.classes))
print(f"classes: {(counts > 0).sum()}; training images in the smallest: {counts.min()}, in the largest: {counts.max()}")

# %% [markdown]
# The model never trains on the held-out images. Only they can tell you whether it has learned classes or pictures.
#
# ## What makes a class?
#
# Below are three images from each of four classes. **Before you run the cell, predict:** what may differ between two
# pictures of the same class, and what may not?

# %%
from course_lib import keep, plot_class_samples

keep(plot_class_samples(images.train, categories=[0, 23, 46, 69], columns=3), course.folder / "samples.png")

# %% [markdown]
# Browse more of them, class by class. (The menu needs a running kernel, so you won't see it on a stored page.)

# %%
from course_lib import browse_classes

browse_classes(images.train)

# %% [markdown]
# In the generated data, the angle and size of the motif, the background, and the patches in front of it vary; the motif
# and its colour don't. So a flipped, rotated or cropped picture still shows its class. Augmentation relies on that.
#
# ## One image, as the report reads it
#
# `MyDataset` is the report's class. It opens one file at a time and returns the image with its label. Without a
# transform, the image is a tensor with values in [0, 1].

# %%
from course_lib import MyDataset
from course_lib.data.manifest import locate

folder, *_ = locate(course.source, course.settings, course.home)
if (folder / "answer.json").exists():  # not if the data is an archive
    dataset = MyDataset(folder / "answer.json", folder / "train_data")
    image, label = dataset[0]
    print(f"{len(dataset):,} images. The first: {tuple(image.shape)}, {image.dtype}, label {label}")
    print(f"Its values go from {image.min():.2f} to {image.max():.2f}; its class is {images.classes[label]}.")

# %% [markdown]
# ## The same image, augmented nine times
#
# The report crops a random 8–100 % of the picture, flips it horizontally and vertically, each with probability ½, and
# rotates it by up to 90° in either direction. Corners that the rotation leaves empty are mid-grey. **Predict:** in how
# many of the nine pictures will you still recognise the class?

# %%
from course_lib import augment_batch, augmentations, plot_images

one = images.train.subset([0] * 9)
augmented = augment_batch(one.batch(range(9)), augmentations(one, range(9), course), course.settings.size)
keep(plot_images(augmented, [f"draw {i}" for i in range(1, 10)], columns=9), course.folder / "augmented.png")
