"""Single files of a run, each of them here, on Google Drive, or in both places.

A file travels if only one side has it, or if only one side has changed it since both were the same.
If both have, neither is overwritten, and you'll see a message. Nothing is copied into a link, or in
the place of something of another kind, say a folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from ..errors import CheckpointError, brief
from .checkpoints import digest_of
from .files import Look, content_of, look_at, obstacle, read_sealed, write_bytes, write_sealed
from .kept_model import keep_unknown_model
from .run_folder import MODEL, RECORD, RESULTS, carries_checksum, is_ours, is_trial
from .versions import Side, is_proven, is_torn, newer_side

# Why something isn't copied, after its name
CHANGED = (
    "was changed here and on Drive, so neither was overwritten. To keep both, rename one of them; "
    "or delete the one that you don't need."
)
LINKED = (
    "is a link to another folder, so nothing is copied to it or from it. To have it copied, put a "
    "folder in its place."
)
MIXED = (
    "contains checkpoints of several trainings, so nothing in it is copied. Move those that you "
    "don't need to another folder: all whose names have the same id."
)
DIVERGED = (
    "was trained separately here and on Drive, so neither was overwritten. Decide which one to "
    "continue, and rename the folder of the other, here or on Drive: that keeps it, too."
)
STARTED_OVER = (
    "was started over in another notebook, so what was trained here before isn't copied. Rename "
    "its folder: that keeps it. Then open the run again, which brings what's on Drive."
)
TOO_LARGE = (
    "is larger than 200 MB, so it isn't copied. Keep it elsewhere: what's in the run's folder is "
    "copied to each computer that opens the run."
)
OTHER_KIND = (
    "isn't the same kind of thing here and on Drive, so neither was overwritten. To keep both, "
    "rename one of them."
)

LARGEST = 200_000_000  # bytes of a file of yours: what is copied is held in memory


class Looks(NamedTuple):
    """What the two files of a pair look like from outside; None for one that's missing."""

    here: Look | None
    on_drive: Look | None


class FilePairs:
    """The files of a run's two folders, by their paths, which are relative to both.

    local, remote: the folders, here and on Drive. before_each: called before each file is read.
    """

    def __init__(self, local: Path, remote: Path, before_each: Callable[[], None]):
        self.local = local
        self.remote = remote
        self.complete = True  # whether nothing has been left out since this was set
        self._before_each = before_each
        self._last_same: dict[str, str] = {}  # path → digest of what both sides had
        self._equal: dict[Path, Looks] = {}  # pairs that were the same when they looked like this
        self._reported: set[Path] = set()  # what isn't copied, and you've been told why

    def restore(self, path: Path, further: Side = Side.NEITHER) -> None:
        """Bring a file of Drive's here if it's missing here, or follows from ours.

        further: the side whose stage has got further; the other's version belongs to the past.
        Raises OSError if a file of the course's can't be read; one of yours is only reported.
        """
        self._before_each()
        if self._is_obstructed(path) or self._is_too_large(path):
            return
        ours = content_of(self.local / path)
        try:
            theirs = (self.remote / path).read_bytes()
        except OSError as error:  # Colab, for example, refuses to read Google's own documents
            if is_ours(path):
                raise
            why = error.strerror or error
            self.report(path, f"can't be read on Drive ({why}), so it stays there.")
            return
        side = self._newer_side(path, ours, theirs, further)
        if side is Side.UNKNOWN:
            return
        if side is Side.DRIVE:
            self._replace(self.local, path, ours, theirs)
        self._remember(path, theirs)  # ours is that, or follows from it

    def copy(self, path: Path, further: Side = Side.NEITHER) -> int:
        """Copy a file of ours to Drive if it's missing there, or follows from Drive's.

        further: as above. Returns how many files were copied, 0 or 1.
        """
        looks = Looks(look_at(self.local / path), look_at(self.remote / path))
        if self._equal.get(path) == looks:
            return 0
        self._before_each()
        if self._is_obstructed(path) or self._is_too_large(path):
            return 0
        ours = content_of(self.local / path)
        if ours is None:  # deleted meanwhile
            return 0
        theirs = None
        if looks.on_drive is not None:  # a Drive that drops out now must not count as empty
            theirs = (self.remote / path).read_bytes()
        side = self._newer_side(path, ours, theirs, further)
        if side is Side.NEITHER:
            self._equal[path] = looks
            self._remember(path, ours)
        if side is Side.HERE:
            self._replace(self.remote, path, theirs, ours)
            self._remember(path, ours)
            return 1
        return 0

    def look_again(self) -> None:
        """Compare all files anew, also those that haven't changed."""
        self._equal.clear()

    def is_blocked(self, folder: Path) -> bool:
        """Whether on one side, a folder is a link, or something else is in the way; reports it."""
        for side in (self.local, self.remote):
            found = obstacle(side, folder)
            if found is not None:
                self.report(found, LINKED if (side / found).is_symlink() else OTHER_KIND)
                return True
        return False

    def read_record(self) -> None:
        """Read what both sides had when they were last the same."""
        self._last_same = self._read_record()

    def _remember(self, path: Path, data: bytes) -> None:
        """Record what both sides have now; at once, since the kernel may be killed any time."""
        digest = digest_of(data)
        if self._last_same.get(path.as_posix()) != digest:
            self._last_same[path.as_posix()] = digest
            record = {"drive": str(self.remote), "files": self._last_same}
            write_sealed(self.local / RECORD, record)

    def _read_record(self) -> dict[str, str]:
        """What RECORD holds; nothing if it's missing, damaged or about another Drive.

        Then nothing is overwritten: of two versions, neither is known to be the older one.
        """
        try:
            record = read_sealed(self.local / RECORD)
        except (FileNotFoundError, CheckpointError):
            return {}
        if not isinstance(record, dict) or record.get("drive") != str(self.remote):
            return {}
        files = record.get("files")
        return files if isinstance(files, dict) else {}

    def _newer_side(
        self, path: Path, ours: bytes | None, theirs: bytes | None, further: Side
    ) -> Side:
        """The side whose version may take the place of the other's; reports if neither may."""
        if theirs is None:
            return Side.HERE
        if ours is None:
            return Side.DRIVE
        if is_trial(path) and is_proven(ours) and is_proven(theirs):
            return Side.NEITHER  # the same training; only the times differ
        last_same = self._last_same.get(path.as_posix())
        if further is Side.HERE:
            last_same = digest_of(theirs)
        if further is Side.DRIVE:
            last_same = digest_of(ours)
        side = newer_side(ours, theirs, last_same, carries_checksum(path))
        if side is Side.UNKNOWN:
            self.report(path, CHANGED)
        return side

    def _replace(self, side: Path, path: Path, old: bytes | None, new: bytes) -> None:
        """Write a file on one side. The `model.pth` there may be yours: then it's kept."""
        if path.name == MODEL and old is not None and not is_torn(old, new):
            if self._last_same.get(path.as_posix()) != digest_of(old):
                keep_unknown_model((side / path).parent)
        write_bytes(side / path, new)

    def _is_obstructed(self, path: Path) -> bool:
        """Whether on one side, something else is in a file's place or on the way; reports it."""
        if self.is_blocked(path.parent):
            return True
        for side in (self.local, self.remote):
            place = side / path
            if os.path.lexists(place) and not place.is_file():
                is_linked_folder = place.is_symlink() and place.is_dir()
                self.report(path, LINKED if is_linked_folder else OTHER_KIND)
                return True
        return False

    def _is_too_large(self, path: Path) -> bool:
        """Whether a file of yours is too large to be copied, here or on Drive; reports it."""
        if is_ours(path):
            return False
        looks = (look_at(self.local / path), look_at(self.remote / path))
        too_large = any(look is not None and look.size > LARGEST for look in looks)
        if too_large:
            self.report(path, TOO_LARGE)
        return too_large

    def report(self, path: Path, why: str) -> None:
        """Say, once, why a path isn't copied."""
        if path != RESULTS:  # it's put together from the stages: nothing is lost with an older one
            self.complete = False
        if path not in self._reported:
            self._reported.add(path)
            tqdm.write(f"{brief(path.as_posix())} {why}")
