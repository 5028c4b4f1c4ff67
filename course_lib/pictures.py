"""What every figure is made of: the course's style and fonts, and a small PNG with a description.

A figure can be read from the back row: it's 1280 pixels wide at most, and nothing is shown by
colour alone.
"""

from __future__ import annotations

import base64
import io
import unicodedata
import warnings
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

from cycler import cycler
from PIL import Image

from .storage.files import replacing

WIDTH = 12.8  # inches; at 100 dots per inch, as wide as a small projector
LARGE = 100_000  # bytes of a PNG file that we try to stay below
BLUE = "#0b5394"
ORANGE = "#c35200"
LINES = cycler(
    color=[BLUE, ORANGE, "#38761d", "#741b47", "#555555"],
    linestyle=["-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1))],
    marker=["o", "s", "^", "D", "v"],
)
STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.prop_cycle": LINES,
    "axes.titlesize": 15,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "figure.titlesize": 16,
    "font.size": 15,
    "grid.alpha": 0.3,
    "lines.linewidth": 2.5,
    "text.parse_math": False,  # a $ in a class name is a $
}
# Fonts for Korean, Japanese and Chinese, on Linux, Colab, Windows and macOS.
EAST_ASIAN_FONTS = (
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
)
# Otherwise there'd be one line for each letter that no font has.
warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)

Arguments = ParamSpec("Arguments")


class Palette(NamedTuple):
    """How a picture gets few colours, so that its file is small."""

    colours: int
    method: Image.Quantize


# Tried in this order until a file is small enough. Median cut keeps greys apart, an octree hues.
PALETTES = (
    Palette(256, Image.Quantize.MEDIANCUT),
    Palette(48, Image.Quantize.FASTOCTREE),
    Palette(32, Image.Quantize.FASTOCTREE),
)


class Picture:
    """A matplotlib figure that a notebook shows as a small PNG, and its content in words (`alt`).

    It has all attributes and methods of that figure. figsize: width and height in inches.
    """

    def __init__(self, figsize: tuple[float, float], title: str | None = None, alt: str = ""):
        # Imported here, so that `import course_lib` doesn't wait for it.
        from matplotlib.figure import Figure

        self.figure = Figure(figsize)
        self.alt = alt
        # What else the notebook gets, by MIME type: for programs that read its outputs.
        self.data: dict[str, Any] = {}
        if title is not None:
            self.figure.suptitle(title)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.figure, name)

    def png(self) -> bytes:
        """The bytes of a PNG file of at most 256 colours; of fewer, if that makes it small.

        If even the fewest colours don't (photographs), it keeps all 256.
        """
        drawn = io.BytesIO()
        self.figure.savefig(drawn, format="png", facecolor="white")
        image = Image.open(drawn).convert("RGB")
        files = []
        for palette in PALETTES:
            file = _png_with(palette, image)
            if len(file) < LARGE:
                return file
            files.append(file)
        return files[0]

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook shows, by MIME type, and metadata; called by IPython."""
        image = base64.b64encode(self.png()).decode()
        data = {"image/png": image, "text/plain": self.alt, **self.data}
        return data, {"image/png": {"alt": self.alt}}


def _png_with(palette: Palette, image: Image.Image) -> bytes:
    file = io.BytesIO()
    few = image.quantize(palette.colours, palette.method, dither=Image.Dither.NONE)
    few.save(file, "png", optimize=True)
    return file.getvalue()


def keep(figure: Picture, path: str | Path) -> Picture:
    """Write a figure as a PNG file, and return it so that a cell shows it; raises DiskError."""
    with replacing(path) as file:
        file.write(figure.png())
    return figure


@cache
def font_families() -> list[str]:
    """DejaVu Sans, then the installed fonts for Korean, Japanese and Chinese names.

    Colab has none of them, unless you install one (`apt-get install fonts-nanum`).
    """
    from matplotlib import font_manager

    for path in font_manager.findSystemFonts():
        if "CJK" in path or "NanumGothic" in path:
            # matplotlib keeps a list of fonts, which may be older than this one.
            font_manager.fontManager.addfont(path)
    installed = font_manager.get_font_names()
    return ["DejaVu Sans", *(family for family in EAST_ASIAN_FONTS if family in installed)]


def styled(plot: Callable[Arguments, Picture]) -> Callable[Arguments, Picture]:
    """Decorate a function that draws: it uses the course's style, without changing yours."""

    @wraps(plot)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Picture:
        from matplotlib import rc_context

        with rc_context({**STYLE, "font.family": font_families()}):
            return plot(*args, **kwargs)

    return in_style


def short(name: str, length: int = 20) -> str:
    """Shorten a class name: up to its first comma, at most `length` letters wide.

    A Korean, Japanese or Chinese letter is as wide as two others.
    """
    # Composed, since fonts draw the parts of a letter, as a Mac spells it, side by side.
    name = unicodedata.normalize("NFC", name.split(",")[0])
    width = 0
    for position, letter in enumerate(name):
        width += 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1
        if width > length:
            room_for_dots = max(0, position - 1)
            return name[:room_for_dots] + "…"
    return name
