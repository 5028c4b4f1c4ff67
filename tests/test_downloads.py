"""Downloads for real, over HTTP on loopback: nothing wrong ever stands under a final name."""

import hashlib
import http.server
import json
import os
import pickle
import socket
import threading

import numpy as np
import pytest
from data_sets import (
    cifar_files,
    cifar_part,
    python2_pickle,
    tiny_imagenet_files,
    write_tar,
    write_zip,
)

from course_lib import downloads, manifest, open_bank, open_course
from course_lib.errors import DataError
from course_lib.sources import open_source


class Mirror(http.server.BaseHTTPRequestHandler):
    """Serves `server.body` in the way that the first part of the address asks for."""

    def do_GET(self):
        self.server.asked.append(self.path)
        body, way = self.server.body, self.path.split("/")[1]
        if way == "busy":
            self.send_error(503)
            return
        if way == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        if way == "page":
            body = b"<html>Please log in</html>"
        length = {"claims-more": len(body) + 1000, "claims-less": len(body) - 10}.get(way, len(body))
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if way == "breaks-off":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif way == "silent":
            self.server.waited_in_vain = not self.server.released.wait(20)
        else:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads = True
    server.asked, server.body, server.released, server.waited_in_vain = [], b"", threading.Event(), False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def entry_for(server, body, ways, layout="report", file="data.zip", **more):
    server.body = body
    base = f"http://127.0.0.1:{server.server_address[1]}"
    return {
        "title": "Test data",
        "licence": "none",
        "terms": "none",
        "source": "https://example.org/data",
        "classes": 80,
        "layout": layout,
        "archive": {
            "file": file,
            "bytes": len(body),
            "md5": hashlib.md5(body).hexdigest(),
            "mirrors": [f"{base}/{way}/{file}" for way in ways],
        },
    } | more


BODY = b"PK" + os.urandom(300_000)
BAD_WAYS = ["busy", "wrong", "page", "claims-less", "breaks-off"]


@pytest.mark.parametrize("bad", BAD_WAYS)
def test_after_a_bad_mirror_comes_the_next(server, tmp_path, bad, capsys):
    entry = entry_for(server, BODY, [bad, "good"])
    path = downloads.fetch(entry, tmp_path)
    assert path.read_bytes() == BODY and os.listdir(tmp_path) == ["data.zip"]
    assert [way.split("/")[1] for way in server.asked] == [bad, "good"]
    captured = capsys.readouterr()
    assert "127.0.0.1" in captured.out  # it is said which mirror failed
    assert "%|" in captured.err  # and progress was shown


@pytest.mark.parametrize("bad", BAD_WAYS)
def test_where_every_mirror_is_bad_nothing_stays_and_the_message_says_what_to_put_where(server, tmp_path, bad):
    entry = entry_for(server, BODY, [bad, bad])
    with pytest.raises(DataError) as failure:
        downloads.fetch(entry, tmp_path)
    assert os.listdir(tmp_path) == []
    assert str(tmp_path / "data.zip") in str(failure.value) and "https://example.org/data" in str(failure.value)


def test_a_wrong_checksum_is_said_and_the_file_deleted(server, tmp_path, capsys):
    with pytest.raises(DataError):
        downloads.fetch(entry_for(server, BODY, ["wrong"]), tmp_path)
    said = capsys.readouterr().out
    assert "md5" in said and "deleted" in said and os.listdir(tmp_path) == []


def test_a_mirror_that_falls_silent_is_given_up(server, tmp_path, monkeypatch):
    monkeypatch.setattr(downloads, "PATIENCE", 0.2)
    assert downloads.fetch(entry_for(server, BODY, ["silent", "good"]), tmp_path).read_bytes() == BODY
    assert not server.waited_in_vain
    assert socket.getdefaulttimeout() is None  # nobody else's connections have changed


def test_a_mirror_nobody_listens_at(server, tmp_path):
    entry = entry_for(server, BODY, ["good"])
    entry["archive"]["mirrors"].insert(0, "http://127.0.0.1:9/data.zip")
    assert downloads.fetch(entry, tmp_path).read_bytes() == BODY


def test_an_interrupted_download_leaves_nothing(tmp_path, monkeypatch, server):
    def interrupted(address, path, **options):
        with open(path, "wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(downloads.torch.hub, "download_url_to_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        downloads.fetch(entry_for(server, BODY, ["good"]), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_mirror_that_announces_more_than_it_sends_has_sent_all_the_same(server, tmp_path):
    assert downloads.fetch(entry_for(server, BODY, ["claims-more"]), tmp_path).read_bytes() == BODY


def test_what_is_there_is_not_downloaded_again(server, tmp_path):
    entry = entry_for(server, BODY, ["good"])
    downloads.fetch(entry, tmp_path)
    downloads.fetch(entry, tmp_path)
    assert len(server.asked) == 1


def test_no_space_is_said_before_anything_is_asked_for(server, tmp_path):
    entry = entry_for(server, BODY, ["good"])
    entry["archive"]["bytes"] = 10**18
    with pytest.raises(DataError, match="space"):
        downloads.fetch(entry, tmp_path)
    assert server.asked == []


# ---- by name, from the manifest to the bank


@pytest.fixture
def course_of(tmp_path, monkeypatch):
    """A function from a manifest's entry to the course that asks for it by name."""
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COURSE_PRESET", "smoke")
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "data_manifest.json")

    def course_of(entry):
        (tmp_path / "data_manifest.json").write_text(json.dumps({"some-data": entry}))
        return open_course("some-data")

    return course_of


def cifar_entry(server, tmp_path, ways=("good",), files=None, **more):
    body = write_tar(tmp_path / "made.tar.gz", files or cifar_files(), "w:gz").read_bytes()
    counts = {"train": 160, "heldout": 80, "image_size": [32, 32]}
    return entry_for(server, body, ways, "cifar100", "cifar-100-python.tar.gz", **counts | more)


def test_cifar100_by_name(server, tmp_path, course_of):
    course = course_of(cifar_entry(server, tmp_path, ["busy", "good"]))
    bank = open_bank(course)
    assert (len(bank.train), len(bank.heldout)) == (160, 80)
    assert bank.classes == [f"class {i}" for i in range(80)]
    kept = [i for i in range(200) if i % 100 < 80]  # of the 200 training images, in their order
    assert bank.train.labels.tolist() == [i % 100 for i in kept]
    pixels = cifar_part(200)[b"data"].reshape(200, 3, 32, 32).transpose(0, 2, 3, 1)[kept]
    assert np.array_equal(bank.train.batch(range(160)).numpy(), pixels)  # every pixel, at CIFAR's own size
    assert not list((tmp_path / "home").rglob("*.ppm"))  # straight into the bank


def test_tiny_imagenet_by_name(server, tmp_path, course_of):
    body = write_zip(tmp_path / "made.zip", tiny_imagenet_files()).read_bytes()
    counts = {"train": 160, "heldout": 80, "image_size": [9, 7]}
    entry = entry_for(server, body, ["good"], "tiny-imagenet", "tiny-imagenet-200.zip", **counts)
    bank = open_bank(course_of(entry))
    assert (len(bank.train), len(bank.heldout)) == (160, 80)
    assert bank.classes[:2] == ["name of n00000000, more", "name of n00000001, more"]  # sorted by wnid
    assert bank.train.names[2:4] == ["n00000001_0.JPEG", "n00000001_1.JPEG"]
    assert bank.train.labels.tolist() == [i // 2 for i in range(160)]
    assert (bank.heldout.labels.bincount() == 1).all()


def test_the_counts_must_be_the_manifests(server, tmp_path, course_of):
    with pytest.raises(DataError, match="160 training images, not 161"):
        open_bank(course_of(cifar_entry(server, tmp_path, train=161)))


def test_a_file_put_there_by_hand_is_verified_and_kept(server, tmp_path, course_of):
    course = course_of(cifar_entry(server, tmp_path))
    by_hand = tmp_path / "home" / "data" / "cifar-100-python.tar.gz"
    by_hand.parent.mkdir(parents=True)
    by_hand.write_bytes(b"\x1f\x8bsomething else")
    with pytest.raises(DataError, match="cifar-100-python.tar.gz has 16 bytes"):
        open_bank(course)
    assert by_hand.read_bytes() == b"\x1f\x8bsomething else"  # the reader's file is the reader's
    by_hand.write_bytes(server.body)
    assert len(open_bank(course).train) == 160
    assert server.asked == []


# ---- CIFAR's pickle


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_not_loaded_before_its_checksum_matched(server, tmp_path, course_of, monkeypatch):
    course = course_of(cifar_entry(server, tmp_path))
    wrong = tmp_path / "home" / "data" / "cifar-100-python.tar.gz"
    wrong.parent.mkdir(parents=True)
    wrong.write_bytes(server.body[:-1] + bytes([server.body[-1] ^ 1]))  # same size, another sum
    loaded = []
    monkeypatch.setattr("course_lib.published._unpickled", lambda *args: loaded.append(args))
    with pytest.raises(DataError, match="md5"):
        open_bank(course)
    assert loaded == []


def test_a_pickle_that_wants_to_run_something_is_refused(server, tmp_path, course_of):
    mark = tmp_path / "executed"
    files = cifar_files(train=pickle.dumps({b"data": Evil(str(mark)), b"fine_labels": [0]}, 3))
    with pytest.raises(DataError, match="open"):
        open_bank(course_of(cifar_entry(server, tmp_path, files=files)))
    assert not mark.exists() and not list((tmp_path / "home").rglob("*.npy"))


@pytest.mark.parametrize(
    "train",
    [
        b"",
        b"no pickle",
        python2_pickle([1, 2]),
        python2_pickle({b"data": 1, b"fine_labels": [0]}),
        python2_pickle(cifar_part(3) | {b"fine_labels": [1, 2]}),
        python2_pickle(cifar_part(3) | {b"data": np.zeros((3, 10), np.uint8)}),
        python2_pickle(cifar_part(3) | {b"fine_labels": [0, -1, 5]}),
        python2_pickle(cifar_part(3) | {b"fine_labels": ["a", None, 5]}),
    ],
)
def test_a_malformed_pickle_is_named(tmp_path, train):
    path = write_tar(tmp_path / "cifar.tar.gz", cifar_files(train=train), "w:gz")
    with pytest.raises(DataError, match="CIFAR-100"):
        open_source(path, {"layout": "cifar100"})


@pytest.mark.parametrize("lost", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_tiny_imagenet_without_its_lists_is_named(tmp_path, lost):
    files = tiny_imagenet_files(classes=3)
    del files[f"tiny-imagenet-200/{lost}"]
    with pytest.raises(DataError, match=lost):
        open_source(write_zip(tmp_path / "tiny.zip", files), {"layout": "tiny-imagenet"})
