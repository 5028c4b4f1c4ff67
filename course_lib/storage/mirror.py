"""A run's two folders, on the local disk and on Google Drive: what travels, and which way.

- A stage's checkpoints travel if they're undamaged, to the side that isn't as far in the same
  training. Of two trainings, neither is overwritten; one that was started over stays where it is.
- `model.pth` and `measured.json` belong to the furthest checkpoint and travel with it. If a
  `model.pth` of yours is in the way, it's kept under another name.
- Any other file travels only where nothing is lost by it: see `file_pairs.py`.

Files whose names begin with a dot and folders that are links stay where they are. Nothing is copied
into a link on the other side, or deleted there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import CourseError, DiskError
from .checkpoints import KEPT, delete_older, is_good, newest_first, position, training_of
from .file_pairs import DIVERGED, MIXED, STARTED_OVER, FilePairs
from .files import Look, content_of, files_in, look_at, write_bytes
from .run_folder import (
    OF_A_STAGE,
    RUN,
    belongs_to_a_stage,
    holds_ours,
    is_checkpoint_of_a_stage,
    is_ours,
    trainings_deleted,
)
from .versions import Side

MOST_PASSES = 5  # over all files, until nothing is left to be copied


class Mirror:
    """Two folders that hold the same run. Only one thread at a time may use them.

    local, remote: the folders, here and on Drive. before_each: called before each file is read.
    """

    def __init__(self, local: Path, remote: Path, before_each: Callable[[], None]):
        self.local = local
        self.remote = remote
        self._before_each = before_each
        self._files = FilePairs(local, remote, before_each)
        self._good: dict[Path, Look] = {}  # checkpoints that were good when they looked like this

    def restore(self) -> None:
        """Bring here what only Drive has, or what is newer there.

        Raises DiskError, OSError or CheckpointError: nothing of the course's on Drive is passed
        over. A file or folder of yours that can't be read there is reported.
        """
        self.look_again()
        self._files.read_record()
        theirs = self._files_on(self.remote)
        if RUN in theirs:
            self._files.restore(RUN, self._side_that_has_begun(theirs))
        for path in theirs:
            if path != RUN and not belongs_to_a_stage(path):
                self._files.restore(path)
        for stage in self._stages(theirs):
            self._restore_stage(stage)

    def copy_all(self) -> bool:
        """Copy to Drive until a look at every file there finds nothing more to copy.

        Returns whether Drive then has everything. Raises DiskError, OSError or CheckpointError.
        """
        self.look_again()
        for _ in range(MOST_PASSES):
            if self.copy() == 0:
                return self._files.complete
        raise DiskError(f"{self.remote} doesn't keep what is copied there.")

    def copy(self) -> int:
        """Copy to Drive what only we have, or what is newer here; returns how many files.

        A file that can't be copied doesn't hold up the others: its error is raised at the end.
        """
        self._files.complete = True
        copied = 0
        errors: list[Exception] = []
        self._files.read_record()
        ours = self._files_on(self.local)
        if RUN in ours:  # first: a folder without it may be anybody's
            copied += self._files.copy(RUN)
        for path in ours:
            if path != RUN and not belongs_to_a_stage(path):
                with _postponed(errors):
                    copied += self._files.copy(path)
        for stage in self._stages(ours):
            with _postponed(errors):
                copied += self._copy_stage(stage)
        if errors:
            raise errors[0]
        return copied

    def look_again(self) -> None:
        """Read all files anew, also those that haven't changed."""
        self._good.clear()
        self._files.look_again()

    def _files_on(self, side: Path) -> list[Path]:
        """The files on a side. What's yours and can't be read is reported, and left out."""

        def report(error: OSError) -> None:
            if isinstance(error, FileNotFoundError):  # deleted meanwhile
                return
            if error.filename is None:  # it might be anything
                raise error
            path = Path(error.filename).relative_to(side)
            if holds_ours(path) or is_ours(path):
                raise error
            why = error.strerror or error
            self._files.report(path, f"can't be read ({why}), so it isn't copied.")

        return files_in(side, report)

    def _side_that_has_begun(self, theirs: list[Path]) -> Side:
        """The side that has trained, and so says in its `run.json` in which precision."""
        here = any(is_checkpoint_of_a_stage(path) for path in self._files_on(self.local))
        there = any(is_checkpoint_of_a_stage(path) for path in theirs)
        if not here:
            return Side.DRIVE
        return Side.NEITHER if there else Side.HERE

    # Stages

    def _stages(self, files: list[Path]) -> list[Path]:
        """The folders of the stages among a side's files; reports, and omits, those with a link."""
        found = {path.parent for path in files if belongs_to_a_stage(path)}
        return [stage for stage in sorted(found) if not self._files.is_blocked(stage)]

    def _restore_stage(self, stage: Path) -> None:
        further = self._further_side(stage)
        if further in (Side.HERE, Side.UNKNOWN):
            return
        for name in OF_A_STAGE:
            if (self.remote / stage / name).exists():
                self._files.restore(stage / name, further)
        # Last: if this is interrupted, the stage is still behind, and restored the next time.
        here = self.local / stage
        for path in self._good_ones(self.remote / stage):
            if self._is_wanted(path, here):
                self._before_each()
                write_bytes(here / path.name, path.read_bytes())

    def _copy_stage(self, stage: Path) -> int:
        further = self._further_side(stage)
        if further in (Side.DRIVE, Side.UNKNOWN):
            return 0
        copied = 0
        for name in OF_A_STAGE:
            copied += self._files.copy(stage / name, further)
        there = self.remote / stage
        for path in self._good_ones(self.local / stage):
            if self._is_wanted(path, there):
                copied += self._copy_checkpoint(path, there)
        good = self._good_ones(there)
        if good and len(newest_first(there)) > KEPT:  # a kernel died before it deleted them
            delete_older(good[0])
        return copied

    def _copy_checkpoint(self, path: Path, there: Path) -> int:
        self._before_each()
        data = content_of(path)
        if data is None:  # newer ones were saved meanwhile, and are copied next time
            return 0
        write_bytes(there / path.name, data)
        delete_older(there / path.name)  # at once: Drive may have little space
        return 1

    def _further_side(self, stage: Path) -> Side:
        """The side that has got further in a stage, by its undamaged checkpoints.

        UNKNOWN, and reported, if neither follows from the other.
        """
        ours = self._good_ones(self.local / stage)
        theirs = self._good_ones(self.remote / stage)
        trained_here = {training_of(path) for path in ours}
        trained_there = {training_of(path) for path in theirs}
        only_here = trained_here - trained_there
        if only_here & trainings_deleted(self.remote):
            return self._unknown(stage, STARTED_OVER)
        if len(trained_here) > 1 or len(trained_there) > 1:
            return self._unknown(stage, MIXED)
        if not ours and not theirs:
            return Side.NEITHER
        if not theirs:
            return Side.HERE
        if not ours:
            return Side.DRIVE
        if ours[0].name == theirs[0].name:
            return Side.NEITHER
        if trained_here != trained_there or position(ours[0]) == position(theirs[0]):
            return self._unknown(stage, DIVERGED)
        return Side.HERE if position(ours[0]) > position(theirs[0]) else Side.DRIVE

    def _unknown(self, stage: Path, why: str) -> Side:
        self._files.report(stage, why)
        return Side.UNKNOWN

    def _is_wanted(self, path: Path, folder: Path) -> bool:
        """Whether a checkpoint is missing in another folder that would keep it."""
        kept = self._good_ones(folder)[:KEPT]
        if path.name in [other.name for other in kept]:
            return False
        return len(kept) < KEPT or position(path) > position(kept[-1])

    def _good_ones(self, folder: Path) -> list[Path]:
        """The undamaged checkpoints in a folder, the furthest first."""
        return [path for path in newest_first(folder) if self._is_good(path)]

    def _is_good(self, path: Path) -> bool:
        """Whether a checkpoint is undamaged; reads it only if it has changed."""
        look = look_at(path)
        if look is None:  # deleted meanwhile
            return False
        if self._good.get(path) == look:
            return True
        self._before_each()
        if not is_good(path):
            return False
        self._good[path] = look
        return True


@contextmanager
def _postponed(errors: list[Exception]) -> Iterator[None]:
    """Keep an error for later, so that the files after it are copied first."""
    try:
        yield
    except (OSError, CourseError, MemoryError) as error:
        errors.append(error)
