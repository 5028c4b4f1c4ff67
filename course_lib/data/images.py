"""One image file as upright RGB pixels, whatever its format and mode."""

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from ..errors import DataError

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # others, such as PostScript, would start programs
MAX_PIXELS = 80_000_000  # more counts as a decompression bomb (Pillow itself only warns from 89 million on)


def upright_rgb(file, name):
    """Open an image of any mode and return it as a PIL image in RGB, turned the way its EXIF orientation says.

    file: a path or a binary file. name: what messages call it. Raises DataError if it can't be decoded.
    """
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


def to_tensor(image):
    """PIL image in RGB → float32 tensor (3, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)
