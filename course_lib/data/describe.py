"""What's in a data set, and what's wrong with it, in words: every image is opened, none changed."""

from __future__ import annotations

import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image
from tqdm import tqdm

from ..errors import DataError, brief
from .answers import data_error
from .archives import Files
from .deep_pixels import Scale, are_scaled_by, common_whites
from .images import FORMATS, UnreadableImage, read_picture
from .layouts import read_source

if TYPE_CHECKING:
    from .answers import Row
    from .source import Source

SHOWN = 10  # of each kind of finding, and of sizes
CLASSES_SHOWN = 20
FEW = 10  # training images; a class with fewer is pointed out
AT_ONCE = 256  # images whose pixels may be in memory


class Seen(NamedTuple):
    """An image that could be opened."""

    row: Row
    size: tuple[int, int]  # width and height in pixels, upright
    mode: str  # Pillow's, such as "RGB"
    picture: bytes  # a digest of its pixels: the same for the same picture in another format
    was_transparent: bool
    scale: Scale | None  # of a picture of more than 8 bits


class Finding(NamedTuple):
    """One kind of thing that was looked for in a data set."""

    title: str  # such as "unreadable images"
    found: list[str]
    advice: str  # what to do about it


def describe_data(
    path: str | Path, layout: str | None = None, home: str | Path | None = None
) -> str:
    """What is found in a folder or archive of images, in words. Raises DataError.

    layout: one of `layouts.LAYOUTS`; by default, the files tell it. home: a folder in it to leave
    out, for runs.
    """
    if home is not None:
        home = Path(home).resolve()
    with data_error(f"The path {brief(str(path))} can't be used", "Check its spelling."):
        path = Path(path).expanduser().resolve()
    with Files(path, home) as files:
        source = read_source(files, layout)
        seen, failures = _open_all(source, {})
        scales = [image.scale for image in seen if image.scale is not None]
        whites = common_whites(scales)
        if not are_scaled_by(whites, scales):
            seen, failures = _open_all(source, whites)
    lines = [f"{brief(path.name)}: {source.layout}"]
    lines += _summary(source, seen)
    lines += _in_words(_findings(source, seen, failures))
    return "\n".join(lines)


def _open_all(source: Source, whites: Mapping[str, float]) -> tuple[list[Seen], list[DataError]]:
    """Open every image: those that could be opened, and an error for each of the others.

    whites: as in `read_picture`.
    """
    seen = []
    failures = []
    rows = [*source.train, *source.validation, *source.test]
    # Shown in a terminal only; more threads than cores, since on Drive they mostly wait.
    progress = tqdm(total=len(rows), unit=" images", leave=False, disable=None)
    with ThreadPoolExecutor(16) as pool, progress:
        for first in range(0, len(rows), AT_ONCE):
            some = rows[first : first + AT_ONCE]
            for opened in pool.map(lambda row: _open(row, source, whites), some):
                progress.update()
                if isinstance(opened, Seen):
                    seen.append(opened)
                else:
                    failures.append(opened)
    return seen, failures


def _open(row: Row, source: Source, whites: Mapping[str, float]) -> Seen | DataError:
    """What an image is like; the error if it can't be opened."""
    try:
        data = source.read(row.name)
        picture = read_picture(data, brief(row.name), whites)
    except DataError as error:
        return error
    with Image.open(io.BytesIO(data), formats=FORMATS) as stored:
        mode = stored.mode
    size = picture.image.size
    digest = hashlib.sha256(f"{size}".encode() + picture.image.tobytes()).digest()
    return Seen(row, size, mode, digest, picture.was_transparent, picture.scale)


def _summary(source: Source, seen: list[Seen]) -> list[str]:
    """How many images of how many classes there are, and what they are like."""
    parts = [f"{len(source.train):,} training images"]
    if source.validation:
        parts.append(f"{len(source.validation):,} validation images")
    if source.test:
        known = "" if source.test[0].category >= 0 else " without labels"
        parts.append(f"{len(source.test):,} test images{known}")
    counts = Counter(row.category for row in source.train)
    lines = [f"{', '.join(parts)}; {len(counts):,} classes", *_classes(source, counts)]
    largest, most = counts.most_common(1)[0]
    lines.append(f"guessing is right {1 / len(counts):.1%} of the time")
    if most > min(counts.values()):
        share = most / len(source.train)
        lines[-1] += f", always answering {brief(source.classes[largest])} {share:.1%}"
    sizes = Counter(f"{image.size[0]} × {image.size[1]}" for image in seen)
    modes = Counter(image.mode for image in seen)
    lines.append(f"pixels: {_most_common(sizes)}")
    lines.append(f"Pillow's modes (L is grey): {_most_common(modes)}")
    return lines


def _classes(source: Source, counts: Counter[int]) -> list[str]:
    """A line for each class: its number, its images and its name."""
    lines = []
    for number, name in enumerate(source.classes[:CLASSES_SHOWN]):
        lines.append(f"{number:5}  {counts[number]:7,}  {brief(name)[1:-1]}")
    more = len(source.classes) - CLASSES_SHOWN
    if more > 0:
        rest = [counts[number] for number in range(CLASSES_SHOWN, len(source.classes))]
        lines.append(f"    … {more:,} more classes of {min(rest):,} to {max(rest):,} images each")
    return ["class   images  name", *lines]


def _most_common(counter: Counter[str]) -> str:
    """The most frequent values with their numbers: "640 × 480 (12), …"."""
    shown = [f"{value} ({count:,})" for value, count in counter.most_common(SHOWN)]
    if len(counter) > SHOWN:
        shown.append("…")
    return ", ".join(shown)


def _findings(source: Source, seen: list[Seen], failures: list[DataError]) -> list[Finding]:
    """All that was looked for, found or not."""
    unreadable = [str(error) for error in failures if isinstance(error, UnreadableImage)]
    others = [str(error) for error in failures if not isinstance(error, UnreadableImage)]
    dark = [image for image in seen if image.scale and image.scale.is_nearly_black]
    part_of = _parts(source)
    images_of = defaultdict(list)
    for image in seen:
        images_of[image.picture].append(image.row)
    copies = [rows for rows in images_of.values() if len(rows) > 1]
    in_both = []
    repeated = []
    for rows in copies:
        parts = [part_of[row.name] for row in rows]
        if len(set(parts)) > 1:
            in_both.append(rows)
        if len(set(parts)) < len(parts):
            repeated.append(rows)
    several_labels = [rows for rows in copies if len(_labels(rows)) > 1]
    return [
        Finding(
            "unreadable images",
            unreadable,
            "Mend or remove them, or leave them out: open_course(…, skip_unreadable=True), or "
            "COURSE_SKIP_UNREADABLE=1.",
        ),
        Finding(
            "images that the disk, the archive or the memory failed to give",
            others,
            "Try again; none of them is ever left out.",
        ),
        Finding(
            "pictures with several labels",
            [_listed(rows, source) for rows in several_labels],
            "Keep the right one of each.",
        ),
        Finding(
            "pictures in more than one of training, validation and test",
            [_listed(rows, source) for rows in in_both],
            "Remove them from training, or accuracy says nothing about new images.",
        ),
        Finding(
            "pictures that are there more than once in the same part",
            [_listed(rows, source) for rows in repeated],
            "Keep one of each, or it counts several times. (All copies in training are held out "
            "together, or not at all.)",
        ),
        *_classes_findings(source),
        Finding(
            "pictures with transparent parts",
            [brief(image.row.name) for image in seen if image.was_transparent],
            "They are put on white, or on black if white would hide them.",
        ),
        Finding(
            "pictures of more than 8 bits that are nearly black",
            [brief(image.row.name) for image in dark],
            "Convert all images to 8 bits with the same scale.",
        ),
        Finding(
            "files that aren't images by their names",
            [brief(name) for name in source.skipped],
            "They are ignored. If one is a picture, rename it.",
        ),
        Finding("other things that aren't used", list(source.notes), "Is one of them a class?"),
    ]


def _classes_findings(source: Source) -> Iterator[Finding]:
    """What may be wrong with the classes and their numbers."""
    counts = Counter(row.category for row in source.train)
    empty = [number for number in range(len(source.classes)) if not counts[number]]
    if empty == [0]:
        advice = "Do your classes start at 1? Then subtract one, so that they start at 0."
    else:
        advice = "The network can answer these classes, but can't learn them. Number without gaps."
    yield Finding(
        "classes without training images",
        [f"{number}, {brief(source.classes[number])}" for number in empty],
        advice,
    )
    single = [number for number, count in sorted(counts.items()) if count == 1]
    yield Finding(
        "classes with a single training image",
        [f"{number}, {brief(source.classes[number])}" for number in single],
        "Add images: none of these can be held out.",
    )
    few = [number for number, count in sorted(counts.items()) if 1 < count < FEW]
    yield Finding(
        f"classes with fewer than {FEW} training images",
        [f"{number}, {brief(source.classes[number])}: {counts[number]}" for number in few],
        "That's little to learn a class from, and one or two to measure it on. Add images.",
    )


def _parts(source: Source) -> dict[str, str]:
    """The path of each image → which part it belongs to."""
    parts = {}
    for part, rows in source.parts.items():
        for row in rows:
            parts[row.name] = part
    return parts


def _labels(rows):
    """The labels of the same picture; one that isn't known (−1) says nothing."""
    return {row.category for row in rows if row.category >= 0}


def _listed(rows, source):
    """Rows in words, such as 'train_data/0.png' (class 3, 'cat')."""
    texts = []
    for row in rows:
        label = "no label"
        if row.category >= 0:
            label = f"class {row.category}, {brief(source.classes[row.category])}"
        texts.append(f"{brief(row.name)} ({label})")
    return ", ".join(texts)


def _in_words(findings: list[Finding]) -> list[str]:
    """The findings, each with its number and the first examples; last, what wasn't found."""
    lines = []
    for finding in findings:
        if finding.found:
            lines.append(f"{finding.title}: {len(finding.found):,}. {finding.advice}")
            lines += [f"    {text[:300]}" for text in finding.found[:SHOWN]]
            if len(finding.found) > SHOWN:
                lines.append(f"    … and {len(finding.found) - SHOWN:,} more")
    nothing = [finding.title for finding in findings if not finding.found]
    lines.append(f"none of these: {'; '.join(nothing)}")
    return lines
