"""The notebooks as files: where their sources are, and what an `.ipynb` keeps.

Nothing here imports PyTorch: a lecturer who publishes the course needs only jupytext.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import secrets
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

MARKER = "<!-- colab -->"  # the paragraph below it has a notebook's badges
FOLDER = Path(__file__).resolve().parent.parent / "notebooks"

# The metadata of every notebook, in both files. JupyterLab would add what is missing.
METADATA = {
    "accelerator": "GPU",  # Colab offers one
    "colab": {"provenance": []},
    "jupytext": {
        "cell_metadata_filter": "slideshow,tags,cellView,jupyter,-all",
        "formats": "ipynb,py:percent",
        "notebook_metadata_filter": (
            "accelerator,colab,-jupytext.text_representation.jupytext_version"
        ),
    },
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
}

# What means something only in the session that made it: scripts, and widgets such as progress bars,
# which without their state would be an "Invalid Notebook" on GitHub and in Colab.
SESSION_ONLY = {"application/vnd.jupyter.widget-view+json", "application/javascript"}
EPOCH_DATA = "application/vnd.course.epoch+json"  # `course_lib.explore` shows it beside a curve

DERIVED_FROM = "derived_from"  # of a derived notebook's metadata: a digest of its cells

# What's done about a pair whose files differ
ADVICE = (
    "`make pair` takes the .py, and discards what was edited in the .ipynb. A picture that was "
    "pasted into a cell can't be in a .py: save it as a file, and link to it."
)


def write_text(path: Path, text: str) -> None:
    """Write a file as UTF-8, completely or not at all; if it has this text already, leave it."""
    if path.exists() and path.read_bytes() == text.encode():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.randbits(64)}.tmp")
    try:
        with open(temporary, "xb") as file:  # x: never through a link, or over a file of yours
            file.write(text.encode())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def keep_if_edited(path: Path) -> None:
    """Rename a derived notebook that somebody has edited, which would be overwritten otherwise.

    Running it isn't editing. Raises OSError.
    """
    if not path.exists():
        return
    notebook = read_notebook(path)
    if notebook is not None and notebook.metadata.get(DERIVED_FROM) == _digest(notebook):
        return
    number = 1
    while os.path.lexists(path.with_stem(f"{path.stem}-edited-{number}")):
        number += 1
    kept = path.rename(path.with_stem(f"{path.stem}-edited-{number}"))
    print(f"{path} was edited, or is damaged. It's kept as {kept.name}.")


def sources(chosen: str = "") -> list[Path]:
    """The paths of the notebooks' `.py` sources, in order.

    chosen: beginnings of names, as in "02,03"; by default, all notebooks. Raises FileNotFoundError
    if there is no such notebook.
    """
    found = []
    for path in sorted(FOLDER.glob("[0-9][0-9]_*.py")):
        if "-" not in path.stem:  # a reader's "02_name-Copy1" isn't ours
            found.append(path)
    prefixes = [prefix for prefix in chosen.split(",") if prefix]
    if not prefixes:
        prefixes = [""]  # every name begins with it
    for prefix in prefixes:
        if not any(path.name.startswith(prefix) for path in found):
            raise FileNotFoundError(
                f"No notebook in {FOLDER} has a name that begins with {prefix!r}."
            )
    return [path for path in found if path.name.startswith(tuple(prefixes))]


def from_source(source: Path) -> NotebookNode:
    """The notebook of a `.py` source, without outputs."""
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.from_dict(METADATA)
    set_ids(notebook)
    return notebook


def set_ids(notebook: NotebookNode) -> None:
    """Give each cell an id that depends on its content alone, so that diffs stay small."""
    seen = Counter()
    for cell in notebook.cells:
        digest = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[digest] += 1
        cell.id = digest
        if seen[digest] > 1:
            cell.id = f"{digest}-{seen[digest]}"


def as_source(notebook: NotebookNode) -> str:
    """The text of a notebook's `.py`: its cells, tags and header, without outputs."""
    with_our_metadata = nbformat.from_dict({**notebook, "metadata": METADATA})
    return jupytext.writes(with_our_metadata, "py:percent")


def as_notebook(notebook: NotebookNode) -> str:
    """The text of a notebook's `.ipynb`, without what belongs to the session that made it."""
    clean = copy.deepcopy(notebook)
    clean.metadata.pop("widgets", None)
    for cell in clean.cells:
        cell.metadata.pop("execution", None)  # when it ran
        if cell.cell_type == "code":
            cell.outputs = lasting_outputs(cell.get("outputs", []))
    return jupytext.writes(clean, "ipynb") + "\n"


def as_derived(notebook: NotebookNode) -> str:
    """The text of a derived notebook's `.ipynb`, by which `keep_if_edited` knows it again."""
    marked = copy.deepcopy(notebook)
    marked.metadata[DERIVED_FROM] = _digest(notebook)
    return as_notebook(marked)


def _digest(notebook: NotebookNode) -> str:
    """A digest of a notebook's cells, tags and pasted pictures, in order, without outputs."""
    attached = [cell.get("attachments", {}) for cell in notebook.cells]
    content = as_source(notebook) + json.dumps(attached, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def lasting_outputs(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Outputs without warnings and what is SESSION_ONLY; text that stood around it is joined.

    Of an explorer, its first picture stays.
    """
    lasting = []
    for output in outputs:
        if output.get("name") == "stderr":
            continue
        data = output.get("data", {})
        of_session = SESSION_ONLY & set(data)
        has_picture = any(kind.startswith("image/") for kind in data)
        if of_session and not has_picture:
            continue
        for kind in of_session:
            del data[kind]
        data.pop(EPOCH_DATA, None)
        if lasting and output.output_type == lasting[-1].output_type == "stream":
            lasting[-1].text += output.text
        else:
            lasting.append(output)
    return lasting


def read_notebook(path: Path) -> NotebookNode | None:
    """The notebook in an `.ipynb`; None if it's damaged, as a full disk leaves it.

    Raises OSError if it can't be read.
    """
    data = path.read_bytes()
    try:
        return nbformat.reads(data.decode(), 4)
    except Exception:  # of many kinds: JSON, nbformat and its validator have their own
        return None


def files_agree(source: Path) -> bool:
    """The two files of a pair have the same cells and tags.

    A picture that was pasted into a cell of the `.ipynb`, an attachment, can't be in a `.py`.
    """
    path = source.with_suffix(".ipynb")
    if not path.exists():
        return False
    notebook = read_notebook(path)
    if notebook is None or any("attachments" in cell for cell in notebook.cells):
        return False
    return as_source(notebook) == source.read_text(encoding="utf-8")


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """The cell has this tag."""
    return tag in cell.metadata.get("tags", [])
