"""The errors a reader can do something about. Each says what is wrong, where, and what to do, in one or two
sentences."""

import reprlib

_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 60


def brief(value):
    """A value from a stranger's file as a message shows it: however long or deeply nested, a few words."""
    return _BRIEF.repr(value)


class CourseError(Exception):
    """Base of all errors of this course. In a notebook only the message is shown, not six frames of library code."""

    def _render_traceback_(self):
        # IPython asks an exception for its own rendering before it prints a traceback.
        return [f"{type(self).__name__}: {self}"]


class DataError(CourseError):
    """Something is wrong with a data set: a file, a row of `answer.json`, an image, the manifest."""


class CheckpointError(CourseError):
    """A checkpoint or `model.pth` cannot be used: unreadable, of another model, or of another run."""


class SettingsError(CourseError):
    """A setting (form cell or environment variable) has a value that cannot be used."""


class DeviceMemoryError(CourseError):
    """The device has too little memory for this batch size and image size."""
