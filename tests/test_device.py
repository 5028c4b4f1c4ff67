"""The device, the precision it computes in, and the threads it leaves to others."""

import pytest
import torch
from tiny import Crash, at_step, conv_model, crash, elsewhere, noise_images

from course_lib import run, train
from course_lib.device import Precision, best_device, choose_precision
from course_lib.storage import checkpoints


@pytest.mark.parametrize(
    "device, capability, expected",
    [("cpu", None, "fp32"), ("cuda", (7, 5), "fp16"), ("cuda", (8, 0), "bf16")],
)
def test_auto_takes_the_precision_that_the_hardware_computes_in(
    monkeypatch, device, capability, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda: True
    )  # as PyTorch says on a T4, (7, 5)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert choose_precision(torch.device(device)) == Precision(expected, device)


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16"])
def test_auto_takes_bf16_on_a_cpu_that_computes_in_it(monkeypatch, capability):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    assert choose_precision(torch.device("cpu")).name == "bf16"


@pytest.mark.parametrize(
    "name, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_autocast_computes_in_the_precision_and_only_fp16_scales(name, dtype):
    precision = Precision(name, "cpu")
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert precision.scaler().is_enabled() == (name == "fp16")


def test_the_device_is_the_best_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device().type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert best_device() == torch.device("cuda", 1)


def test_fp32_is_fp32_and_the_fastest_algorithms_are_looked_for(course):
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32


@pytest.fixture
def idle(monkeypatch):
    """Sets how many of 16 cores are idle, and how many threads PyTorch would take by itself,
    without a real load."""

    def set_idle(cores, threads=2):
        monkeypatch.setattr(run.psutil, "cpu_count", lambda: 16)
        monkeypatch.setattr(run.psutil, "cpu_percent", lambda interval: 100 * (1 - cores / 16))
        monkeypatch.setattr(run, "_MOST_THREADS", threads)

    yield set_idle
    torch.set_num_threads(1)


CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "cores, wanted, threads",
    [(2.0, 2, 2), (1.9, 2, 2), (1.0, 2, 1), (0.02, 2, 1), (16.0, 2, 2), (3.1, 16, 3)],
)
def test_no_more_threads_are_taken_than_cores_are_idle(idle, capsys, cores, wanted, threads):
    idle(cores)
    run.choose_threads(CPU, wanted)
    said = capsys.readouterr().out
    assert torch.get_num_threads() == threads
    assert f"{threads} of {wanted}" in said if threads < wanted else not said


def test_a_gpu_does_not_care(idle, capsys):
    idle(0.0)
    run.choose_threads(torch.device("cuda"), 2)
    assert torch.get_num_threads() == 2 and not capsys.readouterr().out


def test_a_stage_keeps_its_threads_as_long_as_the_computer_has_them(short, idle, saving_often):
    def threads_of(stage, step=99):
        try:
            train(at_step(conv_model(), step, crash), noise_images(), stage, augmented=False)
        except Crash:
            pass
        assert (
            checkpoints.load(checkpoints.newest_good(stage.folder))["made_on"]["threads"]
            == torch.get_num_threads()
        )
        return torch.get_num_threads()

    idle(1.0)
    assert threads_of(short.stage(2), 4) == 1
    idle(2.0)
    assert threads_of(short.stage(2), 4) == 1  # part of being bit-exact
    assert threads_of(short.stage(1), 4) == 2
    idle(2.0, threads=1)  # on a smaller computer
    assert threads_of(short.stage(1)) == 1
    assert threads_of(elsewhere(short).stage(2)) == 1
