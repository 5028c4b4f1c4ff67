"""The notebooks as files: finding the sources, and what an `.ipynb` keeps and what it doesn't."""

import hashlib
from collections import Counter
from pathlib import Path

import jupytext
import nbformat

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"

# Every notebook has this metadata, in both files. JupyterLab would add whatever is missing; so
# nothing is.
METADATA = {
    "accelerator": "GPU",  # Colab offers one
    "colab": {"provenance": []},
    "jupytext": {
        "cell_metadata_filter": "slideshow,tags,cellView,-all",
        "formats": "ipynb,py:percent",
        "notebook_metadata_filter": "accelerator,colab,-jupytext.text_representation.jupytext_version",
    },
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
}

SESSION_ONLY = {
    "application/vnd.jupyter.widget-view+json",
    "application/javascript",
}  # kinds of output


def sources(chosen=""):
    """The paths of the notebooks' `.py` sources, in order: all, or those whose names begin as in
    "02,03".

    Raises FileNotFoundError if there is no such notebook.
    """
    found = sorted(
        path for path in FOLDER.glob("[0-9][0-9]_*.py") if "-" not in path.stem
    )  # no "…-Copy1" of a reader
    prefixes = [prefix for prefix in chosen.split(",") if prefix] or [""]
    for prefix in prefixes:
        if not any(path.name.startswith(prefix) for path in found):
            raise FileNotFoundError(
                f"No notebook in {FOLDER} has a name that begins with {prefix!r}."
            )
    return [path for path in found if path.name.startswith(tuple(prefixes))]


def from_source(source):
    """The notebook of a `.py` source, without outputs."""
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.from_dict(METADATA)
    return with_ids(notebook)


def with_ids(notebook):
    """Give each cell an id that depends on its content alone, so that diffs stay small; returns the
    notebook."""
    seen = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] += 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def as_source(notebook):
    """The text of the `.py` that belongs to a notebook: its cells, tags and header, without
    outputs."""
    return jupytext.writes(nbformat.from_dict({**notebook, "metadata": METADATA}), "py:percent")


def as_notebook(notebook):
    """The text of the `.ipynb`, without anything that only means something in the session that made
    it.

    That is widgets and progress bars (stored without their state, they'd be an "Invalid Notebook"
    on GitHub and in Colab), scripts, warnings, and times of execution. Parts of the printed text
    that stood around them are joined.
    """
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        kept = []
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr" or not SESSION_ONLY.isdisjoint(
                output.get("data", {})
            ):
                continue
            if kept and output.output_type == kept[-1].output_type == "stream":
                kept[-1].text += output.text
            else:
                kept.append(output)
        if cell.cell_type == "code":
            cell.outputs = kept
    return jupytext.writes(notebook, "ipynb") + "\n"
