"""A folder per class, as torchvision's ImageFolder has it, and what to do about other layouts.

cats/1.jpg  dogs/1.jpg                                  all of them are training images
train/cats/1.jpg  [val/cats/2.jpg]  [test/cats/3.jpg]   or parts, with the same classes each
train/cats/1.jpg  test/4.jpg                            test images whose class isn't known
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..errors import DataError, brief
from .answers import MAX_CLASSES, Row, natural_order
from .entries import PARTS, REPORT_NAMES, is_a_part
from .images import images_among
from .other_layouts import other_layout
from .source import Source
from .unclear_folders import require_clear_classes, require_distinct_names

if TYPE_CHECKING:
    from .archives import Files

MOST_NAMES = 9  # of folders in a message

EXAMPLE = "Put the images of each class into a folder with the name of the class."


def class_folders(files: Files) -> Source:
    """The Source of a folder per class. Classes are numbered in the natural order of their names.

    Raises DataError if it's another layout, or if an image lies where its class or part is unclear.
    """
    advice = other_layout(files)
    if advice:
        raise DataError(advice)
    top = list(dict.fromkeys(name.partition("/")[0] for name in files.names))
    for name in top:
        if name in REPORT_NAMES:
            raise DataError(
                f"There is {name}, but no answer.json, which says what class each image has."
            )
    images, others = images_among(files.names)
    if not images:
        there = ", ".join(brief(name) for name in top[:MOST_NAMES]) or "no files"
        raise DataError(f"There are neither images nor an answer.json, but {there}. {EXAMPLE}")
    folders = _folders(images)
    parts = [folder for folder in folders if is_a_part(folder)]
    if not parts:
        return _without_parts(images, others, files)
    _require_parts_only(folders, parts)
    return _with_parts(parts, images, others, files)


def _folders(names):
    """The folders at the top, in natural order."""
    folders = {name.partition("/")[0] for name in names if "/" in name}
    return sorted(folders, key=natural_order)


def _without_parts(images, others, files):
    """The Source of class folders at the top."""
    in_folders = [name for name in images if "/" in name]
    loose = [name for name in images if "/" not in name]
    classes = _classes(in_folders, loose)
    require_clear_classes(in_folders, classes)
    train = _rows(in_folders, "", classes)
    return Source(
        train,
        [],
        classes,
        files.read,
        "a folder per class",
        skipped=others,
        notes=_notes(images, loose, files),
        has_part_folders=False,
    )


def _with_parts(parts, images, others, files):
    """The Source of `train` and perhaps other parts, each with a folder per class."""
    folder_of = {}
    for folder in parts:
        part = PARTS[folder.lower()]
        if part in folder_of:
            raise DataError(
                f"{brief(folder_of[part])} and {brief(folder)} both mean the {part} images. "
                "Keep one of them."
            )
        folder_of[part] = folder
    if "training" not in folder_of:
        raise DataError(f"There is {brief(parts[0])}, but no folder train. {EXAMPLE}")
    inside = {part: _inside(images, folder) for part, folder in folder_of.items()}
    train = inside["training"]
    in_folders = [name.partition("/")[2] for name in train if name.count("/") > 1]
    loose = [name for name in train if name.count("/") == 1]
    classes = _classes(in_folders, loose)
    rows = {}
    for part, folder in folder_of.items():
        if part == "test" and all(name.count("/") == 1 for name in inside[part]):
            rows[part] = [Row(name, -1) for name in inside[part]]
        else:
            rows[part] = _rows(inside[part], f"{folder}/", classes)
    outside = [name for name in images if "/" not in name]
    return Source(
        rows["training"],
        rows.get("test", []),
        classes,
        files.read,
        "train, validation and test, with a folder per class",
        validation=rows.get("validation", []),
        skipped=others,
        notes=_notes(images, outside, files),
    )


def _notes(images, loose, files):
    """Sentences about what isn't used: images without a class, and folders without images."""
    notes = []
    if loose:
        # One may be a picture for a README.
        notes.append(
            f"{len(loose):,} images lie in no class's folder and aren't used, such as "
            f"{brief(loose[0])}."
        )
    with_images = set()
    for name in images:
        with_images.update(str(parent) for parent in PurePosixPath(name).parents)
    without_images = [name for name in files.folders if name not in with_images]
    if without_images:
        notes.append(
            f"No images lie in these folders, so they aren't used: {_listed(without_images)}."
        )
    if files.hidden_folders:
        notes.append(
            "These folders with images are ignored, because programs give such names to what "
            f"nobody should see: {_listed(files.hidden_folders)}. If one is a class, rename it."
        )
    return notes


def _listed(names):
    """The first names, in natural order."""
    names = sorted(names, key=natural_order)
    shown = [brief(name) for name in names[:MOST_NAMES]]
    if len(names) > MOST_NAMES:
        shown.append(f"{len(names) - MOST_NAMES:,} more")
    return ", ".join(shown)


def _inside(names, folder):
    """The names in a folder at the top."""
    return [name for name in names if name.startswith(f"{folder}/")]


def _require_parts_only(folders, parts):
    """Raise DataError if there are folders of images beside those of the parts."""
    others = [folder for folder in folders if folder not in parts]
    if others:
        raise DataError(
            f"{brief(parts[0])} lies beside {brief(others[0])}. Is it a class, too? Then rename "
            "it. If not, put all class folders into a folder train."
        )


def _classes(names, loose):
    """The names of the classes: the folders at the top of `names`, in natural order.

    loose: images that lie in no such folder; they are only named. Raises DataError unless there
    are several classes.
    """
    classes = _folders(names)
    if not classes:
        raise DataError(f"{brief(loose[0])} lies in no class's folder. {EXAMPLE}")
    if len(classes) == 1:
        raise DataError(
            f"There is only one class, {brief(classes[0])}, so there's nothing to tell apart. "
            f"{EXAMPLE}"
        )
    if len(classes) > MAX_CLASSES:
        raise DataError(f"There are {len(classes):,} folders, more than {MAX_CLASSES:,} classes.")
    require_distinct_names(classes)
    return classes


def _rows(names, part, classes):
    """A Row for each image. part: what its path begins with, before the class: "train/" or "".

    Raises DataError if an image's class isn't among the `classes`.
    """
    category = {name: number for number, name in enumerate(classes)}
    rows = []
    for name in names:
        folder, slash, _ = name.removeprefix(part).partition("/")
        if not slash:
            raise DataError(f"{brief(name)} lies in no class's folder. Move it into one.")
        if folder not in category:
            raise DataError(
                f"{brief(name)} is of the class {brief(folder)}, which has no training images."
            )
        rows.append(Row(name, category[folder]))
    return rows
