"""Layouts: the report's, and CIFAR-100 and Tiny ImageNet as published. Each becomes rows: (path, category or −1)."""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from torchvision.datasets import CIFAR100

from ..errors import DataError
from .answers import CLASSES, images_among, read_answer


class Source(NamedTuple):
    """A data set whose rows and files fit together. `read(path)` gives a file's bytes, and may run in any thread."""

    train: list  # of (path, category)
    test: list
    classes: list  # 80 names
    read: object
    skipped: tuple = ()  # files beside the images that aren't images


def read_source(files, layout="report"):
    """The Source among `files` in one of the manifest's layouts. Raises DataError that names the file and the row."""
    return {"report": _report, "cifar100": _cifar100, "tiny-imagenet": _tiny_imagenet}[layout](files)


def _report(files):
    """answer.json  train_data/…  [test_data/…]  [test_answer.json]  [classes.json] (report 1.C, 1.D)"""
    train, skipped = _labelled(files, "train_data", "answer.json")
    if "test_answer.json" in files.names:
        test, others = _labelled(files, "test_data", "test_answer.json")
    else:
        images, others = images_among(name for name in files.names if name.startswith("test_data/"))
        test = [(name, -1) for name in images]
    classes = [f"class {i}" for i in range(CLASSES)]
    if "classes.json" in files.names:
        try:
            for row in json.loads(files.read("classes.json")):
                classes[range(CLASSES).index(row["category"])] = str(row["name"])
        except (ValueError, LookupError, TypeError) as error:
            raise DataError('classes.json should read [{"category": 0, "name": "…"}, …], categories 0–79.') from error
    return Source(train, test, classes, files.read, (*skipped, *others))


def _labelled(files, folder, answers):
    """The rows of an answer.json, and what lies beside the images without being one."""
    rows = [(f"{folder}/{name}", category) for name, category in read_answer(files.read(answers), answers)]
    listed, present = dict(rows), {name for name in files.names if name.startswith(f"{folder}/")}
    unlisted, others = images_among(present - set(listed))
    wrong = [f"{answers}, row {i}: there is no {path}" for i, (path, _) in enumerate(rows) if path not in present]
    wrong += [f"{path} has no row in {answers}" for path in unlisted]
    if wrong:
        raise DataError(f"{wrong[0]} ({len(wrong):,} mismatches for {len(rows):,} rows).")
    return rows, others


def _cifar100(files):
    """The "python version" from cs.toronto.edu/~kriz/cifar.html; torchvision compares the MD5 of each of its files."""
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home) / CIFAR100.base_folder
        folder.mkdir()
        for name in ("meta", "train", "test"):
            (folder / name).write_bytes(files.read(name))
        parts = {part: CIFAR100(home, train=part == "train") for part in ("train", "test")}

    def read(path):
        part, index = path.removesuffix(".ppm").split("/")
        return b"P6 32 32 255\n" + parts[part].data[int(index)].tobytes()  # the plainest image format there is

    train, test = (
        [(f"{part}/{i:05d}.ppm", label) for i, label in enumerate(data.targets) if label < CLASSES]
        for part, data in parts.items()
    )
    return Source(train, test, [name.replace("_", " ") for name in parts["train"].classes[:CLASSES]], read)


def _tiny_imagenet(files):
    """cs231n.stanford.edu: wnids.txt, words.txt, train/<wnid>/images/…, val/images/…, val/val_annotations.txt"""
    texts = (files.read(name).decode() for name in ("wnids.txt", "words.txt", "val/val_annotations.txt"))
    wnids, words, labelled = ([line.split("\t") for line in text.splitlines()] for text in texts)
    wnids = sorted(wnid for (wnid,) in wnids)[:CLASSES]
    category, words = {wnid: i for i, wnid in enumerate(wnids)}, dict(words)
    images, _ = images_among(name for name in files.names if name.startswith("train/"))
    train = [(name, category[name.split("/")[1]]) for name in images if name.split("/")[1] in category]
    test = [(f"val/images/{name}", category[wnid]) for name, wnid, *_ in labelled if wnid in category]
    return Source(train, test, [words[wnid] for wnid in wnids], files.read)
