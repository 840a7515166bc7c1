"""The data sets of the benchmark: images with what their slices are cut by."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from defuse.bench.slices import SHARE, Values
from defuse.data import ReadSettings, SignSettings, SplitSettings, open_source, render, split
from defuse.data.attributes import ATTRIBUTES
from defuse.errors import DataError
from defuse.records import LabelledImages, Splits
from defuse.seeds import derive, numpy_rng
from defuse.types import ByteImages, Labels, Mask

LIMIT = 12_000
"""Most training images."""

VALIDATION = 0.05
SIGNS = {"train": 9_000, "validation": 1_500, "test": 6_000}

MARKED = SHARE
"""Share of each class that bears the mark, in the data set that has one: those of one class are its slice."""

MARK = "mark"
"""Attribute: how far the upper edge differs from a plain yellow band; low is marked."""

BATCH = 2_000

BAND = 6
"""Height of the mark in pixels: a square of 4 in a corner is more than a generator of 16 numbers draws."""

YELLOW = (255, 220, 0)


@dataclass(frozen=True)
class Pool:
    """Images and their attributes.

    Attributes:
        images: (n, h, w, c) with labels.
        values: attribute or factor -> (n,).
    """

    images: LabelledImages
    values: Mapping[str, Values]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Labels | Mask) -> "Pool":
        """Return the images at ``index`` with their attributes."""
        return Pool(self.images.take(index), {name: of[index] for name, of in self.values.items()})


@dataclass(frozen=True)
class Pools:
    """One data set, whole: ``train`` to teach with, ``validation`` to choose with, ``test`` to score with."""

    train: Pool
    validation: Pool
    test: Pool

    def keep(self, chosen: Callable[[Pool], Mask]) -> "Pools":
        """Return what remains of every part where ``chosen`` says so."""
        return Pools(*(part.take(chosen(part)) for part in (self.train, self.validation, self.test)))

    @property
    def splits(self) -> Splits:
        """The images alone, as a run looks at them."""
        return Splits(self.train.images, self.validation.images, self.test.images)


def measure(images: ByteImages, attribute: str) -> Values:
    """Return one mechanical attribute of images, or how unlike the mark their upper edge is, (n,)."""
    if attribute == MARK:
        return _unmarked(images)
    found = next(each for each in ATTRIBUTES if each.name == attribute)
    return np.concatenate([found.measure(part / 255) for part in np.array_split(images, len(images) // BATCH + 1)])


def read_pools(name: str, attributes: frozenset[str], folder: Path | None, seed: int) -> Pools:
    """Read one of the data sets: ``mnist``, ``fashion``, ``gtsrb``, or the rendered ``signs`` and ``marked``.

    Args:
        name: of the data set.
        attributes: what its slices are cut by: mechanical attributes, the mark, or ``factor.NAME`` of the renderer.
        folder: where the archives lie (see ``FILES``); rendered signs need none.
        seed: of the split, or of the rendering.

    Raises:
        DataError: the archive is missing or cannot be used; the message says what to give.
    """
    if name in ("signs", "marked"):
        return _rendered(attributes, seed, marked=name == "marked")
    file, groups = FILES[name]
    path = _required(folder, file, name)
    settings = ReadSettings()
    if groups is not None:
        settings = ReadSettings(groups=f"{_required(folder, groups, name)}:train_track", groups_within_class=True)
    source = open_source(path, settings=settings).read()
    sizes = SplitSettings(validation=VALIDATION if groups is None else 2 * VALIDATION, limit=LIMIT)
    parts = split(source, sizes, seed=derive(seed, "planted", "split"))
    return Pools(*(_measured(part, attributes) for part in (parts.reference, parts.validation, parts.test)))


FILES: Mapping[str, tuple[str, str | None]] = {
    "mnist": ("mnist.npz", None),
    "fashion": ("fashion_mnist.npz", None),
    "gtsrb": ("gtsrb.npz", "gtsrb_meta.npz"),
}
"""Data set -> archive with the keys of MedMNIST, and the one whose ``train_track`` says which images are one sign."""


def require_files(names: Iterable[str], folder: Path | None) -> None:
    """Check that the archives of these data sets are there, before any work is done.

    Raises:
        DataError: one is not.
    """
    for name in names:
        for file in FILES.get(name, ()):
            if file is not None:
                _required(folder, file, name)


def _required(folder: Path | None, file: str, name: str) -> Path:
    if folder is None:
        raise DataError(f"--data: {name} needs {file}; give the folder that holds it, or choose other --tasks")
    path = folder / file
    if not path.exists():
        raise DataError(f"{path}: not found; give the folder that holds {file} as --data, or choose other --tasks")
    return path


def _measured(images: LabelledImages, attributes: frozenset[str]) -> Pool:
    return Pool(images, {name: measure(images.images, name) for name in sorted(attributes)})


def _rendered(attributes: frozenset[str], seed: int, *, marked: bool) -> Pools:
    parts = []
    for part, count in SIGNS.items():
        signs = render(SignSettings(), count, seed=derive(seed, "planted", "signs", part))
        images = signs.images
        if marked:
            chosen = _some_of_each(images.labels, derive(seed, "planted", "mark", part))
            images = LabelledImages(_mark(images.images, chosen), images.labels, images.class_names, images.rows)
        factors = {f"factor.{factor}": of for factor, of in signs.factors.items()}
        measured = _measured(images, attributes - factors.keys())
        parts.append(Pool(images, {**measured.values, **factors}))
    return Pools(*parts)


def _some_of_each(labels: Labels, seed: int) -> Mask:
    """Return a mask with ``MARKED`` of each class, rounded up, (n,)."""
    chosen = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels).tolist():
        rows = numpy_rng(seed, label).permutation(np.flatnonzero(labels == label))
        chosen[rows[: math.ceil(MARKED * len(rows))]] = True
    return chosen


def _mark(images: ByteImages, chosen: Mask) -> ByteImages:
    """Return the images, the chosen ones with a yellow band along their upper edge."""
    changed = images.copy()
    changed[chosen, :BAND] = np.array(YELLOW, dtype=np.uint8)
    return changed


def _unmarked(images: ByteImages) -> Float64[np.ndarray, " n"]:
    edge = images[:, :BAND].astype(np.float64)
    return np.abs(edge - np.array(YELLOW)).mean((1, 2, 3)) / 255
