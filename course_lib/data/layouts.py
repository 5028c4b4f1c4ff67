"""Layouts: the report's, and CIFAR-100 and Tiny ImageNet as published. Each becomes rows: (path,
category or −1)."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from torchvision.datasets import CIFAR100

from ..errors import DataError
from .answers import CLASSES, data_error, images_among, read_answer


class Source(NamedTuple):
    """A data set whose rows and files fit together. `read(path)` gives a file's bytes, and may run
    in any thread."""

    train: list  # of (path, category)
    test: list
    classes: list  # 80 names
    read: object
    skipped: tuple = ()  # files beside the images that aren't images


def read_source(files, layout="report"):
    """The Source among `files` in one of the manifest's layouts. Raises DataError that names the
    file and the row."""
    return {"report": _report, "cifar100": _cifar100, "tiny-imagenet": _tiny_imagenet}[layout](
        files
    )


def _report(files):
    """answer.json  train_data/…  [test_data/…]  [test_answer.json]  [classes.json] (report 1.C,
    1.D)"""
    train, skipped = _rows(files, "train_data", "answer.json")
    test, others = _rows(files, "test_data", "test_answer.json")
    classes = [f"class {i}" for i in range(CLASSES)]
    if "classes.json" in files.names:
        with data_error(
            "classes.json can't be read", 'It should be [{"category": 0…79, "name": "…"}, …].'
        ):
            for row in json.loads(files.read("classes.json")):
                classes[range(CLASSES).index(row["category"])] = str(row["name"])
    return Source(train, test, classes, files.read, (*skipped, *others))


def _rows(files, folder, answers):
    """The rows of train_data/ or test_data/ (which needs no answers), and the files in it that
    aren't images."""
    present = {name for name in files.names if name.startswith(f"{folder}/")}
    if folder == "test_data" and answers not in files.names:
        images, others = images_among(present)
        return [(name, -1) for name in images], others
    rows = [
        (f"{folder}/{name}", category)
        for name, category in read_answer(files.read(answers), answers)
    ]
    unlisted, others = images_among(present.difference(name for name, _ in rows))
    wrong = [
        f"{answers}, row {i}: there is no {path}"
        for i, (path, _) in enumerate(rows)
        if path not in present
    ]
    wrong += [f"{path} has no row in {answers}" for path in unlisted]
    if wrong:
        raise DataError(f"{wrong[0]} ({len(wrong):,} mismatches for {len(rows):,} rows).")
    return rows, others


def _cifar100(files):
    """The "python version" from cs.toronto.edu/~kriz/cifar.html; torchvision compares the MD5 of
    each of its files."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / CIFAR100.base_folder
        folder.mkdir()
        for name in ("meta", "train", "test"):
            (folder / name).write_bytes(files.read(name))
        parts = {part: CIFAR100(home, train=part == "train") for part in ("train", "test")}

    def read(path):
        part, index = path.removesuffix(".ppm").split("/")
        return (
            b"P6 32 32 255\n" + parts[part].data[int(index)].tobytes()
        )  # the plainest image format there is

    train, test = (
        [(f"{part}/{i:05d}.ppm", label) for i, label in enumerate(data.targets) if label < CLASSES]
        for part, data in parts.items()
    )
    return Source(
        train, test, [name.replace("_", " ") for name in parts["train"].classes[:CLASSES]], read
    )


def _tiny_imagenet(files):
    """cs231n.stanford.edu: wnids.txt, words.txt, train/<wnid>/images/…, val/images/…,
    val/val_annotations.txt"""
    texts = (
        files.read(name).decode() for name in ("wnids.txt", "words.txt", "val/val_annotations.txt")
    )
    wnids, words, labelled = ([line.split("\t") for line in text.splitlines()] for text in texts)
    wnids = sorted(wnid for (wnid,) in wnids)[:CLASSES]
    category, words = {wnid: i for i, wnid in enumerate(wnids)}, dict(words)
    images, _ = images_among(name for name in files.names if name.startswith("train/"))
    train = [
        (name, category[name.split("/")[1]]) for name in images if name.split("/")[1] in category
    ]
    test = [
        (f"val/images/{name}", category[wnid]) for name, wnid, *_ in labelled if wnid in category
    ]
    return Source(train, test, [words[wnid] for wnid in wnids], files.read)
