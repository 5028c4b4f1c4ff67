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
# # 10. What is wrong with the report's code?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *20 minutes to present, 80 to work through; a quarter of a minute of computing.* Afterwards,
# you'll be able to
#
# - find the assumptions in code that already "works";
# - measure what a bug costs instead of guessing;
# - tell a bug that stops you from one that quietly gives you wrong results, and know which one to
#   fear.
#
# The report's code trained a model, so it isn't bad code. But it was written for one data set and
# one set-up, its author's. **What happens when you run it?**
#
# Here are eight fragments, rewritten so that each shows one weak spot. Play fair: find the bug and
# predict its cost *before* you unfold the answer or look at the next cell. One of the eight is a
# trap for the reviewer.
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
# The fragments read files, so we write some of the course's images to a temporary folder, in the
# report's layout. On a CPU, everything runs in one thread, so that other programs don't spoil the
# timings.

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The folder of images, and helpers that time and attempt a call
import inspect
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

torch.set_num_threads(1)
scratch = TemporaryDirectory()
folder, size, device = Path(scratch.name), course.settings.size, course.device
few = course.data.train.take(128, seed=course.settings.seed)
if len(few) % 32 == 1:  # batch norm needs more than one image in the last batch, too
    few = few.subset(range(len(few) - 1))
classes = len(course.data.classes)
for part, numbers in (("train_data", range(len(few))), ("test_data", range(1, 13))):
    (folder / part).mkdir()
    for i in numbers:
        pixels = few.batch([i % len(few)])[0].cpu().numpy()
        Image.fromarray(pixels).save(folder / part / f"{i}.jpg")
rows = [{"file_name": f"{i}.jpg", "category": label} for i, label in enumerate(few.labels.tolist())]
(folder / "answer.json").write_text(json.dumps({"annotations": rows}))


def attempt(function, *arguments):
    """What a call returns, or the error it ends with."""
    try:
        return function(*arguments)
    except Exception as error:
        return f"{type(error).__name__}: {str(error).replace(str(folder), '…')}"


def seconds(function, *arguments):
    """The fastest of three calls; each ends by reading a number, so a GPU is done by then."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function(*arguments)
        times.append(time.perf_counter() - start)
    return min(times)


# %% [markdown]
# ## 1. A data set
#
# It opens a picture, transforms it if you like, and returns it with its label. **Find the bug.**
# Who will run into it?


# %%
class Photos(Dataset):
    def __init__(self, folder, transform=None):
        self.folder, self.transform = folder, transform
        self.rows = json.loads((folder / "answer.json").read_text())["annotations"]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        picture = Image.open(self.folder / "train_data" / self.rows[i]["file_name"]).convert("RGB")
        if self.transform:
            image = self.transform(picture)
        return image, self.rows[i]["category"]


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# The default, `transform=None`, is the one value that doesn't work: `image` is never assigned. The
# author always passed a transform. And if it crashes, you're lucky: in a plain loop, `image` still
# holds the *previous* picture.
#
# </details>

# %%
from course_lib import MyDataset

print("No transform:", attempt(Photos(folder).__getitem__, 0))
for i, transform in enumerate((str, None)):  # the same lines in a loop
    if transform:
        image = transform(f"picture {i}")
    print(f"In a loop, picture {i} is: {image}")

image, label = MyDataset(folder / "answer.json", folder / "train_data")[
    0
]  # ours: the default means something
print(f"Ours: {tuple(image.shape)}, {image.dtype}\n{inspect.getsource(MyDataset.__init__)}")

# %% [markdown]
# ## 2. Loss and accuracy
#
# The report prints these two after each epoch. **Find the bug.** What will it print if 60 of 70
# images are right?


# %%
def loss_and_accuracy(batches):
    loss_sum, correct = 0, 0
    for outputs, labels in batches:
        loss_sum += F.cross_entropy(outputs, labels).item()
        guesses = outputs.argmax(1)
        for i in range(32):
            correct += int(guesses[i] == labels[i])
    return loss_sum / 1250, correct / 40000


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# 32, 1250 and 40000 fit only one data set. With 70 images, the last batch has just six, so the
# seventh comparison fails. With 64 images, nothing fails, but the result is wrong. The usual fix,
# averaging the batches' accuracies, is wrong as well: those six images then count as much as 32.
#
# </details>

# %%
labels = torch.arange(70)
answers = torch.where(labels < 60, labels, 79)  # the last ten are mistaken for class 79
outputs = 5 * F.one_hot(answers, 80).float()
batches = list(zip(outputs.split(32), labels.split(32)))
right = (answers == labels).float()
print("70 images:", attempt(loss_and_accuracy, batches))
print(f"64 of them: {loss_and_accuracy(batches[:2])[1]:.2%}. Correct: {right[:64].mean():.2%}")
mean_of_batches = sum(map(torch.mean, right.split(32))) / 3
print(f"Mean of the batches: {mean_of_batches:.1%}. Correct: {right.mean():.1%}")

# %% [markdown]
# ## 3. Our fix
#
# We count the images we've seen, and weight each batch's mean loss by its size. Now the results are
# right. **What's still wrong**, and what share of a training step does it cost here?


# %%
def fixed(batches):
    loss_sum, correct, seen = 0, 0, 0
    for outputs, labels in batches:
        loss_sum += F.cross_entropy(outputs, labels).item() * len(labels)
        guesses = outputs.argmax(1)
        for i in range(len(labels)):
            correct += int(guesses[i] == labels[i])
        seen += len(labels)
    return loss_sum / seen, correct / seen


print(f"loss {fixed(batches)[0]:.4f}, accuracy {fixed(batches)[1]:.1%}")

# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# `int(guesses[i] == labels[i])` hands a value to Python, and so does `.item()`. A GPU works through
# a queue that Python fills in advance; before it can hand over a value, it has to finish the whole
# queue, and that happens 33 times per batch. A CPU has no such queue, so you only pay for a slow
# loop.
#
# </details>


# %%
def counted(batches):  # ours: summed up on the device, and read once per epoch
    loss_sum = sum(F.cross_entropy(outputs, labels, reduction="sum") for outputs, labels in batches)
    correct = sum((outputs.argmax(1) == labels).sum() for outputs, labels in batches)
    seen = sum(len(labels) for _, labels in batches)
    return loss_sum.item() / seen, correct.item() / seen


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How fast both are, and what share of a training step that is
from course_lib import MyModel, get_model, plain_batch


def train_steps(model, optimizer, batches):
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()


parts = torch.arange(len(few)).split(32)
batches = [
    (plain_batch(few.batch(part), size).to(device), few.labels[part].to(device)) for part in parts
]
model = get_model(MyModel, classes=classes).to(device)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
per_step = len(batches[0][0])  # images: 32, unless there are fewer
step = seconds(train_steps, model, optimizer, batches[:1])
with torch.inference_mode():
    answers = [(model(images), labels) for images, labels in batches]
slow, fast = (seconds(function, answers) / len(few) for function in (fixed, counted))
costs = {"count what's right": (slow * 40000, fast * 40000)}  # seconds per epoch of 40,000 images
share = 100 * (slow - fast) / (step / per_step)
print(f"Ours is {slow / fast:.0f} times as fast.")
print(f"Of a training step on this {device.type}, that saves {share:.2g}%.")

# %% [markdown]
# You need both numbers: how slow the loop is, and how much of your time it takes. The second tells
# you what to fix first.

# %% [markdown]
# ## Exercise: a test that catches the bugs
#
# Fragment 2 crashed only when the last batch was small, and averaging the batches' accuracies is
# right as long as all batches are equally large. So whether a bug is found depends on the test's
# data. Write a test of the function from fragments 2 and 3. `my_test` is given an implementation,
# `loss_and_accuracy(batches)`. It calls it with `batches`, a list of (outputs, labels), float (B,
# K) and int64 (B,), that you choose. If the mean loss or the accuracy over all images comes out
# wrong, `my_test` raises `AssertionError`, which is what `assert` does; otherwise, it does nothing.
#
# The check tries your test on eight wrong implementations, and on right ones, which add up in a
# different order.
#
# <details><summary>Hint</summary>
#
# For each bug that you can think of, ask: with which batches does it make no difference? Avoid
# those. Compute what you expect in a simpler way: put all images into one batch. Sums in another
# order are rounded differently, so compare with `math.isclose(a, b, rel_tol=1e-5)`.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_test(loss_and_accuracy):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# import math
#
# import torch
# import torch.nn.functional as F
#
# from course_lib import checks
#
#
# def my_test(loss_and_accuracy):
#     outputs = torch.randn(70, 80)
#     labels = outputs.argmax(1)
#     labels[-5:] = (labels[-5:] + 1) % 80  # five wrong answers, all in the last batch
#     batches = list(zip(outputs.split(40), labels.split(40)))  # 40 images and 30
#     loss, accuracy = loss_and_accuracy(batches)
#     assert math.isclose(loss, F.cross_entropy(outputs, labels).item(), rel_tol=1e-5)
#     assert math.isclose(accuracy, 65 / 70, rel_tol=1e-5)
# ```
#
# </details>

# %% tags=["check"]
passed = checks.catches_bugs(my_test)

# %% [markdown]
# ## 4. Any device
#
# This should run with or without a GPU. **Will it**, on a laptop without CUDA?


# %%
def prepare(model, weight=None):
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    criterion = nn.CrossEntropyLoss(weight).cuda()
    return model.to(device), criterion


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# `.cuda()` needs an NVIDIA GPU, and the line before it was careful not to. Did you predict a crash?
# That's the trap: `.cuda()` moves a module's tensors, and a plain `CrossEntropyLoss` has none. It
# fails as soon as you give each class a weight.
#
# </details>

# %%
print("Is there a CUDA device?", torch.cuda.is_available())
for name, weight in (("as in the report", None), ("with class weights", torch.ones(80))):
    result = attempt(prepare, nn.Linear(4, 80), weight)
    print(f"{name}: {result.split('.')[0] if isinstance(result, str) else 'works'}")
criterion = nn.CrossEntropyLoss(torch.ones(80)).to(
    device
)  # ours: choose a device once, then always .to(device)
print(f"ours, with class weights: works on {criterion.weight.device.type}")

# %% [markdown]
# In a review, "it needs CUDA" would have convinced everyone. Reproduce a bug before you report it.
#
# ## 5. Saving
#
# This runs after each epoch, and Colab may take the machine away at any moment. **Find two bugs.**
# How large is the optimizer's first step after a resume, compared with a run that wasn't
# interrupted?

# %%
path = folder / "drive" / "model.pth"
path.parent.mkdir()


def end_of_epoch(model):
    torch.save(model.state_dict(), path)


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# *In place:* the old file is emptied before the new one is complete. If the runtime dies in
# between, both are gone.
#
# *Only the weights:* momentum, the optimizer's memory of earlier gradients, is lost, and so are the
# epoch number and the random state. A new optimizer starts from a standstill.
#
# </details>

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Kill it, and resume
from course_lib.storage import checkpoints
from course_lib.storage.files import replacing


def load(path):  # as the report's get_model does it
    model = get_model(MyModel, classes=classes)
    if path is not None and path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
    return model


for name, way in (
    ("in place", open),
    ("ours", replacing),
):  # ours renames a second file: all or nothing
    end_of_epoch(model)
    content = path.read_bytes()
    try:
        with way(path, "wb") as file:
            file.write(content[: len(content) // 2])
            raise KeyboardInterrupt  # killed in the middle of the next save
    except KeyboardInterrupt:
        found = attempt(load, path)
        print(
            f"Killed, {name}:"
            f" {found if isinstance(found, str) else 'the previous model is still there'}"
        )

state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
costs["save"] = (
    seconds(end_of_epoch, model),
    seconds(checkpoints.save, folder / "ours", state, 1, 0),
)
kept = checkpoints.load(checkpoints.newest_good(folder / "ours"))


def next_step(model, optimizer):
    before = nn.utils.parameters_to_vector(model.parameters()).detach()
    train_steps(model, optimizer, batches[1:2] if len(few) >= 64 else batches[:1])
    return (nn.utils.parameters_to_vector(model.parameters()) - before).norm()


uninterrupted = next_step(model, optimizer)
for name in ("the weights", "our checkpoint"):
    resumed = load(path).to(device)
    optimizer = torch.optim.SGD(resumed.parameters(), lr=0.01, momentum=0.9)
    if name == "our checkpoint":
        resumed.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
    print(
        f"Resumed from {name}: the next step is {next_step(resumed, optimizer) / uninterrupted:.0%}"
        " as large."
    )

# %% [markdown]
# ## 6. Predicting the test set
#
# `load`, from above, does what the report's `get_model` does: it builds a model and loads the file
# *if there is one*. **Find two bugs.** Which one will you notice?

# %%
from course_lib import plain_transform


def predict_all(images, path):
    model, rows = load(path).eval(), []
    with torch.inference_mode():
        for batch, names in DataLoader(images, batch_size=32):
            rows += zip(names, model(batch).argmax(1).tolist())
    return sorted(rows, key=lambda row: int(row[0].split(".")[0]))


def test():
    return predict_all(Photos(folder, plain_transform(size)), folder / "model.pth")


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# `Photos` reads the training images and returns *labels*, so `names` is a tensor of numbers.
# `.split` fails after the last image (tensors have a `split`, too, hence the odd message), and all
# the work is lost.
#
# That's the harmless bug. Fragment 5 saved to `drive/model.pth`, but this one looks for
# `model.pth`, which doesn't exist. So you get an untrained model, no error, and a `result.csv` full
# of guesses.
#
# </details>

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Run it, and ours
from course_lib import MyDatasett

start = time.perf_counter()
print(attempt(test), f"\n… after {time.perf_counter() - start:.1f} s")
used, trained, new = (load(file).fc.weight for file in (folder / "model.pth", path, None))
print(
    f"Is it the trained model? {torch.equal(used, trained)}. A new one? {torch.equal(used, new)}."
)

# Ours: the report's data set of *names* (with its two t's), one path for both sides, and a missing
# file is an error. (Three training steps aren't enough for good answers; what matters here is which
# file they come from.)
print(
    "Ours:",
    predict_all(MyDatasett(None, folder / "test_data", plain_transform(size)), path)[:3],
    "…",
)
print("Ours, no file:", attempt(torch.load, folder / "model.pth"))

# %% [markdown]
# ## 7. In order
#
# The rows of `result.csv` are sorted by this number. **Which file names break it?** And what if you
# simply write `sorted(names)`?


# %%
def number(name):
    return int(name.split(".")[0])


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# Your `cat.jpg` doesn't start with a number, and neither does `.DS_Store`, which every Mac leaves
# behind. `sorted` copes with both, but compares character by character, so 10 comes before 2. If
# you then match rows by position, you get the wrong images.
#
# </details>

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Try some names, and ours
from course_lib.data.answers import natural_order

for name in ("7.jpg", "cat.jpg", ".DS_Store", "7 (1).jpg"):
    print(f"{name:10} {attempt(number, name)}")
names = [f"{i}.jpg" for i in range(1, 13)]
moved = sum(here != there for here, there in zip(sorted(names), names))
print(
    f"sorted: {' '.join(sorted(names)[:5])} …: {moved} of {len(names)} rows are in the wrong place"
)

(folder / "test_data" / ".DS_Store").touch()
(folder / "test_data" / "1.jpg").rename(folder / "test_data" / "cat.jpg")
images = MyDatasett(
    None, folder / "test_data"
)  # ours: compares digits as numbers, and sets aside what isn't an image
print("Ours:", *images.file_names, "– skipped:", *images.skipped)
print(inspect.getsource(natural_order))

# %% [markdown]
# ## 8. Feeding the model
#
# Every image comes out right: opened, decoded, cropped, flipped, rotated. **Where does this waste
# time** in an epoch of 40,000 images, and by what factor?

# %%
from course_lib import augmented_transform


def image_by_image():
    for images, _ in DataLoader(
        Photos(folder, augmented_transform(size)), batch_size=32, shuffle=True
    ):
        images = images.to(device)
    return images.sum().item()


# %% [markdown]
# <details><summary>What's wrong?</summary>
#
# Each epoch decodes every file again, although only the augmentation changes, and augments image by
# image in Python while the GPU waits. On a mounted Google Drive, opening the files takes even
# longer.
#
# </details>

# %%
from course_lib import augment_batch, augmentations


def batch_by_batch():
    """Ours: decoded once; whole batches are augmented on the device, each image in its own way."""
    for part in parts:
        images = augment_batch(few.batch(part).to(device), augmentations(few, part, course), size)
    return images.sum().item()


# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How fast both are
slow, fast = seconds(image_by_image), seconds(batch_by_batch)
costs["read and augment"] = slow * 40000 / len(few), fast * 40000 / len(few)
print(
    f"{len(few) / slow:,.0f} images/s; ours: {len(few) / fast:,.0f} images/s, {slow / fast:.1f}"
    " times as fast"
)
print(f"Training on this {device.type} gets through {per_step / step:,.0f} images/s.")

# %% [markdown]
# ## What would you fix first?
#
# Three of the eight take time in every epoch. **Rank them before you look.** Is our version always
# the faster one?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What each fragment costs
from course_lib import keep
from course_lib.pictures import BLUE, ORANGE, Picture, styled

gains = {what: fragment - ours for what, (fragment, ours) in costs.items()}
first = max(gains, key=gains.get)


@styled
def plot_costs():
    figure = Picture(figsize=(12, 5))
    axis = figure.subplots()
    looks = ("the fragment", 0.2, ORANGE, "//"), ("ours", -0.2, BLUE, "")
    for times, (label, shift, colour, hatch) in zip(zip(*costs.values()), looks):
        places = [place + shift for place in range(len(costs))]
        bars = axis.barh(places, times, 0.38, color=colour, hatch=hatch, ec="white", label=label)
        axis.bar_label(bars, [f"{time:.2g} s" for time in times], padding=5)
    axis.set(xlabel="seconds per epoch of 40,000 images", title=f"Fix this first: {first}")
    axis.set_yticks(range(len(costs)), costs)
    axis.margins(x=0.12)
    figure.legend(loc="outside lower center", ncols=2)
    figure.alt = "; ".join(
        f"{what}: {slow:.2g} s, ours {fast:.2g} s" for what, (slow, fast) in costs.items()
    )
    return figure


keep(plot_costs(), course.folder / "costs.png")

# %%
print(
    f"Fixing {first!r} saves {gains[first]:.1f} s per epoch. The training steps alone take"
    f" {step / per_step * 40000:.0f} s."
)
print("Ours is slower here:", ", ".join(what for what in gains if gains[what] < 0) or "nowhere")
scratch.cleanup()

# %% [markdown]
# Our checkpoint also contains the optimizer, waits for the disk, and is read back, which is more
# work than a bare `torch.save`. Safety may cost something, as long as you know how much. And before
# you fix anything for a GPU, measure on one: training steps take less time there, but whatever the
# GPU has to wait for doesn't.
#
# ## Recap
#
# Each bug is an assumption that held for the author:
#
# | | the assumption | a habit that helps |
# |---|---|---|
# | 1 | everybody passes a transform | run your own defaults |
# | 2 | 40,000 images in batches of 32 | count; try a size that doesn't divide evenly |
# | 3 | reading a number is free | stay on the device, and read once |
# | 4 | everybody has CUDA (and the reviewer: `.cuda()` needs it) | run it before you report it |
# | 5 | the machine stays alive | after each line, ask: what if it dies *here*? |
# | 6 | somebody will notice that a file is missing | fail early and loudly |
# | 7 | all files are named like mine | try awkward names |
# | 8 | it's fast enough | measure, then fix the biggest cost |
#
# - A crash is the friendly kind of bug. Fear the ones that return a result: 2, the momentum in 5,
#   the path in 6.
# - The ninth bug isn't in any line, because it's what's *missing*: a seed, without which you can't
#   repeat a run, and held-out images, without which you can't tell learning from memorising. No
#   tool will find that for you; you have to ask.
#
# Next: [do the report's claims hold?](11_claims.ipynb)
