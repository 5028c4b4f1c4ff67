"""What's in a data set, and what's wrong with it:  python -m tools.describe PATH

It opens every image and changes nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from course_lib import CourseError, DataError
from course_lib.data.answers import data_error
from course_lib.data.archives import Files
from course_lib.data.images import upright_rgb
from course_lib.data.layouts import LAYOUTS
from course_lib.errors import brief

if TYPE_CHECKING:
    from course_lib.data.answers import Row
    from course_lib.data.layouts import Source

SHOWN = 10  # of each kind of finding


class Opened(NamedTuple):
    """What the images of a data set are like."""

    sizes: Counter[tuple[int, int]]  # (width, height) → number of images
    copies: list[list[Row]]  # the rows of each picture that is there more than once
    unreadable: list[str]  # an error for each image that can't be opened


def describe_data(path: str | Path) -> str:
    """What is found in a folder or archive in the report's layout, in words. Raises DataError."""
    with data_error(f"The path {brief(str(path))} can't be used", "Check its spelling."):
        path = Path(path).expanduser().resolve()
    layout = LAYOUTS["report"]
    with Files(path, layout.belongs) as files:
        source = layout.rows(files)
        opened = _open_all(source)
    return "\n".join(_summary(path.name, source, opened) + _findings(source, opened))


def _open_all(source: Source) -> Opened:
    """Open every image. Pictures are the same if all their pixels are, whatever their format."""
    sizes = Counter()
    rows_of = defaultdict(list)
    unreadable = []
    for row in source.train + source.test:
        try:
            image = upright_rgb(io.BytesIO(source.read(row.name)), brief(row.name))
        except DataError as error:
            unreadable.append(str(error))
        else:
            sizes[image.size] += 1
            picture = (image.size, hashlib.sha256(image.tobytes()).digest())
            rows_of[picture].append(row)
    copies = [rows for rows in rows_of.values() if len(rows) > 1]
    return Opened(sizes, copies, unreadable)


def _summary(name, source, opened):
    """Two lines: how many images of how many classes there are, and their sizes."""
    per_class = Counter(row.category for row in source.train).values()
    sizes = []
    for (width, height), count in opened.sizes.most_common(SHOWN):
        sizes.append(f"{width} × {height} ({count:,})")
    return [
        f"{brief(name)}: {len(source.train):,} training images of {len(per_class)} classes "
        f"({min(per_class):,} to {max(per_class):,} each), {len(source.test):,} test images",
        f"pixels: {', '.join(sizes)}",
    ]


def _findings(source, opened):
    """For each kind of finding, a line with their number and a line for each of the first ones."""
    in_both = [rows for rows in opened.copies if len({_part(row) for row in rows}) > 1]
    several_labels = [rows for rows in opened.copies if len(_labels(rows)) > 1]
    findings = {
        "unreadable images": opened.unreadable,
        "pictures in both training and test": [_listed(rows) for rows in in_both],
        "pictures that are there more than once": [_listed(rows) for rows in opened.copies],
        "pictures with several labels": [_listed(rows) for rows in several_labels],
        "files that aren't images": [brief(name) for name in source.skipped],
    }
    lines = []
    for title, found in findings.items():
        lines.append(f"{len(found):,} {title}")
        lines += [f"    {text[:300]}" for text in found[:SHOWN]]
    return lines


def _part(row):
    """`train_data` or `test_data`."""
    return row.name.split("/")[0]


def _labels(rows):
    """The labels of the same picture; one that isn't known (−1) says nothing."""
    return {row.category for row in rows if row.category >= 0}


def _listed(rows):
    """Rows in words, such as 'train_data/0.png' (class 3)."""
    texts = []
    for row in rows:
        label = f"class {row.category}" if row.category >= 0 else "no label"
        texts.append(f"{brief(row.name)} ({label})")
    return ", ".join(texts)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        # A console in CP949 or CP1252 can't show every name.
        stream.reconfigure(errors="replace")  # type: ignore
    parser = argparse.ArgumentParser(prog="python -m tools.describe", description=__doc__)
    parser.add_argument("path", help="a folder, .zip, .tar or .tar.gz in the report's layout")
    try:
        print(describe_data(parser.parse_args().path))
    except CourseError as error:
        sys.exit(str(error))
