"""Torchvision's data sets, by name."""

import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
from PIL import Image

from defuse.data.checks import to_class_names, to_source
from defuse.data.decode import Picture, UnreadableError, to_pixels
from defuse.data.gather import Load, gather
from defuse.data.reader import Reader, Source
from defuse.data.settings import DEFAULT_SETTINGS, ReadSettings, as_path
from defuse.data.text import reason_of
from defuse.errors import DataError

_SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Our words for splits -> torchvision's."""


@dataclass(frozen=True)
class TorchvisionReader(Reader):
    """Reads ``torchvision.datasets.NAME``, whose files lie under ``settings.root``; nothing is downloaded unasked.

    Its splits are those that it takes as ``train=`` or ``split=``. Torchvision itself unpickles the files of a few data
    sets (CIFAR), after checking their hashes.

    Attributes:
        name: of the class, such as ``CIFAR10``.
        class_names: one name per class index; wins over the data set's own ``classes``.
        settings: ``size``, ``skip_unreadable``, ``root`` and ``download`` matter.
    """

    name: str
    class_names: tuple[str, ...] | None = None
    settings: ReadSettings = DEFAULT_SETTINGS

    def read(self) -> Source:
        """Read and check every split.

        Raises:
            DataError: torchvision is not there, has no such data set, or does not find its files; or see
                ``defuse.data.checks`` and ``defuse.data.gather``.
        """
        kind = self._kind()
        opened = {split: self._open(kind, split) for split in _SPLITS}
        splits = {split: dataset for split, dataset in opened.items() if dataset is not None}
        if "train" not in splits:
            raise DataError(f"{self._where}: has no train split")
        names = self._names(splits["train"])
        loads = {split: self._loads(dataset, split) for split, dataset in splits.items()}
        gathered = gather(loads, self.settings, self._where)
        return to_source(gathered.splits, names, self._where, skipped=gathered.skipped)

    @property
    def _where(self) -> str:
        return f"torchvision:{self.name}"

    def _kind(self) -> type:
        try:
            datasets = import_module("torchvision.datasets")
        except (ImportError, RuntimeError) as error:  # beside a torch that it was not built for: RuntimeError
            raise DataError(
                f"{self._where}: torchvision cannot be imported ({reason_of(error)}); "
                "install it with pip install 'defuse[vision]'"
            ) from None
        kind = getattr(datasets, self.name, None)
        if not isinstance(kind, type) or not hasattr(kind, "__getitem__"):
            raise DataError(f"{self._where}: torchvision.datasets has no data set of that name")
        return kind

    def _open(self, kind: type, split: str) -> Any:
        """Return one split, or None where the data set has none of that name."""
        parameters = inspect.signature(kind).parameters
        options: dict[str, Any] = {"root": str(as_path(self.settings.root))}
        if "download" in parameters:
            options["download"] = self.settings.download
        if "split" in parameters:
            options["split"] = _SPLITS[split]
        elif "train" in parameters and split != "validation":
            options["train"] = split == "train"
        elif split != "train":
            return None
        try:
            return kind(**options)
        except Exception as error:  # noqa: BLE001  a missing file, a broken one, the network
            if isinstance(error, ValueError) and "Unknown value" in str(error):
                return None
            advice = f"put its files under {options['root']} (data.root), or set data.download=true"
            raise DataError(f"{self._where}: cannot be opened ({reason_of(error)}); {advice}") from None

    def _names(self, dataset: Any) -> tuple[str, ...] | None:
        if self.class_names is not None:
            return to_class_names(self.class_names, f"{self._where}: class_names")
        names = getattr(dataset, "classes", None)
        if not isinstance(names, list | tuple):
            return None
        return to_class_names([name if isinstance(name, str) else ", ".join(name) for name in names], self._where)

    def _loads(self, dataset: Any, split: str) -> Iterator[Load]:
        for row in range(len(dataset)):
            yield partial(self._load, dataset, row, f"{self._where}: {split}, image {row}")

    def _load(self, dataset: Any, row: int, where: str) -> Picture:
        try:
            image, label = dataset[row]
        except Exception as error:  # noqa: BLE001  whatever a broken file makes it raise
            raise UnreadableError(where, reason_of(error)) from None
        if not isinstance(image, Image.Image):
            raise DataError(f"{where}: expected a Pillow image, got {type(image).__name__}")
        try:
            index = operator.index(label)
        except TypeError:
            raise DataError(f"{where}: expected a class index as its label, got {type(label).__name__}") from None
        if not 0 <= index <= np.iinfo(np.int64).max:
            raise DataError(f"{where}: expected class indices from 0, got {index}")
        return Picture(where, to_pixels(image, where, self.settings.size), index)
