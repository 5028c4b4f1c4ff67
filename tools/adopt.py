"""Import a `model.pth` from elsewhere as a finished stage.

Usage: python -m tools.adopt model.pth [--stage 3]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from course_lib import CourseError, open_course
from course_lib.finished import adopt_model
from course_lib.settings import STAGES

WHOLE_STAGES = [number for number, spec in STAGES.items() if spec.batches is None]


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
