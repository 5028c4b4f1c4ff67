"""Files that fail: every operation of a process on the files of one folder, watched, and made to
fail on purpose."""

import builtins
import errno
import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

CHANGES = ("write", "fsync", "replace", "rename", "unlink", "remove", "rmdir", "truncate", "mkdir")


class Died(BaseException):
    """The process is dead: nothing catches it, and nothing that should happen afterwards has any
    effect on a file."""


@contextmanager
def watched(folder, before, after=lambda kind, path: None):
    """Call `before(kind, path)` before each operation on a file in `folder`, and `after` when it's
    done.

    kind: one of CHANGES, or "open" or "read". What `before` raises is raised by the operation; half
    of the data of a write has then reached the file. Copies and deleted trees are seen as the
    operations they consist of.
    """
    folder = os.path.realpath(folder)
    names = [name for name in CHANGES if name != "write"]
    real, real_open = {name: getattr(os, name) for name in names}, builtins.open
    opened = {}  # file number → path

    def concerns(path):
        return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(folder)

    def fake_open(path, *more, **options):
        if concerns(path):
            before("open", path)
        file = real_open(path, *more, **options)
        opened.pop(file.fileno(), None)  # numbers are used again
        if not concerns(path):
            return file
        opened[file.fileno()] = path
        return _Watched(file, path, before, after)

    def fake(name):
        def operation(path, *more, **options):
            about = (
                opened.get(path)
                if name == "fsync"
                else more[0]
                if name in ("replace", "rename")
                else path
            )
            if not concerns(about):
                return real[name](path, *more, **options)
            before(name, about)
            result = real[name](path, *more, **options)
            after(name, about)
            return result

        return operation

    with (
        patch.multiple(os, **{name: fake(name) for name in names}),
        patch.multiple(
            shutil, _use_fd_functions=False, _USE_CP_SENDFILE=False
        ),  # no shortcuts past the above
        patch.object(builtins, "open", fake_open),
        patch.object(io, "open", fake_open),
    ):
        yield


class _Watched:
    """A file whose reads and writes are watched."""

    def __init__(self, file, path, before, after):
        self._file, self._path, self._before, self._after = file, path, before, after

    def write(self, data):
        data = data if isinstance(data, str) else bytes(data)
        try:
            self._before("write", self._path)
        except BaseException:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise
        count = self._file.write(data)
        self._file.flush()
        self._after("write", self._path)
        return count

    def read(self, *size):
        self._before("read", self._path)
        return self._file.read(*size)

    def readinto(self, buffer):
        self._before("read", self._path)
        return self._file.readinto(buffer)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._file.close()

    def __iter__(self):
        return iter(self._file)

    def __getattr__(self, name):
        return getattr(self._file, name)


class Death:
    """As `before`: dies in the `number`-th operation that changes a file (from 1), and stays
    dead."""

    def __init__(self, number):
        self.left, self.dead = number, False

    def __call__(self, kind, path):
        if kind in CHANGES and not self.dead:
            self.left -= 1
            self.dead = self.left == 0
        if self.dead:
            raise Died


class Full:
    """As `before`: the disk is full from the `number`-th operation on that needs space (from 1)."""

    def __init__(self, number):
        self.left, self.reached = number, False

    def __call__(self, kind, path):
        if kind in ("write", "fsync", "mkdir"):
            self.left -= 1
            if self.left <= 0:
                self.reached = True
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def total_size(folder):
    """The bytes of all files in a folder, also the hidden ones."""
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
