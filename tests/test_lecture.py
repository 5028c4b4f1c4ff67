"""The lectures: what's in them, and one of them run from top to bottom."""

import builtins
import re
import symtable

import nbformat
import pytest

from tools import lecture_plan
from tools.exercises import solution_of
from tools.lecture import lecture_notebook
from tools.notebooks import as_source, from_source, has_tag, sources
from tools.reproduce import execute

EACH = pytest.mark.parametrize("length", lecture_plan.LENGTHS)


def code_of(cells):
    return [cell.source for cell in cells if cell.cell_type == "code"]


@EACH
def test_a_lecture_lasts_as_long_as_it_says(length):
    minutes = [planned.minutes.get(length, 0) for planned in lecture_plan.PLAN]
    assert sum(minutes) == length
    notes = [cell.source for cell in lecture_notebook(length).cells if has_tag(cell, "presenter")]
    assert len(notes) == len(
        [planned for planned in lecture_plan.PLAN if length in planned.minutes]
    )
    assert all(note.startswith("<details>") and note.endswith("</details>") for note in notes)
    assert f"to {length}</summary>" in notes[-1]


@EACH
def test_a_lecture_shows_no_exercise_no_solution_and_one_setup(length):
    notebook = lecture_notebook(length)
    nbformat.validate(notebook)
    code = code_of(notebook.cells)
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "## Exercise" not in text and "checks." not in text
    for source in sources():
        cells = from_source(source).cells
        solutions = [
            solution_of(cells, i) for i, cell in enumerate(cells) if has_tag(cell, "exercise")
        ]
        assert not any(solution in text for solution in solutions)
    assert len([cell for cell in code if "open_course(" in cell]) == 1
    for number in (1, 2, 3):
        trainings = re.findall(rf"= .*course\.stage\({number}\)", text)
        assert len(trainings) == 1, f"stage {number} is trained {len(trainings)} times"


@EACH
def test_each_name_is_defined_in_the_same_notebook_before_it_is_used(length):
    """Else a section would fail, or silently use what another notebook calls by that name."""
    notebook_of = {}
    for source in sources():
        for cell in code_of(from_source(source).cells):
            notebook_of.setdefault(cell, source.stem)
    code = code_of(lecture_notebook(length).cells)
    setup = names_in(code[0]).defined
    defined = {}
    for cell in code:
        known = defined.setdefault(notebook_of[cell], set(setup))
        names = names_in(cell)
        known |= names.defined
        unknown = names.used - known - set(dir(builtins))
        assert not unknown, f"{unknown} in {notebook_of[cell]}:\n{cell}"


class Names:
    """The global names that some code defines, and those that it uses, in functions too."""

    def __init__(self, table):
        self.defined = set()
        self.used = set()
        self.visit(table)

    def visit(self, table):
        for symbol in table.get_symbols():
            is_global = table.get_type() == "module" or symbol.is_global()
            if is_global and (symbol.is_assigned() or symbol.is_imported()):
                self.defined.add(symbol.get_name())
            if is_global and symbol.is_referenced():
                self.used.add(symbol.get_name())
        for inner in table.get_children():
            self.visit(inner)


def names_in(code):
    return Names(symtable.symtable(code, "a cell", "exec"))


@pytest.mark.slow
def test_a_lecture_runs_from_top_to_bottom_and_trains_each_stage_once(
    environment, tmp_path, monkeypatch
):
    """The longer one, which contains all sections of the other."""
    environment(PRESET="smoke")
    monkeypatch.chdir(tmp_path)
    longest = max(lecture_plan.LENGTHS)
    assert all(longest in planned.minutes for planned in lecture_plan.PLAN)
    source = tmp_path / "lecture.py"
    source.write_text(as_source(lecture_notebook(longest)), encoding="utf-8")
    execute(source, tmp_path / "executed.ipynb")
    executed = nbformat.read(tmp_path / "executed.ipynb", 4)
    assert all(cell.execution_count for cell in executed.cells if cell.cell_type == "code")
    printed = ""
    curves = []
    for cell in executed.cells:
        for output in cell.get("outputs", []):
            printed += output.get("text", "")
            if "live_curve(stage)" in cell.source and "image/png" in output.get("data", {}):
                curves.append(cell.source)
    assert len(curves) == 3
    assert not re.search(r"stage \d, epoch", printed)  # as a training without a curve prints
    for number in (1, 2, 3):
        folder = tmp_path / "home" / "shapes-smoke" / f"stage-{number}"
        assert (folder / "measured.json").exists()
