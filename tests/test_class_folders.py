"""Your own photographs: a folder per class, in whatever way it's kept; and what isn't one."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from data_sets import SETTINGS, WRITERS, class_folders, png, stored, write_folder, write_zip
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import course_lib
from course_lib import DataError, open_course, predict
from course_lib.data.bank import open_data
from course_lib.errors import brief
from course_lib.storage.files import write_sealed

PETS = {"cat": 20, "dog": 10}


@pytest.fixture(params=WRITERS)
def write(tmp_path, request):
    """Writes {path: bytes} as a folder or archive, inside an own folder; returns where."""
    return lambda contents: WRITERS[request.param](tmp_path / "kept" / request.param, contents)


@pytest.fixture
def opened(tmp_path):
    def open_bank(path, **options):
        return open_data(str(path), SETTINGS, tmp_path / "home", **options)

    return open_bank


@pytest.fixture(autouse=True)
def room(tmp_path):
    (tmp_path / "kept").mkdir()


@pytest.mark.parametrize("enclosing", ["", "my pets/", "./", "pets/pets/"])
def test_a_folder_per_class_is_the_same_data_however_it_is_kept(write, opened, tmp_path, enclosing):
    contents = class_folders(PETS) | {".DS_Store": b"", "cat/Thumbs.db": b"", "__MACOSX/x": b""}
    bank = opened(write({enclosing + name: data for name, data in contents.items()}))
    plain = opened(write_folder(tmp_path / "plain", class_folders(PETS)))
    assert bank.digest == plain.digest
    assert bank.classes == ["cat", "dog"]
    assert (len(bank.train), len(bank.heldout)) == (27, 3)
    assert set(bank.train.names + bank.heldout.names) == set(class_folders(PETS))
    for images in (bank.train, bank.heldout):
        for name, label in zip(images.names, images.labels.tolist()):
            assert name.split("/")[0] == bank.classes[label]
    assert bank.guessing == 0.5 and bank.largest_class == ("cat", 18 / 27)
    assert not bank.generated and bank.counts == PETS


@pytest.mark.parametrize("validation", ["val", "valid", "Validation"])
def test_parts_have_their_places(write, opened, validation):
    contents = (
        class_folders({"10": 4, "2": 5}, "train/")
        | class_folders({"10": 2, "2": 1}, f"{validation}/")
        | class_folders({"10": 1, "2": 3}, "test/")
    )
    bank = opened(write(contents))
    assert bank.classes == ["2", "10"]  # in natural order
    assert (len(bank.train), len(bank.validation), len(bank.heldout)) == (9, 3, 4)
    assert bank.heldout.names == bank.test.names
    assert bank.heldout.names == ["2/0.png", "2/1.png", "2/2.png", "10/0.png"]
    assert bank.heldout.labels.tolist() == [0, 0, 0, 1]


def test_validation_images_are_held_out_where_no_test_image_has_a_label(write, opened):
    contents = class_folders(PETS, "train/") | class_folders({"cat": 2, "dog": 3}, "val/")
    contents |= {"test/2.png": png(1), "test/10.png": png(2)}
    bank = opened(write(contents))
    assert len(bank.train) == 30 and len(bank.heldout) == 5
    assert bank.heldout.names == bank.validation.names
    assert bank.test.names == ["2.png", "10.png"] and bank.test.labels.tolist() == [-1, -1]


def test_nested_folders_belong_to_the_class_above_them(write, opened):
    bank = opened(write({f"cat/{i}/a/x.png": png(i) for i in range(4)} | class_folders({"dog": 4})))
    assert bank.classes == ["cat", "dog"] and bank.counts == {"cat": 4, "dog": 4}


@pytest.mark.parametrize(
    "contents, named",
    [
        (class_folders({"cat": 3}), "cat"),
        ({"1.png": png(1), "2.png": png(2)}, "1.png"),
        (class_folders(PETS) | class_folders({"cat": 1}, "test/"), "test"),
        (class_folders(PETS, "train/") | class_folders({"bird": 1}, "test/"), "bird"),
        (class_folders(PETS, "train/") | {"val/x.png": png()}, "val/x.png"),
        (class_folders(PETS, "train/") | class_folders(PETS, "Training/"), "Training"),
        (class_folders(PETS, "test/"), "train"),
        ({"train/1.png": png(1), "train/2.png": png(2)}, "train/1.png"),
        ({"notes.txt": b"x", "more/list.txt": b"x"}, "list.txt"),
        ({"train_data/1.png": png()}, "answer.json"),
    ],
)
def test_what_is_unclear_is_refused_and_named(write, opened, contents, named):
    with pytest.raises(DataError, match=named):
        opened(write(contents))


def test_a_loose_picture_beside_the_classes_is_named_but_not_trained_on(write, opened, capsys):
    bank = opened(write(class_folders(PETS) | {"cover.png": png(5)}))
    assert bank.counts == PETS
    assert "cover.png" in capsys.readouterr().out


def test_ones_whole_drive_or_home_is_not_searched(tmp_path, opened, monkeypatch):
    drive = tmp_path / "MyDrive"
    write_folder(drive, class_folders(PETS))
    with pytest.raises(DataError, match=r"answer\.json"):
        opened(drive)
    monkeypatch.setenv("HOME", str(write_folder(tmp_path / "me", class_folders(PETS))))
    with pytest.raises(DataError, match=r"answer\.json"):
        opened("~")
    assert opened(write_folder(drive / "pets", class_folders(PETS))).counts == PETS


@given(
    st.dictionaries(
        st.text("ab1 é猫.-", min_size=1, max_size=4).filter(
            lambda name: not name.startswith(".") and name.strip() == name
        ),
        st.integers(2, 3),
        min_size=2,
        max_size=4,
    )
)
def test_every_image_of_every_class_is_used_once(tmp_path_factory, counts):
    folder = tmp_path_factory.mktemp("any")
    path = write_zip(folder / "any.zip", class_folders(counts))
    bank = open_data(str(path), SETTINGS, folder)
    assert bank.counts == counts
    assert len(bank.train) + len(bank.heldout) == sum(counts.values())
    assert set(bank.heldout.labels.tolist()) == set(range(len(counts)))


def test_a_class_with_one_image_is_trained_on_and_said_to_have_no_held_out_one(write, opened):
    bank = opened(write(class_folders(PETS | {"eel": 1})))
    assert bank.train.labels.bincount().tolist() == [18, 9, 1]
    assert bank.heldout.labels.unique().tolist() == [0, 1]
    assert "1 classes" in bank.split


# --- images that can't be read


def damaged():
    contents = class_folders(PETS)
    for name in ("cat/3.png", "dog/0.png", "dog/9.png"):
        contents[name] = contents[name][:60]
    return contents


def test_one_damaged_image_is_named_with_the_way_to_find_all(write, opened):
    with pytest.raises(DataError, match=r"cat/3\.png.*tools\.describe"):
        opened(write(damaged()))


def test_damaged_images_can_be_left_out_and_are_named_each_time(write, opened, capsys):
    path = write(damaged())
    for _ in range(2):
        bank = opened(path, skip_unreadable=True)
        assert bank.counts == {"cat": 19, "dog": 8}
        assert [error.split("'")[1] for error in bank.left_out] == [
            "cat/3.png",
            "dog/0.png",
            "dog/9.png",
        ]
        assert "cat/3.png" in capsys.readouterr().out
    names = bank.train.names + bank.heldout.names
    assert len(names) == 27 and "cat/3.png" not in names


def test_what_is_left_out_is_part_of_the_identity(write, opened, environment):
    path = write(damaged())
    environment(PRESET="smoke", SKIP_UNREADABLE=1)
    course = open_course(str(path))
    whole = opened(write_folder(Path(path).with_name("whole"), class_folders(PETS)))
    assert course.identity["data"]["digest"] != whole.digest


@pytest.mark.parametrize("inside", ["", "train/"])
def test_damaged_training_images_only_are_refused(write, opened, inside):
    contents = class_folders(PETS, "val/") if inside else {}
    contents |= {name: b"x" for name in class_folders(PETS, inside)}
    with pytest.raises(DataError, match="cat/0.png"):
        opened(write(contents), skip_unreadable=True)


def test_a_class_that_is_damaged_as_a_whole_is_named(write, opened, capsys):
    contents = class_folders(PETS | {"eel": 3})
    contents |= {f"eel/{i}.png": b"x" for i in range(3)}
    assert opened(write(contents), skip_unreadable=True).counts == PETS | {"eel": 0}
    assert "training image that can be read: 'eel'" in capsys.readouterr().out


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOTCONN, "Transport endpoint is not connected"),
        OSError(errno.EIO, "Input/output error"),
        PermissionError(errno.EACCES, "Permission denied"),
        MemoryError(),
    ],
)
def test_a_fault_that_passes_leaves_no_image_out(opened, tmp_path, monkeypatch, fault):
    folder = write_folder(tmp_path / "own", damaged())
    read_bytes = Path.read_bytes

    def fail(path):
        if path.name == "7.png":
            raise fault
        return read_bytes(path)

    with monkeypatch.context() as patch, pytest.raises(DataError, match=r"7\.png"):
        patch.setattr(Path, "read_bytes", fail)
        opened(folder, skip_unreadable=True)
    assert len(opened(folder, skip_unreadable=True).left_out) == 3


def test_an_archive_that_is_damaged_leaves_no_image_out(opened, tmp_path):
    path = write_zip(tmp_path / "own.zip", class_folders(PETS))
    data = bytearray(path.read_bytes())
    data[data.index(b"IDAT", data.index(b"dog/3.png")) + 20] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"dog/3\.png"):
        opened(path, skip_unreadable=True)


# --- classes


@pytest.mark.parametrize("classes", [2, 5, 120])
def test_a_new_model_answers_the_classes_of_the_data(environment, tmp_path, classes):
    environment(PRESET="smoke")
    folder = write_folder(tmp_path / "own", class_folders({f"c{i}": 2 for i in range(classes)}))
    course = open_course(str(folder))
    probabilities = predict(course.new_model(), course.data.heldout, course)
    assert probabilities.shape == (classes, classes)


def test_result_csv_names_classes_whose_numbers_are_not_their_names(environment, tmp_path):
    environment(PRESET="smoke")
    folder = write_folder(tmp_path / "own", class_folders({"1": 4, "2": 4, "10": 4}))
    course = open_course(str(folder))
    probabilities = course_lib.test(course.new_model(), course.data.test, course, tmp_path / "r")
    header, *rows = (tmp_path / "r").read_text(encoding="utf-8").splitlines()
    assert header == "filename,class,name"
    answers = {}
    for name, label in zip(course.data.test.names, probabilities.argmax(1).tolist()):
        answers[name] = f"{name},{label},{['1', '2', '10'][label]}"
    assert sorted(rows) == sorted(answers.values())


# --- layouts that aren't read


def picture_files(names):
    return {name: png(number) for number, name in enumerate(names)}


def voc(label, file):
    return (
        f"<annotation><filename>{file}</filename><object><name>{label}</name></object></annotation>"
    )


COCO = {
    "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}],
    "images": [{"id": i, "file_name": f"{i}.png"} for i in range(4)],
    "annotations": [{"image_id": i, "category_id": 7 if i < 2 else 9} for i in range(4)],
}
LABELS = ["cat", "cat", "dog", "dog"]
OTHERS = {
    "COCO": picture_files([f"train2017/{i}.png" for i in range(4)])
    | {"annotations/instances_train2017.json": json.dumps(COCO).encode()},
    "Roboflow's COCO": picture_files([f"train/{i}.png" for i in range(4)])
    | {"train/_annotations.coco.json": json.dumps(COCO).encode()},
    "VOC": picture_files([f"JPEGImages/{i}.png" for i in range(4)])
    | {f"Annotations/{i}.xml": voc(LABELS[i], f"{i}.png").encode() for i in range(4)},
    "YOLO": picture_files([f"images/train/{i}.png" for i in range(4)])
    | {f"labels/train/{i}.txt": f"{LABELS[i]} 0.5 0.5 1 1\n".encode() for i in range(4)},
    "table": picture_files([f"images/{i}.png" for i in range(4)])
    | {
        "labels.csv": "".join(
            ["file,label\n"] + [f"{i}.png,{LABELS[i]}\n" for i in range(4)]
        ).encode()
    },
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_python_in_the_message_makes_a_folder_per_class(tmp_path, opened, name):
    folder = write_folder(tmp_path / "other", OTHERS[name])
    with pytest.raises(DataError) as refusal:
        opened(folder)
    program = str(refusal.value).partition(":\n")[2]
    subprocess.run([sys.executable, "-c", program], cwd=folder, check=True)
    shutil.move(folder / "new", tmp_path / "converted")
    bank = opened(tmp_path / "converted")
    assert bank.classes == ["cat", "dog"] and bank.counts == {"cat": 2, "dog": 2}


def in_two_folders(describe):
    """Images of the same names in `one` (cats) and `two` (dogs). describe: (path, label) → files"""
    contents = {}
    for seed, (folder, label) in enumerate([("one", LABELS[0]), ("two", LABELS[2])]):
        for i in range(2):
            contents[f"{folder}/images/{i}.png"] = png(10 * seed + i)
            contents |= describe(folder, i, label)
    return contents


def coco_of(names, labels):
    """The bytes of COCO's JSON for images and the names of their classes."""
    return json.dumps(
        {
            "categories": [{"id": i, "name": label} for i, label in enumerate(labels)],
            "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
            "annotations": [{"image_id": i, "category_id": i} for i in range(len(names))],
        }
    ).encode()


TWICE = [f"{folder}/images/{i}.png" for folder in ("one", "two") for i in range(2)]
SAME_NAMES = {
    "COCO": in_two_folders(lambda *image: {}) | {"annotations/a.json": coco_of(TWICE, LABELS)},
    "VOC": in_two_folders(
        lambda folder, i, label: {f"{folder}/xml/{i}.xml": voc(label, f"{i}.png").encode()}
    ),
    "YOLO": in_two_folders(
        lambda folder, i, label: {f"{folder}/labels/{i}.txt": f"{label} 0 0 1 1\n".encode()}
    )
    | {"one/labels/classes.txt": b"cat\ndog\n"},
    "table": in_two_folders(lambda *image: {})
    | {
        "labels.csv": "".join(
            ["file,label\n"] + [f"{name},{label}\n" for name, label in zip(TWICE, LABELS)]
        ).encode()
    },
}


def converted(folder, refusal):
    """What running the Python in a message makes: {path: bytes}; and how it ended."""
    program = str(refusal.value).partition(":\n")[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True)
    new = {}
    for path in (folder / "new").rglob("*"):
        if path.is_file():
            new[path.relative_to(folder / "new").as_posix()] = path.read_bytes()
    return new, done


@pytest.mark.parametrize("name", SAME_NAMES)
def test_converting_images_of_the_same_name_loses_and_mistakes_none(tmp_path, opened, name):
    folder = write_folder(tmp_path / "other", SAME_NAMES[name])
    with pytest.raises(DataError) as refusal:
        opened(folder)
    new, _ = converted(folder, refusal)
    labels = {data: path.split("/")[0] for path, data in new.items()}
    assert labels == {SAME_NAMES[name][path]: label for path, label in zip(TWICE, LABELS)}
    again, done = converted(folder, refusal)
    assert again == new and done.returncode != 0  # nothing is written over


@pytest.mark.parametrize("label", ["../../escaped", "/escaped", "a/b", "..", ".hidden", 'a:"b"*?'])
def test_whatever_a_label_is_its_images_come_into_a_folder_of_new(tmp_path, opened, label):
    contents = picture_files([f"images/{i}.png" for i in range(4)])
    names = [f"{i}.png" for i in range(4)]
    labels = ["cat", label, "cat", label]
    contents["annotations/a.json"] = coco_of(names, labels)
    folder = write_folder(tmp_path / "other", contents)
    before = {path for path in tmp_path.rglob("*") if "new" not in path.parts}
    with pytest.raises(DataError) as refusal:
        opened(folder)
    new, _ = converted(folder, refusal)
    assert {path for path in tmp_path.rglob("*") if "new" not in path.parts} == before
    assert len(new) == 4 and {path.count("/") for path in new} == {1}
    shutil.move(folder / "new", tmp_path / "converted")
    assert set(opened(tmp_path / "converted").counts.values()) == {2}


def test_a_label_for_one_of_two_images_of_a_name_is_no_guess(tmp_path, opened):
    contents = picture_files(["one/0.png", "two/0.png"])
    contents["annotations/a.json"] = coco_of(["0.png"], ["cat"])
    folder = write_folder(tmp_path / "other", contents)
    with pytest.raises(DataError) as refusal:
        opened(folder)
    new, done = converted(folder, refusal)
    assert new == {} and done.returncode != 0 and b"0.png" in done.stderr


@pytest.mark.parametrize("files", [["x_train.npz"], ["a.parquet", "b.parquet"], ["d.h5"]])
def test_files_of_arrays_are_named(opened, tmp_path, files):
    with pytest.raises(DataError, match=files[0]):
        opened(write_folder(tmp_path / "arrays", {name: b"x" for name in files}))


NAMED = b"file,label\ncat/0.png,cat\ndog/1.png,dog\n"


@pytest.mark.parametrize(
    "extra, data",
    [
        ("labels.csv", NAMED),
        ("labels.csv", b"file;breed\n0.png;Cat\n1.png;Dog\n"),
        ("README.csv", b"class,images\ncat,20\ndog,10\n"),
        ("README.csv", b""),
        ("photos.xlsx", b"PK"),
        ("README.md", b"x"),
        ("cat/notes.xml", b"x"),
        ("cat/0.xml", b"<annotation><object/></annotation>"),
        ("cat/boxes.txt", b"x"),
        ("annotations/info.json", b'{"info": "images of pets"}'),
        ("cat/12:30.txt", b"x"),
    ],
)
def test_a_file_beside_class_folders_does_not_make_them_another_layout(write, opened, extra, data):
    assert opened(write(class_folders(PETS) | {extra: data})).counts == PETS


@pytest.mark.parametrize("note", ["readme.txt", "LICENSE", "notes 12:30.md"])
def test_a_note_beside_the_enclosing_folder_does_no_harm(write, opened, note):
    assert opened(write(class_folders(PETS, "my pets/") | {note: b"x"})).counts == PETS


# --- folders that may be no classes


def in_days(table):
    """Pictures that are sorted by day, and perhaps a table of what they show."""
    return class_folders({"monday": 4, "tuesday": 4}) | table


SHEET = "".join(f"{day}/{i}.png,{'cd'[i % 2]}\n" for day in ("monday", "tuesday") for i in range(4))
BY_ID = {f"part_{n}/ISIC_{n}{i}.png": png(10 * n + i) for n in (1, 2) for i in range(4)}
UNCLEAR = {
    "training_set": class_folders(PETS, "training_set/") | class_folders(PETS, "test_set/"),
    "seg_train": class_folders(PETS, "seg_train/seg_train/")
    | class_folders(PETS, "seg_test/seg_test/"),
    "fold1": class_folders(PETS, "fold1/") | class_folders(PETS, "fold2/"),
    "TrainImages": class_folders({"TrainImages": 3, "TestImages": 3}),
    "masks": {
        f"{folder}/{i}.png": png(i + 10 * len(folder))
        for folder in ("images", "masks")
        for i in range(4)
    },
    "Images": {f"Images/{i}.png": png(i) for i in range(4)}
    | {f"truth/{i}_mask.png": png(9 + i) for i in range(4)},
    "labels.csv": in_days({"labels.csv": f"file,label\n{SHEET}".encode()}),
    "labels.tsv": in_days({"labels.tsv": f"file,label\n{SHEET}".replace(",", "\t").encode()}),
    "metadata.csv": BY_ID | {"metadata.csv": b"lesion,image_id,dx\na,ISIC_10,nv\nb,ISIC_23,mel\n"},
    "cats": class_folders({"cats": 3, "Cats": 3, "dogs": 3}),
    "dogs ": class_folders({"cats": 3, "dogs ": 3, "dogs": 3}),
}


@pytest.mark.parametrize("named", UNCLEAR)
def test_folders_that_may_be_no_classes_are_refused_and_named(opened, tmp_path, named):
    for kind in ("mine", "mine.zip"):
        with pytest.raises(DataError, match=named):
            opened(WRITERS[kind](tmp_path / "kept" / kind, UNCLEAR[named]))


@pytest.mark.parametrize("name", [*UNCLEAR][:-2])
def test_a_folder_train_says_that_they_are_the_classes(opened, tmp_path, name):
    inside = {f"train/{path}": data for path, data in UNCLEAR[name].items() if "/" in path}
    assert len(opened(write_folder(tmp_path / "own", inside)).classes) == 2


@pytest.mark.parametrize(
    "contents",
    [
        {f"{c}/images/{i}.png": png(i + 10 * (c == "cat")) for c in PETS for i in range(3)},
        class_folders({"test tubes": 3, "trains": 3, "cats": 3}),
        class_folders({"images": 3, "texts": 1}) | {"texts/a.png": png(77), "texts/b.png": png(78)},
        class_folders({"mask": 3, "no mask": 3}),
    ],
)
def test_classes_that_only_look_a_little_like_it_are_classes(opened, tmp_path, contents):
    bank = opened(write_folder(tmp_path / "own", contents))
    assert set(bank.counts.values()) == {3}


# --- what isn't used is named


def test_folders_and_pictures_that_are_not_used_are_named(write, opened, capsys):
    contents = class_folders(PETS) | class_folders({".NET": 2, "recycler": 1})
    contents |= {"birds/1.dng": b"x", "loose.jpg": png(3), "cat/._0.png": b"x"}
    opened(write(contents))
    lines = capsys.readouterr().out.splitlines()
    [pictures] = [line for line in lines if "loose.jpg" in line]
    [files] = [line for line in lines if "1.dng" in line]
    [hidden] = [line for line in lines if ".NET" in line]
    [without] = [line for line in lines if "birds" in line]
    assert "aren't images" in files and "aren't images" not in pictures
    assert "recycler" in hidden and "cat" not in hidden and "cat" not in without


def test_an_empty_folder_is_named(opened, tmp_path, capsys):
    folder = write_folder(tmp_path / "own", class_folders(PETS, "train/"))
    (folder / "train" / "eels").mkdir()
    (folder / "val").mkdir()
    assert opened(folder).counts == PETS
    printed = capsys.readouterr().out
    assert "train/eels" in printed and "'val'" in printed and "cat" not in printed


@pytest.mark.parametrize("where", ["runs", "cat/runs", "pets/more/runs"])
def test_runs_in_the_datas_folder_are_no_data(tmp_path, where):
    folder = write_folder(tmp_path / "own", class_folders(PETS))
    home = write_folder(folder / where, {"other-smoke/figure.png": png()})
    for _ in range(3):
        bank = open_data(str(folder), SETTINGS, home)
        assert bank.counts == PETS
        made = {path: path.stat().st_mtime_ns for path in (home / "banks").iterdir()}
        write_folder(home, {"own-smoke/confusion.png": png(), "figure.png": png()})
    open_data(str(folder), SETTINGS, home)
    assert {path: path.stat().st_mtime_ns for path in (home / "banks").iterdir()} == made


@pytest.mark.parametrize("where", ["runs", "cat/runs", "pets/more/runs"])
def test_runs_of_an_earlier_home_are_no_data_and_are_named(tmp_path, capsys, where):
    folder = write_folder(tmp_path / "own", class_folders(PETS))
    home = write_folder(folder / where, {"own-smoke/a.png": png(), "data/b/c.png": png()})
    write_sealed(home / "own-smoke" / "run.json", {"identity": {}, "precision": "fp32"})
    for _ in range(2):
        assert open_data(str(folder), SETTINGS, tmp_path / "home").counts == PETS
    assert capsys.readouterr().out.count(brief(str(home))) == 1


@pytest.mark.parametrize("content", [{}, [], {"identity": {}}])
def test_a_run_json_of_yours_makes_no_folder_the_courses(tmp_path, content):
    files = class_folders(PETS)
    files["cat/more/run.json"] = json.dumps(content).encode()
    folder = write_folder(tmp_path / "own", files)
    assert open_data(str(folder), SETTINGS, tmp_path / "home").counts == PETS


def test_a_class_in_the_folder_for_runs_does_not_vanish_without_a_word(tmp_path, capsys):
    folder = write_folder(tmp_path / "own", class_folders(PETS | {"eel": 10}))
    bank = open_data(str(folder), SETTINGS, folder / "cat")
    assert bank.counts == {"dog": 10, "eel": 10}
    assert brief(str(folder / "cat")) in capsys.readouterr().out


def test_runs_beside_the_enclosing_folder_do_not_hide_it(tmp_path):
    folder = write_folder(tmp_path / "own", class_folders(PETS, "pets/"))
    for _ in range(2):
        assert open_data(str(folder), SETTINGS, folder / "runs").counts == PETS


def test_runs_and_images_in_one_and_the_same_folder_are_refused(tmp_path):
    folder = write_folder(tmp_path / "own", class_folders(PETS))
    with pytest.raises(DataError, match="COURSE_HOME"):
        open_data(str(folder), SETTINGS, folder)


def test_copies_in_validation_and_test_are_told_apart_and_told_each_time(opened, tmp_path, capsys):
    contents = class_folders(PETS, "train/") | class_folders(PETS, "val/")
    contents["val/cat/0.png"] = contents["train/cat/0.png"]
    folder = write_folder(tmp_path / "own", contents)
    for _ in range(2):
        opened(folder)
        printed = capsys.readouterr().out
        assert "1 of 30 validation images" in printed and "test images" not in printed


def test_a_name_of_the_longest_kind_is_no_trouble(opened, tmp_path):
    folder = write_folder(tmp_path / ("\U00020000" * 60), class_folders(PETS))
    assert opened(folder).counts == PETS


# --- pictures that aren't


HEIC = b"\0\0\0\x18ftypheic" + b"\0" * 60


@pytest.mark.parametrize(
    "data, named",
    [
        (HEIC, "HEIC"),
        (b"<svg xmlns='x'></svg>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg xmlns='x'></svg>", "SVG"),
        (b"\n<!DOCTYPE html><html></html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "LFS"),
        (b"", "empty"),
        (b"\0\0\0\x18ftypisom" + b"\0" * 60, "video"),
        (b"just words", "isn't an image"),
    ],
)
def test_what_is_not_a_picture_is_called_by_its_name(opened, tmp_path, data, named):
    folder = write_folder(tmp_path / "own", class_folders(PETS) | {"cat/photo.jpg": data})
    with pytest.raises(DataError) as refusal:
        opened(folder)
    assert "cat/photo.jpg" in str(refusal.value) and named in str(refusal.value)
    assert "BytesIO" not in str(refusal.value)


@pytest.mark.parametrize(
    "suffix, kind", [(".jfif", "JPEG"), (".JPE", "JPEG"), (".ppm", "PPM"), (".avif", "AVIF")]
)
def test_pictures_of_rarer_suffixes_are_used(opened, tmp_path, suffix, kind):
    data = stored(Image.new("RGB", (16, 16), "red"), kind)
    bank = opened(write_folder(tmp_path / "own", class_folders(PETS) | {f"cat/x{suffix}": data}))
    assert bank.counts["cat"] == 21


def test_a_heic_among_the_test_images_is_refused_and_not_left_out(opened, tmp_path):
    contents = class_folders(PETS, "train/") | {"test/1.png": png(1), "test/2.heic": HEIC}
    with pytest.raises(DataError, match=r"test/2\.heic"):
        opened(write_folder(tmp_path / "own", contents))


def test_a_folder_that_cannot_be_listed_is_named(opened, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root can list every folder")
    folder = write_folder(tmp_path / "own", class_folders(PETS))
    (folder / "cat").chmod(0)
    with pytest.raises(DataError, match="cat"):
        opened(folder)
