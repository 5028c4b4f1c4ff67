"""Google Drive as a run's second home: a thread copies the run's folder there while it is being
trained.

A Drive that drops out, is full or slow never stops training: you see a message, and the copy is
retried.
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

from ..errors import SettingsError
from .checkpoints import PATTERN, delete_older, newest_good, position
from .files import remove, require_mounted, write_bytes
from .identity import read_run

EVERY_SECONDS = 10  # how often to look for changes, and to retry
PATIENCE = 300  # seconds to wait for a Drive that has stopped answering


def mount():
    """Mount Google Drive in Colab, which asks you for permission; returns your folder on it,
    `MyDrive`."""
    if "google.colab" not in sys.modules:
        raise SettingsError(
            "Google Drive works only in Colab. Elsewhere, set COURSE_HOME to a folder on your Drive."
        )
    from google.colab import drive

    mount_point = Path("drive").resolve()  # the report's ./drive
    drive.mount(str(mount_point))
    return mount_point / "MyDrive"


class Drive:
    """The copy of a run's folder on Google Drive. local, remote: the two folders. identity: the
    run's, as JSON."""

    opened = []  # all copies that are kept up to date, also of experiments

    def __init__(self, local, remote, identity):
        self.local, self.remote, self.identity = local, remote, json.loads(identity)
        self._problem = None  # why Drive isn't up to date
        self._copied = set()  # (path, size, time) of each file that was copied
        self._lock = threading.RLock()

    def restore(self):
        """Copy what's only on Drive, or further there; from then on, a thread copies the other way.

        Raises DiskError, OSError, CheckpointError (another run's).
        """
        with self._lock:
            self._compare()
            files, further = _files(self.remote), set()
            newest = {
                path.parent: path for path in files if path.match(PATTERN)
            }  # of each stage on Drive
            for stage, path in newest.items():
                ours = newest_good(self.local / stage.relative_to(self.remote))
                if not ours or position(path) > position(ours):
                    further.add(stage)
            for path in files:
                here = self.local / path.relative_to(self.remote)
                newer = path.parent in further if path.parent in newest else further
                if newer or not (here.exists() or path.match(PATTERN)):
                    write_bytes(here, path.read_bytes())
        if self not in Drive.opened:
            Drive.opened.append(self)
            atexit.register(self.wait)
            threading.Thread(target=self._work, daemon=True, name="copy to Drive").start()

    def wait(self):
        """Copy what isn't on Drive yet; True once Drive has everything. ■ ends the waiting, but not
        the copying."""
        if not self._lock.acquire(timeout=PATIENCE):
            tqdm.write(
                "Drive doesn't answer. Training continues, and so does the copy, once Drive is back."
            )
            return False
        try:
            self._copy()
            problem = None
        except Exception as error:
            problem = f"The copy on Drive isn't up to date. Training continues, and the copy is retried. {error}"
        finally:
            self._lock.release()
        if bool(problem) != bool(self._problem):
            tqdm.write(problem or "The copy on Drive is up to date again.")
        self._problem = problem
        return not problem

    def leave(self):
        """Stop copying."""
        Drive.opened.remove(self)
        atexit.unregister(self.wait)

    def forget(self, folder):
        """Delete `folder` and its copy."""
        with self._lock:
            self._compare()
            self._copied.clear()
            for path in reversed(_files(self.remote / folder.relative_to(self.local))):
                remove(path)
            if folder.exists():
                shutil.rmtree(folder)  # or it would be copied again

    def _work(self):
        time.sleep(EVERY_SECONDS)
        while self in Drive.opened:
            self.wait()
            time.sleep(EVERY_SECONDS)

    def _copy(self):
        if not self._compare():  # a new folder, or one that was deleted meanwhile
            self._copied.clear()
        for path in filter(
            Path.exists, _files(self.local)
        ):  # some may be deleted while others are copied
            now = (path, path.stat().st_size, path.stat().st_mtime_ns)
            if now not in self._copied:
                there = self.remote / path.relative_to(self.local)
                write_bytes(there, path.read_bytes())
                if there.match(PATTERN):
                    delete_older(there.parent)
                self._copied.add(now)

    def _compare(self):
        """Raise DiskError or CheckpointError unless both folders are this run's; returns the
        `run.json` on Drive."""
        require_mounted(self.remote)
        read_run(self.local, self.identity)
        return read_run(self.remote, self.identity)


drive_copy = cache(Drive)  # one for each pair of folders, however often a run is opened


def _files(folder):
    """The files in a folder and below, without hidden ones, which are still being written.

    `run.json`, which says whose they are, is first. Checkpoints are last: until they are copied,
    their stage is behind.
    """

    def unless_missing(error):  # glob would take a folder that can't be read for an empty one
        if not isinstance(error, FileNotFoundError):
            raise error

    found = [
        Path(base, name)
        for base, _, names in os.walk(folder, onerror=unless_missing)
        for name in names
    ]
    visible = [path for path in found if path.name[0] != "."]
    return sorted(visible, key=lambda path: (path.name != "run.json", path.match(PATTERN), path))
