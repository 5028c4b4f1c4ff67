"""course_lib/submission.py and board.py: openings are counted, and nothing is overwritten."""

# ruff: noqa: F811 (fixtures of another file)

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from data_sets import class_folders, write_folder
from hypothesis import given
from hypothesis import strategies as st
from test_drive import computer  # noqa: F401 (a fixture)
from tiny import linear_model
from torch import nn

from course_lib import (
    CheckpointError,
    DataError,
    SettingsError,
    begin_project,
    judge,
    open_course,
    submission,
    submit,
    trial,
)
from course_lib.board import harmless
from course_lib.storage.files import read_sealed
from course_lib.storage.run_folder import is_ours


@pytest.fixture
def project(course):
    return begin_project(course, epochs=1)


def trained(project, seeds=(0, 1, 2), **changes):
    """A trial for each seed, of a small network."""
    images = project.data.train.take(24)
    histories = []
    for seed in seeds:
        model = linear_model(seed)
        options = {"epochs": 1, "model": model, "seed": seed} | changes
        histories.append(trial(project, images, **options))
    return histories


def submitted(project, mine=None, control=None, **names):
    """Submit a change of the learning rate against the control."""
    if mine is None:
        mine = trained(project, lr=0.1)
    if control is None:
        control = trained(project)
    names = {"model": "lr 0.1", "student": "Kim"} | names
    return submit(project, mine, control, **names)


def board(project):
    with open(project.folder / "board.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def right(project, histories):
    """Which sealed images were right, measured anew from the texts."""
    return np.array([[c == "1" for c in history[-1]["sealed"]["right"]] for history in histories])


def test_a_claim_is_measured_on_the_sealed_images_and_is_a_row(project):
    mine, control = trained(project, lr=0.1), trained(project)
    claim = submitted(project, mine, control)
    assert claim.sealed_images == len(project.data.sealed) and claim.opened == 1
    assert claim.seeds == 3 and claim.classes == 80
    verdict = judge(right(project, mine), right(project, control))
    assert claim.difference == pytest.approx(verdict.difference, abs=0.01)
    assert claim.verdict == verdict.verdict
    assert claim.accuracy == pytest.approx(100 * right(project, mine).mean(), abs=0.01)
    [row] = board(project)
    assert row["student"] == "Kim" and row["opened"] == "1" and row["model"] == "lr 0.1"
    assert float(row["accuracy"]) == claim.accuracy
    assert claim.accuracy_margin >= 3  # 1.2 ± 0 would be too sure with 80 images
    for part in ("lr 0.1", "the control", "1 epoch of 24 images", "3 seeds", project.data.name):
        assert part in str(claim)


def test_what_a_trial_keeps_for_submit_is_the_accuracy_on_the_sealed_images(project):
    """Measured as any other images: a trial with these held out, where they're open, agrees."""
    images, sealed = project.data.train.take(24), project.data.sealed
    history = trial(project, images, epochs=1, model=linear_model())
    unsealed = replace(project, data=replace(project.data, sealed=None, hidden=set()))
    same = trial(unsealed, images, epochs=1, model=linear_model(), heldout=sealed)
    assert right(project, [history])[0].tolist() == same[-1]["heldout_right"]


def test_another_opening_is_counted_and_the_first_result_kept(project, capsys):
    first = submitted(project)
    second = submitted(project, trained(project, lr=0.2), student="Lee")
    assert (first.opened, second.opened) == (1, 2)
    assert "once before" in str(second) and "before" not in str(first)
    capsys.readouterr()
    again = submitted(project, student="Somebody")
    assert again == first and "nothing was opened" in capsys.readouterr().out
    assert [row["opened"] for row in board(project)] == ["1", "2"]


def test_openings_in_other_runs_on_the_same_data_count(environment, tmp_path):
    """In an experiment of the project, and in a project of another size."""
    folder = write_folder(tmp_path / "mine", class_folders({"ant": 20, "bee": 20}))
    environment(DATA=folder, PRESET="smoke", PRECISION="fp32")
    project = begin_project(open_course(), epochs=1)
    environment(SIZE=40)
    larger = begin_project(open_course(), epochs=1)
    assert larger.data.sealed.names == project.data.sealed.names
    (project.home / "notes.txt").touch()
    runs = [project, project.experiment("idea", epochs=1), larger]
    assert len({run.folder for run in runs}) == 3
    assert [submitted(run).opened for run in runs] == [1, 2, 3]
    assert [row["opened"] for row in board(project)] == ["1"]
    assert submitted(project).opened == 1  # the first result


def test_a_damaged_record_of_another_run_is_named_and_nothing_opened(project):
    other = project.experiment("idea", epochs=1)
    submitted(other)
    (other.folder / "submissions.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="idea"):
        submitted(project)
    assert not (project.folder / "submissions.json").exists()


def test_an_opening_that_was_killed_counts(project, monkeypatch):
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(submission, "judge", killed)
        with pytest.raises(KeyboardInterrupt):
            submitted(project)
    assert board(project) == []
    assert submitted(project).opened == 2


def test_a_missing_board_is_written_again_without_another_opening(project):
    first = submitted(project)
    (project.folder / "board.csv").unlink()
    assert submitted(project) == first
    assert [row["opened"] for row in board(project)] == ["1"]


def test_other_data_is_another_board(environment, tmp_path):
    claims = []
    for name in ("one", "two"):
        folder = write_folder(tmp_path / name, class_folders({f"{name} a": 20, f"{name} b": 20}))
        environment(DATA=folder, PRESET="smoke", PRECISION="fp32")
        claims.append(submitted(begin_project(open_course(), epochs=1)))
    assert [claim.opened for claim in claims] == [1, 1]
    assert [claim.data for claim in claims] == ["one", "two"]


@pytest.mark.parametrize("content", [b"mine", b"\xff\xfe", b"student,data\nKim,1\n"])
def test_a_board_of_yours_is_not_overwritten_and_nothing_opened(project, content):
    path = project.folder / "board.csv"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="board.csv"):
        submitted(project)
    assert path.read_bytes() == content
    assert not (project.folder / "submissions.json").exists()
    path.rename(project.folder / "mine.csv")
    assert submitted(project).opened == 1


def test_a_row_that_was_edited_is_not_overwritten(project):
    submitted(project)
    path = project.folder / "board.csv"
    edited = path.read_text(encoding="utf-8").replace("Kim", "Kim, who was first")
    path.write_text(edited, encoding="utf-8")
    with pytest.raises(CheckpointError, match="board.csv"):
        submitted(project, trained(project, lr=0.2))
    assert path.read_text(encoding="utf-8") == edited


@pytest.mark.parametrize("damage", ["cut", "edited", "another kind"])
def test_a_damaged_record_is_an_error_that_names_it(project, damage):
    submitted(project)
    path = project.folder / "submissions.json"
    text = path.read_text(encoding="utf-8")
    if damage == "cut":
        path.write_text(text[: len(text) // 2], encoding="utf-8")
    if damage == "edited":
        path.write_text(re.sub('"opened": 1', '"opened": 0', text), encoding="utf-8")
    if damage == "another kind":
        run = (project.folder / "run.json").read_text(encoding="utf-8")
        path.write_text(run, encoding="utf-8")
    damaged = path.read_bytes()
    with pytest.raises(CheckpointError, match="submissions.json"):
        submitted(project, trained(project, lr=0.2))
    assert path.read_bytes() == damaged


def test_both_files_go_with_the_run_and_no_others(project):
    submitted(project)
    mine = project.folder / "my-board.csv"
    mine.write_text("mine", encoding="utf-8")
    project.stage(2).start_over()
    assert (project.folder / "submissions.json").exists() and (
        project.folder / "board.csv"
    ).exists()
    project.start_over()
    left = [path.name for path in project.folder.iterdir()]
    assert sorted(left) == ["my-board.csv", "run.json"]
    for path in (project.folder / "submissions.json", project.folder / "board.csv"):
        assert is_ours(path.relative_to(project.folder))


@pytest.mark.parametrize(
    "name",
    ["", "  ", "two\nlines", "=1+1", "+1", "@x", "x" * 81, None, "\u2028", "Kim;=1", "\uff1d1"],
)
def test_a_name_that_could_be_anything_else_is_refused(project, name):
    for field in ("student", "model", "control_name"):
        with pytest.raises(SettingsError):
            submitted(project, **{field: name})
    assert not (project.folder / "submissions.json").exists()


def test_names_may_be_in_any_script(project):
    submitted(project, student="김민준 “K”, 3")
    assert board(project)[0]["student"] == "김민준 “K”, 3"


def test_trainings_that_cannot_be_compared_are_refused_and_nothing_opened(course, project):
    mine, control = trained(project, lr=0.1), trained(project)
    unsealed = trained(open_course())
    longer = trained(project, seeds=(3,), epochs=2)
    for wrong, others in (
        (mine, mine),  # no change
        (mine, [*control[:2], mine[0]]),
        ([mine[0]] * 3, control),  # one seed, three times
        (unsealed, control),
        ([*mine, *longer], control),
        ([], control),
    ):
        with pytest.raises(DataError):
            submitted(project, wrong, others)
    with pytest.raises(SettingsError):
        submitted(course, mine, control)
    assert not (project.folder / "submissions.json").exists()


class Scaled(nn.Module):
    """A small network whose outputs are multiplied by a number, which is an attribute."""

    def __init__(self, scale):
        super().__init__()
        self.layers = linear_model()
        self.scale = scale

    def forward(self, images):
        return self.scale * self.layers(images)


DIFFERENT = {  # what differs between "seeds", besides the seed
    "rate": lambda project, seed: {"lr": 0.1 + 0.1 * seed},
    "augmentation": lambda project, seed: {"augmented": True, "degrees": 30 * seed},
    "augmented": lambda project, seed: {"augmented": seed == 1},
    "images": lambda project, seed: {"images": project.data.train.take(24, seed=seed)},
    "attribute": lambda project, seed: {"model": Scaled(1.0 + seed)},
    "network": lambda project, seed: {"model": Scaled(1.0) if seed else linear_model()},
    "epochs": lambda project, seed: {"epochs": 1 + seed},
    "precision": lambda project, seed: {"precision": "bf16" if seed else "fp32"},
}


@pytest.mark.parametrize("different", DIFFERENT)
def test_trainings_that_differ_in_more_than_the_seed_are_not_seeds(project, different):
    mixed = []
    for seed in range(2):
        options = {"epochs": 1, "model": linear_model(seed), "seed": seed}
        options |= {"images": project.data.train.take(24)} | DIFFERENT[different](project, seed)
        images = options.pop("images")
        mixed.append(trial(project, images, **options))
    others = trained(project, seeds=(0, 1), momentum=0.5)
    for mine, control in ((mixed, others), (others, mixed)):
        with pytest.raises(DataError, match="seed"):
            submitted(project, mine, control)
    assert not (project.folder / "submissions.json").exists()


def test_other_weights_to_begin_with_are_another_seed(project):
    mine = []
    for number in range(2):
        images = project.data.train.take(24)
        mine.append(trial(project, images, epochs=1, model=linear_model(number), lr=0.1))
    assert submitted(project, mine, trained(project)[:2]).seeds == 2


@pytest.mark.parametrize("effectless", ["heldout", "degrees"])
def test_one_training_is_not_several_seeds(project, effectless):
    """However often it's trained, and whatever was measured or set without effect."""
    same = []
    for i in range(3):
        options = {
            "heldout": {"heldout": project.data.heldout.take(10 * i + 1)},
            "degrees": {"degrees": 10 * i},  # without augmentation
        }
        same += trained(project, seeds=(0,), **options[effectless])
    others = trained(project, lr=0.1)
    with pytest.raises(DataError):
        submitted(project, same, others)
    with pytest.raises(DataError):
        submitted(project, others, same)
    with pytest.raises(DataError):
        submitted(project, same[:1], same[1:2])  # no change
    with pytest.raises(DataError):
        submitted(project, same[:1], [*others, same[1]])
    assert not (project.folder / "submissions.json").exists()


def test_trainings_that_were_measured_on_other_images_are_the_same_submission(project, capsys):
    first = submitted(project)
    heldout = project.data.heldout
    mine, control = trained(project, lr=0.1, heldout=heldout), trained(project, heldout=heldout)
    again = submitted(project, mine, control)
    assert again == first and "nothing was opened" in capsys.readouterr().out


def test_a_longer_training_says_so(project):
    claim = submitted(project, trained(project, epochs=2), trained(project))
    assert "2 epochs of 24 images against 1 epoch of 24 images" in claim.budget


def test_the_record_has_a_checksum(project):
    submitted(project)
    [opening] = read_sealed(project.folder / "submissions.json")
    assert opening["claim"]["student"] == "Kim"
    assert json.loads((project.folder / "submissions.json").read_text(encoding="utf-8"))["sha256"]


def test_an_opening_by_another_notebook_in_between_is_kept(project, monkeypatch):
    others = []

    def judged(*arguments):
        if not others:
            others.append(None)
            others[0] = submitted(project, trained(project, lr=0.2), student="Lee")
        return judge(*arguments)

    monkeypatch.setattr(submission, "judge", judged)
    claim = submitted(project)
    assert [claim.opened, others[0].opened] == [1, 2]
    assert [row["student"] for row in board(project)] == ["Kim", "Lee"]


def test_openings_on_another_computer_count_if_both_share_a_drive(computer, tmp_path):
    """Both have the project open; each submits another change."""
    pets = write_folder(tmp_path / "pets", class_folders({"cat": 20, "dog": 20}))
    claims = []
    projects = [begin_project(computer(name, data=pets), epochs=1) for name in ("a", "b")]
    for number, project in enumerate(projects):
        images = project.data.train.take(4)
        mine, control = (
            [trial(project, images, epochs=1, model=linear_model(), lr=lr)]
            for lr in (0.1 + number, 0.01)
        )
        claims.append(submit(project, mine, control, model="lr", student="Kim"))
        assert project.drive.wait()
    assert [claim.opened for claim in claims] == [1, 2]
    assert len(board(projects[1])) == 2


def test_openings_in_runs_that_are_only_on_drive_count(computer, tmp_path):
    """A new runtime submits in a run with another seed, and then in the first one's copy."""
    pets = write_folder(tmp_path / "pets", class_folders({"cat": 20, "dog": 20}))
    claims = []
    for name, seed in {"a": "", "b": 1, "c": 2}.items():
        project = begin_project(computer(name, data=pets, SEED=seed), epochs=1)
        claims.append(submitted(project))
        assert project.drive.wait()
    again = begin_project(computer("d", data=pets), epochs=1)
    claims.append(submitted(again, trained(again, lr=0.2)))
    assert [claim.opened for claim in claims] == [1, 2, 3, 4]


def test_a_damaged_record_on_drive_is_named_and_nothing_opened(computer, tmp_path):
    pets = write_folder(tmp_path / "pets", class_folders({"cat": 20, "dog": 20}))
    project = begin_project(computer(data=pets), epochs=1)
    mine, control = trained(project, lr=0.1), trained(project)
    write_folder(project.drive.remote.parent / "other", {"submissions.json": b"", "run.json": b"{"})
    with pytest.raises(CheckpointError, match="other"):
        submitted(project, mine, control)
    assert not (project.folder / "submissions.json").exists()


@given(
    text=st.text(alphabet="=+-@\uff1d; ,\t\r\n\"'ab1"),
    before=st.text(alphabet="a;\"' "),
    separator=st.sampled_from(",;\t"),
)
def test_no_part_of_a_cell_is_a_formula_whatever_separates_cells(text, before, separator):
    """A German or French spreadsheet splits a .csv at semicolons."""
    file = io.StringIO()
    csv.writer(file).writerow([harmless(before + text), harmless(text)])
    for row in csv.reader(io.StringIO(file.getvalue(), newline=""), delimiter=separator):
        for cell in row:
            assert not cell.strip().startswith(("=", "+", "-", "@", "\uff1d"))
