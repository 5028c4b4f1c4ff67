"""What's in a data set, and what's wrong with it:  python -m course_lib.data.describe PATH  (it changes nothing)"""

import hashlib
import io
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..errors import CourseError, DataError
from ..storage.files import in_order
from .images import upright_rgb
from .published import read_source
from .sources import open_files


def describe_data(path):
    """Open every image of a folder or archive in the report's layout; return what was found, in words.

    Raises DataError if files and rows don't fit together.
    """
    path, sizes, unreadable, same = Path(path).expanduser().resolve(), Counter(), [], {}
    with tempfile.TemporaryDirectory() as home, open_files(path, home) as files, ThreadPoolExecutor() as pool:
        source = read_source(files)

        def look(row):
            try:
                image = upright_rgb(io.BytesIO(source.read(row[0])), row[0])
                return row, image.size, hashlib.sha256(image.tobytes()).digest()
            except DataError as error:
                return row, None, str(error)

        for row, size, found in in_order(pool, look, source.train + source.test):
            if size:
                sizes[size] += 1
                same.setdefault((size, found), []).append(row)
            else:
                unreadable.append([found])
    per_class = Counter(category for _, category in source.train).values()
    lines = [
        f"{path.name}: {len(source.train):,} training images of {len(per_class)} classes ({min(per_class):,} to "
        f"{max(per_class):,} each), {len(source.test):,} test images",
        "pixels: " + ", ".join(f"{width} × {height} ({n:,})" for (width, height), n in sizes.most_common(10)),
    ]
    for title, found in (
        ("unreadable images", unreadable),
        ("pictures in both training and test", [r for r in same.values() if len({p.split("/")[0] for p, _ in r}) > 1]),
        ("pictures with several labels", [r for r in same.values() if len({label for _, label in r} - {-1}) > 1]),
        ("files that aren't images", [[name] for name in source.skipped]),
    ):
        lines.append(f"{len(found):,} {title}")
        lines += ["    " + " = ".join(map(str, rows[:10])) for rows in found[:10]]
    return "\n".join(lines)


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console in CP949 or CP1252 can't show every name
    try:
        print(describe_data(sys.argv[1]))
    except CourseError as error:
        sys.exit(str(error))
