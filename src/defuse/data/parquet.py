"""Labelled images from Parquet files, in the layout of Hugging Face's image data sets."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from defuse.data.reader import Reader, Source
from defuse.data.settings import DEFAULT_SETTINGS, ReadSettings
from defuse.data.tables import SPLITS, Columns, Table, pick_columns, read_tables
from defuse.data.text import printable, reason_of
from defuse.errors import DataError

BATCH = 256
"""How many rows' encoded images are in memory at a time."""


@dataclass(frozen=True)
class ParquetReader(Reader):
    """Reads one .parquet file, all train; or a folder with ``train-*.parquet`` and maybe ``test-*``, ``validation-*``.

    The files may also lie in a folder ``data`` within. The column of images holds the bytes of image files, or maps of
    ``bytes`` and ``path`` (a path counts from the file's folder, where there are no bytes). The column of labels holds
    text, or integers with class names in the metadata that Hugging Face writes. Other files and columns are left alone.

    Attributes:
        path: the file or folder.
        class_names: one name per class index; wins over the files' own. Labels that are text must be among them.
        settings: ``size``, ``skip_unreadable``, ``image_column`` and ``label_column`` matter.
        group_column: the column that says which training images show the same thing.
    """

    path: Path
    class_names: tuple[str, ...] | None = None
    settings: ReadSettings = DEFAULT_SETTINGS
    group_column: str | None = None

    def read(self) -> Source:
        """Read and check every split.

        Raises:
            DataError: see ``defuse.data.tables``; or a file is missing, unreadable, no Parquet, or has other columns.
        """
        where = printable(self.path)
        tables = {
            split: [_table(path, self.settings, self.group_column if split == "train" else None) for path in paths]
            for split, paths in _files(self.path).items()
        }
        return read_tables(tables, self.class_names, self.settings, where)


def parquet_files(folder: Path) -> Sequence[Path]:
    """Return the Parquet files in a folder, or else in the folder ``data`` within, sorted."""
    for place in (folder, folder / "data"):
        try:
            found = [path for path in sorted(place.iterdir()) if path.suffix.lower() == ".parquet"]
        except OSError:
            continue
        if visible := [path for path in found if not path.name.startswith(".")]:
            return visible
    return ()


def _files(path: Path) -> dict[str, Sequence[Path]]:
    """Return each split's files."""
    if not path.is_dir():
        return {"train": [path]}
    found = parquet_files(path)
    splits = {split: [file for file in found if _is_of(file.stem, names)] for split, names in SPLITS.items()}
    if not splits["train"]:
        names = printable(", ".join(file.name for file in found)) or "none"
        raise DataError(f"{printable(path)}: expected files named train-*.parquet, found {names}")
    return {split: files for split, files in splits.items() if files}


def _is_of(stem: str, names: Sequence[str]) -> bool:
    """Tell whether a file's name starts with a split's, as a word: train-00000-of-00001, train, train_2."""
    return any(re.match(rf"{name}(?![a-z])", stem.lower()) for name in names)


def _table(path: Path, settings: ReadSettings, group_column: str | None) -> Table:
    where = printable(path)
    with _reading(where):
        file = pq.ParquetFile(path)
        schema = file.schema_arrow
    columns = pick_columns(schema.names, settings, group_column, where)
    return Table(
        where=where,
        columns=columns,
        images=_images(path, columns),
        labels=_values(file, columns.label, where),
        groups=[] if columns.group is None else _values(file, columns.group, where),
        names=_class_names(schema.metadata or {}, columns.label),
        folder=path.parent,
    )


@contextmanager
def _reading(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{where}: not found") from None
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise DataError(f"{where}: cannot be read as Parquet ({reason_of(error)})") from None


def _values(file: pq.ParquetFile, column: str, where: str) -> Sequence[Any]:
    with _reading(where):
        values: list[Any] = file.read(columns=[column])[column].to_pylist()
    return values


def _images(path: Path, columns: Columns) -> Iterator[Any]:
    """Yield the images of a file, which is opened when the first is asked for."""
    with _reading(printable(path)), pq.ParquetFile(path) as file:
        for batch in file.iter_batches(BATCH, columns=[columns.image]):
            yield from batch.column(columns.image).to_pylist()


def _class_names(metadata: Mapping[bytes, bytes], label: str) -> tuple[str, ...] | None:
    """Return the class names that Hugging Face's datasets noted for a column."""
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"][label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else None
