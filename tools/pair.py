"""Write each notebook's `.ipynb` from its `.py`, keeping outputs:  python -m tools.pair"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nbformat import NotebookNode

from course_lib import open_course

from .notebooks import (
    ADVICE,
    as_notebook,
    as_source,
    files_agree,
    from_source,
    read_notebook,
    set_ids,
    sources,
    write_text,
)


def pair(source: Path, executed: Path) -> None:
    """Write both files of a pair as JupyterLab would: saving an unedited notebook changes nothing.

    source: the `.py`. executed: a notebook whose outputs are taken for all cells that are the same;
    it needn't exist; if it's damaged, a message says that there are no outputs to take.
    """
    notebook = from_source(source)
    if executed.exists():
        before = read_notebook(executed)
        if before is None:
            print(f"{executed} is damaged, so {source.stem} is without outputs now.")
        else:
            take_outputs(notebook, before)
    write_text(source, as_source(notebook))
    write_text(source.with_suffix(".ipynb"), as_notebook(notebook))


def take_outputs(notebook: NotebookNode, executed: NotebookNode) -> None:
    """Give `notebook` the outputs that the same cells have in `executed`."""
    set_ids(executed)
    known = {cell.id: cell for cell in executed.cells}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.id in known:
            before = known[cell.id]
            cell.outputs = before.outputs
            cell.execution_count = before.execution_count
    if "language_info" in executed.metadata:
        notebook.metadata.language_info = executed.metadata.language_info


def check() -> None:
    """Exit with a sentence that names the notebooks whose two files differ, if there are any."""
    differ = [source.stem for source in sources() if not files_agree(source)]
    if differ:
        sys.exit(f"The .ipynb and the .py differ: {', '.join(differ)}. {ADVICE}")


def main(arguments: list[str]) -> None:
    """Parse the command line and pair, or check, all notebooks."""
    parser = argparse.ArgumentParser(prog="python -m tools.pair", description=__doc__)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument(
        "--executed", action="store_true", help="take the outputs of the run's executed notebooks"
    )
    choice.add_argument(
        "--check", action="store_true", help="write nothing; fail if the files of a pair differ"
    )
    chosen = parser.parse_args(arguments)
    if chosen.check:
        check()
        return
    folder = None
    if chosen.executed:
        folder = open_course().folder / "notebooks"
    try:
        for source in sources():
            stored = source.with_suffix(".ipynb")
            if folder is not None and (folder / stored.name).exists():
                pair(source, folder / stored.name)
            else:
                pair(source, stored)
    except OSError as error:
        sys.exit(f"{error}. Nothing was half written; run it again.")


if __name__ == "__main__":
    main(sys.argv[1:])
