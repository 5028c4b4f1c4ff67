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
from .checkpoints import is_good, newest_first, newest_good, position
from .files import replacing, require_mounted, sweep
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


@cache
def drive_copy(local, remote, identity):
    """The Drive that keeps the folder `local` copied in `remote`: one for each pair, however often you ask."""
    return Drive(local, remote, json.loads(identity))


class Drive:
    """A copy on Google Drive of a run's folder. local, remote: the two folders. identity: the run's, a dict."""

    def __init__(self, local, remote, identity):
        self.local, self.remote, self.identity = Path(local), Path(remote), identity
        self._news, self._failing, self._copied = [], False, {}  # path → its size and time when it was copied
        self._lock = threading.RLock()
        threading.Thread(target=self._work, daemon=True, name="copy to Drive").start()
        atexit.register(self.wait)

    def restore(self):
        """Copy from Drive what is missing here, and any stage that has got further there.

        Raises DiskError, or CheckpointError if Drive holds another run or can't be read: it may have what's missing.
        """
        with self._lock:
            try:
                require_mounted(self.remote)
                self._compare()
                further = set()
                for folder in sorted({path.parent for path in _files(self.remote)}, reverse=True):  # stages first
                    if self._restore_folder(folder, self.local / folder.relative_to(self.remote), folder in further):
                        further.add(folder.parent)
            except DiskError:
                raise  # the local disk failed, or Drive isn't mounted; the message says which
            except OSError as error:
                raise CheckpointError(
                    f"{self.remote} on Drive can't be read ({error.strerror or error}). Mount Drive and run the cell "
                    "again, or set drive to False to work on the local disk only."
                ) from error

    def tell(self):
        """Print what the copying thread has to report; call it from a cell, so that a reader sees it."""
        while self._news:
            tqdm.write(self._news.pop(0))

    def wait(self):
        """Copy what isn't on Drive yet, with a progress bar; True once Drive has everything. ■ leaves it for later."""
        try:
            with self._lock, tqdm(desc="copying to Drive", unit="B", unit_scale=True, leave=False, delay=1) as bar:
                self._try_to_copy(bar.update)
        except KeyboardInterrupt:
            print("Not waiting; copying continues in the background.")
            return False
        self.tell()
        return not self._failing

    def forget(self, folder):
        """Delete `folder` and its copy. The copy's files are emptied first: Drive's trash takes up space, too."""
        with self._lock:
            require_mounted(self.remote)
            self._compare()
            self._copied = {}
            for path in reversed(_files(self.remote / folder.relative_to(self.local))):
                _remove(path)
            if folder.exists():
                shutil.rmtree(folder)  # or it would be copied again

    def _work(self):
        while True:
            time.sleep(EVERY_SECONDS)
            with self._lock:
                self._try_to_copy()

    def _try_to_copy(self, progress=lambda count: None):
        try:
            self._copy_all(progress)
        except Exception as error:
            if not self._failing:
                reason = getattr(error.__cause__ or error, "strerror", None) or error
                self._news.append(f"Drive can't be written ({reason}). Training continues; copying is retried.")
            self._failing = True
        else:
            if self._failing:
                self._news.append("Drive is back and up to date.")
            self._failing = False

    def _copy_all(self, progress):
        require_mounted(self.remote)
        self._run_in(self.local)  # another one may be here by now
        if not self._compare():  # a new folder, or one that was deleted meanwhile
            self._copied = {}
        for path in _files(self.local):
            try:
                now = (path.stat().st_size, path.stat().st_mtime_ns)
                if self._copied.get(path) != now:
                    self._copy(path, self.remote / path.relative_to(self.local), progress)
                    self._copied[path] = now
            except FileNotFoundError:
                if path.exists():  # else it was replaced meanwhile
                    raise

    def _copy(self, path, there, progress):
        data = path.read_bytes()
        if not there.exists() or there.stat().st_size != len(data) or there.read_bytes() != data:
            sweep(there.parent)
            with replacing(there) as file:
                for start in range(0, len(data), 1 << 20):
                    progress(file.write(data[start : start + (1 << 20)]))
            if there.read_bytes() != data:
                _remove(there)
                raise OSError(f"{there.name} reads back differently from what was written.")
        if path.match("checkpoint-*.pt"):
            kept = {there.name, *(ours.name for ours in newest_first(path.parent))}
            for other in newest_first(there.parent):
                if other.name not in kept and position(other) <= position(there):
                    _remove(other)

    def _restore_folder(self, there, here, further):
        """Restore the files of one folder; True if Drive is ahead. further: whether it is in one of its stages."""
        ours = newest_good(here)
        ahead = [path for path in newest_first(there) if not ours or position(path) > position(ours)]
        found = next(filter(is_good, ahead), None)
        if ahead and found != ahead[0]:
            print(f"{ahead[0].name} on Drive is damaged; using the previous checkpoint.")
        for path in _files(there):
            wanted = path.parent == there and not path.match("checkpoint-*.pt")
            if wanted and (found or further or not (here / path.name).exists()):
                self._bring(path, here / path.name)
        if found:
            self._bring(found, here / found.name)  # last: until it's here, Drive counts as ahead
        return bool(found)

    def _bring(self, there, path):
        data = there.read_bytes()
        with replacing(path) as file:
            file.write(data)
        self._copied[path] = (path.stat().st_size, path.stat().st_mtime_ns)

    def _run_in(self, folder, identity=None):
        return read_run(folder, identity or self.identity, folder, "Use another COURSE_HOME, or rename that folder.")

    def _compare(self):
        """The run on Drive, or None. It must be this one, and so must each of its experiments that is here, too."""
        for path in self.local.glob("*/**/run.json"):
            ours = json.loads(path.read_text(encoding="utf-8"))["identity"]
            self._run_in(self.remote / path.parent.relative_to(self.local), ours)
        return self._run_in(self.remote)


def _files(folder):
    """The files in a folder and below, run.json first, without hidden ones (which are still being written)."""

    def unless_missing(error):  # glob would take a folder that can't be read for an empty one
        if not isinstance(error, FileNotFoundError):
            raise error

    found = [Path(base, name) for base, _, names in os.walk(folder, onerror=unless_missing) for name in names]
    return sorted((path for path in found if path.name[0] != "."), key=lambda path: (path.name != "run.json", path))


def _remove(path):
    os.truncate(path, 0)
    path.unlink()
