"""Files that are either whole or not there: everything the course writes goes through `replacing`."""

import os
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path, mode="wb", **options):
    """Open a temporary file beside `path`; rename it to `path` once it is complete and on the disk.

    If anything fails on the way (a full disk, a kill, an exception) the file that stood at `path` before stays as it
    was.
    Takes `open`'s options. The folder is made where it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    with replacing(path, "w", encoding="utf-8", newline="") as file:
        file.write(text)
