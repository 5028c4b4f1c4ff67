"""Repeat the experiment, and two controls for its third stage, with several seeds (`make seeds`).

The controls ask whether augmentation is the reason for what stage 3 achieves: as many more *plain*
epochs after stage 2; and augmentation from the first epoch on, for as many epochs as stages 2 and 3
together.
"""

import argparse
import os
import sys

from course_lib import (
    MyModel,
    evaluate,
    few_heldout,
    get_model,
    measure,
    open_course,
    read_results,
    record,
    train,
)
from course_lib.loops import trained_model

from .stored import keep, spread

CONTROLS = {
    "more plain epochs": (3, False),
    "augmented from scratch": (2, True),
}  # name: stage, whether augmented


def one_seed(seed):
    """Run the stages and the controls: {stage or control: {"epochs", "final"}}, and the course."""
    os.environ["COURSE_SEED"] = str(seed)
    course = open_course()
    images, few = course.data.train, few_heldout(course)
    five = images.take(5 * course.settings.batch_size, seed=seed)
    model = get_model(MyModel, seed=seed)
    history = train(model, five, course.stage(1), augmented=False)
    record(course.stage(1), model, history, {"train_plain": evaluate(model, five, course)})
    for number in (2, 3):
        model = trained_model(course, number)
        history = train(model, images, course.stage(number), augmented=number == 3, heldout=few)
        record(course.stage(number), model, history, measure(model, course))
    results = read_results(course)
    outcome = {
        number: {key: stage[key] for key in ("epochs", "final")}
        for number, stage in results["stages"].items()
    }
    for name in CONTROLS:
        outcome[name] = control(course, name)
    return outcome, course


def control(course, name, epochs=None):
    """Train a control as an experiment of its own: {"epochs", "final"}. epochs: how many, if not as
    above."""
    number, augmented = CONTROLS[name]
    model = (
        trained_model(course, 2) if number == 3 else get_model(MyModel, seed=course.settings.seed)
    )
    epochs = epochs or (course.epochs[3] if number == 3 else course.epochs[2] + course.epochs[3])
    stage = course.experiment(name, epochs=epochs).stage(number)
    history = train(
        model, course.data.train, stage, augmented=augmented, heldout=few_heldout(course)
    )
    return {
        "epochs": history,
        "final": {key: figure.accuracy for key, figure in measure(model, course).items()},
    }


def table(runs):
    """Means and standard deviations over the seeds as a Markdown table; runs: {seed: outcome of
    `one_seed`}."""
    lines = [
        "| trained | training, plain | training, augmented | held-out, plain |",
        "|---|---|---|---|",
    ]
    for name in next(iter(runs.values())):
        cells = [f"stage {name}" if len(name) == 1 else name]
        for measured in ("train_plain", "train_augmented", "heldout_plain"):
            shares = [
                run[name]["final"][measured]
                for run in runs.values()
                if measured in run[name]["final"]
            ]
            cells.append(spread(shares) if shares else "–")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments):
    """Parse the command line, run all seeds and keep what is there in `results/` after each of
    them."""
    parser = argparse.ArgumentParser(prog="python -m experiments.seeds", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="how many; they are 0, 1, 2, …")
    chosen = parser.parse_args(arguments)
    runs = {}
    for seed in range(chosen.seeds):
        runs[str(seed)], course = one_seed(seed)
        keep(course, "seeds.json", {"seeds": runs})
    print(table(runs))


if __name__ == "__main__":
    main(sys.argv[1:])
