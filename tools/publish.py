"""Write the repository's address into setup cells and Colab badges:  python -m tools.publish
owner/name

A notebook's badge is the paragraph below the line `<!-- colab -->` in its first Markdown cell;
README.md has one, too, which opens the first notebook. Before the first `publish`, the notebooks
say there how to open them without a badge.
"""

import argparse
import re
import sys

import nbformat

from course_lib.storage.files import write_text

from . import notebooks
from .notebooks import as_notebook, as_source, sources, with_ids

MARKER = "<!-- colab -->"
UNPUBLISHED = f"""{MARKER}
*In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook from there, and mount
Drive with the button in the file panel. Without Drive: upload the notebook, then the zipped folder in the file panel,
and unzip it with `!unzip -q course.zip`.*"""
BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
PARAGRAPH = re.compile(rf"^{MARKER}(\n.+)*", re.MULTILINE)
ADDRESS = re.compile(r'^repository = ".*?"', re.MULTILINE)  # in the setup cell
OWNER, NAME = (
    r"(?=.{1,39}/)[a-z\d]+(-[a-z\d]+)*",
    r"(?!\.{1,2}$)(?!.*\.git$)[\w.-]{1,100}",
)  # GitHub's rules


def badge(repository, path):
    """The paragraph with the badge that opens the notebook at `path`, which is relative to the
    checkout."""
    return (
        f"{MARKER}\n{BADGE}(https://colab.research.google.com/github/{repository}/blob/main/{path})"
    )


def publish(repository):
    """Write all notebooks and README.md. Raises ValueError before anything is written."""
    if not re.fullmatch(f"{OWNER}/{NAME}", repository, re.IGNORECASE | re.ASCII):
        raise ValueError(f"{repository!r} isn't an address on GitHub of the form owner/name.")
    texts = {}
    for source in sources():
        texts |= published(source, repository)
    readme = notebooks.FOLDER.parent / "README.md"
    before, first = readme.read_text(encoding="utf-8"), sources()[0].with_suffix(".ipynb")
    texts[readme], count = PARAGRAPH.subn(badge(repository, f"notebooks/{first.name}"), before)
    if count != 1:
        raise ValueError(f"README.md has {count} lines {MARKER}, not one.")
    for path, text in texts.items():
        if path.read_text(encoding="utf-8") != text:
            write_text(path, text)


def published(source, repository):
    """Both files of a pair with the address in them, {path: text}; the outputs stay. Raises
    ValueError."""
    path = source.with_suffix(".ipynb")
    notebook = nbformat.read(path, 4)
    if as_source(notebook) != source.read_text(encoding="utf-8"):
        advice = "`make pair` takes the .py, and discards what was edited in the .ipynb."
        raise ValueError(f"{source.stem}: the .ipynb and the .py differ. {advice}")
    setups = 0
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.source, count = ADDRESS.subn(f'repository = "{repository}"', cell.source)
            setups += count
    if setups != 1:
        raise ValueError(f'{source.name} has {setups} lines `repository = "…"`, not one.')
    first = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    if not PARAGRAPH.search(first.source):
        first.source += f"\n\n{MARKER}"
    first.source = PARAGRAPH.sub(badge(repository, f"notebooks/{path.name}"), first.source)
    return {source: as_source(notebook), path: as_notebook(with_ids(notebook))}


def main(arguments):
    """Parse the command line and publish; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.publish", description=__doc__.splitlines()[0]
    )
    parser.add_argument("repository", help="owner/name, as in the address on GitHub")
    try:
        publish(parser.parse_args(arguments).repository)
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main(sys.argv[1:])
