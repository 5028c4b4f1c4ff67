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
# # 6. Which mistakes are left?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *10 minutes to present, half an hour to work through; a few seconds of computing once stage 3 is
# trained. You'll write the report's `result.csv`, sort the network's mistakes, check how sure
# it is when it's wrong, and show it a photograph of your own.*
#
# A single accuracy doesn't show what a network gets wrong. **The question: are its mistakes random,
# or do they have a pattern?**
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
# ## `result.csv`
#
# In its last step, the report predicts the class of every test image (not augmented, in eval mode)
# and writes one row per image, sorted by the number in the file name. We load the network of stage
# 3; unfinished stages are trained first.

# %%
import course_lib
from course_lib import trained_model

model = trained_model(course, 3)
images, result = course.data.test, course.folder / "result.csv"
course_lib.test(model, images, course, result)
print(f"{len(images):,} rows in {course.shown(result)}. The first ones:")
print("\n".join(result.read_text(encoding="utf-8").splitlines()[:4]))

# %% [markdown]
# ## Right and wrong
#
# From here on, we look at the held-out images, because we know their classes. (If the course draws
# the images, these are the test images.) Above each are the network's answer and its probability. ✓
# and a thin frame mean right; ✗ and a thick dashed frame mean wrong, with the true class below.

# %%
from course_lib import keep, predict, show_predictions

images = course.data.heldout
probabilities = predict(model, images, course)  # float32 (n, K)
shares, predicted = probabilities.max(1)
wrong = predicted != images.labels
figure = show_predictions(images, probabilities, 12, seed=course.settings.seed)
keep(figure, course.folder / "predictions.png")

# %% [markdown]
# Browse all of them with their three likeliest classes, filtered by right and wrong, class and
# confidence:

# %%
from course_lib import browse_predictions

browse_predictions(images, probabilities)

# %% [markdown]
# ## What gets confused with what?
#
# In a **confusion matrix**, rows are true classes and columns are predictions; everything off the
# diagonal is a mistake. If every class has two parts, such as a fruit and its colour, you can also
# draw a matrix for each part. **Predict:** what does the network confuse most often? And if a class
# is a motif in a colour, how often is at least the colour of a misclassified image right?

# %% cellView="form"
# @title Your guess: how many of this network's errors have the right colour, in percent
colour_guess = -1  # @param {type: "slider", min: -1, max: 100, step: 1}

from course_lib import guess

guess(course, "errors with the right colour", colour_guess)

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The parts of a class
from course_lib.data.shapes import COLOURS, MOTIFS

parts = {"class": (images.labels, predicted, images.classes)}
if course.data.generated:  # class = motif × 20 + colour
    parts = {
        "motif": (images.labels // 20, predicted // 20, MOTIFS),
        "colour": (images.labels % 20, predicted % 20, COLOURS),
    }

# %%
from IPython.display import display

from course_lib import plot_confusion

for part, (true, guessed, names) in parts.items():
    share = (true == guessed).float().mean()
    title = f"The {part} is right for {share:.0%} of the held-out images"
    figure = plot_confusion(true, guessed, names, title)
    display(keep(figure, course.folder / f"confusion-{part}.png"))

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The commonest mistakes
import torch

if wrong.any() and not course.data.generated:
    mistakes = torch.stack([images.labels[wrong], predicted[wrong]], dim=1)
    pairs, times = mistakes.unique(dim=0, return_counts=True)
    for i in times.argsort(descending=True, stable=True)[:3].tolist():
        true, guessed = (images.classes[category] for category in pairs[i])
        print(f"“{true}” mistaken for “{guessed}”: {times[i]} of {wrong.sum()} mistakes")
largest, share = course.data.largest_class
if course.data.is_unequal:
    answered = (predicted == images.classes.index(largest)).float().mean()
    print(f"The network answers “{largest}”, the largest class, for {answered:.0%} of the images;")
    print(f"{share:.0%} of the training images show it.")

# %% [markdown]
# Are all classes equally hard? **Predict** how far apart the hardest and the easiest class are.

# %%
from course_lib import plot_classes

figure = plot_classes(
    images.labels, predicted, images.classes, "Accuracy by class, held-out images"
)
keep(figure, course.folder / "accuracy-by-class.png")

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What a single image is worth
few = int(images.labels.unique(return_counts=True)[1].min())
print(
    f"Each of these classes has {few} or more held-out images, so a single image is worth up to"
    f" {100 / few:.3g} points."
)

# %% [markdown]
# So don't read too much into single bars: with few images per class, several of the classes at
# the top and at the bottom are there by luck.

# %% [markdown]
# ## Exercise: what share of the errors has the right colour?
#
# Suppose that a class is a motif in one of 20 colours, and class = motif · 20 + colour, as in the
# images that the course draws. (Whatever your own classes are, it's these that your function is
# checked on.) When a model is wrong, does it at least get the colour right? Given the true and the
# predicted classes, two int64 tensors (n,), return the share of the *errors* whose colour is right.
#
# <details><summary>Hint</summary>
#
# `labels[predicted != labels]` picks the true classes of the misclassified images. Which of `// 20`
# and `% 20` gives the colour?
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_share(labels, predicted):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
#
# def my_share(labels, predicted):
#     wrong = predicted != labels
#     return (predicted[wrong] % 20 == labels[wrong] % 20).float().mean()
# ```
#
# </details>

# %% tags=["check"]
passed = checks.colour_share(my_share)

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How far off the wrong colours are
from course_lib import answer

if course.data.generated and wrong.any():
    steps = (predicted % 20 - images.labels % 20).remainder(20)
    off = steps[steps != 0]
    wrong_colour = len(off) / int(wrong.sum())
    answer(course, "errors with the right colour", 1 - wrong_colour)
    print(f"In {wrong_colour:.0%} of the mistakes, the colour is wrong.")
    if len(off):
        print(
            f"In {((off == 1) | (off == 19)).float().mean():.0%} of those, it's a direct neighbour"
            " of the true one."
        )

# %% [markdown]
# <details><summary>What the stored run says, on the images that the course draws</summary>
#
# **The mistakes have a pattern: 90% of them have the right colour, and they're one-sided. Stripes
# are taken for another motif 87 times, and another motif for stripes 4 times.**
# <!-- holds: mistakes_are_one_sided -->
#
# </details>
#
# ## How sure is it when it's wrong?
#
# The probability of the likeliest class is called the network's **confidence**. **Predict:** is it
# lower for mistakes?

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Confidence when right and when wrong
if wrong.any() and not wrong.all():
    print(
        f"Mean confidence: {shares[~wrong].mean():.0%} when it's right, {shares[wrong].mean():.0%}"
        " when it's wrong."
    )
    print(
        f"Of the mistakes, {(shares[wrong] > 0.9).float().mean():.0%} were made with a confidence"
        " above 90%."
    )
    sure = shares > 0.9
    if sure.any():
        print(f"When confidence is above 90%, it averages {shares[sure].mean():.0%},")
        print(f"and the network is right {(~wrong)[sure].float().mean():.0%} of the time.")

# %% [markdown]
# If it's right less often than its mean confidence says, the network is **overconfident**: its
# probabilities aren't **calibrated**. That's common: on training images that the network already
# gets right, more confidence always lowers the loss, and nothing in training shows that it isn't
# justified on new images.
#
# ## A photograph of your own
#
# Enter the path of an image; in Colab, upload it first with the folder icon on the left. Leave it
# empty to see a held-out image. (`whites` matters only for pictures of 32-bit or floating-point
# numbers: it says which of them is white.)

# %% cellView="form"
# @title Your photograph
photograph = ""  # @param {type: "string"}

from course_lib import plot_images
from course_lib.data.bank import from_file
from course_lib.plots import likeliest_classes

own = images.subset([0])
if photograph:
    own = from_file(photograph, course.settings.size, course.data.whites)
likeliest = likeliest_classes(predict(model, own, course), 5)
keep(plot_images(own.batch([0]), ["what the network sees"]), course.folder / "own.png")

# %%
for share, category in zip(likeliest.shares[0].tolist(), likeliest.classes[0].tolist()):
    print(f"{share:6.1%}  {images.classes[category]}")

# %% [markdown]
# The network always answers with one of *its* classes, and the probabilities always add up to 100%.
# If it has never seen a dog and says with 95% confidence that yours belongs to one of its classes,
# it isn't 95% sure. It just means that of all the answers it can give, this one is the least bad.
# There's no class "none of these", and no training image that could have taught it one.
#
# ## Your guesses
#
# If you've entered guesses in these notebooks, here they are beside what came out:

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Your guesses, and what came out
from course_lib import answered_guesses, plot_guesses

answered = answered_guesses(course)
if answered:
    display(keep(plot_guesses(answered), course.folder / "guesses.png"))

# %% [markdown]
# ## Five questions
#
# 1. Two networks have the same accuracy. What can a confusion matrix tell you about them that the
#    accuracy can't?
# 2. A class has 8 held-out images, and 4 of them are wrong. Is it a difficult class?
# 3. What does it mean that a network is overconfident, and how do you find out?
# 4. You show it a photograph of a dog, and it answers with one of its classes, with 95%. What does
#    the number mean?
# 5. Why are the test images predicted in eval mode, and without augmentation?
#
# <details><summary>Answers</summary>
#
# 1. Which classes they mistake for which others. Their mistakes may be of entirely different kinds.
# 2. Maybe. One image is worth 12.5 points here, and of 80 classes, some end up at the bottom by
#    luck.
# 3. It's right less often than its confidence says. Compare the mean confidence of many predictions
#    with the share that's right.
# 4. Of its own classes, this one fits best. There's no “none of these”, so the probabilities add up
#    to 100% whatever it sees.
# 5. We want the finished network's answer to the image itself, and the same answer whatever else is
#    in the batch.
#
# </details>
#
# ## Recap
#
# Mistakes have a pattern, and a confusion matrix shows it. Confidence isn't a promise, so check how
# often confident predictions are right. And this classifier can't say "I don't know".
#
# Next: [what is wrong with the report's code?](10_the_reports_code.ipynb)

# %% [markdown]
# *Before you close a Colab runtime that copies to Drive, run `course.leave_drive()`.*
