"""Layouts: the report's, and CIFAR-100 and Tiny ImageNet as published. Each becomes rows."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from torchvision.datasets import CIFAR100

from ..errors import DataError, brief
from .answers import (
    CLASSES,
    Row,
    data_error,
    is_hidden,
    parse_json,
    read_answer,
    read_category,
    read_field,
)
from .images import images_among

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .archives import Files


class Source(NamedTuple):
    """A data set whose rows and files fit together."""

    train: list[Row]
    test: list[Row]
    classes: list[str]  # 80 names
    read: Callable[[str], bytes]  # the bytes of a row's file; in any thread
    skipped: Sequence[str] = ()  # files beside the images that aren't images


class Layout(NamedTuple):
    """How data sets are arranged in a folder or archive."""

    belongs: tuple[str, ...]  # the names at its top; each such data set has the first one
    rows: Callable[[Files], Source]


def read_source(files: Files, layout: str = "report") -> Source:
    """The Source among `files` in one of the LAYOUTS. Raises DataError that names file and row."""
    return LAYOUTS[layout].rows(files)


# --- the report's


def _report(files):
    """The report's two folders and their labels (report 1.C, 1.D).

    answer.json  train_data/…  [test_data/…]  [test_answer.json]  [classes.json]
    """
    train, skipped = _rows(files, "train_data", "answer.json")
    if "test_answer.json" in files:
        test, skipped_tests = _rows(files, "test_data", "test_answer.json")
    else:
        names, skipped_tests = images_among(_inside(files, "test_data"))
        test = [Row(name, -1) for name in names]
    skipped = tuple(skipped + skipped_tests)
    return Source(train, test, _class_names(files), files.read, skipped)


def _inside(files, folder):
    """The names of the files in a folder."""
    return [name for name in files.names if name.startswith(f"{folder}/")]


def _rows(files, folder, answers):
    """The rows of a folder, and the files in it that aren't images.

    Raises DataError for an image without a row in `answers`, or a row without an image.
    """
    rows = []
    for name, category in read_answer(files.read(answers), answers):
        rows.append(Row(f"{folder}/{name}", category))
    listed = {row.name for row in rows}
    unlisted, others = images_among(set(_inside(files, folder)) - listed)

    mismatches = []
    for number, row in enumerate(rows):
        if row.name not in files:
            why = " (hidden files are ignored; rename it)" if is_hidden(row.name) else ""
            mismatches.append(f"{answers}, row {number}: there is no {brief(row.name)}{why}")
    for name in unlisted:
        mismatches.append(f"{brief(name)} has no row in {answers}")
    if mismatches:
        raise DataError(f"{mismatches[0]} ({len(mismatches):,} mismatches for {len(rows):,} rows).")
    return rows, others


def _class_names(files):
    """The names in classes.json; "class 7" for a class without one."""
    names = [f"class {category}" for category in range(CLASSES)]
    if "classes.json" not in files:
        return names
    shape = 'It should be [{"category": 0, "name": "cat"}, …].'
    rows = parse_json(files.read("classes.json"), "classes.json", shape)
    if not isinstance(rows, list):
        raise DataError(f"classes.json holds {brief(rows)}, not a list. {shape}")
    first_row = {}
    for number, row in enumerate(rows):
        place = f"classes.json, row {number}"
        category = read_category(row, place)
        name = read_field(row, "name", place)
        if not isinstance(name, (str, int)):
            raise DataError(f'{place}: "name" is {brief(name)}; it should be text.')
        if category in first_row:
            raise DataError(
                f"{place}: category {category} is named twice (first in row {first_row[category]})."
            )
        first_row[category] = number
        names[category] = str(name)
    return names


# --- as published


def _cifar100(files):
    """The "python version" from cs.toronto.edu/~kriz/cifar.html.

    Its files are pickles, so they're loaded by torchvision, which compares their MD5 first. Images
    appear as PPM files, the plainest format there is.
    """
    parts = {}
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / CIFAR100.base_folder
        folder.mkdir()
        for name in ("meta", "train", "test"):
            (folder / name).write_bytes(files.read(name))
        with data_error("CIFAR-100 can't be read", "Delete its archive; it's downloaded again."):
            parts["train"] = CIFAR100(home, train=True)
            parts["test"] = CIFAR100(home, train=False)

    def read(path):
        part, index = path.removesuffix(".ppm").split("/")
        return b"P6 32 32 255\n" + parts[part].data[int(index)].tobytes()

    classes = [name.replace("_", " ") for name in parts["train"].classes[:CLASSES]]
    return Source(_cifar_rows(parts, "train"), _cifar_rows(parts, "test"), classes, read)


def _cifar_rows(parts, part):
    rows = []
    for index, category in enumerate(parts[part].targets):
        if category < CLASSES:
            rows.append(Row(f"{part}/{index:05d}.ppm", category))
    return rows


def _tiny_imagenet(files):
    """cs231n.stanford.edu: wnids.txt, words.txt, train/<wnid>/images/…, val/images/…,
    val/val_annotations.txt. A wnid is WordNet's number of a noun."""
    wnids = sorted(_lines(files, "wnids.txt"))[:CLASSES]
    category = {wnid: number for number, wnid in enumerate(wnids)}

    train = []
    for name in images_among(_inside(files, "train"))[0]:
        wnid = name.split("/")[1]
        if wnid in category:
            train.append(Row(name, category[wnid]))

    test = []
    for line in _lines(files, "val/val_annotations.txt"):
        name, wnid = line.split("\t")[:2]
        if wnid in category:
            test.append(Row(f"val/images/{name}", category[wnid]))

    words = dict(line.split("\t") for line in _lines(files, "words.txt"))
    return Source(train, test, [words[wnid] for wnid in wnids], files.read)


def _lines(files, name):
    return files.read(name).decode().splitlines()


LAYOUTS = {
    "report": Layout(
        ("answer.json", "train_data", "test_data", "test_answer.json", "classes.json"), _report
    ),
    "cifar100": Layout(("meta", "train", "test"), _cifar100),
    "tiny-imagenet": Layout(("wnids.txt", "words.txt", "train", "val"), _tiny_imagenet),
}
