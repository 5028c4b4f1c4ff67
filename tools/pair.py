"""Write each notebook's `.ipynb` from its `.py`, keeping the outputs of unchanged cells:  python -m
tools.pair"""

import argparse
import sys

import nbformat

from course_lib import open_course
from course_lib.storage.files import write_text

from .notebooks import as_notebook, as_source, from_source, sources, with_ids


def pair(source, executed):
    """Write both files of a pair as JupyterLab would, so that saving an unedited notebook changes
    nothing.

    source: the `.py`. executed: a notebook whose outputs are taken wherever its cells are the same.
    """
    notebook = from_source(source)
    if executed.exists():
        before = with_ids(nbformat.read(executed, 4))
        known = {cell.id: cell for cell in before.cells}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id in known:
                cell.outputs, cell.execution_count = (
                    known[cell.id].outputs,
                    known[cell.id].execution_count,
                )
        if "language_info" in before.metadata:
            notebook.metadata.language_info = before.metadata.language_info
    for path, text in (
        (source, as_source(notebook)),
        (source.with_suffix(".ipynb"), as_notebook(notebook)),
    ):
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def main(arguments):
    """Parse the command line and pair all notebooks."""
    parser = argparse.ArgumentParser(prog="python -m tools.pair", description=__doc__)
    parser.add_argument(
        "--executed", action="store_true", help="take the outputs of the run's executed notebooks"
    )
    chosen = parser.parse_args(arguments)
    folder = open_course().folder / "notebooks" if chosen.executed else None
    for source in sources():
        pair_file = source.with_suffix(".ipynb")
        ran = folder / pair_file.name if folder else pair_file
        pair(source, ran if ran.exists() else pair_file)


if __name__ == "__main__":
    main(sys.argv[1:])
