"""What's in a data set, and what's wrong with it:  python -m tools.describe PATH  (it changes
nothing)"""

import argparse
import hashlib
import io
import sys
from collections import Counter, defaultdict
from pathlib import Path

from course_lib import CourseError, DataError
from course_lib.data.archives import Files
from course_lib.data.images import upright_rgb
from course_lib.data.layouts import read_source


def describe_data(path):
    """Open every image of a folder or archive in the report's layout and return, in words, what was
    found."""
    path = Path(path).expanduser().resolve()
    unreadable, sizes, pictures = [], Counter(), defaultdict(list)
    with Files(path) as files:
        source = read_source(files)
        for name, label in source.train + source.test:
            try:
                image = upright_rgb(io.BytesIO(source.read(name)), name)
            except DataError as error:
                unreadable.append(error)
            else:
                sizes[image.size] += 1
                pictures[image.size, hashlib.sha256(image.tobytes()).digest()].append((name, label))
    per_class = Counter(label for _, label in source.train).values()
    copies = [rows for rows in pictures.values() if len(rows) > 1]
    findings = {
        "unreadable images": unreadable,
        "pictures in both training and test": [
            rows for rows in copies if len({n.split("/")[0] for n, _ in rows}) > 1
        ],
        "pictures that are there more than once": copies,
        "pictures with several labels": [
            rows for rows in copies if len({label for _, label in rows} - {-1}) > 1
        ],
        "files that aren't images": source.skipped,
    }
    lines = [
        f"{path.name}: {len(source.train):,} training images of {len(per_class)} classes ({min(per_class):,} to "
        f"{max(per_class):,} each), {len(source.test):,} test images",
        "pixels: "
        + ", ".join(f"{width} × {height} ({n:,})" for (width, height), n in sizes.most_common(10)),
    ]
    for title, found in findings.items():
        lines += [f"{len(found):,} {title}", *(f"    {str(item)[:300]}" for item in found[:10])]
    return "\n".join(lines)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console in CP949 or CP1252 can't show every name
    parser = argparse.ArgumentParser(prog="python -m tools.describe", description=__doc__)
    parser.add_argument("path", help="a folder, .zip, .tar or .tar.gz in the report's layout")
    try:
        print(describe_data(parser.parse_args().path))
    except CourseError as error:
        sys.exit(str(error))
