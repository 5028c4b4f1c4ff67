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
# # 13. What does the network see?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *30 minutes to present, an hour and a half to work through; half a minute of computing once stage
# 3 is trained. You'll look at filters, feature maps and features, measure how far one position can
# see, draw heat maps and put them to the test, and make the network's confidence honest.*
#
# A network's answer is one number out of millions of multiplications. **The question: on what in
# the image does it depend, and how would you know that a picture of it is true?**
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
# ## The network, and what it makes of held-out images
#
# We take the network of stage 3; unfinished stages are trained first. A **hook** is a function that
# PyTorch calls whenever a layer has computed. This one keeps what goes into the last layer (1,024
# numbers per image, its **features**) and what comes out (a **logit** per class, before softmax).

# %%
import torch

from course_lib import predict, trained_model

model = trained_model(course, 3)
images = course.data.heldout.take(2000, seed=course.settings.seed)  # in random order
kept = []
hook = model.fc.register_forward_hook(lambda layer, x, y: kept.append((x[0], y)))
probabilities = predict(model, images, course)  # float32 (n, K)
hook.remove()
features = torch.cat([features for features, _ in kept]).float().cpu()  # (n, 1024)
logits = torch.cat([logits for _, logits in kept]).float().cpu()  # (n, K)

# %%
confidence, predicted = probabilities.max(1)
right = predicted == images.labels
model = model.eval()
print(f"{len(images):,} held-out images, {right.float().mean():.1%} of them right.")
print(f"Features: {tuple(features.shape)}, logits: {tuple(logits.shape)}.")

# %% [markdown]
# ## Filters of the first layer
#
# The first convolution slides 64 small colour pictures of 7 × 7 pixels over the image and measures
# how well each of them fits. That's the only layer whose weights are pictures. **Predict:** what
# will they show? Edges, spots, plain colours, noise? And how much of it was there before training?

# %%
from course_lib import keep
from course_lib.insight_plots import show_filters

now = model.conv1[0].weight.detach().cpu()  # (64, 3, 7, 7)
before = course.new_model().conv1[0].weight.detach()  # what stage 2 started from
keep(show_filters(now, before), course.folder / "filters.png")

# %%
import torch.nn.functional as F

likeness = F.cosine_similarity(now.flatten(1), before.flatten(1))  # (64,), 1: the same direction
grey = now.mean(1, keepdim=True).expand_as(now)  # what all three colours have in common
colour = 1 - grey.square().sum() / now.square().sum()
print(
    f"A filter's similarity (cosine) with itself before training: {likeness.mean():.2f} on average."
)
print(f"The weights are {now.norm() / before.norm():.1f} times as large as they were.")
print(f"Differences between red, green and blue: {colour:.0%} of their sum of squares")
print("(67% in random weights).")

# %% [markdown]
# Noise that was there before training looks like texture, too. So compare before you interpret: a
# similarity near 1 would mean that you're looking at the random numbers that it started from.
#
# ## Feature maps on the way
#
# Every group of layers turns the image into more and smaller **feature maps**. A group is a
# function, so we call one after the other. **Predict:** in which of them will you still recognise
# the image?

# %%
from course_lib.augment import plain_batch

first = int(right.int().argmax())  # an image that it gets right, if there is one
x = plain_batch(images.batch([first]), course.settings.size).to(course.device)  # (1, 3, S, S)
image, maps = x[0], {}
with torch.inference_mode():
    for name in ("conv1", "conv2", "conv3", "conv4", "conv5"):
        x = getattr(model, name)(x)
        maps[name] = x[0]  # (channels, h, w)

# %%
from course_lib.insight_plots import show_maps

keep(show_maps(image, maps), course.folder / "feature-maps.png")

# %%
for name, found in maps.items():
    count, height, width = found.shape
    zeros = (found == 0).float().mean()
    print(f"{name}: {count:5} maps of {height:2} × {width:2}; {zeros:.0%} of the numbers are 0")

# %% [markdown]
# The zeros are ReLU's work: a feature that isn't found says nothing. What's left at the end is a
# list of what was found, and hardly anything about where.
#
# ## How far can one position see?
#
# A position of a feature map depends on a square of the image, its **receptive field**. A layer
# with a kernel of side *k* looks at *k* neighbouring positions. After a **stride** of 2, neighbours
# are two pixels apart, so later layers see further.
#
# ### Exercise: the receptive field
#
# Given `windows`, a list of (kernel, stride) from the first layer to the last, return the side of
# the receptive field in pixels. Two layers with kernels of 3 and strides of 2 see 7 pixels.
#
# <details><summary>Hint</summary>
#
# Keep two numbers: how many pixels you see so far, and how many pixels apart neighbours are. Draw
# the example on squared paper.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_field(windows):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
#
# def my_field(windows):
#     field = 1
#     step = 1  # how many pixels apart neighbouring positions are
#     for kernel, stride in windows:
#         field += (kernel - 1) * step
#         step *= stride
#     return field
# ```
#
# </details>

# %% tags=["check"]
passed = checks.receptive_field(my_field)

# %% [markdown]
# That's what *could* matter. What does matter can be measured: change a pixel a little, and see
# whether the position changes. The gradient does that for all pixels at once. Our images may be
# smaller than the receptive field, so the network, which takes any size, gets a mosaic of them.


# %%
def gradient_of_one_position(model, mosaic, group):
    """How much the middle position of a group depends on each pixel: (H, W), 0 or more."""
    pixels = mosaic.clone().requires_grad_()
    x = pixels
    for name, layers in model.named_children():
        x = layers(x)
        if name == group:
            break
    middle = x[0, :, x.shape[2] // 2, x.shape[3] // 2]  # (channels,)
    (gradient,) = torch.autograd.grad(middle.sum(), pixels)
    return gradient[0].abs().sum(0)


# %% [markdown]
# **Predict:** how many pixels wide is the square that a position of `conv3` depends on, and how
# wide is the part of it that has 90% of the gradient?

# %%
from course_lib.insight import central_side, mosaic, reach, receptive_field, windows
from course_lib.insight_plots import show_fields

picture = mosaic(images).to(course.device)  # (1, 3, 384, 384)
gradients = {name: gradient_of_one_position(model, picture, name) for name in maps}
theory = [receptive_field(windows(model, name)) for name in maps]
ninety = [central_side(gradient, 0.9) for gradient in gradients.values()]
figure = show_fields(gradients, theory, ninety, course.settings.size)
keep(figure, course.folder / "receptive-fields.png")

# %%
measured = [reach(gradient) for gradient in gradients.values()]
size = course.settings.size
for name, could, does, most in zip(maps, theory, measured, ninety):
    print(f"{name}: in theory {could:3} pixels, measured {does:3}, 90% within {most:3}")
wider = [name for name, could in zip(maps, theory) if could > size]
print(f"Wider than an image of {size} pixels in theory: {', '.join(wider) or 'none'};")
wider = [name for name, most in zip(maps, ninety) if most > size]
print(f"with 90% of the gradient: {', '.join(wider) or 'none'}.")

# %% [markdown]
# The pixels at the edge of the square have few ways to the position, and those in the middle have
# many, so the **effective** receptive field is smaller than the theoretical one
# ([Luo et al. 2016](https://arxiv.org/abs/1701.04128)). Keep in mind how large both are in the last
# groups: a position at the top left of a feature map may have been computed from the bottom right
# of the image. Heat maps, below, forget that.
#
# ## 1,024 features in two dimensions
#
# An image is a point in a space of 1,024 dimensions. **Principal components** are the directions in
# which the points differ most; the singular value decomposition finds them, strongest first. Two of
# them can be drawn. **Predict:** what will lie close together? (Motifs or hues, if the images are
# the course's own: do the hues form a circle?)

# %%
from course_lib.insight_points import show_features

centred = features - features.mean(0)
_, strengths, directions = torch.linalg.svd(centred, full_matrices=False)
flat = centred @ directions[:2].T  # (n, 2)
figure = show_features(flat, images.labels, images.classes, course.data.generated)
keep(figure, course.folder / "features.png")

# %% [markdown]
# How much does such a picture leave out? One test: whose nearest neighbour is of the same class, in
# the picture and in all 1,024 dimensions? And how much of the points' variance is in the picture?


# %%
def neighbour_agrees(points):
    """The share of images whose nearest other image is of the same class."""
    distances = torch.cdist(points, points).fill_diagonal_(torch.inf)
    return (images.labels[distances.argmin(1)] == images.labels).float().mean()


# %%
variance = strengths.square() / strengths.square().sum()
print(
    f"Two directions have {variance[:2].sum():.0%} of the variance, ten {variance[:10].sum():.0%}."
)
print("The nearest neighbour is of the same class")
print(f"in the picture for {neighbour_agrees(flat):.0%} of the images,")
print(f"and in 1,024 dimensions for {neighbour_agrees(features):.0%}.")

# %% [markdown]
# What looks mixed up in the picture may well be apart in a direction that isn't drawn. A circle
# could be hidden in the same way, so look for it in all dimensions: on a flat circle of 20 hues,
# the distance grows up to the tenth step, which is straight across. (The next cell shows nothing
# for other data.)

# %%
from IPython.display import display

from course_lib.insight_points import show_ring

if course.data.generated:  # class = motif · 20 + hue
    hues = torch.stack([features[images.labels % 20 == hue].mean(0) for hue in range(20)])
    apart = torch.cdist(hues, hues)  # (20, 20)
    start = torch.arange(20)
    by_steps = [apart[start, (start + steps) % 20].mean().item() for steps in range(1, 11)]
    circle = torch.sin(torch.pi * torch.arange(1, 11) / 20) * max(by_steps)
    display(keep(show_ring(by_steps, circle.tolist()), course.folder / "hues.png"))

# %%
if course.data.generated:
    for steps in (1, 3, 10):
        share = by_steps[steps - 1] / by_steps[-1]
        on_circle = circle[steps - 1] / circle[-1]
        print(
            f"{steps:2} steps: {share:4.0%} of the distance straight across; flat: {on_circle:4.0%}"
        )
    neighbours = "close" if by_steps[0] < 0.8 * by_steps[-1] else "not close"
    across = "hardly farther than" if by_steps[2] > 0.8 * by_steps[-1] else "much farther than"
    print(f"Neighbouring hues are {neighbours}; opposite ones are {across} those 3 steps apart.")

# %% [markdown]
# ## Grad-CAM: a heat map
#
# Which places of the image speak for the answer? **Grad-CAM**
# ([Selvaraju et al. 2017](https://arxiv.org/abs/1610.02391)) takes the feature maps of a late
# layer, weights each map with the gradient of the class's logit, averaged over the map, and adds
# them up. A hook keeps the maps, and autograd does the rest:


# %%
def maps_and_gradients(model, layer, x, categories):
    """A layer's feature maps, and the gradient of each image's logit: two (B, C, h, w)."""
    kept = []
    hook = layer.register_forward_hook(lambda layer, inputs, output: kept.append(output))
    logits = model(x)
    hook.remove()
    score = logits.gather(1, categories[:, None]).sum()
    (gradients,) = torch.autograd.grad(score, kept[0])
    return kept[0].detach(), gradients


# %%
def grad_cam(maps, gradients):
    weights = gradients.mean((2, 3), keepdim=True)  # (B, C, 1, 1), one weight per map
    return (weights * maps).sum(1, keepdim=True).relu()  # (B, 1, h, w)


# %% [markdown]
# We look at three right answers, and at the three most confident mistakes. The original takes the
# last convolution; if that leaves fewer than 4 × 4 positions, we take the group before it.

# %%
group = "conv5" if maps["conv5"].shape[-1] >= 4 else "conv4"
order = confidence.argsort(descending=True)
mistakes = order[~right[order]][:3]
chosen = torch.cat([right.nonzero()[:3, 0], mistakes])
x = plain_batch(images.batch(chosen), course.settings.size).to(course.device)
categories = predicted[chosen].to(course.device)
heat = grad_cam(*maps_and_gradients(model, getattr(model, group), x, categories))

# %%
from course_lib.insight_plots import answers_in_words, show_heat

captions = answers_in_words(
    images.labels[chosen], predicted[chosen], confidence[chosen], images.classes
)
figure = show_heat(x, {f"Grad-CAM\n({group})": heat}, captions)
keep(figure, course.folder / "grad-cam.png")

# %% [markdown]
# Such pictures are convincing: whatever is bright, you'll find a reason for it. **Write down** for
# two of the images what the network looked at. Then test it.
#
# ## A test: hide it
#
# If a place matters, hiding it must lower the logit. **Occlusion** slides a grey square over the
# image and measures by how much. That's slow (49 passes instead of one), but it's an experiment on
# the network, and no interpretation of its insides.


# %%
@torch.inference_mode()
def occlusion(model, x, categories, patch, step):
    """How much each logit drops when a grey square hides a place: (B, 1, n, n)."""
    places = range(0, x.shape[2] - patch + 1, step)
    before = model(x).gather(1, categories[:, None])  # (B, 1)
    drops = []
    for top in places:
        for left in places:
            hidden = x.clone()
            hidden[:, :, top : top + patch, left : left + patch] = 0  # grey
            drops.append(before - model(hidden).gather(1, categories[:, None]))
    return torch.cat(drops, dim=1).reshape(len(x), 1, len(places), len(places))


# %% [markdown]
# **Predict:** will the two maps agree? As a number: what's their **correlation**, from −1
# (opposite) over 0 (nothing in common, or a map without any contrast) to 1 (the same, apart from
# the scale)?

# %%
patch, step = course.settings.size // 4, course.settings.size // 8
drops = occlusion(model, x, categories, patch, step)
figure = show_heat(x, {f"Grad-CAM\n({group})": heat, "occlusion": drops}, captions)
keep(figure, course.folder / "grad-cam-and-occlusion.png")

# %%
from course_lib.insight import correlation


def under_squares(heat):
    """A map's mean below each of the grey squares: (B, 1, n, n)."""
    size = [course.settings.size] * 2
    return F.avg_pool2d(F.interpolate(heat, size, mode="bilinear"), patch, step)


agreement = correlation(under_squares(heat), drops)  # (B,)
print(f"Mean correlation of Grad-CAM with occlusion: {agreement.mean():.2f}")

# %% [markdown]
# Is that good or bad? A number needs something to compare it with:
#
# - **Somebody else's map.** If a map fits the occlusion of *another* image as well, it says nothing
#   about its own.
# - **A new network.** An untrained network knows nothing. If its heat map looks the same, the map
#   shows the image, and not what was learned
#   ([Adebayo et al. 2018](https://arxiv.org/abs/1810.03292)).
# - **Other layers**, and **one line changed**: Grad-CAM averages each map's gradient over all
#   places, which assumes that a map means the same everywhere. We can multiply place by place
#   instead ([Draelos and Carin 2020](https://arxiv.org/abs/2011.08891)).
#
# **Predict** which of these will be closest to the occlusion.


# %%
def place_by_place(maps, gradients):
    return (gradients * maps).sum(1, keepdim=True).relu()


new = course.new_model(seed=course.settings.seed + 1).to(course.device).eval()
new_heat = grad_cam(*maps_and_gradients(new, getattr(new, group), x, categories))
found = {"another image's map": correlation(under_squares(heat).roll(1, 0), drops)}
found["a new network's map"] = correlation(under_squares(new_heat), drops)
for name in ("conv3", "conv4", "conv5"):
    kept = maps_and_gradients(model, getattr(model, name), x, categories)
    found[f"Grad-CAM, {name}"] = correlation(under_squares(grad_cam(*kept)), drops)
    found[f"place by place, {name}"] = correlation(under_squares(place_by_place(*kept)), drops)

# %%
from course_lib.insight_points import show_agreement

keep(show_agreement(found, "Which map agrees with hiding?"), course.folder / "agreement.png")

# %%
means = {kind: values.mean().item() for kind, values in found.items()}
control = max(means["another image's map"], means["a new network's map"])
best = max(means, key=lambda kind: means[kind])
same = correlation(under_squares(heat), under_squares(new_heat)).mean()
ours = agreement.mean()
verdict = "better than" if ours > control + 0.1 else "no better than"
print(f"Grad-CAM ({group}) fits {verdict} the controls: {ours:.2f} against {control:.2f}.")
print(f"Closest is “{best}” with {means[best]:.2f}.")
print(f"Grad-CAM of this network and of a new one have a correlation of {same:.2f}.")

# %% [markdown]
# A dot is one image, and there are only a few, so small differences mean nothing. But if Grad-CAM
# is no closer than the controls, then what you wrote down about those two images was about the
# picture and not about the network. You've seen why it may fail here: the last groups keep few
# positions, and each of them sees the whole image. On images of 224 pixels, there are more of them.
#
# Occlusion isn't the truth either. A grey square is something that the network has never seen, and
# hiding two places together may matter although hiding one doesn't.
#
# ## How much of an image does it need?
#
# Stage 3 was trained on random crops of 8 to 100% of an image, enlarged to its full size. Some of
# them show too little; but all of them show things larger than they are. So we cut out the middle
# of each held-out image, enlarge it, and ask again. **Predict:** with half of the area, is the
# accuracy lower or higher than on the whole image?

# %%
from course_lib import evaluate
from experiments.sweeps import cropped

shares = (1.0, 0.75, 0.5, 0.35, 0.2, 0.08)
x = "share of the image's area that's shown (%)"
middles = []
for share in shares:
    part = cropped(images, share, right=0.5, down=0.5)
    accuracy = evaluate(model, part, course).accuracy
    middles.append({x: 100 * share, "heldout_accuracy": accuracy})

# %%
from course_lib import plot_runs

title = "The middle of each image, enlarged"
figure = plot_runs({"stage 3's network": middles}, "heldout_accuracy", title, x)
keep(figure, course.folder / "parts.png")

# %% [markdown]
# <details><summary>What the stored run says, on the images that the course draws</summary>
#
# **The network prefers images that are a little enlarged: it gets 81.4% of the held-out ones right
# if it sees the middle 75% of their area, and 77.3% if it sees all of it. With the middle 8%, it's
# 48.9%.**
# <!-- holds: parts_are_easier_than_wholes -->
#
# </details>
#
# It was trained on enlarged images, and a whole image is the rarest of its crops. So augmented
# images can be easier than plain ones, although some of them show too little. The same was found on
# millions of photographs ([Touvron et al. 2019](https://arxiv.org/abs/1906.06423)); the cure there
# is to test on larger images than those one has trained on.
#
# ## Is its confidence honest?
#
# In notebook 06, you compared confidence with accuracy for all images at once. A **reliability
# diagram** does it in bins: of the images with a confidence of about 70%, are about 70% right?
# **Predict:** will the points be below the diagonal (overconfident) or above it?

# %%
from course_lib.insight_points import Bins


def reliability(probabilities, labels, bins=10):
    """Mean confidence, accuracy and number of images in ten bins of confidence."""
    confidence, predicted = probabilities.max(1)
    which = (confidence * bins).long().clamp(max=bins - 1)  # 0 … 9
    count = which.bincount(minlength=bins)
    sure = which.bincount(weights=confidence, minlength=bins) / count
    correct = which.bincount(weights=(predicted == labels).float(), minlength=bins) / count
    return Bins(sure, correct, count)


# %%
from course_lib.insight_points import show_reliability

bins = reliability(probabilities, images.labels)
keep(show_reliability({"the network": bins}), course.folder / "reliability.png")


# %%
def calibration_error(bins):
    """The mean gap between confidence and accuracy, each image counting once."""
    return ((bins.confidence - bins.accuracy).abs() * bins.count).nansum() / bins.count.sum()


excess = confidence.mean() - right.float().mean()
word = "overconfident" if excess > 0 else "underconfident"
print(f"Mean confidence {confidence.mean():.1%}, accuracy {right.float().mean():.1%}: {word}.")
print(f"Expected calibration error: {calibration_error(bins):.1%}.")

# %% [markdown]
# ### Exercise: a temperature
#
# The simplest remedy is a single number: divide all logits by a **temperature** T
# ([Guo et al. 2017](https://arxiv.org/abs/1706.04599)). T > 1 makes the network less sure, T < 1
# makes it surer, and the likeliest class remains the likeliest. Given logits, float (n, K), and
# labels, int64 (n,), return the T for which the mean cross-entropy of `logits / T` is smallest. Two
# digits are enough.
#
# <details><summary>Hint</summary>
#
# There's only one number to choose, so try a hundred: `torch.linspace(0.2, 5, 97)`.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_temperature(logits, labels):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# import torch
# import torch.nn.functional as F
#
# from course_lib import checks
#
#
# def my_temperature(logits, labels):
#     temperatures = torch.linspace(0.2, 5, 97)
#     losses = [F.cross_entropy(logits / temperature, labels) for temperature in temperatures]
#     return temperatures[torch.stack(losses).argmin()]
# ```
#
# </details>

# %% tags=["check"]
passed = checks.temperature(my_temperature)

# %% [markdown]
# A temperature is chosen by looking at labels, so it must be judged on others: we choose it on one
# half of these images and measure on the other half. (The next cell uses the course's own search,
# in case the exercise isn't done yet.) **Predict:** what happens to the accuracy?

# %%
from course_lib.insight import best_temperature

half = (len(images) + 1) // 2
temperature = best_temperature(logits[:half], images.labels[:half])
others, labels = logits[half:], images.labels[half:]
both = {
    "as trained": reliability(others.softmax(1), labels),
    f"T = {temperature:.2f}": reliability((others / temperature).softmax(1), labels),
}
keep(show_reliability(both), course.folder / "temperature.png")

# %%
errors = [calibration_error(bins) for bins in both.values()]
losses = [F.cross_entropy(scaled, labels) for scaled in (others, others / temperature)]
accuracies = [
    (scaled.argmax(1) == labels).float().mean() for scaled in (others, others / temperature)
]
print(f"On the other half, T = {temperature:.2f} changes")
print(f"the calibration error from {errors[0]:.1%} to {errors[1]:.1%},")
print(f"the loss from {losses[0]:.2f} to {losses[1]:.2f},")
print(f"and the accuracy from {accuracies[0]:.1%} to {accuracies[1]:.1%}.")
if half < 100:
    print(f"Too few images to choose by ({half}): don't trust this temperature.")

# %% [markdown]
# One number can't know which image is hard, so the ranking of the images by confidence hardly
# changes. It makes the percentages mean what they say, on images like these.
#
# ## Recap
#
# - Filters and feature maps can be looked at. Compare with a new network before you interpret.
# - What a position could depend on, and what it does depend on, can be computed and measured.
# - Two dimensions out of 1,024 are a shadow: check in the full space what you see in it.
# - A heat map is a claim. Test it: hide the place, swap the image, take an untrained network.
# - Confidence can be measured and mended: choose on some images, and measure on others.
#
# Next: [a classifier of your own photographs](14_your_own_photographs.ipynb).

# %% [markdown]
# *Before you close a Colab runtime that copies to Drive, run `course.leave_drive()`.*
