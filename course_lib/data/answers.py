"""Labels and file names: the report's `answer.json` (report 1.C), checked row by row."""

import json
import re
import unicodedata
from contextlib import contextmanager

from ..errors import DataError, brief

CLASSES = 80
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")


@contextmanager
def data_error(what, advice):
    """Turn any exception (damaged bytes raise all kinds) into a DataError: "what (exception).
    advice"."""
    try:
        yield
    except Exception as error:
        raise DataError(f"{what} ({error}). {advice}") from error


def read_answer(text, where="answer.json"):
    """Read `{"annotations": [{"file_name": "…", "category": 0…79}, …]}` as a list of (file_name,
    category).

    text: bytes or str. where: the file's name in messages. File names come back in NFC, because a
    Mac spells 가 in two characters and other systems in one. Raises DataError that names the file
    and the row (counted from 0).
    """
    with data_error(
        f"{where} can't be read",
        'It needs {"annotations": [{"file_name": "0.jpg", "category": 0}, …]}.',
    ):
        # An object that holds a key twice stays a list, and so is no row.
        rows = json.loads(
            text, object_pairs_hook=lambda o: dict(o) if len(dict(o)) == len(o) else o
        )["annotations"]
        rows[0]  # there's at least one
    answer = {}
    for i, row in enumerate(rows):
        name, category = (
            (row.get("file_name"), row.get("category")) if isinstance(row, dict) else (None, None)
        )
        if not (
            isinstance(name, str) and name and type(category) is int and 0 <= category < CLASSES
        ):
            needs = f'needs a "file_name" and a "category" from 0 to {CLASSES - 1} (if yours start at 1, subtract one)'
            raise DataError(f"{where}, row {i}: {needs}, but is {brief(row)}.")
        name = unicodedata.normalize("NFC", name)
        if not is_safe(name) or name in answer:
            wrong = "is listed twice, leads out of the data folder, or has a \\ or : in it"
            raise DataError(f"{where}, row {i}: {brief(name)} {wrong}.")
        answer[name] = category
    return list(answer.items())


def is_safe(name):
    """Does this relative path stay inside its folder on every system (no `..`, drive, leading slash
    or NUL)?"""
    return not (re.search(r"[\\\0:]", name) or name.startswith("/") or ".." in name.split("/"))


def natural_order(name):
    """A sort key that puts `2.jpg` before `10.jpg`, whatever else a name contains."""
    return [
        (part.isdecimal(), int(part) if part.isdecimal() else 0, part)
        for part in re.split(r"(\d+)", name)
    ]


def images_among(names):
    """Split names by suffix: (images, everything else), each in natural order. Nothing hidden is an
    image."""
    images, others = [], []
    for name in sorted(
        names, key=natural_order
    ):  # hidden: .name, or inside .ipynb_checkpoints, .thumbnails, …
        (
            images if name.lower().endswith(IMAGE_SUFFIXES) and "/." not in f"/{name}" else others
        ).append(name)
    return images, others
