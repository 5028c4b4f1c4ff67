"""Google Drive as a run's second home: a thread copies the run's folder there during training.

A Drive that drops out, is full or never answers doesn't stop training: you'll see a message, and
the copy is retried.
"""

from __future__ import annotations

import atexit
import json
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ..errors import DiskError
from .deletion import delete_ours, require_no_other_run
from .files import write_sealed
from .identity import read_record, read_run, require_ours
from .mirror import Mirror
from .mounts import require_mounted
from .run_folder import (
    DELETED,
    RUN,
    has_checkpoints,
    trainings_deleted,
    trainings_in,
)
from .worker import NoAnswer, Worker

EVERY_SECONDS = 10  # how often to look for changes, and to retry
PATIENCE = 300  # seconds to wait for a Drive that has stopped answering


def answer_of(worker: Worker, work: Callable[[], Any]) -> Any:
    """Have a thread do something on Drive. Raises DiskError if Drive fails, or doesn't answer."""
    try:
        return worker.do(work, PATIENCE)
    except NoAnswer as error:
        raise DiskError(
            "Google Drive doesn't answer. Everything is on the local disk. Try again later; in "
            "Colab, restart the runtime if it lasts."
        ) from error
    except OSError as error:
        raise DiskError(f"The copy on Google Drive can't be used: {error}.") from error


def by_its_thread(work: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a method of Drive: its thread does it, while the caller waits (see `answer_of`)."""

    @wraps(work)
    def ask(drive: Drive, *args: Any) -> Any:
        return answer_of(drive._worker, lambda: work(drive, *args))

    return ask


class Drive:
    """The copy of a run's folder on Google Drive.

    local, remote: the two folders. identity: the run's, as JSON (a dict can't be a key of `cache`,
    below). Drive is touched only by a thread of its own, so that nothing else can be stuck in it.
    """

    opened: list[Drive] = []  # all copies that are kept up to date, also of experiments

    def __init__(self, local: Path, remote: Path, identity: str):
        self.local = local
        self.remote = remote
        self.identity = json.loads(identity)
        self._is_behind = False
        self._worker = Worker("copy to Drive", self._copy_in_between, EVERY_SECONDS)
        self._mirror = Mirror(local, remote, self._worker.moved)

    def restore(self) -> None:
        """Bring here what's only on Drive, or further there; from then on, keep Drive up to date.

        Raises DiskError, or CheckpointError if one of the folders holds another run.
        """
        self._restore()
        for other in list(Drive.opened):  # of data that has changed since
            if other.local == self.local and other is not self:
                other.leave()
        if self not in Drive.opened:
            Drive.opened.append(self)
            atexit.register(self.wait)

    def wait(self) -> bool:
        """Copy what isn't on Drive yet; returns True once Drive has everything, read back.

        ■ ends the waiting, but not the copying.
        """
        try:
            complete = self._copy_all()
        except Exception as error:
            self._tell(error)
            return False
        self._tell(None)
        return complete

    def leave(self) -> None:
        """Stop copying."""
        Drive.opened.remove(self)
        atexit.unregister(self.wait)

    @by_its_thread
    def trained_record(self) -> dict[str, Any] | None:
        """The `run.json` on Drive, whose run it may be; None unless something is trained there.

        Raises DiskError, or CheckpointError if it's damaged.
        """
        require_mounted(self.remote)
        return read_record(self.remote) if has_checkpoints(self.remote) else None

    @by_its_thread
    def take_over(self, record: dict[str, Any]) -> None:
        """Write this `run.json` to Drive, unless something is trained there.

        Raises DiskError, or CheckpointError if the folder isn't a run's.
        """
        require_mounted(self.remote)
        require_ours(self.remote)
        if not has_checkpoints(self.remote):
            write_sealed(self.remote / RUN, record)

    @by_its_thread
    def delete_any_run(self) -> None:
        """Delete what the course has written in both folders, whose run it may be.

        Your own files stay. Raises DiskError, or CheckpointError if the folder isn't a run's.
        """
        require_mounted(self.remote)
        require_ours(self.remote)
        self._delete(Path())

    @by_its_thread
    def forget(self, folder: Path) -> None:
        """Delete what the course has written in a folder of the run, here and on Drive.

        folder: the run's, or a stage's. Raises DiskError or CheckpointError.
        """
        self._compare()
        self._delete(folder.relative_to(self.local))

    @by_its_thread
    def _restore(self) -> None:
        require_mounted(self.remote)
        require_ours(self.remote)
        self._compare()
        self._mirror.restore()

    @by_its_thread
    def _copy_all(self) -> bool:
        self._compare()
        return self._mirror.copy_all()

    def _copy_in_between(self) -> None:
        """Called by the thread, again and again while it has nothing else to do."""
        if self in Drive.opened:  # until you leave Drive
            try:
                self._compare()
                self._mirror.copy()
                self._tell(None)
            except Exception as error:  # whatever it is, the next try may succeed
                self._tell(error)

    def _delete(self, within: Path) -> None:
        require_no_other_run(self.local, within)  # before anything is deleted on either side
        deleted = trainings_deleted(self.remote) | trainings_in(self.remote, within)
        deleted |= trainings_in(self.local, within)
        # A link on Drive leads to what somebody shares with you; here, to another disk of yours.
        delete_ours(self.remote, within, through_links=False, before_each=self._worker.moved)
        self._worker.moved()
        if deleted:  # or another tab or computer would copy them again
            write_sealed(self.remote / DELETED, sorted(deleted))
        delete_ours(self.local, within)  # or it would be copied again
        self._mirror.look_again()

    def _compare(self) -> None:
        """Raise DiskError or CheckpointError unless both folders are this run's."""
        require_mounted(self.remote)
        read_run(self.local, self.identity)
        read_run(self.remote, self.identity)

    def _tell(self, error: Exception | None) -> None:
        """Say so if Drive isn't up to date any more, and once it is again."""
        was_behind = self._is_behind
        self._is_behind = error is not None
        if self._is_behind and not was_behind:
            tqdm.write(
                "The copy on Drive isn't up to date. Training continues, and the copy is retried. "
                f"{error}"
            )
        if was_behind and not self._is_behind:
            tqdm.write("The copy on Drive is up to date again.")


drive_copy = cache(Drive)  # one for each pair of folders, however often a run is opened


def look_on_drive(look: Callable[[], Any]) -> Any:
    """Have a thread look at something on Drive, and return what it finds.

    Raises DiskError if Drive fails or doesn't answer, and what `look` raises.
    """
    return answer_of(_looker(), look)


def record_on_drive(folder: Path) -> dict[str, Any] | None:
    """The `run.json` of a folder on Drive, or None if it has none.

    Raises DiskError if Drive fails or doesn't answer, or CheckpointError if it's damaged.
    """

    def read():
        require_mounted(folder)
        return read_record(folder)

    return look_on_drive(read)


@cache
def _looker() -> Worker:
    """The thread that looks at Drive before there's a copy of a run."""
    return Worker("look at Drive", lambda: None, EVERY_SECONDS)
