"""Google Drive as a run's second home: a thread copies the run's folder there while it is being trained.

A Drive that drops out, is full or slow never stops training: you see a message, and the copy is retried.
"""

import atexit
import json
import os
import shutil
import sys
import threading
import time
from functools import cache
from pathlib import Path

from tqdm.auto import tqdm

from ..errors import CheckpointError, DiskError, SettingsError
from .checkpoints import delete_older, newest_first, newest_good, position
from .files import remove, require_mounted, sweep, write_bytes
from .identity import read_run

EVERY_SECONDS = 10  # how often to look for changes, and to retry
MOUNT_POINT = "drive"  # the report's ./drive


def mount():
    """Mount Google Drive (Colab asks you for permission) and return your folder on it, `MyDrive`."""
    if "google.colab" not in sys.modules:
        raise SettingsError("Google Drive works only in Colab: set drive to False, or COURSE_HOME to a folder.")
    from google.colab import drive

    mount_point = Path(MOUNT_POINT).resolve()
    drive.mount(str(mount_point))
    return mount_point / "MyDrive"


class Drive:
    """A copy on Google Drive of a run's folder. local, remote: the two folders. identity: the run's, as JSON."""

    opened = []  # all copies, also of experiments

    def __init__(self, local, remote, identity):
        self.local, self.remote, self.identity = local, remote, json.loads(identity)
        self._problem, self._told, self._copied = None, None, {}  # path → its size and time when it was copied
        self._lock = threading.RLock()
        threading.Thread(target=self._work, daemon=True, name="copy to Drive").start()
        atexit.register(self.wait)
        Drive.opened.append(self)

    def restore(self):
        """Copy from Drive what is missing here, and any stage that has got further there.

        Raises DiskError, or CheckpointError if Drive holds another run or can't be read: it may have what's missing.
        """
        with self._lock:
            try:
                self._compare()
                self._restore()
            except DiskError:
                raise  # the local disk failed, or Drive isn't mounted; the message says which
            except OSError as error:
                raise CheckpointError(
                    f"{self.remote} on Drive can't be read ({error.strerror or error}). Mount Drive and run the cell "
                    "again, or set drive to False to work on the local disk only."
                ) from error

    def tell(self):
        """Print whether Drive has dropped out, or is back; call it from a cell, so that a reader sees it."""
        problem = self._problem
        if problem != self._told:
            tqdm.write(problem or "Drive is back and up to date.")
        self._told = problem

    def wait(self):
        """Copy what isn't on Drive yet; True once Drive has everything. ■ ends the waiting, but not the copying."""
        with self._lock:
            self._copy_all()
        self.tell()
        return not self._problem

    def forget(self, folder):
        """Delete `folder` and its copy."""
        with self._lock:
            self._compare()
            self._copied = {}
            for path in reversed(_files(self.remote / folder.relative_to(self.local))):
                remove(path)
            if folder.exists():
                shutil.rmtree(folder)  # or it would be copied again

    def _work(self):
        while True:
            time.sleep(EVERY_SECONDS)
            with self._lock:
                self._copy_all()

    def _copy_all(self):
        try:
            if not self._compare():  # a new folder, or one that was deleted meanwhile
                self._copied = {}
            for path in _files(self.local):
                try:
                    self._copy(path, self.remote / path.relative_to(self.local))
                except FileNotFoundError:
                    if path.exists():  # else it was replaced meanwhile
                        raise
            self._problem = None
        except Exception as error:
            reason = getattr(error.__cause__ or error, "strerror", None) or error
            self._problem = f"Drive can't be written ({reason}). Training continues; copying is retried."

    def _copy(self, path, there):
        now = (path.stat().st_size, path.stat().st_mtime_ns)
        if self._copied.get(path) == now:
            return
        data = path.read_bytes()
        if not there.exists() or there.read_bytes() != data:
            sweep(there.parent)
            write_bytes(there, data)
            if there.read_bytes() != data:
                remove(there)
                raise OSError(f"{there.name} reads back differently from what was written.")
        if _is_checkpoint(there):
            delete_older(there)
        self._copied[path] = now

    def _restore(self):
        files = sorted(_files(self.remote), key=_is_checkpoint)  # last: until they are here, Drive counts as further
        stages, further = {path.parent for path in files if _is_checkpoint(path)}, set()
        for folder in stages:
            ours = newest_good(self.local / folder.relative_to(self.remote))
            if not ours or position(newest_first(folder)[0]) > position(ours):
                further.add(folder)
        for path in files:
            here = self.local / path.relative_to(self.remote)
            newer = path.parent in further if path.parent in stages else further
            if newer or not (here.exists() or _is_checkpoint(path)):
                write_bytes(here, path.read_bytes())

    def _compare(self):
        """Raise DiskError or CheckpointError unless both folders are this run's; returns the `run.json` on Drive."""
        require_mounted(self.remote)
        read_run(self.local, self.identity)
        return read_run(self.remote, self.identity)


drive_copy = cache(Drive)  # one for each pair of folders, however often a run is opened


def _is_checkpoint(path):
    return path.match("checkpoint-*.pt")


def _files(folder):
    """The files in a folder and below, run.json first, without hidden ones (which are still being written)."""

    def unless_missing(error):  # glob would take a folder that can't be read for an empty one
        if not isinstance(error, FileNotFoundError):
            raise error

    found = [Path(base, name) for base, _, names in os.walk(folder, onerror=unless_missing) for name in names]
    return sorted((path for path in found if path.name[0] != "."), key=lambda path: (path.name != "run.json", path))
