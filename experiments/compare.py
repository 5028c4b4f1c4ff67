"""Measure the report's claims and the ingredients of a better recipe, one change at a time (`make
compare`).

Every variant trains a new model on the same images, for the same number of epochs. On the lecture's
generated images, it does that with three seeds, at 32 × 32 pixels to save time. On a larger data
set, it trains on 100 training images of each class and measures on 25 others; the held-out images
stay untouched, so you can use this to choose a recipe. Last come the controls of `make seeds`, for
ten epochs of all training images; they are measured on the held-out ones.
"""

import sys
from dataclasses import replace
from statistics import mean

from course_lib import (
    ConstantWidth,
    CourseError,
    MyModel,
    evaluate,
    few_heldout,
    get_model,
    open_course,
    plain_block,
    res_block,
    trained_model,
    trial,
    two_conv_block,
)
from course_lib.data.answers import CLASSES

from . import seeds
from .stored import keep, spread

PLAN = {
    "smoke": (1, 1, {}),
    "lecture": (3, 20, {"size": 32}),
    "full": (1, 12, {}),
}  # seeds, epochs, changes
TRAINED, MEASURED = 100, 25  # images of each class of a larger data set
EVALUATED = 8000  # training images on which stage 2 is measured
CONTROL_EPOCHS = {"smoke": 1, "full": 10}  # the lecture's controls are those of `make seeds`

WHOLE = {
    "augmented": True,
    "crop": 1.0,
    "flips": (0.0, 0.0),
    "degrees": 0.0,
}  # no crop, no flips, no rotation
MILD = {"augmented": True, "crop": 0.35, "flips": (0.5, 0.0), "degrees": 0.0}
VARIANTS = {  # what differs from the baseline
    "baseline": {},  # the report's network, trained on plain images
    # Claims A to D of the report
    "augmented": {"augmented": True},
    "crop alone": WHOLE | {"crop": 0.08},
    "flips alone": WHOLE | {"flips": (0.5, 0.5)},
    "rotation alone": WHOLE | {"degrees": 90.0},
    "half plain, half augmented": {"augmented": True, "plain": 0.5},
    "without short-cut": {"block": plain_block},
    "two 3×3 convolutions": {"block": two_conv_block},
    "constant width": {"model_class": ConstantWidth},
    # Ingredients of a better recipe, each alone in place of "augmented"
    "milder augmentation": MILD,
    "one-cycle": {"augmented": True, "schedule": "one-cycle", "lr": 0.02},
    "weight decay": {"augmented": True, "weight_decay": 5e-4},
    "label smoothing": {"augmented": True, "label_smoothing": 0.1},
    "all four": MILD
    | {"schedule": "one-cycle", "lr": 0.02, "weight_decay": 5e-4, "label_smoothing": 0.1},
}
RECIPES = (
    "augmented",
    "milder augmentation",
    "one-cycle",
    "weight decay",
    "label smoothing",
    "all four",
)


def parts(course):
    """The images that every variant is trained on, and those it's measured on."""
    train, seed = course.data.train, course.settings.seed
    if len(train) < CLASSES * (TRAINED + MEASURED):
        return train, few_heldout(course)
    return train.of_each_class(0, TRAINED, seed), train.of_each_class(
        TRAINED, TRAINED + MEASURED, seed
    )


def measure(course, name, seed):
    """The history of a variant trained with this seed, read from disk if it has been measured
    before."""
    _, epochs, plan = PLAN[course.preset]
    changes = {"model_class": MyModel, "block": res_block} | plan | VARIANTS[name]
    model = get_model(changes.pop("model_class"), seed=seed, block=changes.pop("block"))
    trained, measured = parts(course)
    return trial(
        course, trained, epochs=epochs, model=model, heldout=measured, seed=seed, **changes
    )


def late(history):
    """Held-out accuracy, averaged over the last three epochs: at a constant rate, it jumps from
    epoch to epoch."""
    return mean(entry["heldout_accuracy"] for entry in history[-3:])


def stage_2_on_transforms(course):
    """Accuracy of stage 2's model, which never saw an augmented image, on training images under
    each transform."""
    model, images = (
        trained_model(course, 2),
        course.data.train.take(EVALUATED, course.settings.seed),
    )
    accuracies = {"plain": evaluate(model, images, course).accuracy}
    for name in ("flips alone", "rotation alone", "crop alone", "augmented"):
        changes = {key: value for key, value in VARIANTS[name].items() if key != "augmented"}
        changed = replace(course, settings=replace(course.settings, **changes))
        accuracies[name] = evaluate(model, images, changed, augmented=True).accuracy
    return accuracies


def measure_all(course, after_each=lambda found: None):
    """Train all variants, or load those that were trained before; returns a dict.

    stage_2: {transform: accuracy}. trained, measured: how many images. size: their side, in pixels.
    runs: {variant: [history of each seed]}. after_each: called with what was found so far.
    """
    repeats, _, plan = PLAN[course.preset]
    trained, measured = map(len, parts(course))
    found = {
        "trained": trained,
        "measured": measured,
        "size": plan.get("size", course.settings.size),
        "runs": {},
    }
    found["stage_2"] = stage_2_on_transforms(course)
    after_each(found)
    for seed in range(repeats):
        for name in VARIANTS:
            history = measure(course, name, seed)
            found["runs"].setdefault(name, []).append(history)
            print(
                f"seed {seed}, {name}: {late(history):.1%} held out, loss {history[-1]['loss']:.3f}",
                flush=True,
            )
            after_each(found)
    return found


def table(found):
    """Held-out accuracy of each variant as a Markdown table: mean and standard deviation over the
    seeds; controls."""
    lines = ["| variant | seeds | held-out, plain |", "|---|---|---|"]
    for name, histories in found["runs"].items():
        lines.append(f"| {name} | {len(histories)} | {spread([*map(late, histories)])} |")
    return "\n".join(
        [*lines, "", seeds.table({"0": found["controls"]})] if "controls" in found else lines
    )


def main():
    """Measure all variants and the controls, keep what is there in `results/` after each, and print
    the tables."""
    try:
        course = open_course()
        found = measure_all(course, lambda found: keep(course, "compare.json", found))
        if epochs := CONTROL_EPOCHS.get(course.preset):
            found["controls"] = {}
            for name in seeds.CONTROLS:
                found["controls"][name] = seeds.control(course, name, epochs)
                keep(course, "compare.json", found)
        print(table(found))
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
