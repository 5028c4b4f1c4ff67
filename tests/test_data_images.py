"""Images of every mode, held in every way, and damaged or hostile ones: upright RGB, or a
DataError."""

import io
import random
import zlib

import numpy as np
import pytest
from data_sets import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageFile

from course_lib import DataError
from course_lib.data.images import upright_rgb

RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def opened(image, kind="PNG", **options):
    """What becomes of an image that is stored in a file and read again: nested lists."""
    read = upright_rgb(io.BytesIO(stored(image, kind, **options)), "it")
    assert read.mode == "RGB"
    return np.array(read).tolist()


def test_grey_images_have_three_equal_channels():
    grey = np.array([[0, 100, 255]], dtype=np.uint8)
    assert opened(Image.fromarray(grey)) == [[[0] * 3, [100] * 3, WHITE]]
    assert opened(Image.fromarray(grey > 99)) == [[[0] * 3, WHITE, WHITE]]
    assert opened(Image.merge("LA", [Image.fromarray(grey)] * 2)) == [[[0] * 3, [100] * 3, WHITE]]


def test_sixteen_bits_are_scaled_to_eight():
    deep = np.arange(0, 65536, 97, dtype=np.uint16).reshape(26, 26)
    expected = np.broadcast_to((deep >> 8)[..., None], (26, 26, 3)).tolist()
    assert opened(Image.fromarray(deep)) == opened(Image.fromarray(deep), "TIFF") == expected
    assert opened(Image.fromarray(deep.astype(np.int32)), "TIFF") == expected


@pytest.mark.parametrize("peak", [1, 255, 65535])
def test_floats_are_scaled_by_their_range(peak):
    """A TIFF of floats in 0…1 was black."""
    values = np.array([[0, 0.5, 1, np.nan]], dtype=np.float32) * peak
    assert opened(Image.fromarray(values), "TIFF") == [[[0] * 3, [127] * 3, WHITE, [0] * 3]]


@pytest.mark.parametrize("peak", [1, 255])
def test_a_float_beyond_its_range_does_not_blacken_the_others(peak):
    """Sharpening overshoots; a division by zero is infinite."""
    values = np.array([[0, 0.5, 1, 1.1, np.inf, -np.inf]], dtype=np.float32) * np.float32(peak)
    assert opened(Image.fromarray(values), "TIFF")[0][:4] == [[0] * 3, [127] * 3, WHITE, WHITE]


def test_thirty_two_bits_that_hold_eight_are_not_black():
    values = np.arange(256, dtype=np.int32)[None]
    assert opened(Image.fromarray(values), "TIFF") == [[[value] * 3 for value in range(256)]]


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palettes_are_looked_up_without_a_warning(transparency, recwarn):
    image = Image.fromarray(np.array([[0, 1, 2, 1]], dtype=np.uint8)).convert("P")
    image.putpalette(RED + GREEN + BLUE)
    options = {} if transparency is None else {"transparency": transparency}
    assert opened(image, **options) == [[RED, GREEN, BLUE, GREEN]] and not recwarn.list


def test_transparency_is_left_out_and_cmyk_converted():
    pixels = np.array([[[255, 0, 0, 255], [0, 255, 0, 0], [0, 0, 255, 128]]], dtype=np.uint8)
    assert opened(Image.fromarray(pixels)) == [[RED, GREEN, BLUE]]
    pixels = np.array(
        [[[0, 255, 255, 0], [255, 0, 255, 0], [0, 0, 0, 0], [0, 0, 0, 255]]], dtype=np.uint8
    )
    assert opened(Image.frombytes("CMYK", (4, 1), pixels.tobytes()), "TIFF") == [
        [RED, GREEN, WHITE, [0, 0, 0]]
    ]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_images_are_turned_upright_as_their_exif_says(orientation, mode):
    """Each of the eight ways to hold a camera, with grey values that tell every corner."""
    upright = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)
    # How a picture has to be stored so that a viewer, following `orientation`, shows it upright.
    store = {
        1: lambda a: a, 2: np.fliplr, 3: lambda a: np.rot90(a, 2), 4: np.flipud, 5: np.transpose, 6: np.rot90,
        7: lambda a: np.rot90(a, 2).T, 8: lambda a: np.rot90(a, -1),
    }[orientation](upright)  # fmt: skip
    image = Image.fromarray(np.ascontiguousarray(store))
    image = (
        Image.fromarray(np.array(image).astype(np.uint16) * 256)
        if mode == "I;16"
        else image.convert(mode)
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert opened(image, exif=exif) == [
        [[value] * 3 for value in line] for line in upright.tolist()
    ]


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF", "GIF", "JPEG", "PPM"])
def test_every_listed_format_can_be_read(kind):
    assert (
        abs(np.array(opened(Image.new("RGB", (20, 10), (200, 30, 30)), kind)) - [200, 30, 30]).max()
        < 8
    )


def test_no_other_format_is_opened_whatever_its_name(tmp_path, monkeypatch):
    """PostScript named .jpg started Ghostscript."""
    started = []
    monkeypatch.setattr(
        EpsImagePlugin, "Ghostscript", lambda *args, **options: started.append(args)
    )
    path = tmp_path / "photo.jpg"
    path.write_bytes(stored(Image.new("RGB", (20, 10)), "EPS"))
    with pytest.raises(DataError, match="photo.jpg"):
        upright_rgb(path, path.name)
    assert not started


@pytest.mark.parametrize("width, height", [(12_000, 10_000), (2**31 - 1, 2**31 - 1)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb_is_refused_before_it_is_decoded(width, height, monkeypatch):
    data = bytearray(stored(Image.new("RGB", (1, 1))))
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *args: pytest.fail("decoded"))
    with pytest.raises(DataError, match="it"):
        upright_rgb(io.BytesIO(bytes(data)), "it")


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]))
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_read_or_a_data_error(seed, kind):
    noise, pixels = (
        random.Random(seed),
        np.random.default_rng(seed).integers(0, 255, (9, 8, 3), np.uint8),
    )
    data = bytearray(stored(Image.fromarray(pixels), kind))
    for _ in range(noise.randint(1, 5)):
        data[noise.randrange(len(data))] = noise.randrange(256)
    del data[noise.choice([len(data), noise.randrange(len(data))]) :]
    try:
        assert upright_rgb(io.BytesIO(data), "it").mode == "RGB"
    except DataError as error:
        assert "it" in str(error)
