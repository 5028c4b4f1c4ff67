"""Run the notebooks from their `.py` sources, headless, and leave everything in the run's folder (`make
reproduce`)."""

import hashlib
import os
import shutil
import sys
from collections import Counter

import jupytext
import nbformat

from .errors import CourseError
from .files import write_text
from .results import read_results, table
from .workspace import REPOSITORY, open_course

NOTEBOOKS = REPOSITORY / "notebooks"


class NotebookFailed(CourseError):
    """A cell of a notebook raised an error while it was executed."""


def sources():
    """The notebooks' sources, `notebooks/NN_name.py`, in their order."""
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))


def reproduce(fresh=False):
    """Execute notebooks 00–04 one after the other; show what they print; return the table against the report.

    The settings come from the environment (COURSE_…). fresh: forget what an earlier run of the same name left.
    Raises NotebookFailed; what was executed until then is kept, and the next call goes on from the checkpoints.
    """
    course = open_course()
    if fresh:
        shutil.rmtree(course.folder, ignore_errors=True)
    for source in sources():
        print(f"\n=== {source.stem}", flush=True)
        execute(source, course.folder / "notebooks" / f"{source.stem}.ipynb")
    print(f"\nIn {course.shown(course.folder)}: executed notebooks, figures, results.json, result.csv, model.pth.")
    return table(read_results(course))


def execute(source, target):
    """Execute one notebook from its source in a fresh kernel, showing what it prints, and write it, clean, to
    `target`."""
    from nbclient.exceptions import CellExecutionError

    notebook = from_source(source)
    try:
        # A backend chosen for scripts would keep the figures out of the notebook.
        _client(notebook).execute(env={name: value for name, value in os.environ.items() if name != "MPLBACKEND"})
    except CellExecutionError as error:
        raise NotebookFailed(f"{source.name} stopped at a cell: {error.ename}: {error.evalue}") from None
    finally:
        write_text(target, nbformat.writes(cleaned(notebook)))


def from_source(source):
    """The notebook of a `.py` source, without outputs; a cell's id depends on what it says, so that diffs stay
    still."""
    notebook = jupytext.read(source)
    seen = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def cleaned(notebook):
    """Take out what only means something in the session that made it: widgets (progress bars), warnings, times of
    execution; and join what was printed around them.

    A stored widget without its state shows as an "Invalid Notebook" on GitHub and Colab.
    """
    notebook.metadata.pop("widgets", None)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            kept = []
            for output in cell.outputs:
                if (
                    "application/vnd.jupyter.widget-view+json" in output.get("data", {})
                    or output.get("name") == "stderr"
                ):
                    continue
                if kept and output.output_type == kept[-1].output_type == "stream":
                    kept[-1].text += output.text
                else:
                    kept.append(output)
            cell.outputs = kept
    return notebook


def update_pairs(executed=None):
    """Write each `.ipynb` from its `.py`: outputs from the folder `executed`, else those it has, where a cell is
    unchanged."""
    for source in sources():
        notebook, pair = from_source(source), source.with_suffix(".ipynb")
        before = (executed / pair.name) if executed else pair
        known = {cell.id: cell for cell in nbformat.read(before, 4).cells} if before.exists() else {}
        for cell in notebook.cells:
            if cell.cell_type == "code" and cell.id in known:
                cell.outputs, cell.execution_count = known[cell.id].outputs, known[cell.id].execution_count
        write_text(pair, nbformat.writes(cleaned(notebook)) + "\n")


def _client(notebook):
    from nbclient import NotebookClient

    class Telling(NotebookClient):
        """Shows in the terminal what the notebook prints, and the text of its progress bars, while it runs."""

        def output(self, outs, msg, display_id, cell_index):
            if msg["msg_type"] == "stream" and msg["content"]["name"] == "stdout":
                print(msg["content"]["text"], end="", flush=True)
            return super().output(outs, msg, display_id, cell_index)

        def handle_comm_msg(self, outs, msg, cell_index):
            value = msg["content"].get("data", {}).get("state", {}).get("value")
            if isinstance(value, str) and "images/s" in value and sys.stdout.isatty():
                print(f"\r{value.strip():<70}\r", end="", flush=True)
            return super().handle_comm_msg(outs, msg, cell_index)

    return Telling(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": os.getcwd()}},
    )
