"""The device, and the precision it computes in."""

import pytest
import torch

from course_lib import SettingsError, device
from course_lib.device import Precision, best_device, choose_precision, computes_in

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    "place, capability, expected",
    [("cpu", None, "fp32"), ("cuda", (7, 5), "fp16"), ("cuda", (8, 0), "bf16")],
)
def test_auto_takes_the_precision_that_the_hardware_computes_in(
    monkeypatch, place, capability, expected
):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda: True
    )  # as PyTorch says on a T4, (7, 5)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert choose_precision(torch.device(place)) == Precision(expected, place)


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16"])
def test_auto_takes_bf16_on_a_cpu_that_computes_in_it(monkeypatch, capability):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    assert choose_precision(torch.device("cpu")).name == "bf16"


@pytest.mark.parametrize("listed", [True, False])
def test_an_older_pytorch_asks_linux_whether_the_cpu_computes_in_bf16(
    monkeypatch, tmp_path, listed
):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t: fpu avx512_vnni" + (" avx512_bf16" if listed else "") + " amx_x\n")
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(device, "Path", lambda name: cpuinfo)
    assert computes_in(CPU, "bf16") is listed
    cpuinfo.unlink()  # another system
    assert computes_in(CPU, "bf16") is False


def test_a_precision_that_is_only_emulated_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    for device_, emulated in [(CPU, ["bf16", "fp16"]), (torch.device("cuda"), ["bf16"])]:
        for name in ("auto", "fp32", "bf16", "fp16"):
            assert name in ("auto", choose_precision(device_, name).name)
            said = capsys.readouterr().out
            assert (name in said) == (name in emulated)


def test_an_unknown_precision_is_refused():
    with pytest.raises(SettingsError, match="fp8"):
        choose_precision(CPU, "fp8")


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("place", ["cpu", "cuda", "meta"])
def test_whether_it_computes_in_a_precision_is_a_bool(monkeypatch, name, place):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert isinstance(computes_in(torch.device(place), name), bool)


@pytest.mark.parametrize(
    "name, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_autocast_computes_in_the_precision_and_only_fp16_scales(name, dtype):
    precision = Precision(name, "cpu")
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert precision.scaler().is_enabled() == (name == "fp16")


@pytest.fixture
def gpu(monkeypatch):
    """Puts a GPU of some compute capability into this computer, and says what PyTorch is for."""

    def put(capability, built_for):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla P100")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: built_for)

    return put


def test_without_a_gpu_the_cpu_computes(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert best_device().type == "cpu" and not capsys.readouterr().out


@pytest.mark.parametrize(
    "capability, built_for",
    [
        ((7, 5), ["sm_70", "sm_75", "sm_80"]),
        ((8, 9), ["sm_75", "sm_80", "sm_86", "sm_90"]),  # 8.6's code runs on 8.9
        ((9, 0), ["sm_80", "sm_90a"]),
        ((12, 0), ["sm_100", "sm_120"]),
        ((12, 0), ["sm_80", "compute_80"]),  # translated when it's loaded
        ((7, 5), ["compute_70"]),
        ((7, 5), []),
    ],
)
def test_a_gpu_that_pytorch_has_code_for_is_used(gpu, capsys, capability, built_for):
    gpu(capability, built_for)
    assert best_device() == torch.device("cuda", 1) and not capsys.readouterr().out


@pytest.mark.parametrize(
    "capability, built_for",
    [
        ((6, 0), ["sm_70", "sm_75", "sm_80", "sm_86", "sm_90", "compute_90"]),  # Kaggle's P100
        ((6, 0), ["sm_61"]),
        ((8, 0), ["sm_75", "sm_86"]),
        ((12, 0), ["sm_80", "sm_90"]),
        ((12, 0), ["sm_80", "compute_121"]),
    ],
)
def test_a_gpu_that_pytorch_has_no_code_for_is_left_alone(gpu, capsys, capability, built_for):
    """torch.cuda.is_available() is True all the same."""
    gpu(capability, built_for)
    assert best_device().type == "cpu"
    said = capsys.readouterr().out
    assert "P100" in said and said.count("\n") == 1


def test_amds_gpus_are_left_to_pytorch(gpu, monkeypatch):
    gpu((9, 0), ["gfx90a"])
    monkeypatch.setattr(torch.version, "hip", "6.2")
    assert best_device() == torch.device("cuda", 1)


def test_fp32_is_fp32_and_the_fastest_algorithms_are_looked_for(course):
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
