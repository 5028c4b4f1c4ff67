"""A Drive that fails, tears, is slow or full, or holds another run: training continues, and
nobody's work is lost."""

import copy
import errno
import itertools
import json
import os
import pickle
import shutil
import sys
import threading
import types
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from data_sets import report_files, write_folder
from faults import Death, Died, Full, total_size, watched
from tiny import (
    BATCH,
    EPOCHS,
    STEPS,
    Crash,
    at_step,
    conv_model,
    crash,
    noise_images,
    press_stop,
    same_weights,
)

from course_lib import (
    CheckpointError,
    DiskError,
    Stopped,
    experiment,
    homes,
    open_course,
    train,
    trained_model,
)
from course_lib.storage import checkpoints, drive, files
from course_lib.storage.files import read_sealed, write_sealed, write_text

ENDLESS = 1e6  # seconds


@pytest.fixture
def computer(environment, tmp_path, monkeypatch):
    """Opens the run on a computer with a local disk of its own: computer("b"); on Drive unless
    drive=False."""
    settings = experiment.Settings(size=32, images_per_class=(2, 1), batch_size=BATCH)
    monkeypatch.setitem(experiment.PRESETS, "smoke", (settings, dict.fromkeys((1, 2, 3), EPOCHS)))
    monkeypatch.setattr(experiment, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(
        drive, "EVERY_SECONDS", ENDLESS
    )  # copied only where a test, or the end of training, waits
    monkeypatch.setattr(drive.atexit, "register", lambda function: None)
    (tmp_path / "MyDrive").mkdir()
    birds = write_folder(tmp_path / "birds", report_files(6))

    def opened(name="a", drive=True, data=birds, **variables):
        checkout = tmp_path / name
        write_text(checkout / "pyproject.toml", "")
        monkeypatch.setattr(homes, "CHECKOUT", checkout)
        home = tmp_path / "MyDrive" / "runs" if drive else checkout / "runs"
        environment(
            **{"PRESET": "smoke", "PRECISION": "fp32", "HOME": home, "DATA": data, "SEED": ""}
            | variables
        )
        return open_course()

    return opened


@pytest.fixture
def course(computer):
    return computer()


def run(course, model=None, number=2):
    model = model or conv_model()
    train(model, noise_images(), course.stage(number), augmented=True)
    return model


def stopped(course, step=5):
    """Train, press ■ at a step, and let Drive have what there is."""
    with pytest.raises(Stopped):
        run(course, at_step(conv_model(), step, press_stop))
    assert course.drive is None or course.drive.wait()


def uninterrupted(computer):
    return run(computer("reference", drive=False))


def no_step(model=None):
    return at_step(model or conv_model(seed=99), 1, crash)


def content(*folders):
    """Every visible file in some folders: {path: bytes}."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                found[path] = path.read_bytes()
    return found


def newest(folder):
    return checkpoints.newest_first(folder)[0]


def remote_stage(course):
    return course.drive.remote / "stage-2"


def failing(error, kinds, switch):
    """As `before` of `watched`: operations of these kinds fail while `switch` holds anything;
    failures are counted."""

    def fail(kind, path):
        if switch and kind in kinds:
            switch.append(kind)
            raise OSError(error, os.strerror(error))

    return fail


# What a new runtime finds


def test_a_new_runtime_gets_everything_back_and_continues_bit_exactly(computer, course):
    stopped(course)
    write_text(course.folder / "stage-1" / "measured.json", "{}")
    write_text(course.folder / "trials" / "ab.json", "[]")
    write_text(course.folder / "mine" / "again" / "curve.json", "[1]")
    assert course.drive.wait()
    (course.folder / ".results.json.1.tmp").touch()  # is just being written
    assert course.drive.wait() and not (course.drive.remote / ".results.json.1.tmp").exists()
    (course.folder / ".results.json.1.tmp").unlink()
    assert {path.relative_to(course.folder) for path in content(course.folder)} == {
        path.relative_to(course.drive.remote) for path in content(course.drive.remote)
    }
    other = computer("b")
    assert "epoch 2 of 3" in other.describe() and str(course.drive.remote) in other.describe()
    for name in ("run.json", "stage-1/measured.json", "trials/ab.json", "mine/again/curve.json"):
        assert (other.folder / name).read_bytes() == (course.folder / name).read_bytes()
    model = run(other, at_step(conv_model(seed=99), STEPS - 5 + 1, crash))  # no step is taken twice
    assert same_weights(model, uninterrupted(computer))
    finished = computer("c")
    assert finished.stage(2).state == "finished" and finished.stage(2).model_path.exists()
    assert same_weights(run(finished, no_step()), model)


def test_a_run_begun_in_bf16_continues_in_fp32_where_there_is_no_bf16(computer, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    began = computer(PRECISION="")
    assert began.precision.name == "bf16"
    run(began)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert computer("b", PRECISION="").precision.name == "fp32"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True}, raising=False)
    assert computer("b", PRECISION="").precision.name == "bf16"  # run.json still says how it began


def test_a_drive_that_fails_while_it_is_read_is_not_overwritten(computer, monkeypatch):
    """What's there is newer: it comes first, and only then is anything copied to Drive."""
    run(computer("a"))
    run(replace(computer("a"), epochs=dict.fromkeys((1, 2, 3), 2 * EPOCHS)))
    older = computer("b", drive=False)
    run(older)
    there = content(remote_stage(computer("a")))
    shutil.copytree(older.folder, computer("c", drive=False).folder, dirs_exist_ok=True)
    drive.Drive.opened.clear()
    read = drive.Path.read_bytes
    with monkeypatch.context() as patched:
        patched.setattr(
            drive.Path,
            "read_bytes",
            lambda path: crash() if "MyDrive" in path.parts else read(path),
        )
        with pytest.raises(Crash):
            computer("c")
    assert drive.Drive.opened == []  # so nothing is copied either
    assert content(remote_stage(computer("a"))) == there


def test_training_goes_on_without_a_drive_that_has_stopped_answering(course, monkeypatch, capsys):
    answer, asked = threading.Event(), threading.Event()

    def hang(kind, path):
        asked.set()
        answer.wait(timeout=60)

    write_text(course.folder / "new.txt", "…")
    with watched(course.drive.remote, hang):
        with monkeypatch.context() as patched:
            patched.setattr(drive, "PATIENCE", 0.01)
            assert not course.drive.wait() and asked.wait(timeout=60)
            assert "Drive" in capsys.readouterr().out
            assert not course.drive.wait()  # and isn't stuck behind the first
        answer.set()
        assert course.drive.wait() and (course.drive.remote / "new.txt").exists()


@pytest.fixture
def stuck(monkeypatch):
    """stuck(folder, kinds): a Drive that doesn't answer to these kinds of operations any more."""
    answers = []

    @contextmanager
    def hanging(folder, kinds, patience=0.2):
        answer, asked = threading.Event(), threading.Event()
        answers.append(answer)

        def hang(kind, path):
            if kind in kinds:
                asked.set()
                answer.wait(timeout=60)

        with monkeypatch.context() as patched:
            patched.setattr(drive, "PATIENCE", patience)
            with watched(folder, hang):
                yield answer
        assert asked.is_set()

    yield hanging
    for answer in answers:
        answer.set()


@pytest.mark.parametrize("kinds", [{"open"}, {"read"}, {"unlink", "truncate"}])
@pytest.mark.parametrize("what", ["stage", "run"])
def test_nothing_is_deleted_behind_your_back_once_drive_answers_again(course, stuck, kinds, what):
    """You were told that it didn't work, and have trained on since."""
    run(course)
    assert course.drive.wait()
    before = content(course.folder)
    with stuck(course.drive.remote, kinds) as answer:
        with pytest.raises(DiskError):
            course.stage(2).start_over() if what == "stage" else course.start_over()
        assert not course.drive.wait()
        answer.set()
    assert course.drive.wait()
    assert content(course.folder) == before
    assert {path.name for path in content(course.drive.remote)} == {path.name for path in before}


@pytest.mark.parametrize("name", ["isdir", "realpath"])
def test_opening_ends_in_a_sentence_if_not_even_the_home_answers(computer, monkeypatch, name):
    """Before any file is opened, COURSE_HOME is looked at."""
    answer, in_thread = threading.Event(), threading.get_ident()
    real = getattr(os.path, name)
    waited = []

    def hang(path, *more, **options):
        if "MyDrive" in os.fspath(path) and not answer.is_set():
            waited.append(threading.get_ident())
            answer.wait(timeout=5)
        return real(path, *more, **options)

    with monkeypatch.context() as patched:
        patched.setattr(drive, "PATIENCE", 0.2)
        patched.setattr(os.path, name, hang)
        with pytest.raises(DiskError):
            computer("b")
        answer.set()
    assert waited and in_thread not in waited  # so ■ and the limit work
    assert computer("b").drive


@pytest.mark.parametrize("kinds", [{"open"}, {"read"}])
def test_opening_ends_in_a_sentence_if_drive_does_not_answer(computer, course, stuck, kinds):
    """And nothing is brought later: the run may have been opened without Drive meanwhile."""
    run(course)
    assert course.drive.wait()
    computer("b", drive=False)
    with stuck(course.drive.remote, kinds) as answer:
        with pytest.raises(DiskError):
            computer("b")
        alone = computer("b", drive=False)
        answer.set()
    stuck_copy = drive.drive_copy(alone.folder, course.drive.remote, json.dumps(alone.identity))
    assert stuck_copy.wait()  # has its turn after what was given up
    assert alone.stage(2).state is None
    assert computer("b").stage(2).state == "finished"


def test_the_end_of_training_does_not_hang_with_drive(course, stuck, capsys):
    assert course.drive.wait()
    with stuck(course.drive.remote, {"write"}):
        run(course)
        assert "Drive" in capsys.readouterr().out
    assert course.stage(2).state == "finished"


def test_a_stage_lost_on_drive_does_not_cost_the_local_one(computer, course):
    """Drive's checkpoints are further, but torn: ours stays, and is written to Drive."""
    run(course)
    assert course.drive.wait()
    other = computer("b")
    run(replace(other, epochs=dict.fromkeys((1, 2, 3), 2 * EPOCHS)))
    assert other.drive.wait()
    for path in checkpoints.newest_first(remote_stage(course)):
        path.write_bytes(path.read_bytes()[:1000])
    drive.drive_copy.cache_clear()
    again = computer()
    assert checkpoints.position(checkpoints.newest_good(again.stage(2).folder)) == (EPOCHS, 0)
    assert again.drive.wait()
    assert checkpoints.newest_good(remote_stage(again)).name == newest(again.stage(2).folder).name


def test_two_kernels_on_one_drive_lose_nothing_of_each_other(computer):
    """Both were opened before either trained; each trains a stage of its own, and measures it."""
    first, second = computer("a"), computer("b")
    for course, number in ((first, 1), (second, 2)):
        run(course, number=number)
        write_sealed(course.stage(number).folder / "measured.json", {"stage": number})
        write_text(course.folder / "results.json", f"[{number}]")
    for course in (second, first, second):
        assert course.drive.wait()
    third = computer("c")
    for number in (1, 2):
        assert third.stage(number).state == "finished"
        measured = read_sealed(third.stage(number).folder / "measured.json")
        assert measured == {"stage": number}


def test_drive_turned_on_later_gets_what_is_there(computer):
    model = run(computer(drive=False))
    assert computer().drive.wait()
    assert same_weights(run(computer("b"), no_step()), model)


@pytest.mark.parametrize("age", [-1e6, 1e6])
def test_the_further_side_wins_however_the_clocks_were_set(computer, course, age):
    stopped(course)
    behind = computer("b")
    here = computer(drive=False)
    run(here)
    write_text(here.stage(2).folder / "measured.json", '"new"')
    write_text(remote_stage(course) / "measured.json", '"old"')
    for path in content(course.drive.remote):
        os.utime(path, (path.stat().st_mtime + age,) * 2)
    drive.drive_copy.cache_clear()  # as after a restart of the kernel
    here = computer()
    run(here, no_step())
    assert (remote_stage(here) / "measured.json").read_text() == '"new"'
    write_text(
        here.stage(2).folder / "measured.json", '"newest"'
    )  # and isn't copied before the kernel restarts
    drive.drive_copy.cache_clear()
    assert (computer().stage(2).folder / "measured.json").read_text() == '"newest"'
    # The other way round: Drive is further than the disk of b.
    write_text(behind.stage(2).folder / "measured.json", '"old"')
    for path in content(behind.folder):
        os.utime(path, (path.stat().st_mtime + age,) * 2)
    drive.drive_copy.cache_clear()
    behind = computer("b")
    assert behind.stage(2).state == "finished"
    assert (behind.stage(2).folder / "measured.json").read_text() == '"new"'


def test_results_beside_the_stages_come_from_the_further_side_too(computer, course):
    stopped(course)
    write_text(course.folder / "result.csv", "old")
    assert course.drive.wait()
    other = computer("b")
    run(other)
    write_text(other.folder / "result.csv", "new")
    assert other.drive.wait()
    drive.drive_copy.cache_clear()
    again = computer()
    assert again.drive.wait()
    assert (
        (again.folder / "result.csv").read_text()
        == (again.drive.remote / "result.csv").read_text()
        == "new"
    )


def test_a_runtime_that_is_behind_deletes_nothing_that_is_further(computer, course, saving_often):
    stopped(course, step=2)
    ahead = computer("b")
    run(ahead)
    stopped(course, step=3)
    assert newest(remote_stage(ahead)).read_bytes() == newest(ahead.stage(2).folder).read_bytes()


def test_a_damaged_checkpoint_on_drive_is_passed_over(computer, course, saving_often, capsys):
    stopped(course)
    damaged = newest(remote_stage(course))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    other = computer("b")
    assert same_weights(run(other), uninterrupted(computer))
    assert damaged.name in capsys.readouterr().out
    assert computer("c").stage(2).state == "finished"


class Malicious:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def test_a_malicious_file_on_drive_is_not_executed(computer, course, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(course)
    data = pickle.dumps(Malicious(), protocol=2)
    for path in remote_stage(course).glob("*.p*"):
        path.unlink()
    (remote_stage(course) / "model.pth").write_bytes(data)
    (
        remote_stage(course) / f"checkpoint-00003-0000000-{checkpoints.digest_of(data)}.pt"
    ).write_bytes(data)
    with pytest.raises(CheckpointError):
        run(computer("b"))
    assert not (tmp_path / "executed").exists()


# A Drive that fails


@pytest.mark.parametrize("error", [errno.ENOTCONN, errno.ENOSPC, errno.ENOENT])
@pytest.mark.parametrize(
    "kinds", [{"open"}, {"write"}, {"fsync"}, {"read"}, {"mkdir", "unlink", "replace"}]
)
def test_a_drive_that_fails_never_stops_training_and_gets_everything_once_it_is_back(
    computer, course, saving_often, capsys, error, kinds
):
    switch = [True]
    with watched(course.drive.remote, failing(error, kinds, switch)):
        model = run(
            course, at_step(at_step(conv_model(), 3, course.drive.wait), 7, course.drive.wait)
        )
        assert course.stage(2).state == "finished" and not course.drive.wait()
        assert len(switch) > 3  # faults were injected in all of these attempts
        switch.clear()
        assert course.drive.wait()
    gone, back = [line for line in capsys.readouterr().out.splitlines() if "Drive" in line]
    assert os.strerror(error) in gone and os.strerror(error) not in back
    assert same_weights(run(computer("b"), no_step()), model)


@pytest.mark.parametrize("every", [2, 3, 5])
def test_a_drive_that_drops_out_now_and_then(computer, course, saving_often, every):
    count = itertools.count(1)

    def fail(kind, path):
        if kind != "read" and next(count) % every == 0:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    model = conv_model()
    with watched(course.drive.remote, fail):
        for step in range(1, STEPS):
            at_step(model, step, course.drive.wait)
        run(course, model)
    assert next(count) > every and course.drive.wait()
    assert same_weights(run(computer("b"), no_step()), model)


@pytest.mark.parametrize("what", ["notes.txt", "checkpoint"])
def test_a_file_torn_on_drive_without_an_error_is_noticed_and_written_again(computer, course, what):
    torn = []

    def tear(kind, path):
        if what in os.fspath(path) and not torn and kind == "fsync":
            torn.append(path)
            with open(path, "rb+") as file:
                file.truncate(os.path.getsize(path) // 2)

    write_text(course.folder / "notes.txt", "mine")
    with watched(course.drive.remote, lambda kind, path: None, tear):
        run(course)
    assert torn and course.drive.wait()
    for path, data in content(course.folder).items():
        assert (course.drive.remote / path.relative_to(course.folder)).read_bytes() == data


def test_training_does_not_wait_for_a_slow_drive(course, saving_often, monkeypatch):
    """Drive's first write ends only after the last training step has begun."""
    began, last_step, waited = threading.Event(), threading.Event(), []

    def slow(kind, path):
        if kind == "write":
            began.set()
            waited.append(last_step.wait(timeout=60))

    monkeypatch.setattr(drive, "EVERY_SECONDS", 0.001)
    quick = drive.Drive(course.folder, course.drive.remote, json.dumps(course.identity))
    quick.restore()
    with watched(course.drive.remote, slow):
        model = at_step(conv_model(), 2, lambda: waited.append(began.wait(timeout=60)))
        run(replace(course, drive=quick), at_step(model, STEPS, last_step.set))
    assert len(waited) > 1 and all(waited)
    assert newest(remote_stage(course)).name == newest(course.stage(2).folder).name


def test_a_checkpoint_that_was_replaced_while_it_was_copied_is_still_on_drive(
    computer, course, saving_often
):
    """A slow Drive: two newer checkpoints are saved here while it takes in one."""
    stopped(course, step=2)
    seen = []

    def look(kind, path):
        if kind in ("truncate", "unlink", "replace"):
            seen.append(checkpoints.newest_good(remote_stage(course)))

    def save(images):
        folder = course.stage(2).folder
        training = checkpoints.training_of(newest(folder))
        saved.append(checkpoints.save(folder, {"n": images}, 3, images, training))

    def overtake(kind, path):
        if kind == "replace" and "checkpoint" in os.fspath(path) and len(saved) < 2:
            for images in (8 * len(saved) + 40, 8 * len(saved) + 48):
                save(images)

    saved = []
    save(8)
    with watched(course.drive.remote, overtake, look):
        course.drive.wait()
    assert len(saved) == 3 and seen and all(seen)
    assert not saved[0].exists() and checkpoints.newest_good(remote_stage(course))


def test_a_file_that_is_deleted_while_others_are_copied_is_no_problem(course):
    paths = [course.folder / "notes" / f"{i}.txt" for i in range(3)]
    for path in paths:
        write_text(path, "…")

    def delete(kind, path):
        if kind == "fsync" and "0.txt" in os.fspath(path):
            paths[2].unlink()

    with watched(course.drive.remote, delete):
        assert course.drive.wait()
    assert not paths[2].exists() and (course.drive.remote / "notes" / "1.txt").exists()


def test_twenty_epochs_take_the_space_of_three_checkpoints_on_drive_and_none_in_its_trash(
    course, saving_often
):
    course = course.experiment("twenty", epochs=20, batch_size=20)
    trash, largest, counts = [0], [0], [0]

    def look(kind, path):
        if kind == "unlink" and os.path.exists(path):
            trash[0] += os.path.getsize(path)
        largest[0] = max(largest[0], total_size(course.drive.remote))
        counts.append(len(checkpoints.newest_first(remote_stage(course))))

    model = conv_model()
    for step in range(2, 21):
        at_step(model, step, course.drive.wait)
    with watched(course.drive.remote, look):
        run(course, model)
    assert (
        trash == [0]
        and max(counts) == 3
        and len(checkpoints.newest_first(remote_stage(course))) == 2
    )
    assert (
        largest[0] < 3 * newest(remote_stage(course)).stat().st_size + 60_000
    )  # run.json and model.pth


@pytest.mark.slow
def test_killed_at_any_operation_on_drive_a_new_runtime_continues_bit_exactly(
    computer, saving_often
):
    reference = uninterrupted(computer)
    # Every other operation: a file takes three (write, fsync, replace), so each kind has its turn.
    for number in itertools.count(1, step=2):
        course, model, safe = computer(f"a{number}"), conv_model(), [(0, 0)]

        def copy(course=course, safe=safe):
            course.drive.wait()
            safe.append(checkpoints.position(newest(remote_stage(course))))

        for step in (4, 8):  # and at the end: the third copy deletes the first
            at_step(model, step, copy)
        death = Death(number)
        with watched(course.drive.remote, death):
            try:
                run(course, model)
            except Died:
                pass
        other = computer(f"b{number}")
        found = checkpoints.newest_good(other.stage(2).folder)
        assert (checkpoints.position(found) if found else (0, 0)) >= safe[-1], number
        assert same_weights(run(other, conv_model(seed=99 if found else 0)), reference), number
        assert len(checkpoints.newest_first(remote_stage(other))) <= 2
        shutil.rmtree(other.drive.remote)
        if not death.dead:
            break
    assert number > 20


def test_killed_at_any_operation_while_it_is_restored_a_run_is_complete_at_the_next_start(
    computer, course
):
    run(course)
    write_text(course.stage(2).folder / "measured.json", '"new"')
    assert course.drive.wait()
    for number in itertools.count(1):
        behind = computer(f"b{number}", drive=False)
        write_text(behind.stage(2).folder / "measured.json", '"old"')
        death = Death(number)
        with watched(behind.folder, death):
            try:
                computer(f"b{number}")
            except Died:
                pass
        assert content(computer(f"b{number}").stage(2).folder).keys() >= {
            behind.stage(2).model_path
        }, number
        assert (behind.stage(2).folder / "measured.json").read_text() == '"new"', number
        if not death.dead:
            break
    assert number > 8


# A Drive that isn't there


def test_nothing_is_opened_where_no_drive_is_mounted(computer, tmp_path):
    (tmp_path / "MyDrive").rmdir()
    with pytest.raises(DiskError, match=str(tmp_path / "MyDrive")):
        computer()
    assert not (tmp_path / "MyDrive").exists() and not (tmp_path / "a" / "runs").exists()


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_nothing_is_written_where_no_drive_is_mounted(tmp_path, monkeypatch, when):
    if when == "meanwhile":  # between the check and the first folder
        monkeypatch.setattr(files, "require_mounted", lambda path: None)
    with pytest.raises(DiskError):
        write_text(tmp_path / "drive" / "MyDrive" / "runs" / "results.json", "{}")
    assert not (tmp_path / "drive" / "MyDrive").exists()
    assert when == "meanwhile" or not (tmp_path / "drive").exists()


def test_when_drive_is_unmounted_nothing_starts_over_and_no_local_folder_takes_its_place(
    computer, course, tmp_path
):
    stopped(course)
    before = content(course.folder)
    (tmp_path / "MyDrive").rename(tmp_path / "elsewhere")
    for forget in (course.stage(2).start_over, course.start_over, course.drive.restore):
        with pytest.raises(DiskError):
            forget()
    assert content(course.folder) == before
    run(course)
    assert not course.drive.wait() and not (tmp_path / "MyDrive").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "MyDrive")
    assert course.drive.wait() and computer("b").stage(2).state == "finished"


@pytest.mark.parametrize("moment", ["mkdir", "open", "write", "replace"])
def test_nor_when_it_is_unmounted_in_the_middle_of_a_copy(course, tmp_path, moment):
    mounted = tmp_path / "MyDrive"
    assert course.drive.wait()

    def unmount(kind, path):
        if kind == moment and mounted.exists() and "curve" in os.fspath(path):
            mounted.rename(tmp_path / "elsewhere")

    write_text(course.folder / "curves" / "curve.json", "{}")
    with watched(mounted, unmount):
        assert not course.drive.wait()
    assert not mounted.exists() and (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kinds", [{"read"}, {"open"}, {"list"}])
def test_when_drive_cannot_be_read_nothing_starts_afresh(computer, course, monkeypatch, kinds):
    stopped(course)
    switch, scandir = [True], os.scandir
    fail = failing(errno.EACCES, kinds, switch)

    def list_folder(path="."):
        if os.fspath(path).startswith(os.fspath(course.drive.remote)):
            fail("list", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", list_folder)
    with watched(course.drive.remote, fail), pytest.raises(DiskError):
        computer("b")
    assert len(switch) > 1


def test_a_full_local_disk_is_not_blamed_on_drive(computer, course, tmp_path):
    stopped(course)
    local = tmp_path / "b" / "runs" / course.folder.name
    computer("b", drive=False)
    shutil.rmtree(local)
    full = Full(1)
    with watched(local, full), pytest.raises(DiskError, match=str(local)) as raised:
        computer("b")
    assert full.reached and "MyDrive" not in str(raised.value)
    assert computer("b").stage(2).state


# Another run


@pytest.mark.parametrize("difference", ["seed", "pixels"])
@pytest.mark.parametrize("whose", ["Drive's", "the disk's"])
def test_another_run_in_the_same_folder_is_refused_and_not_one_byte_changes(
    computer, tmp_path, difference, whose
):
    here, there = 2, 5  # steps: Drive is further
    ours, theirs = computer("a", drive=whose != "Drive's"), None
    stopped(ours, here if whose == "Drive's" else there)
    if difference == "seed":
        theirs = computer("b", drive=whose == "Drive's", SEED=1)
    else:
        other = report_files(6)
        third = other["train_data/3.png"]
        other["train_data/3.png"] = other["train_data/4.png"]
        other["train_data/4.png"] = third
        theirs = computer(
            "b", drive=whose == "Drive's", data=write_folder(tmp_path / "x" / "birds", other)
        )
    stopped(theirs, there if whose == "Drive's" else here)
    if whose == "Drive's":  # we turn Drive on, where they are already
        place = tmp_path / "MyDrive" / "runs"
    else:  # we are on Drive, and a copy of theirs lies where our local folder belongs
        place = tmp_path / "a" / "runs"
        shutil.rmtree(ours.folder)
        shutil.move(theirs.folder, place / theirs.folder.name)
    if difference == "seed":
        (place / theirs.folder.name).rename(place / ours.folder.name)
    before = content(tmp_path / "a" / "runs" / ours.folder.name, tmp_path / "MyDrive")
    drive.drive_copy.cache_clear()
    with pytest.raises(CheckpointError) as raised:
        computer("a")
    assert str(place / ours.folder.name) in str(raised.value) or ours.folder.name in str(
        raised.value
    )
    assert ("settings seed" if difference == "seed" else "has changed") in str(raised.value)
    assert content(tmp_path / "a" / "runs" / ours.folder.name, tmp_path / "MyDrive") == before
    assert len(before) > 3


def test_a_run_that_takes_our_place_on_drive_meanwhile_is_left_alone(computer, course, capsys):
    stopped(course)
    theirs = computer("b", SEED=1)
    stopped(theirs)
    shutil.rmtree(course.drive.remote)
    theirs.drive.remote.rename(course.drive.remote)
    before = content(course.drive.remote)
    run(course)
    assert not course.drive.wait() and "seed" in capsys.readouterr().out
    for forget in (course.stage(2).start_over, course.start_over):
        with pytest.raises(CheckpointError, match="seed"):
            forget()
    assert course.stage(2).state == "finished" and content(course.drive.remote) == before


def test_an_experiment_has_a_copy_of_its_own(computer, course):
    ours = course.experiment("lr", lr=0.1)
    stopped(ours)
    assert (
        ours.drive.remote.parent == course.drive.remote.parent
        and ours.drive.remote != course.drive.remote
    )
    assert "epoch 2 of 3" in computer("b").experiment("lr", lr=0.1).describe()


def test_an_experiment_of_the_same_name_with_other_changes_is_left_alone_on_both_sides(
    computer, course
):
    """One was made while Drive was off, the other in another runtime."""
    ours = computer(drive=False).experiment("lr", lr=0.2)
    stopped(ours, 2)
    theirs = computer("b").experiment("lr", lr=0.1)
    run(theirs)
    before = content(ours.folder, theirs.drive.remote)
    with pytest.raises(CheckpointError, match=r"lr .*0\.1 .*0\.2"):
        computer().experiment("lr", lr=0.2)
    assert content(ours.folder, theirs.drive.remote) == before and len(before) == 5


def test_a_run_that_takes_our_place_here_is_not_copied_over_ours(computer, course):
    """A folder is renamed here, another run of the same name is opened with Drive off, and the
    kernel still lives."""
    stopped(course)
    before = content(course.drive.remote)
    course.folder.rename(course.folder.with_name("kept"))
    theirs = computer("b", drive=False, SEED=1)
    run(theirs)
    theirs.folder.rename(course.folder)
    assert not course.drive.wait()
    assert content(course.drive.remote) == before


# Deleted, cut short, garbage


def test_a_run_deleted_on_drive_while_the_kernel_lives_is_copied_again(computer, course):
    stopped(course)
    run(course, number=1)
    shutil.rmtree(course.drive.remote)
    model = run(course)
    other = computer("b")
    assert same_weights(run(other, no_step()), model) and other.stage(1).state == "finished"


def test_a_run_deleted_here_while_the_kernel_lives_comes_back_from_drive(computer, course):
    stopped(course)
    shutil.rmtree(course.folder)
    model = run(course, at_step(conv_model(seed=99), STEPS - 5 + 1, crash))
    assert same_weights(model, uninterrupted(computer)) and (course.folder / "run.json").exists()


def test_a_run_deleted_here_in_the_middle_of_training_is_still_copied(
    computer, course, saving_often
):
    model = run(course, at_step(conv_model(), 4, lambda: shutil.rmtree(course.folder)))
    assert same_weights(run(computer("b"), no_step()), model)


@pytest.mark.parametrize("where", ["here", "on Drive"])
@pytest.mark.parametrize("text", [None, b'{"identity": {"da', b"null"])
def test_without_a_readable_run_json_nothing_is_lost(computer, course, tmp_path, where, text):
    stopped(course)
    path = (course.folder if where == "here" else course.drive.remote) / "run.json"
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text)
        before = content(course.folder, course.drive.remote)
        drive.drive_copy.cache_clear()
        with pytest.raises(CheckpointError, match="run.json"):
            computer()
        assert not course.drive.wait()  # a thread that copies says so too
        assert content(course.folder, course.drive.remote) == before
        path.unlink()  # which is what it advises
    model = run(computer(), at_step(conv_model(seed=99), STEPS - 5 + 1, crash))
    assert path.exists()
    assert same_weights(run(computer("b"), no_step()), model)


def test_a_drive_that_fails_while_it_forgets_gets_its_copy_back(computer, course):
    run(course)
    run(course, number=1)
    switch = []

    def fail(kind, path):
        if kind == "unlink":
            switch.append(path)
            if len(switch) == 3:
                raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    with watched(course.drive.remote, fail), pytest.raises(DiskError):
        course.start_over()
    assert len(switch) == 3 and (course.drive.remote / "run.json").exists()  # which goes last
    assert course.drive.wait()
    for number in (1, 2):
        assert computer("b").stage(number).state == "finished"


# Starting over, and the end


def test_a_stage_that_starts_over_is_forgotten_on_drive_too(computer, course):
    stopped(course)
    run(course, number=1)
    course.stage(2).start_over()
    assert course.stage(2).state is None and not content(remote_stage(course))
    assert computer("b").stage(2).state is None and computer("b").stage(1).state == "finished"
    assert same_weights(run(course), uninterrupted(computer))


@pytest.mark.parametrize("whole_run", [False, True])
@pytest.mark.parametrize("epochs", [1, EPOCHS])
def test_what_starts_over_is_not_copied_back_by_another_notebook(
    computer, course, whole_run, epochs, capsys
):
    """Another computer still has the stage, and looks at Drive before the new one is trained."""
    run(course)
    old, new = course, computer("b")
    deleted = newest(remote_stage(new)).name
    if whole_run:
        new.start_over()
    else:
        new.stage(2).start_over()
    capsys.readouterr()
    assert not old.drive.wait() and "stage-2" in capsys.readouterr().out
    assert not checkpoints.newest_first(remote_stage(new))
    run(replace(new, epochs=dict.fromkeys((1, 2, 3), epochs)))
    assert new.drive.wait() and not old.drive.wait()
    there = newest(remote_stage(new)).name
    assert there == newest(new.stage(2).folder).name != deleted
    assert newest(old.stage(2).folder).name == deleted
    assert newest(computer("c").stage(2).folder).name == there


@pytest.mark.parametrize("epochs", [1, EPOCHS, 2 * EPOCHS])
def test_two_computers_that_train_one_stage_overwrite_nothing_of_each_other(
    computer, epochs, capsys
):
    """Both were opened before either trained; however far the second one trains, it's told."""
    first, second = computer("a"), computer("b")
    run(first)
    run(replace(second, epochs=dict.fromkeys((1, 2, 3), epochs)), conv_model(seed=7))
    assert "stage-2" in capsys.readouterr().out
    before = content(first.stage(2).folder, second.stage(2).folder, remote_stage(first))
    drive.drive_copy.cache_clear()
    for name, complete in (("a", True), ("b", False)):
        assert computer(name).drive.wait() == complete
    for path, data in before.items():
        assert path.read_bytes() == data


def test_a_later_stage_continues_from_the_weights_it_began_with(course, monkeypatch):
    """Though the stage before was trained further since; the checkpoint before is still there."""
    monkeypatch.setattr(experiment.Course, "new_model", lambda course: conv_model())
    begun = run(course)
    run(course, copy.deepcopy(begun), number=3)
    run(replace(course, epochs=dict.fromkeys((1, 2, 3), EPOCHS + 1)))
    assert same_weights(trained_model(course, 2), begun)


def test_your_own_files_stay_on_both_sides_when_a_run_starts_over(computer, course):
    stopped(course)
    names = ["thesis.docx", "stage-2/notes.txt", "figures/loss.png", "mine/run.json"]
    for name in names:
        write_text(course.folder / name, name)
    write_text(course.folder / "results.json", "{}")
    assert course.drive.wait()
    course.stage(2).start_over()
    course.start_over()
    for folder in (course.folder, course.drive.remote):
        left = {path.relative_to(folder).as_posix() for path in content(folder)}
        assert left - {"run.json"} == {*names}
    assert course.drive.wait()
    other = computer("b")
    left = {path.relative_to(other.folder).as_posix() for path in content(other.folder)}
    assert left == {"run.json", *names}


def test_what_a_link_on_drive_leads_to_is_neither_copied_to_nor_deleted(computer, course):
    """A shortcut to what somebody shares with you, in the place of a stage."""
    theirs = computer("b", SEED=1)
    run(theirs)
    assert theirs.drive.wait()
    assert course.drive.wait()
    remote_stage(course).symlink_to(remote_stage(theirs))
    before = content(theirs.drive.remote)
    run(course)
    run(course, number=1)
    assert not course.drive.wait()
    assert content(theirs.drive.remote) == before
    course.stage(2).start_over()
    course.start_over()
    assert content(theirs.drive.remote) == before and remote_stage(course).is_symlink()
    assert course.stage(2).state is None and course.stage(1).state is None


def test_a_pipe_or_a_folder_in_the_place_of_run_json_is_a_sentence(course):
    assert course.drive.wait()
    run_json = course.drive.remote / "run.json"
    run_json.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(run_json)
        with pytest.raises(CheckpointError, match=r"run\.json"):
            course.drive.restore()
        assert not course.drive.wait()
        run_json.unlink()
    run_json.mkdir()
    with pytest.raises(CheckpointError, match=r"run\.json"):
        course.start_over()


def test_what_starts_over_does_not_come_back_with_a_copy_that_was_waiting(
    computer, course, monkeypatch
):
    """The thread that copies has its turn right after Drive has forgotten, before anything else
    happens."""
    stopped(course)
    real = course.drive.forget

    def forget(folder):
        real(folder)
        course.drive.wait()

    monkeypatch.setattr(course.drive, "forget", forget)
    course.stage(2).start_over()
    assert course.drive.wait() and not content(remote_stage(course))
    run(course)
    write_text(course.folder / "results.json", "{}")
    assert course.drive.wait()
    course.start_over()
    assert course.drive.wait() and [path.name for path in content(course.drive.remote)] == [
        "run.json"
    ]
    assert [path.name for path in content(course.folder)] == ["run.json"]


def test_stop_ends_the_waiting_and_not_the_copying(course):
    switch = [True]

    def slow(kind, path):
        if kind == "write" and switch:
            switch.clear()
            press_stop()

    write_text(course.folder / "notes.txt", "mine")
    with watched(course.drive.remote, slow):
        with pytest.raises(KeyboardInterrupt):
            course.drive.wait()
        assert not switch and course.drive.wait()
    assert content(course.drive.remote)


def test_opening_a_run_again_does_not_start_a_second_thread(computer):
    first, threads = computer(), threading.active_count()
    assert computer().drive is first.drive and threading.active_count() == threads


@pytest.fixture
def colab(computer, tmp_path, monkeypatch):
    """A stand-in for Colab's own package: what it's asked for is noted; mounting makes MyDrive."""
    asked, package, module = [], types.ModuleType("colab"), types.ModuleType("drive")
    module.mount = lambda point: (
        asked.append(point) or os.makedirs(os.path.join(point, "MyDrive"), exist_ok=True)
    )
    module.flush_and_unmount = lambda: asked.append("unmounted")
    package.drive = module
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.chdir(tmp_path)
    return asked


def test_in_colab_drive_is_mounted_if_asked_for_and_unmounted_once_it_has_everything(
    computer, colab, tmp_path, environment, capsys
):
    computer("content", drive=False)
    assert colab == []
    course = open_course(drive=True)
    assert colab == [str(tmp_path / "drive")]  # the report's ./drive
    assert course.drive.remote == tmp_path / "drive" / "MyDrive" / "runs" / course.folder.name
    switch = [True]
    with watched(course.drive.remote, failing(errno.ENOSPC, {"write"}, switch)):
        run(course)
        capsys.readouterr()
        course.leave_drive()
        assert "Drive" in capsys.readouterr().out and "unmounted" not in colab
    write_text((experiment := course.experiment("lr", lr=0.1)).folder / "last.json", "{}")
    course.leave_drive()
    assert colab[-1] == "unmounted" and (remote_stage(course) / "model.pth").exists()
    assert (
        experiment.drive.remote / "last.json"
    ).exists() and course.drive not in drive.Drive.opened
    assert not (tmp_path / "drive" / "MyDrive" / "runs" / "banks").exists()


def test_a_drive_that_cannot_be_unmounted_is_a_sentence_and_tried_again(
    computer, colab, monkeypatch
):
    course = open_course(drive=True)
    tries = []

    def fail():
        tries.append("failed")
        raise ValueError("flush_and_unmount failed")

    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["google.colab"].drive, "flush_and_unmount", fail)
        for _ in range(2):
            with pytest.raises(DiskError, match="failed"):
                course.leave_drive()
    assert len(tries) == 2 and course.drive in drive.Drive.opened
    course.leave_drive()
    assert colab[-1] == "unmounted" and course.drive not in drive.Drive.opened


def test_a_home_on_drive_is_not_mounted_again(computer, colab, tmp_path):
    course = computer("content")
    assert open_course(drive=True).drive is course.drive and colab == []
    assert course.home == tmp_path / "content" / "runs"
