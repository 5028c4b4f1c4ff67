# ---
# jupyter:
#   accelerator: GPU
#   colab:
#     provenance: []
#   jupytext:
#     cell_metadata_filter: slideshow,tags,cellView,jupyter,-all
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
# # 0. What does the data look like?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *10 minutes to present, half an hour to work through; a few seconds of computing. You'll get to
# know the experiment, the classes and the augmentation, and find out why some images are kept out
# of training.*
#
# ## The experiment in five sentences
#
# A student trained a ResNet-like network to tell 80 classes of images apart. First, the network had
# to memorise five **batches**, 160 images in all, to show that it could learn. Next, it was trained
# on all 40,000 images until it got every single one right, which looked too good to be true. Then
# training continued on randomly cropped, flipped and rotated images, and accuracy reached 85%,
# which the student found plausible. Finally, it predicted the classes of the test images.
#
# | stage | what it's trained on | the report says | notebook |
# |---|---|---|---|
# | 1 | five batches, over and over | it **overfits** them: it memorises them | 03 |
# | 2 | all training images, unchanged | 100% right; 50% on augmented images | 04 |
# | 3 | all training images, augmented anew in every **epoch** (pass over them) | 85% right | 05 |
#
# All of the report's figures were measured on *training* images. We'll repeat the experiment and
# add what's missing: images that the network has never seen.
#
# **The question: what do all pictures of a class have in common, and what may differ?**
#
# Terms in bold are explained in the [glossary](glossary.md).
#
# **Run the next cell first.** It opens the course: `data` says which images you train on (`shapes`
# are small pictures of 80 classes that the course draws itself), and the `preset` how much: `smoke`
# takes seconds, `lecture` minutes, `full` is the report's experiment. Where the processor can, the
# network computes in **bf16**, numbers of 16 bits instead of 32 (fp32), which is several times as
# fast. `course` then holds the images, the settings and the folder of this run.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Open the course: choose the data, the preset, and whether to keep a copy on Google Drive
data = "shapes"  # @param ["shapes", "cifar100-80", "tiny-imagenet-80"] {allow-input: true}
preset = "lecture"  # @param ["smoke", "lecture", "full"]
drive = False  # @param {type: "boolean"}

import importlib.util
import os
import sys

repository = ""  # `make publish` writes owner/name here
ref = ""
sys.path += [".", "..", "course", "drive/MyDrive/course"]  # where the course may be


def course_is_here():
    found = importlib.util.find_spec("course_lib")
    return found is not None and found.origin is not None  # not just a folder of this name


if repository and not course_is_here():
    address = f"https://github.com/{repository}"
    clone = f"git clone --quiet --depth=1 --config=advice.detachedHead=false --branch={ref}"
    if os.system(f"{clone} {address} course"):
        sys.exit(
            f"{address} can't be cloned. Check that it's public, and that this computer may use the"
            " Internet (on Kaggle, it's a setting of the notebook). Then run this cell again."
        )
    importlib.invalidate_caches()
if not course_is_here():
    sys.exit(
        "The course isn't here. Put its folder, called course, beside this notebook, or open the"
        " notebook in the course's own folder. Then run this cell again."
    )

from course_lib import open_course

course = open_course(data, preset, drive)
print(course.describe())

# %% [markdown]
# ## What makes a class?
#
# Here are pictures of some classes, one class per row. What differs between pictures of the same
# class, and what stays the same? (`keep` shows a figure and saves it in the run's folder.)

# %%
from course_lib import keep, show_classes

images = course.data.train
keep(show_classes(images, 4), course.folder / "classes.png")

# %% [markdown]
# <details><summary>Answer, for the images that the course draws</summary>
#
# A class is a motif in a colour: stripes, checks, dots or nets in one of 20 hues. Angle, scale,
# background, noise and the grey patches change from picture to picture; the motif and its hue
# don't. Neighbouring hues are similar, so some classes are hard to tell apart, even for you. If you
# can't see the difference between some hues, go by the motif: it's half of each class, and notebook
# 06 counts the mistakes by motif, too.
#
# </details>
#
# <details><summary>And for photographs</summary>
#
# Look for what comes with a class by accident, too: the same background, light or camera. A network
# may learn that instead.
#
# </details>

# %% [markdown]
# Browse the classes (this works only while the notebook is running):

# %%
from course_lib import browse_classes

browse_classes(images)

# %% [markdown]
# ## From a picture to a tensor
#
# A network takes numbers of a fixed shape and range. The report prepares each picture with three
# **transforms**, which torchvision's `Compose` applies one after another. Let's watch what they do.

# %%
from PIL import Image

number = min(48, len(images) - 1)  # any other will do, too
picture = Image.fromarray(images.batch([number])[0].numpy())

# %%
from torchvision import transforms

from course_lib import show_shapes

size = course.settings.size
plain = transforms.Compose(
    [
        transforms.Resize((size, size)),  # every picture gets the same size
        transforms.ToTensor(),  # bytes 0…255 → floats 0…1, and channels first
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),  # (x − 0.5) / 0.5: 0…1 → −1…1
    ]
)
show_shapes(picture, plain)

# %% [markdown]
# ## Augmentation, one transform at a time
#
# **Augmentation** shows the network a different version of the picture in each epoch. The report
# crops a random part (8 to 100% of the area, stretched by up to 4/3), enlarges it to full size,
# flips it horizontally and vertically, each with probability ½, and rotates it by a random angle of
# up to 90° in either direction. **Predict:** do all of these preserve the class?

# %%
from course_lib import show_steps

augmented = transforms.Compose(
    [
        transforms.RandomResizedCrop((size, size)),
        transforms.ToTensor(),
        transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        transforms.RandomHorizontalFlip(),
        transforms.RandomVerticalFlip(),
        transforms.RandomRotation(90, expand=False),
    ]
)
keep(show_steps(picture, plain, augmented), course.folder / "steps.png")

# %% [markdown]
# If the course draws the images, all four transforms preserve the class, unless a small crop misses
# the motif. With other classes, they may not: a 6 that's flipped both ways is a 9.
#
# Two details will matter later. The picture is rotated *after* it's normalised, so the empty
# corners are 0 in the range −1…1, which is mid-grey; if it were rotated first, they'd be black. And
# every picture gets new random values in every epoch: in 50 augmented epochs, the network sees 50
# versions of each picture.
#
# `torchvision` works on one picture at a time. The course does the same for a whole batch at once
# (cropping the resized picture, not the original file), on the GPU if there is one; a test compares
# the two picture by picture. Move the sliders and find out when you can no longer tell the class
# yourself.

# %%
from course_lib import browse_augmentation

browse_augmentation(images, course)

# %% [markdown]
# ## Training images and held-out images
#
# A network that gets a picture right may have learned the class, or it may just remember the
# picture. Pictures it was trained on can't tell you which. So there are some images that we never
# train on: the **held-out** images. The report didn't know the classes of its test images. If we
# know those of ours, the test images are held out; otherwise, we set others aside.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How many images there are, and what guessing achieves
heldout = course.data.heldout
print(f"{len(images):,} training images; {len(heldout):,} held-out images: {course.data.split}.")
counts = images.labels.unique(return_counts=True)[1]
fewest, most = counts.min().item(), counts.max().item()
each = fewest if fewest == most else f"{fewest} to {most}"
print(f"{len(counts)} classes, with {each} training images each.")
print(f"Guessing is right {100 * course.data.guessing:.3g}% of the time.")
largest, share = course.data.largest_class
if course.data.is_unequal:
    print(f"Always answering “{largest}”, the largest class: {100 * share:.3g}%.")

# %% [markdown]
# ## Five questions
#
# 1. For which data are flipped and rotated pictures fine, and for which aren't they? What about
#    yours?
# 2. A crop may show as little as 8% of the picture. What can go wrong?
# 3. A network gets all of its training images right. Why doesn't that show that it has learned the
#    classes, and what would?
# 4. Why are the empty corners grey after the rotation, and what would they be if it came before
#    `Normalize`?
# 5. There are 80 classes, equally large. How often is a guess right? And if half of all images were
#    of one class, how could you be right half of the time without looking at them?
#
# <details><summary>Answers</summary>
#
# 1. They're fine if a class is the same from all sides: stripes stay stripes in any direction.
#    Digits are different: a 6 flipped both ways is a 9. Mirrored letters and road signs may change
#    their meaning, too.
# 2. The crop may miss whatever identifies the class. Then the label doesn't fit this version of the
#    picture. That's label noise, and one reason why you can't expect 100% on augmented images.
# 3. It may just remember these pictures. Held-out images, which it has never seen, would show it.
# 4. They're filled with 0, which is mid-grey after normalising. Before it, 0 is black.
# 5. 1 in 80 times, 1.25%. In the other case, always answer with the large class: that's why we name
#    its share beside chance if classes are unequal.
#
# </details>
#
# ## Recap
#
# You've seen the classes, how a picture becomes a tensor in −1…1, and four random transforms that
# change a picture but (mostly) not its class. Held-out images will tell us whether the network has
# learned the classes or just the pictures.
#
# Next: [the network itself](01_model.ipynb).
