"""Put a lecture's notebook together from sections of the notebooks: one setup, one runtime.

`lecture_plan.py` says which sections, in which order. `make publish` writes the result to `class/`.
No exercise or solution gets into it. Names mean the same as in the notebooks, because a section
runs only after the sections of its notebook that it needs (a test compares the names).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

from . import lecture_plan
from .exercises import student_version
from .lecture_plan import Planned
from .notebooks import MARKER, METADATA, has_tag, set_ids, sources

BEFORE_HEADING = re.compile(r"^(?=## )", re.MULTILINE)


class Section(NamedTuple):
    """What stands below a heading of a notebook."""

    heading: str  # "" for what comes before the first one
    cells: list[NotebookNode]


def lecture_notebook(length: int) -> NotebookNode:
    """The notebook of the lecture that takes `length` minutes, without outputs.

    Raises ValueError if the plan names a section that its notebook lacks, or FileNotFoundError if
    there's no such notebook.
    """
    planned = [part for part in lecture_plan.PLAN if length in part.minutes]
    if not planned:
        raise ValueError(f"tools/lecture_plan.py has no section for {length} minutes.")
    contents = {}
    for source in _sources_of(planned):
        contents[source.name[:2]] = sections(source)
    cells = [new_markdown_cell(_introduction(length, planned))]
    notebook_before = None
    minute = 0
    for part in planned:
        found = contents[part.notebook]
        if part.notebook != notebook_before:
            cells += found[0].cells  # its title and its question
            notebook_before = part.notebook
        first, *others = _section(found, part).cells
        end = minute + part.minutes[length]
        cells += [first, _presenters_note(part.note, minute, end), *others]
        minute = end
    notebook = new_notebook(metadata=nbformat.from_dict(METADATA))
    notebook.cells = _with_one_setup(cells)
    set_ids(notebook)
    return notebook


def sections(source: Path) -> list[Section]:
    """The sections of a notebook, without its exercises. A cell with several headings is split."""
    found = [Section("", [])]
    for cell in student_version(source).cells:
        if has_tag(cell, "exercise") or has_tag(cell, "check"):
            continue
        if cell.cell_type != "markdown":
            found[-1].cells.append(cell)
            continue
        for text in BEFORE_HEADING.split(cell.source):
            if text.startswith("## "):
                heading = text.partition("\n")[0].removeprefix("## ")
                found.append(Section(heading, []))
            text = _without_asides(text)
            if text:
                found[-1].cells.append(new_markdown_cell(text))
    return found


def _without_asides(text: str) -> str:
    """Markdown without the badges and paragraphs in italics: they're about that notebook alone."""
    kept = []
    for paragraph in text.strip().split("\n\n"):
        in_italics = re.match(r"\*[^* ]", paragraph)
        if not in_italics and not paragraph.startswith(MARKER):
            kept.append(paragraph)
    return "\n\n".join(kept)


def _sources_of(planned: list[Planned]) -> list[Path]:
    """The notebooks that a lecture needs, in order."""
    return sources(",".join(part.notebook for part in planned))


def _section(found: list[Section], part: Planned) -> Section:
    """The section that the plan means. Raises ValueError unless there's exactly one."""
    named = [section for section in found if section.heading == part.heading]
    if len(named) != 1:
        raise ValueError(
            f"Notebook {part.notebook} has {len(named)} sections called {part.heading!r}, not one, "
            "without its exercises. Correct tools/lecture_plan.py."
        )
    return named[0]


def _introduction(length: int, planned: list[Planned]) -> str:
    """The Markdown of the first cell; `make publish` adds the badges."""
    links = []
    for source in _sources_of(planned):
        links.append(f"[{source.name[:2]}]({source.stem}.ipynb)")
    return (
        f"# The experiment in {length} minutes\n\n"
        f"This is the lecture: parts of the notebooks {', '.join(links)}, to be run from top to "
        "bottom in one runtime. Exercises and everything else are in those notebooks, to be worked "
        "through afterwards. Where it says *For the presenter*, a click unfolds what to ask the "
        "room."
    )


def _presenters_note(note: str, start: int, end: int) -> NotebookNode:
    """A folded cell. start, end: when to begin and end the section, in minutes."""
    text = (
        f"<details><summary>For the presenter: minutes {start} to {end}</summary>\n\n"
        f"{note}\n\n</details>"
    )
    return new_markdown_cell(text, metadata={"tags": ["presenter"]})


def _with_one_setup(cells: list[NotebookNode]) -> list[NotebookNode]:
    """The cells without all setup cells but the first: each notebook begins with the same one."""
    setup = next(cell for cell in cells if cell.cell_type == "code")
    kept = []
    for cell in cells:
        if cell is setup or cell.source != setup.source:
            kept.append(cell)
    return kept
