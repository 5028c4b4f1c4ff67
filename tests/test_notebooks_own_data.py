"""The notebooks on a reader's own pictures: few, of few classes, unequal, in a folder per class."""

import re
import runpy

import pytest
from data_sets import png, write_folder
from test_notebooks import ROOT, run

from tools.notebooks import sources

EACH = "import runpy, sys\nfor path in sys.argv[1:]:\n    runpy.run_path(path)"

# What holds for the images that the course draws, and for the report's 80 classes
OF_THE_DRAWN_IMAGES = re.compile(r"motif|\bhues?\b|generated|colour is|ln 80|1 in 80|1\.25%")


def class_folders(folder, counts):
    """A folder per class. counts: {name of the class: its pictures}."""
    contents = {}
    for name, count in counts.items():
        for i in range(count):
            contents[f"{name}/{i}.png"] = png(len(contents))
    return write_folder(folder, contents)


@pytest.fixture(scope="module")
def twenty(tmp_path_factory):
    """The home and the output of notebooks 00 to 06, as scripts, on two classes of ten pictures.

    Their folder has the name of the course's own data.
    """
    home = tmp_path_factory.mktemp("home")
    data = class_folders(tmp_path_factory.mktemp("pictures") / "shapes", {"cat": 10, "dog": 10})
    notebooks = sources("00,01,02,03,04,05,06")
    assert len(notebooks) == 7
    done = run("-c", EACH, *notebooks, home=home, COURSE_DATA=str(data), PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr.decode()
    return home / "own-shapes-smoke", done.stdout.decode()


@pytest.mark.slow
def test_twenty_pictures_are_enough(twenty):
    folder, printed = twenty
    assert "18 training images; 2 held-out images" in printed
    for figure in ("classes.png", "sweep-batch.png", "predictions.png", "accuracy-by-class.png"):
        assert (folder / figure).stat().st_size > 0


@pytest.mark.slow
def test_chance_is_that_of_the_data(twenty):
    _, printed = twenty
    assert re.search(r"Guessing is right 50% ", printed)  # 00
    assert re.search(r"ln 2 = 0\.6931", printed)  # 02
    assert re.search(r"ln 2 = 0\.69\b", printed)  # 03
    assert re.search(r"1 in 2 images right, 50%", printed)  # 04
    assert re.search(r"Chance: 50%", printed)  # 05


@pytest.mark.slow
def test_only_the_classes_of_the_data_are_answers(twenty):
    folder, printed = twenty
    rows = (folder / "result.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert rows
    assert {row.split(",")[1] for row in rows} <= {"0", "1"}
    likeliest = re.findall(r"^ *[\d.]+%  (\S+)$", printed, re.MULTILINE)
    assert sorted(likeliest) == ["cat", "dog"]


@pytest.mark.slow
def test_nothing_is_said_about_the_images_that_the_course_draws(twenty):
    folder, printed = twenty
    assert not OF_THE_DRAWN_IMAGES.findall(printed)
    assert [path.name for path in folder.glob("confusion-*")] == ["confusion-class.png"]


@pytest.mark.parametrize("counts", [{"cat": 45, "dog": 5}, {"a": 2, "b": 31, "c": 3}])
def test_the_largest_class_is_named_beside_chance(environment, tmp_path, capsys, counts):
    """It's what a network gets that looks at no image."""
    environment(DATA=class_folders(tmp_path / "pictures", counts), PRESET="smoke")
    course = runpy.run_path(ROOT / "notebooks" / "00_data.py")["course"]
    printed = capsys.readouterr().out
    labels = course.data.train.labels
    largest = max(counts, key=counts.get)
    of_largest = labels == course.data.classes.index(largest)
    share = 100 * of_largest.float().mean().item()
    assert f"Guessing is right {100 / len(counts):.3g}%" in printed
    [line] = [line for line in printed.splitlines() if f"“{largest}”" in line]
    assert f"{share:.3g}%" in line


def test_the_largest_of_equal_classes_is_not_named(environment, tmp_path, capsys):
    counts = {"cat": 10, "dog": 10, "emu": 10}
    environment(DATA=class_folders(tmp_path / "pictures", counts), PRESET="smoke")
    runpy.run_path(ROOT / "notebooks" / "00_data.py")
    printed = capsys.readouterr().out
    assert "largest" not in printed
    assert "33.3%" in printed


def test_the_loop_sees_every_class_of_sorted_data(environment, tmp_path, monkeypatch, capsys):
    """02: the first 160 images of two large classes are all of the first."""
    environment(DATA=class_folders(tmp_path / "pictures", {"cat": 200, "dog": 200}), PRESET="smoke")
    seen = set()

    def loader(dataset, **options):
        seen.update(label for _, label in dataset)
        raise StopIteration  # what comes before it takes a while already

    monkeypatch.setattr("torch.utils.data.DataLoader", loader)
    with pytest.raises(StopIteration):
        runpy.run_path(ROOT / "notebooks" / "02_loss_and_loop.py")
    assert seen == {0, 1}
