"""Turning image files into pixels, with Pillow. What becomes of each kind of image is decided here and nowhere else.

- Grey images (``1``, ``L``, 16 bits, palettes of greys) have one channel, all others three, even where every pixel of
  them is grey.
- Transparent pixels are laid over black: most programs store black beneath them, so this is what a reader that drops
  the alpha channel sees too.
- Palette, CMYK and YCbCr images become RGB by Pillow's own rules; embedded colour profiles are not applied.
- 16-bit grey is scaled to 8 bits (65535 becomes 255), 16-bit colour keeps its upper bytes.
- The EXIF orientation is applied; an EXIF block that cannot be read counts as upright.
- Of an animation or a multi-page file, the first image is taken.
- Floating-point, 32-bit and CIELAB pixels are refused, and so is a file that Pillow takes for a decompression bomb.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from defuse.data.text import reason_of
from defuse.errors import DataError

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".ppm", ".pgm", ".webp", ".tif", ".tiff", ".gif"})
"""Endings of files that are taken for images, in lower case."""

FORMATS = ("PNG", "JPEG", "BMP", "PPM", "WEBP", "TIFF", "GIF")
"""The only decoders of Pillow that may see a file. Others start helper programs or are rarely used."""

Pixels: TypeAlias = UInt8[np.ndarray, "h w c"]
Size: TypeAlias = tuple[int, int]

_GREY = frozenset({"1", "L", "LA", "La"})
_COLOUR = frozenset({"RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr"})
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
"""EXIF's tag for how the camera was held."""


class UnreadableError(DataError):
    """One image that cannot be read; ``skip_unreadable`` passes over it.

    Attributes:
        where: names the image.
        reason: what is wrong with it.
    """

    def __init__(self, where: str, reason: str) -> None:
        advice = "mend or remove it, or set data.skip_unreadable=true"
        super().__init__(f"{where}: cannot be read as an image ({reason}); {advice}")
        self.where = where
        self.reason = reason


@dataclass(frozen=True)
class Picture:
    """One decoded image.

    Attributes:
        where: names it in messages.
        pixels: 8-bit, (h, w, c) with c = 1 or 3.
        label: class index.
    """

    where: str
    pixels: Pixels
    label: int


def decode_file(path: Path, where: str, size: Size | None = None) -> Pixels:
    """Return the pixels of an image file; see ``decode``.

    Raises:
        UnreadableError: it is missing, is no file, may not be read, or holds no image that can be used.
    """
    try:
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise UnreadableError(where, "it is no file")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise UnreadableError(where, reason_of(error)) from None
    return decode(content, where, size)


def decode(content: bytes, where: str, size: Size | None = None) -> Pixels:
    """Return the pixels of an encoded image.

    Args:
        content: the bytes of an image file.
        where: what to name in error messages.
        size: height and width to scale to, with antialiasing; by default the image's own.

    Raises:
        UnreadableError: it holds no image that can be used.
    """
    if not content:
        raise UnreadableError(where, "it is empty")
    with _decoding(where):
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        image.load()
    return to_pixels(image, where, size)


def to_pixels(image: Image.Image, where: str, size: Size | None = None) -> Pixels:
    """Return the pixels of an open Pillow image; see ``decode``.

    Raises:
        UnreadableError: its pixels cannot be used.
    """
    with _decoding(where):
        plain = _plain(image, where)
        turn = _UPRIGHT.get(_orientation(image))
        upright = plain if turn is None else plain.transpose(turn)
        if size is not None and upright.size != (size[1], size[0]):
            upright = upright.resize((size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.array(upright)
        return pixels.reshape(*pixels.shape[:2], -1)


@contextmanager
def _decoding(where: str) -> Iterator[None]:
    """Turn whatever Pillow raises into one line; its limit on an image's size holds, its other warnings are dropped."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    except UnreadableError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        reason = f"over {Image.MAX_IMAGE_PIXELS} pixels, maybe a decompression bomb"
        raise UnreadableError(where, reason) from None
    except UnidentifiedImageError:
        raise UnreadableError(where, f"none of {', '.join(FORMATS)}") from None
    except Exception as error:  # noqa: BLE001  a damaged file makes Pillow raise nearly anything
        raise UnreadableError(where, reason_of(error)) from None


def _plain(image: Image.Image, where: str) -> Image.Image:
    """Return an image of mode ``L`` or ``RGB``."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in {"PNG", "PPM"}):
        if image.has_transparency_data:
            raise UnreadableError(where, "16-bit grey with transparent pixels; store it with 8 bits")
        return Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    if image.mode not in _GREY | _COLOUR:
        raise UnreadableError(where, f"pixels of Pillow's mode {image.mode}; store it as 8-bit grey or RGB")
    target = "L" if image.mode in _GREY or _has_grey_palette(image) else "RGB"
    if not image.has_transparency_data:
        return image.convert(target)
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    return Image.alpha_composite(black, image.convert("RGBA")).convert(target)


def _has_grey_palette(image: Image.Image) -> bool:
    if image.mode != "P":
        return False
    entries = np.reshape(image.getpalette("RGB") or [], (-1, 3))
    return bool((entries == entries[:, :1]).all())


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # noqa: BLE001  a damaged block must not cost the image
        return 1
