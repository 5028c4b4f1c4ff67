"""Two data sets as their authors published them, read into the course's rows: CIFAR-100 and Tiny ImageNet.

A layout takes the archive's Contents and returns (training rows, test rows, 80 class names, read); a row is
(path, category, where it was read).
"""

import io
import pickle

import numpy as np

from .datasets import CLASSES, natural_order
from .errors import DataError

_SIDE = 32  # CIFAR's images, in pixels


def cifar100(contents):
    """The "python version": three pickles, with the images as rows of 3 × 32 × 32 bytes; its first 80 fine classes.

    The archive's checksum has been compared before anything gets here. Source: cs.toronto.edu/~kriz/cifar.html.
    """
    try:
        names = [name.decode() for name in _unpickled(contents, "meta")[b"fine_label_names"]]
        parts = {part: _cifar_part(contents, part) for part in ("train", "test")}
        classes = [name.replace("_", " ") for name in names[:CLASSES]]
        if len(classes) < CLASSES:
            raise ValueError(f"it names {len(classes)} classes")
    except DataError:
        raise
    except Exception as error:  # unpickling raises whatever the bytes lead to
        raise DataError(f"{contents.path.name} is not CIFAR-100's python version ({error!r}).") from error

    def read(path):
        part, number = path.split("/")
        pixels = parts[part][0][int(number.removesuffix(".ppm"))].reshape(3, _SIDE, _SIDE).transpose(1, 2, 0)
        return b"P6 %d %d 255\n" % (_SIDE, _SIDE) + pixels.tobytes()  # an image file of the plainest kind

    return *([row for row in parts[part][1] if row[1] < CLASSES] for part in ("train", "test")), classes, read


def _cifar_part(contents, part):
    """(pixels: uint8 (n, 3072); the rows of all 100 classes)"""
    found = _unpickled(contents, part)
    pixels, labels = found[b"data"], [int(label) for label in found[b"fine_labels"]]
    if pixels.dtype != np.uint8 or pixels.shape != (len(labels), 3 * _SIDE**2) or min(labels) < 0:
        raise ValueError(f"{part} holds {pixels.shape} {pixels.dtype} and {len(labels)} labels")
    rows = [(f"{part}/{i:05d}.ppm", label, f"image {i} of {part}") for i, label in enumerate(labels)]
    return pixels, rows


class _Restricted(pickle.Unpickler):
    """Builds arrays of numbers, lists, dicts and strings, and nothing else: a pickle could run any program."""

    _reconstruct = np.empty(0).__reduce__()[0]  # wherever this NumPy keeps it
    _ALLOWED = {
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    }

    def find_class(self, module, name):
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which data has no use for")
        return self._ALLOWED[module, name]


def _unpickled(contents, name):
    return _Restricted(io.BytesIO(contents.read(name)), encoding="bytes").load()


def tiny_imagenet(contents):
    """The public zip: wnids.txt, words.txt, train/<wnid>/images/, val/images/ with val_annotations.txt; the first 80
    wnids, sorted, in that order. The labelled validation images are the test images. Source: cs231n.stanford.edu."""
    try:
        wnids = sorted(contents.read("wnids.txt").decode().split())[:CLASSES]
        words = dict(line.split("\t", 1) for line in contents.read("words.txt").decode().splitlines() if "\t" in line)
        annotations = [line.split("\t")[:2] for line in contents.read("val/val_annotations.txt").decode().splitlines()]
        category, present = {wnid: i for i, wnid in enumerate(wnids)}, set(contents.names)
        train = [
            (name, category[parts[1]], name)
            for name in sorted(contents.names, key=natural_order)
            if len(parts := name.split("/")) == 4 and parts[0] == "train" and parts[1] in category
        ]
        test = [
            (f"val/images/{name}", category[wnid], f"{name} (val_annotations.txt, row {row})")
            for row, (name, wnid) in enumerate(annotations)
            if wnid in category and f"val/images/{name}" in present
        ]
    except (KeyError, ValueError) as error:
        raise DataError(f"{contents.path.name} is not Tiny ImageNet as it was published ({error!r}).") from error
    return train, test, [words.get(wnid, wnid) for wnid in wnids], contents.read


LAYOUTS = {"cifar100": cifar100, "tiny-imagenet": tiny_imagenet}
