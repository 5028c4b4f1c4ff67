"""Errors you can do something about: each says what is wrong, where, and what to do.

Also how messages show what somebody else's files contain, and how they are said only once.
"""

import functools
import reprlib

_TEXT = reprlib.Repr()
_TEXT.maxstring = 120  # characters: enough to find a file by its path


def brief(value: object) -> str:
    """A value from somebody else's file, shortened, and with its control characters escaped."""
    if isinstance(value, str):
        return _TEXT.repr(value)
    return reprlib.repr(value)


@functools.cache
def say_once(sentence: str) -> None:
    """Print a sentence, unless it has been printed before."""
    print(sentence)


class CourseError(Exception):
    """The base of all errors of this course. A notebook shows its message without the traceback."""

    def _render_traceback_(self):
        # IPython asks an exception for its own rendering before it prints a traceback.
        return [f"{type(self).__name__}: {self}"]


class DataError(CourseError):
    """Something is wrong with a data set: a file, a row of `answer.json`, an image, the
    manifest."""


class CheckpointError(CourseError):
    """A checkpoint or a `model.pth` can't be used: it is damaged, or belongs to another model or
    another run."""


class SettingsError(CourseError):
    """A setting (a form field or an environment variable) has a value that can't be used."""


class DiskError(CourseError):
    """A file can't be written: the disk is full or read-only, or Google Drive isn't mounted."""


class DivergedError(CourseError):
    """The loss is no longer a finite number."""


class Stopped(CourseError):
    """You pressed ■. Everything is saved; raising this keeps Run All from running the cells
    below."""
