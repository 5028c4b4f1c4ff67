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
# The form below chooses the data: `shapes` is generated in seconds and needs no download. The path of a folder or zip
# archive in the report's layout (`answer.json` beside `train_data/`) works as well.

# %% cellView="form"
# @title Setup: what is run, and on which data
data = "shapes"  # @param ["shapes"] {allow-input: true}
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
# ## What a class is
#
# The bank holds every image once, decoded and squeezed to one size, as bytes. Training reads batches from it by
# number.
#
# **Before you run the next cell:** the generated data has 80 classes, a motif × its colour. What may change from one
# picture of a class to the next without making it another class?

# %%
bank = open_bank(course)
print(
    f"{len(bank.train):,} training images, {len(bank.heldout):,} held out ({bank.split}), {len(bank.classes)} classes"
)
print(f"pixels: {tuple(bank.train.pixels.shape)}, {bank.train.pixels.dtype}")

# %%
from course_lib import keep, plot_images

some = bank.train.take(12, seed=course.settings.seed)
captions = [bank.classes[label].split(",")[0] for label in some.labels.tolist()]
keep(plot_images(some.batch(range(12)), captions), course.folder / "samples.png")

# %% [markdown]
# The angle, the size of the motif, the ground, the light and the patches in front change; the motif and its colour
# stay. So a flipped, turned or cropped picture still shows its class. That is what augmentation will rely on.
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
from course_lib import augment_batch, draw_augmentations
from course_lib.augment import DRAWS
from course_lib.draws import uniforms

one = some.subset([0] * 9)
draws = uniforms(course.settings.seed, 0, 0, range(9), DRAWS)
augmented = augment_batch(one.batch(range(9)), draw_augmentations(draws, one.widths, one.heights), course.settings.size)
keep(plot_images(augmented, [captions[0]] * 9, columns=9), course.folder / "augmented.png")
