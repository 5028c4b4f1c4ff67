"""Class names in any script: find an installed font that has the characters, or spell them in Latin letters."""

import unicodedata
from contextlib import suppress
from functools import cache

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.ft2font import FT2Font


def drawable(text):
    """`text` as the current matplotlib style can draw it: no boxes, no warnings.

    Characters that the style's fonts lack are looked for in all installed fonts, and such a font is added to the
    style's `font.family`: call this inside an `rc_context` and before the axes are made, for they take their font then.
    Characters that no font has are spelled: 개 becomes "gae". That is said once, with what to install.
    """
    text = "".join(c for c in unicodedata.normalize("NFC", text) if c == "\n" or c.isprintable())
    missing = {character for character in text.replace("\n", "") if ord(character) not in _style_glyphs()}
    if not missing:
        return text
    for family, glyphs in _installed():
        covered = {character for character in missing if ord(character) in glyphs}
        if covered:
            missing -= covered
            if family not in mpl.rcParams["font.family"]:
                mpl.rcParams["font.family"] = [*mpl.rcParams["font.family"], family]
    if missing:
        _say_what_helps()
    return "".join(_spelled(character) if character in missing else character for character in text)


@cache
def _say_what_helps():
    print(
        "No installed font has some of these characters, so they are spelled in Latin letters. On Debian, Ubuntu and "
        "Colab, `apt-get install fonts-noto-cjk` and a restart of the kernel show them as they are."
    )


def _style_glyphs():
    return _glyphs(font_manager.findfont(font_manager.FontProperties(family=mpl.rcParams["font.family"][:1])))


@cache
def _installed():
    """[(family, its characters)], one upright font of ordinary weight a family."""
    known, fonts = {font.fname for font in font_manager.fontManager.ttflist}, {}
    for path in font_manager.findSystemFonts():  # matplotlib's own list may be older than an installed font
        if path not in known:
            with suppress(RuntimeError, OSError):  # a font that FreeType cannot read is no help
                font_manager.fontManager.addfont(path)
    for font in font_manager.fontManager.ttflist:
        # "Last Resort" has a box for everything; cm… and STIX… order their characters in ways of their own.
        ordinary = font.style == "normal" and font.weight in (400, "normal", "regular", "book")
        if ordinary and font.name not in fonts and not font.name.startswith(("Last Resort", "cm", "STIX")):
            fonts[font.name] = _glyphs(font.fname)
    return sorted(fonts.items(), key=lambda found: -len(found[1]))  # the one that has most is asked first


@cache
def _glyphs(path):
    try:
        font = FT2Font(path)
        return frozenset(font.get_charmap()) if font.scalable else frozenset()  # emoji are often pictures of one size
    except (RuntimeError, OSError):
        return frozenset()


def _spelled(character):
    """Hangul, kana and the like by the last word of their Unicode name; what has no reading as ?."""
    if unicodedata.combining(character) or unicodedata.category(character) == "Mn":
        return ""
    word = unicodedata.name(character, "").rsplit(" ", 1)[-1].lower()
    return word if word.isalpha() else "?"
