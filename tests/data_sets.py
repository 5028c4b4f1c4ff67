"""Small data sets in the true formats, for the tests of where data comes from."""

import io
import json
import tarfile
import zipfile
import zlib
from types import SimpleNamespace

import numpy as np
from PIL import Image

# What `open_data` reads of a course's settings
SETTINGS = SimpleNamespace(size=32, seed=0, images_per_class=(2, 1))


# What operating systems and programs leave beside people's files
HIDDEN = [
    *(".git", ".DS_Store", "._0.png", ".ipynb_checkpoints", ".directory", ".fuse_hidden01"),
    *("@eaDir", "#recycle", "__MACOSX", "Icon\r", "Thumbs.db", "THUMBS.DB", "ehthumbs.db"),
    *("desktop.ini", "lost+found", "~$answer.json", "System Volume Information", "$RECYCLE.BIN"),
]


def stored(image, kind="PNG", **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(seed=0, size=(9, 7), mode="RGB"):
    """The bytes of a small PNG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return stored(Image.fromarray(pixels).convert(mode))


def answers(rows):
    """The text of an answer.json."""
    return json.dumps(
        {"annotations": [{"file_name": name, "category": c} for name, c in rows]}
    ).encode()


def report_files(train=6, test=0, labelled=True, suffix=".png"):
    """{path: bytes} of a data set in the report's layout, two images per class."""
    files = {f"train_data/{i}{suffix}": png(i) for i in range(train)}
    files["answer.json"] = answers([(f"{i}{suffix}", i // 2) for i in range(train)])
    files |= {f"test_data/{i}{suffix}": png(1000 + i) for i in range(test)}
    if test and labelled:
        files["test_answer.json"] = answers([(f"{i}{suffix}", i // 2) for i in range(test)])
    return files


def class_folders(counts, inside=""):
    """{path: bytes} of a folder per class. counts: {class: number of images}; inside: "train/"."""
    files = {}
    for name, count in counts.items():
        for i in range(count):
            files[f"{inside}{name}/{i}.png"] = png(zlib.crc32(f"{inside}{name}{i}".encode()))
    return files


def write_folder(folder, files):
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
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


ARCHIVES = {
    "mine.zip": write_zip,
    "mine.tar": write_tar,
    "mine.tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
}
WRITERS = {"mine": write_folder} | ARCHIVES
