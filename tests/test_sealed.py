"""course_lib/data/sealed.py and project.py: which images are sealed, and that nothing sees them."""

import json
from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from data_sets import class_folders, png, report_files, write_folder
from hypothesis import given
from hypothesis import strategies as st
from tiny import conv_model, linear_model

from course_lib import (
    DataError,
    begin_project,
    evaluate,
    few_heldout,
    open_course,
    predict,
    train,
    trial,
)
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
    sealed = seal(data)
    again = seal(data)
    assert sealed.sealed.names == again.sealed.names and seal(sealed) is sealed
    hidden = pictures(sealed.sealed)
    assert len(sealed.sealed) >= 2
    for field in fields(sealed):
        part = getattr(sealed, field.name)
        if isinstance(part, Images) and field.name != "sealed":
            assert len(part) and not hidden & pictures(part)
    held_out = [sealed.heldout, sealed.sealed]
    assert all(len(part) == len(pictures(part)) for part in held_out)
    in_all = pictures(sealed.train).union(*map(pictures, held_out))
    assert len(in_all) == sum(counts) + (copies > 0) + test * len(counts)


NUMBERS = st.lists(st.integers(0, 12), max_size=12)  # of pictures, many of them several times


@given(train=NUMBERS, validation=NUMBERS, test=NUMBERS)
def test_pictures_of_several_parts_are_not_sealed(tmp_path_factory, train, validation, test):
    """Each class has four training images of its own; any other picture may be anywhere."""
    contents = {}
    for category in range(2):
        for i in range(4):
            contents[f"train/{category}/own{i}.png"] = png(1000 + 100 * category + i)
        for part, numbers in {"train": train, "val": validation, "test": test}.items():
            for i, number in enumerate(numbers):
                contents[f"{part}/{category}/{i}.png"] = png(100 * category + number)
    tmp_path = tmp_path_factory.mktemp("overlapping")
    data = open_data(str(write_folder(tmp_path / "mine", contents)), settings(0), tmp_path)
    sealed = seal(data)
    hidden = pictures(sealed.sealed)
    assert len(sealed.sealed) == len(hidden) >= 2
    assert len(sealed.heldout) == len(pictures(sealed.heldout))
    for part in (sealed.train, sealed.validation, sealed.heldout, sealed.test):
        assert len(part) and not hidden & pictures(part)


def test_test_images_that_are_in_validation_are_told_and_stay_open(environment, tmp_path, capsys):
    contents = TRAIN | class_folders({"ant": 3, "bee": 4}, "val/")
    contents |= class_folders({"ant": 5, "bee": 6}, "test/")
    contents["test/ant/copy.png"] = contents["val/ant/0.png"]
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert "1 of 12" in capsys.readouterr().out
    assert len(data.heldout) == 7 and len(data.sealed) == 11


def test_the_test_images_that_are_left_out_are_counted(environment, tmp_path, capsys):
    contents = TRAIN | class_folders({"ant": 3, "bee": 4}, "val/")
    contents |= class_folders({"ant": 5, "bee": 6}, "test/")
    assert len(sealed_folder(environment, tmp_path / "none", contents).sealed) == 11
    assert "left out" not in capsys.readouterr().out
    contents["test/ant/copy.png"] = contents["val/ant/0.png"]
    contents["test/bee/copy.png"] = contents["train/bee/0.png"]
    assert len(sealed_folder(environment, tmp_path / "two", contents).sealed) == 11
    assert "2 of 13" in capsys.readouterr().out


def test_test_images_that_are_all_in_validation_are_split(environment, tmp_path):
    contents = TRAIN | class_folders({"ant": 4, "bee": 6}, "val/")
    for name, content in list(contents.items()):
        if name.startswith("val/"):
            contents[name.replace("val/", "test/")] = content
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert np.bincount(data.sealed.labels).tolist() == [2, 3]
    assert np.bincount(data.heldout.labels).tolist() == [2, 3]
    assert not pictures(data.sealed) & pictures(data.validation)


def test_copies_of_sealed_images_are_one_image(environment, tmp_path, capsys):
    contents = TRAIN | class_folders({"ant": 3, "bee": 3}, "val/")
    tests = class_folders({"ant": 5, "bee": 6}, "test/")
    for name, content in tests.items():
        for i in range(3):
            contents[name.replace(".png", f"-{i}.png")] = content
    data = sealed_folder(environment, tmp_path / "mine", contents)
    assert len(data.sealed) == 11 and "22 copies" in capsys.readouterr().out


def train_in(project, images):
    few = project.data.train.take(8)
    train(linear_model(), images, project.stage(2), augmented=False, heldout=few)


def measure_while_training(project, images):
    few = project.data.train.take(8)
    train(linear_model(), few, project.stage(2), augmented=False, heldout=images)


USES = {
    "train": train_in,
    "train heldout": measure_while_training,
    "trial": lambda project, images: trial(project, images, epochs=1, model=linear_model()),
    "trial heldout": lambda project, images: trial(
        project, project.data.train.take(8), epochs=1, model=linear_model(), heldout=images
    ),
    "evaluate": lambda project, images: evaluate(linear_model(), images, project),
    "predict": lambda project, images: predict(linear_model(), images, project),
}


@pytest.mark.parametrize("use", USES)
def test_sealed_images_are_neither_trained_on_nor_measured(course, use):
    """Not even one of many, under another name, with another label, or in another size."""
    project = begin_project(course, epochs=1)
    sealed, heldout = project.data.sealed, project.data.heldout
    with pytest.raises(DataError, match=f"{len(sealed)} of {len(course.data.train)}"):
        USES[use](project, course.data.train)
    one = sealed.take(1)
    disguised = replace(one, names=["mine.png"], labels=(one.labels + 1) % 80)
    joined = replace(
        heldout,
        rows=torch.cat([heldout.rows, disguised.rows]),
        labels=torch.cat([heldout.labels, disguised.labels]),
        widths=np.append(heldout.widths, disguised.widths),
        heights=np.append(heldout.heights, disguised.heights),
        names=heldout.names + disguised.names,
    )
    with pytest.raises(DataError, match="mine.png"):
        USES[use](project, joined)
    larger = replace(heldout, pixels=torch.zeros(int(heldout.rows.max()) + 1, 40, 40, 3).byte())
    with pytest.raises(DataError, match="40 × 40"):
        USES[use](project, larger)
    assert not project.stage(2).state
    USES[use](project, heldout)
    USES[use](open_course().experiment("unsealed", epochs=1), course.data.train)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("changes", [{}, {"epochs": 1}, {"seed": 1}, {"size": 48}])
@pytest.mark.parametrize("begun", ["before", "after"])
def test_what_a_project_has_sealed_is_not_open_in_the_course_beside_it(
    environment, tmp_path, use, changes, begun
):
    """It's the same notebook, where `course` and `project` are easily confused."""
    contents = class_folders({"ant": 20, "bee": 30})
    environment(DATA=write_folder(tmp_path / "mine", contents), PRESET="smoke", PRECISION="fp32")
    course = open_course()
    beside = course.experiment("beside", **changes) if begun == "before" else None
    project = begin_project(course, epochs=1)
    if beside is None:
        beside = course.experiment("beside", **changes)
    for other in (project, project.experiment("also in this size", size=48)):
        sealed = other.data.sealed
        for images in (sealed, sealed.take(1), course.data.train, beside.data.train):
            with pytest.raises(DataError, match="sealed"):
                USES[use](beside, images)
    evaluate(linear_model(), project.data.heldout, beside)


@pytest.mark.parametrize("changes", [{"seed": 1}, {"size": 48}, {"seed": 2, "size": 48}])
def test_an_experiment_of_a_project_has_the_same_images_sealed(environment, tmp_path, changes):
    """Also an experiment of this one."""
    contents = class_folders({"ant": 20, "bee": 30})
    environment(DATA=write_folder(tmp_path / "mine", contents), PRESET="smoke", PRECISION="fp32")
    project = begin_project(open_course(), epochs=1)
    first = project.experiment("first", **changes)
    for other in (first, first.experiment("second", seed=3)):
        for part in ("train", "validation", "heldout", "sealed"):
            assert getattr(other.data, part).names == getattr(project.data, part).names
        assert other.settings.seed != project.settings.seed or "seed" not in changes


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


def test_a_trained_network_may_have_seen_what_is_sealed_now(course, capsys):
    project = begin_project(course, epochs=1)
    model = conv_model()
    images = project.data.train.take(8)
    trial(project, images, epochs=1, model=model)
    assert "claim" not in capsys.readouterr().out
    train(model, images, project.stage(2), augmented=False)
    trial(project, images, epochs=1, model=model)
    assert "claim" in capsys.readouterr().out


def test_measurements_of_earlier_notebooks_are_mentioned(environment, tmp_path, capsys):
    parts = [class_folders({"ant": 3, "bee": 3}, f"{part}/") for part in ("val", "test")]
    environment(DATA=write_folder(tmp_path / "mine", TRAIN | parts[0] | parts[1]), PRESET="smoke")
    course = open_course()
    begin_project(course, epochs=1)
    assert "already" not in capsys.readouterr().out
    write_sealed(course.stage(2).measured_path, {})
    begin_project(course, epochs=1)
    assert "6 of the 6" in capsys.readouterr().out
