"""One image file as upright RGB pixels, whatever its format and mode."""

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # others, such as PostScript, would start programs
MAX_PIXELS = 80_000_000  # more counts as a decompression bomb (Pillow itself only warns from 89 million on)


def upright_rgb(file, name):
    """A file (or its path) as a PIL image in RGB, upright as its EXIF says. Raises DataError, calling it `name`."""
    try:
        with Image.open(file, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(f"{image.width} × {image.height} pixels are more than {MAX_PIXELS:,}")
            image = ImageOps.exif_transpose(image)
            if image.mode[0] in "IF":  # 16-bit integers or floats: convert() would clip them, not scale them
                values = np.nan_to_num(np.asarray(image))
                peak = 65535 if image.mode[0] == "I" or values.max() > 255 else 255 if values.max() > 1 else 1
                image = Image.fromarray((values * (65535 / 256 / peak)).clip(0, 255).astype(np.uint8))
            if image.mode == "P":  # Pillow warns about transparent palettes unless they go through RGBA
                image = image.convert("RGBA")
            return image.convert("RGB")
    except Exception as error:  # Pillow passes on what its decoders raise: OSError, SyntaxError, struct.error, …
        reason = f"not one of {', '.join(FORMATS)}" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"{name} can't be read ({reason}). Replace it, or remove it and its row.") from error
