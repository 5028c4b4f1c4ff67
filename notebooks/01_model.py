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
# # 1. What is inside the model?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *10 minutes to present, 40 to work through; a few seconds of computing. You'll read the whole
# network: its residual blocks, and how they're stacked.*
#
# **The question: what happens to a picture on its way through the network?**
#
# The [glossary](glossary.md) explains the terms.

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
# ## The residual block
#
# A **convolution** slides a small window of weights over a picture; each set of weights produces
# one **channel** of the output. A 3×3 convolution sees each pixel with its eight neighbours, so it
# can find edges and shapes; **padding**, a frame of zeros around the picture, keeps the output as
# large as the input. A 1×1 convolution sees one pixel at a time: it can only mix the channels, say
# subtract one from another. **Predict:** which of the two still shows you the stripes or dots?

# %%
from course_lib import keep, plain_batch, plot_convolutions

image = plain_batch(course.data.train.batch([0]), course.settings.size)[0]
keep(plot_convolutions(image), course.folder / "convolutions.png")

# %% [markdown]
# Both do, each in its own way: the 1×1 convolution has changed each pixel's colour, and the 3×3
# convolution has found the edges on the left and right of each shape.
#
# With **stride** 2, the window moves two pixels at a time, which halves the picture's height and
# width. **ReLU** turns negative numbers into 0. **Batch norm** shifts and scales each channel
# (notebook 02 shows how).
#
# The network is a stack of **residual blocks**. Each one computes $y = \mathrm{relu}(F(x) + S(x))$:
# three convolutions $F$ on the main path, and a **short-cut** $S$ around them. The addition is the
# key idea of residual networks: a block only has to learn what to *change* about its input. And
# since most short-cuts are the identity, the gradient (notebook 02) has a short path back to the
# early layers.

# %%
from course_lib import draw_block, res_block

keep(draw_block(res_block(128, 128, stride=2), (128, 16, 16)), course.folder / "block.png")

# %% [markdown]
# The arguments of `res_block(in_, out_, stride)` say how many channels come in, how many the block
# works on, and by how much it shrinks the picture. It's a **bottleneck**: a cheap 1×1 convolution
# maps the input to `out_` channels, the 3×3 convolution works on those, and another 1×1 convolution
# widens the result to `2·out_` channels. (ResNet-50 widens by a factor of 4, the report by 2.) If
# input and output differ in shape, the short-cut needs a 1×1 convolution, too; otherwise it's the
# identity.

# %% [markdown]
# Why a bottleneck? Here's what it saves, compared with two 3×3 convolutions of the same width.

# %%
from torch import nn

bottleneck = res_block(1024, 512)
simple = nn.Sequential(nn.Conv2d(1024, 1024, 3, bias=False), nn.Conv2d(1024, 1024, 3, bias=False))
few, many = (sum(p.numel() for p in part.parameters()) for part in (bottleneck, simple))
print(
    f"bottleneck {few:,} parameters, two 3×3 convolutions {many:,}: {many / few:.1f} times as many."
)

# %% [markdown]
# ## Exercise: write `res_block`
#
# Write the block yourself: a 1×1 convolution to `out_` channels, a 3×3 convolution with the stride,
# and a 1×1 convolution to twice as many channels, each without bias and with batch norm
# (`nn.BatchNorm2d(channels)`); then add the short-cut. Each of `conv1`, `conv2` and `conv3` is an
# `nn.Sequential` (convolution, batch norm, perhaps a ReLU), and so is `shortway`. **Before you
# write,** look at the drawing above: which of the three convolutions are followed by a ReLU, and
# what comes last, the addition or a ReLU? The check loads our weights into your block and compares
# the outputs.
#
# <details><summary>Hint</summary>
#
# Only the 3×3 convolution needs padding. You can add two tensors only if *all* of their sizes
# agree: channels, height and width. If they agree already, the short-cut is the identity, which an
# empty `nn.Sequential()` is.
#
# </details>

# %% tags=["exercise"]
from torch import nn

from course_lib import checks


class my_res_block(nn.Module):
    def __init__(self, in_, out_, stride=1):
        super().__init__()
        raise checks.Todo

    def forward(self, x):
        raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from torch import nn
#
# from course_lib import checks
#
#
# class my_res_block(nn.Module):
#     def __init__(self, in_, out_, stride=1):
#         super().__init__()
#         self.conv1 = nn.Sequential(
#             nn.Conv2d(in_, out_, 1, bias=False), nn.BatchNorm2d(out_), nn.ReLU()
#         )
#         self.conv2 = nn.Sequential(
#             nn.Conv2d(out_, out_, 3, stride=stride, padding=1, bias=False),
#             nn.BatchNorm2d(out_),
#             nn.ReLU(),
#         )
#         self.conv3 = nn.Sequential(
#             nn.Conv2d(out_, 2 * out_, 1, bias=False), nn.BatchNorm2d(2 * out_)
#         )
#         self.shortway = nn.Sequential()  # the identity
#         if stride != 1 or in_ != 2 * out_:
#             self.shortway = nn.Sequential(
#                 nn.Conv2d(in_, 2 * out_, 1, stride=stride, bias=False), nn.BatchNorm2d(2 * out_)
#             )
#
#     def forward(self, x):
#         return (self.conv3(self.conv2(self.conv1(x))) + self.shortway(x)).relu()
# ```
#
# </details>

# %% tags=["check"]
passed = checks.res_block(my_res_block)

# %% [markdown]
# Tried it? Then set `show_ours` to `True` and run the next cell to see ours.

# %%
import inspect

show_ours = False  # @param {type: "boolean"}
if show_ours:
    print(inspect.getsource(res_block))

# %% [markdown]
# ## The whole network
#
# `MyModel` is a first convolution, four groups with 13 blocks in all, and a **linear layer** that
# turns 1,024 numbers into **logits**, one per class: 80 in the report, and here, as many as your
# data has classes. **Pooling** replaces neighbouring numbers by one: the network's own `conv1` (not
# a block's) ends with their maximum, and `pool` takes the mean of each whole channel, so that where
# something was no longer matters. From group to group, the picture gets smaller and the number of
# channels doubles: the network gives up detail about *where* things are, and gains detail about
# *what* they are.

# %%
from course_lib import MyModel, draw_model

model = course.new_model()  # a new MyModel for the classes of this data
keep(draw_model(model, course.settings.size), course.folder / "model.png")

# %% [markdown]
# Here's its source. (“1.A” and the like, here and in the library, are sections of the report.)

# %%
import inspect

print(inspect.getsource(MyModel))

# %% [markdown]
# Let's pass four images through it, group by group. The shapes are (images, channels, height,
# width).

# %%
import torch

some = course.data.train.take(4, seed=course.settings.seed)
x = plain_batch(some.batch(range(len(some))), course.settings.size)
print(f"{'image':6} {tuple(x.shape)}")
model.eval()  # notebook 02 explains it
with torch.inference_mode():  # we only look; nothing is learned
    for name, part in model.named_children():
        x = part(x.flatten(1) if name == "fc" else x)  # the linear layer takes vectors
        weights = sum(p.numel() for p in part.parameters())
        print(f"{name:6} {tuple(x.shape)}   {weights:>12,} parameters")

# %%
print(f"{sum(p.numel() for p in model.parameters()):,} parameters in all")

# %% [markdown]
# ## Exercise: how deep is it?
#
# The report says "over 50 layers". Count them yourself in the source of `MyModel` and `res_block`:
# only convolutions and linear layers, and only those on the main path from the image to the logits,
# so leave out the short-cuts.
#
# <details><summary>Hint</summary>
#
# How many convolutions does one block have, and how many blocks are there in `conv2` to `conv5`?
# What comes before them, and what after?
#
# </details>

# %% tags=["exercise"]
from course_lib import checks

my_count = ...

# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
# my_count = 1 + 3 * (2 + 3 + 5 + 3) + 1  # conv1, three convolutions in each of 13 blocks, fc
# ```
#
# </details>

# %% tags=["check"]
passed = checks.layers(my_count)

# %% [markdown]
# ## Five questions
#
# 1. What does a block output if its three convolutions on the main path all output 0?
# 2. Why do some short-cuts need a convolution of their own?
# 3. Which is cheaper, a 1×1 or a 3×3 convolution with the same channels, and by what factor?
# 4. A picture enters with 64 × 64 pixels. What's left of its height and width in `conv5`, and where
#    has the rest gone?
# 5. What would change in the network if the data had 10 classes?
#
# <details><summary>Answers</summary>
#
# 1. Its input, wherever the shapes agree: the sum is then $S(x)$, which is $x$, and the last ReLU
#    changes nothing, since $x$ comes from a ReLU already. So a block that has learned nothing does
#    no harm.
# 2. A sum needs equal shapes. Where a block halves the picture or changes the number of channels, a
#    1×1 convolution brings the input into the new shape.
# 3. The 1×1, by a factor of nine: it has one weight per pair of channels instead of nine.
# 4. 2 × 2 positions, but 1,024 channels: *where* things are has been traded for *what* they are.
# 5. Only the last layer, `fc`, which has one row of weights per class.
#
# </details>
#
# ## Recap
#
# The network is a stack of residual blocks, $y = \mathrm{relu}(F(x) + S(x))$, each of them a
# bottleneck of three convolutions. On the way, the picture shrinks and the channels multiply, until
# a linear layer turns 1,024 numbers into one logit per class.
#
# Next: [how does it learn?](02_loss_and_loop.ipynb)
