"""Dividing a source into what a run may search, choose and score with."""

from typing import Annotated, TypeAlias

import numpy as np
from jaxtyping import Int64
from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.data.grouping import choose_groups
from defuse.data.reader import Source
from defuse.errors import DataError
from defuse.records import LabelledImages, Splits
from defuse.seeds import numpy_rng
from defuse.types import STRICT, Labels, Mask

Counts: TypeAlias = Int64[np.ndarray, " k"]
"""How many images of each class."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SplitSettings:
    """Which share of the images goes where."""

    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of each class's training images that is kept for choosing; unused where the source has such a split."""
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Share of each class's training images that is kept for scoring; unused where the source has a test split."""
    limit: Annotated[int, Field(ge=1)] | None = None
    """Most reference images to use, for quick runs; classes keep their shares. Validation and test stay whole."""


def split(source: Source, settings: SplitSettings, *, seed: int) -> Splits:
    """Return the splits of a run.

    The source's own splits are used as they are. What is missing is cut from the training images, class by class: first
    the test split (a source without one is tested on images that it holds as training images), then the validation
    split. Of a class with m images, ``share * m`` go, rounded half up, but at least one, and at least one is left
    for each split that is still to come. Images keep their order and their ``rows``.

    Where the source has groups, whole groups go, so that none falls on both sides of a cut: as many as come near to the
    same number of images of each class (``defuse.data.grouping`` says how near), at least one group of each class, and
    at least one is left for each split that is still to come. Without groups, frames of one object may fall on both
    sides. Groups of validation images are kept where they were cut from the training images.

    Raises:
        DataError: a class has too few images or groups to be divided, or ``limit`` is below the number of classes.
    """
    reference, test, validation = source.train, source.test, source.validation
    groups, validation_groups = source.groups, None
    if test is None:
        goes = _cut(reference, groups, settings.test, seed, "test", stay=2 if validation is None else 1)
        reference, test, groups = reference.take(~goes), reference.take(goes), None if groups is None else groups[~goes]
    if validation is None:
        goes = _cut(reference, groups, settings.validation, seed, "validation", stay=1)
        reference, validation = reference.take(~goes), reference.take(goes)
        validation_groups = None if groups is None else groups[goes]
    if settings.limit is not None and settings.limit < len(reference):
        reference = _thin(reference, settings.limit, seed)
    return Splits(reference, validation, test, validation_groups)


def _cut(images: LabelledImages, groups: Labels | None, share: float, seed: int, name: str, *, stay: int) -> Mask:
    """Return which images go; at least ``stay`` images, or groups, of each class stay."""
    counts = _counts(images)
    if counts.min() <= stay:
        raise _scarce(images, int(counts.argmin()), "images", name)
    half_up = 0.5 + 1e-9  # 0.145 * 100 is a little below 14.5
    quota = np.clip(np.floor(share * counts + half_up).astype(np.int64), 1, counts - stay)
    if groups is not None:
        rng = numpy_rng(seed, "split", name, "groups")
        choice = choose_groups(groups, images.labels, quota, stay=stay, rng=rng)
        if choice.goes is None:
            raise _scarce(images, choice.scarce or 0, "groups", name)
        return choice.goes
    goes = np.zeros(len(images), dtype=bool)
    goes[_draw(images, quota, seed, name)] = True
    return goes


def _scarce(images: LabelledImages, label: int, what: str, name: str) -> DataError:
    return DataError(
        f"class {label} ({images.class_names[label]}) has too few {'training images' if what == 'images' else what} to "
        f"cut a {name} split; add {what}, or store the splits in the source"
    )


def _thin(images: LabelledImages, limit: int, seed: int) -> LabelledImages:
    """Return ``limit`` images: one a class, the others shared out in proportion (largest remainder)."""
    counts = _counts(images)
    if limit < len(counts):
        raise DataError(f"data.split.limit: expected at least one image a class ({len(counts)}), got {limit}")
    shares = (limit - len(counts)) * (counts - 1) / max(1, int((counts - 1).sum()))
    quota = np.floor(shares).astype(np.int64)
    order = np.argsort(quota - shares, kind="stable")
    quota[order[: limit - len(counts) - int(quota.sum())]] += 1
    return images.take(np.sort(_draw(images, quota + 1, seed, "limit")))


def _counts(images: LabelledImages) -> Counts:
    return np.bincount(images.labels, minlength=len(images.class_names))


def _draw(images: LabelledImages, quota: Counts, seed: int, name: str) -> Labels:
    """Return the places of ``quota[k]`` images of each class k, drawn without replacement."""
    drawn = [
        numpy_rng(seed, "split", name, label).permutation(np.flatnonzero(images.labels == label))[:number]
        for label, number in enumerate(quota.tolist())
    ]
    return np.concatenate(drawn)
