"""The image bank: every image of a data set, decoded once and kept as uint8 pixels."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from ..errors import DataError
from ..storage.mounts import drive_root
from . import draws
from .archives import Files, fingerprint
from .bank_file import BankDamaged, BankMissing, Contents, build_bank, read_bank
from .findings import report_leaks
from .images import upright_rgb
from .layouts import read_source
from .manifest import Located, locate
from .split import split_training

if TYPE_CHECKING:
    from ..settings import Settings

MOST_ERRORS = 10  # that are shown about images that are left out
CHUNK = 1024  # images that are copied at once where all are needed: memory stays flat


@dataclass(frozen=True)
class Images:
    """Some images of a bank, such as the training images."""

    pixels: torch.Tensor  # uint8 (all, side, side, 3), memory-mapped or on a device
    rows: torch.Tensor  # int64 (n,), which of the pixels belong to these images
    labels: torch.Tensor  # int64 (n,), −1 if unknown
    widths: np.ndarray  # int64 (n,), of the originals, in pixels
    heights: np.ndarray
    names: list[str]  # paths relative to train_data/ or test_data/
    classes: list[str]  # their names

    def __len__(self) -> int:
        return len(self.rows)

    def subset(self, indices: Sequence[int] | np.ndarray | torch.Tensor) -> Images:
        """The images at these positions, in that order; pixels aren't copied.

        indices: ints, or a mask of `len(self)` bools.
        """
        if len(indices) == 0:  # NumPy would take an empty list for floats
            chosen = np.array([], dtype=np.int64)
        else:
            chosen = np.arange(len(self))[np.asarray(indices)]
        return replace(
            self,
            rows=self.rows[chosen],
            labels=self.labels[chosen],
            widths=self.widths[chosen],
            heights=self.heights[chosen],
            names=[self.names[position] for position in chosen.tolist()],
        )

    def take(self, count: int, seed: int = 0) -> Images:
        """`count` images drawn without replacement, always the same for a seed.

        All of them, shuffled, if there are fewer.
        """
        return self.subset(draws.order(seed, 0, 0, len(self))[:count])

    def of_each_class(self, first: int, last: int, seed: int = 0) -> Images:
        """Images number `first` to `last - 1` of each class, shuffled by a seed."""
        chosen = []
        for of_this_class in self._shuffled_classes(seed):
            chosen.extend(of_this_class[first:last])
        return self.subset(chosen)

    def sample(self, count: int, seed: int = 0) -> Images:
        """About `count` images: of each class the same share, but at least one, drawn by a seed."""
        chosen = []
        for of_this_class in self._shuffled_classes(seed):
            wanted = max(1, len(of_this_class) * count // len(self))
            chosen.extend(of_this_class[:wanted])
        return self.subset(chosen)

    def _shuffled_classes(self, seed: int) -> list[np.ndarray]:
        """The positions of each class's images, int64, shuffled by a seed."""
        shuffled = draws.order(seed, 0, 0, len(self))
        labels = self.labels[shuffled].numpy()
        return [shuffled[labels == category] for category in np.unique(labels)]

    def batch(self, indices: Sequence[int] | torch.Tensor) -> torch.Tensor:
        """The pixels at some positions: uint8 (B, side, side, 3), on the pixels' device.

        indices: int64 (B,).
        """
        rows = self.rows[indices]
        if self.pixels.is_cuda:
            rows = rows.pin_memory()  # CUDA then copies without waiting
        return self.pixels.index_select(0, rows.to(self.pixels.device, non_blocking=True))

    def resident(self, device: torch.device) -> Images:
        """The same images with their pixels on a CUDA `device`.

        Only if they fill at most a third of its free memory; otherwise, and on the CPU, it's
        these images.
        """
        if device.type != "cuda":
            return self
        needed = len(self) * self.pixels[0].numel()
        free, _ = torch.cuda.mem_get_info(device)
        if needed > free // 3:
            return self
        parts = [self.batch(part).to(device) for part in torch.arange(len(self)).split(CHUNK)]
        return replace(self, pixels=torch.cat(parts), rows=torch.arange(len(self)))

    def content_digest(self) -> str:
        """The hex SHA-256 of all that training sees of these images, in order.

        That's names, labels, the originals' sizes and pixels. It's the same on every machine and
        device.
        """
        side = self.pixels.shape[1]
        facts = [self.names, self.labels.tolist(), self.widths.tolist(), self.heights.tolist()]
        digest = hashlib.sha256(json.dumps([side, *facts]).encode())
        for part in torch.arange(len(self)).split(CHUNK):
            digest.update(self.batch(part).cpu().numpy().data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Bank:
    """A data set ready for training."""

    name: str  # safe in folder names
    layout: str  # in words
    generated: bool  # whether the course has drawn the images itself
    train: Images
    validation: Images  # labelled, never trained on: choices are made on them
    heldout: Images  # the same, unless the data has both validation and labelled test images
    test: Images  # what `result.csv` is written for; may be the held-out images
    classes: list[str]
    split: str  # where the held-out images come from, in words
    # hex SHA-256 of all rows' paths, labels and file bytes in order: the same on every machine
    digest: str
    place: str  # stands for the path of your own data; "" for a data set of the course
    counts: dict[str, int]  # the name of each class → how many labelled images it has in all
    left_out: list[str]  # an error for each image that can't be read, if these may be left out
    seed: int  # of the split, and of what's sealed
    # What white is in pictures that don't say so themselves: for `from_file`.
    whites: Mapping[str, float] = field(default_factory=dict)
    sealed: Images | None = None  # in no other field; nothing is measured on them until `submit`
    # A digest of each picture that has been sealed since these images were opened → its side in
    # pixels. It's one dict for all courses that share them, in any size: what a project has sealed
    # isn't open in the course beside it.
    hidden: dict[bytes, int] = field(default_factory=dict)

    @property
    def guessing(self) -> float:
        """The share that's right by chance if each class with training images is equally likely."""
        return 1 / len(self.train.labels.unique())

    @property
    def largest_class(self) -> tuple[str, float]:
        """The class with most training images, and its share of them: what it's right to answer
        if nothing is known of an image."""
        counts = torch.bincount(self.train.labels, minlength=len(self.classes))
        largest = int(counts.argmax())
        return self.classes[largest], counts[largest].item() / len(self.train)

    @property
    def is_unequal(self) -> bool:
        """Whether always answering the largest class is noticeably better than guessing."""
        return self.largest_class[1] > 1.1 * self.guessing


def open_data(
    data: str, settings: Settings, home: str | Path, skip_unreadable: bool = False
) -> Bank:
    """Open a data set as a Bank, decoding it first if it's new or has changed.

    data: a name in `data_manifest.json`, or the path of a folder or archive. settings: size, seed,
    images_per_class. home: the folder for banks/ and data/. skip_unreadable: leave out images that
    can't be read. Raises DataError for anything wrong with the data.
    """
    located = locate(data, settings, home)
    path = located.path
    file = Path(home) / "banks" / f"{located.name}-{located.place}-{settings.size}.npy"
    home = Path(home).resolve()
    mark = fingerprint(path, home)
    if skip_unreadable:
        mark += ", readable images only"
    found = _read_or_none(file, settings.size, mark)
    if found is None:
        if path.is_dir() and drive_root(path):
            print(
                f"Reading many small files from Drive is slow. Next time, pack {path} as a .zip.",
                flush=True,
            )
        # No terminal must obey what a folder is called.
        shown = shlex.quote(str(path)) if str(path).isprintable() else "PATH"
        advice = (
            "To list all such images: print(describe_data(data)) in a notebook, or "
            f"python -m tools.describe {shown}"
        )
        with Files(path, home) as files:
            source = read_source(files, located.layout)
            build_bank(source, settings.size, file, mark, advice, skip_unreadable)
        found = read_bank(file, settings.size, mark)
    pixels, contents = found
    if contents.left_out:
        errors = "\n    ".join(contents.left_out[:MOST_ERRORS])
        count = f"{len(contents.left_out):,} of {len(contents.left_out) + len(pixels):,}"
        print(f"{count} images can't be read and are left out:\n    {errors}")
    report_leaks(contents.labels, contents.copies, contents.training, contents.validation)
    return _as_bank(pixels, contents, located, settings.seed)


def _read_or_none(file: Path, size: int, mark: str) -> tuple[np.ndarray, Contents] | None:
    """What a bank holds; None if it has to be decoded first, or again."""
    try:
        return read_bank(file, size, mark)
    except BankMissing:
        return None
    except BankDamaged as damage:
        print(f"{damage} Decoding the images again.", flush=True)
        return None


def from_file(path: str | Path, side: int, whites: Mapping[str, float] | None = None) -> Images:
    """Your own image file as Images of length 1 with label −1.

    whites: those of the data set that it's like, `Bank.whites`, if it may have 32-bit or
    floating-point values. Raises DataError if it can't be decoded, or isn't a file.
    """
    image = upright_rgb(os.path.expanduser(path), str(path), whites)
    pixels = np.array(image.resize((side, side), Image.Resampling.BILINEAR))
    return Images(
        pixels=torch.from_numpy(pixels)[None],
        rows=torch.tensor([0]),
        labels=torch.tensor([-1]),
        widths=np.array([image.width]),
        heights=np.array([image.height]),
        names=[Path(path).name],
        classes=[],
    )


def _as_bank(pixels: np.ndarray, contents: Contents, located: Located, seed: int) -> Bank:
    """The content of a bank's files as training, validation, held-out and test images."""
    labels = np.array(contents.labels, dtype=np.int64)
    images = Images(
        pixels=torch.from_numpy(pixels),
        rows=torch.arange(len(pixels)),
        labels=torch.from_numpy(labels),
        widths=np.array(contents.widths, dtype=np.int64),
        heights=np.array(contents.heights, dtype=np.int64),
        names=contents.names,
        classes=contents.classes,
    )
    # The training images come first, then validation and test images, so positions are rows.
    first_test = contents.training + contents.validation
    training = np.arange(contents.training)
    validation = np.arange(contents.training, first_test)
    test = np.arange(first_test, len(labels))
    if len(test) > 0 and (labels[test] >= 0).all():
        heldout = test
        split = "the labelled test images"
    elif len(validation) > 0:
        heldout = validation
        split = "the validation images"
    else:
        copies = np.array(contents.copies, dtype=np.int64)
        training, heldout = split_training(labels[training], copies[training], seed)
        split = f"1 in 10 training images of each class, drawn with seed {seed}"
        missing = len(np.setdiff1d(labels[training], labels[heldout]))
        if missing:
            split += f" (none of {missing:,} classes, which have only one)"
    if len(heldout) == 0:
        raise DataError(
            f"{located.name} has no labelled test images, and no class has two different images, "
            "of which one could be held out. Add images."
        )
    if len(validation) == 0:
        validation = heldout
    if len(test) == 0:
        test = heldout
    images_of = Counter(contents.labels)
    return Bank(
        name=located.name,
        layout=contents.layout,
        generated=located.generated,
        train=images.subset(training),
        validation=images.subset(validation),
        heldout=images.subset(heldout),
        test=images.subset(test),
        classes=contents.classes,
        split=split,
        digest=contents.digest,
        place="" if located.layout else located.place,
        counts={name: images_of[number] for number, name in enumerate(contents.classes)},
        left_out=contents.left_out,
        seed=seed,
        whites=contents.whites,
    )
