"""What the course keeps in `results/`: measurements that take hours, as JSON, a folder per run."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from course_lib import DataError, SettingsError
from course_lib.errors import brief
from course_lib.experiment import Course
from course_lib.homes import CHECKOUT, folder_name
from course_lib.results import about, is_same_data, session
from course_lib.settings import PRESETS
from course_lib.storage.files import write_json


def stored_path(course: Course, name: str) -> Path:
    """Where a file of results belongs: in a folder named after data, preset and size."""
    settings = course.settings
    usual_seed = PRESETS[course.preset].settings.seed  # seeds are in the file, not in its name
    folder = folder_name(course.data.name, course.preset, settings.with_changes(seed=usual_seed))
    return CHECKOUT / "results" / folder / name


def write_stored(course: Course, name: str, content: dict[str, Any]) -> None:
    """Write `content` to `results/<run>/<name>`, with the data and settings it belongs to.

    "written_by" lists the sessions that have written the file, with device, versions and commit:
    what one of them began, another may have finished. Raises SettingsError if the file was measured
    with other settings, or on other data.
    """
    heading = about(course)
    # What belongs to one seed isn't about all of the content.
    del heading["seed"]
    del heading["settings"]["seed"]
    if course.data.generated:
        del heading["data"]["digest"]
    writers = []
    this_session = session(course)
    path = stored_path(course, name)
    if path.exists():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not is_same_data(stored["data"], course):
            raise SettingsError(
                f"{path} was measured on other data of the same name. Nothing was overwritten. "
                "Move it away first."
            )
        before = stored.get("settings", {})
        for setting, value in before.items():
            now = json.loads(json.dumps(heading["settings"].get(setting)))  # tuples become lists
            if setting != "seed" and value != now:
                raise SettingsError(
                    f"{path} was measured with {setting} {value}, not {now}. Nothing was "
                    "overwritten. Move it away first."
                )
        if "written_by" in stored:
            writers = stored["written_by"]
        else:  # files of earlier versions name their last writer only
            writers = [{key: stored[key] for key in this_session if key in stored}]
    if this_session not in writers:
        writers.append(this_session)
    write_json(path, heading | {"written_by": writers} | content)


def read_stored(name: str) -> dict[str, Any]:
    """All files of this name in `results/`: {run: content}."""
    found = {}
    for path in sorted((CHECKOUT / "results").glob(f"*/{name}")):
        found[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    return found


def pack_right(right: ArrayLike) -> str:
    """Which images were right, as text for a JSON file: how many, then eight per byte in base64.

    right: bool (images,). For example, "3:oA==" is right, wrong, right.
    """
    flags = np.asarray(right, dtype=bool)
    packed = np.packbits(flags)
    return f"{len(flags)}:{base64.b64encode(packed.tobytes()).decode('ascii')}"


def unpack_right(text: str, count: int) -> np.ndarray:
    """The inverse of `pack_right`: bool (count,).

    Raises DataError if the text isn't that of `count` images.
    """
    stored, _, encoded = text.partition(":")
    if stored != str(count):
        raise DataError(
            f"Which images were right is stored of {brief(stored)} images, not of {count}."
        )
    try:
        packed = base64.b64decode(encoded)
    except ValueError:
        raise DataError("Which images were right can't be read: it isn't base64.") from None
    right = np.unpackbits(np.frombuffer(packed, dtype=np.uint8), count=count).astype(bool)
    if pack_right(right) != text:  # cut off, or longer
        raise DataError(f"Which of {count} images were right is stored incompletely.")
    return right


def unpack_seeds(texts: Sequence[str], count: int) -> np.ndarray:
    """Which images were right with each seed, as `verdicts.judge` takes it: bool (seeds, count)."""
    return np.stack([unpack_right(text, count) for text in texts])


def spread(shares: list[float]) -> str:
    """Mean and standard deviation of shares in [0, 1]: "48.8 ± 7.1%"; of one share, the mean."""
    deviation = ""
    if len(shares) > 1:
        deviation = f" ± {100 * stdev(shares):.1f}"
    return f"{100 * mean(shares):.1f}{deviation}%"
