"""Images of every mode, held in every way, and damaged or hostile ones: upright RGB, or a
DataError."""

import io
import os
import random
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_sets import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image, ImageFile

from course_lib import DataError
from course_lib.data import images
from course_lib.data.images import read_picture, upright_rgb

RED = [255, 0, 0]
GREEN = [0, 255, 0]
BLUE = [0, 0, 255]
WHITE = [255, 255, 255]
BLACK = [0, 0, 0]


def opened(image, kind="PNG", **options):
    """What becomes of an image that is stored in a file and read again: nested lists."""
    read = upright_rgb(io.BytesIO(stored(image, kind, **options)), "it")
    assert read.mode == "RGB"
    return np.array(read).tolist()


def test_grey_images_have_three_equal_channels():
    grey = np.array([[0, 100, 255]], dtype=np.uint8)
    assert opened(Image.fromarray(grey)) == [[[0] * 3, [100] * 3, WHITE]]
    assert opened(Image.fromarray(grey > 99)) == [[[0] * 3, WHITE, WHITE]]


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


def test_palettes_are_looked_up_without_a_warning(recwarn):
    image = Image.fromarray(np.array([[0, 1, 2, 1]], dtype=np.uint8)).convert("P")
    image.putpalette(RED + GREEN + BLUE)
    assert opened(image) == [[RED, GREEN, BLUE, GREEN]]
    assert not recwarn.list


def test_cmyk_is_converted():
    inks = [[[0, 255, 255, 0], [255, 0, 255, 0], [0, 0, 0, 0], [0, 0, 0, 255]]]
    data = np.array(inks, dtype=np.uint8).tobytes()
    assert opened(Image.frombytes("CMYK", (4, 1), data), "TIFF") == [[RED, GREEN, WHITE, BLACK]]


# --- what is stored with more than 8 bits, but doesn't use them


def tiff(values, sample_format, photometric=1):
    """A plain TIFF of grey (height, width) or RGB (height, width, 3) values, as NumPy holds them.

    sample_format: 1 unsigned, 2 signed, 3 float (TIFF 6.0, tag 339). photometric: 0 if 0 is white.
    """
    height, width = values.shape[:2]
    samples = values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    tags = {
        256: [width],
        257: [height],
        258: [values.itemsize * 8] * samples,
        259: [1],
        262: [2 if samples == 3 else photometric],
        273: [8],
        277: [samples],
        278: [height],
        279: [len(data)],
        339: [sample_format] * samples,
    }
    directory = 8 + len(data)
    after = directory + 2 + 12 * len(tags) + 4
    entries = struct.pack("<H", len(tags))
    long_values = b""
    for tag, numbers in tags.items():
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        if len(numbers) == 1:
            entries += struct.pack("<HHI", tag, 4, 1) + packed
        else:
            entries += struct.pack("<HHII", tag, 4, len(numbers), after + len(long_values))
            long_values += packed
    header = b"II*\0" + struct.pack("<I", directory)
    return header + data + entries + bytes(4) + long_values


def ppm(kind, values, largest=65535):
    """A plain or raw PGM or PPM (its kind: P2, P3, P5 or P6) of 16 bits."""
    height, width = values.shape[:2]
    if kind in ("P2", "P3"):
        data = " ".join(str(value) for value in values.ravel().tolist()).encode()
    else:
        data = values.astype(">u2").tobytes()
    return f"{kind} {width} {height} {largest}\n".encode() + data


@pytest.mark.parametrize("dtype, sample_format", [(np.uint8, 1), (np.uint16, 1), (np.float32, 3)])
def test_a_tiff_whose_zero_is_white_is_no_negative(dtype, sample_format):
    values = ramp(255 if dtype == np.uint8 else 65535, dtype)
    pixels = []
    for photometric in (0, 1):
        data = tiff(values, sample_format, photometric)
        pixels.append(np.array(upright_rgb(io.BytesIO(data), "it")).astype(int))
    assert abs(pixels[0] + pixels[1] - 255).max() <= 1
    assert pixels[0][0, 0].tolist() == WHITE and pixels[0][-1, -1].tolist() == BLACK


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("largest", [1023, 4095, 65535])
def test_a_deep_ppm_says_itself_what_is_white(kind, largest):
    values = ramp(largest, np.int64, samples=3 if kind in ("P3", "P6") else 1)
    read = np.array(upright_rgb(io.BytesIO(ppm(kind, values, largest)), "it"))
    assert read.min() == 0 and read.max() == 255


def ramp(brightest, dtype, darkest=0, samples=1):
    """Values from darkest to brightest: (16, 16), or (16, 16, 3)."""
    values = np.linspace(darkest, brightest, 256 * samples).astype(dtype)
    return values.reshape((16, 16) if samples == 1 else (16, 16, samples))


KINDS = {
    "16-bit PNG": lambda top: stored(Image.fromarray(ramp(top, np.uint16))),
    "16-bit TIFF": lambda top: tiff(ramp(top, np.uint16), 1),
    "16-bit TIFF, signed": lambda top: tiff(ramp(min(top, 32767), np.int16), 2),
    "16-bit TIFF in colour": lambda top: tiff(ramp(top, np.uint16, samples=3), 1),
    "32-bit TIFF": lambda top: tiff(ramp(top, np.int32), 2),
    "PGM": lambda top: ppm("P5", ramp(top, np.uint16)),
    "plain PGM": lambda top: ppm("P2", ramp(top, np.uint16)),
    "PPM": lambda top: ppm("P6", ramp(top, np.uint16, samples=3)),
    "plain PPM": lambda top: ppm("P3", ramp(top, np.uint16, samples=3)),
    "TIFF of floats": lambda top: tiff(ramp(top, np.float32), 3),
}


@pytest.mark.parametrize("kind", ["PGM", "plain PGM", "PPM", "plain PPM"])
def test_sixteen_bits_that_hold_eight_are_refused_where_the_format_says_what_is_white(kind):
    with pytest.raises(DataError, match="it"):
        upright_rgb(io.BytesIO(KINDS[kind](200)), "it")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(top=st.integers(600, 16383))
def test_a_picture_that_leaves_its_upper_bits_empty_is_refused_not_black(kind, top):
    with pytest.raises(DataError, match="it"):
        upright_rgb(io.BytesIO(KINDS[kind](top)), "it")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8)
@given(top=st.integers(17000, 65535))
def test_a_picture_that_uses_its_upper_bits_is_scaled_by_its_format(kind, top):
    read = np.array(upright_rgb(io.BytesIO(KINDS[kind](top)), "it"))
    assert read.min() == 0
    if "PPM" in kind:  # which Pillow rounds
        assert read.max() == round(top / 65535 * 255)
    else:
        assert read.max() == (min(top, 32767) if "signed" in kind else top) >> 8


@pytest.mark.parametrize(
    "values, sample_format",
    [
        (ramp(3071, np.int16, darkest=-1024), 2),  # computed tomography
        (ramp(20000, np.int32, darkest=-20000), 2),
        (ramp(1, np.float32, darkest=-1), 3),  # normalised for a network
        (ramp(10, np.float32), 3),  # metres
        (ramp(1e6, np.float32), 3),
        (ramp(2**24, np.int32), 2),
    ],
)
def test_values_whose_black_or_white_nobody_can_tell_are_refused(values, sample_format):
    with pytest.raises(DataError, match="it"):
        upright_rgb(io.BytesIO(tiff(values, sample_format)), "it")


@pytest.mark.parametrize("kind", ["16-bit PNG", "16-bit TIFF in colour", "TIFF of floats"])
def test_a_picture_that_is_all_black_is_black(kind):
    assert np.array(upright_rgb(io.BytesIO(KINDS[kind](0)), "it")).max() == 0


# --- transparency


def disc(colour, mode):
    """A picture (mode RGBA or LA) of a disc on a ground that is transparent, of the same colour."""
    y, x = np.mgrid[:32, :32]
    alpha = np.where((x - 16) ** 2 + (y - 16) ** 2 < 100, 255, 0).astype(np.uint8)
    image = Image.new("RGB", (32, 32), colour)
    image.putalpha(Image.fromarray(alpha))
    return image.convert(mode), alpha == 255


def palette_disc(colour):
    """The same as a PNG or GIF with a palette, one of whose entries is transparent."""
    image, is_disc = disc(colour, "RGBA")
    indexed = Image.fromarray(is_disc.astype(np.uint8)).convert("P")
    indexed.putpalette([*image.getpixel((0, 0))[:3]] * 2)
    return indexed, is_disc


@pytest.mark.parametrize("colour", ["black", "white", "red", (250, 250, 250), (40, 40, 40)])
@pytest.mark.parametrize(
    "mode, kind",
    [
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("RGBA", "TIFF"),
        ("RGBA", "GIF"),
        ("LA", "PNG"),
        ("LA", "TIFF"),
        ("P", "PNG"),
        ("P", "GIF"),
    ],
)
def test_a_shape_that_is_only_in_the_transparency_can_be_seen(colour, mode, kind):
    """A cut-out or an icon: viewers show it, and it was one flat colour."""
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    if mode == "P":
        image, is_disc = palette_disc(colour)
        options["transparency"] = 0
    else:
        image, is_disc = disc(colour, mode)
    picture = read_picture(stored(image, kind, **options), "it")
    pixels = np.array(picture.image).astype(int)
    inside = pixels[is_disc]
    outside = pixels[~is_disc]
    assert picture.was_transparent
    assert (inside == inside[0]).all() and (outside == outside[0]).all()
    assert abs(inside[0] - outside[0]).max() > 32
    if colour in ("black", "red"):
        assert outside[0].tolist() == WHITE


def test_transparency_is_put_on_white_by_its_amount():
    pixels = np.array([[[255, 0, 0, 255], [0, 255, 0, 0], [0, 0, 255, 128]]], dtype=np.uint8)
    assert opened(Image.fromarray(pixels)) == [[RED, WHITE, [127, 127, 255]]]
    grey = np.array([[[0, 255], [100, 0], [255, 255]]], dtype=np.uint8)
    assert opened(Image.fromarray(grey, "LA")) == [[BLACK, WHITE, WHITE]]


@given(st.integers(0, 2**32), st.sampled_from(["RGBA", "LA"]))
def test_what_is_opaque_keeps_its_colours_and_so_does_what_nobody_could_see(seed, mode):
    colours = np.random.default_rng(seed).integers(0, 256, (9, 8, 3), np.uint8)
    plain = Image.fromarray(colours).convert(mode[:-1])
    for alpha in (255, 0):
        image = plain.copy()
        image.putalpha(alpha)
        picture = read_picture(stored(image), "it")
        assert not picture.was_transparent
        assert np.array(picture.image).tolist() == np.array(plain.convert("RGB")).tolist()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_transparent_grey_or_colour_of_a_png_is_transparent(dtype):
    """PNG's tRNS chunk for pictures without an alpha channel."""
    unit = np.iinfo(dtype).max // 255
    grey = Image.fromarray((np.array([[0, 200, 255]]) * unit).astype(dtype))
    assert opened(grey, transparency=200 * unit) == [[BLACK, WHITE, WHITE]]
    if dtype == np.uint8:
        colours = Image.fromarray(np.array([[RED, GREEN, BLUE]], dtype=dtype))
        assert opened(colours, transparency=tuple(GREEN)) == [[RED, WHITE, BLUE]]


# --- metadata


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "I;16"])
def test_images_are_turned_upright_as_their_exif_says(orientation, mode):
    """Each of the eight ways to hold a camera, with grey values that tell every corner."""
    upright = np.array([[10, 20, 30], [40, 50, 200]], dtype=np.uint8)
    # How a picture has to be stored so that a viewer, following `orientation`, shows it upright.
    stored_as = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }
    image = Image.fromarray(np.ascontiguousarray(stored_as[orientation]))
    if mode == "I;16":
        image = Image.fromarray(np.array(image).astype(np.uint16) * 256)
    else:
        image = image.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert opened(image, exif=exif) == [
        [[value] * 3 for value in line] for line in upright.tolist()
    ]


TURNED = Image.Exif()
TURNED[0x0112] = 6
LANDSCAPE = Image.fromarray(np.array([[RED] * 20 + [BLUE] * 20] * 20, dtype=np.uint8))


def is_landscape(image):
    """Whether it's LANDSCAPE, as it is or turned by 90°."""
    first = image.getpixel((2, 2))
    last = image.getpixel((image.width - 3, image.height - 3))
    right_size = image.size in ((40, 20), (20, 40))
    return right_size and first[0] > 240 > 20 > first[2] and last[2] > 240 > 20 > last[0]


def png_chunk(kind, content, checksum=None):
    if checksum is None:
        checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def with_png_chunk(chunk, at_the_end=False):
    data = stored(LANDSCAPE, exif=TURNED)
    place = len(data) - 12 if at_the_end else 33  # before IEND, or after IHDR
    return data[:place] + chunk + data[place:]


def with_jpeg_segment(marker, content):
    data = stored(LANDSCAPE, "JPEG", quality=95, exif=TURNED)
    length = struct.pack(">H", len(content) + 2)
    return data[:2] + bytes([0xFF, marker]) + length + content + data[2:]


LARGE = zlib.compress(bytes(3_000_000))  # more than Pillow unpacks of a text or a colour profile


@pytest.mark.parametrize(
    "chunk",
    [
        png_chunk(b"zTXt", b"Comment\0\0" + LARGE),
        png_chunk(b"iTXt", b"Comment\0\1\0\0\0" + LARGE),
        png_chunk(b"iCCP", b"profile\0\0" + LARGE),
        png_chunk(b"iCCP", b"profile\0\7" + LARGE),
        png_chunk(b"zTXt", b"Comment\0\7?"),
        png_chunk(b"gAMA", b"\0"),
        png_chunk(b"cHRM", b"\0\1"),
        png_chunk(b"pHYs", b""),
        png_chunk(b"acTL", b"\0"),
        png_chunk(b"tEXt", b"Comment\0hello", checksum=7),
    ],
)
@pytest.mark.parametrize("at_the_end", [False, True])
def test_bad_metadata_does_not_cost_a_png_and_it_is_still_turned(chunk, at_the_end):
    image = upright_rgb(io.BytesIO(with_png_chunk(chunk, at_the_end)), "it")
    assert is_landscape(image) and image.size == (20, 40)


@settings(max_examples=100)
@given(
    kind=st.sampled_from(b"gAMA cHRM iCCP sRGB tEXt zTXt iTXt pHYs eXIf acTL fcTL bKGD".split()),
    content=st.binary(max_size=40),
    checksum=st.sampled_from([None, 7]),
    at_the_end=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_no_chunk_of_metadata_costs_a_png(kind, content, checksum, at_the_end):
    data = with_png_chunk(png_chunk(kind, content, checksum), at_the_end)
    assert is_landscape(upright_rgb(io.BytesIO(data), "it"))


@settings(max_examples=100)
@given(
    marker=st.sampled_from([*range(0xE1, 0xEE), 0xEF, 0xFE]),
    begin=st.sampled_from(
        [
            b"",
            b"Exif\0\0",
            b"Exif\0\0II*\0\x08\0\0\0\x05\0",
            b"Exif\0\0MM\0*\0\0\0\x08\0\x05",
            b"Exif\0\0Exif\0\0II*\0",
            b"MPF\0II*\0\x08\0\0\0\x03\0",
            b"ICC_PROFILE\0",
            b"Photoshop 3.0\x008BIM\x03\xed",
            b"http://ns.adobe.com/xap/1.0/\0",
        ]
    ),
    content=st.binary(max_size=60),
)
@pytest.mark.filterwarnings("ignore")
def test_no_segment_of_metadata_costs_a_jpeg(marker, begin, content):
    data = with_jpeg_segment(marker, begin + content)
    assert is_landscape(upright_rgb(io.BytesIO(data), "it"))


@pytest.mark.parametrize(
    "segment",
    [
        (0xE2, b"ICC_PROFILE\0\1"),  # cut off
        (0xED, b"Photoshop 3.0\x008BIM\x03\xed\0\0\0\0\0\1"),
    ],
)
def test_a_jpeg_is_turned_by_its_exif_whatever_else_is_damaged(segment):
    assert upright_rgb(io.BytesIO(with_jpeg_segment(*segment)), "it").size == (20, 40)


@given(st.binary(max_size=60))
@pytest.mark.filterwarnings("ignore")
def test_no_exif_costs_a_webp(content):
    for exif in (content, b"Exif\0\0II*\0\x08\0\0\0" + content):
        data = stored(LANDSCAPE, "WEBP", lossless=True, exif=exif)
        assert is_landscape(upright_rgb(io.BytesIO(data), "it"))


# --- formats, and hostile or damaged files


@pytest.mark.parametrize("kind", ["BMP", "WEBP", "TIFF", "GIF", "JPEG", "PPM"])
def test_every_listed_format_can_be_read(kind):
    read = np.array(opened(Image.new("RGB", (20, 10), (200, 30, 30)), kind))
    assert abs(read - [200, 30, 30]).max() < 8


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


@pytest.mark.parametrize("largest, at_once", [(10**6, True), (10, False)])
def test_large_pictures_are_decoded_one_at_a_time_and_others_together(
    monkeypatch, largest, at_once
):
    """Sixteen of the largest ones took 25 GB."""
    meeting = threading.Barrier(2)
    load = ImageFile.ImageFile.load

    def met(image):
        try:
            meeting.wait(timeout=10 if at_once else 0.1)
        except threading.BrokenBarrierError:
            together.append(False)
        else:
            together.append(True)
        return load(image)

    together = []
    monkeypatch.setattr(images, "LARGE", largest)
    data = stored(Image.new("RGB", (9, 7)), "BMP")
    monkeypatch.setattr(ImageFile.ImageFile, "load", met)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(read_picture, [data] * 2, "ab"))
    assert set(together) == {at_once}


def test_what_is_no_file_is_a_data_error(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
    for path in (tmp_path, tmp_path / "pipe.png", tmp_path / "missing.png", "/dev/null", "a\0b"):
        with pytest.raises(DataError, match="my picture"):
            upright_rgb(path, "my picture")


def test_too_little_memory_does_not_make_an_image_unreadable(monkeypatch):
    def fail(image):
        raise MemoryError

    data = stored(Image.new("RGB", (9, 7)))
    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(DataError, match="memory.*0.png") as failure:
        read_picture(data, "0.png")
    assert not isinstance(failure.value, images.UnreadableImage)


@settings(max_examples=100)
@given(st.integers(0, 2**32), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "WEBP", "BMP"]))
@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_read_or_a_data_error(seed, kind):
    noise = random.Random(seed)
    pixels = np.random.default_rng(seed).integers(0, 255, (9, 8, 3), np.uint8)
    data = bytearray(stored(Image.fromarray(pixels), kind))
    for _ in range(noise.randint(1, 5)):
        data[noise.randrange(len(data))] = noise.randrange(256)
    del data[noise.choice([len(data), noise.randrange(len(data))]) :]
    try:
        assert upright_rgb(io.BytesIO(data), "it").mode == "RGB"
    except DataError as error:
        assert "it" in str(error)
