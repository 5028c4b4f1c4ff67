"""Names of classes and files that are short enough for a figure, and still tell classes apart."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from os.path import commonprefix


def short(name: str, length: int = 20) -> str:
    """A name at most `length` letters wide: whole, if it fits.

    Otherwise, it loses its folders, what comes after its first comma, and the last letters. A
    Korean, Japanese or Chinese letter is as wide as two others. If names must differ from each
    other, use `short_names`.
    """
    whole = _in_one_line(name)
    if _width(whole) <= length:
        return whole
    return _beginning(_before_comma(whole.split("/")[-1]), length)


def short_names(names: Sequence[str], length: int = 20) -> list[str]:
    """A short form of each name, at most `length` letters wide, no two of them alike.

    "goldfish, Carassius auratus" becomes "goldfish", unless there's another goldfish, and
    "animals/cat/tabby" becomes "tabby", if that's the only one. Otherwise, the form shows a part of
    the name that no other name has; if there's none, it begins with the name's position, from 0.
    length: at least 8.
    """
    return list(_short_names(tuple(names), length))


@lru_cache(maxsize=8)  # with thousands of classes, every page of an explorer would wait for it
def _short_names(names: tuple[str, ...], length: int) -> list[str]:
    lines = [_in_one_line(name) for name in names]
    numbered = []
    for position, line in enumerate(lines):
        numbered.append(_beginning(f"{position}: {line}", length))
    forms = []
    for line, difference in zip(lines, _first_differences(lines)):
        forms.append(_forms(line, difference, length))
    owners = Counter(numbered)  # how many names could be shortened to this
    for some in forms:
        owners.update(set(some))
    same = Counter([*lines, *numbered])
    chosen = []
    for position, line in enumerate(lines):
        own = [form for form in forms[position] if form.strip() and owners[form] == 1]
        if own:
            chosen.append(own[0])
        elif line and _width(line) <= length and same[line] == 1:
            chosen.append(line)  # others could be shortened to it, but then, they won't
        else:
            chosen.append(numbered[position])
    return chosen


def _first_differences(lines: Sequence[str]) -> list[int]:
    """For each line, the position where it first differs from all others."""
    order = sorted(range(len(lines)), key=lambda position: lines[position])
    first = [0] * len(lines)
    for before, after in pairwise(order):  # the most similar beginnings are neighbours
        shared = len(commonprefix([lines[before], lines[after]]))
        first[before] = max(first[before], shared)
        first[after] = max(first[after], shared)
    return first


def _forms(line: str, difference: int, length: int) -> list[str]:
    """Ways to write a name that are narrow enough, the nicest first.

    difference: where it first differs from all other names.
    """
    forms = [_before_comma(line), line]
    folders = line.split("/")
    for first in range(len(folders) - 1, 0, -1):
        forms.append("/".join(folders[first:]))
    narrow = [form for form in forms if _width(form) <= length]
    if line in narrow:
        return narrow
    start = difference  # of the word, or of its last letters
    while start > max(0, difference - 4) and line[start - 1].isalnum():
        start -= 1
    return [
        *narrow,
        _beginning(folders[-1], length),
        _beginning(line, length),
        _beginning(line[::-1], length)[::-1],  # its end
        _beginning("…" + line[start:], length),
    ]


def _in_one_line(name: str) -> str:
    """A name as figures can draw it: composed, since fonts draw the parts of a letter, as a Mac
    spells it, side by side."""
    return " ".join(unicodedata.normalize("NFC", name).split())


def _before_comma(line: str) -> str:
    return line.split(",")[0] or line  # a name may begin with one


def _beginning(line: str, length: int) -> str:
    """As many of the first letters as fit, with dots for the rest."""
    width = 0
    for position, letter in enumerate(line):
        width += _width(letter)
        if width > length:
            room_for_dots = max(0, position - 1)
            return line[:room_for_dots] + "…"
    return line


def _width(text: str) -> int:
    """How many letters of the alphabet are as wide as this text."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in ("W", "F") for letter in text)
    return len(text) + wide
