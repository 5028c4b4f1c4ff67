"""Student and solution versions, derived from small sources of the tests' own."""

import nbformat
import pytest

from tools import exercises, notebooks

EXERCISE = """
# %% [markdown]
# ## Exercise: twice
#
# <details><summary>Hint</summary>
#
# ```python
# not = "the solution"
# ```
#
# </details>

# %% tags=["exercise"]
def twice(x):
    raise NotImplementedError
"""
SOLUTION = """
# %% [markdown] tags=["solution"]
# <details><summary>Solution</summary>
#
# ```python
# def twice(x):
#
#     return {}  # two blanks
# ```
#
# </details>
"""
CHECK = '\n# %% tags=["check"]\nprint(twice(4))\n'


@pytest.fixture
def derive(tmp_path, monkeypatch):
    """A function that writes a source, derives both versions and returns their code, by folder."""
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(notebooks, "FOLDER", folder)

    def derived(text):
        (folder / "00_small.py").write_text(text.lstrip(), encoding="utf-8")
        exercises.main()
        versions = {}
        for name in ("student", "solutions"):
            [path] = (tmp_path / "build" / name).glob("*.ipynb")
            versions[name] = nbformat.read(path, 4)
            nbformat.validate(versions[name])
        return versions

    return derived


def code(notebook):
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_students_get_the_stub_and_the_other_version_runs(derive, tmp_path, capsys):
    notes = tmp_path / "build" / "student" / "notes.txt"
    notes.parent.mkdir(parents=True)
    notes.touch()
    first = EXERCISE + SOLUTION.format("2 * x") + CHECK
    second = EXERCISE + SOLUTION.format("x + x") + CHECK
    versions = derive(first + second)
    assert not any(
        notebooks.has_tag(cell, "solution")
        for cell in versions["student"].cells + versions["solutions"].cells
    )
    assert [len(version.cells) for version in versions.values()] == [6, 6]
    assert code(versions["student"]).count("raise NotImplementedError") == 2
    assert "def twice(x):\n\n    return 2 * x  # two blanks\n" in code(versions["solutions"])
    exec(code(versions["solutions"]), {})
    assert capsys.readouterr().out == "8\n8\n"
    assert notes.exists()


@pytest.mark.parametrize(
    "text",
    [
        EXERCISE + CHECK,
        EXERCISE + EXERCISE + SOLUTION.format("2 * x"),  # the second one's
        SOLUTION.format("2 * x") + EXERCISE,
        EXERCISE + SOLUTION.replace("```python", "```"),
        EXERCISE + SOLUTION + "#\n# ```python\n# 1\n# ```\n",
    ],
)
def test_an_exercise_without_one_solution_is_named(text, derive):
    with pytest.raises(SystemExit, match=r"(?s)^00_small.py: .*(def twice|Solution)"):
        derive(text)


@pytest.mark.parametrize("source", notebooks.sources(), ids=lambda source: source.stem)
def test_every_exercise_of_the_course_has_a_solution_that_compiles(source):
    cells = notebooks.from_source(source).cells
    for number, cell in enumerate(cells):
        if notebooks.has_tag(cell, "exercise"):
            compile(exercises.solution_of(cells, number), source.name, "exec")
