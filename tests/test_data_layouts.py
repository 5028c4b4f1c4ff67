"""CIFAR-100 and Tiny ImageNet as published, in small."""

import hashlib
import json
import os
import pickle

import numpy as np
import pytest
from data_sets import ARCHIVES, SETTINGS, png, write_zip
from torchvision.datasets import CIFAR100

from course_lib.data import manifest
from course_lib.data.bank import open_data
from course_lib.errors import DataError


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """Makes an archive, as if it had been downloaded, the only data set of the manifest: `mine`."""

    def publish(layout, file, write, contents):
        (tmp_path / "data").mkdir(exist_ok=True)
        path = write(tmp_path / "data" / file, contents)
        md5 = hashlib.md5(path.read_bytes()).hexdigest()
        entry = {"layout": layout, "archive": {"file": file, "md5": md5}}
        monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "data_manifest.json")
        manifest.MANIFEST.write_text(json.dumps({"mine": entry}))

    return publish


def cifar_part(count, first=0):
    pixels = np.random.default_rng(first).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": pixels, "fine_labels": [(first + i) % 100 for i in range(count)]}


@pytest.fixture
def cifar(publish, monkeypatch):
    """CIFAR-100's python version, each class with two training images and one test image."""
    parts = {"meta": {"fine_label_names": [f"class_{i}" for i in range(100)]}}
    parts |= {"train": cifar_part(200), "test": cifar_part(100, first=7)}
    files = {name: pickle.dumps(value) for name, value in parts.items()}
    sums = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": sums["meta"]})

    def cifar(**changed):
        archive = {f"cifar-100-python/{name}": data for name, data in (files | changed).items()}
        publish("cifar100", "cifar-100-python.tar.gz", ARCHIVES["mine.tar.gz"], archive)

    return cifar


def test_cifar100_by_name(cifar, tmp_path):
    cifar()
    bank = open_data("mine", SETTINGS, tmp_path)
    assert (len(bank.train), len(bank.heldout)) == (160, 80)
    assert bank.classes == [f"class {i}" for i in range(80)]
    kept = [i for i in range(200) if i % 100 < 80]  # of the 200 training images, in their order
    assert bank.train.labels.tolist() == [i % 100 for i in kept]
    pixels = cifar_part(200)["data"].reshape(200, 3, 32, 32).transpose(0, 2, 3, 1)[kept]
    assert np.array_equal(
        bank.train.batch(range(160)).numpy(), pixels
    )  # every pixel, at CIFAR's own size
    assert os.listdir(tmp_path / "data") == ["cifar-100-python.tar.gz"]  # nothing else is unpacked


class Evil:
    def __reduce__(self):
        return open, ("executed", "w")


def test_a_pickle_that_is_not_cifars_is_never_loaded(cifar, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cifar(train=pickle.dumps({"data": Evil(), "fine_labels": [0]}))
    with pytest.raises(DataError, match="[Cc]orrupted|damaged"):
        open_data("mine", SETTINGS, tmp_path)
    assert not (tmp_path / "executed").exists() and not list(tmp_path.rglob("*.npy"))


def tiny_imagenet_files(classes=90):
    """The tree of tiny-imagenet-200.zip in small: {path: bytes}."""
    wnids = [f"n{(i * 37) % classes:08d}" for i in range(classes)]  # not in their order
    files = {
        "wnids.txt": "\n".join(wnids),
        "words.txt": "\n".join(f"{wnid}\tname of {wnid}, more" for wnid in wnids),
    }
    for wnid in wnids:
        for i in range(2):
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = png(int(wnid[1:]) * 10 + i)
        files[f"train/{wnid}/{wnid}_boxes.txt"] = ""
    for i, _ in enumerate(wnids):
        files[f"val/images/val_{i}.JPEG"] = png(5000 + i)
    files["val/val_annotations.txt"] = "".join(
        f"val_{i}.JPEG\t{wnid}\t0\t0\t62\t62\n" for i, wnid in enumerate(wnids)
    )
    files["test/images/test_0.JPEG"] = png(9000)
    return {
        f"tiny-imagenet-200/{name}": x.encode() if isinstance(x, str) else x
        for name, x in files.items()
    }


def test_tiny_imagenet_by_name(publish, tmp_path):
    publish("tiny-imagenet", "tiny-imagenet-200.zip", write_zip, tiny_imagenet_files())
    bank = open_data("mine", SETTINGS, tmp_path)
    assert (len(bank.train), len(bank.heldout)) == (160, 80)
    assert bank.classes[:2] == [
        "name of n00000000, more",
        "name of n00000001, more",
    ]  # sorted by wnid
    assert bank.train.names[2] == "n00000001/images/n00000001_0.JPEG"
    assert bank.train.labels.tolist() == [i // 2 for i in range(160)]
    assert sorted(bank.heldout.labels.tolist()) == list(range(80))
