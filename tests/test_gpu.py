"""`make gpu`: its parts run on the CPU, in tiny sizes; what they measure doesn't matter here."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import conv_model, same_weights

from course_lib.device import Precision

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

import gpu  # noqa: E402
import launches  # noqa: E402
from gpu_setup import QUICK, Row, at_most  # noqa: E402

FP32 = Precision("fp32", "cpu")
# A row for each thing that must be right, by how it begins.
RIGHT = [
    "logits in fp32",
    "logits in bf16",
    "logits in fp16",
    "gradients in fp32",
    "gradients in bf16",
    "gradients in fp16",
    "augmentation",
    "loss of one batch in fp32",
    "loss of one batch in bf16",
    "loss of one batch in fp16",
    "overflow in fp16",
    "batches, images resident or not",
    "killed and resumed",
    "GPU → CPU → GPU",
]
MEASURED = [
    "2 processes, loss",
    "a step, 32 px, plain",
    "a step, 32 px, augmented",
    "training, 32 px, plain",
    "training, 32 px, augmented",
    "training, 32 px, bare steps",
    "training, 32 px, the report's recipe, augmented, 2 workers",
    "the GPU waits",
    "40,000 images",
    "peak memory",
]


def run(folder, *options, **variables):
    """Run gpu.py; returns the finished process. Its temporary files are in `folder`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
    }
    environment |= {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, BENCHMARKS / "gpu.py", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The rows that `gpu.py --cpu --quick` prints, as lists of cells."""
    done = run(tmp_path_factory.mktemp("scratch"), "--cpu", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = []
    for line in done.stdout.splitlines():
        if line.startswith("| "):
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows[1:]


@pytest.mark.slow
@pytest.mark.parametrize("what", RIGHT)
def test_what_must_be_right_is_right_on_a_cpu(table, what):
    verdicts = [row[3] for row in table if row[0].startswith(what)]
    assert verdicts == ["met"]


@pytest.mark.slow
@pytest.mark.parametrize("what", MEASURED)
def test_what_is_measured_has_a_row(table, what):
    assert any(row[0].startswith(what) for row in table)


@pytest.mark.slow
def test_no_part_is_left_out(table):
    assert not any("left out" in row[1] or row[3] == "**missed**" for row in table)


def test_without_a_gpu_it_says_so_in_one_sentence(tmp_path):
    done = run(tmp_path, CUDA_VISIBLE_DEVICES="")
    assert done.returncode == gpu.NO_GPU
    assert len(done.stdout.splitlines()) == 1 and "GPU" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_part_that_fails_is_a_row_that_names_the_error():
    place = type("Place", (), {"size": type("Size", (), {"pixels": 32})})

    def measuring(place, effort):
        yield Row("first", "1")
        raise ValueError("broken | in\ntwo lines")

    first, failed = gpu.rows_of(measuring, place, QUICK)
    assert first == Row("first", "1")
    assert failed.right is False and "ValueError" in failed.found
    line = gpu.markdown(failed)
    assert line.count("|") == 5 and "\n" not in line


@pytest.mark.parametrize("found, right", [(0.5, True), (1.5, False), (float("nan"), False)])
def test_a_figure_beyond_its_bar_is_wrong(found, right):
    assert at_most("error", found, 1).right is right


def capture_as_cuda_does(shell, samples):
    """What `make_graphed_callables` does to a network: runs it a few times on samples."""
    for _ in range(3):
        shell(*samples).sum().backward()
    shell.zero_grad()
    seen = []

    def replay(images):
        seen.append(images.shape)
        return shell[0](images)

    replay.seen = seen
    return replay


def test_graphs_leave_the_network_as_it_is_and_replay_whole_batches_only():
    model = conv_model()
    before = copy.deepcopy(model)
    captured = []

    def capture(shell, samples):
        captured.append(capture_as_cuda_does(shell, samples))
        return captured[0]

    sample = torch.zeros(4, 3, 32, 32)
    network = launches.graphed(model, False, sample, FP32, capture)
    assert same_weights(model, before)
    for count in (4, 3, 4):
        images = torch.rand(count, 3, 32, 32)
        assert torch.equal(network(images), before(images))
    assert captured[0].seen == [sample.shape, sample.shape]
    assert same_weights(model, before)


def test_graphs_contain_the_casts_of_weights():
    """Autocast's cache would keep them out; it's used again afterwards."""
    cached = []

    def capture(shell, samples):
        cached.append(torch.is_autocast_cache_enabled())
        cached.append(shell(*samples).dtype)
        return shell

    launches.graphed(
        conv_model(), False, torch.zeros(4, 3, 32, 32), Precision("bf16", "cpu"), capture
    )
    assert cached == [False, torch.bfloat16]
    assert torch.is_autocast_cache_enabled()


def test_operators_are_counted_once_and_views_not_at_all():
    images = torch.rand(2, 3, 8, 8)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as recorded:
        torch.relu(torch.relu(images).view(2, -1).T + 1)
        torch._foreach_add_([images, images], 1)
    events = [event for event in recorded.events() if event.cpu_parent is None]
    assert sum(launches.operators(event) for event in events) == 4
