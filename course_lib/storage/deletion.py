"""Starting over: what the course has written in a run's folder is deleted, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import CheckpointError, DiskError
from .files import entries, remove, remove_if_empty
from .kept_model import keep_unknown_model
from .run_folder import GUESSES, MODEL, RUN, TRIALS, is_ours, is_stage, stages_in


def delete_ours(
    run: Path,
    within: Path = Path(),
    through_links: bool = True,
    before_each: Callable[[], None] = lambda: None,
) -> None:
    """Delete what the course has written in a run's folder, then the folders that are empty.

    If files of yours stay in the run's folder, `run.json` stays with them: it says whose folder it
    is. A `model.pth` that isn't known to be its stage's counts as yours. within: Path() for all of
    it, or a stage's folder, relative to the run's. through_links: also in folders of stages that
    are links, say to a larger disk; the links stay. before_each: called before each file. Raises
    DiskError, or CheckpointError if a link leads into another run's folder.
    """
    if through_links:
        require_no_other_run(run, within)
    folders = [within]
    if within == Path():  # it comes last, since its run.json says whose folder it is
        folders = [*stages_in(run), TRIALS, GUESSES, within]
    try:
        for folder in folders:
            is_linked = folder != Path() and (run / folder).is_symlink()
            if through_links or not is_linked:
                _delete_files(run, folder, before_each)
    except OSError as error:
        place = error.filename or run / within
        raise DiskError(f"{place} can't be deleted ({error.strerror or error}).") from error


def require_no_other_run(run: Path, within: Path = Path()) -> None:
    """Raise CheckpointError if the folder of a stage is a link to that of another run.

    within: as for `delete_ours`.
    """
    for stage in stages_in(run):
        place = run / stage
        other = place.resolve().parent
        is_linked = place.is_symlink() and within in (Path(), stage)
        if is_linked and other != run.resolve() and (other / RUN).exists():
            raise CheckpointError(
                f"{place} is a link into another run's folder, {other}, so nothing was deleted. "
                "Remove the link first."
            )


def _delete_files(run: Path, folder: Path, before_each: Callable[[], None]) -> None:
    """Delete our files in a folder, but not below it; then the folder, if that leaves it empty."""
    place = run / folder
    if not place.is_dir():
        return
    if is_stage(folder):
        keep_unknown_model(place)
    ours = [path for path in entries(place) if is_ours(path.relative_to(run))]
    ours.sort(key=_turn)
    for path in ours:
        if path.name == RUN.name and len(entries(place)) > 1:
            continue
        if path.is_file() or path.is_symlink():
            before_each()
            remove(path)
    before_each()
    remove_if_empty(place)


def _turn(path: Path) -> int:
    """When a file is deleted: if that's interrupted, those that say whose the others are remain."""
    if path.name == MODEL:  # checkpoints tell whether it's the stage's
        return 0
    if path.name == RUN.name:
        return 2
    return 1
