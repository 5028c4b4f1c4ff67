"""`data_manifest.json`: which data sets there are, and how each comes onto this machine."""

import json
import re
from difflib import get_close_matches
from pathlib import Path

from . import downloads, shapes
from .datasets import CLASSES, is_safe
from .errors import DataError, brief

MANIFEST = Path(__file__).resolve().parent.parent / "data_manifest.json"
LAYOUTS = ("generated", "report", "cifar100", "tiny-imagenet")


def _whole(value, low=0):
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _text(value):
    return isinstance(value, str) and bool(value.strip())


def _hexadecimal(length):
    return lambda value: isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{length}}}", value)


# Key → (does a value fit?, what it should be). An entry needs the keys of `_NEEDED`; a published one all of them.
_MD5 = _hexadecimal(32), "an MD5 sum of 32 hexadecimal digits"
_SHA256 = _hexadecimal(64), "a SHA-256 sum of 64 hexadecimal digits"
_ENTRY = {
    "title": (_text, "a text"),
    "licence": (_text, "a text"),
    "terms": (_text, "a text: what the data may be used for"),
    "source": (_text, "a text: the page it comes from"),
    "classes": (lambda value: _whole(value, 1) and value <= CLASSES, f"a whole number from 1 to {CLASSES}"),
    "layout": (lambda value: value in LAYOUTS, f"one of {', '.join(LAYOUTS)}"),
    "train": (lambda value: _whole(value, 1), "the exact number of training images"),
    "heldout": (_whole, "the exact number of labelled test images, 0 if there are none"),
    "image_size": (
        lambda value: isinstance(value, list) and len(value) == 2 and all(_whole(side, 1) for side in value),
        "[width, height] in pixels",
    ),
    "archive": (lambda value: isinstance(value, dict), "an object"),
    "checksums": (lambda value: isinstance(value, dict), "an object"),
}
_ARCHIVE = {
    "file": (lambda value: _text(value) and is_safe(value) and "/" not in value, "a file's name, without a folder"),
    "bytes": (lambda value: _whole(value, 1), "the file's exact size in bytes"),
    "mirrors": (
        lambda value: isinstance(value, list) and all(_text(url) and re.match("https?://.", url) for url in value),
        "a list of http(s) addresses, the first choice first",
    ),
    "md5": _MD5,
    "sha256": _SHA256,
}
_NEEDED = ("title", "licence", "terms", "source", "classes", "layout")
_NEEDED_PUBLISHED = (*_NEEDED, "train", "heldout", "image_size", "archive")


def read_manifest(path=None):
    """Read and check the manifest: {name: entry}. Raises DataError that names the entry and the key.

    path: another manifest than the repository's.
    """
    path = Path(path or MANIFEST)
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} cannot be read as JSON ({error}). Restore it from the repository.") from error
    if not isinstance(manifest, dict) or not manifest:
        raise DataError(f"{path.name} should hold one entry for each data set's name, but holds none.")
    for name, entry in manifest.items():
        _check_entry(f"{path.name}, {brief(name)}", entry)
    return manifest


def _check_entry(where, entry):
    published = isinstance(entry, dict) and entry.get("layout") in ("cifar100", "tiny-imagenet")
    _check(where, entry, _ENTRY, _NEEDED_PUBLISHED if published else _NEEDED)
    if "archive" in entry:
        _check(f"{where}, 'archive'", entry["archive"], _ARCHIVE, ("file", "bytes", "mirrors"))
        if "md5" not in entry["archive"] and "sha256" not in entry["archive"]:
            raise DataError(f"{where}, 'archive': the key 'sha256' (or 'md5') is missing.")
    if "checksums" in entry:
        _check(f"{where}, 'checksums'", entry["checksums"], dict.fromkeys(("answer.json", "test_answer.json"), _SHA256))


def _check(where, found, keys, needed=()):
    if not isinstance(found, dict):
        raise DataError(f"{where}: should be an object with the keys {', '.join(needed or keys)}.")
    for key in found:
        if key not in keys:
            near = get_close_matches(key, keys, 1)
            advice = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(keys)}."
            raise DataError(f"{where}: there is no key {brief(key)}; {advice}")
    for key in needed:
        if key not in found:
            raise DataError(f"{where}: the key {key!r} is missing.")
    for key, value in found.items():
        fits, words = keys[key]
        if not fits(value):
            raise DataError(f"{where}: {key!r} should be {words}, not {brief(value)}.")


def entry_of(course):
    """The manifest's entry for the course's data set; for a path, one that says it is in the report's layout."""
    return read_manifest().get(course.data, {"layout": "report"})


def locate(course):
    """The folder or archive of the course's data set: generated, downloaded and verified, or where its path says.

    Raises DataError where no data set has that name, or none of its mirrors gives it.
    """
    entry, home = entry_of(course), course.home / "data"
    if entry["layout"] == "generated":
        train, test = course.settings.images_per_class
        # Thousands of small files: never on Drive.
        return shapes.generate(course.home / "data", course.settings.size, train, test, course.settings.seed)
    if "archive" in entry:
        return downloads.fetch(entry, home)
    if "checksums" in entry:  # a folder of the reader's own with an entry in the manifest
        path = home / course.data
        if not path.is_dir():
            raise DataError(f"The folder of {course.data} is not there: put it as {path}. Source: {entry['source']}")
        return path.resolve()
    path = Path(course.data).expanduser()
    if course.data == "folder" or not _exists(path):
        names = [name for name in read_manifest() if name != "folder"]
        near = get_close_matches(course.data, names, 1)
        raise DataError(
            f"There is no data set {course.data!r}{f' (did you mean {near[0]!r}?)' if near else ''}. Give one of "
            f"{', '.join(names)}, or the path of a folder, .zip, .tar or .tar.gz in the report's layout."
        )
    return path.resolve()


def _exists(path):
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, a NUL in it
        return False
