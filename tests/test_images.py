"""Images of every mode, held in every way, and damaged ones: upright RGB, or a sentence."""

import io
import random
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from course_lib import DataError
from course_lib.datasets import upright_rgb


def stored(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def opened(file):
    image = upright_rgb(file, "it")
    assert image.mode == "RGB"
    return np.array(image).tolist()


RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def test_grey_images_have_three_equal_channels():
    grey = np.array([[0, 100, 255]], dtype=np.uint8)
    assert opened(stored(Image.fromarray(grey))) == [[[0] * 3, [100] * 3, [255] * 3]]
    assert opened(stored(Image.fromarray(grey > 99))) == [[[0] * 3, WHITE, WHITE]]
    with_alpha = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(grey)])
    assert opened(stored(with_alpha)) == [[[0] * 3, [100] * 3, [255] * 3]]


def test_sixteen_bits_are_scaled_to_eight():
    deep = np.array([[0, 256, 25_700, 65_535]], dtype=np.uint16)
    for kind in ("PNG", "TIFF"):
        assert opened(stored(Image.fromarray(deep), kind)) == [[[0] * 3, [1] * 3, [100] * 3, WHITE]]
    assert opened(stored(Image.fromarray(deep.astype(np.int32)), "TIFF")) == [[[0] * 3, [1] * 3, [100] * 3, WHITE]]


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_palettes_are_looked_up(transparency):
    image = Image.fromarray(np.array([[0, 1, 2, 1]], dtype=np.uint8), "L").convert("P")
    image.putpalette(RED + GREEN + BLUE)
    options = {} if transparency is None else {"transparency": transparency}
    assert opened(stored(image, **options)) == [[RED, GREEN, BLUE, GREEN]]
    if not isinstance(transparency, bytes):
        assert opened(stored(image, "GIF", **options)) == [[RED, GREEN, BLUE, GREEN]]


def test_transparency_is_left_out():
    pixels = np.array([[[255, 0, 0, 255], [0, 255, 0, 0], [0, 0, 255, 128]]], dtype=np.uint8)
    assert opened(stored(Image.fromarray(pixels))) == [[RED, GREEN, BLUE]]


def test_cmyk_is_converted():
    pixels = np.array([[[0, 255, 255, 0], [255, 0, 255, 0], [255, 255, 0, 0], [0, 0, 0, 0], [0, 0, 0, 255]]])
    image = Image.fromarray(pixels.astype(np.uint8), "CMYK")
    assert opened(stored(image, "TIFF")) == [[RED, GREEN, BLUE, WHITE, [0, 0, 0]]]
    jpeg = np.array(opened(stored(image.resize((80, 16), Image.Resampling.NEAREST), "JPEG", quality=100)))
    assert abs(jpeg[8, 8::16] - [RED, GREEN, BLUE, WHITE, [0, 0, 0]]).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_images_are_turned_upright_as_their_exif_says(orientation, mode):
    """Each of the eight ways in which a camera may have been held, with grey values that tell every corner."""
    upright = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    # How a picture has to be stored so that a viewer, following `orientation`, shows it upright.
    store = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose, 6: np.rot90,
        7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1),
    }[orientation](upright)  # fmt: skip
    image = Image.fromarray(np.ascontiguousarray(store))
    image = Image.fromarray(np.array(image).astype(np.uint16) * 256) if mode == "I;16" else image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert opened(stored(image, exif=exif)) == [[[value] * 3 for value in line] for line in upright.tolist()]
    shown = ImageOps.exif_transpose(Image.open(stored(image, exif=exif)))
    assert shown.size == (3, 2)


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF", "GIF", "JPEG"])
def test_every_listed_format_can_be_read(kind):
    image = Image.new("RGB", (20, 10), (200, 30, 30))
    assert abs(np.array(opened(stored(image, kind))) - [200, 30, 30]).max() < 8


def png_that_claims(width, height):
    header = io.BytesIO()
    Image.new("RGB", (1, 1)).save(header, "PNG")
    data = bytearray(header.getvalue())
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return io.BytesIO(bytes(data))


@pytest.mark.parametrize("width, height", [(12_000, 10_000), (100_000, 100_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width, height):
    with pytest.raises(DataError, match="^it .*(pixels, more than|decompression bomb)"):
        upright_rgb(png_that_claims(width, height), "it")


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]))
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_read_or_a_data_error(seed, kind):
    noise = random.Random(seed)
    data = bytearray(
        stored(Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 8, 3), np.uint8)), kind).read()
    )
    for _ in range(noise.randint(1, 5)):
        data[noise.randrange(len(data))] = noise.randrange(256)
    del data[noise.choice([len(data), noise.randrange(len(data))]) :]
    try:
        assert upright_rgb(io.BytesIO(data), "it").mode == "RGB"
    except DataError as error:
        assert str(error).startswith("it ")
