"""Layouts: how data sets are arranged in a folder or archive. Each becomes rows.

The report's is here, and those of CIFAR-100 and Tiny ImageNet as they are published; a folder per
class is in `class_folders.py`.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from torchvision.datasets import CIFAR100

from ..errors import DataError, brief
from .answers import (
    Row,
    data_error,
    is_hidden,
    parse_json,
    read_answer,
    read_category,
    read_field,
)
from .class_folders import class_folders
from .images import images_among
from .source import REPORT_LAYOUT, Source

if TYPE_CHECKING:
    from .archives import Files


TAKEN = 80  # of the published data sets' classes, the first ones: as many as the report has


def read_source(files: Files, layout: str | None = None) -> Source:
    """The Source among `files`. Raises DataError that names file and row.

    layout: a name in LAYOUTS; None: the report's if there's an `answer.json`, or else a folder per
    class.
    """
    if layout is None:
        layout = "report" if "answer.json" in files else "a folder per class"
    return LAYOUTS[layout](files)


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
    named = _named_classes(files)
    count = 1 + max([row.category for row in train + test] + list(named))
    classes = [named.get(category, f"class {category}") for category in range(count)]
    classes = _distinct(classes)
    skipped = tuple(skipped + skipped_tests)
    return Source(train, test, classes, files.read, REPORT_LAYOUT, skipped=skipped)


def _distinct(names):
    """The names of all classes; equal ones get their class's number: "crane (134)".

    ImageNet has two classes named crane, a bird and a machine.
    """
    distinct = list(names)
    while len(set(distinct)) < len(distinct):  # again if a class is named "crane (134)" itself
        times = Counter(distinct)
        for number, name in enumerate(distinct):
            if times[name] > 1:
                distinct[number] = f"{name} ({number})"
    return distinct


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


def _named_classes(files):
    """The names in classes.json by category; there are none without it."""
    if "classes.json" not in files:
        return {}
    shape = 'It should be [{"category": 0, "name": "cat"}, …].'
    rows = parse_json(files.read("classes.json"), "classes.json", shape)
    if not isinstance(rows, list):
        raise DataError(f"classes.json holds {brief(rows)}, not a list. {shape}")
    names = {}
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

    classes = _distinct(name.replace("_", " ") for name in parts["train"].classes[:TAKEN])
    train = _cifar_rows(parts, "train")
    test = _cifar_rows(parts, "test")
    return Source(train, test, classes, read, "CIFAR-100's files")


def _cifar_rows(parts, part):
    rows = []
    for index, category in enumerate(parts[part].targets):
        if category < TAKEN:
            rows.append(Row(f"{part}/{index:05d}.ppm", category))
    return rows


def _tiny_imagenet(files):
    """cs231n.stanford.edu: wnids.txt, words.txt, train/<wnid>/images/…, val/images/…,
    val/val_annotations.txt. A wnid is WordNet's number of a noun."""
    wnids = sorted(_lines(files, "wnids.txt"))[:TAKEN]
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
    classes = _distinct(words[wnid] for wnid in wnids)
    return Source(train, test, classes, files.read, "Tiny ImageNet's folders")


def _lines(files, name):
    return files.read(name).decode().splitlines()


LAYOUTS = {
    "report": _report,
    "a folder per class": class_folders,
    "cifar100": _cifar100,
    "tiny-imagenet": _tiny_imagenet,
}
