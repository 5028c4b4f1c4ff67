"""Small data sets in the true formats, for the tests of where data comes from."""

import io
import json
import pickle
import tarfile
import zipfile

import numpy as np
from PIL import Image


def png(seed=0, size=(9, 7), mode="RGB"):
    """The bytes of a small PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def answers(rows):
    """The text of an answer.json."""
    return json.dumps({"annotations": [{"file_name": name, "category": c} for name, c in rows]}).encode()


def report_files(train=6, test=0, labelled=True, suffix=".png"):
    """{path: bytes} of a data set in the report's layout, two images a class."""
    files = {f"train_data/{i}{suffix}": png(i) for i in range(train)}
    files["answer.json"] = answers([(f"{i}{suffix}", i // 2) for i in range(train)])
    files |= {f"test_data/{i}{suffix}": png(1000 + i) for i in range(test)}
    if test and labelled:
        files["test_answer.json"] = answers([(f"{i}{suffix}", i // 2) for i in range(test)])
    return files


def write_folder(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


class Python2Pickler(pickle._Pickler):
    """Writes strings as Python 2 did, which CIFAR's authors used: eight-bit strings without an encoding."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, data):
        self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)

    dispatch[bytes] = save_bytes

    def save_str(self, text):
        self.save_bytes(text.encode())

    dispatch[str] = save_str


def python2_pickle(value):
    file = io.BytesIO()
    Python2Pickler(file, 2).dump(value)
    return file.getvalue()


def cifar_part(count, first=0):
    random = np.random.default_rng(first)
    return {
        b"data": random.integers(0, 256, (count, 3072), dtype=np.uint8),
        b"fine_labels": [(first + i) % 100 for i in range(count)],
        b"coarse_labels": [0] * count,
        b"filenames": [b"some_s_%06d.png" % i for i in range(count)],
        b"batch_label": b"part 1 of 1",
    }


def cifar_files(**parts):
    """CIFAR-100's python version in small, each class with two training images and one test image: {path: bytes}."""
    names = [b"class_%d" % i for i in range(100)]
    contents = {
        "meta": python2_pickle({b"fine_label_names": names, b"coarse_label_names": []}),
        "train": python2_pickle(cifar_part(200)),
        "test": python2_pickle(cifar_part(100, first=7)),
    } | parts
    return {f"cifar-100-python/{name}": data for name, data in contents.items()}


def tiny_imagenet_files(classes=90, train=2, val=1):
    """The tree of tiny-imagenet-200.zip in small: {path: bytes}."""
    wnids = [f"n{(i * 37) % classes:08d}" for i in range(classes)]  # not in their order
    files = {"wnids.txt": "\n".join(wnids), "words.txt": "\n".join(f"{wnid}\tname of {wnid}, more" for wnid in wnids)}
    annotations = []
    for wnid in wnids:
        for i in range(train):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = png(int(wnid[1:]) * 10 + i)
        files[f"train/{wnid}/{wnid}_boxes.txt"] = ""
        for _ in range(val):
            name = f"val_{len(annotations)}.JPEG"
            annotations.append(f"{name}\t{wnid}\t0\t0\t62\t62")
            files[f"val/images/{name}"] = png(5000 + len(annotations))
    files["val/val_annotations.txt"] = "\n".join(annotations) + "\n"
    files["test/images/test_0.JPEG"] = png(9000)
    return {f"tiny-imagenet-200/{name}": x.encode() if isinstance(x, str) else x for name, x in files.items()}
