"""Hugging Face's data sets, by name."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from defuse.data.reader import Reader, Source
from defuse.data.settings import DEFAULT_SETTINGS, ReadSettings
from defuse.data.tables import SPLITS, Table, pick_columns, read_tables
from defuse.data.text import reason_of
from defuse.errors import DataError

OFFLINE = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")
"""Either of these variables keeps Hugging Face's libraries off the network: then they read their cache."""


@dataclass(frozen=True)
class HuggingFaceReader(Reader):
    """Reads what ``datasets.load_dataset`` returns for a name, or for ``NAME:CONFIGURATION``.

    That function asks the network even for what it has in its cache. So it is called only with ``download`` set, or
    with HF_HUB_OFFLINE=1 in the environment.

    Attributes:
        name: such as ``mnist``, ``user/birds`` or ``svhn:cropped_digits``.
        class_names: one name per class index; wins over the data set's own. Labels that are text must be among them.
        settings: ``size``, ``skip_unreadable``, ``image_column``, ``label_column`` and ``download`` matter.
        group_column: the column that says which training images show the same thing.
    """

    name: str
    class_names: tuple[str, ...] | None = None
    settings: ReadSettings = DEFAULT_SETTINGS
    group_column: str | None = None

    def read(self) -> Source:
        """Read and check every split.

        Raises:
            DataError: the library is not there, finds no such data set, or may not look; or see
                ``defuse.data.tables``.
        """
        datasets = self._library()
        offline = any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in OFFLINE)
        if not self.settings.download and not offline:
            raise DataError(
                f"{self._where}: would ask the network; set data.download=true to allow that, "
                f"or {OFFLINE[0]}=1 in the environment to read the cache"
            )
        name, _, configuration = self.name.partition(":")
        try:
            found = datasets.load_dataset(name, configuration or None)
        except Exception as error:  # noqa: BLE001  the network, the cache, the parser of any format
            raise DataError(f"{self._where}: cannot be loaded ({reason_of(error)})") from None
        tables = {
            split: [self._table(datasets, found[word], split) for word in words if word in found]
            for split, words in SPLITS.items()
        }
        if not tables["train"]:
            raise DataError(f"{self._where}: expected a split called train, found {', '.join(found) or 'none'}")
        tables = {split: parts for split, parts in tables.items() if parts}
        return read_tables(tables, self.class_names, self.settings, self._where)

    @property
    def _where(self) -> str:
        return f"hf:{self.name}"

    def _library(self) -> Any:
        try:
            return import_module("datasets")
        except (ImportError, RuntimeError) as error:
            raise DataError(
                f"{self._where}: the package datasets cannot be imported ({reason_of(error)}); "
                "install it with pip install 'defuse[hf]'"
            ) from None

    def _table(self, datasets: Any, dataset: Any, split: str) -> Table:
        where = f"{self._where}: {split}"
        group = self.group_column if split == "train" else None
        columns = pick_columns(dataset.column_names, self.settings, group, where)
        names = getattr(dataset.features[columns.label], "names", None)
        return Table(
            where=where,
            columns=columns,
            images=_images(dataset.cast_column(columns.image, datasets.Image(decode=False)), columns.image),
            labels=list(dataset[columns.label]),
            groups=[] if columns.group is None else list(dataset[columns.group]),
            names=None if names is None else tuple(names),
        )


def _images(dataset: Any, column: str) -> Iterator[Mapping[str, Any]]:
    """Yield the images as they are stored, so that one decoder treats all sources alike."""
    for row in dataset.select_columns([column]):
        yield row[column]
