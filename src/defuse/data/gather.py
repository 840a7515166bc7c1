"""From single images to the arrays of each split, all of one size and with as many channels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from defuse.data.checks import Arrays
from defuse.data.decode import Picture, Pixels, UnreadableError
from defuse.data.reader import Skipped
from defuse.data.settings import ReadSettings
from defuse.errors import DataError

Load: TypeAlias = Callable[[], Picture]
"""Decodes one image; raises UnreadableError where that cannot be done."""


@dataclass(frozen=True)
class Gathered:
    """The arrays of every split, and which images were left out."""

    splits: Mapping[str, Arrays]
    skipped: tuple[Skipped, ...]


def gather(splits: Mapping[str, Iterable[Load]], settings: ReadSettings, where: str) -> Gathered:
    """Decode every image.

    The result has one channel if every image of every split is grey, and three otherwise.

    Args:
        splits: what decodes the images of each split, in order.
        settings: whether unreadable images are skipped.
        where: what to name when a split turns out empty.

    Raises:
        DataError: an image cannot be read, sizes differ, or nothing is left of a split.
    """
    skipped: list[Skipped] = []
    parts: dict[str, _Part] = {}
    first: Picture | None = None
    for split, loads in splits.items():
        part = parts[split] = _Part()
        for row, load in enumerate(loads):
            try:
                picture = load()
            except UnreadableError as error:
                if not settings.skip_unreadable:
                    raise
                skipped.append(Skipped(split, row, error.where, error.reason))
                continue
            first = first or picture
            _check_size(first, picture)
            part.add(row, picture)
        if not part.rows:
            raise DataError(f"{where}: the {split} split holds no image that can be read")
    channels = max(pixels.shape[2] for part in parts.values() for pixels in part.pixels)
    return Gathered({split: part.arrays(channels) for split, part in parts.items()}, tuple(skipped))


@dataclass
class _Part:
    """What was read of one split so far."""

    pixels: list[Pixels] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def add(self, row: int, picture: Picture) -> None:
        self.pixels.append(picture.pixels)
        self.labels.append(picture.label)
        self.rows.append(row)

    def arrays(self, channels: int) -> Arrays:
        """Return everything as arrays. The list of pixels is emptied, so that memory does not hold them twice."""
        height, width, _ = self.pixels[0].shape
        images = np.empty((len(self.pixels), height, width, channels), dtype=np.uint8)
        while self.pixels:
            pixels = self.pixels.pop()
            images[len(self.pixels)] = pixels  # one channel fills three
        return Arrays(images, np.array(self.labels, dtype=np.int64), np.array(self.rows, dtype=np.int64))


def _check_size(first: Picture, other: Picture) -> None:
    if first.pixels.shape[:2] != other.pixels.shape[:2]:
        (height, width), (other_height, other_width) = first.pixels.shape[:2], other.pixels.shape[:2]
        raise DataError(
            f"{other.where} is {other_height} x {other_width} pixels (height x width), but {first.where} {height} x "
            f"{width}; set the size to scale to, such as data.size=[{height},{width}]"
        )
