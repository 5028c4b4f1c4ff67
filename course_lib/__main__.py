"""`python -m course_lib reproduce` and `python -m course_lib pair`: what the Makefile calls, and Windows types."""

import argparse
import sys

from .errors import CourseError


def main():
    """Parse the command line and do it; an error of the course is one sentence on stderr and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m course_lib")
    commands = parser.add_subparsers(dest="command", required=True)
    reproduce = commands.add_parser("reproduce", help="execute notebooks 00–04 and print the table against the report")
    reproduce.add_argument("--fresh", action="store_true", help="start over instead of going on")
    pair = commands.add_parser("pair", help="write the .ipynb of each notebook from its .py")
    pair.add_argument("--executed", action="store_true", help="with the outputs of the run's executed notebooks")
    chosen = parser.parse_args()
    from . import reproduce as work  # not before the arguments are known to be right: this imports torch

    try:
        if chosen.command == "reproduce":
            print(work.reproduce(chosen.fresh))
        else:
            work.update_pairs(work.open_course().folder / "notebooks" if chosen.executed else None)
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
