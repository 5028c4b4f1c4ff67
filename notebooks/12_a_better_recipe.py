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
# # 12. How much better can the same network get?
#
# <!-- colab -->
# *In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
# from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
# then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*
#
# *25 minutes to present, an hour and a half to work through; a minute of computing on two CPU
# cores with bf16, about six times as long without. You'll test four changes to the
# recipe, choose, and train the report's network once more, in a quarter of the time.*
#
# The report trains at a constant learning rate, first without augmentation, then with a strong
# augmentation. We keep its network and ask about its recipe. **The question: what accuracy on
# held-out images can the same network reach with the same images in a quarter of the training
# time?**
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
# ## Four ingredients, named beforehand
#
# If you try enough changes, one will look good by chance. So we name four before we measure any,
# each for a reason:
#
# 1. **A milder augmentation.** The report crops down to 8% of an image, turns it upside down and
#    rotates it by up to 90°. Few photographs look like that. Milder: crops of 35% or more,
#    horizontal flips, no rotation.
# 2. **A one-cycle schedule.** A large learning rate moves fast but doesn't settle; a small one
#    settles, but moves slowly. One cycle uses both: it rises to 0.02 in the first quarter, then
#    falls to zero. (That changes two things, the schedule and the largest rate, so you won't know
#    which one helps. And unlike the other three, it had a trial run: with seed 0 on the generated
#    images, 0.01 and 0.05 were worse.)
# 3. **Weight decay**, 5·10⁻⁴. Each step pulls all weights a little towards zero. In a linear layer,
#    that favours simple solutions. Before a batch norm, which undoes any scaling, it mainly keeps
#    the steps large relative to the weights.
# 4. **Label smoothing**, 0.1. The network is asked for 90% certainty rather than 100%, so it
#    needn't push its logits ever further apart.
#
# **Predict:** which one helps most in a short training, and does one of them hurt?

# %%
from dataclasses import replace

from IPython.display import display

from course_lib import plot_runs
from course_lib.loops import learning_rate

steps = [step / 200 for step in range(200)]
one_cycle = replace(course.settings, schedule="one-cycle", lr=0.02)
x = "share of the training (%)"
rates = {
    name: [{x: 100 * done, "rate": learning_rate(settings, done)} for done in steps]
    for name, settings in (("the report's", course.settings), ("one-cycle", one_cycle))
}
display(plot_runs(rates, "rate", "The learning rate during training", x))

# %% [markdown]
# ## Each alone, and all four
#
# Each was added to the report's augmentation (or replaced it), trained briefly from scratch, and
# measured on images that were not trained on (`make compare`). In a large data set, these are
# *training* images put aside for the purpose, so that the held-out images stay untouched for the
# final comparison. A small data set, such as the images that the course draws, has too few for
# that: held-out ones are used for the choice, at 32 × 32 pixels, and again at the end. So the final
# accuracy may look a little too good there.

# %% cellView="form"
# @title Use the stored measurements, or measure on this data (hours on a CPU)
measure_again = False  # @param {type: "boolean"}

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title What is stored, or measured
from statistics import mean

from course_lib import stored
from experiments import compare
from experiments.evidence import Evidence, stored_evidence
from experiments.stored import read_stored

recipes = list(compare.RECIPES)
name = course.data.name
if measure_again:
    evidence = Evidence(name, compare.compare_variants(course))
elif stored(course, "compare.json") is not None:
    evidence = Evidence(name, stored(course, "compare.json"))
else:
    evidence = next(other for other in stored_evidence() if other.can_be_judged)
    print(f"Nothing is stored for {course.data.name}, preset {course.preset}. These are the")
    print("measurements on the images that the course draws. Your data may prefer another recipe:")
    print("tick the box to find out.")
print(evidence)
display(evidence.table(recipes))

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How far each is ahead of the report's augmentation
from course_lib.differences import plot_verdicts

if evidence.can_be_judged:
    title = f"Four ingredients ({evidence.run})"
    display(plot_verdicts(evidence.right(recipes), "augmented", title))
else:
    print("With one seed, and without knowing which images were right, there's no verdict.")

# %% [markdown]
# A mark is a difference from “augmented” after the last epoch, with an interval that's wide enough
# for the luck of the seeds, of the images, and of looking at five differences (notebook 11). The
# table averages the last three epochs, and ± is the standard deviation over the seeds.
#
# A choice is a kind of training, too: if you pick the best of six by their accuracies, you've
# fitted those accuracies a little. So we choose on one half of the images that were measured, and
# look at the choice on the other half:

# %%
if evidence.can_be_judged:
    to_choose, to_measure = evidence.halves(recipes)
    ranked = sorted(recipes, key=lambda name: to_choose[name].mean())
else:
    ranked = sorted(recipes, key=lambda name: mean(evidence.late(name)))
*_, second, best = ranked
print(f"Our choice: “{best}”, with {compare.VARIANTS[best].settings}")

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title The choice on the other half
from course_lib import judge

if evidence.can_be_judged:
    for other in ("augmented", second):
        print(f"Compared with “{other}”: {judge(to_measure[best], to_measure[other], 2)}")

# %% [markdown]
# **The one-cycle schedule alone gives most of the gain: it's 14.2 points ahead of the report's
# augmentation (2.7 to 25.8).**
# <!-- holds: one_cycle_gives_most -->
#
# **Whether the other three ingredients add anything, five seeds can't tell: all four together are
# 0.8 points ahead of the schedule alone, and a difference would have to be 11.3 to be noticed.**
# <!-- holds: the_others_may_add_nothing -->
#
# ## One run, a quarter of the time
#
# Now the chosen recipe, on all training images, for a quarter of the epochs that stages 2 and 3
# take together.

# %%
recipe = compare.VARIANTS[best].settings
epochs = max(1, (course.epochs[2] + course.epochs[3]) // 4)
better = course.experiment("recipe", epochs=epochs, **recipe)
print(f"{epochs} epochs instead of {course.epochs[2]} + {course.epochs[3]}, with {recipe}")

# %% [markdown]
# **Predict** the accuracy on held-out images, and look up what stage 3 reached (in notebook 05, or
# the [results](../docs/results.md)), before you run the next cell. This time we don't watch the
# held-out images while the network trains. Whoever watches them is tempted to stop at a lucky
# moment, or to go back and change something, and then they have been used for a choice. (The figure
# says “Stage 3”, because we train with augmentation. Grey, if there's one for this data: the first
# epochs of the stored stage 3, held-out accuracy dashed. Don't compare them closely: that run
# started from the network of stage 2, and label smoothing raises our loss.)

# %%
from course_lib import live_curve, train

stage = better.stage(3)  # "with augmentation", but from a new network
model = better.new_model()
history = train(model, better.data.train, stage, augmented=True, live=live_curve(stage))

# %%
from course_lib import measure, record

results = record(stage, model, history, measure(model, better))
measured = results["stages"]["3"]
for name, share in measured["final"].items():
    print(f"{share:6.1%} of {measured['measured_on'][name]}")
if measured["final"]["train_augmented"] > measured["final"]["train_plain"]:
    print("Augmented images are easier: notebook 13 tests why.")

# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title How it compares with the report's recipe
from math import sqrt

from course_lib import read_results


def compared(ours, theirs):
    """Print how the recipe's results compare with those of the report's recipe."""
    ours, theirs = ours["stages"]["3"], theirs["stages"]["3"]
    images = int(ours["measured_on"]["heldout_plain"].split()[0].replace(",", ""))
    new, old = (stage["final"]["heldout_plain"] for stage in (ours, theirs))
    doubtful = 2 * sqrt((new * (1 - new) + old * (1 - old)) / images)
    doubtful = max(doubtful, 1 / images)  # a single image may always be luck
    verdict = (
        "better"
        if new - old > doubtful
        else "worse"
        if old - new > doubtful
        else "no clear difference"
    )
    print(
        f"{new:.1%} of {images:,} held-out images after {len(ours['epochs'])} epochs of the new"
        f" recipe, {old:.1%} after the report's stages 2 and 3: {100 * (new - old):+.1f} points,"
        f" {verdict}."
    )


reference = read_results(course)
if "3" not in reference["stages"]:  # the stored run, if it was measured on the same images
    reference = stored(course, same_heldout=True) or reference
if "3" in reference["stages"]:
    compared(results, reference)
else:
    print("Run notebooks 04 and 05 first: there's no stage 3 to compare with.")

# %% [markdown]
# Two things differ here, the recipe *and* the number of epochs. So the comparison says whether a
# quarter of the time is enough; it doesn't say whether the recipe is better. For that, you need a
# control: the report's augmentation for as many epochs. In the short trainings above, you've
# already seen one: the rows “augmented” and “all four”. If the recipe is ahead there but behind
# here, it's better at an equal, short budget, but a quarter of the time isn't enough to catch up.
# Whether it would still be ahead after as many epochs as the report's, neither comparison says. How
# would you run that control at full size?
#
# <details><summary>Answer</summary>
#
# ```python
# control = course.experiment("control", epochs=epochs)
# model = control.new_model()
# train(model, control.data.train, control.stage(3), augmented=True)
# ```
#
# </details>
#
# ## On photographs
#
# If this notebook has been run on photographs, and its result stored with the course, here's the
# same comparison. Below it are short trainings on photographs, measured on training images put
# aside for it. They came later: our recipe was chosen on the generated images. **Predict:** is the
# best single ingredient the same as there?

# %%
photographs = read_stored("recipe.json")
for name, ours in photographs.items():
    print(name)
    compared(ours, read_stored("results.json")[name])
    for variant, histories in read_stored("compare.json").get(name, {"runs": {}})["runs"].items():
        if variant in compare.RECIPES:
            print(f"{mean(map(compare.late, histories)):7.1%} after a short training: {variant}")
if not photographs:
    print("Not measured yet.")

# %% [markdown]
# **On 40,000 photographs, the recipe pays off: it gets 47.3% of the held-out images right after 20
# epochs; the report's stages 2 and 3 together get 41.1% after 80.**
# <!-- holds: the_recipe_pays_off_on_photographs -->
#
# ## Exercise: early stopping
#
# How long to train is a choice as well. **Early stopping** makes it with *validation images*, which
# are neither trained on nor used for the final comparison: the accuracy on them is measured after
# each epoch, and the weights of the best epoch so far are kept. Training stops as soon as the
# accuracy hasn't risen above that of the best epoch for `patience` epochs in a row.
#
# `accuracies` is a list of validation accuracies, one per epoch, as they'd be if training never
# stopped early. Return the epoch whose weights are kept, the first one of equals. Epochs count from
# 1. With a patience of 2 and accuracies of 0.3, 0.5, 0.4, 0.45 and 0.6, training stops after
# epoch 4, and epoch 2 is kept; the 0.6 is never seen.
#
# <details><summary>Hint</summary>
#
# Go through the epochs once. Remember the best accuracy so far, its epoch, and how many epochs have
# passed since. The list may end before your patience does.
#
# </details>

# %% tags=["exercise"]
from course_lib import checks


def my_stop(accuracies, patience):
    raise checks.Todo


# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# from course_lib import checks
#
#
# def my_stop(accuracies, patience):
#     best = -1.0
#     best_epoch = 0
#     for epoch, accuracy in enumerate(accuracies, start=1):
#         if accuracy > best:
#             best = accuracy
#             best_epoch = epoch
#         elif epoch - best_epoch == patience:
#             break
#     return best_epoch
# ```
#
# </details>

# %% tags=["check"]
passed = checks.early_stopping(my_stop)

# %% [markdown]
# ## Recap
#
# - Name your ingredients before you measure, and change one at a time.
# - Choose on images that the final comparison doesn't use; use those once.
# - A recipe is chosen for some data and some budget. On others, measure again: whether a picture
#   makes sense upside down depends on the data, and how much augmentation pays off may depend on
#   how long you train.
#
# Next: [what does the network see?](13_what_it_sees.ipynb)

# %% [markdown]
# *On your own data: `make reproduce NOTEBOOKS=12 DATA=… PRESET=full`, after `make compare` with the
# same.*
