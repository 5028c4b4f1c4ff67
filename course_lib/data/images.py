"""One image file as upright RGB pixels, whatever its format and mode."""

import numpy as np
from PIL import Image, ImageOps

from .answers import data_error

FORMATS = (
    "JPEG",
    "PNG",
    "BMP",
    "GIF",
    "WEBP",
    "TIFF",
    "PPM",
)  # others, such as PostScript, would start programs
MAX_PIXELS = (
    80_000_000  # more counts as a decompression bomb (Pillow itself only warns from 89 million on)
)
_ADVICE = f"Replace it with an image ({', '.join(FORMATS)}), or remove it and its row."


def upright_rgb(file, name):
    """A file (or its path) as a PIL image in RGB, upright as its EXIF says. Raises DataError,
    calling it `name`."""
    with data_error(f"{name} can't be read", _ADVICE), Image.open(file, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} × {image.height} pixels are more than {MAX_PIXELS:,}")
        image = ImageOps.exif_transpose(image)
        if (
            image.mode[0] in "IF"
        ):  # 16 or 32 bits, or floats: convert() would clip them, not scale them
            values = np.nan_to_num(np.asarray(image), posinf=0, neginf=0)
            top = (
                65535 if image.mode.startswith("I;16") else values.max() / 2
            )  # sharpened images overshoot a bit
            peak = 1 if top <= 1 else 255 if top <= 255 else 65535
            image = Image.fromarray((values * (65535 / 256 / peak)).clip(0, 255).astype(np.uint8))
        return image.convert("RGBA" if image.mode == "P" else "RGB").convert(
            "RGB"
        )  # or transparent palettes warn
