"""Measure the report's claims, and the ingredients of a better recipe, one at a time.

`make compare` runs it. Every variant trains a new model on the same images, for the same number of
epochs. On the lecture's generated images, it does that with five seeds, at 32 × 32 pixels to save
time, and measures on all held-out images. On a larger data set, it trains on 100 training images of
each class and measures on 25 others; the held-out images stay untouched, so you can use this to
choose a recipe. Finally, on a larger data set, the controls of `make seeds` are trained on all
training images for ten epochs, and measured on the held-out images.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import mean
from typing import Any

from course_lib import (
    ConstantWidth,
    CourseError,
    MyModel,
    evaluate,
    get_model,
    open_course,
    plain_block,
    res_block,
    trained_model,
    trial,
    two_conv_block,
)
from course_lib.data.bank import Images
from course_lib.experiment import Course

from .copies import without_copies
from .seeds import CONTROLS, seeds_table, train_control
from .stored import pack_right, spread, write_stored


@dataclass(frozen=True)
class Plan:
    """How thoroughly a preset's variants are compared."""

    seeds: int
    epochs: int
    control_epochs: int | None  # None: `make seeds` trains the controls
    size: int | None = None  # side of the images, in pixels; None: the course's


PLANS = {
    "smoke": Plan(seeds=1, epochs=1, control_epochs=1),
    "lecture": Plan(seeds=5, epochs=20, control_epochs=None, size=32),
    "full": Plan(seeds=1, epochs=12, control_epochs=10),
}
TRAINED = 100  # images per class that are trained on, if the data set is larger
MEASURED = 25  # images per class that are measured on
EVALUATED = 8000  # training images, in all, on which stage 2 is measured


@dataclass(frozen=True)
class Variant:
    """What differs from the baseline: the report's network, trained on plain images."""

    network: type[MyModel] = MyModel
    block: type[res_block] = res_block
    augmented: bool = False
    settings: dict[str, Any] = field(default_factory=dict)  # fields of Settings


NO_CROP = {"crop": 1.0}
NO_FLIPS = {"flips": (0.0, 0.0)}
NO_ROTATION = {"degrees": 0.0}
MILD = {"crop": 0.35, "flips": (0.5, 0.0), "degrees": 0.0}
ONE_CYCLE = {"schedule": "one-cycle", "lr": 0.02}
WEIGHT_DECAY = {"weight_decay": 5e-4}
LABEL_SMOOTHING = {"label_smoothing": 0.1}

VARIANTS = {
    "baseline": Variant(),
    # Claims A to D of the report
    "augmented": Variant(augmented=True),
    "crop alone": Variant(augmented=True, settings=NO_FLIPS | NO_ROTATION),
    "flips alone": Variant(augmented=True, settings=NO_CROP | NO_ROTATION),
    "rotation alone": Variant(augmented=True, settings=NO_CROP | NO_FLIPS),
    "half plain, half augmented": Variant(augmented=True, settings={"plain": 0.5}),
    "without short-cut": Variant(block=plain_block),
    "two 3×3 convolutions": Variant(block=two_conv_block),
    "constant width": Variant(network=ConstantWidth),
    # Ingredients of a better recipe: each changes one thing in "augmented"
    "milder augmentation": Variant(augmented=True, settings=MILD),
    "one-cycle": Variant(augmented=True, settings=ONE_CYCLE),
    "weight decay": Variant(augmented=True, settings=WEIGHT_DECAY),
    "label smoothing": Variant(augmented=True, settings=LABEL_SMOOTHING),
    "all four": Variant(augmented=True, settings=MILD | ONE_CYCLE | WEIGHT_DECAY | LABEL_SMOOTHING),
}
RECIPES = (
    "augmented",
    "milder augmentation",
    "one-cycle",
    "weight decay",
    "label smoothing",
    "all four",
)


def images_for(course: Course) -> tuple[Images, Images]:
    """The images that every variant is trained on, and those that it's measured on."""
    train = course.data.train
    seed = course.settings.seed
    if len(train) < len(course.data.classes) * (TRAINED + MEASURED):  # a small data set: all of it
        return train, course.data.heldout
    trained = train.of_each_class(0, TRAINED, seed)
    measured = train.of_each_class(TRAINED, TRAINED + MEASURED, seed)
    return trained, without_copies(measured, of=trained)


def train_variant(course: Course, name: str, seed: int) -> tuple[list[dict[str, Any]], str]:
    """Train a variant with this seed, or read from disk what was trained before.

    Returns its history, and which of the measured images were right after it, packed.
    """
    plan = PLANS[course.preset]
    variant = VARIANTS[name]
    trained, measured = images_for(course)
    classes = len(course.data.classes)
    history = trial(
        course,
        trained,
        epochs=plan.epochs,
        model=get_model(variant.network, seed=seed, block=variant.block, classes=classes),
        augmented=variant.augmented,
        heldout=measured,
        seed=seed,
        size=plan.size or course.settings.size,
        **variant.settings,
    )
    right = history[-1].pop("heldout_right")
    return history, pack_right(right)


def late(history: list[dict[str, Any]]) -> float:
    """Held-out accuracy, averaged over the last three epochs.

    At a constant learning rate, accuracy jumps from epoch to epoch.
    """
    return mean(entry["heldout_accuracy"] for entry in history[-3:])


def stage_2_on_transforms(course: Course) -> dict[str, float]:
    """Accuracy of stage 2's model on training images under each transform.

    That model never saw an augmented image.
    """
    model = trained_model(course, 2)
    images = course.data.train.take(EVALUATED, course.settings.seed)
    accuracies = {"plain": evaluate(model, images, course).accuracy}
    for name in ("flips alone", "rotation alone", "crop alone", "augmented"):
        settings = course.settings.with_changes(**VARIANTS[name].settings)
        other = replace(course, settings=settings)
        accuracies[name] = evaluate(model, images, other, augmented=True).accuracy
    return accuracies


def compare_variants(
    course: Course, after_each: Callable[[dict[str, Any]], None] = lambda found: None
) -> dict[str, Any]:
    """Train all variants, or load those that were trained before; returns a dict.

    stage_2: {transform: accuracy}. trained, measured: how many images. size: their side, in pixels.
    runs: {variant: [history of each seed]}. right: {variant: [for each seed, which of the measured
    images were right after the last epoch, packed]}; they are the same images for every seed.
    after_each: called with what was found so far.
    """
    plan = PLANS[course.preset]
    trained, measured = images_for(course)
    found = {
        "trained": len(trained),
        "measured": len(measured),
        "size": plan.size or course.settings.size,
        "runs": {},
        "right": {},
        "stage_2": stage_2_on_transforms(course),
    }
    after_each(found)
    for seed in range(plan.seeds):
        for name in VARIANTS:
            history, right = train_variant(course, name, seed)
            found["runs"].setdefault(name, []).append(history)
            found["right"].setdefault(name, []).append(right)
            loss = history[-1]["loss"]
            print(f"seed {seed}, {name}: {late(history):.1%} held out, loss {loss:.3f}", flush=True)
            after_each(found)
    return found


def variants_table(found: dict[str, Any]) -> str:
    """Held-out accuracy of each variant, and of the controls, as Markdown tables.

    Mean and standard deviation over the seeds.
    """
    lines = ["| variant | seeds | held-out, plain |", "|---|---|---|"]
    for name, histories in found["runs"].items():
        shares = [late(history) for history in histories]
        lines.append(f"| {name} | {len(histories)} | {spread(shares)} |")
    if "controls" in found:
        lines.append("")
        lines.append(seeds_table({"0": found["controls"]}))  # of one seed
    return "\n".join(lines)


def main() -> None:
    """Compare all variants and the controls, store what there is after each, print the tables."""
    try:
        course = open_course()
        found = compare_variants(
            course, lambda so_far: write_stored(course, "compare.json", so_far)
        )
        epochs = PLANS[course.preset].control_epochs
        if epochs is not None:
            found["controls"] = {}
            for name in CONTROLS:
                found["controls"][name] = train_control(course, name, epochs)
                write_stored(course, "compare.json", found)
        print(variants_table(found))
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
