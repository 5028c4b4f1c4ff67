"""Measure the report's claims and the ingredients of a better recipe, one change at a time (`make compare`).

Every variant trains a new model on the same images, for the same number of epochs. On the lecture's generated images,
it does that with three seeds, at 32 × 32 pixels to save time. On a larger data set, it trains on 100 training images of
each class and measures on 25 others; the held-out images stay untouched, so you can use this to choose a recipe.
"""

import json
import sys
from statistics import mean

from course_lib import (
    ConstantWidth,
    CourseError,
    MyModel,
    few_heldout,
    get_model,
    open_course,
    plain_block,
    read_results,
    trial,
    two_conv_block,
)
from course_lib.experiment import CHECKOUT
from course_lib.storage.files import write_text

PLAN = {"smoke": (1, 1, {}), "lecture": (3, 20, {"size": 32}), "full": (1, 12, {})}  # seeds, epochs, changes
TRAINED, MEASURED = 100, 25  # images of each class of a larger data set

WHOLE = {"augmented": True, "crop": 1.0, "flips": (0.0, 0.0), "degrees": 0.0}  # no crop, no flips, no rotation
MILD = {"augmented": True, "crop": 0.35, "flips": (0.5, 0.0), "degrees": 0.0}
VARIANTS = {  # what differs from the report's network, trained on plain images
    "plain": {},
    # Claims A to D of the report
    "augmented": {"augmented": True},
    "crop alone": WHOLE | {"crop": 0.08},
    "flips alone": WHOLE | {"flips": (0.5, 0.5)},
    "rotation alone": WHOLE | {"degrees": 90.0},
    "without short-cut": {"block": plain_block},
    "two 3×3 convolutions": {"block": two_conv_block},
    "constant width": {"model_class": ConstantWidth},
    # Ingredients of a better recipe, each alone in place of "augmented"
    "milder augmentation": MILD,
    "one-cycle": {"augmented": True, "schedule": "one-cycle", "lr": 0.05},
    "weight decay": {"augmented": True, "weight_decay": 5e-4},
    "label smoothing": {"augmented": True, "label_smoothing": 0.1},
    "all four": MILD | {"schedule": "one-cycle", "lr": 0.05, "weight_decay": 5e-4, "label_smoothing": 0.1},
}


def parts(course):
    """The images that every variant is trained on, and those it's measured on."""
    train, seed = course.data.train, course.settings.seed
    if course.preset != "full":
        return train, few_heldout(course)
    return train.of_each_class(0, TRAINED, seed), train.of_each_class(TRAINED, TRAINED + MEASURED, seed)


def measure(course, name, seed):
    """The history of a variant trained with this seed, read from disk if it has been measured before."""
    _, epochs, plan = PLAN[course.preset]
    changes = {"model_class": MyModel} | plan | VARIANTS[name]
    model_class, block = changes.pop("model_class"), changes.pop("block", None)
    model = get_model(model_class, seed=seed, **({"block": block} if block else {}))
    trained, measured = parts(course)
    return trial(course, trained, epochs=epochs, model=model, heldout=measured, seed=seed, **changes)


def late(history):
    """Held-out accuracy, averaged over the last three epochs: at a constant rate, it jumps from epoch to epoch."""
    return mean(entry["heldout_accuracy"] for entry in history[-3:])


def main():
    """Measure all variants, and write `results/<run>/compare.json` after each of them."""
    try:
        course, runs = open_course(), {}
        for seed in range(PLAN[course.preset][0]):
            for name in VARIANTS:
                history = measure(course, name, seed)
                runs.setdefault(name, []).append(history)
                print(f"seed {seed}, {name}: {late(history):.1%} held out, loss {history[-1]['loss']:.3f}", flush=True)
                about = {key: value for key, value in read_results(course).items() if key != "stages"}
                folder = CHECKOUT / "results" / f"{course.data.name}-{course.preset}"
                write_text(folder / "compare.json", json.dumps(about | {"runs": runs}, indent=1) + "\n")
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
