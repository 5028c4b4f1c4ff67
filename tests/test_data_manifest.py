"""`data_manifest.json`: real downloads over loopback, from good and bad mirrors; your own paths."""

import hashlib
import http.server
import json
import os
import socket
import threading
from pathlib import Path

import jsonschema
import pytest
from data_sets import SETTINGS, write_folder

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
        if way == "silent":
            self.server.closing.wait()
            return
        body = {
            "wrong": body[:-1] + bytes([body[-1] ^ 1]),
            "page": b"<html>Please log in</html>",
            "longer": body + bytes(100),
        }.get(way, body)
        self.send_response(200)
        if way != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if way == "breaks-off":
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
        elif way == "stops":
            self.wfile.write(body[: len(body) // 2])
            self.server.closing.wait()
        elif way == "drips":
            while not self.server.closing.wait(0.05):
                self.wfile.write(b"x")
        elif way == "endless":
            while True:  # until the other side has had enough
                self.wfile.write(bytes(1 << 16))
                self.server.sent += 1 << 16
        else:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # the other side has hung up
    server.asked = []
    server.body = BODY
    server.sent = 0
    server.closing = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.closing.set()
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


BAD = ["busy", "wrong", "page", "breaks-off", "longer", "endless", "silent", "stops", "drips"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(manifest, "PATIENCE_SECONDS", 1)


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
        assert os.listdir(tmp_path / "data") == []
    by_hand = tmp_path / "data" / "data.zip"
    assert str(by_hand) in str(failure.value) and ENTRY["source"] in str(failure.value)
    by_hand.write_bytes(BODY)
    server.asked.clear()
    assert locate(tmp_path) == by_hand and server.asked == []


def test_a_mirror_that_never_stops_sending_is_stopped(server, serve, tmp_path):
    serve("endless", "good")
    assert locate(tmp_path).read_bytes() == BODY
    assert server.sent < 100 * len(BODY)  # what fits into the buffers of the two sides


def test_a_file_that_is_wrong_is_replaced(serve, tmp_path):
    serve("good")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "data.zip").write_bytes(b"half of it")
    assert locate(tmp_path).read_bytes() == BODY


def test_a_full_disk_is_not_blamed_on_the_mirror(server, serve, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    serve("good", "good")
    with pytest.raises(DiskError, match="data.zip"):
        locate(tmp_path)
    assert server.asked == ["good"]


# --- the manifest

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
        None,
        False,
    )


@pytest.mark.parametrize("beside", [None, "a folder", "a file"])
def test_a_built_in_name_that_is_also_a_path_is_said(tmp_path, monkeypatch, capsys, beside):
    if beside == "a folder":
        (tmp_path / "shapes").mkdir()
    elif beside == "a file":
        (tmp_path / "shapes").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(manifest.shapes, "generate", lambda folder, *numbers: folder / "built-in")
    found = manifest.locate("shapes", SETTINGS, tmp_path / "home")
    assert found.path == tmp_path / "home" / "data" / "built-in"
    assert ("./shapes" in capsys.readouterr().out) == (beside is not None)
    if beside:
        assert manifest.locate("./shapes", SETTINGS, tmp_path / "home").path == tmp_path / "shapes"


def test_a_dot_is_the_folders_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(write_folder(tmp_path / "mine" / "inner", {"a": b""}))
    assert [manifest.locate(dots, SETTINGS, tmp_path)[1] for dots in (".", "..")] == [
        "inner",
        "mine",
    ]


@pytest.mark.parametrize(
    "path", ["~nobody-of-this-name/x", "a\0b", "x" * 5000, "d/" * 3000, "loop/x"]
)
def test_a_path_that_no_system_can_open_is_a_named_error(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError):
        open_data(path, SETTINGS, tmp_path / "home")


def test_a_name_with_escape_sequences_is_not_printed_as_it_is(tmp_path):
    with pytest.raises(DataError) as failure:
        open_data("\x1b[2J", SETTINGS, tmp_path)
    assert str(failure.value).isprintable()
