"""The `COURSE_…` variables of the environment, which override a notebook's form."""

from __future__ import annotations

import difflib
import os

from .errors import SettingsError

VARIABLES = [
    "COURSE_DATA",
    "COURSE_PRESET",
    "COURSE_HOME",
    "COURSE_SEED",
    "COURSE_SIZE",
    "COURSE_EPOCHS",
    "COURSE_PRECISION",
    "COURSE_SKIP_UNREADABLE",
    "COURSE_FINISHED",
]


def refuse_misspelt_variables() -> None:
    """Raise SettingsError for a variable that looks like one of ours, but isn't."""
    for name in os.environ:
        if name.startswith("COURSE_") and name not in VARIABLES:
            meant = difflib.get_close_matches(name, VARIABLES, n=1, cutoff=0.75)
            if meant:
                raise SettingsError(f"There is no setting {name}. Did you mean {meant[0]}?")


def whole_number(variable: str, default: int) -> int:
    """The value of an environment variable, or the default if it's empty. Raises SettingsError."""
    text = os.environ.get(variable)
    if not text:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise SettingsError(f"{variable} is {text!r}: use a whole number.")
    return int(text)
