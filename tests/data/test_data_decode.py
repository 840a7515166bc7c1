"""What becomes of each kind of image file, against closed forms and NumPy."""

import io
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

from defuse.data.decode import EXTENSIONS, UnreadableError, decode, to_pixels

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def decoded(image, kind="PNG", size=None, **options):
    return decode(encoded(image, kind, **options), "x", size)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF", "GIF"])
def test_lossless_grey_keeps_one_channel(kind):
    pixels = decoded(Image.fromarray(GREY), kind)
    assert pixels.dtype == np.uint8
    assert np.array_equal(pixels, GREY[..., None])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_colour_is_unchanged(kind, options):
    assert np.array_equal(decoded(Image.fromarray(COLOUR), kind, **options), COLOUR)


@pytest.mark.parametrize(("kind", "channels"), [("JPEG", 1), ("JPEG", 3), ("WEBP", 3)])
def test_lossy_formats_come_close(kind, channels):
    ramp = np.add.outer(4 * np.arange(32), 3 * np.arange(32)).astype(np.uint8)
    image = Image.fromarray(ramp if channels == 1 else np.stack([ramp] * 3, axis=-1))
    pixels = decoded(image, kind, quality=95)
    assert pixels.shape == (32, 32, channels)
    assert np.abs(pixels.astype(int) - ramp[..., None]).max() < 10


def test_every_ending_belongs_to_a_format_that_is_opened():
    endings = {"JPEG": ".jpg .jpeg", "TIFF": ".tif .tiff", "PPM": ".ppm .pgm"}
    formats = ["PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF", "GIF"]
    assert set(" ".join(endings.get(kind, f".{kind.lower()}") for kind in formats).split()) == EXTENSIONS


def test_black_and_white():
    bits = GREY > 127
    assert np.array_equal(decoded(Image.fromarray(bits))[..., 0], 255 * bits)


def test_a_palette_of_greys_is_grey_and_any_other_is_colour():
    grey = Image.fromarray(np.array([[0, 1, 2]], dtype=np.uint8), "L")
    grey.putpalette([9, 9, 9, 200, 200, 200, 77, 77, 77])
    assert decoded(grey).ravel().tolist() == [9, 200, 77]
    colour = grey.copy()
    colour.putpalette([9, 9, 9, 200, 200, 200, 77, 77, 78])
    assert decoded(colour).ravel().tolist() == [9, 9, 9, 200, 200, 200, 77, 77, 78]


def test_transparent_pixels_are_laid_over_black():
    alpha = np.full((6, 5), 255, dtype=np.uint8)
    alpha[0], alpha[1] = 0, 51
    pixels = decoded(Image.fromarray(np.dstack([COLOUR, alpha])))
    assert np.array_equal(pixels[2:], COLOUR[2:])
    assert (pixels[0] == 0).all()
    assert np.abs(pixels[1] - COLOUR[1] / 5).max() <= 1


def test_transparent_grey_stays_grey():
    alpha = np.where(np.arange(30).reshape(6, 5) % 2, 255, 0).astype(np.uint8)
    image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha)])
    assert np.array_equal(decoded(image)[..., 0], np.where(alpha, GREY, 0))


@pytest.mark.parametrize("mode", ["L", "RGB", "P"])
def test_a_transparent_colour_is_black(mode):
    image = Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode)
    pixels = decoded(image, transparency=(255, 255, 255) if mode == "RGB" else image.getpixel((0, 0)))
    assert (pixels == 0).all()
    assert pixels.shape == (2, 3, 1 if mode == "L" else 3)


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind):
    deep = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    assert decoded(Image.fromarray(deep), kind).ravel().tolist() == [0, 0, 1, 1, 128, 255]


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)))
@settings(max_examples=30)
def test_sixteen_bit_copies_of_bytes_give_the_bytes(pixels):
    assert np.array_equal(decoded(Image.fromarray(pixels.astype(np.uint16) * 257))[..., 0], pixels)


def test_cmyk_becomes_rgb():
    flat = np.full((8, 8, 4), (0, 255, 255, 0), dtype=np.uint8)  # no cyan: red
    pixels = decoded(Image.frombytes("CMYK", (8, 8), flat.tobytes()), "TIFF")
    assert (pixels == (255, 0, 0)).all()


ORIENTED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
    9: lambda a: a,
}


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", ORIENTED)
def test_the_camera_s_orientation_is_undone(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decoded(Image.fromarray(COLOUR), kind, exif=exif, **options)
    assert np.array_equal(pixels, ORIENTED[orientation](COLOUR))


def test_a_jpeg_s_orientation_is_undone():
    tall = np.zeros((32, 16, 3), dtype=np.uint8)
    tall[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = decoded(Image.fromarray(tall), "JPEG", exif=exif, quality=100)
    assert np.abs(pixels.astype(int) - np.rot90(tall, -1)).max() < 20


def test_a_damaged_exif_block_costs_nothing():
    pixels = decoded(Image.fromarray(COLOUR), exif=b"Exif\x00\x00nonsense")
    assert np.array_equal(pixels, COLOUR)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_image_of_several(kind):
    frames = [Image.new("RGB", (4, 3), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = decoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert (pixels == (255, 0, 0)).all()


def test_an_even_area_stays_even_when_scaled():
    pixels = decoded(Image.new("RGB", (50, 70), (10, 20, 30)), size=(7, 5))
    assert pixels.shape == (7, 5, 3)
    assert (pixels == (10, 20, 30)).all()


def test_scaling_averages_instead_of_picking():
    """A fine chessboard becomes grey; without antialiasing it would stay black and white."""
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    pixels = decoded(Image.fromarray(board.astype(np.uint8)), size=(8, 8))
    assert np.abs(pixels.astype(int) - 127).max() < 6


def test_the_right_size_is_left_alone():
    assert np.array_equal(decoded(Image.fromarray(COLOUR), size=(6, 5)), COLOUR)


def test_scaling_happens_after_turning():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.new("RGB", (40, 20))
    ImageDraw.Draw(image).rectangle((0, 0, 19, 19), fill=(255, 255, 255))  # left half, so the upper half when turned
    pixels = decoded(image, size=(8, 4), exif=exif)
    assert pixels.shape == (8, 4, 3)
    assert (pixels[:3] == 255).all()
    assert (pixels[-3:] == 0).all()


def test_pillow_s_own_settings_and_warnings_are_left_as_they_were(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    before = list(warnings.filters)
    with pytest.raises(UnreadableError):
        decoded(Image.fromarray(GREY))
    assert Image.MAX_IMAGE_PIXELS == 20
    assert list(warnings.filters) == before


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_bad_input_any_bytes(content):
    with pytest.raises(UnreadableError):
        decode(content, "x")


@given(st.data())
@settings(max_examples=150)
def test_bad_input_damage_is_an_error_or_an_image(data):
    """Whatever is done to a file's bytes, nothing but one kind of error gets out."""
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF", "GIF"]))
    content = bytearray(encoded(Image.fromarray(COLOUR), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        pixels = decode(bytes(content[: data.draw(st.integers(1, len(content)))]), "x", (4, 4))
    except UnreadableError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either way is fine
    else:
        assert pixels.shape[:2] == (4, 4)


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF", "mode F"),
        (Image.fromarray(np.zeros((2, 2), np.int32)), "TIFF", "mode I;"),
        (Image.frombytes("LAB", (2, 2), bytes(12)), "TIFF", "mode LAB"),
        (Image.new("RGB", (2, 2)), "ICO", "none of PNG, JPEG"),
        (Image.new("RGB", (2, 2)), "EPS", "none of PNG, JPEG"),
    ],
)
def test_bad_input_kinds_that_are_refused(image, kind, expected):
    with pytest.raises(UnreadableError, match=expected):
        decoded(image, kind)


def test_bad_input_sixteen_bits_with_a_transparent_grey():
    deep = Image.fromarray(np.zeros((2, 2), np.uint16))
    deep.info["transparency"] = 0
    with pytest.raises(UnreadableError, match="16-bit grey with transparent"):
        to_pixels(deep, "x")


@pytest.mark.parametrize("limit", [20, 10])  # Pillow warns above the limit and raises above twice the limit
def test_bad_input_a_decompression_bomb(monkeypatch, limit):
    content = encoded(Image.fromarray(GREY))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(UnreadableError, match=f"bomb.png: .*over {limit} pixels, maybe a decompression bomb"):
        decode(content, "bomb.png")
