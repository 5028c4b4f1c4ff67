"""`python -m course_lib describe PATH`: what is in a data set, and what is wrong with it."""

import argparse
import sys

from .errors import CourseError


def main():
    """Parse the command line and do it; an error of the course is one sentence on stderr and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m course_lib")
    commands = parser.add_subparsers(dest="command", required=True)
    describe = commands.add_parser("describe", help="check a data set and print what is in it")
    describe.add_argument("path", help="a folder, .zip, .tar or .tar.gz in the report's layout")
    chosen = parser.parse_args()
    from .survey import describe_data  # not before the arguments are known to be right: this imports torch

    try:
        print(describe_data(chosen.path))
    except CourseError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
