"""A data set as rows of images, whatever it comes as: in the report's layout, or as its authors published it.

answer.json  train_data/…  [test_data/…]  [test_answer.json]  [classes.json]
"""

import hashlib
import io
import json
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from . import downloads, published
from .archives import open_contents
from .datasets import CLASSES, images_among, read_answer
from .errors import DataError


@dataclass(frozen=True)
class Row:
    """One image: its path inside the source, its class (−1 where unknown), and where that was read (for messages)."""

    path: str
    category: int
    where: str


@dataclass(frozen=True)
class Source:
    """A data set that has been looked through. `read(path)` gives an image's bytes; `close` ends that."""

    path: Path
    read: object
    train: list  # of Row
    test: list  # of Row; category −1 where there is no test_answer.json
    classes: list  # 80 names
    skipped: list = field(default_factory=list)  # files beside the images that are none
    missing: list = field(default_factory=list)  # rows that have no image file, each in words
    unlisted: list = field(default_factory=list)  # image files that have no row, each in words
    close: object = lambda: None


def open_source(path, entry=None, scratch=None):
    """Look through a data set and raise DataError for whatever is wrong with it; returns Source.

    path: a folder or a .zip, .tar or .tar.gz. entry: what the manifest says of it: its layout, and the checksum and
    the counts that have to agree; None: the report's layout. scratch: a folder of the local disk (see `archives`).
    """
    entry = entry or {}
    source = look_through(path, entry, scratch)
    try:
        if source.missing:
            total = len(source.train) + len(source.test) + len(source.missing)
            raise DataError(
                f"{source.missing[0]} ({len(source.missing):,} of {total:,} rows have no image file). "
                "Add the images, or remove the rows."
            )
        if source.unlisted:
            raise DataError(
                f"{source.unlisted[0]} ({len(source.unlisted):,} images have none). "
                "Add rows for them, or move the images out of the folder."
            )
        labelled = sum(row.category >= 0 for row in source.test)
        for key, words, count in (
            ("train", "training images", len(source.train)),
            ("heldout", "labelled test images", labelled),
        ):
            if entry.get(key, count) != count:
                raise DataError(f"{source.path.name} has {count:,} {words}, not {entry[key]:,} as its entry says.")
    except DataError:
        source.close()
        raise
    return source


def look_through(path, entry=None, scratch=None):
    """The same without a word about rows without files and files without rows: they are in `missing`, `unlisted`."""
    entry = entry or {}

    def check(file):
        if "archive" in entry:
            advice = "Delete it and run the cell again, or put the right file there."
            downloads.verify(file, entry["archive"], Path(path).name, advice)

    contents = open_contents(path, scratch, check)
    try:
        if entry.get("layout") in published.LAYOUTS:
            train, test, classes, read = published.LAYOUTS[entry["layout"]](contents)
            train, test = ([Row(*row) for row in rows] for rows in (train, test))
            return Source(contents.path, read, train, test, classes, close=contents.close)
        return _read_report(contents, entry.get("checksums", {}))
    except DataError:
        contents.close()
        raise


def _read_report(contents, checksums):
    if "answer.json" not in contents.names:
        raise DataError(
            f"{contents.path.name} has no answer.json at its top. The report's layout is answer.json beside "
            "train_data/."
        )

    def read_text(name):
        text = contents.read(name)
        if checksums.get(name, found := hashlib.sha256(text).hexdigest()) != found:
            raise DataError(f"{name} is another one than the manifest's entry says (its SHA-256 is {found}).")
        return text

    found = {"skipped": [], "missing": [], "unlisted": []}
    train = _labelled(contents.names, "train_data", read_answer(read_text("answer.json")), "answer.json", found)
    if "test_answer.json" in contents.names:
        answers = read_answer(read_text("test_answer.json"), "test_answer.json")
        test = _labelled(contents.names, "test_data", answers, "test_answer.json", found)
    else:
        images, skipped = images_among(_inside(contents.names, "test_data"))
        found["skipped"] += [f"test_data/{name}" for name in skipped]
        test = [Row(f"test_data/{name}", -1, f"test_data/{name}") for name in images]
    classes = [f"class {i}" for i in range(CLASSES)]
    if "classes.json" in contents.names:
        classes = _read_classes(contents.read("classes.json"))
    return Source(contents.path, contents.read, train, test, classes, **found, close=contents.close)


def _inside(names, folder):
    return [name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/")]


def _labelled(names, folder, answers, where, found):
    """Match the rows of the answers with the files of the folder; what the one or the other lacks goes into `found`."""
    images, skipped = images_among(_inside(names, folder))
    answers = [(unicodedata.normalize("NFC", name), category) for name, category in answers]  # as in Contents
    listed, present = {name for name, _ in answers}, set(images)
    found["skipped"] += [f"{folder}/{name}" for name in skipped]
    found["unlisted"] += [f"{folder}/{name} has no row in {where}" for name in images if name not in listed]
    rows = []
    for row, (name, category) in enumerate(answers):
        if name in present:
            rows.append(Row(f"{folder}/{name}", category, f"{name} ({where}, row {row})"))
        else:
            found["missing"].append(f"{where}, row {row}: {name} is not in {folder}/")
    return rows


def _read_classes(text):
    """`[{"category": 0, "name": "…"}, …]` → 80 names."""
    names = [f"class {i}" for i in range(CLASSES)]
    try:
        for row in json.loads(text):
            if not 0 <= row["category"] < CLASSES:
                raise IndexError
            names[row["category"]] = str(row["name"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(
            'classes.json should read [{"category": 0, "name": "…"}, …] with categories from 0 to 79; '
            "correct it, or remove it to go on without names."
        ) from error
    return names


def as_file(source, row):
    """The image of a row as a binary file, for `upright_rgb`."""
    return io.BytesIO(source.read(row.path))
