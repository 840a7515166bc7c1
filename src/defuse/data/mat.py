"""Labelled images from MATLAB files, in the layout of the Street View House Numbers (SVHN), 32 x 32 format."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from defuse.data.checks import Arrays, to_class_names, to_images, to_labels, to_source
from defuse.data.reader import Reader, Source
from defuse.data.text import printable, reason_of
from defuse.errors import DataError

_HDF5 = (b"MATLAB 7.3", b"\x89HDF")
"""How files of version 7.3 begin. They are HDF5, which SciPy does not read."""

_DIMENSIONS = 4
_TEN = 10
"""SVHN's label of the digit 0."""


@dataclass(frozen=True)
class MatReader(Reader):
    """Reads one .mat file as the train split, and its sibling as the test split where there is one.

    The sibling's name has ``test`` for ``train``, as in train_32x32.mat and test_32x32.mat. A file holds ``X``, uint8
    or floats in [0, 1] of shape (h, w, channels, n), and ``y``, n integers. A 10 in labels without a 0 is SVHN's digit
    0. Only these two arrays are read, and no file can make SciPy run code.

    Attributes:
        path: the file.
        class_names: one name per class index; by default "0", "1" and so on.
    """

    path: Path
    class_names: tuple[str, ...] | None = None

    def read(self) -> Source:
        """Read and check both splits.

        Raises:
            DataError: see ``defuse.data.checks``; or a file is missing, unreadable, of version 7.3, or holds other
                variables.
        """
        where = printable(self.path)
        names = None if self.class_names is None else to_class_names(self.class_names, f"{where}: class_names")
        splits = {"train": _arrays(self.path)}
        sibling = self.path.with_name(self.path.name.replace("train", "test"))
        if sibling != self.path and sibling.exists():
            splits["test"] = _arrays(sibling)
        return to_source(splits, names, where)


def _arrays(path: Path) -> Arrays:
    where = printable(path)
    variables = _variables(path, where)
    for key in ("X", "y"):
        if not isinstance(variables.get(key), np.ndarray):
            raise DataError(f"{where}: expected the arrays X and y of SVHN's 32 x 32 format, but {key} is missing")
    x, y = variables["X"], variables["y"]
    if x.ndim == _DIMENSIONS - 1 and y.size == 1:  # MATLAB drops a last dimension of 1
        x = x[..., None]
    if x.ndim != _DIMENSIONS:
        raise DataError(f"{where}: X: expected shape (height, width, channels, n), got {x.shape}")
    images = to_images(x.transpose(3, 0, 1, 2), f"{where}: X")
    labels = to_labels(_whole(y), f"{where}: y", count=len(images))
    return Arrays(images, np.where(labels == _TEN, 0, labels) if labels.min() > 0 else labels)


def _variables(path: Path, where: str) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            if file.read(10).startswith(_HDF5):
                raise DataError(f"{where}: is of version 7.3 (HDF5); save it in MATLAB with -v7, or store it as .npz")
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what SciPy thinks of other variables
                variables: dict[str, Any] = loadmat(file, variable_names=["X", "y"])
    except FileNotFoundError:
        raise DataError(f"{where}: not found") from None
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  a damaged file makes SciPy raise nearly anything
        raise DataError(f"{where}: cannot be read as a .mat file ({reason_of(error)})") from None
    return variables


def _whole(labels: np.ndarray) -> np.ndarray:
    """Return labels as integers where they are whole numbers stored as floats, MATLAB's usual type."""
    if labels.dtype.kind == "f" and bool(np.isfinite(labels).all()) and bool((labels == np.rint(labels)).all()):
        return labels.astype(np.int64)
    return labels
