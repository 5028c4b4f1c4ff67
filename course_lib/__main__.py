"""`python -m course_lib reproduce | pair | describe`: what the Makefile calls, and Windows types."""

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
    describe = commands.add_parser("describe", help="check a data set and print what is in it")
    describe.add_argument("path", help="a folder, .zip, .tar or .tar.gz in the report's layout")
    chosen = parser.parse_args()
    try:
        if chosen.command == "describe":
            from .survey import describe_data

            print(describe_data(chosen.path))
            return
        from . import reproduce as work  # only here: it needs the extra [run]

        if chosen.command == "reproduce":
            print(work.reproduce(chosen.fresh))
        else:
            work.update_pairs(work.open_course().folder / "notebooks" if chosen.executed else None)
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
