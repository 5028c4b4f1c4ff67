"""What makes a run this run: its settings and its data, and what happens where another run already
is."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import torch
from data_sets import answers, png, report_files, write_folder, write_tar, write_zip
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import conv_model, noise_images, press_stop

from course_lib import (
    CheckpointError,
    Stopped,
    experiment,
    homes,
    open_course,
    record,
    train,
    trial,
)
from course_lib.device import Precision
from course_lib.experiment import PRESETS, Settings
from course_lib.storage.checkpoints import newest_first
from course_lib.storage.files import read_sealed, write_sealed, write_text
from course_lib.storage.identity import differing

CHECKPOINT = "checkpoint-00001-0000000-0123456789abcdef.pt"
OTHER = {  # for each setting, another value
    "size": 64,
    "images_per_class": (3, 1),
    "lr": 0.1,
    "momentum": 0.0,
    "batch_size": 7,
    "seed": 1,
    "precision": "bf16",
    "schedule": "one-cycle",
    "weight_decay": 0.01,
    "label_smoothing": 0.1,
    "crop": 0.5,
    "flips": (0.5, 0.0),
    "degrees": 10.0,
    "plain": 0.5,
    "sync_batch_norm": True,
}


@pytest.fixture
def opened(course, environment):
    """Opens a data set with the environment of `course`, which may be changed: opened(path,
    SEED=1)."""

    def open_with(data="shapes", **variables):
        environment(**variables)
        return open_course(str(data))

    return open_with


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(course, images=None):
    train(conv_model(), images or noise_images(), course.stage(2), augmented=False)


def refused(course, *names):
    """Is the folder another run's? Nothing in it changes, and the message names the folder and
    these differences."""
    before = content(course.folder)
    with pytest.raises(CheckpointError) as raised:
        course.claim()
    with pytest.raises(CheckpointError):
        run(course)
    assert content(course.folder) == before
    return str(course.folder) in str(raised.value) and all(
        name in str(raised.value) for name in names
    )


def test_a_folder_of_yours_that_happens_to_have_a_runs_name_is_left_alone(environment, tmp_path):
    """`start_over` deletes a run's folder, so none may become one that has anything else in it."""
    data, yours = write_folder(tmp_path / "birds", report_files(6)), tmp_path / "birds-smoke"
    environment(PRESET="smoke", HOME=tmp_path, DATA=data)
    write_text(yours / "thesis.txt", "…")
    with pytest.raises(CheckpointError, match="birds-smoke"):
        open_course()
    assert [path.name for path in yours.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    "name",
    [
        *(".git/HEAD", ".env", ".thesis.12.tmp", "stage-plan.txt", "stage-1/notes.txt", "stage-1"),
        *("stage-1/checkpoint-best.pt", "best/{checkpoint}", "stage-plan/{checkpoint}"),
        *("stage-1/{checkpoint}/notes.txt", "stage-1/.{checkpoint}.12.tmp.zip", "{checkpoint}"),
        *("run.json/notes.txt", "model.pth"),
    ],
)
def test_a_folder_without_a_runs_own_files_in_their_places_is_left_alone(
    environment, tmp_path, name
):
    yours = tmp_path / "birds-smoke" / name.format(checkpoint=CHECKPOINT)
    data = write_folder(tmp_path / "birds", report_files(6))
    environment(PRESET="smoke", HOME=tmp_path, DATA=data)
    write_text(yours, "…")
    before = content(tmp_path / "birds-smoke")
    with pytest.raises(CheckpointError, match="birds-smoke"):
        open_course()
    assert content(tmp_path / "birds-smoke") == before


@pytest.mark.parametrize("name", [".drive.json", ".run.json.12.tmp", "..drive.json.12.tmp"])
def test_a_folder_with_nothing_but_leftovers_of_ours_is_as_good_as_empty(course, name):
    shutil.rmtree(course.folder)
    write_text(course.folder / name, "half of it")
    assert open_course().folder == course.folder


def test_a_file_in_the_place_of_a_runs_folder_is_named(course):
    shutil.rmtree(course.folder)
    course.folder.write_text("…")
    with pytest.raises(CheckpointError, match=course.folder.name):
        open_course()
    assert course.folder.read_text() == "…"


def test_an_experiment_has_the_courses_data_even_if_its_source_has_changed_since(
    environment, tmp_path
):
    files = report_files(6)
    environment(PRESET="smoke", DATA=write_folder(tmp_path / "birds", files))
    course = open_course()
    write_folder(tmp_path / "birds", {"train_data/0.png": files["train_data/1.png"]})
    assert course.experiment("lr", lr=0.1).data is course.data


# Settings


def test_every_setting_is_part_of_the_identity(course):
    assert set(OTHER) == {field.name for field in fields(Settings)}
    run(course)
    for name, value in OTHER.items():
        other = replace(course, settings=replace(course.settings, **{name: value}))
        assert refused(other, f"settings {name}")
        (course.folder / "run.json").rename(course.folder / "gone")  # the checkpoint knows, too
        before = content(course.folder / "stage-2")
        with pytest.raises(CheckpointError, match=f"settings {name}"):
            run(other)
        assert content(course.folder / "stage-2") == before
        (course.folder / "gone").rename(course.folder / "run.json")


def test_so_is_a_setting_that_a_later_version_adds(course):
    run(course)
    later = dataclasses.make_dataclass(
        "Later", [("decay", float, 0.0)], bases=(Settings,), frozen=True
    )
    assert refused(
        replace(course, settings=later(**asdict(course.settings))), "settings decay", "0.0"
    )


def test_all_differences_are_named_at_once(course):
    other = replace(course, settings=replace(course.settings, seed=1, lr=0.5))
    assert refused(other, "settings seed", "settings lr", "0.01", "0.5")


def test_a_folders_name_shows_what_differs_from_the_preset(monkeypatch, opened, course):
    assert course.folder.name == "shapes-smoke-fp32"
    assert opened(SEED=7).folder.name == "shapes-smoke-seed7-fp32"
    assert opened(SEED="", SIZE=64, PRECISION="").folder.name == "shapes-smoke-64px"
    names = set()
    for name, value in OTHER.items():
        changed = replace(PRESETS["smoke"][0], **{name: value})
        names.add(folder := experiment.folder_name("birds", "smoke", changed))
        assert folder.startswith("birds-smoke-") and folder != "birds-smoke"
    assert len(names) == len(OTHER) and "birds-smoke-lr0.1" in names


def test_the_number_of_epochs_is_not_part_of_it(opened, course):
    run(course)
    longer = opened(EPOCHS=2)
    assert longer.folder == course.folder
    train(conv_model(), noise_images(), longer.stage(2), augmented=False)
    assert newest_first(longer.stage(2).folder)[0].name.startswith("checkpoint-00002")


# Data


def changed_files(change):
    """Six images of three classes, and what is different after a change."""
    files = report_files(8 if change == "one more class" else 6)
    if change == "pixels":
        files["train_data/3.png"] = files["train_data/2.png"]
    if change == "labels":
        files["answer.json"] = answers([(f"{n}.png", 2 - n // 2) for n in range(6)])
    if change == "one more image":
        files["train_data/x.png"] = png(77)
        rows = [(f"{n}.png", n // 2) for n in range(6)]
        files["answer.json"] = answers([*rows, ("x.png", 1)])
    if change == "names":
        files["train_data/x.png"] = files.pop("train_data/5.png")
        files["answer.json"] = answers([(f"{'x' if n == 5 else n}.png", n // 2) for n in range(6)])
    return files


CHANGES = ["one more class", "one more image", "pixels", "labels", "names"]


@pytest.mark.parametrize("change", CHANGES)
def test_two_data_sets_of_one_name_have_a_run_each(opened, tmp_path, change):
    first = opened(write_folder(tmp_path / "a" / "data", report_files(6)))
    run(first)
    before = content(first.folder)
    second = opened(write_folder(tmp_path / "b" / "data", changed_files(change)))
    run(second)
    third = opened(write_folder(tmp_path / "c" / "data", report_files(6)))
    assert second.folder != first.folder and content(first.folder) == before
    assert third.folder == first.folder  # the same images elsewhere are the same run


@pytest.mark.parametrize("change", CHANGES)
def test_before_training_the_data_may_change(opened, tmp_path, change):
    folder = tmp_path / "data"
    first = opened(write_folder(folder, report_files(6)))
    shutil.rmtree(folder)
    second = opened(write_folder(folder, changed_files(change)))
    assert second.folder == first.folder and second.data.digest != first.data.digest
    run(second)
    with pytest.raises(CheckpointError):
        run(first)


@pytest.mark.parametrize(
    "change, said",
    [
        ("one more class", ["8 images instead of 6", "class 3 is new"]),
        ("one more image", ["7 images instead of 6", "class 1 has one more"]),
        ("pixels", ["as many images"]),
        ("labels", ["as many images"]),
        ("names", ["as many images"]),
    ],
)
def test_after_training_a_change_is_described_and_one_can_start_over(
    opened, tmp_path, change, said
):
    folder = tmp_path / "data"
    course = opened(write_folder(folder, report_files(6)))
    run(course)
    before = content(course.folder)
    shutil.rmtree(folder)
    write_folder(folder, changed_files(change))
    with pytest.raises(CheckpointError) as refusal:
        open_course(str(folder))
    for text in said:
        assert text in str(refusal.value)
    assert content(course.folder) == before
    (course.folder / "notes.txt").write_text("mine")
    again = open_course(str(folder), start_over=True)
    assert again.folder == course.folder and again.stage(2).state is None
    assert (course.folder / "notes.txt").read_text() == "mine"
    run(again)


def test_a_folder_of_ones_own_called_shapes_is_not_the_generated_data(opened, tmp_path):
    drawn = opened("shapes")
    own = opened(write_folder(tmp_path / "shapes", report_files(6)))
    assert drawn.data.generated and not own.data.generated
    assert drawn.folder != own.folder and drawn.data.name != own.data.name


def test_the_same_data_is_the_same_run_wherever_it_is_and_however_it_is_packed(opened, tmp_path):
    files = report_files(6)
    courses = [
        opened(write_folder(tmp_path / "a" / "birds", files)),
        opened(write_zip(tmp_path / "birds.zip", files)),
        opened(write_tar(tmp_path / "birds.tar.gz", files, "w:gz")),
        opened(write_folder(tmp_path / "b" / "birds", files)),
    ]
    assert (
        len({json.dumps(course.identity) for course in courses})
        == len({c.folder for c in courses})
        == 1
    )


def test_a_data_sets_folder_has_its_name(opened, tmp_path, monkeypatch):
    for name in ("birds-v1.2.zip", "birds-v1.3.zip"):
        assert (
            opened(write_zip(tmp_path / name, report_files(6))).folder.name
            == f"{name[:-4]}-smoke-fp32"
        )
    monkeypatch.chdir(write_folder(tmp_path / "my birds", report_files(6)))
    assert opened(".").folder.name == "my_birds-smoke-fp32"
    (tmp_path / "my birds" / "train_data" / "deep").mkdir()
    monkeypatch.chdir("train_data")
    assert opened("..").folder.name == "my_birds-smoke-fp32"
    assert opened(write_folder(tmp_path / "새", report_files(6))).folder.name == "새-smoke-fp32"


# run.json


NO_RECORDS = [[], {}, "x", 5, None, {"identity": 5}, {"identity": {}}, {"precision": "fp32"}]
NO_RECORDS += [{"identity": 5, "precision": "fp32"}, {"identity": {}, "precision": 5}]


@pytest.mark.parametrize("content", NO_RECORDS)
def test_a_run_json_with_other_things_in_it_is_damaged(course, content):
    write_sealed(course.folder / "run.json", content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        open_course()


@settings(max_examples=20)
@given(
    key=st.text(min_size=1).map(lambda text: "\x1b" + text),
    value=st.recursive(
        st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    ),
)
def test_what_somebodys_run_json_says_does_not_reach_the_terminal(key, value):
    """On a shared Drive, it may be anybody's."""
    found = {"settings": {"lr": 0.1, "precision": "\x1b]0;title\x07", key: value}}
    (*differences,) = differing(found, {"settings": {"lr": 0.01, "precision": "fp32", key: 0}})
    assert len(differences) == 3 and all(text.isprintable() for text in differences)
    assert "settings lr is 0.1 there, 0.01 here" in differences


def test_differences_read_naturally():
    found = {"data": {"name": "고양이"}, "flips": [0.5, 0.0], "seed": None}
    expected = {"data": {"name": "birds-v1.2"}, "flips": [0.0, 0.0], "seed": 3}
    assert list(differing(found, expected)) == [
        "data name is 고양이 there, birds-v1.2 here",
        "flips is [0.5, 0.0] there, [0.0, 0.0] here",
        "seed is None there, 3 here",
    ]


@pytest.mark.parametrize(
    "text", [b'{"identity": {"da', b"\xff\xfe", b"null", b"{}", b'{"identity": 3}']
)
def test_a_run_json_that_cannot_be_read_is_named_and_nothing_is_lost(course, text):
    run(course)
    (course.folder / "run.json").write_bytes(text)
    before = content(course.folder)
    with pytest.raises(CheckpointError, match=course.folder.name):
        open_course()
    assert content(course.folder) == before
    (course.folder / "run.json").unlink()  # without it, the run still counts, and gets one again
    assert open_course().stage(2).state == "finished" and (course.folder / "run.json").exists()


@pytest.mark.parametrize("text", [b"", b'{"identity": {"da', b"null", None])
@pytest.mark.parametrize("trained", [True, False])
def test_a_damaged_run_json_of_other_data_gives_its_folder_to_nobody(
    opened, tmp_path, text, trained
):
    courses = []
    for place, count in (("x", 60), ("y", 66)):
        data = write_folder(tmp_path / place / "pets", report_files(count))
        courses.append(opened(data))
    first, second = courses
    assert first.folder != second.folder
    if trained:
        run(first)
    write_text(first.folder / "results.json", "{}")
    path = first.folder / "run.json"
    if text is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(text)
    run(second)
    before = content(first.folder)
    assert opened(tmp_path / "y" / "pets").folder == second.folder
    again = open_course(str(tmp_path / "y" / "pets"), start_over=True)
    assert again.folder == second.folder and again.stage(2).state is None
    third = write_folder(tmp_path / "z" / "pets", report_files(72))
    for start_over in (False, True):
        with pytest.raises(CheckpointError, match=first.folder.name):
            open_course(str(third), start_over=start_over)
    assert content(first.folder) == before


def test_a_course_that_starts_over_leaves_an_empty_run(course):
    run(course)
    write_text(course.folder / "results.json", "{}")
    course.start_over()
    assert [path.name for path in content(course.folder)] == ["run.json"] and not course.stage(
        2
    ).state
    shutil.rmtree(course.folder)
    course.start_over()
    assert (course.folder / "run.json").exists()


OURS = [
    *("run.json", "results.json", "result.csv", ".drive.json", ".results.json.12.tmp"),
    *(f"stage-1/{CHECKPOINT}", "stage-2/measured.json"),
    *(f"stage-2/.{CHECKPOINT}.12.tmp", "stage-2/.model.pth.34.tmp", "..drive.json.1.tmp"),
    *("trials/0123456789abcdef.json", "guesses/0123456789abcdef.json"),
]
YOURS = [
    *("thesis.docx", "model.pth", CHECKPOINT, "figures/loss.png", ".git/HEAD", ".env", "....1.tmp"),
    *("stage-1/notes.txt", "stage-1/best.pt", "stage-1/checkpoint-best.pt", "stage-1/.hidden"),
    *(f"stage-1/best/{CHECKPOINT}", f"best/{CHECKPOINT}", "stage-plan/model.pth", "stage-2x/a.txt"),
    *("notebooks/03_five_batches.ipynb", "notebooks/10_my_analysis.ipynb", "stage-12/model.pth"),
    *("trials/mine.json", "trials/0123456789abcdef.txt", "notebooks/mine.ipynb"),
    *("guesses/mine.json", "guesses.json"),
    *("notebooks/03_five_batches-Copy1.ipynb", "notebooks/03_five_batches.py", "trials/run.json"),
    *("results.json.12.tmp", ".thesis.docx.12.tmp", "stage-1/result.csv", "mine/run.json"),
]


def test_only_what_the_course_writes_is_deleted(course):
    for name in OURS + YOURS:
        if name != "run.json":
            write_text(course.folder / name, name)
    (course.folder / "stage-1" / "empty").mkdir()
    (course.folder / "stage-3" / "model.pth").mkdir(parents=True)
    unknown = course.folder / "stage-2" / "model.pth"  # to all checkpoints and measurements
    write_text(unknown, "mine")
    course.stage(1).start_over()
    left = {path.relative_to(course.folder).as_posix() for path in content(course.folder)}
    expected = {name for name in OURS if not name.startswith("stage-1/")}
    assert left == expected | {*YOURS, "stage-2/model.pth"}
    course.start_over()
    left = {path.relative_to(course.folder).as_posix() for path in content(course.folder)}
    assert left == {"run.json", *YOURS, "stage-2/model-1.pth"}
    assert unknown.with_name("model-1.pth").read_text() == "mine"
    assert (course.folder / "stage-1" / "empty").is_dir()
    assert (course.folder / "stage-3" / "model.pth").is_dir()
    assert open_course().folder == course.folder


@pytest.mark.parametrize("linked", [".", "stage-2", "trials"])
def test_a_folder_on_a_larger_disk_is_emptied_and_the_link_to_it_stays(course, tmp_path, linked):
    large = tmp_path / "large"
    place = course.folder / linked
    shutil.rmtree(place, ignore_errors=True)
    large.mkdir()
    place.symlink_to(large)
    course.claim()
    run(course)
    trial(course, noise_images(), epochs=1, model=conv_model())
    write_text(large / "notes.txt", "mine")
    assert len(content(large)) > 1
    course.start_over()
    assert place.is_symlink() and (large / "notes.txt").read_text() == "mine"
    expected = {"notes.txt", "run.json"} if linked == "." else {"notes.txt"}
    assert {path.name for path in content(large)} == expected
    run(course)
    assert course.stage(2).finished


def test_a_run_that_has_taken_our_place_meanwhile_is_not_deleted(course):
    """A kernel is still open whose run was deleted, and another begun in the same folder."""
    shutil.rmtree(course.folder)
    other = replace(course, settings=replace(course.settings, seed=1))
    other.claim()
    run(other)
    before = content(course.folder)
    for start_over in (course.start_over, course.stage(2).start_over):
        with pytest.raises(CheckpointError, match="seed"):
            start_over()
    assert content(course.folder) == before and len(before) > 1


def test_what_is_left_of_trials_is_deleted_with_the_run(course):
    """Each is a run with other settings."""
    model = conv_model()
    model.register_forward_pre_hook(lambda *_: press_stop())
    with pytest.raises(Stopped):
        trial(course, noise_images(), epochs=2, model=model, lr=0.5)
    assert content(course.unfinished_trials)
    course.start_over()
    assert not course.unfinished_trials.exists()


# Experiments


def test_an_experiment_is_a_run_of_its_own(course):
    run(course)
    before = content(course.folder)
    other = course.experiment("lr-0.1", lr=0.1, epochs=2)
    assert other.folder == course.home / f"{course.folder.name}-lr-0.1"
    assert other.settings.lr == 0.1 and other.stage(1).epochs == 2
    assert other.identity["settings"] == course.identity["settings"] | {"lr": 0.1}
    run(other)
    assert all(path.read_bytes() == data for path, data in before.items())
    with pytest.raises(CheckpointError, match=r"lr .*0\.1 .*0\.2"):
        course.experiment("lr-0.1", lr=0.2)
    assert course.experiment("lr-0.1", lr=0.1, epochs=3).stage(2).state  # the epochs don't matter


NAMES = {"seed1": {"SEED": 1}, "64px": {"SIZE": 64}, "bf16": {"PRECISION": "bf16"}}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("version", ["this", "an earlier one"])
def test_an_experiment_that_is_called_like_another_run_does_not_delete_it(
    environment, name, version
):
    environment(PRESET="smoke")
    course = open_course()
    environment(**NAMES[name])
    other = open_course()
    run(other)
    if version != "this":
        of_an_earlier_version(other.folder)
    before = content(other.folder)
    with pytest.raises(CheckpointError, match=name):
        course.experiment(name, start_over=True, lr=0.1)
    assert content(other.folder) == before
    assert open_course(start_over=True).stage(2).state is None


def test_a_run_that_is_called_like_an_experiment_does_not_delete_it(environment):
    environment(PRESET="smoke")
    theirs = open_course().experiment("seed1", lr=0.1)
    run(theirs)
    before = content(theirs.folder)
    environment(SEED=1)
    with pytest.raises(CheckpointError, match="seed1"):
        open_course(start_over=True)
    assert content(theirs.folder) == before


def test_of_two_experiments_with_one_folder_neither_deletes_the_other(course):
    inner = course.experiment("a").experiment("b", lr=0.1)
    run(inner)
    before = content(inner.folder)
    with pytest.raises(CheckpointError, match="a-b"):
        course.experiment("a-b", start_over=True, lr=0.2)
    assert content(inner.folder) == before
    assert course.experiment("a").experiment("b", start_over=True).stage(2).state is None


@pytest.mark.parametrize("version", ["this", "an earlier one"])
@pytest.mark.parametrize("yours", [[], ["curve.png"], ["stage-2/notes.txt", "guesses/mine.txt"]])
def test_starting_over_begins_anew_with_other_settings_whatever_of_yours_stays(
    course, version, yours
):
    before = course.experiment("milder", crop=0.35)
    run(before)
    for name in yours:
        write_text(before.folder / name, "mine")
    if version != "this":
        of_an_earlier_version(before.folder)
    again = course.experiment("milder", start_over=True, crop=0.3)
    assert again.folder == before.folder and again.stage(2).state is None
    run(again)
    assert course.experiment("milder", crop=0.3).stage(2).finished
    for name in yours:
        assert (before.folder / name).read_text() == "mine"


def test_a_preset_that_has_changed_can_be_started_over_beside_a_figure_of_yours(
    course, monkeypatch
):
    run(course)
    write_text(course.folder / "curves.png", "a figure")
    settings, epochs = PRESETS["smoke"]
    changed = replace(settings, momentum=0.8)
    for module in (experiment, homes):
        monkeypatch.setitem(module.PRESETS, "smoke", type(PRESETS["smoke"])(changed, epochs))
    with pytest.raises(CheckpointError, match="momentum"):
        open_course()
    again = open_course(start_over=True)
    assert again.folder == course.folder and again.settings.momentum == 0.8
    assert (course.folder / "curves.png").exists()
    assert open_course().settings.momentum == 0.8


def of_an_earlier_version(folder):
    """Write a run.json as it was before experiments had their names in it."""
    record = read_sealed(folder / "run.json")
    del record["experiments"]
    write_sealed(folder / "run.json", record)


def test_an_experiments_size_and_seed_are_those_of_its_data(course, opened, tmp_path):
    large = course.experiment("large", size=48)
    assert large.data.train.pixels.shape[1] == 48 and course.data.train.pixels.shape[1] == 32
    files = report_files(60)
    files["answer.json"] = answers([(f"{i}.png", i % 2) for i in range(60)])
    birds = opened(write_folder(tmp_path / "birds", files))
    reseeded = birds.experiment("seed-1", seed=1)
    assert reseeded.data.heldout.names != birds.data.heldout.names
    assert not {*reseeded.data.heldout.names} & {*reseeded.data.train.names}


# Precision


def test_a_run_keeps_the_precision_it_began_in(environment, monkeypatch):
    def device(**capabilities):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)

    monkeypatch.setattr(experiment, "best_device", lambda: torch.device("cpu"))
    environment(PRESET="smoke")
    device()
    assert open_course().precision.name == "fp32"
    device(amx_bf16=True)
    course = open_course()
    assert course.precision.name == "bf16"  # nothing was trained before the better device came
    run(course)
    device()
    assert open_course().precision.name == "fp32"  # the device can't do better
    device(amx_bf16=True)
    assert open_course().precision.name == "bf16"
    open_course().start_over()
    run(replace(open_course(), precision=Precision("fp32", "cpu")))
    assert open_course().precision.name == "fp32"  # where bf16 would be chosen now
    environment(PRECISION="bf16")  # whoever asks gets it, emulated if need be
    assert open_course().precision.name == open_course().precision.name == "bf16"


# Where it runs


SCRIPT = """
import sys
from course_lib import homes, open_course
from course_lib.storage.files import write_text
homes.CHECKOUT = homes.Path(sys.argv[1])
course = open_course()
print(course.describe(), course.folder, "새 – ² … é 🙂")
print("새 – ² … é 🙂", file=sys.stderr)
write_text(course.folder / "last.json", "{}")
"""


def test_no_console_is_too_narrow_and_drive_gets_what_is_written_last(tmp_path):
    """A process that ends copies what isn't on Drive yet."""
    (tmp_path / "MyDrive").mkdir()
    birds = write_folder(tmp_path / "새", report_files(6))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
    }
    environment |= {
        "PYTHONIOENCODING": "cp1252",
        "COURSE_HOME": str(tmp_path / "MyDrive"),
        "COURSE_DATA": str(birds),
    }
    environment |= {
        "COURSE_PRESET": "smoke",
        "PYTHONPATH": str(homes.CHECKOUT),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "not a checkout")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, timeout=300)
    assert done.returncode == 0 and b"Error" not in done.stderr, done.stderr.decode("cp1252")
    assert (tmp_path / "runs" / "새-smoke" / "last.json").exists()  # outside a checkout, here
    assert (tmp_path / "MyDrive" / "새-smoke" / "last.json").exists()


def test_no_file_of_a_run_holds_a_path_of_this_machine(opened, tmp_path):
    course = opened(write_folder(tmp_path / "birds", report_files(60)))
    model = conv_model()
    history = train(model, course.data.train, course.stage(2), augmented=False)
    record(course.stage(2), model, history, {})
    trial(course, course.data.train.take(4), epochs=1, model=conv_model())
    run(course.experiment("large", size=48))
    stored = content(course.home)
    assert {".json", ".pt", ".pth", ".npy"} <= {path.suffix for path in stored}
    machine = [os.fsencode(path) for path in (tmp_path, Path.home(), homes.CHECKOUT)]
    assert not [path for path, data in stored.items() if any(place in data for place in machine)]
