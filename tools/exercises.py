"""Write each notebook's student version and solution version to build/:  python -m tools.exercises

Files of the same names in build/student and build/solutions are overwritten: work on copies.

In a source, a cell tagged `solution` follows each cell tagged `exercise`. Students get the notebook
without the solutions; in the other version the Python of the solution takes the exercise's place.
"""

import re
import sys

from course_lib.storage.files import write_text

from . import notebooks
from .notebooks import as_notebook, from_source, sources, with_ids

PYTHON = re.compile(r"^```python\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def tagged(cell, tag):
    """Whether a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def solution_of(cells, number):
    """The Python that solves the exercise `cells[number]`: the one python block of the next cell
    tagged `solution`.

    Raises ValueError if there is none before the next exercise.
    """
    for cell in cells[number + 1 :]:
        if tagged(cell, "exercise"):
            break
        if tagged(cell, "solution"):
            if len(blocks := PYTHON.findall(cell.source)) == 1:
                return blocks[0]
            raise ValueError(
                f"The solution needs one ```python block and has {len(blocks)}:\n{cell.source}"
            )
    raise ValueError(f"This exercise has no solution:\n{cells[number].source}")


def without_solutions(notebook):
    """The student version; changes and returns the notebook."""
    notebook.cells = [cell for cell in notebook.cells if not tagged(cell, "solution")]
    return with_ids(notebook)


def with_solutions(notebook):
    """The solution version; changes and returns the notebook. Raises ValueError if an exercise has
    no solution."""
    for number, cell in enumerate(notebook.cells):
        if tagged(cell, "exercise"):
            cell.source = solution_of(notebook.cells, number)
    return without_solutions(notebook)


def main():
    """Write all versions; an error is one sentence, with the cell it is about, and exit status
    1."""
    build = notebooks.FOLDER.parent / "build"
    for folder, version in (("student", without_solutions), ("solutions", with_solutions)):
        for source in sources():
            try:
                text = as_notebook(version(from_source(source)))
            except ValueError as error:
                sys.exit(f"{source.name}: {error}")
            write_text(build / folder / f"{source.stem}.ipynb", text)


if __name__ == "__main__":
    main()
