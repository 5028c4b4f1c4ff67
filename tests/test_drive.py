"""A Drive that fails, tears, is slow, or comes back later: training goes on, and Drive has the newest in the end."""

import errno
import os
import pickle
import shutil
import signal
import sys
import threading
import types
from dataclasses import replace

import pytest
import torch
from faults import total_size, watched
from tiny import IMAGES, STEPS, at_step, conv_model, elsewhere, linear_model, noise_images, same_weights
from tqdm.auto import tqdm

from course_lib import (
    CheckpointError,
    DataError,
    checkpoint,
    describe,
    drive,
    files,
    open_bank,
    open_course,
    train,
    workspace,
)
from course_lib.drive import Drive
from course_lib.files import write_text


@pytest.fixture
def on_drive(short, tmp_path, monkeypatch):
    """A course whose run is copied to a Drive of its own; the folder of the run there is `on_drive.drive.remote`."""
    monkeypatch.setattr(drive, "RETRY_SECONDS", 0.01)
    (tmp_path / "MyDrive").mkdir()
    return replace(short, drive=Drive(short.folder, tmp_path / "MyDrive" / "runs" / "shapes-smoke"))


def run(course, model=None):
    model = model or conv_model()
    train(model, noise_images(IMAGES), course.stage(2), augmented=True)
    return model


def stop():
    os.kill(os.getpid(), signal.SIGINT)


def new_runtime(course):
    """The same run in a runtime whose local disk is empty."""
    there = elsewhere(course)
    return replace(there, drive=Drive(there.folder, course.drive.remote))


def newest(folder):
    return max(folder.glob("checkpoint-*.pt"))


def test_drive_has_what_the_local_disk_has_and_another_runtime_goes_on_from_it(on_drive, short, capsys):
    run(on_drive, at_step(conv_model(), 5, stop))
    write_text(on_drive.folder / "results.json", '{"stages": {}}')
    assert on_drive.drive.wait()
    remote = on_drive.drive.remote
    assert newest(remote / "stage-2").read_bytes() == newest(on_drive.stage(2).folder).read_bytes()
    other = new_runtime(on_drive)
    assert "found there: stage 2 in epoch 2 of 3, after 16 of its images" in describe(other)
    assert f"copied to {remote}" in describe(other)
    assert (other.folder / "results.json").read_text() == '{"stages": {}}'
    model = at_step(conv_model(seed=99), STEPS - 5 + 1, pytest.fail)  # no step is taken twice
    assert same_weights(run(other, model), run(elsewhere(short)))
    weights = torch.load(remote / "stage-2" / "model.pth", weights_only=True)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    finished = new_runtime(on_drive)
    assert finished.stage(2).state == "finished"
    assert same_weights(run(finished, conv_model(seed=5)), model) and finished.stage(2).finished
    assert "Going on with stage 2 in epoch 2 of 3" in capsys.readouterr().out


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.ENOSYS, errno.ENOTCONN])
@pytest.mark.parametrize("kinds", [{"open"}, {"write"}, {"fsync"}, {"read"}, {"open", "mkdir", "unlink", "replace"}])
def test_a_drive_that_fails_never_stops_training_and_has_the_newest_once_it_is_back(
    on_drive, short, capsys, error, kinds
):
    failing = [True]

    def fail(kind, path):
        if failing and kind in kinds:
            raise OSError(error, os.strerror(error))

    with watched(on_drive.drive.remote, fail):
        model = run(on_drive)
        assert same_weights(model, run(elsewhere(replace(short))))
        assert on_drive.stage(2).finished and checkpoint.load_newest(on_drive.stage(2).folder)
        assert not on_drive.drive.wait()
        failing.clear()
        assert on_drive.drive.wait()
    said = capsys.readouterr().out
    assert said.count("Drive cannot be written") == 1 and os.strerror(error) in said and "Drive is back" in said
    assert same_weights(run(new_runtime(on_drive), conv_model(seed=99)), model)


@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_drive_that_drops_out_now_and_then(on_drive, every):
    count = [0]

    def fail(kind, path):
        count[0] += 1
        if kind != "read" and count[0] % every == 0:
            count[0] += 1
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    with watched(on_drive.drive.remote, fail):
        model = run(on_drive)
    assert on_drive.drive.wait()
    assert same_weights(run(new_runtime(on_drive), conv_model(seed=99)), model)


@pytest.mark.parametrize("what", ["model.pth", "results.json", "checkpoint"])
def test_a_file_torn_on_drive_without_an_error_is_noticed_and_written_again(on_drive, what):
    torn = []

    def tear(kind, path):
        path = os.fspath(path)
        if what in path and path not in torn and kind in ("replace", "fsync"):
            torn.append(path)
            os.truncate(path, os.path.getsize(path) // 2)

    with watched(on_drive.drive.remote, lambda kind, path: None, tear):
        model = run(on_drive)
        write_text(on_drive.folder / "results.json", '{"stages": {}}')
        while not on_drive.drive.wait():
            pass
    assert torn
    local, remote = on_drive.folder, on_drive.drive.remote
    for name in ("results.json", "stage-2/model.pth", f"stage-2/{newest(local / 'stage-2').name}"):
        assert (remote / name).read_bytes() == (local / name).read_bytes()
    assert same_weights(run(new_runtime(on_drive), conv_model(seed=99)), model)


def test_training_does_not_wait_for_a_slow_drive(on_drive):
    """Drive's first write ends only after the last training step has begun."""
    last_step, waited = threading.Event(), []

    def slow(kind, path):
        if kind == "write":
            waited.append(last_step.wait(timeout=60))

    with watched(on_drive.drive.remote, slow):
        run(on_drive, at_step(conv_model(), STEPS, last_step.set))
    assert waited and all(waited)
    assert newest(on_drive.drive.remote / "stage-2").name == newest(on_drive.stage(2).folder).name


def test_eighty_epochs_on_drive_take_the_space_of_three_checkpoints_trash_included(on_drive):
    course = on_drive.with_settings(epochs={1: 1, 2: 80, 3: 1}, batch_size=IMAGES)
    trash, largest = [0], [0]

    def look(kind, path):
        if kind == "unlink" and os.path.exists(path):
            trash[0] += os.path.getsize(path)
        largest[0] = max(largest[0], trash[0] + total_size(course.drive.remote))

    with watched(course.drive.remote, look):
        run(course)
        assert course.drive.wait()
    last = newest(course.drive.remote / "stage-2")
    assert trash[0] == 0 and largest[0] <= 3 * (last.stat().st_size + 1000)


def test_when_drive_cannot_be_read_nothing_starts_afresh(on_drive):
    run(on_drive, at_step(conv_model(), 5, stop))
    other = new_runtime(on_drive)

    def fail(kind, path):
        if kind == "read":
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    with watched(on_drive.drive.remote, fail), pytest.raises(CheckpointError, match="Mount Drive again"):
        run(other, conv_model(seed=99))
    assert not other.stage(2).folder.exists()


def test_when_drive_is_unmounted_nothing_starts_afresh_nor_over(on_drive):
    run(on_drive, at_step(conv_model(), 5, stop))
    other, remote = new_runtime(on_drive), on_drive.drive.remote
    remote.rename(remote.with_name("unmounted"))
    with pytest.raises(CheckpointError, match="Mount Drive again"):
        run(other, conv_model(seed=99))
    with pytest.raises(CheckpointError, match="Mount Drive again"):
        on_drive.stage(2).start_over()
    assert on_drive.stage(2).state and not other.stage(2).folder.exists()


def test_a_rotten_checkpoint_on_drive_is_passed_over(on_drive, short, capsys):
    run(on_drive, at_step(conv_model(), 5, stop))
    damaged = newest(on_drive.drive.remote / "stage-2")
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert same_weights(run(new_runtime(on_drive), conv_model(seed=99)), run(elsewhere(short)))
    assert f"{damaged.name} cannot be used (its bytes have changed" in capsys.readouterr().out


def test_an_unmounted_drive_does_not_become_a_local_folder(on_drive, capsys):
    def unmount():
        on_drive.drive.wait()
        shutil.rmtree(on_drive.drive.remote)

    run(on_drive, at_step(conv_model(), 2, unmount))
    assert not on_drive.drive.remote.exists() and "it is not mounted" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["a checkpoint", "a file in a folder"])
def test_nor_does_one_that_is_unmounted_in_the_middle_of_a_copy(on_drive, what):
    remote = on_drive.drive.remote
    write_text(on_drive.folder / "results.json", "{}")
    assert on_drive.drive.wait()

    def unmount(kind, path):
        if kind == "mkdir" and remote.exists():
            remote.rename(remote.with_name("unmounted"))

    with watched(remote, unmount):
        if what == "a checkpoint":
            run(on_drive)
        else:
            write_text(on_drive.folder / "mine" / "curve.json", "{}")
        assert not on_drive.drive.wait()
    assert not remote.exists() and remote.with_name("unmounted").exists()


def test_another_runtime_that_saves_on_the_same_drive_is_noticed(on_drive, short):
    """The one that another has overtaken on Drive stops, and leaves what is there alone."""

    def another_runtime():
        on_drive.drive.wait()
        run(new_runtime(on_drive), conv_model(seed=99))

    with pytest.raises(CheckpointError, match="Another notebook is training the same stage"):
        run(on_drive, at_step(conv_model(), 4, another_runtime))
        on_drive.drive.wait()
        on_drive.drive.tell()
    model = run(on_drive, conv_model(seed=99))  # run again: it takes what the other has done
    assert same_weights(model, run(elsewhere(short)))


def test_who_is_overtaken_by_another_runtime_at_the_very_end_is_told(on_drive, capsys):
    run(on_drive, at_step(conv_model(), 5, stop))
    run(new_runtime(on_drive), conv_model(seed=99))
    theirs = newest(on_drive.drive.remote / "stage-2").read_bytes()
    checkpoint.save(on_drive.stage(2).folder, {}, epoch=9, step=0)
    capsys.readouterr()
    assert not on_drive.drive.wait()
    assert "Another notebook is training the same stage" in capsys.readouterr().out
    assert newest(on_drive.drive.remote / "stage-2").read_bytes() == theirs


def test_stop_while_waiting_for_drive(on_drive, monkeypatch, capsys):
    """■ ends the waiting, not the copying, which goes on in the background."""
    waiting, released = threading.Event(), threading.Event()

    def progress_line(**options):
        waiting.set()
        return tqdm(**options)

    def slow(kind, path):
        if kind == "write" and not released.is_set():
            waiting.wait(timeout=60)
            stop()
            released.wait(timeout=60)

    monkeypatch.setattr(drive, "tqdm", progress_line)
    with watched(on_drive.drive.remote, slow):
        write_text(on_drive.folder / "results.json", "{}")
        assert not on_drive.drive.wait()
        released.set()
        assert on_drive.drive.wait()
    assert "goes on in the background" in capsys.readouterr().out
    assert (on_drive.drive.remote / "results.json").read_text() == "{}"


def test_starting_over_forgets_drive_too(on_drive, short):
    run(on_drive, at_step(conv_model(), 5, stop))
    on_drive.stage(2).start_over()
    assert on_drive.stage(2).state is None and not list((on_drive.drive.remote / "stage-2").iterdir())
    assert same_weights(run(on_drive), run(elsewhere(short)))
    assert new_runtime(on_drive).stage(2).state == "finished"


class Gate:
    """A lock that the thread which copies gets only once `open` is set."""

    def __init__(self):
        self.lock, self.reached, self.open = threading.Lock(), threading.Event(), threading.Event()

    def __enter__(self):
        if threading.current_thread() is not threading.main_thread():
            self.reached.set()
            self.open.wait(timeout=60)
        self.lock.acquire()

    def __exit__(self, *error):
        self.lock.release()


def test_starting_over_forgets_also_what_was_just_to_be_copied(on_drive):
    run(on_drive, at_step(conv_model(), 5, stop))
    folder, gate = on_drive.stage(2).folder, Gate()
    on_drive.drive._copying = gate
    on_drive.drive.follow(newest(folder).with_suffix(".json"))
    assert gate.reached.wait(timeout=60)
    on_drive.drive.forget(folder)
    write_text(on_drive.folder / "results.json", "{}")  # copied behind it
    gate.open.set()
    assert on_drive.drive.wait()
    assert not list(on_drive.drive.there(folder).iterdir())


def test_a_drive_that_says_there_is_no_such_file_is_not_waited_for(on_drive, capsys):
    """Drive may know a folder that is gone; that is an error like any other."""

    def fail(kind, path):
        if kind == "open":
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fspath(path))

    with watched(on_drive.drive.remote, fail):
        write_text(on_drive.folder / "results.json", "{}")
        assert answer_of(on_drive.drive.wait) is False
    assert answer_of(on_drive.drive.wait) is True
    assert "Drive cannot be written (No such file or directory)" in capsys.readouterr().out


def test_files_in_deeper_folders_are_copied_too(on_drive):
    write_text(on_drive.folder / "mine" / "again" / "curve.json", "{}")
    assert answer_of(on_drive.drive.wait) is True
    assert (on_drive.drive.remote / "mine" / "again" / "curve.json").read_text() == "{}"


def answer_of(function):
    """What `function` returns; None if it is not back after a minute."""
    answers = []
    asking = threading.Thread(target=lambda: answers.append(function()), daemon=True)
    asking.start()
    asking.join(timeout=60)
    return answers[0] if answers else None


def test_a_damaged_result_on_drive_is_said_and_not_taken(on_drive, capsys):
    (on_drive.drive.remote / "results.json").write_text('{"stages": {"1"')
    other = new_runtime(on_drive)
    other.drive.tell()
    assert (
        "results.json on Drive is damaged" in capsys.readouterr().out and not (other.folder / "results.json").exists()
    )


def test_drive_switched_on_later_gets_what_is_there(short, tmp_path):
    model = run(short)
    write_text(short.folder / "results.json", '{"stages": {}}')
    late = replace(short, drive=Drive(short.folder, tmp_path / "MyDrive" / "runs" / "shapes-smoke"))
    assert late.drive.wait()
    assert (late.drive.remote / "results.json").exists() and (late.drive.remote / "stage-2" / "model.pth").exists()
    assert same_weights(run(new_runtime(late), conv_model(seed=99)), model)


def test_what_a_session_that_died_had_not_copied_is_copied_by_the_next(on_drive, short):
    """A kernel restart, in the same runtime: the local disk is further than Drive, and nobody else has saved there."""
    run(on_drive, at_step(conv_model(), 5, stop))
    del files.followers[short.folder]  # it copies no more
    run(short)
    again = Drive(short.folder, on_drive.drive.remote)
    assert again.wait()
    again.tell()
    assert newest(again.remote / "stage-2").name == newest(short.stage(2).folder).name


def test_after_a_restart_what_is_further_on_drive_is_taken(on_drive, short):
    run(on_drive, at_step(conv_model(), 5, stop))
    run(new_runtime(on_drive), conv_model(seed=99))
    again = replace(short, drive=Drive(short.folder, on_drive.drive.remote))
    assert again.drive.wait()
    run(again, at_step(conv_model(seed=99), 1, pytest.fail))
    assert again.stage(2).finished


@pytest.mark.parametrize("age", [-100, 100])
def test_of_two_files_of_results_the_newer_one_counts(on_drive, age):
    here, there = on_drive.folder / "results.json", on_drive.drive.remote / "results.json"
    write_text(here, '{"stages": {"1": {}}}')
    assert on_drive.drive.wait()
    there.write_text('{"stages": {"2": {}}}')  # by another machine
    now = here.stat().st_mtime
    os.utime(there, (now + age, now + age))
    again = Drive(on_drive.folder, on_drive.drive.remote)
    while not (again.wait() and on_drive.drive.wait()):  # two of them: one may find the other's copy half-written
        pass
    assert here.read_text() == there.read_text() == f'{{"stages": {{"{2 if age > 0 else 1}": {{}}}}}}'


def test_a_copy_is_as_old_as_its_original(on_drive):
    """So that what was written while it was being copied is newer than the copy."""
    here, there = on_drive.folder / "results.json", on_drive.drive.remote / "results.json"
    write_text(here, '{"stages": {}}')
    os.utime(here, (1e9, 1e9))
    on_drive.drive.follow(here)
    assert on_drive.drive.wait() and there.stat().st_mtime == 1e9
    other = new_runtime(on_drive)
    assert (other.folder / "results.json").stat().st_mtime == 1e9


def test_a_fault_of_our_own_in_the_copying_is_said_too(on_drive, monkeypatch, capsys):
    monkeypatch.setattr(drive, "copying", lambda *args: 1 / 0)
    write_text(on_drive.folder / "results.json", "{}")
    assert not on_drive.drive.wait()
    assert "Drive cannot be written (division by zero)" in capsys.readouterr().out


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_malicious_file_on_drive_is_not_executed(on_drive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(on_drive)
    for file in (on_drive.drive.remote / "stage-2").glob("*.p*"):
        file.write_bytes(pickle.dumps(Malicious(), protocol=2))
        if file.suffix == ".pt":
            file.with_suffix(".json").write_text(f'{{"sha256": "{checkpoint.sha256(file)}"}}')
    other = new_runtime(on_drive)
    run(other)  # starts afresh
    assert not (tmp_path / "executed").exists() and other.stage(2).finished


@pytest.fixture
def colab(environment, tmp_path, monkeypatch):
    """A stand-in for Colab's own package: mounting makes MyDrive, downloads are only noted."""
    monkeypatch.delenv("COURSE_HOME")
    environment(PRESET="smoke", PRECISION="fp32")
    asked = []
    package, drive_module, files_module = (types.ModuleType(name) for name in ("colab", "drive", "files"))
    drive_module.mount = lambda point: asked.append(point) or os.makedirs(os.path.join(point, "MyDrive"), exist_ok=True)
    drive_module.flush_and_unmount = lambda: asked.append("flushed")
    files_module.download = asked.append
    package.drive, package.files = drive_module, files_module
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setattr(workspace, "REPOSITORY", tmp_path / "course")
    monkeypatch.chdir(tmp_path)
    return asked


def test_drive_is_mounted_only_when_asked_for_and_holds_the_run(colab, tmp_path):
    assert open_course().drive is None and colab == []
    course = open_course(drive=True)
    assert colab == [str(tmp_path / "drive")]  # the report's ./drive
    assert course.drive.remote == tmp_path / "drive" / "MyDrive" / "runs" / "shapes-smoke"
    assert course.folder == tmp_path / "course" / "runs" / "shapes-smoke"
    assert open_course(drive=True).drive is course.drive  # the cell can be run again
    bank = open_bank(course)
    train(linear_model(), bank.train, course.stage(2), augmented=False)
    assert (course.drive.remote / "stage-2" / "model.pth").exists() and (course.drive.remote / "run.json").exists()
    assert not (tmp_path / "drive" / "MyDrive" / "runs" / "banks").exists()
    course.download("stage-2/model.pth")
    assert colab[-1] == str(course.stage(2).model_path)
    course.leave_drive()
    assert colab[-1] == "flushed"


def test_a_home_on_drive_does_the_same(colab, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "drive" / "MyDrive" / "mine"))
    course = open_course()
    assert course.drive.remote == tmp_path / "drive" / "MyDrive" / "mine" / "shapes-smoke"
    assert course.home == tmp_path / "course" / "runs" and colab == []


def test_elsewhere_a_download_says_where_the_file_is(course, capsys):
    with pytest.raises(DataError, match="no result.csv in .* yet: run the cells that write it"):
        course.download("result.csv")
    write_text(course.folder / "result.csv", "")
    course.download("result.csv")
    course.leave_drive()
    said = capsys.readouterr().out
    assert course.shown(course.folder / "result.csv") in said and "not kept on Drive" in said


def test_a_run_keeps_the_precision_it_began_in(environment, monkeypatch, capsys):
    environment(PRESET="smoke")
    monkeypatch.setattr(workspace, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    course = open_course()
    assert course.precision.name == "fp32"
    train(linear_model(), noise_images(8), course.stage(2), augmented=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert open_course().precision.name == "fp32"  # although bf16 would be chosen now
    environment(PRECISION="bf16")
    assert open_course().precision.name == "bf16"  # who asks gets it
    monkeypatch.delenv("COURSE_PRECISION")
    write_text(course.folder / "run.json", '{"precision": "fp16"}')
    assert open_course().precision.name == "bf16" and "This run began in 'fp16'" in capsys.readouterr().out
