"""Import a `model.pth` from elsewhere as a finished stage.

Usage: python -m tools.adopt model.pth [--stage 3]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from course_lib import CheckpointError, CourseError, open_course
from course_lib.device import place
from course_lib.experiment import Course
from course_lib.loops import first_model, new_optimizer
from course_lib.run import Run
from course_lib.settings import STAGES
from course_lib.storage.checkpoints import digest_of
from course_lib.storage.weights import load_weights

WHOLE_STAGES = [number for number, spec in STAGES.items() if spec.batches is None]


def adopt_model(
    course: Course,
    path: str | Path,
    history: Sequence[dict[str, Any]] = (),
    stage_number: int = 2,
) -> None:
    """Import a `model.pth` from elsewhere as a finished stage, so that the experiment continues.

    history: its epochs, as `train` returns them, if you have them. If the stage starts from another
    one, as stage 3 does, that must be this course's, which can't be checked. The file's name and
    digest are kept in `results.json`. Raises CheckpointError if the weights don't fit or aren't
    finite, if the stage has already begun, or if the one before it isn't finished.
    """
    path = Path(path)
    stage = course.stage(stage_number)
    adopted = course.new_model()
    load_weights(adopted, path)
    origin = f"{path.name}, SHA-256 {digest_of(path.read_bytes())}…"
    if stage.state:
        raise CheckpointError(
            f"Stage {stage_number} has already begun. To replace it, run "
            f"course.stage({stage_number}).start_over() first."
        )
    before = stage.spec.starts_from
    if before is not None and not course.stage(before).finished:
        raise CheckpointError(
            f"Stage {before} isn't finished. First import the stage {before} that this stage "
            f"{stage_number} started from."
        )
    model = place(first_model(stage), course.device)
    optimizer = new_optimizer(model, course.settings)
    scaler = course.precision.scaler()
    with Run(stage, model, optimizer, scaler, stage.images, stage.spec.augmented) as run:
        model.load_state_dict(adopted.state_dict())
        run.position.epoch = stage.epochs
        run.position.history = list(history)
        run.position.origin = origin
        run.finish()


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and adopt the model; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.adopt", description=__doc__)
    parser.add_argument("model", help="a file that the report's code could have written")
    parser.add_argument("--stage", type=int, choices=WHOLE_STAGES, default=2)
    chosen = parser.parse_args(arguments)
    try:
        adopt_model(open_course(), chosen.model, stage_number=chosen.stage)
    except (CourseError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
