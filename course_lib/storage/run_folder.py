"""A run's folder: which files in it the course has written. All others are yours.

    run.json, results.json, result.csv, submissions.json, board.csv, .drive.json, .deleted.json
    stage-2/    checkpoints, model.pth, measured.json
    trials/     0123456789abcdef.json
    guesses/    0123456789abcdef.json

Executed notebooks and figures count as yours: they are only replaced by new ones. While a file is
being written, it has a temporary name, which counts as its own.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import CheckpointError
from .checkpoints import has_checkpoint_name, is_checkpoint, newest_first, training_of
from .files import entries, final_name, read_sealed

RUN = Path("run.json")  # says whose folder it is
RECORD = Path(".drive.json")  # what is the same on Drive
DELETED = Path(".deleted.json")  # on Drive: the ids of trainings that were started over
RESULTS = Path("results.json")  # put together from the stages
RESULT = Path("result.csv")
SUBMISSIONS = Path("submissions.json")  # how often the sealed images were opened, and for what
BOARD = Path("board.csv")  # the same for people
TRIALS = Path("trials")
GUESSES = Path("guesses")
MODEL = "model.pth"
MEASURED = "measured.json"
OF_A_STAGE = (MODEL, MEASURED)  # beside its checkpoints

_STAGE = re.compile("stage-[1-3]")
_NAMED_BY_CONTENT = re.compile(r"[0-9a-f]{16}\.json")


def is_stage(folder: Path) -> bool:
    """Whether a folder, as a path relative to the run's, has the name of a stage's."""
    return len(folder.parts) == 1 and _STAGE.fullmatch(folder.name) is not None


def is_checkpoint_of_a_stage(path: Path) -> bool:
    """Whether a path, relative to the run's folder, is that of a stage's checkpoint."""
    return is_stage(path.parent) and has_checkpoint_name(path)


def belongs_to_a_stage(path: Path) -> bool:
    """Whether the course writes such a path, relative to the run's folder, in training a stage."""
    return is_stage(path.parent) and (path.name in OF_A_STAGE or has_checkpoint_name(path))


def carries_checksum(path: Path) -> bool:
    """Whether a path, relative to the run's folder, is a file of ours that carries a checksum."""
    if is_stage(path.parent):
        return path.name in OF_A_STAGE
    return path in (RUN, SUBMISSIONS) or _is_named_by_content(path)


def is_ours(path: Path) -> bool:
    """Whether the course writes a file with such a path, relative to the run's folder."""
    path = path.parent / final_name(path.name)
    if path in (RUN, RECORD, DELETED, RESULTS, RESULT, SUBMISSIONS, BOARD):
        return True
    return belongs_to_a_stage(path) or _is_named_by_content(path)


def is_trial(path: Path) -> bool:
    """Whether a path, relative to the run's folder, is that of a trial: its name says of which."""
    return path.parent == TRIALS and _is_named_by_content(path)


def holds_ours(folder: Path) -> bool:
    """Whether the course writes files to a folder, as a path relative to the run's."""
    return folder in (Path(), TRIALS, GUESSES) or is_stage(folder)


def is_a_run(folder: Path) -> bool:
    """Whether a folder is a run's: it has a run.json, or a stage with a checkpoint."""
    return (folder / RUN).exists() or has_checkpoints(folder)


def has_checkpoints(folder: Path) -> bool:
    """Whether a stage in a run's folder has a checkpoint: then something is trained there."""
    for stage in stages_in(folder):
        if any(is_checkpoint(path) for path in entries(folder / stage)):
            return True
    return False


def stages_in(run: Path) -> list[Path]:
    """The folders of a run's stages, links to folders too, as paths relative to the run's."""
    found = []
    for path in entries(run):
        name = path.relative_to(run)
        if is_stage(name) and (path.is_dir() or path.is_symlink()):
            found.append(name)
    return found


def trainings_in(run: Path, within: Path = Path()) -> set[str]:
    """The ids of the trainings that have a checkpoint in a run's folder, or in that of a stage.

    within: Path() for all of it, or a stage's folder, relative to the run's.
    """
    found = set()
    for stage in stages_in(run):
        if within in (Path(), stage):
            found |= {training_of(path) for path in newest_first(run / stage)}
    return found


def trainings_deleted(run: Path) -> set[str]:
    """The ids in DELETED; none if it's missing or damaged: then a deleted training may return."""
    try:
        return set(read_sealed(run / DELETED))
    except (FileNotFoundError, CheckpointError):
        return set()


def _is_named_by_content(path: Path) -> bool:
    """Whether a path is that of a trial or a guess, whose names are digests."""
    return path.parent in (TRIALS, GUESSES) and _NAMED_BY_CONTENT.fullmatch(path.name) is not None
