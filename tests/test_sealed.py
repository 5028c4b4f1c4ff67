"""course_lib/data/sealed.py and project.py: which images are sealed, and that nothing sees them."""

import json
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
from data_sets import class_folders, png, report_files, write_folder
from hypothesis import given
from hypothesis import strategies as st
from tiny import linear_model

from course_lib import DataError, begin_project, few_heldout, open_course, trial
from course_lib.data.bank import Images, open_data
from course_lib.data.sealed import seal
from course_lib.storage.files import write_sealed

TRAIN = class_folders({"ant": 20, "bee": 30}, "train/")


def sealed_folder(environment, folder, contents):
    """A project on these files."""
    environment(DATA=write_folder(folder, contents), PRESET="smoke", PRECISION="fp32")
    return begin_project(open_course(), epochs=1).data


def test_test_images_are_sealed_if_there_are_validation_images(environment, tmp_path):
    contents = TRAIN | class_folders({"ant": 3, "bee": 4}, "val/")
    contents |= class_folders({"ant": 5, "bee": 6}, "test/")
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert len(data.train) == 50 and len(data.heldout) == 7 and len(data.sealed) == 11
    assert data.sealed.rows.min() > data.heldout.rows.max()
    for part in (data.test, data.validation):
        assert part.rows.tolist() == data.heldout.rows.tolist()


@pytest.mark.parametrize("part", ["val", "test"])
def test_half_of_each_class_is_sealed_if_there_is_one_such_part(environment, tmp_path, part):
    contents = TRAIN | class_folders({"ant": 4, "bee": 7}, f"{part}/")
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert len(data.train) == 50
    assert np.bincount(data.sealed.labels).tolist() == [2, 4]
    assert np.bincount(data.heldout.labels).tolist() == [2, 3]


@pytest.mark.parametrize("test", [{}, {"ant": 4, "bee": 1}])
def test_otherwise_one_in_ten_training_images_is_sealed(environment, tmp_path, test):
    """Also if one class has a single test image: no half of it could be sealed."""
    contents = TRAIN | class_folders(test, "test/")
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert np.bincount(data.sealed.labels).tolist() == [2, 3]
    held_out = list(test.values()) or [2, 3]
    assert np.bincount(data.heldout.labels).tolist() == held_out
    assert len(data.train) == (45 if test else 40)


def test_test_images_without_labels_stay_what_result_csv_is_written_for(environment, tmp_path):
    contents = report_files(train=40, test=3, labelled=False)
    contents["answer.json"] = json.dumps(
        {"annotations": [{"file_name": f"{i}.png", "category": i % 2} for i in range(40)]}
    ).encode()
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert len(data.test) == 3 and len(data.sealed) == 4


def test_one_sealed_image_is_too_few(environment, tmp_path):
    with pytest.raises(DataError, match="only 1"):
        sealed_folder(environment, tmp_path / "mine", class_folders({"ant": 5, "bee": 2}))


@given(
    counts=st.lists(st.integers(3, 12), min_size=2, max_size=4),
    test=st.integers(0, 4),
    copies=st.integers(0, 5),
    seed=st.integers(0, 5),
)
def test_no_picture_is_sealed_and_open(tmp_path_factory, counts, test, copies, seed):
    """Whatever the layout, and however often a picture is there."""
    tmp_path = tmp_path_factory.mktemp("any")
    of_class = {f"class {i}": count for i, count in enumerate(counts)}
    contents = class_folders(of_class, "train/")
    contents |= class_folders(dict.fromkeys(of_class, test), "test/")
    for i in range(copies):
        contents[f"train/class 0/copy{i}.png"] = png(7)
    data = open_data(str(write_folder(tmp_path / "mine", contents)), settings(seed), tmp_path)
    sealed = seal(data, seed)
    again = seal(data, seed)
    assert sealed.sealed.names == again.sealed.names and seal(sealed, seed + 1) is sealed
    hidden = pictures(sealed.sealed)
    assert len(sealed.sealed) >= 2
    for field in fields(sealed):
        part = getattr(sealed, field.name)
        if isinstance(part, Images) and field.name != "sealed":
            assert len(part) and not hidden & pictures(part)
    in_all = len(sealed.train) + len(sealed.heldout) + len(sealed.sealed)
    assert in_all == sum(counts) + copies + test * len(counts)


def settings(seed):
    return SimpleNamespace(size=32, seed=seed, images_per_class=(2, 1))


def pictures(images):
    return {images.batch([i]).numpy().tobytes() for i in range(len(images))}


def test_a_project_has_a_run_of_its_own_and_stays_sealed(course):
    project = begin_project(course, epochs=1)
    assert project.folder != course.folder
    for other in (project, project.experiment("other", lr=0.1), project.experiment("a", seed=3)):
        sealed = set(other.data.sealed.rows.tolist())
        assert sealed and not sealed & set(other.data.train.rows.tolist())
        assert not sealed & set(few_heldout(other).rows.tolist())


def test_a_trial_of_a_project_is_another_than_the_course_s(course):
    project = begin_project(course, epochs=1)
    images = project.data.train.take(8)
    history = trial(project, images, epochs=1, model=linear_model())
    assert "sealed" in history[-1]
    assert "sealed" not in trial(course, images, epochs=1, model=linear_model())[-1]


def test_measurements_of_earlier_notebooks_are_mentioned(environment, tmp_path, capsys):
    parts = [class_folders({"ant": 3, "bee": 3}, f"{part}/") for part in ("val", "test")]
    environment(DATA=write_folder(tmp_path / "mine", TRAIN | parts[0] | parts[1]), PRESET="smoke")
    course = open_course()
    begin_project(course, epochs=1)
    assert "already" not in capsys.readouterr().out
    write_sealed(course.stage(2).measured_path, {})
    begin_project(course, epochs=1)
    assert "6 of the 6" in capsys.readouterr().out
