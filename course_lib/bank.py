"""An image bank: every image of a data set decoded once, as uint8 pixels in one memory-mapped file.

The file is a NumPy `.npy` array (images, side, side, 3); behind the pixels stand, as JSON, the labels, the names and
the originals' sizes, then that JSON's length and a mark. Whatever has no mark at its end was not finished and is
built again.
"""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from . import draws
from .datasets import upright_rgb
from .errors import DataError
from .manifest import locate
from .sources import as_file, open_source

_MARK = b"BANK0001"
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
        return self.pixels.index_select(0, self.rows[indices].to(self.pixels.device))

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


def open_bank(course):
    """The bank of the course's data set at its image size; built first where it is missing or its source has
    changed."""
    source_path = locate(course)
    path = course.home / "banks" / f"{source_path.stem}-{course.settings.size}.npy"
    fingerprint = fingerprint_of(source_path)
    try:
        pixels, meta = read_bank(path)
        if meta["fingerprint"] != fingerprint:
            raise DataError("the source has changed")
    except (DataError, OSError):
        source = open_source(source_path)
        try:
            build_bank(source, course.settings.size, path, fingerprint)
        except OSError as error:
            raise DataError(
                f"The image bank {path} cannot be written ({error.strerror}): free some space, or set COURSE_HOME to "
                "another place."
            ) from error
        pixels, meta = read_bank(path)
    return _split(course.data_name, pixels, meta, course.settings.seed)


def fingerprint_of(path):
    """A text that changes when a source does: size and time of an archive, or of every file of a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    stats = [(file.relative_to(path.parent).as_posix(), file.stat()) for file in files]
    listing = "\n".join(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
    return hashlib.sha256(listing.encode("utf-8", "surrogateescape")).hexdigest()


def build_bank(source, side, path, fingerprint=""):
    """Decode every image of `source` once, squeezed to side × side as the report's Resize does, into the file `path`.

    The pixels go through a memory map, so that memory stays flat. Raises DataError that names the unreadable images.
    """
    rows = source.train + source.test
    sizes, broken = np.zeros((len(rows), 2), dtype=np.int64), []
    temporary = path.with_name(f".{path.name}.{os.getpid()}.building")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        pixels = np.lib.format.open_memmap(temporary, "w+", np.uint8, (len(rows), side, side, 3))

        def decode(index):
            try:
                image = upright_rgb(as_file(source, rows[index]), rows[index].where)
            except DataError as error:
                return broken.append((index, error))
            sizes[index] = image.size
            pixels[index] = image.resize((side, side), Image.Resampling.BILINEAR)

        with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside the interpreter's lock
            for _ in tqdm(pool.map(decode, range(len(rows))), "decoding", len(rows), unit=" images", leave=False):
                pass
        if broken:
            index, error = min(broken, key=lambda found: found[0])
            raise DataError(f"{len(broken):,} of {len(rows):,} images cannot be used. The first: {error}")
        pixels.flush()
        meta = {
            "fingerprint": fingerprint,
            "train": len(source.train),
            "sizes": sizes.tolist(),
            "classes": source.classes,
            "labels": [row.category for row in rows],
            "names": [Path(row.path).name for row in rows],
        }
        with open(temporary, "ab") as file:
            text = json.dumps(meta).encode()
            file.write(text + len(text).to_bytes(8, "little") + _MARK)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is damaged ({error}): delete it, and it is built again.") from error
    return torch.from_numpy(pixels), meta


def _split(name, pixels, meta, seed):
    """Set the training, held-out and test images apart."""
    labels, (widths, heights) = np.array(meta["labels"]), np.array(meta["sizes"]).T
    train, test = np.arange(meta["train"]), np.arange(meta["train"], len(labels))
    if len(test) and (labels[test] >= 0).all():
        heldout, split = test, f"{len(test):,} labelled test images"
    else:
        shuffled = draws.order(seed, 0, 0, len(train))
        heldout = np.sort(
            np.concatenate(
                [
                    of_class[: -(-len(of_class) // HELDOUT_SHARE) if len(of_class) > 1 else 0]  # never its only one
                    for of_class in (shuffled[labels[shuffled] == category] for category in np.unique(labels[train]))
                ]
            )
        )
        train, split = (
            np.setdiff1d(train, heldout),
            f"{len(heldout):,} images taken out of the training images (1 in 10 of each class, drawn from seed {seed})",
        )

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
