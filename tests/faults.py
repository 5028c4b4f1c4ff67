"""Files that fail: every operation of a process on the files of one folder, watched, and made to fail on purpose."""

import builtins
import errno
import io
import os
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch


class Died(BaseException):
    """The process is dead: nothing catches it, and nothing that should happen afterwards has any effect on a file."""


@contextmanager
def watched(folder, before, after=lambda kind, path: None):
    """Call `before(kind, path)` before each operation on a file in `folder`, `after` behind it.

    kind: write, fsync, replace, unlink, truncate, read, open or mkdir. What `before` raises is raised by the operation;
    half of the data of a write has then reached the file.
    """
    folder = os.path.realpath(folder)
    real = {name: getattr(os, name) for name in ("fsync", "replace", "unlink", "truncate", "mkdir")}
    real_open, opened = builtins.open, {}  # file number → path

    def concerns(path):
        return isinstance(path, str | os.PathLike) and os.path.realpath(path).startswith(folder)

    def fake_open(path, mode="r", *more, **options):
        if not concerns(path):
            file = real_open(path, mode, *more, **options)
            opened.pop(file.fileno(), None)  # numbers are used again
            return file
        before("open", path)
        file = real_open(path, mode, *more, **options)
        opened[file.fileno()] = path
        return _Watched(file, path, before) if "b" in mode else _watched_text(file, path, before)

    def fake(name, target):
        def operation(path, *more, **options):
            about = opened.get(path) if name == "fsync" else (more[0] if name == "replace" else path)
            if about is None or not concerns(about):
                return real[name](path, *more, **options)
            before(name, about)
            result = real[name](path, *more, **options)
            after(name, about)
            return result

        return operation

    with patch.object(builtins, "open", fake_open), patch.object(io, "open", fake_open):
        with patch.multiple(os, **{name: fake(name, target) for name, target in real.items()}):
            yield


class _Watched:
    """A binary file whose reads and writes are watched."""

    def __init__(self, file, path, before):
        self._file, self._path, self._before = file, path, before

    def write(self, data):
        try:
            self._before("write", self._path)
        except BaseException:
            self._file.write(bytes(data)[: len(data) // 2])
            self._file.flush()
            raise
        return self._file.write(data)

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

    def __getattr__(self, name):
        return getattr(self._file, name)


def _watched_text(file, path, before):
    write = file.write

    class Text:
        def __getattr__(self, name):
            return getattr(file, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            file.close()

        def write(self, text):
            try:
                before("write", path)
            except BaseException:
                write(text[: len(text) // 2])
                file.flush()
                raise
            return write(text)

    return Text()


class Death:
    """As `before`: dies in the `number`-th write, fsync, rename or deletion (from 1), and stays dead."""

    def __init__(self, number):
        self.left = number
        self.dead = False

    def __call__(self, kind, path):
        if self.dead:
            raise Died
        if kind in ("write", "fsync", "replace", "unlink"):
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
