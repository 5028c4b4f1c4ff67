"""Layouts that the course doesn't read: what they are, and how to turn them into class folders."""

from __future__ import annotations

import csv
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..errors import brief
from .answers import MAX_JSON
from .entries import TABLES, is_a_part
from .images import IMAGE_SUFFIXES, images_among

if TYPE_CHECKING:
    from .archives import Files

# Files that hold many images or arrays each
PACKED = (".tfrecord", ".tfrecords", ".parquet", ".arrow", ".npz", ".npy", ".mat", ".h5", ".lmdb")

TABLE_ROWS = 50  # that are looked at, of a table

# Each conversion begins and ends like this. All images come from a list of the data's folder, so
# none lies elsewhere; and they are copied under numbers, so none replaces another.
_BEGIN = f"""from collections import defaultdict
from pathlib import Path
suffixes = {IMAGE_SUFFIXES}
images = [path for path in Path().rglob("*") if path.suffix.lower() in suffixes]
named = defaultdict(list)  # the images by their names without suffix
for path in images: named[path.stem].append(path)
def find(name, beside):  # the image of this name, in the nearest folder around a file
    wanted = Path(name).with_suffix("").parts
    fit = [p for p in named[wanted[-1]] if p.with_suffix("").parts[-len(wanted) :] == wanted]
    fit = [path for path in fit if path.name == Path(name).name] or fit
    for folder in Path(beside).parents:
        near = [path for path in fit if path.is_relative_to(folder)]
        if len(near) == 1: return near[0]
        if near: break
    raise SystemExit(f"{{beside}}: {{len(fit)}} images are called {{name}}")
labels = defaultdict(list)  # of each image
"""
_END = """
import re, shutil
Path("new").mkdir()  # an error if it's there already
for number, (image, found) in enumerate(labels.items()):
    name = re.sub(r'^[.]|[%/\\\\:*?"<>|\\x00-\\x1f]', lambda c: f"%{ord(c[0]):02x}", found[0])
    Path("new", name).mkdir(exist_ok=True)
    shutil.copy(image, Path("new", name, f"{number}-{image.name}"))
several = sum(len(set(found)) > 1 for found in labels.values())
print(len(labels), "of", len(images), "images have a label;", several, "have several")"""


class OtherLayout(NamedTuple):
    """A way to store images and labels that other tasks or programs use."""

    name: str
    labels: str  # Python that finds the labels of each image; EXAMPLE stands for a file

    def conversion(self, example: str) -> str:
        """Python that copies the images to new/<class>/, run in the data's folder."""
        return _BEGIN + self.labels.replace("EXAMPLE", repr(example)) + _END


COCO = OtherLayout(
    "COCO's layout for object detection",
    """import json; coco = json.load(open(EXAMPLE, encoding="utf-8"))
classes = {c["id"]: c["name"] for c in coco["categories"]}
files = {i["id"]: i["file_name"] for i in coco["images"]}
for a in coco["annotations"]:
    image = find(files[a["image_id"]], EXAMPLE)
    labels[image].append(str(classes[a["category_id"]]))""",
)
VOC = OtherLayout(
    "Pascal VOC's layout for object detection",
    """from xml.etree import ElementTree
for path in Path().rglob("*.xml"):
    for label in ElementTree.parse(path).getroot().findall("object/name"):
        labels[find(path.name, path)].append(label.text.strip())""",
)
YOLO = OtherLayout(
    "YOLO's layout for object detection",
    """for image in images:
    parts = ["labels" if part == "images" else part for part in image.parts]
    boxes = Path(*parts).with_suffix(".txt")
    lines = boxes.read_text(encoding="utf-8").splitlines() if boxes.exists() else []
    for line in lines: labels[image].append(line.split()[0])""",
)
TABLE = OtherLayout(
    "a table of labels beside images",
    """import csv
for row in csv.DictReader(open(EXAMPLE, encoding="utf-8-sig", newline="")):
    # if its columns are called file and label
    if row["label"]: labels[find(row["file"], EXAMPLE)].append(row["label"])""",
)


def other_layout(files: Files) -> str:
    """What to do about a data set in a known layout that the course doesn't read; "" for others."""
    for layout, example in (
        (COCO, _coco(files)),
        (VOC, _voc(files.names)),
        (YOLO, _yolo(files.names)),
        (TABLE, _table(files)),
    ):
        if example:
            return (
                f"This is {layout.name} ({brief(example)}). The course reads a folder per class. "
                "Each image has one class there, so the first of several objects in one is taken. "
                f"If its folders are the classes, put them into a folder train instead. "
                "In the data's folder, this Python makes such a folder, new:\n"
                f"{layout.conversion(example)}"
            )
    packed = [name for name in files.names if name.lower().endswith(PACKED)]
    if packed and len(packed) == len(files.names):
        return (
            f"{brief(packed[0])} is a file of many images or arrays. The course reads image files "
            "in a folder per class: save each image with Pillow, as in "
            'Image.fromarray(array).save("cats/0.png").'
        )
    return ""


def _coco(files):
    """A COCO file of annotations, or ""."""
    for name in files.names:
        path = PurePosixPath(name)
        in_annotations = path.parent.name.lower() == "annotations" and path.suffix == ".json"
        if not in_annotations and not name.endswith("_annotations.coco.json"):
            continue
        if files.size(name) > MAX_JSON:  # what else would be so large?
            return name
        content = files.read(name)
        if b'"images"' in content and b'"annotations"' in content:
            return name
    return ""


def _voc(names):
    """An XML file that describes an image if most images have one, or ""."""
    described = {PurePosixPath(name).stem: name for name in names if name.endswith(".xml")}
    return _of_most_images(described, names)


def _yolo(names):
    """A text file of a folder `labels` beside a folder `images`, if most images have one, or ""."""
    folders = set()
    for name in names:
        folders.update(PurePosixPath(name).parents)
    described = {}
    for name in names:
        path = PurePosixPath(name)
        if path.suffix != ".txt":
            continue
        for parent in path.parents:
            if parent.name == "labels" and parent.with_name("images") in folders:
                described[path.stem] = name
    return _of_most_images(described, names)


def _of_most_images(described, names):
    """A file that describes an image if at least half of the images have one, or "".

    described: such files by their names without suffix. names: of all files.
    """
    images, _ = images_among(names)
    found = [PurePosixPath(image).stem for image in images]
    found = [described[stem] for stem in found if stem in described]
    if found and 2 * len(found) >= len(images):
        return found[0]
    return ""


def _table(files):
    """A table at the top that may say which class each image has, or "".

    There are no class folders, or it says something else than they do.
    """
    tables = []
    for name in files.names:
        if "/" not in name and name.lower().endswith(TABLES):
            tables.append(name)
    folders = {name.partition("/")[0] for name in files.names if "/" in name}
    has_parts = any(is_a_part(folder) for folder in folders)
    is_nested = any(name.count("/") > 1 for name in files.names)
    if not is_nested and (len(folders) < 2 or all(is_a_part(folder) for folder in folders)):
        return tables[0] if tables else ""
    if not has_parts:
        for name in tables:
            if _labels_otherwise(files, name):
                return name
    return ""


def _labels_otherwise(files, table):
    """Whether most rows of a table name an image, and none of the folders that it lies in."""
    images, _ = images_among(files.names)
    if not images or not table.lower().endswith((".csv", ".tsv")):
        return False
    folders_of = _folders_by_name(images)
    rows = _cells(files.read(table))
    count = 0
    for row in rows:
        named = [folders_of[cell] for cell in row if cell in folders_of]
        if not named:
            continue
        folders = {_letters(folder) for folder in named[0]}
        if not any(_letters(cell) in folders for cell in row):
            count += 1
    return 2 * count >= len(rows) > 0


def _folders_by_name(images):
    """The folders of the images that a table may mean by a path, a file's name, or its stem."""
    folders_of = {}
    for image in images:
        path = PurePosixPath(image)
        names = {image, path.name, path.stem}
        for name in names:
            if not name.isdecimal():  # a number may be anything
                folders_of.setdefault(name, set()).update(path.parts[:-1])
    return folders_of


def _cells(content):
    """The first rows of a table without the header: lists of cells."""
    text = content[:100_000].decode("utf-8-sig", "replace")
    lines = text.splitlines()[: TABLE_ROWS + 1]
    if not lines:
        return []
    delimiter = max(",;\t", key=lines[0].count)
    rows = []
    for row in csv.reader(lines[1:], delimiter=delimiter):
        rows.append([cell.strip() for cell in row])
    return rows


def _letters(text):
    """A text in lower case, with its letters and digits only."""
    return re.sub(r"[\W_]", "", text).lower()
