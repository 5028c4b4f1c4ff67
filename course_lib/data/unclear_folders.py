"""Folders that look like classes, but may be parts of a data set, its folds, or its masks.

The course doesn't guess what they are: it names them and says what to do.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from ..errors import DataError, brief
from .entries import PARTS

# What folders are called that hold the pictures, if something like masks lies beside them
PICTURES = ("images", "image", "imgs", "img", "pictures", "photos", "inputs", "jpegimages")

PARTS_ADVICE = (
    "If they are parts of the data, call them train, val and test, with a folder for each class "
    "directly in them. If they are the classes, put them into a folder train."
)


def require_clear_classes(images: list[str], classes: list[str]) -> None:
    """Raise DataError if the folders at the top may be something else than classes.

    images: the paths of all images that lie in these folders.
    """
    inside: dict[str, list[str]] = {name: [] for name in classes}
    for image in images:
        folder, _, path = image.partition("/")
        inside[folder].append(path)
    _refuse_names_of_parts(classes)
    _refuse_the_same_inside(inside)
    _refuse_masks(inside)


def require_distinct_names(classes: list[str]) -> None:
    """Raise DataError if two classes' names differ only in case, or in spaces around them."""
    first: dict[str, str] = {}
    for name in classes:
        other = first.setdefault(name.strip().casefold(), name)
        if other != name:
            raise DataError(
                f"The folders {brief(other)} and {brief(name)} differ only in upper and lower case "
                "or in spaces. Put the images of both into one of them, or rename one."
            )


def _refuse_names_of_parts(classes):
    """Raise DataError if all folders are called like parts, such as test_images."""
    parts = set()
    for name in classes:
        part = _part_in(name)
        if not part:
            return
        parts.add(part)
    if len(parts) > 1:
        raise DataError(f"The folders are {brief(classes[0])}, {brief(classes[1])}. {PARTS_ADVICE}")


def _part_in(name):
    """The part that a word of a folder's name begins with: "test" for "seg_testset"; or ""."""
    for word in re.split(r"[^a-z]+", name.lower()):
        for beginning, part in PARTS.items():
            if word.startswith(beginning):
                return part
    return ""


def _refuse_the_same_inside(inside):
    """Raise DataError if two folders have several subfolders of the same names."""
    first_with = {}
    for folder, paths in inside.items():
        shared = {}
        for subfolder in sorted(_subfolders(paths)):
            first = first_with.setdefault(subfolder, folder)
            if first != folder:
                shared.setdefault(first, []).append(subfolder)
        for first, subfolders in shared.items():
            if len(subfolders) > 1:
                raise DataError(
                    f"The folders {brief(first)} and {brief(folder)} both have subfolders "
                    f"{brief(subfolders[0])} and {brief(subfolders[1])}. {PARTS_ADVICE}"
                )


def _subfolders(paths):
    """The names of the folders that most of these images lie in, not of one that holds them all."""
    nested = [path for path in paths if "/" in path]
    names = {path.partition("/")[0] for path in nested}
    if len(nested) * 2 < len(paths):
        return set()
    if len(names) == 1:
        return _subfolders([path.partition("/")[2] for path in nested])
    return names


def _refuse_masks(inside):
    """Raise DataError if a folder of the pictures lies beside others with the same file names."""
    for pictures, paths in inside.items():
        if pictures.lower() not in PICTURES:
            continue
        stems = {_stem(path) for path in paths}
        for folder, others in inside.items():
            same = [path for path in others if _stem(path) in stems]
            if folder != pictures and len(same) * 2 >= len(others):
                raise DataError(
                    f"{brief(folder)} has files of the same names as {brief(pictures)}, as masks "
                    "do, which say where something is. The course learns what a picture shows: "
                    "put the pictures of each class into a folder with the name of the class, and "
                    "these folders into a folder train."
                )


def _stem(path):
    """The name of a file without its suffix, and without a word at the end such as _mask."""
    return re.sub(r"[_-][A-Za-z]+$", "", PurePosixPath(path).stem)
