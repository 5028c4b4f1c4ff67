"""Several processes train one model: the same images, losses and gradients as one; if one dies, all end and resume."""

import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import ranks
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import elsewhere, noise_images

from course_lib import SettingsError
from course_lib.augment import training_batches
from course_lib.storage import checkpoints, distributed

HERE = Path(__file__).parent
TWO = ("--standalone", "--nproc-per-node=2")


@pytest.fixture
def launch(course, monkeypatch):
    """Starts torchrun with a script, on the CPU; its output is that of `.communicate()`."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    def launch(options, script, *arguments):
        command = [sys.executable, "-m", "torch.distributed.run", *options, script, *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, encoding="utf-8", cwd=HERE.parent, **pipes)

    return launch


def two_machines():
    """torchrun's options on each of two machines."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}"


def trained(stage):
    """The newest checkpoint of a stage."""
    return checkpoints.load(checkpoints.newest_good(stage.folder))


def assert_close(state, expected):
    """The same model, momentum and history but for rounding errors of float64: sums are added up in another order."""
    for name, value in expected["model"].items():
        torch.testing.assert_close(state["model"][name], value, rtol=1e-9, atol=1e-12)
    for number, value in expected["optimizer"]["state"].items():  # momentum: the gradients of all steps
        found = state["optimizer"]["state"][number]["momentum_buffer"]
        torch.testing.assert_close(found, value["momentum_buffer"], rtol=1e-9, atol=1e-12)
    for entry, other in zip(state["position"]["history"], expected["position"]["history"], strict=True):
        for name in ("epoch", "loss", "train_accuracy", "heldout_accuracy"):
            assert entry[name] == pytest.approx(other[name], rel=1e-9)


def test_a_killed_process_ends_all_and_two_machines_or_one_process_resume_as_if_nothing_had_happened(launch):
    stage = ranks.stage()
    ranks.fit(stage, ranks.model())
    expected = trained(stage)
    stage.start_over()

    killed = launch(TWO, HERE / "ranks.py", "1", "5", "kill")  # rank 1, in the second epoch
    killed.communicate(timeout=300)
    assert killed.returncode and "epoch 2 of 3" in stage.state
    shutil.copytree(stage.folder, stage.folder.with_name("copy"))

    meet = two_machines()
    machines = [launch(meet, HERE / "ranks.py") for _ in range(2)]
    outputs = [machine.communicate(timeout=300) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], outputs
    assert sum("epoch  3/3" in output for output, _ in outputs) == 1  # rank 0 alone tells
    assert trained(stage)["made_on"]["processes"] == 2
    assert_close(trained(stage), expected)

    shutil.rmtree(stage.folder)
    stage.folder.with_name("copy").rename(stage.folder)
    ranks.fit(stage, ranks.model())
    assert trained(stage)["made_on"]["processes"] == 1
    assert_close(trained(stage), expected)


def test_machines_with_a_home_each_are_told_to_share_one(launch, environment, tmp_path):
    """If one of them resumed in another epoch, they'd train on other images than the course says."""
    stage, meet, machines = ranks.stage(epochs=1), two_machines(), []
    ranks.fit(stage, ranks.model())
    before = trained(stage)["position"]
    for home in (stage.course.home, tmp_path / "other"):
        environment(HOME=home)
        ranks.stage()
        machines.append(launch(meet, HERE / "ranks.py"))
    for machine in machines:
        _, errors = machine.communicate(timeout=300)
        assert machine.returncode and errors.count("errors.SettingsError: ") == 1, errors
    assert trained(stage)["position"] == before


def test_each_process_finds_what_the_first_one_has_written_and_nothing_that_it_has_deleted(launch):
    toured = launch(("--standalone", "--nproc-per-node=4"), HERE / "ranks.py", "tour")
    output, errors = toured.communicate(timeout=300)
    assert not toured.returncode and "The tour is over." in output, errors


def test_an_error_in_one_process_ends_all_and_is_shown_once(launch):
    failed = launch(TWO, HERE / "ranks.py", "1", "2", "raise")
    _, errors = failed.communicate(timeout=300)
    assert failed.returncode and errors.count("ZeroDivisionError") == 1 and "gloo" not in errors.lower()


def test_an_error_in_all_processes_is_shown_once_and_batches_must_be_shared_evenly(launch):
    failed = launch(("--standalone", "--nproc-per-node=3"), HERE / "ranks.py")
    _, errors = failed.communicate(timeout=300)
    assert failed.returncode and errors.count("errors.SettingsError: ") == 1


def test_more_processes_than_gpus_say_so(monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "any", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SettingsError, match="1"):
        distributed.join(batch_size=32)


@contextmanager
def process(number, of):
    """Be the process with this number, as far as batches are concerned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "rank", lambda: number)
        patch.setattr(distributed, "ranks", lambda: of)
        yield


@given(count=st.integers(4, 100), size=st.sampled_from([4, 8, 12]), processes=st.sampled_from([2, 4]))
def test_the_processes_together_see_what_one_sees(course, count, size, processes):
    """In the same order, with the same augmentation; no share is too small for BatchNorm."""
    images, stage, shares = noise_images(max(count, 2 * processes)), elsewhere(course, batch_size=size).stage(3), []
    for number in range(processes):
        with process(number, processes):
            shares.append(list(training_batches(images, stage, 1, augmented=True)))
    alone = [torch.cat(column) for column in zip(*training_batches(images, stage, 1, augmented=True))]
    together = [[], []]
    for step in zip(*shares, strict=True):
        assert min(len(labels) for _, labels in step) >= min(2, size // processes)
        for column, parts in zip(together, zip(*step)):
            whole = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
            for number, part in enumerate(parts):
                whole[number::processes] = part
            column.append(whole)
    assert all(torch.equal(torch.cat(column), whole) for column, whole in zip(together, alone))
