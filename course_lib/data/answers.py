"""Labels and file names: the report's `answer.json` (report 1.C), checked row by row."""

from __future__ import annotations

import json
import re
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import CourseError, DataError, brief

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSES = 80
MAX_CLASSES = 10_000
MAX_JSON = 32_000_000  # bytes, half a million rows; Python needs up to 25 times as much memory
MAX_NAME = 1000  # characters of a path

# What systems and programs leave beside people's files, in lower case; see `is_hidden`.
CLUTTER = {
    "__macosx",  # Finder, in each .zip
    "icon\r",  # Finder, for a folder's own icon
    "icon\uf00d",  # the same on a network drive
    "thumbs.db",  # Windows
    "ehthumbs.db",
    "ehthumbs_vista.db",
    "desktop.ini",
    "$recycle.bin",
    "recycler",
    "system volume information",
    "lost+found",  # Linux
    "lost.dir",  # Android
    "@eadir",  # Synology
    "@tmp",
    "#recycle",
    "#snapshot",
    "@recycle",  # QNAP
    "__pycache__",  # Python
    "__results___files",  # Kaggle
}


class Row(NamedTuple):
    """One image of a data set."""

    name: str  # its path, with `/`
    category: int  # −1 if unknown


@dataclass(frozen=True)
class RepeatedKey:
    """Stands for a JSON object that has a key twice: which of its values was meant?"""

    key: str


@contextmanager
def data_error(what: str, advice: str) -> Iterator[None]:
    """Turn any exception (damaged bytes raise all kinds) into `DataError("what (why). advice")`."""
    try:
        yield
    except CourseError:
        raise
    except Exception as error:
        why = str(error) or type(error).__name__
        # A library's message may quote a file: no terminal must obey what it says.
        why = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in why)
        raise DataError(f"{what} ({why}). {advice}") from error


def read_answer(text: bytes | str, where: str = "answer.json") -> list[Row]:
    """Read `{"annotations": [{"file_name": "…", "category": 0}, …]}` as one Row per image.

    where: the file's name in messages. File names come back in NFC, because a Mac spells 가 in two
    characters and other systems in one. Raises DataError that names the file and the row (counted
    from 0).
    """
    answer = []
    first_row = {}
    for number, row in enumerate(_annotations(text, where)):
        place = f"{where}, row {number}"
        name = _file_name(row, place)
        if name in first_row:
            raise DataError(
                f"{place}: {brief(name)} is listed twice (first in row {first_row[name]})."
            )
        first_row[name] = number
        answer.append(Row(name, read_category(row, place)))
    return answer


def _annotations(text, where):
    """The list of rows in an answer.json, none of them checked yet; there is at least one."""
    shape = 'It should be {"annotations": [{"file_name": "0.jpg", "category": 0}, …]}.'
    content = parse_json(text, where, shape)
    if isinstance(content, RepeatedKey):
        raise DataError(f"{where} has {brief(content.key)} twice. Keep one of them. {shape}")
    if not isinstance(content, dict):
        raise DataError(f"{where} holds {brief(content)}. {shape}")
    if "annotations" not in content:
        raise DataError(f'{where} has no "annotations". {shape}')
    rows = content["annotations"]
    if not isinstance(rows, list):
        raise DataError(f'The "annotations" of {where} aren\'t a list, but {brief(rows)}. {shape}')
    if not rows:
        raise DataError(f'The "annotations" of {where} are empty. {shape}')
    return rows


def _file_name(row, place):
    """The `file_name` of a row, in NFC."""
    name = read_field(row, "file_name", place)
    if not isinstance(name, str):
        raise DataError(f'{place}: "file_name" is {brief(name)}; it should be text.')
    if not name:
        raise DataError(f'{place}: "file_name" is empty.')
    name = unicodedata.normalize("NFC", name)
    problem = path_problem(name)
    if problem:
        raise DataError(f"{place}: {brief(name)} {problem}.")
    return name


def read_category(row: Any, place: str) -> int:
    """The `category` of a row: 0 to MAX_CLASSES − 1. Raises DataError that starts with `place`."""
    category = read_field(row, "category", place)
    if type(category) is not int:  # isinstance would let True pass
        raise DataError(
            f'{place}: "category" is {brief(category)}; it should be a whole number. Number the '
            "classes from 0, and put their names into classes.json."
        )
    if category < 0:
        raise DataError(f"{place}: category {brief(category)} is below 0, where classes start.")
    if category >= MAX_CLASSES:
        raise DataError(
            f"{place}: category {brief(category)} is above {MAX_CLASSES - 1:,}, the highest number "
            "that a class can have. Number the classes from 0."
        )
    return category


def read_field(row: Any, key: str, place: str) -> Any:
    """The value of a key in a row from `parse_json`. Raises DataError that starts with `place`."""
    if isinstance(row, RepeatedKey):
        raise DataError(f"{place}: {brief(row.key)} appears twice. Keep one of them.")
    if not isinstance(row, dict):
        raise DataError(f'{place}: {brief(row)} should be an object with a "{key}".')
    if key not in row:
        raise DataError(f'{place}: there is no "{key}" in {brief(row)}.')
    return row[key]


def parse_json(text: bytes | str, where: str, shape: str) -> Any:
    """What a JSON file holds, with a RepeatedKey for each object that has a key twice.

    text: in any of JSON's encodings. where: the file's name in messages. shape: a sentence that
    says what the file should look like. Raises DataError.
    """
    if len(text) > MAX_JSON:
        raise DataError(f"{where} has {len(text):,} bytes, more than {MAX_JSON:,}. {shape}")
    with data_error(f"{where} can't be read", shape):
        return json.loads(text, object_pairs_hook=_json_object)


def _json_object(pairs):
    """A JSON object as a dict. pairs: its (key, value) in the order of the file."""
    values = {}
    for key, value in pairs:
        if key in values:
            return RepeatedKey(key)
        values[key] = value
    return values


def path_problem(name: str) -> str:
    """Why a relative path can't name a file of a data set on every system; "" if it can."""
    if leads_out(name):
        return "leads out of the data folder"
    if "\\" in name:
        return "has a backslash in its name; use / between folders"
    if ":" in name:
        return "has a colon in its name, which Windows doesn't allow; rename it"
    if "\0" in name:
        return "has a NUL character in its name"
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME:,} characters"
    return ""


def leads_out(name: str) -> bool:
    """Whether a path may leave the folder it's relative to: it's absolute or has a `..` in it."""
    absolute = name.startswith("/") or re.match(r"[A-Za-z]:[/\\]", name) is not None
    return absolute or ".." in re.split(r"[/\\]", name)


def is_hidden(name: str) -> bool:
    """Whether a path is, or lies in, what programs leave beside people's files: it's ignored."""
    if name.endswith(":Zone.Identifier"):  # Windows notes here where a file was downloaded from
        return True
    for part in name.split("/"):
        if part.startswith((".", "~$")) or part.lower() in CLUTTER:
            return True
    return False


def natural_order(name: str) -> list[tuple[bool, int, str, str]]:
    """A sort key that puts `2.jpg` before `10.jpg`, whatever else a name contains."""
    key = []
    for part in re.split(r"(\d+)", name):
        digits = ""
        if part.isdecimal():
            # Of two numbers, the longer one is larger. Python makes no int of 5,000 digits.
            digits = "".join(str(int(digit)) for digit in part).lstrip("0")
        key.append((part.isdecimal(), len(digits), digits, part))
    return key
