"""Data sets by name: the manifest, real downloads over loopback, and CIFAR-100 and Tiny ImageNet as
published."""

import hashlib
import http.server
import json
import os
import pickle
import socket
import threading
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from data_sets import SETTINGS, png, write_folder, write_tar, write_zip
from torchvision.datasets import CIFAR100

from course_lib.data import manifest
from course_lib.data.bank import open_data
from course_lib.errors import DataError, DiskError

BODY = b"PK" + os.urandom(300_000)
ENTRY = {
    "title": "t",
    "licence": "l",
    "terms": "t",
    "source": "https://example.org/data",
    "classes": 80,
}
GOOD = ENTRY | {
    "layout": "tiny-imagenet",
    "archive": {
        "file": "a.zip",
        "bytes": 1,
        "md5": "0" * 32,
        "mirrors": ["https://example.org/a.zip"],
    },
}


def locate(home):
    return manifest.locate("mine", SETTINGS, home)[0]


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves `server.body` the way that the first part of the address asks for."""

    def do_GET(self):
        body, way = self.server.body, self.path.split("/")[1]
        self.server.asked.append(way)
        if way == "busy":
            self.send_error(503)
            return
        body = {
            "wrong": body[:-1] + bytes([body[-1] ^ 1]),
            "page": b"<html>Please log in</html>",
        }.get(way, body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "breaks-off":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads = True
    server.asked, server.body = [], BODY
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Makes an entry the only one of the manifest, under the name `mine`."""
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "data_manifest.json")

    def use(entry):
        manifest.MANIFEST.write_bytes(json.dumps({"mine": entry}).encode())

    return use


@pytest.fixture
def serve(server, use):
    """Puts a data set of the manifest on mirrors of these kinds."""

    def serve(*ways, layout="report", file="data.zip"):
        base, body = f"http://127.0.0.1:{server.server_address[1]}", server.body
        archive = {"file": file, "bytes": len(body), "md5": hashlib.md5(body).hexdigest()}
        use(
            ENTRY
            | {
                "layout": layout,
                "archive": archive | {"mirrors": [f"{base}/{way}/{file}" for way in ways]},
            }
        )

    return serve


BAD = ["busy", "wrong", "page", "breaks-off"]


@pytest.mark.parametrize("bad", BAD)
def test_after_a_bad_mirror_comes_the_next_and_a_good_file_is_kept(
    server, serve, tmp_path, bad, capsys
):
    serve(bad, "good")
    path = locate(tmp_path)
    assert path.read_bytes() == BODY and os.listdir(tmp_path / "data") == ["data.zip"]
    assert server.asked[0] == bad and server.asked[-1] == "good"
    assert f"/{bad}/data.zip" in capsys.readouterr().out
    asked = len(server.asked)
    assert locate(tmp_path) == path and len(server.asked) == asked  # not again


@pytest.mark.parametrize("bad", BAD)
def test_if_every_mirror_is_bad_nothing_is_used_and_the_error_says_what_to_put_where(
    server, serve, tmp_path, bad
):
    serve(bad, bad)
    for _ in range(2):  # not the second time either, when something wrong may lie there
        with pytest.raises(DataError) as failure:
            locate(tmp_path)
    by_hand = tmp_path / "data" / "data.zip"
    assert str(by_hand) in str(failure.value) and ENTRY["source"] in str(failure.value)
    by_hand.write_bytes(BODY)
    server.asked.clear()
    assert locate(tmp_path) == by_hand and server.asked == []


# --- CIFAR-100 and Tiny ImageNet
# ------------------------------------------------------------------------------------


def cifar_part(count, first=0):
    pixels = np.random.default_rng(first).integers(0, 256, (count, 3072), dtype=np.uint8)
    return {"data": pixels, "fine_labels": [(first + i) % 100 for i in range(count)]}


@pytest.fixture
def cifar(server, serve, tmp_path, monkeypatch):
    """CIFAR-100's python version in small, each class with two training images and one test image,
    to download."""
    parts = {"meta": {"fine_label_names": [f"class_{i}" for i in range(100)]}}
    parts |= {"train": cifar_part(200), "test": cifar_part(100, first=7)}
    files = {name: pickle.dumps(value) for name, value in parts.items()}
    sums = {name: hashlib.md5(data).hexdigest() for name, data in files.items()}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": sums["meta"]})

    def cifar(**changed):
        archive = {f"cifar-100-python/{name}": data for name, data in (files | changed).items()}
        server.body = write_tar(tmp_path / "made.tar.gz", archive, "w:gz").read_bytes()
        serve("good", layout="cifar100", file="cifar-100-python.tar.gz")

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
    with pytest.raises(Exception, match="[Cc]orrupted|damaged"):
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


def test_tiny_imagenet_by_name(server, serve, tmp_path):
    server.body = write_zip(tmp_path / "made.zip", tiny_imagenet_files()).read_bytes()
    serve("good", layout="tiny-imagenet", file="tiny-imagenet-200.zip")
    bank = open_data("mine", SETTINGS, tmp_path)
    assert (len(bank.train), len(bank.heldout)) == (160, 80)
    assert bank.classes[:2] == [
        "name of n00000000, more",
        "name of n00000001, more",
    ]  # sorted by wnid
    assert bank.train.names[2] == "n00000001/images/n00000001_0.JPEG"
    assert bank.train.labels.tolist() == [i // 2 for i in range(160)]
    assert sorted(bank.heldout.labels.tolist()) == list(range(80))


# --- the manifest
# ---------------------------------------------------------------------------------------------------


SCHEMA = jsonschema.Draft202012Validator(
    json.loads(Path(__file__).with_name("manifest_schema.json").read_bytes())
)


def test_the_repositorys_manifest_fits_its_schema_and_has_the_four_data_sets():
    entries = json.loads(manifest.MANIFEST.read_bytes())
    SCHEMA.validate(entries)
    assert list(entries) == ["shapes", "cifar100-80", "tiny-imagenet-80", "folder"]
    assert entries["cifar100-80"]["archive"]["md5"] == "eb9058c3a382ffc7106e4002c42a8d85"
    assert entries["tiny-imagenet-80"]["archive"]["md5"] == "90528d7ca1a48142e341f4ef8d21d0de"
    assert "non-commercial" in entries["tiny-imagenet-80"]["terms"]


@pytest.mark.parametrize(
    "changes",
    [
        {"licens": "MIT"},
        {"classes": 81},
        {"layout": "tiny"},
        {"archive": GOOD["archive"] | {"md5": "xyz"}},
        *({"archive": GOOD["archive"] | {"file": value}} for value in ("../a.zip", "/etc/a", "..")),
        {"archive": GOOD["archive"] | {"mirrors": ["file:///etc/passwd"]}},
        {"archive": {"file": "a.zip"}},
    ],
)
def test_a_typo_in_the_manifest_would_be_found(changes):
    assert SCHEMA.is_valid({"mine": GOOD}) and not SCHEMA.is_valid({"mine": GOOD | changes})


def test_a_name_that_does_not_exist_is_told_those_that_do(tmp_path):
    for wrong in ("cifar-100", str(tmp_path / "my-birds"), "folder"):
        with pytest.raises(DataError, match=f"{wrong}.*shapes.*cifar100-80.*tiny-imagenet-80"):
            open_data(wrong, SETTINGS, tmp_path / "home")
    assert not (tmp_path / "home").exists()


def test_a_drive_that_is_not_mounted_is_no_missing_folder(tmp_path):
    with pytest.raises(DiskError, match="MyDrive"):
        open_data(str(tmp_path / "MyDrive" / "birds.zip"), SETTINGS, tmp_path)
    assert not (tmp_path / "MyDrive").exists()


@pytest.mark.parametrize(
    "path, name",
    [
        ("birds-v1.2.zip", "birds-v1.2"),
        ("birds.tar.gz", "birds"),
        ("birds.TGZ", "birds"),
        ("새 사진.tar", "새_사진"),
        ("a:b*c?.zip", "a_b_c_"),
    ],
)
def test_a_data_sets_name_is_safe_in_folder_names(tmp_path, path, name):
    write_folder(tmp_path, {path: b""})
    assert manifest.locate(str(tmp_path / path), SETTINGS, tmp_path) == (
        tmp_path / path,
        name,
        "report",
    )


def test_a_dot_is_the_folders_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_folder(tmp_path / "mine" / "inner", {"a": b""}))
    assert [manifest.locate(dots, SETTINGS, tmp_path)[1] for dots in (".", "..")] == [
        "inner",
        "mine",
    ]
