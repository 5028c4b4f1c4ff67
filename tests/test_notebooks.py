"""The notebooks: pairs that agree, runs that work alone, as a script, and one after the other."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_lib.errors import DataError
from course_lib.reproduce import execute, from_source, sources

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sources()


@pytest.fixture
def smoke(tmp_path, monkeypatch):
    """An empty COURSE_HOME and the smallest preset; returns the folder of the run."""
    for name, value in {"COURSE_HOME": str(tmp_path), "COURSE_PRESET": "smoke", "MPLBACKEND": "Agg"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path / "shapes-smoke"


def run(*command):
    return subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=300)


def printed(notebook):
    return "".join(
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.get("name") == "stdout"
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_notebook_says_what_its_source_says(source):
    pair, derived = nbformat.read(source.with_suffix(".ipynb"), 4), from_source(source)
    assert [(c.cell_type, c.source, c.id, c.metadata) for c in pair.cells] == [
        (c.cell_type, c.source, c.id, c.metadata) for c in derived.cells
    ], f"{source.stem}.ipynb differs from its .py: run `make pair`"
    assert pair.metadata == derived.metadata
    assert pair.metadata["accelerator"] == "GPU" and pair.metadata["kernelspec"]["name"] == "python3"


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_the_committed_notebook_carries_a_clean_run(source):
    text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, 4)
    nbformat.validate(notebook)
    assert "widgets" not in notebook.metadata and "widget-view" not in text
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs and not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert "shapes, preset lecture" in printed(notebook)
    assert not re.search(r"(^|[^\w.])/(home|root|tmp|work|Users|mnt)/", printed(notebook))


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_each_notebook_runs_alone_in_an_empty_home(source, smoke):
    target = smoke / "notebooks" / f"{source.stem}.ipynb"
    execute(source, target)
    cells = [cell for cell in nbformat.read(target, 4).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert list(smoke.glob("*.png"))


def test_a_notebook_is_a_plain_script(smoke):
    done = run("notebooks/02_train_without_augmentation.py")
    assert done.returncode == 0, done.stderr
    assert "160 training images, augmented, eval mode" in done.stdout
    assert (smoke / "stage-2" / "model.pth").exists()


def test_reproduce_leaves_everything_and_is_quick_the_second_time(smoke):
    first = run("-m", "course_lib", "reproduce")
    assert first.returncode == 0, first.stderr
    for name in ("results.json", "result.csv", "curves.png", "predictions.png", "stage-3/model.pth"):
        assert (smoke / name).stat().st_size > 0
    assert len(list((smoke / "notebooks").glob("*.ipynb"))) == len(SOURCES)
    stages = json.loads((smoke / "results.json").read_text())["stages"]
    assert set(stages) == {"1", "2", "3"}
    for line in ("| 2, 1 epochs | 100 %", "held-out images (the labelled test images), plain, eval mode"):
        assert line in first.stdout

    trained = {path: path.stat().st_mtime_ns for path in smoke.glob("stage-*/*")}
    second = run("-m", "course_lib", "reproduce")
    assert {path: path.stat().st_mtime_ns for path in smoke.glob("stage-*/*")} == trained
    assert second.stdout.count("was finished earlier") == 3
    assert json.loads((smoke / "results.json").read_text())["stages"] == stages


def test_a_wrong_setting_is_one_sentence(smoke, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", os.fspath(smoke / "nowhere"))
    done = run("-m", "course_lib", "reproduce")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "There is no data set" in done.stderr


def test_an_error_in_a_notebook_shows_its_sentence_only(tmp_path):
    from IPython.core.interactiveshell import InteractiveShell

    shown = []
    shell = InteractiveShell()
    shell._showtraceback = lambda kind, value, lines: shown.extend(lines)
    shell.run_cell("from course_lib import DataError\nraise DataError('answer.json, row 812: category 80')")
    assert shown == ["DataError: answer.json, row 812: category 80"]
    assert issubclass(DataError, Exception)
