"""Several processes train one model: the same images, losses and gradients as one; if one dies, all
end and resume."""

import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import ranks
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import elsewhere, noise_images

from course_lib import SettingsError, distributed, experiment
from course_lib.augment import training_batches
from course_lib.data.bank import open_data
from course_lib.storage import checkpoints

HERE = Path(__file__).parent
TWO = ("--standalone", "--nproc-per-node=2")


@pytest.fixture
def launch(course, monkeypatch):
    """Starts torchrun with ranks.py, on the CPU; its output is that of `.communicate()`."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(experiment, "open_data", open_data)  # each home has its own data

    def launch(options, *arguments):
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *options,
            HERE / "ranks.py",
            *arguments,
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, text=True, encoding="utf-8", cwd=HERE.parent, **pipes)

    return launch


def two_machines():
    """torchrun's options on each of two machines, with two processes each."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    return (
        "--nnodes=2",
        "--nproc-per-node=2",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint=127.0.0.1:{port}",
    )


def trained(stage):
    """The newest checkpoint of a stage."""
    return checkpoints.load(checkpoints.newest_good(stage.folder))


def assert_close(state, expected):
    """The same model, momentum and history but for rounding errors: sums are added up in another
    order.

    Weights are float64, the history's sums float32.
    """
    for name, value in expected["model"].items():
        torch.testing.assert_close(state["model"][name], value, rtol=1e-9, atol=1e-12)
    for number, value in expected["optimizer"][
        "state"
    ].items():  # momentum: the gradients of all steps
        found = state["optimizer"]["state"][number]["momentum_buffer"]
        torch.testing.assert_close(found, value["momentum_buffer"], rtol=1e-9, atol=1e-12)
    for entry, other in zip(
        state["position"]["history"], expected["position"]["history"], strict=True
    ):
        for name in ("epoch", "loss", "train_accuracy", "heldout_accuracy"):
            assert entry[name] == pytest.approx(other[name], rel=1e-6)


@pytest.mark.slow
def test_after_a_kill_two_machines_or_one_process_resume_as_if_nothing_had_happened(
    launch, environment, tmp_path
):
    """Then, in the same processes: each finds what rank 0 has written, and nothing that it has
    deleted; and machines with a home each are told to share one (resumed in different epochs,
    they'd train on other images than the course says), once on each of them.
    """
    stage = ranks.stage()
    ranks.fit(stage, ranks.model())
    expected = trained(stage)
    stage.start_over()

    killed = launch(TWO, "end", "1", "5", "kill")  # rank 1, in the second epoch
    killed.communicate(timeout=300)
    assert killed.returncode and "epoch 2 of 3" in stage.state
    shutil.copytree(stage.folder, stage.folder.with_name("copy"))

    homes, meet = (stage.course.home, tmp_path / "other"), two_machines()
    environment(HOME=homes[1])
    ranks.stage()
    environment(HOME=homes[0])
    machines = [launch(meet, "meet", home) for home in homes]
    outputs, errors = zip(*[machine.communicate(timeout=300) for machine in machines])
    assert all(machine.returncode for machine in machines)
    assert [text.count("errors.SettingsError: ") for text in errors] == [1, 1], errors
    for told in ("epoch  3/3", "The tour is over."):  # by rank 0 alone
        assert sum(output.count(told) for output in outputs) == 1
    assert trained(stage)["made_on"]["processes"] == 4
    assert_close(trained(stage), expected)

    shutil.rmtree(stage.folder)
    stage.folder.with_name("copy").rename(stage.folder)
    ranks.fit(stage, ranks.model())
    assert trained(stage)["made_on"]["processes"] == 1
    assert_close(trained(stage), expected)


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_and_is_shown_once(launch):
    failed = launch(TWO, "end", "1", "2", "raise")
    _, errors = failed.communicate(timeout=300)
    assert (
        failed.returncode
        and errors.count("ZeroDivisionError") == 1
        and "gloo" not in errors.lower()
    )


@pytest.mark.slow
def test_processes_that_differ_are_told_what_differs(launch):
    """Otherwise, they would train together without a word."""
    differing = launch(TWO, "differ")
    output, errors = differing.communicate(timeout=300)
    assert differing.returncode and errors.count("errors.SettingsError: ") == 1
    output += "settings: " + errors.split("errors.SettingsError: ")[1]
    named = {"network": "Tanh", "images": "images", "augmented": "augmented", "settings": "lr"}
    assert list(named) == ranks.DIFFERENT
    for what, name in named.items():
        (told,) = [line for line in output.splitlines() if line.startswith(f"{what}: ")]
        assert name in told.removeprefix(f"{what}: ")


@pytest.fixture
def started(monkeypatch):
    """What torchrun tells a process that it starts, the second of two."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "any",
        "LOCAL_RANK": "1",
        "LOCAL_WORLD_SIZE": "2",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(distributed, "rendezvous", lambda address: iter([(None, 1, 2)]))


def test_more_processes_than_gpus_say_so(started, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="1"):
        distributed.init_process_group(batch_size=32)


def test_batches_must_be_shared_evenly(started, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(distributed.dist, "init_process_group", lambda *arguments, **options: None)
    monkeypatch.setattr(distributed.atexit, "register", lambda function: None)
    monkeypatch.setattr(distributed, "ranks", lambda: 3)
    distributed.init_process_group(batch_size=33)
    with pytest.raises(SettingsError, match="3.*32"):
        distributed.init_process_group(batch_size=32)


@contextmanager
def process(number, of):
    """Be the process with this number, as far as batches are concerned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distributed, "rank", lambda: number)
        patch.setattr(distributed, "ranks", lambda: of)
        yield


@settings(max_examples=12)
@given(
    count=st.integers(4, 100), size=st.sampled_from([4, 8, 12]), processes=st.sampled_from([2, 4])
)
def test_the_processes_together_see_what_one_sees(course, count, size, processes):
    """In the same order, with the same augmentation; no share is too small for BatchNorm."""
    images = noise_images(max(count, 2 * processes))
    stage = elsewhere(course, batch_size=size).stage(3)
    alone = list(training_batches(images, stage, 1, augmented=True))
    shares = []
    for number in range(processes):
        with process(number, processes):
            shares.append(list(training_batches(images, stage, 1, augmented=True)))
    seen = []
    labels = []
    for parts in zip(*shares, strict=True):
        assert min(len(part.labels) for part in parts) >= min(2, size // processes)
        total = parts[0].total
        assert sum(len(part.labels) for part in parts) == total
        whole = parts[0].images.new_empty(total, *parts[0].images.shape[1:])
        whole_labels = parts[0].labels.new_empty(total)
        for number, part in enumerate(parts):
            whole[number::processes] = part.images
            whole_labels[number::processes] = part.labels
        seen.append(whole)
        labels.append(whole_labels)
    assert torch.equal(torch.cat(seen), torch.cat([batch.images for batch in alone]))
    assert torch.equal(torch.cat(labels), torch.cat([batch.labels for batch in alone]))
