"""Images without labels, to look for more of the same in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from defuse.data.checks import to_images
from defuse.data.decode import EXTENSIONS, Pixels, UnreadableError, decode_file
from defuse.data.groups import group_file
from defuse.data.npz import read_named
from defuse.data.settings import as_path
from defuse.data.text import printable
from defuse.errors import DataError
from defuse.types import ByteImages

KEY = "images"
"""The array of an .npz file that is read where none is named."""


@dataclass(frozen=True)
class Pool:
    """Images without labels.

    Attributes:
        images: 8-bit, (n, h, w, c).
        names: what each is called: its path below the folder, or its row in the array.
        skipped: what was left out, on request, because it cannot be read.
    """

    images: ByteImages
    names: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def read_pool(source: str, shape: tuple[int, int, int], *, skip_unreadable: bool = False) -> Pool:
    """Read the images of a folder and of every folder below it, or an array of an .npz file.

    Args:
        source: a folder; or ``PATH.npz`` with an array ``images``, or ``PATH.npz:KEY``.
        shape: height, width and channels of the images that the run has seen. Image files are scaled to it; grey files
            fill three channels. Arrays must have it.
        skip_unreadable: leave out what cannot be read; else it is an error.

    Raises:
        DataError: there is no such pool, it holds no image, or images of another kind.
    """
    named = group_file(source)
    path = as_path(source) if named is None else named.path
    if path.suffix.lower() == ".npz":
        return _from_array(path, KEY if named is None else named.key, shape)
    if not path.is_dir():
        raise DataError(f"{source}: expected a folder of images, or PATH.npz:KEY")
    return _from_folder(path, shape, skip_unreadable=skip_unreadable)


def _from_array(path: Path, key: str, shape: tuple[int, int, int]) -> Pool:
    images = to_images(read_named(path, key, advice="; name it as PATH.npz:KEY"), f"{path}: {key}")
    if images.shape[1:] != shape:
        raise DataError(
            f"{path}: {key}: expected images of {_size(shape)}, as in the run, got {_size(images.shape[1:])}"
        )
    return Pool(images, tuple(f"row {row}" for row in range(len(images))))


def _from_folder(root: Path, shape: tuple[int, int, int], *, skip_unreadable: bool) -> Pool:
    height, width, channels = shape
    pixels: list[Pixels] = []
    names: list[str] = []
    skipped: list[str] = []
    for path in _files(root):
        where = printable(path)
        try:
            found = decode_file(path, where, (height, width))
        except UnreadableError:
            if not skip_unreadable:
                raise
            skipped.append(where)
            continue
        if found.shape[2] > channels:
            raise DataError(f"{where}: is in colour, but the run's images are grey; convert it")
        pixels.append(np.broadcast_to(found, shape))
        names.append(printable(path.relative_to(root)))
    if not pixels:
        raise DataError(f"{printable(root)}: holds no image that can be read")
    return Pool(np.stack(pixels), tuple(names), tuple(skipped))


def _files(root: Path) -> Iterator[Path]:
    """Yield the image files below a folder, sorted; links to folders are not followed, so that none is seen twice."""
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.suffix.lower() in EXTENSIONS and not hidden and not path.is_dir():
            yield path


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(side) for side in shape)
