"""The notebooks: pairs that agree, and runs of them as scripts and by `tools.reproduce`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools.notebooks import as_notebook, as_source, sources

ROOT = Path(__file__).resolve().parent.parent
EACH = pytest.mark.parametrize("source", sources(), ids=lambda source: source.stem)


def run(*command, home, **variables):
    """Run Python in the checkout as a user does, with the smallest preset and a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
    environment |= {"COURSE_HOME": str(home), "COURSE_PRESET": "smoke", "MPLBACKEND": "Agg", **variables}
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=600)


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory):
    """The home of a finished `make reproduce`, what it printed, and the code page of the console it printed to."""
    home, console = tmp_path_factory.mktemp("home"), "cp949"
    done = run("-m", "tools.reproduce", home=home, PYTHONIOENCODING=console)
    assert done.returncode == 0, done.stderr.decode(console)
    return home, done.stdout.decode(console)


@EACH
def test_the_two_files_of_a_pair_agree(source):
    stored = nbformat.read(source.with_suffix(".ipynb"), 4)
    expected = source.read_text(encoding="utf-8")
    assert as_source(stored) == expected, f"{source.stem}: the .ipynb and the .py differ. Run `make pair`."


@EACH
def test_a_stored_notebook_is_a_clean_run_of_the_lecture(source):
    text = source.with_suffix(".ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, 4)
    nbformat.validate(notebook)
    assert as_notebook(notebook) == text, f"{source.stem} holds leftovers of a session. Run `make pair`."
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs and not [output for output in outputs if output.output_type == "error"]
    printed = "".join(output.get("text", "") for output in outputs)
    assert not re.search(r"(^|[^\w.])/(home|root|tmp|work|Users|mnt)/", printed)


@EACH
def test_each_notebook_runs_alone_as_a_script(source, tmp_path):
    done = run(source, home=tmp_path, PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr.decode("cp1252")
    assert list((tmp_path / "shapes-smoke").glob("*.png"))


@EACH
def test_reproduce_leaves_an_executed_notebook(source, reproduced):
    home, printed = reproduced
    text = (home / "shapes-smoke" / "notebooks" / f"{source.stem}.ipynb").read_text(encoding="utf-8")
    notebook = nbformat.reads(text, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.outputs)
    assert as_notebook(notebook) == text and "widget" not in notebook.metadata
    assert source.stem in printed


def test_reproduce_prints_the_table_and_is_quick_the_second_time(reproduced):
    home, printed = reproduced
    folder = home / "shapes-smoke"
    for name in ("results.json", "result.csv", "stage-3/model.pth"):
        assert (folder / name).stat().st_size > 0
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert set(results["stages"]) == {"1", "2", "3"}
    table = printed.splitlines()[-9:]
    for share in results["stages"]["3"]["final"].values():
        assert any(line.startswith("| 3") and f"{share:.1%}" in line for line in table)

    trained = {path: path.stat().st_mtime_ns for path in folder.glob("stage-*/*.pt*")}
    again = run("-m", "tools.reproduce", "--notebooks", "04", home=home)
    assert again.returncode == 0, again.stderr.decode()
    assert {path: path.stat().st_mtime_ns for path in folder.glob("stage-*/*.pt*")} == trained
    assert b"04_predict" in again.stdout and b"03_train" not in again.stdout
