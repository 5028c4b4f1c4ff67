"""Which run on Drive is whose: data that changes, data of one name, starting over."""

# ruff: noqa: F811 (fixtures of another file)

import json
import os
import shutil

import pytest
from data_sets import answers, report_files, write_folder
from test_drive import computer, content, course, run, stopped  # noqa: F401 (fixtures)
from tiny import same_weights

from course_lib import CheckpointError, DataError, open_course
from course_lib.storage import drive
from course_lib.storage.files import write_text


def test_starting_over_works_with_figures_of_yours_on_both_sides(computer, course):
    stopped(course)
    write_text(course.folder / "curves.png", "a figure")
    assert course.drive.wait()
    for _ in range(2):
        again = open_course(start_over=True)
        assert again.folder == course.folder and again.stage(2).state is None
        for side in (again.folder, again.drive.remote):
            assert (side / "curves.png").read_text() == "a figure"
            assert not list(side.rglob("*.pt"))
        assert open_course().folder == course.folder
    run(again)
    assert again.drive.wait()


@pytest.mark.parametrize("killed", range(1, 9))
def test_starting_over_that_is_cut_short_can_be_repeated(computer, course, monkeypatch, killed):
    """At each of its deletions."""
    stopped(course)
    write_text(course.folder / "curves.png", "a figure")
    assert course.drive.wait()
    real, left = os.unlink, [killed]

    def unlink(path, **options):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", unlink)
        try:
            open_course(start_over=True)
        except KeyboardInterrupt:
            pass
    drive.drive_copy.cache_clear()
    again = open_course(start_over=True)
    assert again.stage(2).state is None and (again.folder / "curves.png").exists()
    run(again)


def test_a_link_into_another_run_is_noticed_before_anything_is_deleted(computer, course):
    run(course)
    experiment = course.experiment("linked")
    run(experiment)
    assert experiment.drive.wait()
    stage = experiment.stage(2).folder
    stage.rename(stage.with_name("mine"))
    stage.symlink_to(course.stage(2).folder)
    before = [content(side) for side in (experiment.drive.remote, course.folder)]
    for start_over in (experiment.start_over, experiment.stage(2).start_over):
        with pytest.raises(CheckpointError, match="link"):
            start_over()
    assert [content(side) for side in (experiment.drive.remote, course.folder)] == before


def test_a_model_pth_of_yours_stays_on_both_sides_when_its_stage_starts_over(computer, course):
    stage = course.stage(2)
    stage.folder.mkdir(parents=True)
    stage.model_path.write_bytes(b"my only copy")
    assert course.drive.wait()
    stage.start_over()
    for side in (course.folder, course.drive.remote):
        assert (side / "stage-2" / "model-1.pth").read_bytes() == b"my only copy"
    assert course.drive.wait()


def test_a_folder_on_drive_that_is_no_runs_is_left_alone(computer, course, tmp_path):
    shutil.rmtree(course.folder)
    shutil.rmtree(course.drive.remote)
    for name in ("result.csv", "results.json", "notes.txt"):
        write_text(course.drive.remote / name, "mine")
    before = content(tmp_path / "MyDrive")
    drive.drive_copy.cache_clear()
    with pytest.raises(CheckpointError, match="run.json"):
        open_course(start_over=True)
    assert content(tmp_path / "MyDrive") == before


def birds_with(change):
    files = report_files(6)
    if change == "labels":
        files["answer.json"] = answers([(f"{n}.png", 2 - n // 2) for n in range(6)])
    return files


def test_before_training_the_data_may_change_on_drive_too(computer, course, tmp_path):
    assert course.drive.wait()
    write_folder(tmp_path / "birds", birds_with("labels"))
    for name in ("a", "b"):  # here, and in another runtime
        changed = computer(name)
        assert changed.folder.name == course.folder.name
        assert changed.data.digest != course.data.digest
    run(changed)
    assert changed.drive.wait()


def test_after_a_change_of_the_data_drive_can_be_left(computer, course, tmp_path, capsys):
    write_folder(tmp_path / "birds", birds_with("labels"))
    changed = computer()
    run(changed)
    changed.leave_drive()
    assert "doesn't have everything" not in capsys.readouterr().out
    assert [copy for copy in drive.Drive.opened if copy.remote == changed.drive.remote] in (
        [],
        [changed.drive],
    )


def test_two_data_sets_of_one_name_have_a_folder_each_on_drive(computer, course, tmp_path):
    others = write_folder(tmp_path / "x" / "birds", birds_with("labels"))
    other = computer("b", data=others)
    assert other.drive.remote != course.drive.remote
    first, second = run(course), run(other)
    assert course.drive.wait() and other.drive.wait()
    assert same_weights(run(computer("c")), first)
    assert same_weights(run(computer("d", data=others)), second)


def test_a_run_is_found_by_its_data_though_a_name_before_it_is_free(computer, course, tmp_path):
    others = write_folder(tmp_path / "x" / "birds", birds_with("labels"))
    other = computer("a", data=others)
    model = run(other)
    assert other.drive.wait()
    shutil.rmtree(course.folder)
    shutil.rmtree(course.drive.remote)
    drive.drive_copy.cache_clear()
    for name in ("a", "c"):
        found = computer(name, data=others)
        assert found.folder.name == other.folder.name
        assert found.stage(2).finished
        assert same_weights(run(found), model)


def test_what_has_changed_is_said_of_the_side_where_it_was_trained(computer, course, tmp_path):
    stopped(course)
    write_folder(tmp_path / "birds", birds_with("labels"))
    with pytest.raises(CheckpointError) as refusal:
        computer("b")
    assert str(course.drive.remote) in str(refusal.value)


def test_a_run_of_an_earlier_version_is_continued(computer, course):
    """Its run.json says nothing about the data's place."""
    stopped(course)
    for side in (course.folder, course.drive.remote):
        stored = json.loads((side / "run.json").read_text(encoding="utf-8"))["content"]
        del stored["data"]
        drive.write_sealed(side / "run.json", stored)
    drive.drive_copy.cache_clear()
    assert computer().stage(2).state == course.stage(2).state


def test_checkpoints_of_other_data_are_refused_though_run_json_is_gone(computer, tmp_path):
    course = computer(drive=False)
    run(course)
    (course.folder / "run.json").unlink()
    write_folder(tmp_path / "birds", birds_with("labels"))
    before = content(course.folder)
    with pytest.raises(CheckpointError, match="data digest"):
        computer(drive=False)
    assert content(course.folder) == before


def test_an_experiment_has_the_same_data_or_says_that_it_has_changed(
    computer, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    course = computer(drive=False, data="birds")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert course.experiment("small", size=48).data.digest == course.data.digest
    write_folder(tmp_path / "birds", birds_with("labels"))
    with pytest.raises(DataError, match="birds"):
        course.experiment("smaller", size=40)


def test_a_damaged_run_json_can_be_given_up(computer):
    course = computer(drive=False)
    run(course)
    (course.folder / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"run\.json"):
        open_course()
    assert open_course(start_over=True).stage(2).state is None
