"""The notebooks: pairs that agree, exercises that can be solved, and runs as scripts and by
`tools.reproduce`."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from data_sets import answers, png, write_zip

from course_lib import galleries
from course_lib.live import EPOCH_DATA
from tools import publish
from tools.exercises import solution_of
from tools.notebooks import as_notebook, files_agree, from_source, has_tag, sources

ROOT = Path(__file__).resolve().parent.parent
EACH = pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)


def exercises():
    """A parameter for each exercise: the cells of its notebook, and its number among them."""
    found = []
    for source in sources():
        cells = from_source(source).cells
        for number, cell in enumerate(cells):
            if has_tag(cell, "exercise"):
                found.append(pytest.param(cells, number, id=f"{source.stem}-{number}"))
    return found


def is_folded(cell):
    """The cell's code is hidden by Colab, by JupyterLab and on the site."""
    metadata = cell.metadata
    in_jupyterlab = metadata.get("jupyter") == {"source_hidden": True}
    in_colab = metadata.get("cellView") == "form" and "# @title " in cell.source
    return in_jupyterlab and in_colab and has_tag(cell, "hide-input")


def run(*command, home, **variables):
    """Run Python in the checkout as a user does, with the smallest preset and a home of its own."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
    }
    environment |= {
        "COURSE_HOME": str(home),
        "COURSE_PRESET": "smoke",
        "MPLBACKEND": "Agg",
        **variables,
    }
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=600)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """The home of a finished `make reproduce` on a Korean console, and what it printed."""
    home = tmp_path_factory.mktemp("home")
    console = "cp949"
    done = run("-m", "tools.reproduce", home=home, PYTHONIOENCODING=console)
    assert done.returncode == 0, done.stderr.decode(console)
    return home, done.stdout.decode(console)


@EACH
def test_the_two_files_of_a_pair_agree(source):
    assert files_agree(source), f"{source.stem}: `make pair` discards edits of the .ipynb"


@EACH
def test_a_stored_notebook_is_a_clean_run_of_the_lecture(source):
    text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, 4)
    nbformat.validate(notebook)
    assert as_notebook(notebook) == text, (
        f"{source.stem} holds leftovers of a session. Run `make pair`."
    )
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output.output_type == "error"]
    printed = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"(^|[^\w.])/(home|root|tmp|work|Users|mnt)/", printed)


def test_the_experiment_is_00_to_06_and_each_notebook_has_the_same_setup():
    numbers = [int(source.name[:2]) for source in sources()]
    assert numbers[:7] == list(range(7))
    assert all(number >= 10 for number in numbers[7:])
    assert len(set(numbers)) == len(numbers)
    setups = []
    for source in sources():
        setup = next(cell for cell in from_source(source).cells if cell.cell_type == "code")
        assert is_folded(setup)
        setups.append(setup.source)
    assert set(setups) == {setups[0]}


@EACH
def test_no_cell_on_screen_is_longer_than_twelve_lines(source):
    """What readers write in an exercise, and what's folded, may be longer."""
    for cell in from_source(source).cells:
        if cell.cell_type != "code" or is_folded(cell) or has_tag(cell, "exercise"):
            continue
        lines = [line.strip() for line in cell.source.splitlines()]
        code = [line for line in lines if line and not line.startswith("#")]
        assert len(code) <= 12, cell.source


@EACH
def test_publish_finds_its_places(source):
    """They are all written by the same command, so that they agree, published or not."""
    cells = from_source(source).cells
    [address] = [address[0] for cell in cells for address in publish.ADDRESS.finditer(cell.source)]
    [ref] = [ref[0] for cell in cells for ref in publish.REF.finditer(cell.source)]
    place = publish.Place(address.split('"')[1], ref.split('"')[1])
    [paragraph] = [found[0] for cell in cells for found in publish.PARAGRAPH.finditer(cell.source)]
    path = f"class/{source.stem}.ipynb"
    assert paragraph == (place.badges(path) if place.repository else publish.UNPUBLISHED)
    assert paragraph in cells[0].source and cells[0].cell_type == "markdown"


@pytest.mark.parametrize("cells, number", exercises())
def test_a_stub_is_not_done_yet_and_its_solution_is_right(
    cells, number, course, monkeypatch, capsys
):
    monkeypatch.setattr("course_lib.checks.block.EPOCHS", 1)  # of no_shortcut, which trains
    check = next(cell.source for cell in cells[number:] if has_tag(cell, "check"))
    for answer, verdict in ((cells[number].source, "…"), (solution_of(cells, number), "✓")):
        names = {"course": course}
        exec(answer, names)
        capsys.readouterr()
        exec(check, names)
        assert capsys.readouterr().out.startswith(f"{verdict} ")


@pytest.mark.parametrize("source", sources("00,01,02,03,04,05,06"), ids=lambda source: source.stem)
def test_reproduce_leaves_an_executed_notebook(source, reproduced):
    home, printed = reproduced
    text = (home / "shapes-smoke" / "notebooks" / f"{source.stem}.ipynb").read_text(
        encoding="utf-8"
    )
    notebook = nbformat.reads(text, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    kinds = {kind for cell in cells for output in cell.outputs for kind in output.get("data", {})}
    assert kinds & {"image/png", "image/jpeg"}
    assert as_notebook(notebook) == text
    assert "widget" not in notebook.metadata
    assert EPOCH_DATA not in text
    assert source.stem in printed


@pytest.mark.slow
def test_the_other_notebooks_run_as_scripts(reproduced):
    """In one process, which imports torch once; what was trained before isn't trained again.

    An error's traceback names the file. 00 to 06 run as scripts in `test_notebooks_own_data.py`. 15
    trains with two processes.
    """
    folder = reproduced[0] / "shapes-smoke"
    trained = {path: path.stat().st_mtime_ns for path in folder.glob("stage-*/*.pt")}
    each = "import runpy, sys\nfor path in sys.argv[1:]:\n    runpy.run_path(path)"
    others = sources("10,11,12,13,15")
    done = run("-c", each, *others, home=folder.parent, PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert trained
    assert all(path.stat().st_mtime_ns == then for path, then in trained.items())
    printed = done.stdout.decode("cp1252")
    assert "2 processes: mean loss" in printed
    assert printed.count("stage 2, epoch  1/1") == 1  # only rank 0 tells


def test_each_picture_of_a_data_set_with_few_classes_has_its_own_caption(
    environment, tmp_path, monkeypatch, capsys
):
    """Without class 23, the first picture of class 46 was captioned "class 23"."""
    rows = [(f"{i}.png", (0, 5, 46, 69, 70)[i % 5]) for i in range(100)]
    contents = {f"train_data/{name}": png(i) for i, (name, _) in enumerate(rows)}
    contents["answer.json"] = answers(rows)
    environment(DATA=write_zip(tmp_path / "mine.zip", contents), PRESET="smoke")
    plotted = []
    plot = galleries.plot_images

    def plot_and_note(*arguments, **options):
        plotted.append(arguments)
        return plot(*arguments, **options)

    monkeypatch.setattr(galleries, "plot_images", plot_and_note)
    train = runpy.run_path(ROOT / "notebooks" / "00_data.py")["images"]
    pictures, captions = plotted[0]
    assert len(pictures) == len(captions) == 32
    for picture, caption in zip(pictures, captions):
        (position,) = [i for i in range(len(train)) if (train.batch([i])[0] == picture).all()]
        assert caption in ("", train.classes[train.labels[position]])
    assert "\n5 classes, with 18 training images" in capsys.readouterr().out


def test_reproduce_prints_the_table(reproduced):
    home, printed = reproduced
    folder = home / "shapes-smoke"
    for name in ("results.json", "result.csv", "stage-3/model.pth"):
        assert (folder / name).stat().st_size > 0
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert set(results["stages"]) == {"1", "2", "3"}
    table = printed.splitlines()[-9:]
    for share in results["stages"]["3"]["final"].values():
        assert any(line.startswith("| 3") and f"{share:.1%}" in line for line in table)
