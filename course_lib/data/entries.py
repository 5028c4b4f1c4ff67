"""What folders, zips and tars have in common: a list of entries, each a file that can be read."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from ..errors import DataError, brief
from .images import images_among

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

MAX_FILES = 1_000_000  # a data set has thousands; a million take a gigabyte of memory to list

# What belongs to a data set in the report's layout. The first name tells that it's this layout.
REPORT_NAMES = ("answer.json", "train_data", "test_data", "test_answer.json", "classes.json")

TABLES = (".csv", ".tsv", ".xlsx", ".xls")  # which may hold labels

# What people call the folders of a data set's parts, in lower case
PARTS = {
    "train": "training",
    "training": "training",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}

# What helps against files that are damaged, and against archives that Python can't read
COPY_AGAIN = "Copy the data here again."
PACK_AGAIN = "Unpack it and use the folder, or pack that again: zip -r new.zip folder"

# Why an entry is refused
IS_A_LINK = (
    "is a link, and what it leads to may be missing elsewhere; "
    "put the file itself there (cp -rL copies a folder without links)"
)
IS_A_DEVICE = "is neither a file nor a folder, but a pipe or a device; remove it"


class Entry(NamedTuple):
    """One file of a folder or archive."""

    name: str  # its path, cleaned by `clean`
    stored: str  # the same path as the folder or archive spells it
    size: int  # in bytes
    read: Callable[[], bytes]  # in any thread
    refusal: str = ""  # why it can't be used, after "its name": "is a link"; "" if it can


class Listing(NamedTuple):
    """What belongs to a data set in a folder or archive."""

    entries: Iterable[Entry]
    folders: list[str]  # where classes may lie: at the top, and in parts; also without files
    hidden_folders: list[str]  # the same of hidden folders, if images lie in them


def is_a_part(folder: str) -> bool:
    """Whether a folder at the top has the name of a part, such as `train`."""
    return folder.lower() in PARTS


def encloses(folder: str, names: list[str]) -> bool:
    """Whether the only folder at the top holds the data set, and isn't a part or a class itself.

    names: of what is in it, relative to it. A class's folder has images in it.
    """
    directly_inside = [name for name in names if "/" not in name]
    images, _ = images_among(directly_inside)
    return bool(names) and not images and not is_a_part(folder)


def only_folder(folders: list[str], files: list[str]) -> str:
    """The one folder at the top if there are only notes beside it, such as a README; or "".

    folders, files: the names at the top. An image or a table beside a folder means something.
    """
    images, others = images_among(files)
    tables = [name for name in others if name.lower().endswith(TABLES)]
    of_the_report = [name for name in others if name in REPORT_NAMES]
    if len(folders) != 1 or images or tables or of_the_report:
        return ""
    return folders[0]


def clean(stored: str) -> str:
    """A path in NFC, without `./` and doubled slashes: one spelling for what one file is."""
    parts = [part for part in stored.split("/") if part not in ("", ".")]
    return unicodedata.normalize("NFC", "/".join(parts))


def at_most(entries: Iterable[Entry], where: str) -> Iterator[Entry]:
    """The entries one by one. Raises DataError if there are more than MAX_FILES."""
    for number, entry in enumerate(entries):
        if number == MAX_FILES:
            raise DataError(f"{where} has more than {MAX_FILES:,} files, too many for this course.")
        yield entry


def enclosing_folder(candidates: Iterable[str], where: str) -> str:
    """The one folder that holds the data set, or "". Raises DataError if several do.

    candidates: the folders at the top that have the file every such data set has.
    """
    found = sorted(candidates)
    if len(found) > 1:
        names = ", ".join(brief(name) for name in found[:9])
        raise DataError(f"{where} holds {len(found)} data sets: {names}. Choose one of them.")
    return found[0] if found else ""
