"""Import a `model.pth` from elsewhere as a finished stage:  python -m tools.adopt model.pth
[--stage 3]"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from course_lib import (
    CheckpointError,
    CourseError,
    MyModel,
    get_model,
    open_course,
    train,
    trained_model,
)
from course_lib.storage import checkpoints


def adopt_model(course, path, history=(), stage_number=2):
    """Import a `model.pth` from elsewhere as the finished stage 2 or 3, so that the experiment
    continues from it.

    history: its epochs, as `train` returns them, if you have them. A stage 3 must have started from
    this course's stage 2, which can't be checked. The file's name and digest are kept in
    `results.json`. Raises CheckpointError if the weights don't fit, if the stage has already begun,
    or if stage 2 isn't finished before stage 3.
    """
    stage, path = course.stage(stage_number), Path(path)
    origin, adopted = (
        f"{path.name}, SHA-256 {checkpoints.digest_of(path.read_bytes())}…",
        get_model(MyModel, path),
    )
    if stage.state:
        advice = f"To replace it, run course.stage({stage_number}).start_over() first."
        raise CheckpointError(f"Stage {stage_number} has already begun. {advice}")
    if stage_number == 3 and course.stage(2).state != "finished":
        raise CheckpointError(
            "Stage 2 isn't finished. First import the stage 2 that this stage 3 started from."
        )
    model = (
        trained_model(course, 2)
        if stage_number == 3
        else get_model(MyModel, seed=course.settings.seed)
    )
    # A stage of no epochs leaves the checkpoint that training would start from; it becomes the one
    # that ends it.
    train(model, course.data.train, replace(stage, epochs=0), augmented=stage_number == 3)
    state = checkpoints.load(checkpoints.newest_good(stage.folder)) | {
        "model": adopted.state_dict()
    }
    state["position"] |= {"epoch": stage.epochs, "history": list(history), "origin": origin}
    checkpoints.write_model(stage.model_path, adopted)
    checkpoints.save(stage.folder, state, stage.epochs, 0)


def main(arguments):
    """Parse the command line and adopt the model; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.adopt", description=__doc__)
    parser.add_argument("model", help="a file that the report's code could have written")
    parser.add_argument("--stage", type=int, choices=(2, 3), default=2)
    chosen = parser.parse_args(arguments)
    try:
        adopt_model(open_course(), chosen.model, stage_number=chosen.stage)
    except (CourseError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
