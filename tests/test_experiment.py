"""Settings from the form and from the environment, which wins; presets, stages, and where things
are."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import linear_model, noise_images, press_stop

from course_lib import SettingsError, Stopped, experiment, homes, open_course, train
from course_lib.data.bank import Bank
from course_lib.experiment import PRESETS


@pytest.fixture
def opened(environment, monkeypatch, tmp_path):
    """A checkout without data, in tmp_path; a list of what is opened."""
    images, opened = noise_images(), []

    def open_data(source, settings, home, skip_unreadable):
        opened.append((source, settings, home))
        return Bank(
            name=Path(source).stem,
            layout="any",
            generated=False,
            train=images,
            validation=images,
            heldout=images,
            test=images,
            classes=images.classes,
            split="all of them",
            digest="digest",
            place="",
            counts={},
            left_out=[],
            seed=settings.seed,
        )

    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(experiment, "open_data", open_data)
    monkeypatch.setattr(homes, "CHECKOUT", tmp_path)
    monkeypatch.setattr(experiment, "best_device", lambda: torch.device("cpu"))
    return opened


def test_without_anything_set_it_is_the_lecture_on_the_embedded_data(opened, monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_HOME")
    course = open_course()
    assert opened == [("shapes", PRESETS["lecture"][0], tmp_path / "runs")]
    assert (course.data.name, course.preset, course.folder) == (
        "shapes",
        "lecture",
        tmp_path / "runs/shapes-lecture",
    )
    assert (course.settings, course.epochs) == PRESETS["lecture"]
    assert (course.settings.lr, course.settings.momentum, course.settings.batch_size) == (
        0.01,
        0.9,
        32,
    )


def test_outside_a_checkout_runs_are_in_the_current_folder(opened, monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_HOME")
    (tmp_path / "pyproject.toml").unlink()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert open_course().home == tmp_path / "here" / "runs"


def test_the_full_preset_is_the_reports_experiment():
    settings, epochs = PRESETS["full"]
    assert (
        settings.size == 224
        and settings.images_per_class[0] * 80 == 40_000
        and (epochs[2], epochs[3]) == (30, 50)
    )


def test_the_environment_wins_over_the_form(opened, environment):
    environment(DATA="mine.zip", PRESET="smoke", SEED=7, SIZE=48, EPOCHS=9, PRECISION="bf16")
    course = open_course(data="shapes", preset="full")
    assert (opened[0][0], course.preset) == ("mine.zip", "smoke")
    assert (course.settings.seed, course.settings.size, course.precision.name) == (7, 48, "bf16")
    assert course.epochs == PRESETS["smoke"][1] | {
        2: 9,
        3: 9,
    }  # stage 1 is a check, and keeps its own
    assert [course.stage(number).epochs for number in (1, 2, 3)] == [1, 9, 9]


def test_what_the_environment_leaves_out_or_empty_comes_from_the_form(opened, environment):
    environment(PRESET="", SEED="", DATA="")
    course = open_course(data="elsewhere/mine.tar", preset="smoke")
    assert (opened[0][0], course.preset, course.settings.seed) == ("elsewhere/mine.tar", "smoke", 0)


@pytest.mark.parametrize(
    "name, value",
    [
        *[("PRESET", "huge"), ("PRECISION", "fp8"), ("PRECISION", "FP32")],
        *[("SEED", value) for value in ("-1", str(2**63), "1.5", "seven")],
        *[("SIZE", value) for value in ("31", "0", "-64", "64px")],
        *[("EPOCHS", value) for value in ("-3", "0", "1e3")],
    ],
)
def test_a_value_that_cannot_be_used_is_refused_with_its_variable(opened, environment, name, value):
    environment(**{name: value})
    with pytest.raises(SettingsError, match=f"COURSE_{name}.*{value}"):
        open_course()
    assert not opened


def test_a_misspelled_variable_is_not_ignored(opened, environment):
    environment(EPOCH=3)
    with pytest.raises(SettingsError, match=r"COURSE_EPOCH\b.*COURSE_EPOCHS"):
        open_course()


def test_largest_and_smallest_values_are_taken(opened, environment):
    environment(SEED=2**63 - 1, SIZE=32, EPOCHS=1)
    assert open_course().settings.seed == 2**63 - 1


def test_home_is_expanded_and_absolute(opened, environment, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    environment(HOME="~/course")
    assert open_course().home == tmp_path / "course"
    monkeypatch.chdir(tmp_path)
    environment(HOME="here")
    assert open_course().home == tmp_path / "here"


def test_an_experiment_of_your_own_changes_a_copy_only_and_has_its_own_folder(course):
    changed = course.experiment("lr-0.1", lr=0.1, epochs=7)
    assert (
        asdict(changed.settings) == asdict(course.settings) | {"lr": 0.1}
        and course.settings.lr == 0.01
    )
    assert (
        changed.epochs == {1: 7, 2: 7, 3: 7}
        and changed.folder == course.home / "shapes-smoke-fp32-lr-0.1"
    )
    assert (
        course.experiment("bf16", precision="bf16").precision.name
        == "bf16"
        != course.precision.name
    )
    assert len(course.experiment("large", size=48).data.train.pixels[0]) == 48
    for name in ("size", "batch_size"):
        with pytest.raises(SettingsError, match="-8"):
            course.experiment("small", **{name: -8})
    with pytest.raises(SettingsError, match="learning_rate"):
        course.experiment("misspelled", learning_rate=0.1)


@pytest.mark.parametrize(
    "pythons, other",
    [
        ({"lr": 0.1}, {"lr": np.float64(0.1)}),
        ({"lr": 0.5}, {"lr": torch.tensor(0.5)}),
        ({"flips": (0.5, 0.0)}, {"flips": tuple(np.linspace(0.5, 0, 2))}),
        ({"flips": (0.5, 0.0)}, {"flips": [0.5, 0]}),
    ],
)
def test_a_number_of_numpys_is_as_good_as_one_of_pythons(course, pythons, other):
    """And a list is as good as a tuple: the checkpoint can be loaded, and is the same run's."""
    for changes in (other, pythons):
        stage = course.experiment("changed", **changes).stage(1)
        assert len(train(linear_model(), noise_images(), stage, augmented=False)) == 1


@pytest.mark.parametrize("name", ["../x", "a/b", "/x"])
def test_an_experiments_name_is_that_of_one_folder_beside_the_runs(course, name):
    before = set(course.home.parent.rglob("*"))
    with pytest.raises(SettingsError, match=name):
        course.experiment(name, lr=0.1)
    assert set(course.home.parent.rglob("*")) == before


def test_a_stage_says_how_far_it_is(short):
    stage = short.stage(2)
    assert stage.state is None and stage.folder == short.folder / "stage-2"
    model = linear_model()
    model.register_forward_pre_hook(lambda *_: press_stop())
    with pytest.raises(Stopped):
        train(model, noise_images(), stage, augmented=False)
    assert (
        "epoch 1 of 3" in stage.state
        and "8 images" in stage.state
        and stage.state in short.describe()
    )
    train(linear_model(), noise_images(), stage, augmented=False)
    assert stage.state == "finished" and short.stage(3).state is None
    stage.model_path.unlink()  # an export: the checkpoint says how far a stage is
    assert stage.state == "finished"


def test_paths_are_shown_without_the_machine(course):
    assert course.shown(course.folder) == str(Path("home", "shapes-smoke-fp32"))
    assert str(course.home) not in course.describe()
    for part in ("shapes", "smoke", "32 × 32", "seed 0", "cpu", "fp32"):
        assert part in course.describe()
