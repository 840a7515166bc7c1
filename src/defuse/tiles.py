"""Small images put side by side on one sheet, for people to look at."""

import io

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from defuse.types import ByteImages


def montage(images: ByteImages, columns: int, gap: int = 0) -> UInt8[np.ndarray, "height width c"]:
    """Put images in reading order on a white sheet of ``columns`` columns, ``gap`` pixels apart.

    Args:
        images: at least one, (n, h, w, c).
        columns: how many stand side by side, at least 1; the last row may stay incomplete.
        gap: pixels between neighbours.
    """
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + gap), columns * (width + gap), channels), 255, dtype=np.uint8)
    for place, image in enumerate(images):
        top, left = (place // columns) * (height + gap), (place % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet[: sheet.shape[0] - gap, : sheet.shape[1] - gap]


def enlarge(images: ByteImages, factor: int) -> UInt8[np.ndarray, "n tall wide c"]:
    """Repeat every pixel ``factor`` times in both directions."""
    return images.repeat(factor, axis=1).repeat(factor, axis=2)


def encode(sheet: UInt8[np.ndarray, "height width c"], kind: str = "PNG", **options: int | bool) -> bytes:
    """Return an image of one or three channels as the bytes of a file of the given Pillow format."""
    picture = Image.fromarray(sheet[:, :, 0] if sheet.shape[2] == 1 else sheet)
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()
