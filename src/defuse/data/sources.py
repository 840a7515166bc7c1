"""Finding the reader for what a user names."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from defuse.data.folder import FolderReader
from defuse.data.groups import GroupedReader, group_file
from defuse.data.hf import HuggingFaceReader
from defuse.data.mat import MatReader
from defuse.data.npz import NpzReader
from defuse.data.parquet import ParquetReader, parquet_files
from defuse.data.reader import Reader
from defuse.data.settings import DEFAULT_SETTINGS, ReadSettings, as_path
from defuse.data.signs import SIGN_NAMES, SignsReader
from defuse.data.vision import TorchvisionReader
from defuse.errors import DataError

SIGNS = "signs"
"""The word for rendered traffic signs; a file of that name is reached as ``./signs``."""

TORCHVISION, HUGGING_FACE = "torchvision:", "hf:"
"""What names of data sets begin with."""

READABLE = (
    f"an .npz file, a folder of class folders, Parquet files, SVHN's .mat files, {TORCHVISION}NAME, "
    f"{HUGGING_FACE}NAME, or the word {SIGNS!r} for rendered traffic signs"
)

_IMAGES = frozenset({"size", "skip_unreadable"})
_TABLE = _IMAGES | {"image_column", "label_column"}
HEEDED: Mapping[type[Reader], frozenset[str]] = {
    FolderReader: _IMAGES,
    ParquetReader: _TABLE,
    TorchvisionReader: _IMAGES | {"root", "download"},
    HuggingFaceReader: _TABLE | {"download"},
}
"""Reader -> settings that mean something to it; those about groups mean something to all."""


def open_source(
    source: str | Path, class_names: Sequence[str] | None = None, settings: ReadSettings = DEFAULT_SETTINGS
) -> Reader:
    """Return the reader for a data set; nothing is read yet.

    Args:
        source: a path, where ``~`` is the home folder; ``torchvision:NAME``, ``hf:NAME``, or the word ``signs``.
        class_names: one name per class index, for a source that holds none or other ones.
        settings: how to read it.

    Raises:
        DataError: nothing here reads such a source; a setting means nothing to it; or signs, which have names, are
            given others.
    """
    names = None if class_names is None else tuple(class_names)
    groups = None if settings.groups is None else group_file(settings.groups)
    column = settings.groups if groups is None else None
    reader = _reader(str(source), names, settings, column)
    _check_settings(reader, settings, column, str(source))
    if groups is None and not settings.groups_within_class:
        return reader
    return GroupedReader(reader, groups, settings.groups_within_class)


def _reader(source: str, names: tuple[str, ...] | None, settings: ReadSettings, group_column: str | None) -> Reader:
    if source == SIGNS:
        if names is not None and names != SIGN_NAMES:
            raise DataError(f"{SIGNS}: has class names of its own ({', '.join(SIGN_NAMES)}); leave class_names out")
        return SignsReader()
    if source.startswith(TORCHVISION):
        return TorchvisionReader(source.removeprefix(TORCHVISION), names, settings)
    if source.startswith(HUGGING_FACE):
        return HuggingFaceReader(source.removeprefix(HUGGING_FACE), names, settings, group_column)
    return _path_reader(source, names, settings, group_column)


def _path_reader(
    source: str, names: tuple[str, ...] | None, settings: ReadSettings, group_column: str | None
) -> Reader:
    path = as_path(source)
    ending = path.suffix.lower()
    if ending == ".npz":
        return NpzReader(path, names)
    if ending == ".mat":
        return MatReader(path, names)
    if ending == ".parquet" or (source and parquet_files(path)):  # an empty path would be the current folder
        return ParquetReader(path, names, settings, group_column)
    if source and path.is_dir():
        return FolderReader(path, names, settings)
    what = f"a file that ends in {path.suffix!r}" if ending else "that"
    raise DataError(f"{source}: cannot read {what}; what can be read: {READABLE}")


def _check_settings(reader: Reader, settings: ReadSettings, group_column: str | None, source: str) -> None:
    """Refuse settings that would change nothing."""
    heeded = HEEDED.get(type(reader), frozenset())
    for name in ReadSettings.model_fields:
        changed = getattr(settings, name) != getattr(DEFAULT_SETTINGS, name)
        if changed and name not in heeded and name not in {"groups", "groups_within_class"}:
            raise DataError(f"{source}: data.{name} means nothing to this kind of data set; leave it out")
    if group_column is not None and not isinstance(reader, ParquetReader | HuggingFaceReader):
        raise DataError(f"data.groups: expected PATH.npz:KEY, got {group_column!r}; only tables have columns")
