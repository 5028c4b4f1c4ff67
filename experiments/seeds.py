"""Repeat the experiment, and two controls for its third stage, with several seeds (`make seeds`).

Two controls show whether augmentation is the reason for what stage 3 achieves. One continues stage
2 without augmentation, for as many epochs as stage 3. The other augments from the first epoch on,
for as many epochs as stages 2 and 3 together.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from torch import nn

from course_lib import (
    CourseError,
    evaluate,
    few_heldout,
    measure,
    open_course,
    predict,
    read_results,
    record,
    train,
)
from course_lib.experiment import Course
from course_lib.loops import first_model
from course_lib.settings import STAGES, StageSpec
from course_lib.stage import Stage

from .stored import pack_right, spread, write_stored

# A control's number says which stage's random numbers it draws: the one follows stage 2 as stage 3
# does, the other begins like stage 2.
CONTROLS = {
    "more plain epochs": StageSpec(3, "more plain epochs", starts_from=2),
    "augmented from scratch": StageSpec(2, "augmented from scratch", augmented=True),
}
MEASURED = ("train_plain", "train_augmented", "heldout_plain")


def run_seed(seed: int) -> tuple[dict[str, Any], Course]:
    """Run the stages and the controls; returns what they measured, and the course.

    The first is {stage or control: {"epochs": history, "final": accuracies, "right": which held-out
    images were right, packed; None if that wasn't measured}}. The generated images, also those held
    out, are others for every seed: compare these with `paired=True` (`verdicts.judge`).
    """
    os.environ["COURSE_SEED"] = str(seed)  # the generated data depends on it, too
    course = open_course()
    right = {}
    for number in STAGES:
        right[str(number)] = run_stage(course.stage(number))
    outcome = {}
    for number, stage in read_results(course)["stages"].items():
        outcome[number] = {
            "epochs": stage["epochs"],
            "final": stage["final"],
            "right": right[number],
        }
    for name in CONTROLS:
        outcome[name] = train_control(course, name)
    return outcome, course


def run_stage(stage: Stage) -> str | None:
    """Train a stage and record what is measured on it, as its notebook does.

    Returns which held-out images were right, packed; None for a stage that's only a check.
    """
    course = stage.course
    model = first_model(stage)
    images = stage.images
    is_a_check = stage.spec.batches is not None
    heldout = None if is_a_check else few_heldout(course)
    history = train(model, images, stage, augmented=stage.spec.augmented, heldout=heldout)
    if is_a_check:
        final = {"train_plain": evaluate(model, images, course)}
    else:
        final = measure(model, course)
    record(stage, model, history, final)
    return None if is_a_check else heldout_right(model, course)


def heldout_right(model: nn.Module, course: Course) -> str:
    """Which held-out images a model gets right, plain, in eval mode; packed by `pack_right`."""
    heldout = course.data.heldout
    predicted = predict(model, heldout, course).argmax(1)
    return pack_right(predicted == heldout.labels)


def train_control(course: Course, name: str, epochs: int | None = None) -> dict[str, Any]:
    """Train a control as an experiment of its own; returns an entry of what `run_seed` does.

    epochs: how many, if not as the module's docstring says.
    """
    spec = CONTROLS[name]
    if epochs is None:
        epochs = course.epochs[3]
        if spec.starts_from is None:
            epochs += course.epochs[2]
    model = first_model(Stage(course, spec, course.folder, epochs))  # of the course itself
    control = course.experiment(f"{name} {epochs} epochs", epochs=epochs)
    stage = Stage(control, spec, control.folder / f"stage-{spec.number}", epochs)
    few = few_heldout(course)
    history = train(model, course.data.train, stage, augmented=spec.augmented, heldout=few)
    final = {key: figure.accuracy for key, figure in measure(model, course).items()}
    return {"epochs": history, "final": final, "right": heldout_right(model, course)}


def seeds_table(runs: dict[str, Any]) -> str:
    """Means and standard deviations over the seeds as a Markdown table.

    runs: {seed: what `run_seed` measured}.
    """
    lines = [
        "| trained | training, plain | training, augmented | held-out, plain |",
        "|---|---|---|---|",
    ]
    for name in next(iter(runs.values())):
        cells = [f"stage {name}" if name.isdecimal() else name]
        for measured in MEASURED:
            finals = [run[name]["final"] for run in runs.values()]
            shares = [final[measured] for final in finals if measured in final]
            cells.append(spread(shares) if shares else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Parse the command line, run all seeds and store what there is after each of them."""
    parser = argparse.ArgumentParser(prog="python -m experiments.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many; they are 0, 1, 2, …")
    chosen = parser.parse_args(arguments)
    runs = {}
    try:
        for seed in range(chosen.seeds):
            runs[str(seed)], course = run_seed(seed)
            write_stored(course, "seeds.json", {"seeds": runs})
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(seeds_table(runs))


if __name__ == "__main__":
    main(sys.argv[1:])
