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
# # 9. Can several GPUs train one network?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook from there, and mount
# Drive with the button in the file panel. Without Drive: upload the notebook, then the zipped folder in the file panel,
# and unzip it with `!unzip -q course.zip`.*
#
# *10 minutes, of which about 4 are computing on two CPU cores. You'll split a batch between two processes, find out
# which layer notices, and train on as many GPUs as there are.*
#
# If one GPU isn't enough, several can share the work. Each holds a copy of the network and computes the gradient of its
# part of every batch; the gradients are averaged, and every copy takes the same step. **The question: is that the same
# training?**

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
# ## Half a batch each
#
# The loss of a batch is the mean over its 32 images, so its gradient is the mean of the gradients of its two halves.
# We compute it both ways and compare, once in eval mode and once in training mode. **Predict:** in which mode do the
# two agree?

# %%
import torch
import torch.nn.functional as F

from course_lib import MyModel, get_model, training_batches

model = get_model(MyModel, seed=course.settings.seed).to(course.device)
images, labels = next(training_batches(course.data.train, course.stage(2), epoch=1, augmented=False))


def gradient(parts):
    """The gradient of the mean loss over all images of some parts of a batch, as one vector."""
    model.zero_grad()
    for part, answers in parts:
        loss = F.cross_entropy(model(part), answers)
        (loss * len(answers) / len(labels)).backward()  # adds to what is there
    return torch.cat([weight.grad.flatten() for weight in model.parameters()])


apart = {}
for mode in ("eval", "training"):
    model.train(mode == "training")
    whole = gradient([(images, labels)])
    halves = gradient([(images[0::2], labels[0::2]), (images[1::2], labels[1::2])])
    apart[mode] = ((whole - halves).norm() / whole.norm()).item()
    print(f"In {mode} mode, the gradients differ by {apart[mode]:.1e} of their length.")

# %%
if apart["training"] > 1000 * apart["eval"]:
    print("In eval mode, that's rounding. In training mode, it isn't: batch norm notices.")

# %% [markdown]
# In training mode, batch norm normalises with the mean and variance *of the batch*. Each half has its own, and with N
# processes, they are estimated from 32/N images instead of 32: a bit more noise in every step. All other layers treat
# each image on its own. `course.experiment("sync", sync_batch_norm=True)` makes the processes exchange their means and
# variances, so that they're those of the whole batch again; that works on GPUs only, and every layer then waits for the
# slowest process.
#
# ## The same notebook, several processes
#
# PyTorch's `torchrun` starts a script several times, and `DistributedDataParallel` averages the gradients. Our
# notebooks are scripts, too, so the next cell trains the first epochs of stage 2 with notebook 03: on all GPUs (Kaggle
# has two), or with two processes on the CPU. Together, they see the same images in the same order as one process would;
# the first one writes the files and shows the progress. It's a run of its own, in a folder of its own. ■ saves it and
# stops it; then, or if a process dies, the same cell resumes, with as many processes as you like. **Predict:** will the
# loss of the first epoch be the same as with one process?

# %%
import os
import subprocess
import sys

from course_lib.experiment import CHECKOUT

processes = torch.cuda.device_count() or 2
script = CHECKOUT / "notebooks" / "03_without_augmentation.py"
home = course.home / f"{processes}-processes"
epochs = 4  # `course.epochs[2]` trains the whole stage
settings = {"DATA": course.source, "PRESET": course.preset, "HOME": home, "EPOCHS": epochs}
command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", script]
environment = os.environ | {f"COURSE_{name}": str(value) for name, value in settings.items()}
environment |= {"TQDM_DISABLE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
environment |= {"PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8"}  # each line as it comes, in any console
with subprocess.Popen(
    command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8"
) as job:
    for line in job.stdout:
        print(line, end="", flush=True)
if job.returncode:
    raise RuntimeError("The training failed; the reason is above. Run this cell again to resume.")

# %% [markdown]
# Here are the same epochs, trained by one process: your own, if you've run notebook 03, or else those of the run that's
# stored with the course.

# %%
import json

from course_lib import read_results, stored

alone = read_results(course)["stages"].get("2") or (stored(course) or {"stages": {}})["stages"].get("2")
together = json.loads((home / course.folder.name / "results.json").read_text(encoding="utf-8"))["stages"]["2"]
for who, stage in {"one process": alone, f"{processes} processes": together}.items():
    if stage:
        losses = ", ".join(f"{entry['loss']:.3f}" for entry in stage["epochs"][:epochs])
        print(f"{who}: mean loss of the first epochs {losses} nats")

# %%
from course_lib import keep, plot_runs

runs = {"one process": alone and alone["epochs"][:epochs], f"{processes} processes": together["epochs"][:epochs]}
runs = {who: history for who, history in runs.items() if history}
keep(plot_runs(runs, "loss", "The same batches, by one process or shared"), home / "shared.png")

# %% [markdown]
# Close, but not the same: other batch statistics, other gradients. Does it matter in the end? One run can't tell;
# [benchmarks/README.md](../benchmarks/README.md#several-processes) has three seeds of each.
#
# ## Several computers
#
# Run the same command on each of them; they meet at an address of the first one:
#
# ```
# torchrun --nnodes=2 --nproc-per-node=1 --rdzv-backend=c10d --rdzv-endpoint=first-computer:29500 \
#     notebooks/03_without_augmentation.py
# ```
#
# All of them need the same `COURSE_HOME`, on a disk that they share.
#
# ## Recap
#
# The mean over a batch can be split, so gradients can be shared out and averaged. Batch norm is the exception: its
# statistics depend on who else is in the batch.
