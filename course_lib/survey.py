"""What is in a data set, and what is wrong with it: every image opened once, nothing written."""

import hashlib
import io
import json
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from PIL import Image
from tqdm.auto import tqdm

from .datasets import CLASSES, upright_rgb
from .errors import DataError
from .files import in_order
from .sources import look_through

SHOWN = 10  # of each kind of problem; the rest are counted
_BAR = 40  # characters of the longest bar


def describe_data(path):
    """Look through a data set in the report's layout and open each of its images; returns a page of text.

    path: a folder or a .zip, .tar or .tar.gz. The page: counts, a histogram of the classes, sizes and modes, all that
    is wrong, and an entry for `data_manifest.json`. Raises DataError where it cannot be looked through at all.
    """
    path = Path(path).expanduser().absolute()
    with closing(look_through(path)) as source:
        seen = _Seen()
        rows = source.train + source.test

        def look(row):
            try:
                data = source.read(row.path)
                image = upright_rgb(io.BytesIO(data), row.where)  # first: it refuses decompression bombs
                with Image.open(io.BytesIO(data)) as stored:
                    kind = f"{stored.format} {stored.mode}"
                return image.size, kind, hashlib.sha256(b"%d " % image.width + image.tobytes()).digest()
            except DataError as error:
                return error

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            looks = in_order(pool, look, rows)
            for row, found in tqdm(zip(rows, looks), "looking", len(rows), unit=" images", leave=False):
                seen.add(row, found)
        text = "\n\n".join(
            [_counts(source), _histogram(source), seen.kinds(), _problems(source, seen), _entry(source, seen)]
        )
        return text.encode("utf-8", "backslashreplace").decode()  # file names may be no Unicode at all


class _Seen:
    """What was seen in the images: sizes and kinds, how often; which cannot be used; which are the same picture."""

    def __init__(self):
        self.sizes, self.modes, self.unreadable, self.by_content = Counter(), Counter(), [], defaultdict(list)

    def add(self, row, found):
        if isinstance(found, DataError):
            self.unreadable.append(str(found))
            return
        size, kind, digest = found
        self.sizes[size] += 1
        self.modes[kind] += 1
        self.by_content[digest].append(row)

    def duplicates(self):
        """The same pixels more than once, in words; said too where training, test or the classes differ."""
        for rows in self.by_content.values():
            if len(rows) > 1:
                parts, labels = {row.path.split("/")[0] for row in rows}, {row.category for row in rows} - {-1}
                remark = (" (training and held-out!)" if len(parts) > 1 else "") + (
                    f" (classes {', '.join(map(str, sorted(labels)))}!)" if len(labels) > 1 else ""
                )
                yield " = ".join(row.path for row in rows[:4]) + (" = …" if len(rows) > 4 else "") + remark

    def kinds(self):
        sizes = [f"{width} × {height} ({count:,})" for (width, height), count in self.sizes.most_common(SHOWN)]
        more = f", and {len(self.sizes) - SHOWN:,} other sizes" if len(self.sizes) > SHOWN else ""
        modes = [f"{kind} ({count:,})" for kind, count in self.modes.most_common()]
        return f"sizes in pixels: {', '.join(sizes) or 'none'}{more}\nformats and modes: {', '.join(modes) or 'none'}"


def _counts(source):
    labelled = [row for row in source.test if row.category >= 0]
    if labelled:
        heldout = f"{len(labelled):,} labelled test images, which are the held-out ones"
    else:
        heldout = f"{len(source.test):,} test images without labels; 1 in 10 training images of each class is held out"
    used = len({row.category for row in source.train})
    return f"{source.path.name}: {len(source.train):,} training images of {used} classes, {heldout}"


def _histogram(source):
    train, test = Counter(row.category for row in source.train), Counter(row.category for row in source.test)
    longest = max(train.values(), default=1)
    lines = ["class  training  test"]
    for category, name in enumerate(source.classes):
        if train[category] or test[category]:
            bar = "█" * -(-train[category] * _BAR // longest)
            lines.append(f"{category:5} {train[category]:9,} {test[category]:5,}  {bar} {name.split(',')[0]}")
    return "\n".join(lines)


def _problems(source, seen):
    used = {row.category for row in source.train}
    empty = [f"class {i} ({name})" for i, name in enumerate(source.classes) if i not in used]
    lines = []
    for title, found in (
        ("images that cannot be used", seen.unreadable),
        ("pictures that are there more than once", list(seen.duplicates())),
        ("rows without a file", source.missing),
        ("files without a row", source.unlisted),
        ("files that are no images", source.skipped),
        (f"of {CLASSES} classes without training images", empty),
    ):
        lines.append(f"{len(found):,} {title}")
        lines += [f"    {one}" for one in found[:SHOWN]]
        if len(found) > SHOWN:
            lines.append(f"    … and {len(found) - SHOWN:,} more")
    return "\n".join(lines)


def _entry(source, seen):
    """The data set as an entry of the manifest: an archive by its own checksum, a folder by those of its answers."""
    name = source.path.name.split(".")[0]
    (width, height), _ = (seen.sizes.most_common(1) or [((1, 1), 0)])[0]
    entry = {
        "title": name,
        "licence": "(who may copy it?)",
        "terms": "(what may it be used for?)",
        "source": "(the page it comes from)",
        "classes": len({row.category for row in source.train}),
        "train": len(source.train),
        "heldout": sum(row.category >= 0 for row in source.test),
        "image_size": [width, height],
        "layout": "report",
    }
    if source.path.is_dir():
        advice = f"it is then looked for in COURSE_HOME/data/{name}"
        answers = ["answer.json", "test_answer.json"][: 2 if entry["heldout"] else 1]
        entry["checksums"] = {answer: hashlib.sha256(source.read(answer)).hexdigest() for answer in answers}
    else:
        advice = "add the addresses from which it can be downloaded to mirrors"
        with open(source.path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        size = source.path.stat().st_size
        entry["archive"] = {"file": source.path.name, "bytes": size, "sha256": checksum, "mirrors": []}
    return f"An entry for data_manifest.json ({advice}):\n" + json.dumps({name: entry}, indent=2, ensure_ascii=False)
