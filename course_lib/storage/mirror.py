"""A run's two folders, on the local disk and on Google Drive: what travels, and which way.

- A stage's checkpoints travel if they're undamaged, to the side that isn't as far.
- `model.pth` and `measured.json` belong to the furthest checkpoint and travel with it.
- Any other file travels if only one side has it, or if only one side has changed it. If both have,
  neither is overwritten, and you'll see a message.

Files whose names begin with a dot and folders that are links stay where they are. Nothing is copied
into a link on the other side, or deleted there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm.auto import tqdm

from ..errors import CheckpointError, CourseError, DiskError, brief
from .checkpoints import (
    KEPT,
    delete_older,
    digest_of,
    is_good,
    newest_first,
    order,
)
from .files import (
    Look,
    content_of,
    files_in,
    look_at,
    obstacle,
    read_sealed,
    write_bytes,
    write_sealed,
)
from .run_folder import (
    OF_A_STAGE,
    RECORD,
    RESULTS,
    RUN,
    belongs_to_a_stage,
    carries_checksum,
    is_checkpoint_of_a_stage,
    stages_in,
)
from .versions import Newer, newer

MOST_PASSES = 5  # over all files, until nothing is left to be copied

# Why something isn't copied, after its name
CHANGED = (
    "was changed here and on Drive, so neither was overwritten. To keep both, rename one of them; "
    "or delete the one that you don't need."
)
LINKED = (
    "is a link to another folder, so nothing is copied to it or from it. To have it copied, put a "
    "folder in its place."
)
OTHER_KIND = (
    "isn't the same kind of thing here and on Drive, so neither was overwritten. To keep both, "
    "rename one of them."
)


class Mirror:
    """Two folders that hold the same run. Only one thread at a time may use them.

    local, remote: the folders, here and on Drive. before_each: called before each file.
    """

    def __init__(self, local: Path, remote: Path, before_each: Callable[[], None]):
        self.local = local
        self.remote = remote
        self.complete = True  # whether Drive lacked nothing when `copy` last looked
        self._before_each = before_each
        self._last_same: dict[str, str] = {}  # what RECORD holds
        self._good: dict[Path, Look] = {}  # undamaged checkpoints
        self._equal: dict[Path, tuple[Look | None, Look | None]] = {}  # files, here and on Drive
        self._reported: set[Path] = set()  # what isn't copied, and you've been told why

    def restore(self) -> None:
        """Bring here what only Drive has, or what is newer there.

        Raises DiskError, OSError or CheckpointError: nothing on Drive is passed over.
        """
        self.look_again()
        with self._record():
            theirs = files_in(self.remote)
            if RUN in theirs:
                self._restore_file(RUN, self._who_has_begun(theirs))
            for path in theirs:
                if path != RUN and not belongs_to_a_stage(path):
                    self._restore_file(path)
            for stage in self._stages(theirs):
                self._restore_stage(stage)

    def copy_all(self) -> bool:
        """Copy to Drive until a look at every file there finds nothing more to copy.

        Returns whether Drive then has everything. Raises DiskError, OSError or CheckpointError.
        """
        self.look_again()
        for _ in range(MOST_PASSES):
            if self.copy() == 0:
                return self.complete
        raise DiskError(f"{self.remote} doesn't keep what is copied there.")

    def copy(self) -> int:
        """Copy to Drive what only we have, or what is newer here; returns how many files.

        A file that can't be copied doesn't hold up the others: its error is raised at the end.
        """
        self.complete = True
        copied = 0
        errors: list[Exception] = []
        with self._record():
            ours = files_in(self.local)
            if RUN in ours:  # first: a folder without it may be anybody's
                copied += self._copy_file(RUN)
            for path in ours:
                if path != RUN and not belongs_to_a_stage(path):
                    with _collected(errors):
                        copied += self._copy_file(path)
            for stage in self._stages(ours):
                with _collected(errors):
                    copied += self._copy_stage(stage)
        if errors:
            raise errors[0]
        return copied

    def look_again(self) -> None:
        """Trust nothing that was looked at before."""
        self._good.clear()
        self._equal.clear()

    # Stages

    def _stages(self, files: list[Path]) -> list[Path]:
        """The folders of the stages among a side's files; reports, and omits, those with a link."""
        found = {path.parent for path in files if belongs_to_a_stage(path)}
        for side in (self.local, self.remote):
            found.update(stage for stage in stages_in(side) if (side / stage).is_symlink())
        return [stage for stage in sorted(found) if not self._is_obstructed(stage, is_folder=True)]

    def _restore_stage(self, stage: Path) -> None:
        ahead = self._who_is_ahead(stage)
        if ahead is Newer.HERE:
            return
        for name in OF_A_STAGE:
            if (self.remote / stage / name).exists():
                self._restore_file(stage / name, ahead)
        # Last: if this is interrupted, the stage is still behind, and restored the next time.
        here = self.local / stage
        for path in self._good_ones(self.remote / stage):
            if self._is_wanted(path, here):
                self._before_each()
                write_bytes(here / path.name, path.read_bytes())

    def _copy_stage(self, stage: Path) -> int:
        ahead = self._who_is_ahead(stage)
        if ahead is Newer.DRIVE:
            return 0
        copied = 0
        for name in OF_A_STAGE:
            copied += self._copy_file(stage / name, ahead)
        there = self.remote / stage
        for path in self._good_ones(self.local / stage):
            if self._is_wanted(path, there):
                copied += self._copy_checkpoint(path, there)
        if len(newest_first(there)) > KEPT:  # also if a kernel died before it deleted them
            delete_older(there)
        return copied

    def _copy_checkpoint(self, path: Path, there: Path) -> int:
        self._before_each()
        data = content_of(path)
        if data is None:  # newer ones were saved meanwhile, and are copied next time
            return 0
        write_bytes(there / path.name, data)
        delete_older(there)  # at once: Drive may have little space
        return 1

    def _who_is_ahead(self, stage: Path) -> Newer:
        """Which side has the furthest undamaged checkpoint of a stage."""
        ours = self._good_ones(self.local / stage)
        theirs = self._good_ones(self.remote / stage)
        if not ours and not theirs:
            return Newer.NEITHER
        if not theirs:
            return Newer.HERE
        if not ours:
            return Newer.DRIVE
        if ours[0].name == theirs[0].name:
            return Newer.NEITHER
        return Newer.HERE if order(ours[0]) > order(theirs[0]) else Newer.DRIVE

    def _who_has_begun(self, theirs: list[Path]) -> Newer:
        """Which side has trained, and so says in its `run.json` in which precision."""
        here = any(is_checkpoint_of_a_stage(path) for path in files_in(self.local))
        there = any(is_checkpoint_of_a_stage(path) for path in theirs)
        if not here:
            return Newer.DRIVE
        return Newer.NEITHER if there else Newer.HERE

    def _is_wanted(self, path: Path, folder: Path) -> bool:
        """Whether a checkpoint is missing in another folder that would keep it."""
        kept = self._good_ones(folder)[:KEPT]
        if path.name in [other.name for other in kept]:
            return False
        return len(kept) < KEPT or order(path) > order(kept[-1])

    def _good_ones(self, folder: Path) -> list[Path]:
        """The undamaged checkpoints in a folder, the furthest first."""
        return [path for path in newest_first(folder) if self._is_good(path)]

    def _is_good(self, path: Path) -> bool:
        """Whether a checkpoint is undamaged. Reads only what has changed since the last look."""
        look = look_at(path)
        if look is None:
            return False
        if self._good.get(path) != look:
            self._before_each()
            if not is_good(path):
                return False
            self._good[path] = look
        return True

    # All other files

    def _restore_file(self, path: Path, ahead: Newer = Newer.NEITHER) -> None:
        """Bring a file here if it's missing, or if Drive's follows from ours. ahead: as below."""
        self._before_each()
        if self._is_obstructed(path):
            return
        ours = content_of(self.local / path)
        theirs = (self.remote / path).read_bytes()
        side = self._which_is_newer(path, ours, theirs, ahead)
        if side is Newer.DRIVE:
            write_bytes(self.local / path, theirs)
        if side is not Newer.UNKNOWN:  # ours follows from Drive's now, if it isn't the same
            self._last_same[path.as_posix()] = digest_of(theirs)

    def _copy_file(self, path: Path, ahead: Newer = Newer.NEITHER) -> int:
        """Copy a file to Drive if it's missing there, or if ours follows from Drive's.

        ahead: as below. Returns 1 if it was copied, else 0.
        """
        looks = (look_at(self.local / path), look_at(self.remote / path))
        if None not in looks and self._equal.get(path) == looks:
            return 0
        self._before_each()
        if self._is_obstructed(path):
            return 0
        ours = content_of(self.local / path)
        if ours is None:  # deleted meanwhile
            return 0
        theirs = (self.remote / path).read_bytes() if looks[1] else None
        side = self._which_is_newer(path, ours, theirs, ahead)
        if side is Newer.HERE:
            write_bytes(self.remote / path, ours)
        if side is Newer.NEITHER:
            self._equal[path] = looks
        if side in (Newer.HERE, Newer.NEITHER):
            self._last_same[path.as_posix()] = digest_of(ours)
        return 1 if side is Newer.HERE else 0

    def _which_is_newer(
        self, path: Path, ours: bytes | None, theirs: bytes | None, ahead: Newer
    ) -> Newer:
        """Which side's version of a file may take the place of the other's; reports if neither may.

        ahead: the side whose stage has got further; the other's version belongs to the past.
        """
        if theirs is None:
            return Newer.HERE
        if ours is None:
            return Newer.DRIVE
        last_same = self._last_same.get(path.as_posix())
        if ahead is Newer.HERE:
            last_same = digest_of(theirs)
        if ahead is Newer.DRIVE:
            last_same = digest_of(ours)
        side = newer(ours, theirs, last_same, carries_checksum(path))
        if side is Newer.UNKNOWN:
            self._report(path, CHANGED)
        return side

    def _is_obstructed(self, path: Path, is_folder: bool = False) -> bool:
        """Whether one side has a link on the way to a path, or something of another kind there.

        Reports it. is_folder: whether the path is that of a folder.
        """
        for side in (self.local, self.remote):
            found = obstacle(side, path if is_folder else path.parent)
            if found is not None:
                self._report(found, LINKED if (side / found).is_symlink() else OTHER_KIND)
                return True
            if not is_folder and os.path.lexists(side / path) and not (side / path).is_file():
                self._report(path, OTHER_KIND)
                return True
        return False

    def _report(self, path: Path, why: str) -> None:
        """Say, once, why a path isn't copied."""
        if path != RESULTS:  # it's put together from the stages: nothing is lost with an older one
            self.complete = False
        if path not in self._reported:
            self._reported.add(path)
            tqdm.write(f"{brief(path.as_posix())} {why}")

    @contextmanager
    def _record(self) -> Iterator[None]:
        """Read RECORD, and write it again if it has changed; without it, everything is unknown."""
        try:
            record = read_sealed(self.local / RECORD)
        except (FileNotFoundError, CheckpointError):  # then nothing is overwritten
            record = None
        self._last_same = {}
        if isinstance(record, dict) and record.get("drive") == str(self.remote):
            if isinstance(record.get("files"), dict):
                self._last_same = record["files"]
        before = dict(self._last_same)
        try:
            yield
        finally:
            if self._last_same != before:
                record = {"drive": str(self.remote), "files": self._last_same}
                write_sealed(self.local / RECORD, record)


@contextmanager
def _collected(errors: list[Exception]) -> Iterator[None]:
    """Keep an error for later."""
    try:
        yield
    except (OSError, CourseError) as error:
        errors.append(error)
