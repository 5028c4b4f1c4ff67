"""Mark a folder of notebooks that students have handed in:  python -m tools.grade submissions

Of each notebook (or `.py` in percent format), only the cells that define an exercise's answer are
run; the check is the course's own, with random examples that nobody has seen. Each answer runs in a
process of its own, with limits of time, memory and output, in an empty folder. The marks go to
submissions/marks.csv.

THIS RUNS CODE THAT STUDENTS WROTE. What keeps it in:
- Where Linux allows it (`unshare`), the process has no network, and sees no solutions and no
  submissions, as empty folders lie over them.
- Everywhere, an audit hook refuses sockets, processes, and files outside the folder. Python's
  documentation says what that's worth: it stops accidents and simple tricks, not an expert, whose
  code can reach the system through a library written in C++, or read the verdict's token from
  the frames above its own. Answers that use what such tricks need are listed for you to read.

For real walls, mark in a container; notebooks/README.md has the commands.
"""

from __future__ import annotations

import csv
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
from nbformat import NotebookNode

from course_lib.board import harmless
from course_lib.errors import CourseError, brief
from course_lib.storage.files import write_text

from . import notebooks
from .marker import Marker
from .notebooks import from_source, has_tag, sources

POINTS = {  # by the name of the check; the table in notebooks/README.md says the same
    "res_block": 4,
    "layers": 1,
    "cross_entropy": 2,
    "no_shortcut": 2,
    "accuracy": 3,
    "separating_experiment": 1,
    "augmentation": 4,
    "colour_share": 2,
    "catches_bugs": 3,
    "early_stopping": 2,
    "receptive_field": 2,
    "temperature": 2,
    "paired_difference": 2,
    "accumulation": 2,
}
SECONDS = 60.0  # that an answer and its check may take; the slowest check needs about 5
TABLE = re.compile(r"marks(-[0-9]+)?\.csv")
LARGEST = 50 * 2**20  # bytes of a notebook
# The comments above a `.py`: jupytext would read YAML there, a few lines of which may never end.
HEADER = re.compile(r"\A(?:(?!# %%)(?:#.*)?\n)+")

# What a right answer has no use for, but one that deceives its check.
UNUSUAL = re.compile(
    r"\b(?:builtins|ctypes|gc|importlib|inspect|os|pathlib|shutil|socket|subprocess|sys|threading)\b"
    r"|(?<![\w.])(?:eval|exec|getattr|globals|open|setattr|vars)(?=\()"
    r"|\b__(?!init__|call__|name__)\w+__\b|\b(?:f_back|tb_frame|from_file|read_file|write_file)\b"
    r"|course_lib\.\w+|\bchecks\.(?!Todo)\w+"
)
# What would be somebody else's answer.
READY_MADE = {
    "res_block": re.compile(r"\b(?:res_block|MyModel|get_model)\b"),
    "no_shortcut": re.compile(r"\bplain_block\b"),
    "cross_entropy": re.compile(r"\b(?:cross_entropy|nll_loss|CrossEntropyLoss|NLLLoss)\b"),
    "accuracy": re.compile(r"\b(?:evaluate|few_heldout|measure)\b"),
    "augmentation": re.compile(r"\b(?:augment_batch|augmented_transform|plain_transform)\b"),
}


class Exercise(NamedTuple):
    """An exercise of the course."""

    notebook: str  # such as "05_predictions_and_errors"
    name: str  # its check's, such as "colour_share"
    answers: tuple[str, ...]  # the names that an answer defines: "my_share"
    check: str  # the code of the check's cell

    @property
    def definition(self) -> re.Pattern:
        """What defines one of the answers: `def my_share(`, `my_count =`, `import x as my_x`."""
        names = "|".join(self.answers)
        ways = (
            rf"^[ \t]*(?:def|class) +(?:{names})\b",
            rf"^(?:{names})\s*(?:[:,]|=(?!=))",
            rf"\bas (?:{names})\b",
        )
        return re.compile("|".join(ways), re.MULTILINE)


class Mark(NamedTuple):
    """A row of marks.csv."""

    file: str  # the student's, seen from the folder of submissions
    exercise: str
    points: int
    of: int
    sentence: str
    read: str  # why you should read this answer yourself


def exercises() -> list[Exercise]:
    """The exercises of all notebooks, in order."""
    found = []
    for source in sources():
        for cell in from_source(source).cells:
            if has_tag(cell, "check"):
                [name] = re.findall(r"\bchecks\.(\w+)\(", cell.source)
                answers = tuple(re.findall(r"\bmy_\w+", cell.source))
                found.append(Exercise(source.stem, name, answers, cell.source))
    return found


def look_through(folder: Path) -> tuple[list[Path], dict[Path, str]]:
    """The submissions in a folder, however deep; and what else is in it, with why it's left out.

    Submissions are notebooks and `.py` files, but no hidden ones and no links.
    """
    found = []
    left_out = {}

    def unreadable(error: OSError) -> None:
        left_out[Path(error.filename)] = "it can't be read"

    for base, folders, names in os.walk(folder, onerror=unreadable):
        visible = []
        for name in folders:
            path = Path(base, name)
            if name.startswith("."):
                left_out[path] = "it's hidden"
            elif path.is_symlink():
                left_out[path] = "it's a link"
            else:
                visible.append(name)
        folders[:] = visible  # in place: `os.walk` looks only into what is left in its list
        for name in names:
            path = Path(base, name)
            reason = why_no_submission(path)
            if not reason:
                found.append(path)
            elif path.parent != folder or not TABLE.fullmatch(name):
                left_out[path] = reason
    return sorted(found), left_out


def why_no_submission(path: Path) -> str:
    """Why a file isn't marked, or "" if it is."""
    if path.name.startswith("."):
        return "it's hidden"
    if path.is_symlink():
        return "it's a link"
    if not path.is_file():
        return "it isn't a file"
    if path.suffix.lower() not in (".ipynb", ".py"):
        return "it's neither an .ipynb nor a .py; unpack it if there's one in it"
    return ""


def code_cells(path: Path) -> list[NotebookNode]:
    """The code cells of a submission. Raises an exception of any kind if it isn't a notebook."""
    if path.stat().st_size > LARGEST:
        raise ValueError("it's larger than 50 MB; it may be small without its outputs")
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".py":
        if not re.search(r"^# %%", text, re.MULTILINE):
            raise ValueError("no line begins with # %%, so it isn't in percent format")
        notebook = jupytext.reads(HEADER.sub("", text), "py:percent")
    else:
        notebook = nbformat.reads(text, 4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def answers_to(exercise: Exercise, cells: list[NotebookNode]) -> list[str]:
    """The code that may answer an exercise: its cells down to the check; then also those below.

    Of several definitions, the last one counts, as it does when the notebook is run.
    """
    end = len(cells)
    for number, cell in enumerate(cells):
        if re.search(rf"\bchecks\.{exercise.name}\(", cell.source):
            end = number + 1  # an answer may stand in the check's own cell
    versions = []
    for part in (cells[:end], cells):
        defining = [cell.source for cell in part if exercise.definition.search(cell.source)]
        versions.append("\n\n".join(defining))
    return [code for code in dict.fromkeys(versions) if code]


# --- Marks


def marks_of(path: Path, name: str, course: list[Exercise], marker: Marker) -> list[Mark]:
    """The marks of one submission: a row per exercise of its notebook, done or not.

    name: the file's in the table. A file that is no notebook of this course has a row of 0 points.
    """
    try:
        cells = code_cells(path)
        answers = {exercise: answers_to(exercise, cells) for exercise in course}
    except Exception as error:  # whatever a broken file makes a parser raise
        message = f"This isn't a notebook: {type(error).__name__}, {brief(str(error))}"
        return [Mark(name, "", 0, 0, message, "it can't be read")]
    mine = {exercise.notebook for exercise, found in answers.items() if found}
    mine |= {exercise.notebook for exercise in answers if exercise.notebook in path.stem}
    marks = []
    for exercise, versions in answers.items():
        if exercise.notebook in mine:
            marks.append(mark(exercise, versions, name, marker))
    return marks or [Mark(name, "", 0, 0, "None of the course's exercises is in it.", "")]


def mark(exercise: Exercise, versions: list[str], name: str, marker: Marker) -> Mark:
    """The mark of one answer: of its first version that isn't an unfinished stub."""
    of = POINTS[exercise.name]
    verdict = None
    sentence = f"No cell defines {' and '.join(exercise.answers)}."
    code = ""
    for code in versions:
        verdict, sentence = marker.mark(code, exercise.check, SECONDS)
        if verdict is not None:
            break
    reasons = unusual_means(exercise, code)
    if "raises NameError" in sentence:
        reasons.append("uses a name that its own cell doesn't define")
    if re.search("raises (ModuleNotFoundError|ImportError|SyntaxError)", sentence):
        reasons.append("may have worked where it was written, as with Colab's own packages")
    if verdict is False and len(versions) > 1:
        reasons.append("there's another answer below the check")
    points = of if verdict is True else 0
    return Mark(name, exercise.name, points, of, sentence, "; ".join(reasons))


def unusual_means(exercise: Exercise, code: str) -> list[str]:
    """What an answer uses that a right one can do without, in words."""
    reasons = []
    ready_made = READY_MADE.get(exercise.name)
    if ready_made and (found := ready_made.search(code)):
        reasons.append(f"uses the ready-made {found[0]}")
    unusual = set(UNUSUAL.findall(code))
    if unusual:
        reasons.append(f"uses {', '.join(sorted(unusual))}")
    return reasons


def as_csv(marks: list[Mark]) -> str:
    """The table as text, with a mark at its beginning by which Excel knows that it's UTF-8.

    What UTF-8 can't express, such as some file names, is escaped.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(Mark._fields)
    for row in marks:
        writer.writerow([harmless(value) for value in row])
    text = file.getvalue().encode("utf-8", "backslashreplace").decode()
    return "\ufeff" + text


def new_file(folder: Path) -> Path:
    """marks.csv, or marks-2.csv, …: never one that exists, in which you may have changed marks."""
    path = folder / "marks.csv"
    number = 1
    while os.path.lexists(path):
        number += 1
        path = folder / f"marks-{number}.csv"
    return path


def grade(folder: Path, table: Path) -> list[Mark]:
    """Mark every submission in a folder, print the points of each, and return all rows.

    table: a new file for them; it's written again after each submission. Raises DiskError.
    """
    files, left_out = look_through(folder)
    course = exercises()
    hidden = [notebooks.FOLDER, notebooks.FOLDER.parent / "build", folder]
    marks = []
    write_text(table, as_csv(marks))  # if this can't be done, better now than in the end
    with tempfile.TemporaryDirectory() as place, Marker(Path(place).resolve(), hidden) as marker:
        if not marker.walled:
            print("No walls here (`unshare` can't be used): an audit hook alone keeps answers in.")
        for path in files:
            name = path.relative_to(folder).as_posix()
            rows = marks_of(path, name, course, marker)
            points = sum(row.points for row in rows)
            of = sum(row.of for row in rows)
            print(f"{brief(name)}: {points} of {of} points", flush=True)
            marks += rows
            write_text(table, as_csv(marks))
    for path, reason in sorted(left_out.items()):
        print(f"Not marked: {brief(str(path.relative_to(folder)))}, because {reason}.")
    return marks


def main() -> None:
    """Mark the folder that's named on the command line; write the table, print a summary."""
    folder = Path(sys.argv[-1]).resolve()
    if len(sys.argv) < 2 or not sys.argv[-1] or not folder.is_dir():
        sys.exit("Name the folder of submissions: make grade DIR=submissions")
    if not hasattr(os, "fork"):
        sys.exit(
            "Marking needs Linux or macOS. On Windows, use the container (notebooks/README.md)."
        )
    print("This runs code that students wrote. notebooks/README.md says how to use a container.")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names that aren't UTF-8
    table = new_file(folder)
    try:
        marks = grade(folder, table)
    except CourseError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(f"Stopped. The marks so far are in {table}.")
    for row in marks:
        if row.read:
            print(f"Read {brief(row.file)}, {row.exercise or 'the file'}: {row.read}")
    files = {row.file for row in marks}
    print(f"{len(marks)} rows for {len(files)} files are in {table}.")


if __name__ == "__main__":
    main()
