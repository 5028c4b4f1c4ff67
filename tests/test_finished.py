"""Finished networks: released from a run, downloaded over loopback into another, and adopted."""

import functools
import http.server
import json
import shutil
import socket
import threading
from pathlib import Path

import jsonschema
import pytest
import torch
from tiny import conv_model, elsewhere, same_weights

from course_lib import (
    CheckpointError,
    SettingsError,
    finished,
    open_course,
    record,
    train,
    trained_model,
)
from course_lib.data import manifest
from course_lib.experiment import Course
from course_lib.finished import adopt_model, use_finished
from tools import release

HISTORY = [{"epoch": 1, "loss": 0.5, "train_accuracy": 0.9, "heldout_accuracy": 0.4}]


@pytest.fixture
def course(course, monkeypatch, tmp_path):
    """Tiny models in place of the report's, and a manifest that the tests may write."""
    monkeypatch.setattr(Course, "new_model", lambda course: conv_model())
    path = tmp_path / "data_manifest.json"
    shutil.copy(manifest.MANIFEST, path)
    monkeypatch.setattr(manifest, "MANIFEST", path)
    return course


def adopt_both(course, tmp_path):
    """Finish stages 2 and 3 without training."""
    for number, seed in ((2, 7), (3, 8)):
        torch.save(conv_model(seed).state_dict(), tmp_path / f"{seed}.pth")
        adopt_model(course, tmp_path / f"{seed}.pth", HISTORY, number)


@pytest.fixture
def server(tmp_path):
    """Serves the files in `server.folder`, and counts in `server.asked` which were asked for."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(Path(self.path).name)
            super().do_GET()

        def log_message(self, *_):
            pass

    asked = []
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.asked, server.folder = asked, folder
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def offered(course, server, tmp_path):
    """Another course, for which finished networks are offered; nothing is trained in it yet."""
    adopt_both(course, tmp_path)
    offers = release.release(course, server.folder, server.address)
    manifest.MANIFEST.write_text(json.dumps(release.listed(course, offers)), encoding="utf-8")
    return elsewhere(course)


def edit(change):
    """Apply a function to the entry of the manifest that offers the networks."""
    content = json.loads(manifest.MANIFEST.read_bytes())
    change(content["shapes"]["finished"]["smoke"])
    manifest.MANIFEST.write_text(json.dumps(content), encoding="utf-8")


def test_finished_networks_are_stages_2_and_3_with_their_histories(offered, server):
    use_finished(offered)
    for number, seed in ((2, 7), (3, 8)):
        stage = offered.stage(number)
        assert stage.state == "finished"
        assert same_weights(trained_model(offered, number), conv_model(seed))
        model = offered.new_model() if number == 2 else trained_model(offered, 2)
        history = train(model, stage.images, stage, augmented=number == 3)  # trains nothing
        assert history == HISTORY and same_weights(model, conv_model(seed))
        measured = record(stage, model, history, {})["stages"][str(number)]
        assert f"shapes-smoke-stage-{number}-" in measured["origin"]
    use_finished(offered)  # as the next notebook does
    assert len(server.asked) == 2


def test_the_manifest_fits_its_schema_and_other_entries_stay(offered):
    written = json.loads(manifest.MANIFEST.read_bytes())
    schema = json.loads(Path(__file__).with_name("manifest_schema.json").read_bytes())
    jsonschema.validate(written, schema)
    del written["shapes"]["finished"]
    assert written == json.loads(manifest.IN_CHECKOUT.read_bytes())


def test_the_names_of_the_files_begin_their_digests_and_do_not_change(offered, course, server):
    before = sorted(path.name for path in server.folder.iterdir())
    release.release(course, server.folder, server.address)
    assert sorted(path.name for path in server.folder.iterdir()) == before
    assert len(before) == 2


def test_nothing_is_offered_today(course, environment):
    assert "finished" not in manifest.IN_CHECKOUT.read_text(encoding="utf-8")
    with pytest.raises(SettingsError, match="shapes, preset smoke"):
        use_finished(course)


def test_the_variable_asks_for_them(course, environment, monkeypatch):
    asked = []
    monkeypatch.setattr("course_lib.experiment.use_finished", asked.append)
    open_course()
    assert not asked
    environment(PRESET="smoke", PRECISION="fp32", FINISHED=1)
    open_course()
    assert len(asked) == 1
    environment(FINISHED="0")
    open_course(finished=True)
    assert len(asked) == 1


def test_another_seed_size_or_number_of_epochs_is_refused(offered):
    with pytest.raises(SettingsError, match="seed or size"):
        use_finished(offered.experiment("other", lr=0.1))
    with pytest.raises(SettingsError, match="9"):
        use_finished(offered.experiment("longer", epochs=9))
    edit(lambda entry: entry.update(identity="0" * 64))
    with pytest.raises(SettingsError):
        use_finished(offered)
    assert offered.stage(2).state is None


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def other_digest(entry):
    """The file's name still fits."""
    entry["networks"][0]["sha256"] = entry["networks"][0]["sha256"][:8] + "0" * 56


def no_server(entry):
    entry["networks"][0]["address"] = "http://127.0.0.1:9/a-00000000.pth"


@pytest.mark.parametrize("fault", ["damaged", "missing", "another", "no server", "a web page"])
def test_a_bad_download_is_an_error_and_no_stage_begins(fault, offered, server):
    [file] = server.folder.glob("*-stage-2-*")
    if fault == "damaged":
        damage(file)
    elif fault == "missing":
        file.unlink()
    elif fault == "a web page":
        file.write_bytes(b"<html>Please log in</html>")
    else:
        edit(other_digest if fault == "another" else no_server)
    with pytest.raises(CheckpointError, match="data_manifest.json|stage 2"):
        use_finished(offered)
    assert offered.stage(2).state is None and offered.stage(3).state is None
    kept = list((offered.home / "finished-networks").glob("*"))
    assert kept == []


def test_a_silent_server_is_given_up(offered, monkeypatch):
    monkeypatch.setattr(finished, "PATIENCE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        edit(lambda entry: entry["networks"][0].update(address=f"http://127.0.0.1:{port}/a-0.pth"))
        with pytest.raises(CheckpointError, match=f"{port}"):
            use_finished(offered)
    assert socket.getdefaulttimeout() is None


def test_a_damaged_file_from_an_earlier_download_is_downloaded_again(offered, server):
    use_finished(offered)
    for file in (offered.home / "finished-networks").iterdir():
        damage(file)
    offered.start_over()
    use_finished(offered)
    assert same_weights(trained_model(offered, 2), conv_model(7))
    assert len(server.asked) == 4


def test_an_adoption_that_was_interrupted_is_completed(offered):
    use_finished(offered)
    offered.stage(3).start_over()
    use_finished(offered)
    assert same_weights(trained_model(offered, 3), conv_model(8))


def test_a_stage_of_your_own_stays_and_the_finished_one_after_it_is_not_taken(
    offered, server, tmp_path, capsys
):
    torch.save(conv_model(9).state_dict(), tmp_path / "mine.pth")
    adopt_model(offered, tmp_path / "mine.pth")
    use_finished(offered)
    assert same_weights(trained_model(offered, 2), conv_model(9))
    assert offered.stage(3).state is None and not server.asked
    assert "stage 2" in capsys.readouterr().out


def test_what_is_not_finished_is_not_released(course, tmp_path):
    with pytest.raises(CheckpointError, match="Stage 2"):
        release.release(course, tmp_path / "out", "")
    adopt_both(course, tmp_path)
    course.stage(2).start_over()
    adopt_model(course, tmp_path / "8.pth")  # another one than stage 3 started from
    with pytest.raises(CheckpointError, match="stage 2"):
        release.release(course, tmp_path / "out", "")


def test_the_command_writes_the_files_and_the_manifest(course, tmp_path, monkeypatch, capsys):
    adopt_both(course, tmp_path)
    monkeypatch.setattr(release, "open_course", lambda: course)
    monkeypatch.setattr(release.notebooks, "FOLDER", tmp_path / "notebooks")
    before = manifest.MANIFEST.read_bytes()
    release.main([])
    files = sorted(path.name for path in (tmp_path / "build" / "release").iterdir())
    assert len(files) == 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in files)
    assert manifest.MANIFEST.read_bytes() == before
    for address in ("ftp://a", "https://a b", "a/b"):
        with pytest.raises(SystemExit, match="https://"):
            release.main(["--at", address])
    release.main(["--at", "https://example.org/files/"])
    networks = json.loads(manifest.MANIFEST.read_bytes())["shapes"]["finished"]["smoke"]["networks"]
    assert [network["address"] for network in networks] == [
        f"https://example.org/files/{name}" for name in files
    ]
    # Nothing else changes, not even a line's form, so that a new version can be merged.
    after = manifest.MANIFEST.read_bytes().splitlines()
    changed = set(before.splitlines()) - set(after)
    assert changed == {b'    "layout": "generated"'}  # now with a comma
