"""Turning what a source holds into checked images and labels. Every message names where the problem lies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from defuse.data.reader import Skipped, Source
from defuse.errors import DataError
from defuse.records import LabelledImages
from defuse.types import ByteImages, Labels

_GREY, _COLOUR = 3, 4
"""Dimensions of an array of grey images and of an array with channels."""


@dataclass(frozen=True)
class Arrays:
    """Images and labels of one split, as many of these as of those; not yet compared with other splits.

    Attributes:
        images: 8-bit, (n, h, w, c).
        labels: class index of each image, (n,).
        rows: each image's place in the source's split, (n,); by default 0, 1 and so on.
    """

    images: ByteImages
    labels: Labels
    rows: Labels | None = None


def to_images(array: np.ndarray, where: str) -> ByteImages:
    """Return 8-bit images (n, h, w, c) from uint8, or floats in [0, 1], of shape (n, h, w) or (n, h, w, c).

    Floats are rounded to the nearest of 256 levels.

    Raises:
        DataError: other types, shapes or values; no image at all.
    """
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"{where}: expected images as uint8 or as floats in [0, 1], got {array.dtype}")
    if array.ndim == _GREY:
        array = array[..., None]
    if array.ndim != _COLOUR:
        raise DataError(
            f"{where}: expected shape (n, height, width) or (n, height, width, channels), got {array.shape}"
        )
    if array.size == 0:
        raise DataError(f"{where}: expected at least one image with at least one pixel, got shape {array.shape}")
    if array.shape[3] not in (1, 3):
        advice = "; put the channels last" if array.shape[1] in (1, 3) else ""
        raise DataError(f"{where}: expected 1 or 3 channels, got {array.shape[3]} (shape {array.shape}){advice}")
    return np.ascontiguousarray(array) if array.dtype == np.uint8 else _quantise(array, where)


def _quantise(array: np.ndarray, where: str) -> ByteImages:
    low, high = float(array.min()), float(array.max())  # NaN anywhere makes both NaN
    if np.isnan(low):
        raise DataError(f"{where}: holds NaN; expected floats in [0, 1]")
    if low < 0 or high > 1:
        advice = "; divide by 255, or store them as uint8" if low >= 0 and high <= 255 else ""  # noqa: PLR2004 - 8-bit values as floats
        raise DataError(f"{where}: expected floats in [0, 1], got values from {low:g} to {high:g}{advice}")
    out = np.empty(array.shape, dtype=np.uint8)
    for image, pixels in zip(out, array, strict=True):  # one by one: no second copy of the data as floats
        np.rint(pixels.astype(np.float64) * 255, out=image, casting="unsafe")
    return out


def to_labels(array: np.ndarray, where: str, *, count: int) -> Labels:
    """Return class indices (n,) from integers of shape (n,) or (n, 1), where n is ``count``, the number of images.

    Raises:
        DataError: other types, shapes or counts; a negative label.
    """
    if array.dtype.kind not in "iu":
        raise DataError(f"{where}: expected labels as integers, got {array.dtype}")
    if array.ndim == 2 and array.shape[1] == 1:  # noqa: PLR2004 - MedMNIST stores a column
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(f"{where}: expected one label an image, shape (n,) or (n, 1), got {array.shape}")
    if len(array) != count:
        raise DataError(f"{where}: expected one label an image, got {len(array)} labels for {count} images")
    if array.min() < 0 or array.max() > np.iinfo(np.int64).max:
        wrong = array.min() if array.min() < 0 else array.max()
        raise DataError(f"{where}: expected class indices from 0, got {wrong}")
    return array.astype(np.int64)


def to_class_names(names: Sequence[str], where: str) -> tuple[str, ...]:
    """Return class names that are not empty and differ from each other.

    Raises:
        DataError: they do not.
    """
    seen: set[str] = set()
    for index, name in enumerate(names):
        if not name.strip():
            raise DataError(f"{where}: the name of class {index} is empty")
        if name in seen:
            raise DataError(f"{where}: the class name {name!r} is given twice")
        seen.add(name)
    return tuple(names)


def to_groups(array: np.ndarray, where: str, *, count: int) -> Labels:
    """Return groups, numbered from 0 in the order of their names, from integers or text of shape (n,) or (n, 1).

    Args:
        array: the name of each image's group.
        where: what to name in error messages.
        count: the number of images.

    Raises:
        DataError: other types, shapes or counts.
    """
    if array.dtype.kind not in "iuU":
        raise DataError(f"{where}: expected groups as integers or text, got {array.dtype}")
    if array.ndim not in (1, 2) or array.size != len(array):
        raise DataError(f"{where}: expected one group an image, shape (n,) or (n, 1), got {array.shape}")
    if len(array) != count:
        raise DataError(f"{where}: expected one group a training image, got {len(array)} groups for {count} images")
    return np.unique(array.reshape(-1), return_inverse=True)[1].astype(np.int64)


def to_source(
    splits: Mapping[str, Arrays],
    class_names: tuple[str, ...] | None,
    where: str,
    *,
    groups: Labels | None = None,
    skipped: tuple[Skipped, ...] = (),
) -> Source:
    """Check that splits fit together, and return them.

    Args:
        splits: images and labels of ``train`` and maybe of ``test`` and ``validation``.
        class_names: by default "0", "1" and so on, up to the largest label of any split.
        where: what to name in error messages.
        groups: the group of each training image of the source, skipped ones too.
        skipped: images that were left out.

    Raises:
        DataError: sizes differ between splits, a label has no class name, a class has no training image, or there is
            only one class.
    """
    train = splits["train"]
    for name, split in splits.items():
        if split.images.shape[1:] != train.images.shape[1:]:
            raise DataError(f"{where}: {name} images are {_size(split.images)}, but train images {_size(train.images)}")
    if class_names is None:
        count = 1 + max(int(split.labels.max()) for split in splits.values())
        class_names = tuple(str(index) for index in range(_plausible(count, train.labels, where)))
    _check_classes(splits, class_names, where)
    records = {
        name: LabelledImages(split.images, split.labels, class_names, _rows(split)) for name, split in splits.items()
    }
    return Source(
        train=records["train"],
        test=records.get("test"),
        validation=records.get("validation"),
        groups=None if groups is None else groups[records["train"].rows],
        skipped=skipped,
    )


def _rows(split: Arrays) -> Labels:
    return np.arange(len(split.labels), dtype=np.int64) if split.rows is None else split.rows


def _size(images: ByteImages) -> str:
    return " x ".join(str(side) for side in images.shape[1:])


def _plausible(count: int, train: Labels, where: str) -> int:
    """Return ``count``, unless so many classes cannot all have a training image: then a gap is certain."""
    if count > len(train):
        raise _absent(train, range(count), where)
    return count


def _check_classes(splits: Mapping[str, Arrays], class_names: tuple[str, ...], where: str) -> None:
    for name, split in splits.items():
        top = int(split.labels.max())
        if top >= len(class_names):
            raise DataError(f"{where}: label {top} in the {name} split, but only {len(class_names)} class names")
    if len(class_names) < 2:  # noqa: PLR2004 - nothing can be misread with one class
        raise DataError(f"{where}: expected at least two classes, got {len(class_names)}")
    if len(np.unique(splits["train"].labels)) < len(class_names):
        raise _absent(splits["train"].labels, class_names, where)


def _absent(train: Labels, class_names: Sequence[object], where: str) -> DataError:
    """Return the error that names the first class without a training image."""
    present = np.unique(train)
    gaps = np.flatnonzero(present != np.arange(len(present)))
    index = int(gaps[0]) if gaps.size else len(present)
    return DataError(
        f"{where}: class {index} ({class_names[index]}) has no training image; add some, or renumber the classes"
    )
