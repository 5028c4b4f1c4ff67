"""`data_manifest.json`: which data sets there are, and how each comes onto this machine."""

import json
from pathlib import Path

from . import shapes
from .errors import DataError

MANIFEST = Path(__file__).resolve().parent.parent / "data_manifest.json"
_KEYS = {"title": str, "licence": str, "source": str, "classes": int, "layout": str}
_LAYOUTS = ("generated", "report")


def read_manifest(path=MANIFEST):
    """Read and check the manifest: {name: entry}. Raises DataError that names the entry and the key."""
    path = Path(path)
    try:
        manifest = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path.name} cannot be read as JSON ({error}). Restore it from the repository.") from error
    if not isinstance(manifest, dict) or not manifest:
        raise DataError(f"{path.name} should hold one entry for each data set's name, but holds none.")
    for name, entry in manifest.items():
        if not isinstance(entry, dict):
            raise DataError(f"{path.name}, {name}: should be an object with the keys {', '.join(_KEYS)}.")
        for key, kind in _KEYS.items():
            if key not in entry:
                raise DataError(f"{path.name}, {name}: the key {key!r} is missing.")
            if not isinstance(entry[key], kind) or isinstance(entry[key], bool):
                raise DataError(f"{path.name}, {name}: {key!r} should be of type {kind.__name__}, not {entry[key]!r}.")
        unknown = sorted(set(entry) - set(_KEYS))
        if unknown:
            raise DataError(f"{path.name}, {name}: there is no key {unknown[0]!r}; the keys are {', '.join(_KEYS)}.")
        if entry["layout"] not in _LAYOUTS:
            raise DataError(
                f"{path.name}, {name}: 'layout' should be one of {', '.join(_LAYOUTS)}, not {entry['layout']!r}."
            )
    return manifest


def locate(course):
    """The folder or archive, in the report's layout, of the course's data set; generated first where it is
    embedded."""
    entry = read_manifest().get(course.data, {"layout": "report"})
    if entry["layout"] == "generated":
        train, test = course.settings.images_per_class
        return shapes.generate(course.home / "data", course.settings.size, train, test, course.settings.seed)
    path = Path(course.data).expanduser()
    if course.data == "folder" or not path.exists():
        raise DataError(
            f"There is no data set {course.data!r}. Give one of {', '.join(set(read_manifest()) - {'folder'})}, "
            "or the path of a folder or zip archive in the report's layout."
        )
    return path.resolve()
