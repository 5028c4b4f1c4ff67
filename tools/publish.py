"""Write the repository's address into setup cells and badges:  python -m tools.publish owner/name

A notebook's badge is the paragraph below the line `<!-- colab -->` in its first Markdown cell;
README.md has one, too, which opens the first notebook. Before the first `publish`, the notebooks
say there how to open them without a badge.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course_lib.storage.files import write_text

from . import notebooks
from .notebooks import as_notebook, as_source, files_agree, set_ids, sources
from .pair import ADVICE

MARKER = "<!-- colab -->"
UNPUBLISHED = f"""{MARKER}
*In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*"""
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
COLAB = "https://colab.research.google.com/github"
PARAGRAPH = re.compile(rf"^{MARKER}(\n.+)*", re.MULTILINE)
ADDRESS = re.compile(r'^repository = ".*?"', re.MULTILINE)  # in the setup cell

# GitHub's rules. An owner has at most 39 letters, digits and single hyphens between them. A name
# has at most 100 characters, isn't "." or "..", and doesn't end in ".git".
OWNER = r"(?=.{1,39}/)[a-z\d]+(-[a-z\d]+)*"
NAME = r"(?!\.{1,2}$)(?!.*\.git$)[\w.-]{1,100}"
REPOSITORY = re.compile(f"{OWNER}/{NAME}", re.IGNORECASE | re.ASCII)


def badge(repository: str, path: str) -> str:
    """The paragraph with the badge that opens the notebook at `path`, relative to the checkout."""
    return f"{MARKER}\n{BADGE}({COLAB}/{repository}/blob/main/{path})"


def publish(repository: str) -> None:
    """Write all notebooks and README.md. Raises ValueError before anything is written."""
    if not REPOSITORY.fullmatch(repository):
        raise ValueError(f"{repository!r} isn't an address on GitHub of the form owner/name.")
    texts = {}
    for source in sources():
        notebook = published_notebook(source, repository)
        texts[source] = as_source(notebook)
        texts[source.with_suffix(".ipynb")] = as_notebook(notebook)
    readme = notebooks.FOLDER.parent / "README.md"
    texts[readme] = published_readme(readme, repository)
    for path, text in texts.items():
        write_text(path, text)


def published_readme(readme: Path, repository: str) -> str:
    """The text of README.md with the badge in it. Raises ValueError unless it has one place."""
    first = sources()[0].with_suffix(".ipynb")
    text = readme.read_text(encoding="utf-8")
    published, count = PARAGRAPH.subn(badge(repository, f"notebooks/{first.name}"), text)
    if count != 1:
        raise ValueError(f"README.md has {count} lines {MARKER}, not one.")
    return published


def published_notebook(source: Path, repository: str) -> NotebookNode:
    """A notebook with the address in it; its outputs stay.

    Raises ValueError if the two files of the pair differ, or the setup cell isn't found.
    """
    if not files_agree(source):
        raise ValueError(f"{source.stem}: the .ipynb and the .py differ. {ADVICE}")
    path = source.with_suffix(".ipynb")
    notebook = nbformat.read(path, 4)
    setups = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source, count = ADDRESS.subn(f'repository = "{repository}"', cell.source)
            setups += count
    if setups != 1:
        raise ValueError(f'{source.name} has {setups} lines `repository = "…"`, not one.')
    title = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    if not PARAGRAPH.search(title.source):
        title.source += f"\n\n{MARKER}"
    title.source = PARAGRAPH.sub(badge(repository, f"notebooks/{path.name}"), title.source)
    set_ids(notebook)
    return notebook


def main(arguments: list[str]) -> None:
    """Parse the command line and publish; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.publish",
        description="Write the repository's address into setup cells and badges.",
    )
    parser.add_argument("repository", help="owner/name, as in the address on GitHub")
    try:
        publish(parser.parse_args(arguments).repository)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
