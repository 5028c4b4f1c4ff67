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
# # 1. What is inside the model, and how does it learn?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *20 minutes. You'll read the whole network and the whole training loop, and check the theory
# behind them with numbers: the short-cut, batch norm, cross entropy, and gradient descent with
# momentum.*
#
# **The question: how does a batch of images turn into a better network?**

# %% cellView="form"
# @title Get the course (only Colab needs this)
import os
import sys

repository = ""  # `make publish` writes owner/name here
if "google.colab" in sys.modules and repository and not os.path.isdir("course"):
    if os.system(f"git clone --quiet --depth=1 https://github.com/{repository} course"):
        sys.exit(
            f"https://github.com/{repository} can't be cloned. Check that it's public, then run"
            " this cell again."
        )
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
# ## The residual block
#
# A **convolution** slides a small window of weights over a picture; each set of weights produces
# one **channel** of the output. With **stride** 2, the window moves two pixels at a time, which
# halves the picture's height and width. **ReLU** turns negative numbers into 0.
#
# The network is a stack of **residual blocks**. Each one computes $y = \mathrm{relu}(F(x) + S(x))$:
# three convolutions $F$ on the main path, and a **short-cut** $S$ around them. The addition is the
# key idea of residual networks: a block only has to learn what to *change* about its input. And
# since most short-cuts are the identity, the gradient (more on that below) has a short path back to
# the early layers.

# %%
from course_lib import draw_block, keep, res_block

keep(draw_block(res_block(128, 128, stride=2), (128, 16, 16)), course.folder / "block.png")

# %% [markdown]
# The block is a **bottleneck**: a cheap 1×1 convolution maps the input to `out_` channels, the 3×3
# convolution works on those, and another 1×1 convolution widens the result to `2·out_` channels.
# (ResNet-50 widens by a factor of 4, the report by 2.) If input and output differ in shape, the
# short-cut needs a 1×1 convolution, too; otherwise it's the identity.

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
# and a 1×1 convolution to twice as many channels, each without bias and with batch norm; then add
# the short-cut. Each of `conv1`, `conv2` and `conv3` is an `nn.Sequential` (convolution, batch
# norm, perhaps a ReLU), and so is `shortway`. **Before you write,** look at the formula and decide:
# which of the three convolutions are followed by a ReLU, and what comes last, the addition or a
# ReLU? The check loads our weights into your block and compares the outputs.
#
# <details><summary>Hint</summary>
#
# Two ReLUs are inside F, after the first two convolutions; the third one comes after the addition.
# You can add two tensors only if *all* of their sizes agree: channels, height and width.
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
# Here's ours for comparison: the stride is on the 3×3 convolution, and the ReLU comes after the
# addition.

# %%
import inspect

print(inspect.getsource(res_block))

# %% [markdown]
# ## The whole network
#
# `MyModel` is a first convolution, four groups with 13 blocks in all, and a **linear layer** that
# turns 1,024 numbers into **logits**, one per class: 80 in the report, and here, as many as your
# data has classes. From group to group, the picture gets smaller and the number of channels
# doubles: the network gives up detail about *where* things are, and gains detail about *what* they
# are.

# %%
from course_lib import MyModel, draw_model

model = course.new_model()  # a new MyModel for the classes of this data
keep(draw_model(model, course.settings.size), course.folder / "model.png")

# %%
print(inspect.getsource(MyModel))

# %% [markdown]
# Let's pass four images through it, group by group. The shapes are (images, channels, height,
# width).

# %%
import torch

from course_lib import plain_batch

settings = course.settings
images = course.data.train
some = images.take(32, seed=settings.seed)  # drawn: the first 32 may all be of one class
batch, labels = plain_batch(some.batch(range(len(some))), settings.size), some.labels
x = batch[:4]
print(f"{'image':6} {tuple(x.shape)}")
model.eval()  # explained in a moment
with torch.inference_mode():  # we only look; nothing is learned
    for name, part in model.named_children():
        x = part(x.flatten(1) if name == "fc" else x)  # the linear layer takes vectors
        print(
            f"{name:6} {tuple(x.shape)}   {sum(p.numel() for p in part.parameters()):>12,}"
            " parameters"
        )
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
# ## Batch norm: two modes
#
# Every convolution is followed by **batch norm**. In training mode, it shifts and scales each
# channel so that it has mean 0 and standard deviation 1 *over the current batch* (all its images
# and positions), and then applies a learned scale and offset. In eval mode, it uses running
# averages collected during training instead. So in training mode, an image's logits depend on the
# other images in its batch. **Predict:** will a fresh network give an image the same logits in both
# modes?


# %%
def fresh():
    """A new network, always the same, in training mode."""
    return course.new_model()


with torch.inference_mode():
    training, evaluation = (
        fresh()(batch)[0],
        fresh().eval()(batch)[0],
    )  # the logits of the first image
    print(
        "Same image, training or eval mode: logits differ by"
        f" {(training - evaluation).abs().max():.2f}"
    )
    print(
        f"Training mode, batch of 2 or of {len(batch)}: by"
        f" {(fresh()(batch[:2])[0] - training).abs().max():.2f}"
    )
    print(
        "Eval mode, alone or in a batch: by"
        f" {(fresh().eval()(batch[:1])[0] - evaluation).abs().max():.1e}"
    )
    after = fresh().conv1[:2](batch)  # the first convolution and its batch norm, in training mode
    means, deviations = after.mean((0, 2, 3)), after.std((0, 2, 3))  # (64,), one per channel
    print(
        f"After the first batch norm, in each of {len(means)} channels: mean 0, to within"
        f" {means.abs().max():.0e};"
    )
    print(f"standard deviation {deviations.min():.3f} to {deviations.max():.3f}")

# %% [markdown]
# That's why evaluation needs `model.eval()`, and why accuracy that's measured *while* training (in
# training mode, with weights that change from batch to batch) isn't the accuracy of the finished
# network. We'll come back to this.
#
# ## The loss: cross entropy
#
# **Softmax** turns logits $z$ into probabilities, $p_c = e^{z_c} / \sum_k e^{z_k}$. **Cross
# entropy** is the negative logarithm of the probability that the network gives to the right class:
# $L = -\ln p_{\text{right}}$, averaged over the batch. A network that knows nothing gives each of K
# classes a probability of 1/K. **Predict the loss of a fresh network.**

# %%
import math

import torch.nn.functional as F

logits = fresh()(batch)
p = logits.exp() / logits.exp().sum(1, keepdim=True)  # softmax: (32, K)
by_hand = -p[range(len(labels)), labels].log().mean()
classes = len(course.data.classes)
print(
    f"by hand {by_hand:.4f}, F.cross_entropy {F.cross_entropy(logits, labels):.4f}; ln {classes} ="
    f" {math.log(classes):.4f}"
)
print(f"in eval mode: {F.cross_entropy(fresh().eval()(batch), labels):.4f}")

# %% [markdown]
# In eval mode, a fresh network's logits are nearly equal, so its loss is close to ln K. In training
# mode, batch norm amplifies the differences, so the network is wrong with some confidence, and that
# costs more than guessing. Check the first loss in all your projects: with K classes, it should be
# near ln K. If it's far off (with the report's 80 classes, 10 instead of 4.4, say), look for a bug.

# %% [markdown]
# ## Exercise: write the cross entropy
#
# From the logits of a batch, (B, K), and the right classes, (B,), compute the loss: the mean over
# the batch of $-\log p$, where $p$ is the softmax probability of the right class. Don't use
# `F.cross_entropy`; that's what the check compares yours with. Logits can get large, so the check
# also tries one of 1000.
#
# <details><summary>Hint</summary>
#
# $\log p_k = z_k - \log \sum_j e^{z_j}$. `torch.logsumexp` computes the last term without
# overflowing, and `logits[range(len(labels)), labels]` picks one logit from each row.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_cross_entropy(logits, labels):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
#
# def my_cross_entropy(logits, labels):
#     right = logits[range(len(labels)), labels]  # (B,), the logits of the right classes
#     return (logits.logsumexp(1) - right).mean()
# ```
#
# </details>

# %% tags=["check"]
passed = checks.cross_entropy(my_cross_entropy)

# %% [markdown]
# ## The step: gradient descent with momentum
#
# `loss.backward()` computes the **gradient** $g$: for each weight, how fast the loss grows as that
# weight grows. **SGD** takes a small step in the opposite direction. With **momentum**, it sums up
# past gradients, with older ones fading out, and uses that sum instead:
#
# $$v \leftarrow \mu v + g \qquad w \leftarrow w - \eta v$$
#
# $\eta$ is the **learning rate** (0.01 in the report) and $\mu$ the momentum (0.9). If successive
# gradients agree, steps become up to ten times as large (1 + 0.9 + 0.9² + … = 10); if they
# disagree, they cancel out. Let's compare the formula with PyTorch:

# %%
w = torch.tensor([1.0], requires_grad=True)
optimizer = torch.optim.SGD([w], lr=settings.lr, momentum=settings.momentum)
by_hand, v = 1.0, 0.0
for _ in range(3):
    loss = (w**2).sum()  # its gradient is 2w
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    v = settings.momentum * v + 2 * by_hand
    by_hand = by_hand - settings.lr * v
    print(f"PyTorch {w.item():.6f}, by hand {by_hand:.6f}")

# %% [markdown]
# ## The loop in plain PyTorch
#
# Now you have all the pieces. A **dataset** returns one (image, label) pair at a time; the report's
# is called `MyDataset` and opens one file per image. Here, the images are decoded already, so a
# list of pairs will do. A **DataLoader** shuffles the pairs and groups them into batches. An
# **epoch** is one pass over all images. Here's a complete training loop, which runs for two epochs
# on up to 160 images:

# %%
from torch.utils.data import DataLoader

# Drawn at random. With Subset(dataset, range(160)), all images might be of one class: data sets are
# often sorted.
some = images.take(160, seed=settings.seed)
decoded = plain_batch(some.batch(range(len(some))), settings.size)
dataset = list(zip(decoded, some.labels.tolist()))
model = course.new_model()
optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
for epoch in (1, 2):
    loss_sum, correct, seen = 0, 0, 0
    loader = DataLoader(
        dataset,
        batch_size=32,
        drop_last=len(dataset) > 32,  # a single image left over is too few for batch norm
        shuffle=True,
        generator=torch.Generator().manual_seed(epoch),
    )
    for batch, labels in loader:  # (32, 3, S, S), (32,)
        logits = model(batch)  # (32, K)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
        seen += len(labels)
    print(f"epoch {epoch}: loss {loss_sum / seen:.3f}, {correct} of {seen} right while training")

# %% [markdown]
# ## The course's loop
#
# The loss may not have fallen yet: two epochs are only ten steps. (Notebook 02 trains for longer.)
# The loop works, but in Colab it would lose everything as soon as the runtime disconnects. Here's
# the loop that the next notebooks use. Find the lines you've just read; the rest is explained
# below.

# %%
from course_lib import train

print(inspect.getsource(train))

# %% [markdown]
# - `training_batches(…)` takes batches from an array of decoded images, and augments whole batches
#   at once. The order and the random values depend only on the seed, the stage and the epoch.
# - `with Run(…) as run` looks for the newest undamaged checkpoint and continues from it, momentum
#   included, even in the middle of an epoch.
# - `run.steps(…)` yields the batches and saves a checkpoint every two minutes. If you press ■,
#   Jupyter's stop button, it finishes the step, saves and stops.
# - `learning_rate(…)` is the setting `lr`, 0.01 in the report, unless you choose a schedule.
#   `data_parallel(…)` is the model itself, and `batch.weight` is 1, unless several processes share
#   the work (notebook 09).
# - `course.precision.autocast()` computes with 16-bit numbers (bf16 or fp16) if the hardware
#   supports them, which is faster.
# - `scaler` is for fp16, which can't represent tiny gradients: the loss is scaled up before
#   `backward`, and the gradients are scaled down again before the step. With other precisions, it
#   does nothing.
# - `optimizer.zero_grad()` can go anywhere before `backward`.
# - `run.count(…)` adds up loss and accuracy on the device, without waiting for it; every image
#   counts once.
# - `run.end_epoch(…)` closes the epoch with the accuracy on held-out images, measured in eval mode.
#
# So if the runtime dies in mid-epoch, run the cell again: training resumes in the same epoch, and
# you lose at most two minutes.
#
# ## Recap
#
# You've seen every line that turns images into a better network, and the theory behind it: $y =
# \mathrm{relu}(F(x) + S(x))$, the two modes of batch norm, $-\ln p$, and $w \leftarrow w - \eta v$.
# Next: can this network learn at all?
