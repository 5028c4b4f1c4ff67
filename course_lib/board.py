"""The class's board: claims about sealed images, and how often these were opened.

`submissions.json` in a run's folder keeps both, with a checksum; `board.csv` shows the claims to
people, one row each, for a lecturer to collect. Both are deleted only with the run.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path

from .errors import CheckpointError, DiskError, SettingsError
from .storage.files import read_sealed, write_sealed, write_text
from .storage.run_folder import BOARD, SUBMISSIONS

LONGEST = 80  # characters of a name
# A spreadsheet would compute what begins like this, be it after a separator of another language's.
FORMULA = re.compile(r"(^|[;\t\r\n])(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20])")


@dataclass(frozen=True)
class Claim:
    """What was measured on sealed images: a row of the board. Accuracies are in percent."""

    student: str
    data: str
    classes: int
    sealed_images: int
    model: str
    control: str
    budget: str  # epochs and images, in words
    seeds: int
    accuracy: float  # the model's, averaged over the seeds
    accuracy_margin: float  # ±: half of the 95% interval
    difference: float  # from the control's accuracy, in percentage points
    difference_margin: float
    verdict: str  # "better", "worse" or "no clear difference"
    would_be_found: str  # how large a difference would have to be, in words
    opened: int  # how often images of this data had been opened by then, this time included
    date: str
    commit: str | None  # of the course's code

    def __str__(self) -> str:
        """The claim in a sentence; if the images had been opened before, another says so."""
        if self.verdict == "no clear difference":
            found = (
                f"there is no clear difference between {self.model} and {self.control}: "
                f"{self.difference:+.1f} ± {self.difference_margin:.1f} points "
                f"({self.would_be_found})"
            )
        else:
            found = (
                f"{self.model} is {self.verdict} than {self.control} by "
                f"{abs(self.difference):.1f} ± {self.difference_margin:.1f} points"
            )
        images = f"{self.sealed_images:,} sealed images of {self.classes:,} classes"
        seeds = "1 seed (others may differ)" if self.seeds == 1 else f"{self.seeds} seeds"
        text = f"On {self.data} ({images}), {found}, after {self.budget}, with {seeds}."
        if self.opened > 1:
            before = "once" if self.opened == 2 else f"{self.opened - 1:,} times"
            text += f" The images had been opened {before} before."
        return text


COLUMNS = [field.name for field in fields(Claim)]


@dataclass
class Opening:
    """One time that the sealed images were opened."""

    key: str  # a digest of the images and the trainings
    claim: Claim | None = None  # None: it was stopped before anything was measured


def require_name(name: str) -> str:
    """Return a name for the board. Raises SettingsError unless it's one line of plain text."""
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise SettingsError(f"The name is {name!r}: use letters, digits and spaces.")
    if len(name) > LONGEST:
        raise SettingsError(f"The name has {len(name):,} characters: use {LONGEST} or fewer.")
    if FORMULA.search(name):
        raise SettingsError(
            f"The name is {name!r}; a spreadsheet might compute it. Begin with a letter or digit."
        )
    return name.strip()


def read_openings(folder: Path) -> list[Opening]:
    """The openings that are kept in a run's folder, the first one first.

    Raises CheckpointError if the file is damaged, DiskError if it can't be read.
    """
    path = folder / SUBMISSIONS
    try:
        content = read_sealed(path)
    except FileNotFoundError:
        return []
    openings = []
    try:
        for entry in content:
            claim = entry["claim"]
            openings.append(Opening(entry["key"], None if claim is None else Claim(**claim)))
    except (TypeError, LookupError) as error:
        raise CheckpointError(f"{path} doesn't hold openings ({error}). Rename it.") from error
    return openings


def write_openings(folder: Path, openings: Sequence[Opening]) -> None:
    """Write both files of the board. Raises CheckpointError, DiskError.

    The board comes last, and is written from all openings: if it's missing, nothing is lost.
    """
    require_own_board(folder, openings)
    write_sealed(folder / SUBMISSIONS, [asdict(opening) for opening in openings])
    write_text(folder / BOARD, "".join(_lines(openings)))


def require_own_board(folder: Path, openings: Sequence[Opening]) -> None:
    """Raise CheckpointError if `board.csv` holds anything but the claims of these openings."""
    path = folder / BOARD
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise DiskError(f"{path} can't be read ({error.strerror or error}). Rename it.") from error
    ours = {line.encode() for line in _lines(openings)}
    if not ours.issuperset(found.splitlines(keepends=True)):
        raise CheckpointError(
            f"{path} holds something else than the claims in {SUBMISSIONS}, so it wasn't "
            "overwritten. Rename it, and run the cell again."
        )


def _lines(openings: Sequence[Opening]) -> list[str]:
    """The lines of `board.csv`: a header, and a row for each claim."""
    lines = [_line(COLUMNS)]
    for opening in openings:
        if opening.claim is not None:
            lines.append(_line(astuple(opening.claim)))
    return lines


def _line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow([harmless(cell) for cell in cells])
    return text.getvalue()


def harmless(cell: object) -> object:
    """A cell that a spreadsheet shows as it is: it would compute a text that begins with "="."""
    if isinstance(cell, str):
        return FORMULA.sub(r"\1'", cell)
    return cell
