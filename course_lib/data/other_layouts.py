"""Layouts that the course doesn't read: what they are, and how to turn them into class folders."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

from ..errors import brief
from .entries import is_a_part

# Files that hold many images or arrays each
PACKED = (".tfrecord", ".tfrecords", ".parquet", ".arrow", ".npz", ".npy", ".mat", ".h5", ".lmdb")
TABLES = (".csv", ".tsv", ".xlsx", ".xls")

# The beginning of each conversion: it makes the folder of a class, and copies an image into it.
_PUT = """from pathlib import Path; from shutil import copy
def put(image, label):
    Path("new", label).mkdir(parents=True, exist_ok=True)
    copy(image, Path("new", label))
"""


class OtherLayout(NamedTuple):
    """A way to store images and labels that other tasks or programs use."""

    name: str
    convert: str  # Python that copies the images to new/<class>/, run in the data's folder


COCO = OtherLayout(
    "COCO's layout for object detection",
    _PUT
    + """import json; coco = json.load(open({example!r}))
names = {{c["id"]: c["name"] for c in coco["categories"]}}
files = {{i["id"]: next(Path().rglob(i["file_name"])) for i in coco["images"]}}
for a in coco["annotations"]: put(files[a["image_id"]], names[a["category_id"]])""",
)
VOC = OtherLayout(
    "Pascal VOC's layout for object detection",
    _PUT
    + """from xml.etree import ElementTree
for path in Path().rglob("*.xml"):
    file = ElementTree.parse(path).getroot()
    put(next(Path().rglob(file.findtext("filename"))), file.findtext("object/name"))""",
)
YOLO = OtherLayout(
    "YOLO's layout for object detection",
    _PUT
    + """for path in Path().rglob("labels/**/*.txt"):
    images = [p for p in Path().rglob(path.stem + ".*") if p.suffix != ".txt"]
    for line in path.read_text().splitlines()[:1]: put(images[0], line.split()[0])""",
)
TABLE = OtherLayout(
    "a table of labels beside images",
    _PUT
    + """import csv
for row in csv.DictReader(open({example!r})):  # if its columns are called file and label
    put(next(Path().rglob(row["file"])), row["label"])""",
)


def other_layout(names: list[str]) -> str:
    """What to do about a data set in a known layout that the course doesn't read; "" for others.

    names: of all its files.
    """
    for layout, example in (
        (COCO, _coco(names)),
        (VOC, _voc(names)),
        (YOLO, _yolo(names)),
        (TABLE, _table(names)),
    ):
        if example:
            lines = layout.convert.format(example=example)
            return (
                f"This is {layout.name} ({brief(example)}). The course reads a folder per class. "
                "Each image has one class there, so choose if there are several objects in one. "
                f"In the data's folder, this Python makes such a folder, new:\n{lines}"
            )
    packed = [name for name in names if name.lower().endswith(PACKED)]
    if packed and len(packed) == len(names):
        return (
            f"{brief(packed[0])} is a file of many images or arrays. The course reads image files "
            "in a folder per class: save each image with Pillow, as in "
            'Image.fromarray(array).save("cats/0.png").'
        )
    return ""


def _coco(names):
    """A COCO file of annotations, or ""."""
    for name in names:
        path = PurePosixPath(name)
        in_annotations = path.parent.name.lower() == "annotations" and path.suffix == ".json"
        if in_annotations or name.endswith("_annotations.coco.json"):
            return name
    return ""


def _voc(names):
    """An XML file that describes an image, or ""."""
    stems = set()
    for name in names:
        path = PurePosixPath(name)
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            stems.add(path.stem)
    for name in names:
        path = PurePosixPath(name)
        if path.suffix == ".xml" and path.stem in stems:
            return name
    return ""


def _yolo(names):
    """A text file of a folder `labels` that lies beside a folder `images`, or ""."""
    folders = set()
    for name in names:
        folders.update(PurePosixPath(name).parents)
    for name in names:
        path = PurePosixPath(name)
        if path.suffix != ".txt":
            continue
        for parent in path.parents:
            if parent.name == "labels" and parent.with_name("images") in folders:
                return name
    return ""


def _table(names):
    """A table at the top of a data set that has no class folders, or ""."""
    folders = {name.partition("/")[0] for name in names if "/" in name}
    if any(name.count("/") > 1 for name in names):
        return ""
    if len(folders) > 1 and not all(is_a_part(folder) for folder in folders):
        return ""
    for name in names:
        if "/" not in name and name.lower().endswith(TABLES):
            return name
    return ""
