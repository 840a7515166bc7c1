"""Labelled images from a folder of class folders."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from defuse.data.checks import to_class_names, to_source
from defuse.data.decode import EXTENSIONS, Picture, Size, decode_file
from defuse.data.gather import Load, gather
from defuse.data.reader import Reader, Source
from defuse.data.settings import DEFAULT_SETTINGS, ReadSettings
from defuse.data.text import printable, reason_of
from defuse.errors import DataError

SPLITS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("val", "valid", "validation"),
    "test": ("test",),
}
"""Split -> names that its folder may have. The train split is needed, the others are optional."""


@dataclass(frozen=True)
class FolderReader(Reader):
    """Reads ``ROOT/train/CLASS/*.png``, and the same under ``test`` and ``val``; or ``ROOT/CLASS/*.png``, all train.

    A class is named as its folder, in sorted order. What begins with a dot is left alone, and so are files with other
    endings than images have, and other folders beside ``train``. A folder within a class folder is an error, since it
    could be a class or a part of one. Links are followed. ``defuse.data.decode`` says what becomes of each kind of
    image.

    Attributes:
        path: the folder.
        class_names: the order of the classes; these and no others are the folders of the train split.
        settings: ``size`` and ``skip_unreadable`` matter.
    """

    path: Path
    class_names: tuple[str, ...] | None = None
    settings: ReadSettings = DEFAULT_SETTINGS

    def read(self) -> Source:
        """Read and check every image.

        Raises:
            DataError: see ``defuse.data.checks`` and ``defuse.data.gather``; or the folders are not as described.
        """
        where = printable(self.path)
        roots = _split_folders(self.path)
        classes = {split: _folders(root) for split, root in roots.items()}
        if not classes["train"]:
            raise DataError(f"{printable(roots['train'])}: expected one folder of images for each class, found none")
        names = self._names(classes["train"], printable(roots["train"]))
        loads = {
            split: list(_loads(roots[split], names, found, self.settings.size)) for split, found in classes.items()
        }
        gathered = gather(loads, self.settings, where)
        return to_source(gathered.splits, names, where, skipped=gathered.skipped)

    def _names(self, folders: Sequence[str], where: str) -> tuple[str, ...]:
        if self.class_names is None:
            return to_class_names(folders, where)
        names = to_class_names(self.class_names, f"{where}: class_names")
        missing, more = sorted(set(names) - set(folders)), sorted(set(folders) - set(names))
        if missing:
            raise DataError(f"{where}: class_names holds {missing[0]!r}, but there is no such folder")
        if more:
            raise DataError(f"{where}: the folder {more[0]!r} is not in class_names; add it, or move it away")
        return names


def _split_folders(root: Path) -> dict[str, Path]:
    """Return the folder of each split: the root itself for train, unless it holds a ``train`` with folders in it."""
    folders = _folders(root)
    if "train" in folders and _folders(root / "train"):
        found = {split: [name for name in names if name in folders] for split, names in SPLITS.items()}
        for split, names in found.items():
            if len(names) > 1:
                raise DataError(
                    f"{printable(root)}: {' and '.join(names)} both could be the {split} split; keep one of them"
                )
        return {split: root / names[0] for split, names in found.items() if names}
    known = {name for names in SPLITS.values() for name in names}
    if folders and known.issuperset(folders):  # "train" alone may be a class, beside "car" and "bus"
        raise DataError(
            f"{printable(root)}: expected a folder train that holds one folder for each class, "
            f"found {', '.join(folders)} without that"
        )
    return {"train": root}


def _folders(root: Path) -> list[str]:
    """Return the names of the visible folders in a folder, sorted."""
    return [entry.name for entry in _entries(root) if _is_folder(entry)]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except FileNotFoundError:
        raise DataError(f"{printable(folder)}: not found") from None
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be read ({reason_of(error)})") from None
    for entry in entries:
        if entry.name != printable(entry.name) and _is_folder(entry):
            raise DataError(
                f"{printable(folder)}: the folder name {entry.name!a} cannot be shown; give it another name"
            )
    return sorted(entries, key=lambda entry: entry.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image(entry: os.DirEntry[str]) -> bool:
    return Path(entry.name).suffix.lower() in EXTENSIONS


def _loads(root: Path, names: tuple[str, ...], folders: Sequence[str], size: Size | None) -> Iterator[Load]:
    """Yield what decodes each image file of a split, class by class."""
    _check_split(root, names, folders)
    for label, name in enumerate(names):
        if name in folders:
            for path in _images(root / name):
                yield partial(_load, path, label, size)


def _check_split(root: Path, names: tuple[str, ...], folders: Sequence[str]) -> None:
    for entry in _entries(root):
        if _is_image(entry) and not _is_folder(entry):
            raise DataError(f"{printable(entry.path)}: lies in no class folder; move it into one")
    for name in folders:
        if name not in names:
            raise DataError(f"{printable(root / name)}: there is no class of that name in the train split")


def _images(folder: Path) -> list[Path]:
    """Return the image files of a class, sorted."""
    entries = _entries(folder)
    for entry in entries:
        if _is_folder(entry):
            raise DataError(
                f"{printable(entry.path)}: a folder within a class folder; move its images into the class folder, "
                "or it beside the others if it is a class of its own"
            )
    images = [Path(entry.path) for entry in entries if _is_image(entry)]
    if not images:
        raise DataError(f"{printable(folder)}: holds no image; add some, or remove the folder")
    return images


def _load(path: Path, label: int, size: Size | None) -> Picture:
    where = printable(path)
    return Picture(where, decode_file(path, where, size), label)
