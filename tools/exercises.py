"""Write each notebook's student version and solution version:  python -m tools.exercises

They go to build/student and build/solutions. A notebook there that you've edited is kept under
another name.

In a source, a cell tagged `solution` follows each cell tagged `exercise`. Students get the notebook
without the solutions; in the other version, the Python of the solution takes the exercise's place.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from nbformat import NotebookNode

from . import notebooks
from .notebooks import (
    as_derived,
    from_source,
    has_tag,
    keep_if_edited,
    set_ids,
    sources,
    write_text,
)

PYTHON = re.compile(r"^```python\n(.*?)\n```$", re.MULTILINE | re.DOTALL)


def solution_of(cells: list[NotebookNode], number: int) -> str:
    """The Python that solves the exercise `cells[number]`.

    It's the one python block of the next cell tagged `solution`. Raises ValueError if that cell
    doesn't exist before the next exercise, or has several blocks or none.
    """
    for cell in cells[number + 1 :]:
        if has_tag(cell, "exercise"):
            break
        if has_tag(cell, "solution"):
            blocks = PYTHON.findall(cell.source)
            if len(blocks) != 1:
                raise ValueError(
                    f"The solution needs one ```python block and has {len(blocks)}:\n{cell.source}"
                )
            return blocks[0]
    raise ValueError(f"This exercise has no solution:\n{cells[number].source}")


def student_version(source: Path) -> NotebookNode:
    """The notebook of a source without its solutions."""
    notebook = from_source(source)
    notebook.cells = [cell for cell in notebook.cells if not has_tag(cell, "solution")]
    set_ids(notebook)
    return notebook


def solved_version(source: Path) -> NotebookNode:
    """The notebook of a source with its exercises solved.

    Raises ValueError if an exercise has no solution.
    """
    notebook = from_source(source)
    for number, cell in enumerate(notebook.cells):
        if has_tag(cell, "exercise"):
            cell.source = solution_of(notebook.cells, number)
    notebook.cells = [cell for cell in notebook.cells if not has_tag(cell, "solution")]
    set_ids(notebook)
    return notebook


def main() -> None:
    """Write all versions; an error is one sentence, with the cell it's about, and exit status 1."""
    build = notebooks.FOLDER.parent / "build"
    for source in sources():
        try:
            solved = solved_version(source)
        except ValueError as error:
            sys.exit(f"{source.name}: {error}")
        versions = {"student": student_version(source), "solutions": solved}
        try:
            for folder, notebook in versions.items():
                path = build / folder / f"{source.stem}.ipynb"
                keep_if_edited(path)
                write_text(path, as_derived(notebook))
        except OSError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
