"""The image bank: every image of a data set decoded once, as uint8 pixels in one memory-mapped
file.

The file is a NumPy `.npy` array (images, side, side, 3), a second one of labels, widths and
heights, and JSON: names, a digest of the content. It's written completely or not at all, and
rebuilt when its source has changed.
"""

import hashlib
import io
import json
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tqdm.auto import tqdm

from ..errors import DataError
from ..storage.files import drive_root, replacing
from . import draws
from .archives import Files, fingerprint
from .images import upright_rgb
from .layouts import read_source
from .manifest import locate


@dataclass(frozen=True)
class Images:
    """Some images of a bank, such as the training images."""

    pixels: torch.Tensor  # uint8 (all, side, side, 3), memory-mapped or on a device
    rows: torch.Tensor  # int64 (n,), which of the pixels belong to these images
    labels: torch.Tensor  # int64 (n,), −1 if unknown
    widths: np.ndarray  # int64 (n,), of the originals, in pixels
    heights: np.ndarray
    names: list  # paths relative to train_data/ or test_data/
    classes: list  # 80 names

    def __len__(self):
        return len(self.rows)

    def subset(self, indices):
        """The images at these positions (int), in that order, or where a mask is True; pixels
        aren't copied."""
        indices = np.arange(len(self))[
            np.asarray(indices) if len(indices) else []
        ]  # positions, also of a mask
        picked = {
            name: getattr(self, name)[indices] for name in ("rows", "labels", "widths", "heights")
        }
        return replace(self, names=[self.names[i] for i in indices.tolist()], **picked)

    def take(self, count, seed=0):
        """`count` images drawn without replacement, always the same for a seed (all, shuffled, if
        there are fewer)."""
        return self.subset(draws.order(seed, 0, 0, len(self))[:count])

    def of_each_class(self, first, last, seed=0):
        """Images number `first` to `last - 1` of each class, shuffled, always the same for a
        seed."""
        shuffled = draws.order(seed, 0, 0, len(self))
        labels = self.labels[shuffled].numpy()
        return self.subset(
            np.concatenate(
                [shuffled[labels == category][first:last] for category in np.unique(labels)]
            )
        )

    def batch(self, indices):
        """uint8 (B, side, side, 3), on the pixels' device. indices: int64 (B,), positions in these
        images."""
        rows = self.rows[indices]
        rows = (
            rows.pin_memory() if self.pixels.is_cuda else rows
        )  # CUDA then copies without waiting
        return self.pixels.index_select(0, rows.to(self.pixels.device, non_blocking=True))

    def resident(self, device):
        """The same images with their pixels on a CUDA `device` if they fill at most a third of its
        free memory."""
        if (
            device.type != "cuda"
            or len(self) * self.pixels[0].numel() > torch.cuda.mem_get_info(device)[0] // 3
        ):
            return self
        parts = [
            self.batch(part).to(device) for part in torch.arange(len(self)).split(1024)
        ]  # host memory stays flat
        return replace(self, pixels=torch.cat(parts), rows=torch.arange(len(self)))


@dataclass(frozen=True)
class Bank:
    """A data set ready for training."""

    name: str  # safe in folder names
    train: Images
    heldout: Images  # labelled, never trained on
    test: Images  # what `result.csv` is written for; may be the held-out images
    classes: list
    split: str  # where the held-out images come from, in words
    # hex SHA-256 of all rows' paths, labels and file bytes in order: the same on every machine
    digest: str


def open_data(data, settings, home):
    """Open a data set at settings.size as a Bank, decoding it first if it's new or its source has
    changed.

    data: a name in `data_manifest.json`, or the path of a folder or archive. settings: size, seed,
    images_per_class. home: the folder for banks/ and data/. Raises DataError for anything wrong
    with the data.
    """
    path, name, layout = locate(data, settings, home)
    file = Path(home) / "banks" / f"{name}-{zlib.crc32(os.fsencode(path)):08x}-{settings.size}.npy"
    mark = fingerprint(path)
    with suppress(Exception):  # it's missing, damaged, or out of date
        return _read(file, mark, name, settings.seed)
    if path.is_dir() and drive_root(path):
        print(
            f"Reading many small files from Drive is slow. Next time, pack {path} as a .zip.",
            flush=True,
        )
    with Files(path) as files:
        build_bank(read_source(files, layout), settings.size, file, mark)
    return _read(file, mark, name, settings.seed)


def from_file(path, side):
    """Your own image file as Images of length 1 with label −1. Raises DataError if it can't be
    decoded."""
    image = upright_rgb(Path(path).expanduser(), str(path))
    pixels = torch.from_numpy(np.array(image.resize((side, side), Image.Resampling.BILINEAR)))[None]
    return Images(
        pixels,
        torch.tensor([0]),
        torch.tensor([-1]),
        *np.array(image.size)[:, None],
        [Path(path).name],
        [],
    )


def build_bank(source, side, path, mark=""):
    """Decode all images of `source` into `path`, squeezed to side × side like the report's Resize;
    raises DataError."""
    rows = [(i, *row) for part in (source.train, source.test) for i, row in enumerate(part)]
    numbers, digest = [], hashlib.sha256()
    if source.skipped:
        print(
            f"Ignoring {len(source.skipped):,} files that aren't images, such as {source.skipped[0]!r}."
        )

    def decode(row):
        i, name, category = row
        data = source.read(name)
        image = upright_rgb(io.BytesIO(data), f"{name} (row {i})")
        line = f"{name}\0{category}\0{hashlib.sha256(data).hexdigest()}\n".encode(
            "utf-8", "surrogateescape"
        )
        return (
            image.resize((side, side), Image.Resampling.BILINEAR).tobytes(),
            (category, *image.size),
            line,
        )

    with (
        ThreadPoolExecutor(16) as pool,
        replacing(path) as file,
    ):  # more than cores: on Drive, threads mostly wait
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(rows), side, side, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        parts = (
            pool.map(decode, rows[first : first + 64]) for first in range(0, len(rows), 64)
        )  # memory stays flat
        decoded = chain.from_iterable(parts)  # Pillow decodes outside the interpreter's lock
        for pixels, label_and_size, line in tqdm(
            decoded, "decoding", len(rows), unit=" images", leave=False
        ):
            file.write(pixels)
            numbers.append(label_and_size)
            digest.update(line)
        np.save(file, np.array(numbers, dtype=np.int64).T)
        meta = {
            "mark": mark,
            "train": len(source.train),
            "classes": source.classes,
            "digest": digest.hexdigest(),
        }
        file.write(
            json.dumps(meta | {"names": [name.split("/", 1)[1] for _, name, _ in rows]}).encode()
        )


def _read(path, mark, name, seed):
    """The Bank in a file of `build_bank`. Raises some exception if it's missing, damaged or has
    another `mark`."""
    pixels = np.load(
        path, mmap_mode="c"
    )  # "c" because torch wants writable memory; nothing is written
    with open(path, "rb") as file:
        file.seek(pixels.offset + pixels.nbytes)
        labels, *sizes = np.load(file)
        meta = json.loads(file.read())
    if meta["mark"] != mark:
        raise ValueError("the source has changed")
    rows = np.arange(len(pixels))
    tensors = (torch.from_numpy(array) for array in (pixels, rows, labels))
    images = Images(*tensors, *sizes, meta["names"], meta["classes"])

    train, test = rows[: meta["train"]], rows[meta["train"] :]
    if len(test) and (labels[test] >= 0).all():
        heldout, split = test, "the labelled test images"
    else:  # one in ten of each class, at least one, but never its only image
        shuffled = draws.order(seed, 0, 0, len(train))
        drawn = labels[shuffled]
        of_class = [shuffled[drawn == category] for category in np.unique(drawn)]
        heldout = np.sort(
            np.concatenate(
                [rows[: -(-len(rows) // 10) if len(rows) > 1 else 0] for rows in of_class]
            )
        )
        train, split = (
            np.setdiff1d(train, heldout),
            f"1 in 10 training images of each class, drawn with seed {seed}",
        )
        test = test if len(test) else heldout
    if not len(heldout):
        raise DataError(
            f"{name} has one image per class and no labelled test images, so none can be held out."
        )
    return Bank(
        name, *map(images.subset, (train, heldout, test)), images.classes, split, meta["digest"]
    )
