"""Settings from the form and from the environment, which wins; the device, the precision, and where things go."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from course_lib import CheckpointError, SettingsError, describe, open_course, workspace
from course_lib.device import Precision, choose_precision
from course_lib.workspace import PRESETS, REPOSITORY, Settings


def test_without_anything_set_it_is_the_lecture_on_the_embedded_data(environment, monkeypatch):
    monkeypatch.delenv("COURSE_HOME")
    course = open_course()
    assert (course.data, course.preset, course.home) == ("shapes", "lecture", REPOSITORY / "runs")
    assert course.folder == REPOSITORY / "runs" / "shapes-lecture"
    assert course.settings == Settings(**PRESETS["lecture"])
    assert (course.settings.lr, course.settings.momentum, course.settings.batch_size) == (0.01, 0.9, 32)


def test_the_full_preset_is_the_reports_experiment():
    assert PRESETS["full"]["size"] == 224 and PRESETS["full"]["images_per_class"][0] * 80 == 40_000
    assert PRESETS["full"]["epochs"] | {1: 0} == {1: 0, 2: 30, 3: 50}


def test_the_environment_wins_over_the_form(environment, tmp_path):
    environment(DATA="mine.zip", PRESET="smoke", SEED=7, SIZE=48, EPOCHS=9, PRECISION="bf16")
    course = open_course(data="shapes", preset="full")
    assert (course.data, course.data_name, course.preset) == ("mine.zip", "mine", "smoke")
    assert (course.settings.seed, course.settings.size, course.precision.name) == (7, 48, "bf16")
    assert course.settings.epochs == PRESETS["smoke"]["epochs"] | {2: 9, 3: 9}  # stage 1 is a check, and keeps its own
    assert course.folder == tmp_path / "home" / "mine-smoke"


def test_what_the_environment_leaves_out_or_empty_comes_from_the_form(environment):
    environment(PRESET="", SEED="", DATA="")
    course = open_course(data="elsewhere/mine.tar", preset="smoke")
    assert (course.data_name, course.preset, course.settings.seed) == ("mine", "smoke", 0)


@pytest.mark.parametrize(
    "name, value",
    [
        ("PRESET", "huge"),
        ("SEED", "-1"),
        ("SEED", str(2**63)),
        ("SEED", "1.5"),
        ("SEED", "seven"),
        ("SIZE", "31"),
        ("SIZE", "0"),
        ("SIZE", "-64"),
        ("SIZE", "64px"),
        ("EPOCHS", "0"),
        ("EPOCHS", "-3"),
        ("EPOCHS", "1e3"),
        ("PRECISION", "fp8"),
        ("PRECISION", "FP32"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_variable(environment, name, value):
    environment(**{name: value})
    with pytest.raises(SettingsError, match=f"COURSE_{name}.*{value}|{value}.*COURSE_{name}"):
        open_course()


def test_a_misspelled_variable_is_not_ignored(environment):
    environment(EPOCH=3)
    with pytest.raises(SettingsError, match="no setting COURSE_EPOCH; the settings are .*COURSE_EPOCHS"):
        open_course()


def test_largest_and_smallest_values_are_taken(environment):
    environment(SEED=2**63 - 1, SIZE=32, EPOCHS=1)
    assert open_course().settings.seed == 2**63 - 1


def test_home_is_expanded_and_absolute(environment, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    environment(HOME="~/course")
    assert open_course().home == tmp_path / "course"
    monkeypatch.chdir(tmp_path)
    environment(HOME="here")
    assert open_course().home == tmp_path / "here"


def test_drive_is_there_in_colab_only(environment, monkeypatch):
    monkeypatch.delenv("COURSE_HOME")
    with pytest.raises(SettingsError, match="Colab only"):
        open_course(drive=True)


@pytest.mark.parametrize(
    "device, capability, expected",
    [("cpu", None, "fp32"), ("mps", None, "fp32"), ("cuda", (7, 5), "fp16"), ("cuda", (8, 0), "bf16")],
)
def test_auto_takes_the_precision_that_the_hardware_computes_in(monkeypatch, device, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)  # as PyTorch says on a T4, (7, 5)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    assert choose_precision(torch.device(device)) == Precision(expected, device)


@pytest.mark.parametrize("capability", ["amx_bf16", "avx512_bf16"])
def test_auto_takes_bf16_on_a_cpu_that_computes_in_it(monkeypatch, capability):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {capability: True}, raising=False)
    assert choose_precision(torch.device("cpu")).name == "bf16"


def test_fp16_needs_a_cuda_device():
    with pytest.raises(SettingsError, match="COURSE_PRECISION is fp16, which needs a CUDA device"):
        choose_precision(torch.device("cpu"), "fp16")
    assert choose_precision(torch.device("cuda"), "fp16").name == "fp16"


@pytest.mark.parametrize("name, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_autocast_computes_in_the_precision_and_only_fp16_scales(name, dtype):
    precision = Precision(name, "cpu")
    with precision.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    assert not precision.scaler().is_enabled()


def test_stages_have_folders_of_their_own_and_are_finished_by_their_model(course):
    stage = course.stage(2)
    assert stage.folder == course.folder / "stage-2" and stage.epochs == 1 and not stage.finished
    with pytest.raises(CheckpointError, match="Stage 2 is not finished: run its training cell"):
        stage.finished_model()
    stage.folder.mkdir(parents=True)
    stage.model_path.write_bytes(b"")
    assert stage.finished and stage.finished_model() == stage.folder / "model.pth"
    assert not course.stage(3).finished


def test_settings_can_be_changed_in_a_copy_only(course):
    changed = course.with_settings(lr=0.1)
    assert asdict(changed.settings) == asdict(course.settings) | {"lr": 0.1} and course.settings.lr == 0.01
    with pytest.raises(SettingsError, match="COURSE_SIZE is 8"):
        course.with_settings(size=8)


def test_paths_are_shown_without_the_machine(course, monkeypatch):
    monkeypatch.setenv("HOME", str(course.home.parent))
    assert course.shown(REPOSITORY / "runs" / "shapes-lecture") == str(Path("runs", "shapes-lecture"))
    assert course.shown(course.home / "x") == str(Path("~", "home", "x"))
    assert course.shown("/content/drive/MyDrive/runs") == str(Path("/content/drive/MyDrive/runs"))
    assert describe(course) == (
        "shapes, preset smoke: 32 × 32 pixels, seed 0, on cpu in fp32, channels last\n"
        f"results in {Path('~', 'home', 'shapes-smoke')}; found there: nothing yet"
    )


def test_a_data_sets_name_is_its_stem(course):
    for data, name in [
        ("shapes", "shapes"),
        ("a/b/tiny80.zip", "tiny80"),
        ("mine.tar.gz", "mine"),
        ("a/mine/", "mine"),
    ]:
        assert replace(course, data=data).data_name == name


def test_the_device_is_the_best_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert workspace.best_device().type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert workspace.best_device().type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert workspace.best_device() == torch.device("cuda", 1)


def test_the_full_preset_without_a_gpu_says_how_many_hours_it_takes(environment, monkeypatch):
    environment(PRESET="full")
    monkeypatch.setattr(workspace, "best_device", lambda: torch.device("cpu"))
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    course = open_course()
    assert "Without a GPU this takes about 23 hours" in describe(course)
    assert "hours" not in describe(replace(course, device=torch.device("cuda")))
    assert "hours" not in describe(replace(course, preset="lecture"))


def test_fp32_is_fp32_and_the_fastest_algorithms_are_looked_for(course):
    assert torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
