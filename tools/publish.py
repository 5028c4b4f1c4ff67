"""Make everything that a class needs:  python -m tools.publish [owner/name] [--ref main]

It writes the repository's address into the notebooks' setup cells and badges, and into README.md:
the line to clone, a badge per notebook, and where the site is.
It also writes `class/`: every notebook without outputs and solutions, whose badges open it there,
and a notebook for each lecture (see `lecture.py`). Run it again whenever the notebooks or the
address change, then commit. A notebook in `class/` that you've edited is kept under another name.

A notebook's badges are the paragraph below the line `<!-- colab -->` in its first Markdown cell.
Before the first `publish`, the notebooks say there how to open them without a badge.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from . import notebooks
from .exercises import student_version
from .lecture import lecture_notebook
from .lecture_plan import LENGTHS
from .notebooks import (
    ADVICE,
    MARKER,
    as_derived,
    as_notebook,
    as_source,
    files_agree,
    keep_if_edited,
    set_ids,
    sources,
    write_text,
)
from .place import Place, branch, find_place

UNPUBLISHED = f"""{MARKER}
*In Colab: put the course's folder on your Google Drive as `MyDrive/course`, open this notebook
from there, and mount Drive with the button in the file panel. Without Drive: upload the notebook,
then the zipped folder in the file panel, and unzip it with `!unzip -q course.zip`.*"""
PARAGRAPH = re.compile(rf"^{MARKER}(\n.+)*", re.MULTILINE)

# Lines of the setup cell
ADDRESS = re.compile(r'^repository = "(.*?)"', re.MULTILINE)
REF = re.compile(r'^ref = "(.*?)"', re.MULTILINE)
# The form's tick for finished networks, below its last line, is there only if some are offered.
TICK = 'use_finished_networks = False  # @param {type: "boolean"}'
DRIVE = re.compile(r"^(drive = .*)(\nuse_finished_networks = .*)?$", re.MULTILINE)
OPEN = re.compile(r"^course = open_course\(data, preset, drive.*\)$", re.MULTILINE)

# Lines of README.md: how to clone the course; a notebook's row in the table, whose last cell is for
# its badge. They read the same before and after they're filled in.
CLONE = re.compile(r"^git clone \S+ course\b", re.MULTILINE)
ROW = re.compile(r"^(\| \[`(\w+)`\]\(notebooks/\2\.ipynb\) \|.*\|)[^|]*\|$", re.MULTILINE)

LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)\s]+)\)")  # of Markdown, relative to notebooks/


def published_place() -> Place | None:
    """Where this checkout is published, by the first notebook's setup cell; None if nowhere."""
    text = sources()[0].read_text(encoding="utf-8")
    repository = ADDRESS.search(text)
    ref = REF.search(text)
    if not repository or not ref or not repository[1]:
        return None
    return Place(repository[1], ref[1])


def publish(place: Place) -> None:
    """Write all notebooks, README.md and `class/`.

    Raises ValueError, or FileNotFoundError for a planned notebook, before anything is written.
    """
    checkout = notebooks.FOLDER.parent
    texts = {}
    for source in sources():
        notebook = published_notebook(source, place)
        texts[source] = as_source(notebook)
        texts[source.with_suffix(".ipynb")] = as_notebook(notebook)
        name = f"class/{source.stem}.ipynb"
        texts[checkout / name] = as_derived(class_version(student_version(source), place, name))
    for length in LENGTHS:
        name = f"class/lecture-{length}.ipynb"
        texts[checkout / name] = as_derived(class_version(lecture_notebook(length), place, name))
    readme = checkout / "README.md"
    texts[readme] = published_readme(readme, place)
    for path, text in texts.items():
        if path.parent == checkout / "class":  # those of a pair agree
            keep_if_edited(path)
        write_text(path, text)


def published_readme(readme: Path, place: Place) -> str:
    """The text of README.md with the address, the badges and the site in it.

    Raises ValueError unless each of them has one place.
    """
    text = readme.read_text(encoding="utf-8")
    listed = [row[2] for row in ROW.finditer(text)]
    if listed != [source.stem for source in sources()]:
        raise ValueError("README.md's table doesn't list the notebooks one by one, in order.")
    text = ROW.sub(lambda row: f"{row[1]} {place.colab_badge(f'class/{row[2]}.ipynb')} |", text)
    address = f"https://github.com/{place.repository}"
    about = (
        f"{MARKER}\n"
        "The badges open clean notebooks: guess before you look. The site has all of them with\n"
        f"their results, and the reference: <{place.on_site()}>"
    )
    for pattern, replacement, shown in (
        (CLONE, f"git clone {address}.git course", "`git clone … course`"),
        (PARAGRAPH, about, MARKER),
    ):
        text, count = pattern.subn(replacement, text)
        if count != 1:
            raise ValueError(f"README.md has {count} lines {shown}, not one.")
    return text


def published_notebook(source: Path, place: Place) -> NotebookNode:
    """A notebook with the address in it; its outputs stay. Its badges open the class's version.

    Raises ValueError if the two files of the pair differ, or the setup cell isn't found.
    """
    if not files_agree(source):
        raise ValueError(f"{source.stem}: the .ipynb and the .py differ. {ADVICE}")
    notebook = nbformat.read(source.with_suffix(".ipynb"), 4)
    _write_place(notebook, source.name, place)
    return notebook


def class_version(notebook: NotebookNode, place: Place, path: str) -> NotebookNode:
    """A notebook without outputs and solutions as students open it: with links that lead there.

    path: where it will be, relative to the checkout. Raises ValueError if there's no setup cell.
    """
    _write_place(notebook, path, place)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = LINK.sub(lambda link: f"]({_address(link[1], place)})", cell.source)
    set_ids(notebook)
    return notebook


def _address(link: str, place: Place) -> str:
    """Where a link leads that is relative to notebooks/: another notebook's is the class's."""
    path, anchor, name = link.partition("#")
    if path.endswith(".ipynb") and "/" not in path:
        return place.in_colab(f"class/{path}")
    parts: list[str] = ["notebooks"]
    for part in path.split("/"):
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return place.on_github("/".join(parts)) + anchor + name


def _write_place(notebook: NotebookNode, name: str, place: Place) -> None:
    """Write the address and the ref into a notebook's setup cell, and its badges.

    Raises ValueError unless each of them has one place.
    """
    for pattern, line in (
        (ADDRESS, f'repository = "{place.repository}"'),
        (REF, f'ref = "{place.ref}"'),
    ):
        count = 0
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.source, found = pattern.subn(line, cell.source)
                count += found
        if count != 1:
            shown = line.partition(" ")[0]
            raise ValueError(f'{name} has {count} lines `{shown} = "…"`, not one.')
    _write_tick(notebook)
    title = next(cell for cell in notebook.cells if cell.cell_type == "markdown")
    if not PARAGRAPH.search(title.source):
        title.source += f"\n\n{MARKER}"
    badges = place.badges(f"class/{Path(name).stem}.ipynb")
    title.source = PARAGRAPH.sub(badges, title.source)
    set_ids(notebook)


def _write_tick(notebook: NotebookNode) -> None:
    """Give the setup cell a tick for finished networks if some are offered, and none otherwise."""
    form = r"\1"
    opening = "course = open_course(data, preset, drive)"
    if _networks_are_offered():
        form += f"\n{TICK}"
        opening = "course = open_course(data, preset, drive, finished=use_finished_networks)"
    setup = next(cell for cell in notebook.cells if ADDRESS.search(cell.source))
    setup.source = OPEN.sub(opening, DRIVE.sub(form, setup.source))


def _networks_are_offered() -> bool:
    """Whether `data_manifest.json` lists finished networks for any data set."""
    path = notebooks.FOLDER.parent / "data_manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    return any("finished" in entry for entry in manifest.values())


def what_to_do(place: Place) -> str:
    """What the lecturer does next, step by step: commands and addresses."""
    move_the_tag = ""
    if branch() and place.ref != branch():
        move_the_tag = f"    git tag --force {place.ref} && git push --force origin {place.ref}\n"
    first = sources()[0].stem
    lectures = [place.in_colab(f"class/lecture-{length}.ipynb") for length in LENGTHS]
    return (
        f"Everything is written for {place.repository}, {place.ref}. Now commit and push:\n"
        "    git add README.md data_manifest.json notebooks class\n"
        f'    git commit -m "Publish for {place.ref}" && git push\n'
        f"{move_the_tag}"
        "GitHub builds the site, once you've chosen Settings → Pages → Source → GitHub Actions:\n"
        f"    {place.on_site()}\n"
        "Then give your students this link:\n"
        f"    {place.on_github(f'class/{first}.ipynb')}\n"
        "and present from one of these:\n"
        "    " + "\n    ".join(lectures)
    )


def main(arguments: list[str]) -> None:
    """Parse the command line and publish; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.publish", description=__doc__)
    parser.add_argument(
        "repository", nargs="?", default="", help="owner/name, or any address of it on GitHub"
    )
    parser.add_argument("--ref", default="", help="a branch or tag; by default, this branch")
    chosen = parser.parse_args(arguments)
    try:
        place = find_place(chosen.repository, chosen.ref)
        publish(place)
    except (ValueError, OSError) as error:
        sys.exit(str(error))
    print(what_to_do(place))


if __name__ == "__main__":
    main(sys.argv[1:])
