"""The report's two data sets, image by image (1.C, 1.D), and what reading a folder of strangers' images takes."""

import json
import os
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from .errors import DataError

CLASSES = 80
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
MAX_PIXELS = 100_000_000  # more is taken for a decompression bomb


class MyDataset(Dataset):
    """The labelled training images: `(image, label)`, in the order of `answer.json`. Source: report 1.C.

    meta_path: the `answer.json`. root_dir: the folder of its images. transform: PIL image → anything; None gives a
    float32 tensor (3, H, W) in [0, 1]. Raises DataError, with the row, where `answer.json` is malformed or an image
    is unreadable.
    """

    def __init__(self, meta_path, root_dir, transform=None):
        self.root_dir, self.transform = Path(root_dir), transform or to_tensor
        try:
            text = Path(meta_path).read_bytes()
        except OSError as error:
            raise DataError(
                f"{meta_path} cannot be read ({error.strerror}). It lists the training images and their "
                "classes; the path is MyDataset's first argument."
            ) from error
        self.rows = read_answer(text, Path(meta_path).name)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        file_name, category = self.rows[index]
        image = upright_rgb(self.root_dir / file_name, f"{file_name} (row {range(len(self))[index]} of the answers)")
        return self.transform(image), category


class MyDatasett(Dataset):
    """The test images, without labels: `(image, file_name)`, in natural order (2 before 10). Source: report 1.D, its
    spelling.

    meta_path is not read (the report's signature has it). Files that are no images are left out and listed in
    `skipped`.
    """

    def __init__(self, meta_path, root_dir, transform=None):
        self.root_dir, self.transform = Path(root_dir), transform or to_tensor
        try:
            names = [entry.name for entry in os.scandir(root_dir) if entry.is_file()]
        except OSError as error:
            raise DataError(
                f"{root_dir} cannot be listed ({error.strerror}). It should be the folder of the test images."
            ) from error
        self.file_names, self.skipped = images_among(names)

    def __len__(self):
        return len(self.file_names)

    def __getitem__(self, index):
        file_name = self.file_names[index]
        return self.transform(upright_rgb(self.root_dir / file_name, file_name)), file_name


def to_tensor(image):
    """PIL image → float32 tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)


def natural_order(name):
    """Sort key by which `2.jpg` stands before `10.jpg`, whatever else a name contains."""
    return [(part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in re.split(r"(\d+)", name)]


def images_among(names):
    """Names → (images in natural order, everything else), told apart by suffix; hidden files (`.`, `._`) are no
    images."""
    names = sorted(names, key=natural_order)
    images = [name for name in names if is_image_name(name)]
    return images, [name for name in names if not is_image_name(name)]


def is_image_name(name):
    """Does this file name look like an image's?"""
    name = PurePosixPath(name).name
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def read_answer(text, where="answer.json"):
    """Read the labels: `{"annotations": [{"file_name": "…", "category": 0…79}, …]}` → [(file_name, category), …].

    text: bytes or str. where: the name used in messages. Raises DataError that names the row (counted from 0).
    """
    try:
        rows = json.loads(text)["annotations"]
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where} is not JSON ({error}). It should read "
            '{"annotations": [{"file_name": "0.jpg", "category": 0}, …]}.'
        ) from error
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(
            f'{where} has no "annotations". It should read '
            '{"annotations": [{"file_name": "0.jpg", "category": 0}, …]}.'
        ) from error
    if not isinstance(rows, list) or not rows:
        raise DataError(f'{where}: "annotations" should be a list of at least one row, not {_short(rows)}.')
    answer = [(_file_name(row, f"{where}, row {i}"), _category(row, f"{where}, row {i}")) for i, row in enumerate(rows)]
    name, count = Counter(name for name, _ in answer).most_common(1)[0]
    if count > 1:
        second = [i for i, row in enumerate(answer) if row[0] == name][1]
        raise DataError(f"{where}, row {second}: {name} has a row already. Keep one row for each image.")
    return answer


def _file_name(row, where):
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str) or not row["file_name"]:
        raise DataError(f'{where}: needs a "file_name" and a "category", but is {_short(row)}.')
    name = row["file_name"]
    if not is_safe(name):
        raise DataError(
            f"{where}: {_short(name)} leads out of the data folder. Names are relative to it, without '..'."
        )
    return name


def is_safe(name):
    """Does this relative path stay inside its folder on every system? (No `..`, no drive, no leading slash, no
    NUL.)"""
    return not ("\\" in name or "\0" in name or ":" in name or name.startswith("/") or ".." in name.split("/"))


def _category(row, where):
    category = row.get("category")
    if isinstance(category, bool) or not isinstance(category, int):
        raise DataError(
            f'{where}: "category" should be a whole number from 0 to {CLASSES - 1}, not {_short(category)}.'
        )
    if not 0 <= category < CLASSES:
        raise DataError(
            f"{where}: category {_short(category)} is outside 0–{CLASSES - 1}. "
            "The report's classes start at 0; if yours start at 1, subtract one."
        )
    return category


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def upright_rgb(file, name):
    """Open an image of any mode and return it as RGB, turned as its EXIF says.

    file: a path or a binary file. name: what it is called in messages. Raises DataError where it cannot be decoded.
    """
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"{name} has {image.width} × {image.height} pixels, more than {MAX_PIXELS:,}: "
                    "make it smaller, or take it out of the data set."
                )
            image = ImageOps.exif_transpose(image)
            if image.mode.startswith("I"):  # 16 bits a pixel; convert() alone would cut off, not scale
                image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
            return image.convert("RGB")
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"{name} is missing: the answers list it, but there is no such file.") from error
    except Exception as error:  # Pillow raises what its decoders raise (OSError, SyntaxError, struct.error, …)
        raise DataError(
            f"{name} cannot be decoded as an image ({error}). Replace it, or remove it and its row."
        ) from error
