"""The page's pictures: sprites of small images, packed into a byte budget."""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from defuse.tiles import encode, montage
from defuse.types import ByteImages

COLUMNS = 10
"""Images side by side in every sprite; the style sheet counts on it."""

EDGE = 64
"""A tile's longer edge on the page is the greatest multiple of the image's that is at most this, in CSS pixels."""

SPRITE_BUDGET = 3_400_000
"""Bytes of all sprites as text; leaves room for the rest of a page of at most 5 MB."""


@dataclass(frozen=True)
class Level:
    """How much is shown and how it is stored."""

    tiles: int
    lossless: bool
    quality: int = 0


LEVELS = (
    Level(100, lossless=True),
    Level(100, lossless=False, quality=85),
    Level(48, lossless=False, quality=80),
    Level(24, lossless=False, quality=75),
    Level(12, lossless=False, quality=50),
)


@dataclass(frozen=True)
class Album:
    """All sprites of a page.

    Attributes:
        classes: key -> name of the style class that shows the sprite.
        css: the rules of these classes.
        level: the level that was needed to stay within the budget.
    """

    classes: Mapping[str, str]
    css: str
    level: Level


def make_album(groups: Mapping[str, ByteImages], budget: int = SPRITE_BUDGET) -> Album:
    """Pack groups of images into one sprite each, at the best level that fits the budget, else at the last."""
    small = {key: shrink(images) for key, images in groups.items() if len(images)}
    sprites, level = {}, LEVELS[0]
    for level in LEVELS:
        sprites = _encode_all(small, level, math.inf if level is LEVELS[-1] else budget)
        if len(sprites) == len(small):
            break
    classes = {key: f"i{number}" for number, key in enumerate(sprites)}
    css = "\n".join(f".{classes[key]}{{background-image:url({uri})}}" for key, uri in sprites.items())
    return Album(classes, css, level)


def _encode_all(groups: Mapping[str, ByteImages], level: Level, budget: float) -> dict[str, str]:
    """Return sprites as data URIs: all of them, or those before the budget was exceeded."""
    sprites: dict[str, str] = {}
    for key, images in groups.items():
        sprite = _sprite(images, level)
        budget -= len(sprite)
        if budget < 0:
            break
        sprites[key] = sprite
    return sprites


def shrink(images: ByteImages) -> UInt8[np.ndarray, "n low narrow c"]:
    """Scale images down until no edge is longer than a tile's; smaller ones stay as they are."""
    height, width = images.shape[1:3]
    factor = EDGE / max(height, width)
    if factor >= 1:
        return images
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    grey = images.shape[3] == 1
    small = [Image.fromarray(image[:, :, 0] if grey else image).resize(size, Image.Resampling.BOX) for image in images]
    return np.stack([np.asarray(image).reshape(size[1], size[0], -1) for image in small])


def tile_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width of a tile in CSS pixels, whole multiples of the image's where it is small."""
    longer = max(height, width)
    if longer > EDGE:
        return max(1, round(height * EDGE / longer)), max(1, round(width * EDGE / longer))
    return height * (EDGE // longer), width * (EDGE // longer)


def _sprite(images: ByteImages, level: Level) -> str:
    shown = images[: level.tiles]
    blank = np.zeros((-len(shown) % COLUMNS, *shown.shape[1:]), dtype=np.uint8)
    sheet = montage(np.concatenate([shown, blank]), COLUMNS)
    if level.lossless:
        kind, data = "png", encode(sheet, "PNG", optimize=True)
    else:
        kind, data = "webp", encode(sheet, "WEBP", quality=level.quality, method=4)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
