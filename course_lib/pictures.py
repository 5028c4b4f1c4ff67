"""What every figure is made of: the course's style and fonts, a small file, and a description.

A figure can be read from the back row: it's 1280 pixels wide at most, and nothing is shown by
colour alone.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from functools import cache, wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

from cycler import cycler
from PIL import Image

from .storage.files import replacing

WIDTH = 12.8  # inches; at 100 dots per inch, as wide as a small projector
LARGE = 100_000  # bytes of a figure of lines or bars that we try to stay below
JPEG_QUALITY = 85  # a photograph's colours are off by about 1 of 255
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


class ImageFile(NamedTuple):
    """A figure as a file's content."""

    kind: str  # MIME type
    content: bytes


class Picture:
    """A matplotlib figure that a notebook shows as a small image, and its content in words (`alt`).

    It has all attributes and methods of that figure. figsize: width and height in inches.
    true_colour: for a figure that shows photographs, which a few colours would posterise.
    """

    def __init__(
        self,
        figsize: tuple[float, float],
        title: str | None = None,
        alt: str = "",
        true_colour: bool = False,
    ):
        # Imported here, so that `import course_lib` doesn't wait for it.
        from matplotlib.figure import Figure

        self.figure = Figure(figsize)
        self.alt = alt
        self.true_colour = true_colour
        # What else the notebook gets, by MIME type: for programs that read its outputs.
        self.data: dict[str, Any] = {}
        if title is not None:
            self.figure.suptitle(title)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.figure, name)

    def png(self) -> bytes:
        """The bytes of a PNG file: in true colour, or of at most 256 colours.

        It has fewer, if that makes it small; if even the fewest don't, it keeps all 256.
        """
        image = self._drawn()
        if self.true_colour:
            return _encoded(image, "png")
        files = []
        for palette in PALETTES:
            few = image.quantize(palette.colours, palette.method, dither=Image.Dither.NONE)
            file = _encoded(few, "png", optimize=True)
            if len(file) < LARGE:
                return file
            files.append(file)
        return files[0]

    def shown(self) -> ImageFile:
        """What a notebook keeps: a PNG, or a JPEG of what would be a large PNG in true colour."""
        if not self.true_colour:
            return ImageFile("image/png", self.png())
        # Without subsampling, coloured edges stay sharp.
        jpeg = _encoded(self._drawn(), "jpeg", quality=JPEG_QUALITY, subsampling=0, optimize=True)
        return ImageFile("image/jpeg", jpeg)

    def _drawn(self) -> Image.Image:
        file = io.BytesIO()
        self.figure.savefig(file, format="png", facecolor="white")
        return Image.open(file).convert("RGB")

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a notebook shows, by MIME type, and metadata; called by IPython."""
        file = self.shown()
        image = base64.b64encode(file.content).decode()
        data = {file.kind: image, "text/plain": self.alt, **self.data}
        return data, {file.kind: {"alt": self.alt}}


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
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
