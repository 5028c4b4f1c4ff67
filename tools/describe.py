"""What's in a data set, and what's wrong with it:  python -m tools.describe PATH

It opens every image and changes nothing.
"""

from __future__ import annotations

import argparse
import os
import sys

from course_lib import CourseError
from course_lib.data.describe import describe_data

if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # A console in CP949 or CP1252 can't show every name.
        stream.reconfigure(errors="replace")  # type: ignore
    parser = argparse.ArgumentParser(prog="python -m tools.describe", description=__doc__)
    parser.add_argument("path", help="a folder, .zip, .tar or .tar.gz of images")
    try:
        # Runs may lie in the data's folder.
        home = os.environ.get("COURSE_HOME") or "runs"
        print(describe_data(parser.parse_args().path, home=home))
    except CourseError as error:
        sys.exit(str(error))
