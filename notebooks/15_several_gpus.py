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
# # 15. Can several GPUs train one network?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *10 minutes to present, 40 to work through; a minute of computing on two CPU cores.
# You'll split a batch in two, find out which layer notices, and train on as many GPUs as you have.*
#
# If one GPU isn't enough, several can share the work. Each holds a copy of the network and computes
# the gradient for its part of every batch; the gradients are averaged, and every copy takes the
# same step. **The question: is that the same as training on one GPU?**
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
# ## Half a batch each
#
# The loss of a batch is the mean over its images, so its gradient is the mean of the gradients of
# its two halves. We compute it both ways and compare, once in eval mode and once in training
# mode. **Predict:** in which mode do the two agree?

# %%
import torch
import torch.nn.functional as F

from course_lib import training_batches

model = course.new_model().to(course.device)
batch = next(training_batches(course.data.train, course.stage(2), epoch=1, augmented=False))
images, labels = batch.images, batch.labels


# %%
def gradient(parts):
    """The gradient of the mean loss over all images of some parts of a batch, as one vector."""
    model.zero_grad()
    for part, answers in parts:
        loss = F.cross_entropy(model(part), answers)
        (loss * len(answers) / len(labels)).backward()  # adds to what is there
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


# %%
apart = {}
for mode in ("eval", "training"):
    model.train(mode == "training")
    whole = gradient([(images, labels)])
    halves = gradient([(images[0::2], labels[0::2]), (images[1::2], labels[1::2])])
    apart[mode] = ((whole - halves).norm() / whole.norm()).item()
    print(f"In {mode} mode, the gradients differ by {apart[mode]:.2g} times their length.")

# %%
if apart["training"] > 1000 * apart["eval"]:
    print("In eval mode, that's rounding. In training mode, it isn't: batch norm notices.")

# %% [markdown]
# Two vectors of equal length that have nothing to do with each other differ by √2 = 1.41 times
# their length. If the difference in training mode is about as large, why does training with half
# batches work at all? The **cosine** of the angle between two gradients is 1 if they point in the
# same direction, and 0 if they're unrelated. **Predict:** does it change within 20 steps of
# training?

# %%
from itertools import islice


def cosines():
    """The cosine between both gradients in training mode: of all layers, and of the last one."""
    model.train()
    whole = gradient([(images, labels)])
    halves = gradient([(images[0::2], labels[0::2]), (images[1::2], labels[1::2])])
    last = model.fc.weight.numel() + model.fc.bias.numel()
    return [F.cosine_similarity(whole[-n:], halves[-n:], dim=0).item() for n in (len(whole), last)]


# %%
in_a_new_network = cosines()
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
batches = training_batches(course.data.train, course.stage(2), epoch=1, augmented=False)
for step in islice(batches, 20):
    loss = F.cross_entropy(model(step.images), step.labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
for when, (of_all, of_last) in {"In a new network": in_a_new_network, "Later": cosines()}.items():
    print(f"{when}: cosine {of_all:.2f} for all layers, {of_last:.2f} for the last one.")

# %% [markdown]
# The last layer's gradient agrees from the start. In a new network, the gradients of the early
# layers depend on the batch's statistics so much that they agree in hardly anything; once the last
# layer has learned a little, they point in the same direction, too.

# %% [markdown]
# In training mode, batch norm normalises with the mean and variance *of the batch*. Each half has
# its own, and with N processes, they're estimated from 32/N images instead of 32, which makes them,
# and every step, noisier. All other layers process each image on its own.
# `course.experiment("sync", sync_batch_norm=True)` makes the processes share their means and
# variances, so they all normalise over the whole batch again; that works only on GPUs, and every
# batch norm then waits for the slowest process.

# %% [markdown]
# ## Exercise: gradient accumulation
#
# The same idea helps if you have one GPU whose memory is too small for a batch. PyTorch *adds*
# gradients to those that are already there, so one GPU can process the parts of a batch one after
# the other, and take its step when all are done.
#
# `parts` is a list of (images, labels), not all of the same size; only one part at a time fits into
# memory. Afterwards, every weight's `.grad` must be the gradient of the mean loss over *all*
# images, as if they'd been one batch, whatever was in `.grad` before. The model is in eval mode, so
# batch norm is frozen: it uses its running averages. Leave the weights as they are.
#
# <details><summary>Hint</summary>
#
# Count the images first. Each part's mean loss counts by the part's share of all images. After
# `backward()`, memory is free for the next part.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_gradients(model, parts):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# import torch.nn.functional as F
#
# from course_lib import checks
#
#
# def my_gradients(model, parts):
#     count = sum(len(labels) for _, labels in parts)
#     model.zero_grad()
#     for images, labels in parts:
#         loss = F.cross_entropy(model(images), labels)
#         (loss * len(labels) / count).backward()
# ```
#
# </details>

# %% tags=["check"]
passed = checks.accumulation(my_gradients)

# %% [markdown]
# ## The same notebook, several processes
#
# PyTorch's `torchrun` starts a script several times, and `DistributedDataParallel` averages the
# gradients. Our notebooks are scripts, too, so the next cell trains the first epochs of stage 2
# with notebook 04: on all GPUs (Kaggle has two), or with two processes on the CPU. Together, they
# see the same images in the same order as one process would; only the first one writes files and
# shows progress. The run has its own folder. ■ saves and stops it. To resume, even after a process
# has died, run the cell again, with as many processes as you like. **Predict:** will the loss of
# the first epoch be the same as with one process?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Train stage 2 with several processes
import os
import subprocess
import sys

from course_lib.homes import CHECKOUT

processes = torch.cuda.device_count() or 2
script = CHECKOUT / "notebooks" / "04_without_augmentation.py"
home = course.home / f"{processes}-processes"
epochs = min(4, course.epochs[2])  # with `course.epochs[2]`, it's the whole stage
settings = {"DATA": course.source, "PRESET": course.preset, "HOME": home, "EPOCHS": epochs}
settings["SKIP_UNREADABLE"] = int(course.skip_unreadable)
command = [
    sys.executable,
    "-m",
    "torch.distributed.run",
    "--standalone",
    f"--nproc-per-node={processes}",
    script,
]
environment = os.environ | {f"COURSE_{name}": str(value) for name, value in settings.items()}
environment |= {"TQDM_DISABLE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
environment |= {
    "PYTHONUNBUFFERED": "1",
    "PYTHONIOENCODING": "utf-8",
}  # each line as it comes, in any console
with subprocess.Popen(
    command,
    env=environment,
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    encoding="utf-8",
) as job:
    for line in job.stdout:
        print(line, end="", flush=True)
if job.returncode:
    raise RuntimeError("The training failed; the reason is above. Run this cell again to resume.")

# %% [markdown]
# Here are the same epochs, trained by one process. They come from your own run if you've run
# notebook 04, and otherwise from the run stored with the course.

# %%
import json

from course_lib import read_results, stored

found = read_results(course)
if "2" not in found["stages"]:
    found = stored(course, same_heldout=True) or found
alone = found["stages"].get("2")
written = max(home.glob("*/results.json"), key=lambda path: path.stat().st_mtime)
together = json.loads(written.read_text(encoding="utf-8"))["stages"]["2"]
for who, stage in {"one process": alone, f"{processes} processes": together}.items():
    if stage:
        losses = ", ".join(f"{entry['loss']:.3f}" for entry in stage["epochs"][:epochs])
        print(f"{who}: mean loss of the first epochs {losses} nats")

# %%
from course_lib import keep, plot_runs

runs = {
    "one process": alone and alone["epochs"][:epochs],
    f"{processes} processes": together["epochs"][:epochs],
}
runs = {who: history for who, history in runs.items() if history}
title = "The same batches, by one process or shared"
classes = len(course.data.classes)
keep(plot_runs(runs, "loss", title, classes=classes), home / "shared.png")

# %% [markdown]
# The images are the same, but the losses aren't: different batch statistics give different
# gradients. (If the one process is the stored run, it may have computed in another precision, too.)
# Does it matter in the end? One run can't tell you;
# [benchmarks/README.md](../benchmarks/README.md#several-processes) has three seeds of each.
#
# ## Several computers
#
# Run the same command on each of them, with the address of the first one:
#
# ```
# torchrun --nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=first-computer:29500 \
#     notebooks/04_without_augmentation.py
# ```
#
# All of them need the same `COURSE_HOME`, on a shared disk.
#
# ## Recap
#
# The mean over a batch can be split, so each process can compute the gradient for its share, and
# the gradients are averaged. Batch norm is the exception: its statistics depend on which other
# images are in the batch.
