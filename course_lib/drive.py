"""Google Drive as a run's second home: what a run writes on the local disk is copied there, beside the work.

Local first, Drive second. A Drive that drops out (errno 107), is full (28) or slow neither stops nor delays training:
it is said once, tried again, and the local files stay. Source: ours (DESIGN: checkpoints).
"""

import atexit
import errno
import json
import os
import threading
import time
from collections import deque
from contextlib import suppress
from functools import cache
from pathlib import Path

from tqdm.auto import tqdm

from . import checkpoint
from .errors import CheckpointError
from .files import copying, followers, replacing

RETRY_SECONDS = 30.0


@cache
def drive_copy(local, remote):
    """The Drive that keeps the folder `local` copied in `remote`: one for each pair, however often it is asked for."""
    return Drive(local, remote)


class Drive:
    """The copy of a run's folder on Google Drive. local, remote: the two folders. Raises CheckpointError where Drive
    cannot be written at the start."""

    def __init__(self, local, remote):
        self.local, self.remote = Path(local), Path(remote)
        self._due = {}  # what is still to be copied, oldest first: a file, or a folder whose newest checkpoint it is
        self._news = deque()  # sentences for the reader, printed where the reader looks: in the main thread
        self._seen = {}  # folder → the newest seal on Drive when this process last looked
        self._refused, self._refusals = False, 0  # has the last attempt failed; how many have
        self._taken = None  # a sentence, once another notebook has saved in the same stage
        self._half_done = False  # was an attempt to copy a checkpoint cut off by an error?
        self._copied = 0  # bytes, for the progress line
        self._changed, self._copying = threading.Condition(), threading.Lock()
        try:
            self.remote.mkdir(parents=True, exist_ok=True)
            self._bring_back_files()
            for here in sorted(self.local.glob("*")) + sorted(self.local.glob("stage-*/*")):
                there = self.there(here)
                if here.is_file() and not _newer(there, here) and not _same(there, here):
                    self.follow(here)  # from before Drive was switched on, or not copied to the end
        except OSError as error:
            raise _unreachable(self.remote, error) from error
        followers[self.local] = self.follow
        threading.Thread(target=self._work, daemon=True, name="copy to Drive").start()
        atexit.register(self.wait)

    def follow(self, path):
        """Have a file of the run's folder copied soon; a checkpoint only once it is sealed. Returns at once."""
        path = Path(path)
        if path.is_relative_to(self.local) and path.suffix != ".pt":
            with self._changed:
                item = path.parent if checkpoint.is_seal(path) else path
                self._due[item] = self._due.pop(item, 0) + 1
                self._changed.notify_all()

    def tell(self):
        """Print what has happened since the last time; raise CheckpointError where another notebook has taken over a
        stage."""
        self._print_news()
        if self._taken:
            raise CheckpointError(self._taken)

    def wait(self):
        """Wait, with a progress line, until Drive has everything; True if it has. If Drive refuses, another notebook
        has taken over, or on ■, say so and go on: the copy continues in the background as long as this runtime lives.
        """
        with self._changed:
            if not self._due and not self._taken:
                return True
            refusals = self._refusals
            self._changed.notify_all()  # try again now
        try:
            with tqdm(desc="copying to Drive", unit="B", unit_scale=True, leave=False) as bar:
                start, done = self._copied, False
                while not done:
                    with self._changed:
                        done = not self._due or self._refusals > refusals
                        if not done:
                            self._changed.wait(0.2)
                    bar.update(self._copied - start - bar.n)
        except KeyboardInterrupt:
            print("Not waited for; the copy to Drive goes on in the background. To wait: course.drive.wait()")
            return False
        self._print_news()
        if self._due:
            print("Drive does not have everything yet; the local files do. To try again: course.drive.wait()")
        if self._taken:
            print(self._taken)
        return not self._due and not self._taken

    def _print_news(self):
        while self._news:
            print(self._news.popleft())

    def bring_back(self, folder):
        """Copy a stage's newest checkpoint from Drive if it is further than the local one (looked up once, or again
        after another notebook had taken over).

        Raises CheckpointError where Drive cannot be read: to start afresh then would cost what is there.
        """
        if folder in self._seen and not self._taken:
            return
        there = self.there(folder)
        with self._copying:
            self._taken = None
            try:
                os.listdir(self.remote)  # says so where Drive is gone; nothing found is no error to glob
                self.local.mkdir(parents=True, exist_ok=True)
                checkpoint.copy_newest(there, folder)
                self._seen[folder] = checkpoint.newest_seal(there)
            except OSError as error:
                raise _unreachable(there, error) from error

    def forget(self, folder):
        """Delete a folder's copy on Drive. Files are emptied first: Drive's trash counts against its quota."""
        with self._copying:
            with self._changed:
                self._due = {item: times for item, times in self._due.items() if folder not in (item, item.parent)}
            self._seen.pop(folder, None)
            try:
                os.listdir(self.remote)
                for file in self.there(folder).glob("*"):
                    checkpoint.remove(file, empty=True)
            except OSError as error:
                raise _unreachable(self.there(folder), error) from error
            self._seen[folder] = self._taken = None

    def there(self, path):
        """Where on Drive the copy of a local path lies."""
        return self.remote / path.relative_to(self.local)

    def _bring_back_files(self):
        """The run's small files (results, sweeps, figures) that are missing here, as in a new runtime, or older."""
        for there in sorted(self.remote.glob("[!.]*.*")):
            here = self.local / there.name
            if not there.is_file() or not _newer(there, here):
                continue
            data = there.read_bytes()
            try:
                if there.suffix == ".json":
                    json.loads(data)
            except ValueError as error:
                self._news.append(f"{there.name} on Drive is damaged ({error}) and is not used.")
                continue
            with replacing(here) as file:
                file.write(data)
            os.utime(here, ns=(there.stat().st_mtime_ns,) * 2)

    def _work(self):
        while True:
            with self._changed:
                while not self._due:
                    self._changed.wait()
                item, times = next(iter(self._due.items()))
            try:
                with self._copying:
                    if item in self._due:  # else it was forgotten just now
                        self._copy(item)
            except CheckpointError as error:
                self._taken = str(error)
            except Exception as error:  # whatever it is, it is said, and the next attempt may do better
                if isinstance(error, FileNotFoundError) and Path(error.filename or "").is_relative_to(self.local):
                    time.sleep(0.1)  # the local file was replaced by a newer one, which comes next
                    continue
                with self._changed:
                    if not self._refused:
                        reason = getattr(error, "strerror", None) or error
                        self._news.append(
                            f"Drive cannot be written ({reason}). Training goes on and saves locally; the copy is "
                            f"tried again every {RETRY_SECONDS:.0f} seconds."
                        )
                    self._refused, self._refusals = True, self._refusals + 1
                    self._changed.notify_all()
                    self._changed.wait(RETRY_SECONDS)
                continue
            with self._changed:
                if self._refused:
                    self._news.append("Drive is back, and is being brought up to date.")
                self._refused = False
                if self._due.get(item) == times:  # else it was written again meanwhile
                    del self._due[item]
                self._changed.notify_all()

    def _copy(self, item):
        if not item.exists():
            return  # deleted since
        if not self.remote.is_dir():  # nor made anew, here or below: an unmounted Drive must not become a local folder
            raise OSError(errno.ENOTCONN, "it is not mounted")
        if item.is_dir():
            self._copy_checkpoint(item)
        else:
            self._copy_file(item, self.there(item))

    def _copy_checkpoint(self, folder):
        there, looked = self.there(folder), folder in self._seen
        if looked and not self._half_done:  # else it is an earlier session's, or the seal there may be our own, torn
            checkpoint.require_ours(there, self._seen[folder])
        self._half_done = True
        checkpoint.copy_newest(folder, there, self._news.append, empty=True, progress=self._progress)
        self._half_done = False
        if looked:  # else `bring_back` still has to look whether Drive is further
            self._seen[folder] = checkpoint.newest_seal(there)

    def _copy_file(self, here, there):
        for folder in reversed(there.relative_to(self.remote).parents[:-1]):
            (self.remote / folder).mkdir(exist_ok=True)
        temporary, written = there.with_name(f".{there.name}.part"), here.stat().st_mtime_ns
        copied = copying(here, temporary, self._progress)
        with suppress(OSError):  # a Drive that keeps no times: the next session copies once more than it must
            os.utime(temporary, ns=(written, written))
        os.replace(temporary, there)
        if checkpoint.sha256(there) != copied:
            raise OSError(errno.EIO, "it reads back differently from what was written")

    def _progress(self, size):
        self._copied += size


def _newer(one, other):
    """Is file `one` there, and written after `other` if that is there too?"""
    return one.exists() and (not other.exists() or one.stat().st_mtime_ns > other.stat().st_mtime_ns)


def _same(one, other):
    """Are both files there, of the same size and written at the same time?"""
    if not one.exists() or not other.exists():
        return False
    first, second = one.stat(), other.stat()
    return (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


def _unreachable(path, error):
    return CheckpointError(
        f"{path} on Drive cannot be used ({error.strerror or error}). Mount Drive again and run the cell again, or set "
        "`drive` to False to keep this run on the local disk only."
    )
