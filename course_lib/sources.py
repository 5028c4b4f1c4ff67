"""A data set in the report's layout, in a folder or in one zip archive, read where it lies without unpacking it.

answer.json  train_data/…  [test_data/…]  [test_answer.json]  [classes.json]
"""

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from .datasets import images_among, read_answer
from .errors import DataError

_CLUTTER = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")  # what systems leave in folders and archives


@dataclass(frozen=True)
class Row:
    """One image: its path inside the source, its class (−1 where unknown), and where that was read (for messages)."""

    path: str
    category: int
    where: str


@dataclass(frozen=True)
class Source:
    """A data set that has been looked through. `read(path)` gives an image's bytes."""

    path: Path
    read: object
    train: list  # of Row
    test: list  # of Row; category −1 where there is no test_answer.json
    classes: list  # 80 names
    skipped: list = field(default_factory=list)  # files beside the images that are none


def open_source(path):
    """Look through a folder or a `.zip` in the report's layout. Raises DataError for whatever is wrong with it."""
    path = Path(path)
    if path.is_dir():
        names, read = _list_folder(path)
    elif path.exists():
        names, read = _list_zip(path)
    else:
        raise DataError(f"There is no data set at {path}: neither a folder nor a zip archive has that name.")
    return _read_layout(path, names, read)


def _list_folder(folder):
    names = {file.relative_to(folder).as_posix() for file in sorted(folder.rglob("*")) if file.is_file()}

    def read(name):
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise DataError(f"{folder / name} cannot be read ({error.strerror}).") from error

    return {name: name for name in names}, read


def _list_zip(path):
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile raises what broken bytes lead to
        raise DataError(
            f"{path} is neither a folder nor a whole zip archive ({error}): it may have been cut short; "
            "copy it once more."
        ) from error
    names = {info.filename: info.filename for info in archive.infolist() if not info.is_dir()}

    def read(name):
        try:
            return archive.read(name)
        except Exception as error:  # so does zlib
            raise DataError(f"{path.name} is damaged at {name} ({error}): copy or download it once more.") from error

    return names, read


def _read_layout(path, names, read_stored):
    names = {name: stored for name, stored in names.items() if not any(part in _CLUTTER for part in name.split("/"))}
    if "answer.json" not in names:  # one enclosing folder, as most archiving programs make it
        roots = {name.split("/", 1)[0] for name in names}
        names = (
            {name.split("/", 1)[1]: stored for name, stored in names.items() if "/" in name}
            if len(roots) == 1
            else names
        )
    if "answer.json" not in names:
        raise DataError(
            f"{path.name} has no answer.json at its top. The report's layout is answer.json beside train_data/."
        )

    def read(name):
        return read_stored(names[name])

    train, skipped = _labelled(names, "train_data", read_answer(read("answer.json")), "answer.json")
    if "test_answer.json" in names:
        answers = read_answer(read("test_answer.json"), "test_answer.json")
        test, more = _labelled(names, "test_data", answers, "test_answer.json")
    else:
        images, more = images_among(_inside(names, "test_data"))
        test = [Row(f"test_data/{name}", -1, f"test_data/{name}") for name in images]
        more = [f"test_data/{name}" for name in more]
    classes = _read_classes(read("classes.json")) if "classes.json" in names else [f"class {i}" for i in range(80)]
    return Source(path, read, train, test, classes, skipped + more)


def _inside(names, folder):
    return [name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/")]


def _labelled(names, folder, answers, where):
    """Match the rows of the answers with the files of the folder: neither may have what the other has not."""
    images, skipped = images_among(_inside(names, folder))
    listed, present = {name for name, _ in answers}, set(images)
    for row, (name, _) in enumerate(answers):
        if name not in present:
            count = len(listed - present)
            raise DataError(
                f"{where}, row {row}: {name} is not in {folder}/ ({count:,} of {len(answers):,} rows have no image "
                "file). Add the images, or remove the rows."
            )
    unlisted = [name for name in images if name not in listed]
    if unlisted:
        raise DataError(
            f"{folder}/{unlisted[0]} has no row in {where} ({len(unlisted):,} images have none). "
            "Add rows for them, or move the images out of the folder."
        )
    rows = [
        Row(f"{folder}/{name}", category, f"{name} ({where}, row {row})")
        for row, (name, category) in enumerate(answers)
    ]
    return rows, [f"{folder}/{name}" for name in skipped]


def _read_classes(text):
    """`[{"category": 0, "name": "…"}, …]` → 80 names."""
    names = [f"class {i}" for i in range(80)]
    try:
        for row in json.loads(text):
            if not 0 <= row["category"] < len(names):
                raise IndexError
            names[row["category"]] = str(row["name"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise DataError(
            'classes.json should read [{"category": 0, "name": "…"}, …] with categories from 0 to 79; '
            "correct it, or remove it to go on without names."
        ) from error
    return names


def as_file(source, row):
    """The image of a row as a binary file, for `upright_rgb`."""
    return io.BytesIO(source.read(row.path))
