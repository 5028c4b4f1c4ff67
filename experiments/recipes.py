"""Recipes against epochs: what accuracy does each reach, after how many? (`make recipes`)

Each recipe is trained for 18, 37 and 74 epochs with five seeds, on the course's images: the
report's stages 2 and 3, which share the epochs as they do in the preset; its augmentation from
scratch; and others that were named before anything was measured. A recipe is chosen on one half of
the held-out images, and its final figure is measured on the other: `halves` says which.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from course_lib import CourseError, open_course, predict, train, trial
from course_lib.data.bank import Images
from course_lib.experiment import Course
from course_lib.settings import STAGES
from course_lib.stage import Stage

from .compare import NO_ROTATION, ONE_CYCLE, Variant
from .copies import pictures
from .stored import pack_right, write_stored

BUDGETS = (18, 37, 74)  # epochs
SEEDS = 5
REPORTS = "the report's stages 2 and 3"
RECIPES = {
    "augmented from scratch": Variant(augmented=True),
    "augmented, one-cycle": Variant(augmented=True, settings=ONE_CYCLE),
    # Named beforehand for the generated data: shapes come at any angle, so rotating them shows the
    # network nothing new, and crops of 8% may show none of the motif.
    "no rotation, one-cycle": Variant(augmented=True, settings=ONE_CYCLE | NO_ROTATION),
    "larger crops, no rotation, one-cycle": Variant(
        augmented=True, settings=ONE_CYCLE | NO_ROTATION | {"crop": 0.35}
    ),
}


def halves(heldout: Images) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of the held-out images, bool (n,): to choose a recipe on, and for final figures.

    In the order of the images, those of each class alternate between the two; copies of a picture
    are in the same half.
    """
    seen: dict[int, int] = {}
    half_of: dict[bytes, bool] = {}  # by the picture
    to_choose = []
    for label, picture in zip(heldout.labels.tolist(), pictures(heldout)):
        if picture not in half_of:
            seen[label] = seen.get(label, 0) + 1
            half_of[picture] = seen[label] % 2 == 1
        to_choose.append(half_of[picture])
    mask = np.array(to_choose)
    return mask, ~mask


def train_recipe(course: Course, name: str, epochs: int, seed: int) -> tuple[list[dict], str]:
    """Train a recipe; returns its history, and which held-out images are right, packed."""
    recipe = RECIPES[name]
    history = trial(
        course,
        course.data.train,
        epochs=epochs,
        model=course.new_model(seed=seed),
        augmented=recipe.augmented,
        heldout=course.data.heldout,
        seed=seed,
        **recipe.settings,
    )
    return history, pack_right(history[-1].pop("heldout_right"))


def train_two_stages(course: Course, epochs: int, seed: int) -> tuple[list[dict], str]:
    """Train the report's stages 2 and 3 for these epochs together; returns as `train_recipe`.

    The history's epochs are numbered from 1 to `epochs`.
    """
    plain = round(epochs * course.epochs[2] / (course.epochs[2] + course.epochs[3]))
    # With another split, stage 2 would be another one: a folder for each.
    name = f"{course.folder.name}-two-stages-{plain}-of-{epochs}-epochs-seed{seed}"
    attempt = replace(
        course,
        settings=course.settings.with_changes(seed=seed),
        folder=course.home / "two-stages" / name,
        drive=None,
    )
    heldout = course.data.heldout
    model = course.new_model(seed=seed)
    history = []
    for number, count in {2: plain, 3: epochs - plain}.items():
        stage = Stage(attempt, STAGES[number], attempt.folder / f"stage-{number}", count)
        augmented = stage.spec.augmented
        before = len(history)
        trained = train(model, course.data.train, stage, augmented=augmented, heldout=heldout)
        for entry in trained:
            history.append(entry | {"epoch": before + entry["epoch"]})
    right = predict(model, heldout, course).argmax(1) == heldout.labels
    return history, pack_right(right)


def run_all(course: Course, after_each: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Train every recipe with every budget and seed, the cheapest first; returns a dict.

    runs, right: {recipe: {epochs: [of each seed]}}, histories and what `pack_right` returns.
    to_choose: which of the held-out images a recipe is chosen on, packed. after_each: called with
    what was found so far.
    """
    to_choose, _ = halves(course.data.heldout)
    found: dict[str, Any] = {"to_choose": pack_right(to_choose), "runs": {}, "right": {}}
    for epochs in BUDGETS:
        for seed in range(SEEDS):
            for name in (REPORTS, *RECIPES):
                if name == REPORTS:
                    history, right = train_two_stages(course, epochs, seed)
                else:
                    history, right = train_recipe(course, name, epochs, seed)
                _append(found["runs"], name, epochs, history)
                _append(found["right"], name, epochs, right)
                accuracy = history[-1]["heldout_accuracy"]
                print(f"{epochs} epochs, seed {seed}, {name}: {accuracy:.1%} held out", flush=True)
                after_each(found)
    return found


def _append(runs: dict[str, Any], name: str, epochs: int, value: Any) -> None:
    """Add what belongs to the next seed of a recipe with some budget."""
    runs.setdefault(name, {}).setdefault(str(epochs), []).append(value)


def main() -> None:
    """Train all recipes, and store what there is after each training."""
    try:
        course = open_course()
        run_all(course, lambda found: write_stored(course, "recipes.json", found))
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
