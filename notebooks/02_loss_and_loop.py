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
# # 2. How does the network learn?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *15 minutes to present, 45 to work through; a quarter of a minute of computing. You'll read a
# whole training loop, and check the theory behind it with numbers: batch norm, cross entropy, and
# gradient descent with momentum.*
#
# **The question: how does a batch of images turn into a better network?**
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
# ## A batch to work with
#
# Up to 32 images and their labels, drawn at random from the training images, as the network gets
# them: a tensor of shape (images, channels, height, width).

# %%
from course_lib import plain_batch

settings = course.settings
images = course.data.train
some = images.take(32, seed=settings.seed)  # drawn: the first 32 may all be of one class
batch, labels = plain_batch(some.batch(range(len(some))), settings.size), some.labels
print(tuple(batch.shape))

# %% [markdown]
# ## Batch norm: two modes
#
# Every convolution is followed by **batch norm**. In training mode, it shifts and scales each
# channel so that it has mean 0 and standard deviation 1 *over the current batch* (all its images
# and positions), and then applies a learned scale and offset. In eval mode, it uses running
# averages collected during training instead: in a fresh network, they're still 0 and 1, so batch
# norm changes nothing. **Predict:** will a fresh network give an image the same logits in both
# modes?


# %%
import torch


def fresh():
    """A new network, always the same, in training mode."""
    return course.new_model()


with torch.inference_mode():
    training = fresh()(batch)[0]  # the logits of the first image
    evaluation = fresh().eval()(batch)[0]
apart = (training - evaluation).abs().max()
print(f"Same image, training or eval mode: logits differ by {apart:.2f}")

# %% [markdown]
# And do they depend on the rest of the batch?

# %%
with torch.inference_mode():
    of_two = fresh()(batch[:2])[0]
    alone = fresh().eval()(batch[:1])[0]
apart = (of_two - training).abs().max()
print(f"Training mode, batch of 2 or of {len(batch)}: by {apart:.2f}")
apart = (alone - evaluation).abs().max()
print(f"Eval mode, alone or in a batch: by {apart:.1e}")

# %% [markdown]
# What leaves the first batch norm, in training mode, is as promised:

# %%
with torch.inference_mode():
    after = fresh().conv1[:2](batch)  # the first convolution and its batch norm
means = after.mean((0, 2, 3))  # (64,), one per channel
deviations = after.std((0, 2, 3))
print(f"In each of {len(means)} channels, the mean is 0, to within {means.abs().max():.0e};")
print(f"the standard deviation is {deviations.min():.3f} to {deviations.max():.3f}.")

# %% [markdown]
# So in training mode, an image's logits depend on the rest of its batch, and in eval mode, they
# don't. That's why evaluation needs `model.eval()`, and why accuracy that's measured *while*
# training (in training mode, with weights that change from batch to batch) isn't the accuracy of
# the finished network. We'll come back to this.
#
# ## The loss: cross entropy
#
# **Softmax** turns logits $z$ into probabilities, $p_c = e^{z_c} / \sum_k e^{z_k}$. **Cross
# entropy** is the negative logarithm of the probability that the network gives to the right class:
# $L = -\ln p_{\text{right}}$, averaged over the batch. With natural logarithms, the unit of the
# loss is called a **nat**. **Predict** the loss of a network that knows nothing: it gives each of K
# classes a probability of 1/K. Then run the next cell, which draws what an image costs, depending
# on the probability of its right class:

# %%
from course_lib import keep, plot_surprise

classes = len(course.data.classes)
keep(plot_surprise(classes), course.folder / "loss.png")

# %% [markdown]
# Does a fresh network, which has learned nothing yet, have that loss? We compute it twice, by hand
# and with PyTorch. (`p[range(len(labels)), labels]` picks one probability from each row: that of
# the right class.)

# %%
import math

import torch.nn.functional as F

logits = fresh()(batch)
p = logits.exp() / logits.exp().sum(1, keepdim=True)  # softmax: (32, K)
by_hand = -p[range(len(labels)), labels].log().mean()
by_pytorch = F.cross_entropy(logits, labels)
print(f"by hand {by_hand:.4f}, F.cross_entropy {by_pytorch:.4f}")
print(f"in eval mode: {F.cross_entropy(fresh().eval()(batch), labels):.4f}")
print(f"ln {classes} = {math.log(classes):.4f}")

# %% [markdown]
# In eval mode, where batch norm changes nothing yet, a fresh network's logits are nearly equal, so
# its loss is close to ln K. In training mode, batch norm amplifies the differences between the
# images, so the network is wrong with some confidence, and that costs more than guessing. Check the
# first loss in all your projects: with K classes, it should be near ln K. If it's far off (with the
# report's 80 classes, 10 instead of 4.4, say), look for a bug.

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
# disagree, they cancel out. Here are the steps on a loss that depends on two weights, and is much
# steeper along one than along the other:

# %%
from course_lib import plot_momentum

keep(plot_momentum(), course.folder / "momentum.png")

# %% [markdown]
# Without momentum, a learning rate that's safe for the steep direction is slow in the flat one.
# With it, steps that agree add up, at the price of overshooting. Let's compare the formula with
# PyTorch:

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
# list of pairs will do. A **DataLoader** shuffles the pairs and groups them into batches; we leave
# out a last batch that isn't full, unless it's the only one. An **epoch** is one pass over all
# images.

# %%
from torch.utils.data import DataLoader

# Drawn at random: data sets are often sorted, so the first 160 images might all be of one class.
some = images.take(160, seed=settings.seed)
decoded = plain_batch(some.batch(range(len(some))), settings.size)
dataset = list(zip(decoded, some.labels.tolist()))
order = torch.Generator().manual_seed(1)
full = len(dataset) >= 32
loader = DataLoader(dataset, batch_size=32, drop_last=full, shuffle=True, generator=order)

# %% [markdown]
# And here's a complete training loop. **Predict:** are five epochs enough to see its loss fall?

# %%
model = course.new_model()
optimizer = torch.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)
for epoch in range(1, 6):
    losses = []
    for batch, labels in loader:  # (32, 3, S, S), (32,)
        logits = model(batch)  # (32, K)
        loss = F.cross_entropy(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"epoch {epoch}: mean loss {sum(losses) / len(losses):.3f}")

# %% [markdown]
# ## The course's loop
#
# That's all there is to it. But in Colab, this loop would lose everything as soon as the runtime
# disconnects. Here's the loop that the next notebooks use. Find the lines you've just read; the
# others are explained in the appendix at the end of this notebook.

# %%
import inspect

from course_lib import train

print(inspect.getsource(train))

# %% [markdown]
# So if the runtime dies in mid-epoch, run the notebook from the top: training resumes in the same
# epoch, and you lose at most two minutes.

# %% [markdown]
# ## Five questions
#
# 1. A network answers 80 classes with equal probability. What's its loss, and why?
# 2. Why may the same image get different logits in training mode and in eval mode?
# 3. The loss of your first batch is 10, with 80 classes. Is that a problem?
# 4. What does momentum change if successive gradients agree, and what if they alternate?
# 5. The runtime dies in the middle of an epoch. What do you do, and what have you lost?
#
# <details><summary>Answers</summary>
#
# 1. $-\ln(1/80) = \ln 80 = 4.38$, whatever the right class is.
# 2. In training mode, batch norm uses the mean and deviation of the current batch, so an image's
#    logits depend on its neighbours. In eval mode, it uses running averages.
# 3. Yes. It should be near ln 80, or a little above in training mode. A loss that's far higher
#    points to a bug, such as images in 0…255.
# 4. If they agree, steps add up to as much as ten times one step (with 0.9). If they alternate,
#    they nearly cancel out.
# 5. Run the notebook from the top. Training continues in the same epoch, from a checkpoint that's
#    at most two minutes old.
#
# </details>
#
# ## Recap
#
# You've seen every line that turns images into a better network, and the theory behind it: the two
# modes of batch norm, $-\ln p$, and $w \leftarrow w - \eta v$.
#
# Next: [can this network learn at all?](03_five_batches.ipynb)

# %% [markdown]
# ## Appendix: what else is in `train`
#
# - `training_batches(…)` takes batches from an array of decoded images, and augments whole batches
#   at once. The order and the random values depend only on the seed, the stage and the epoch.
# - `with Run(…) as run` looks for the newest undamaged checkpoint and continues from it, momentum
#   included, even in the middle of an epoch.
# - `run.steps(…)` yields the batches and saves a checkpoint every two minutes. If you press ■,
#   Jupyter's stop button, it finishes the step, saves and stops.
# - `learning_rate(…)` is the setting `lr`, 0.01 in the report, unless you choose a schedule.
#   `data_parallel(…)` is the model itself, and `batch.weight` is 1, unless several processes share
#   the work (notebook 15).
# - `course.precision.autocast()` computes with 16-bit numbers (bf16 or fp16) if the hardware
#   supports them, which is faster.
# - `label_smoothing` is 0 in the report and changes nothing; notebook 12 tries another value.
# - `scaler` is for fp16, which can't represent tiny gradients: the loss is scaled up before
#   `backward`, and the gradients are scaled down again before the step. With other precisions, it
#   does nothing.
# - `optimizer.zero_grad()` can go anywhere before `backward`.
# - `run.count(…)` adds up loss and accuracy on the device, without waiting for it; every image
#   counts once.
# - `run.end_epoch(…)` closes the epoch with the accuracy on held-out images, measured in eval mode.
