"""Labelled images from NumPy's .npz archives, with the keys of MedMNIST or of Keras."""

import zipfile
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from defuse.data.checks import Arrays, to_class_names, to_groups, to_images, to_labels, to_source
from defuse.data.reader import Reader, Source
from defuse.data.text import reason_of
from defuse.errors import DataError
from defuse.types import Labels

KEYS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "MedMNIST": {
        "train": ("train_images", "train_labels"),
        "validation": ("val_images", "val_labels"),
        "test": ("test_images", "test_labels"),
    },
    "Keras": {
        "train": ("x_train", "y_train"),
        "validation": ("x_val", "y_val"),
        "test": ("x_test", "y_test"),
    },
}
"""Convention -> split -> keys of images and labels. The train split is needed, the others are optional."""

CLASS_NAMES = "class_names"
"""Optional key: an array of text, one name per class index."""

GROUPS = "train_groups"
"""Optional key: integers or text that are equal for training images of the same thing, such as one track or patient."""

_DAMAGE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
"""What NumPy and zipfile raise on damaged, encrypted or foreign files (NotImplementedError is a RuntimeError)."""


@dataclass(frozen=True)
class NpzReader(Reader):
    """Reads one .npz file.

    Images are uint8, or floats in [0, 1], of shape (n, h, w) or (n, h, w, c) with 1 or 3 channels; labels are integers
    of shape (n,) or (n, 1). Object arrays are refused: they would have to be unpickled, which can run code.
    An array ``train_groups`` says which training images show the same thing.

    Attributes:
        path: the file.
        class_names: one name per class index; wins over the file's own ``class_names``.
    """

    path: Path
    class_names: tuple[str, ...] | None = None

    def read(self) -> Source:
        """Read and check every split.

        Raises:
            DataError: see ``defuse.data.checks``; or the file is missing, unreadable, no npz, or has other keys.
        """
        where = str(self.path)
        with ExitStack() as stack:
            archive = open_archive(self.path, stack)
            splits = _splits(archive, where)
            groups = _groups(archive, where, count=len(splits["train"].labels))
            return to_source(splits, self._names(archive), where, groups=groups)

    def _names(self, archive: NpzFile) -> tuple[str, ...] | None:
        where = f"{self.path}: {CLASS_NAMES}"
        if self.class_names is not None:
            return to_class_names(self.class_names, where)
        if CLASS_NAMES not in archive:
            return None
        array = read_array(archive, CLASS_NAMES, str(self.path))
        if array.dtype.kind != "U" or array.ndim != 1:
            raise DataError(f"{where}: expected a list of text, got {array.dtype} of shape {array.shape}")
        return to_class_names([str(name) for name in array], where)


def open_archive(path: Path, stack: ExitStack) -> NpzFile:
    """Open an archive until ``stack`` closes; its arrays are read one by one, when asked for.

    Raises:
        DataError: it is missing, unreadable or no npz.
    """
    try:
        file = stack.enter_context(path.open("rb"))
        if not zipfile.is_zipfile(file):
            raise DataError(f"{path}: is no .npz file (no zip archive); write one with numpy.savez_compressed")
        file.seek(0)
        archive: NpzFile = stack.enter_context(np.load(file, allow_pickle=False))
    except FileNotFoundError:
        raise DataError(f"{path}: not found") from None
    except _DAMAGE as error:
        raise DataError(f"{path}: cannot be read ({reason_of(error)})") from None
    return archive


def _splits(archive: NpzFile, where: str) -> dict[str, Arrays]:
    convention = next((keys for keys in KEYS.values() if any(key in archive for key in keys["train"])), None)
    if convention is None:
        expected = ", or ".join(f"{' and '.join(keys['train'])} ({name})" for name, keys in KEYS.items())
        raise DataError(f"{where}: expected the keys {expected}, got {', '.join(sorted(archive)) or 'none'}")
    splits = {}
    for split, (images, labels) in convention.items():
        if split != "train" and images not in archive and labels not in archive:
            continue
        for key, other in ((images, labels), (labels, images)):
            if key not in archive:
                raise DataError(f"{where}: {other} is there, but {key} is missing")
        pictures = to_images(read_array(archive, images, where), f"{where}: {images}")
        classes = to_labels(read_array(archive, labels, where), f"{where}: {labels}", count=len(pictures))
        splits[split] = Arrays(pictures, classes)
    return splits


def _groups(archive: NpzFile, where: str, *, count: int) -> Labels | None:
    if GROUPS not in archive:
        return None
    return to_groups(read_array(archive, GROUPS, where), f"{where}: {GROUPS}", count=count)


def read_named(path: Path, key: str, *, use: str = "", advice: str = "") -> np.ndarray:
    """Return one array of an archive.

    Args:
        path: the archive.
        key: the array's name.
        use: what it is for, said where there is no such array.
        advice: what to do then.

    Raises:
        DataError: the archive cannot be read, or holds no such array.
    """
    with ExitStack() as stack:
        archive = open_archive(path, stack)
        if key not in archive:
            keys = ", ".join(sorted(archive)) or "none"
            raise DataError(f"{path}: holds no array {key!r}{use}, only {keys}{advice}")
        return read_array(archive, key, str(path))


def read_array(archive: NpzFile, key: str, where: str) -> np.ndarray:
    """Return one array, which is never unpickled.

    Raises:
        DataError: it is damaged, holds objects, or is no array.
    """
    try:
        array = archive[key]
    except _DAMAGE as error:
        if "allow_pickle" in str(error):
            raise DataError(
                f"{where}: {key} is an object array, which is never unpickled; store it as one numeric array"
            ) from None
        raise DataError(f"{where}: {key} is damaged ({reason_of(error)})") from None
    if not isinstance(array, np.ndarray):  # NumPy hands out the bytes of members that are no arrays
        raise DataError(f"{where}: {key} is no NumPy array")
    return array
