"""What tables of images have in common, whoever stores them: which columns to read, and what their values mean."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from defuse.data.checks import to_class_names, to_groups, to_source
from defuse.data.decode import Picture, Size, UnreadableError, decode, decode_file
from defuse.data.gather import Load, gather
from defuse.data.reader import Source
from defuse.data.settings import ReadSettings
from defuse.data.text import printable
from defuse.errors import DataError

IMAGE_COLUMNS = ("image", "img")
LABEL_COLUMNS = ("label", "labels", "fine_label", "target")

SPLITS: Mapping[str, Sequence[str]] = {
    "train": ("train",),
    "validation": ("validation", "valid", "val"),
    "test": ("test",),
}
"""Split -> names that it may have. The train split is needed, the others are optional."""


@dataclass(frozen=True)
class Columns:
    """The names of the columns that are read; ``group`` is None where there are no groups."""

    image: str
    label: str
    group: str | None


@dataclass(frozen=True)
class Table:
    """A split of a data set, or one file of it.

    Attributes:
        where: names it in messages.
        columns: where its values come from.
        images: one image a row: bytes, or a map with ``bytes`` and ``path``. They are asked for once, in order.
        labels: one integer or text a row.
        groups: one integer or text a row; empty where there are no groups.
        names: the class names that it brings along for integers.
        folder: what an image's ``path`` starts from.
    """

    where: str
    columns: Columns
    images: Iterable[Any]
    labels: Sequence[Any]
    groups: Sequence[Any] = ()
    names: tuple[str, ...] | None = None
    folder: Path = Path()

    def at(self, column: str, row: int) -> str:
        """Return what names one value in a message; rows count from 0."""
        return f"{self.where}: column {column}, row {row}"


Tables: TypeAlias = Mapping[str, Sequence[Table]]
"""Split -> its tables, in order, at least one."""


def pick_columns(found: Sequence[str], settings: ReadSettings, group: str | None, where: str) -> Columns:
    """Return the columns to read: those that the settings name, or else the first usual name that is there.

    Raises:
        DataError: there is no such column.
    """
    return Columns(
        _pick(found, settings.image_column, IMAGE_COLUMNS, "data.image_column", where),
        _pick(found, settings.label_column, LABEL_COLUMNS, "data.label_column", where),
        None if group is None else _pick(found, group, (), "data.groups", where),
    )


def _pick(found: Sequence[str], wanted: str | None, usual: Sequence[str], setting: str, where: str) -> str:
    candidates = usual if wanted is None else [wanted]
    for name in candidates:
        if name in found:
            return name
    raise DataError(
        f"{where}: expected a column {' or '.join(candidates)}, found {', '.join(found) or 'none'}; "
        f"name it with {setting}"
    )


def read_tables(tables: Tables, class_names: tuple[str, ...] | None, settings: ReadSettings, where: str) -> Source:
    """Decode the images of every split.

    Labels that are text become indices: places in ``class_names``, or else in the sorted texts of the train split.

    Raises:
        DataError: see ``defuse.data.checks`` and ``defuse.data.gather``; or a value is missing or of another kind.
    """
    names = _class_names(tables, class_names, where)
    loads = {
        split: chain.from_iterable(_loads(table, _indices(table, names), settings.size) for table in parts)
        for split, parts in tables.items()
    }
    groups = [group for table in tables["train"] for group in _present(table, table.columns.group, table.groups)]
    count = sum(len(table.labels) for table in tables["train"])
    gathered = gather(loads, settings, where)
    return to_source(
        gathered.splits,
        names,
        where,
        groups=to_groups(np.array(groups), f"{where}: groups", count=count) if groups else None,
        skipped=gathered.skipped,
    )


def _class_names(tables: Tables, class_names: tuple[str, ...] | None, where: str) -> tuple[str, ...] | None:
    """Return the class names that were given, that the tables bring along, or that are their labels."""
    if class_names is not None:
        return to_class_names(class_names, f"{where}: class_names")
    texts = {label for table in tables["train"] for label in table.labels if isinstance(label, str)}
    if texts:
        return to_class_names(sorted(texts), where)
    first, *others = chain.from_iterable(tables.values())
    for other in others:
        if other.names != first.names:
            raise DataError(f"{other.where}: its class names differ from those of {first.where}; give class_names")
    return None if first.names is None else to_class_names(first.names, where)


def _present(table: Table, column: str | None, values: Sequence[Any]) -> Sequence[Any]:
    """Return values of which none is missing."""
    if column is not None and None in values:
        raise DataError(f"{table.at(column, list(values).index(None))}: the value is missing (null)")
    return values


def _indices(table: Table, names: tuple[str, ...] | None) -> Iterator[int]:
    column = table.columns.label
    places = {name: place for place, name in enumerate(names or ())}
    for row, label in enumerate(_present(table, column, table.labels)):
        if isinstance(label, str) and label in places:
            yield places[label]
        elif isinstance(label, str):
            raise DataError(
                f"{table.at(column, row)}: {label!r} is none of the classes {', '.join(places) or '0, 1 ...'}"
            )
        elif not isinstance(label, int) or isinstance(label, bool):
            kind = type(label).__name__
            raise DataError(f"{table.at(column, row)}: expected a label as an integer or text, got {kind}")
        elif not 0 <= label <= np.iinfo(np.int64).max:
            raise DataError(f"{table.at(column, row)}: expected class indices from 0, got {label}")
        else:
            yield label


def _loads(table: Table, labels: Iterable[int], size: Size | None) -> Iterator[Load]:
    for row, (image, label) in enumerate(zip(table.images, labels, strict=True)):
        yield partial(_load, table, row, image, label, size)


def _load(table: Table, row: int, image: Any, label: int, size: Size | None) -> Picture:
    where = table.at(table.columns.image, row)
    content, path = (image.get("bytes"), image.get("path")) if isinstance(image, Mapping) else (image, None)
    if isinstance(content, bytes):
        return Picture(where, decode(content, where, size), label)
    if content is not None:
        raise DataError(f"{where}: expected an image's bytes, got {type(content).__name__}")
    if not isinstance(path, str):
        raise UnreadableError(where, "it is missing (null)")
    return Picture(where, decode_file(table.folder / path, f"{where} ({printable(path)})", size), label)
