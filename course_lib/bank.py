"""An image bank: every image of a data set decoded once, as uint8 pixels in one memory-mapped file.

The file is a NumPy `.npy` array (images, side, side, 3); behind the pixels stand, as JSON, the labels, the names and
the originals' sizes, then that JSON's length and a mark. It is written from its beginning to its end and gets its name
last: what has no mark at its end is no bank, and is built again.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from . import draws
from .archives import packed
from .datasets import CLASSES, upright_rgb
from .device import send
from .errors import DataError
from .files import in_order, need_space, replacing
from .manifest import entry_of, locate
from .sources import as_file, open_source

_MARK = b"BANK0002"
HELDOUT_SHARE = 10  # where no labelled test images exist: every tenth training image of each class


@dataclass(frozen=True)
class Images:
    """Some rows of a bank, such as its training images.

    pixels: uint8 (all, side, side, 3), memory-mapped or on a device. rows: int64 (n,), which of them belong here.
    labels: int64 (n,), −1 where unknown. widths, heights: int64 (n,), the originals' sizes in pixels.
    """

    pixels: torch.Tensor
    rows: torch.Tensor
    labels: torch.Tensor
    widths: np.ndarray
    heights: np.ndarray
    names: list  # of files
    classes: list  # 80 names

    def __len__(self):
        return len(self.rows)

    def subset(self, indices):
        """The images at these positions (a sequence of int), in that order; no pixel is copied."""
        indices = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            rows=self.rows[indices],
            labels=self.labels[indices],
            widths=self.widths[indices],
            heights=self.heights[indices],
            names=[self.names[i] for i in indices],
        )

    def take(self, count, seed=0):
        """`count` images drawn without replacement, always the same ones for a seed (all, shuffled, if there are
        fewer)."""
        return self.subset(draws.order(seed, 0, 0, len(self))[:count])

    def batch(self, indices):
        """uint8 (B, side, side, 3), contiguous, where the pixels are. indices: int64 (B,), positions in these
        images."""
        return self.pixels.index_select(0, send(self.rows[indices], self.pixels.device))

    def resident(self, device):
        """The same images with their pixels on `device` if it has room for them with a margin, else unchanged."""
        if device.type != "cuda":
            return self
        free, _ = torch.cuda.mem_get_info(device)
        if len(self) * self.pixels[0].numel() > free // 3:  # the model and its activations need the rest
            return self
        pixels = torch.empty((len(self), *self.pixels.shape[1:]), dtype=torch.uint8, device=device)
        for part in torch.arange(len(self)).split(1024):  # in parts: host memory stays flat
            pixels[part.to(device)] = self.batch(part).to(device)
        return replace(self, pixels=pixels, rows=torch.arange(len(self)))


@dataclass(frozen=True)
class Bank:
    """A data set ready for training: three sets of Images. `split` says in words where the held-out images come
    from."""

    name: str
    train: Images
    heldout: Images  # labelled images that are never trained on
    test: Images  # what `result.csv` is written for; may be the held-out images
    classes: list
    split: str


def open_bank(course, skip_unreadable=False):
    """The bank of the course's data set at its image size; built first where it is missing or its source has changed.

    skip_unreadable: build it although some images cannot be decoded, and go on without them; this and every later
    opening says how many. Raises DataError for whatever is wrong with the data set.
    """
    source_path, folder = packed(locate(course)), course.home / "banks"
    path = folder / f"{source_path.name.split('.')[0]}-{course.settings.size}.npy"
    fingerprint = fingerprint_of(source_path)
    try:
        pixels, meta = read_bank(path)
        if meta["fingerprint"] != fingerprint:
            raise DataError("the source has changed")
    except (DataError, OSError):
        need_space(folder, 0, path.name)
        with closing(open_source(source_path, entry_of(course), folder)) as source:
            build_bank(source, course.settings.size, path, fingerprint, skip_unreadable)
        pixels, meta = read_bank(path)
    if meta["unreadable"]:
        first = next(iter(meta["unreadable"].values()))
        print(f"Going on without {len(meta['unreadable']):,} images that cannot be used. The first: {first}")
    return _split(course.data_name, pixels, meta, course.settings.seed)


def from_file(path, side):
    """An image file of the reader's own as Images of length 1, label unknown; DataError if it cannot be decoded."""
    image = upright_rgb(Path(path).expanduser(), str(path))
    pixels = torch.from_numpy(np.array(image.resize((side, side), Image.Resampling.BILINEAR)))[None]
    unknown, (width, height) = torch.tensor([-1]), image.size
    return Images(pixels, torch.tensor([0]), unknown, np.array([width]), np.array([height]), [Path(path).name], [])


def fingerprint_of(path):
    """A text that changes when a source does: size and time of an archive, or of every file of a folder."""
    try:
        files = [Path(parent, name) for parent, _, names in os.walk(path) for name in names] or [path]
        stats = [(file.relative_to(path.parent).as_posix(), file.lstat()) for file in sorted(files)]
    except OSError as error:
        raise DataError(f"{path} cannot be looked at ({error}); if it lies on Drive, mount it again.") from error
    listing = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def build_bank(source, side, path, fingerprint="", skip_unreadable=False):
    """Decode every image of `source` once, squeezed to side × side as the report's Resize does, into the file `path`.

    Memory stays flat: images are decoded a few ahead of the one that is being written. Raises DataError that names
    the unreadable images (or, with skip_unreadable, leaves them black and lists them in the file), and where the disk
    has no space; then `path` is as it was before.
    """
    rows = source.train + source.test
    _say_what_is_odd(source)
    need_space(path.parent, len(rows) * side * side * 3, f"the bank {path.name}")

    def decode(row):
        try:
            image = upright_rgb(as_file(source, row), row.where)
            return image.size, image.resize((side, side), Image.Resampling.BILINEAR).tobytes(), None
        except DataError as error:
            return (side, side), bytes(side * side * 3), str(error)

    sizes, unreadable = [], {}
    try:
        # Pillow decodes outside the interpreter's lock.
        with ThreadPoolExecutor(os.cpu_count()) as pool, replacing(path) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), side, side, 3)}
            np.lib.format.write_array_header_1_0(file, header)
            decoded = tqdm(in_order(pool, decode, rows), "decoding", len(rows), unit=" images", leave=False)
            for index, (size, pixels, problem) in enumerate(decoded):
                file.write(pixels)
                sizes.append(size)
                if problem:
                    unreadable[index] = problem
            if unreadable and (not skip_unreadable or len(unreadable) == len(rows)):
                raise DataError(
                    f"{len(unreadable):,} of {len(rows):,} images cannot be used. The first: "
                    f"{next(iter(unreadable.values()))} (Or go on without: open_bank(course, skip_unreadable=True).)"
                )
            meta = {
                "fingerprint": fingerprint,
                "train": len(source.train),
                "sizes": sizes,
                "classes": source.classes,
                "labels": [row.category for row in rows],
                "names": [Path(row.path).name for row in rows],
                "unreadable": unreadable,
            }
            text = json.dumps(meta).encode()
            file.write(text + len(text).to_bytes(8, "little") + _MARK)
    except OSError as error:
        raise DataError(
            f"The bank {path} cannot be written ({error}): free some space, or set COURSE_HOME to another place."
        ) from error


def _say_what_is_odd(source):
    if source.skipped:
        print(
            f"{len(source.skipped):,} files beside the images are none and are left out, such as {source.skipped[0]!r}."
        )
    empty = sorted(set(range(CLASSES)) - {row.category for row in source.train})
    if empty:
        some = ", ".join(map(str, empty[:8])) + (", …" if len(empty) > 8 else "")
        print(f"{len(empty)} of {CLASSES} classes have no training images: {some}.")


def read_bank(path):
    """Open a bank: (pixels, a memory-mapped uint8 tensor (n, side, side, 3); what `build_bank` wrote behind them, a
    dict).

    Raises FileNotFoundError, or DataError where the file is no finished bank.
    """
    with open(path, "rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 16))
        ending = file.read()
        if len(ending) != 16 or ending[8:] != _MARK:
            raise DataError(f"{path} is no finished image bank: delete it, and it is built again.")
        try:
            file.seek(-16 - int.from_bytes(ending[:8], "little"), os.SEEK_END)
            meta = json.loads(file.read()[:-16])
            pixels = np.load(path, mmap_mode="c")  # "c": torch wants it writable; it is never written
            if len(pixels) != len(meta["labels"]):
                raise ValueError(f"{len(pixels)} images and {len(meta['labels'])} labels")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} is damaged ({error}): delete it, and it is built again.") from error
    return torch.from_numpy(pixels), meta


def _split(name, pixels, meta, seed):
    """Set the training, held-out and test images apart."""
    labels, (widths, heights) = np.array(meta["labels"]), np.array(meta["sizes"]).T
    readable = np.setdiff1d(np.arange(len(labels)), [int(index) for index in meta["unreadable"]])
    train, test = readable[readable < meta["train"]], readable[readable >= meta["train"]]
    if len(test) and (labels[test] >= 0).all():
        heldout, split = test, "the labelled test images"
    else:
        shuffled = train[draws.order(seed, 0, 0, len(train))]
        heldout = np.sort(np.concatenate([_share(shuffled[labels[shuffled] == c]) for c in np.unique(labels[train])]))
        train, split = np.setdiff1d(train, heldout), f"1 in 10 training images of a class, drawn from seed {seed}"
        test = test if len(test) else heldout

    def images(rows):
        return Images(
            pixels,
            torch.from_numpy(rows),
            torch.from_numpy(labels[rows]),
            widths[rows],
            heights[rows],
            [meta["names"][row] for row in rows],
            meta["classes"],
        )

    return Bank(name, images(train), images(heldout), images(test), meta["classes"], split)


def _share(of_class):
    """What is held out of a class: one in ten, at least one, but never its only image."""
    return of_class[: -(-len(of_class) // HELDOUT_SHARE) if len(of_class) > 1 else 0]
