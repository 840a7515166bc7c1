"""Groups of images that show the same thing, such as frames of one track: from a file of their own, or per class."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from defuse.data.checks import to_groups
from defuse.data.npz import read_named
from defuse.data.reader import Reader, Source
from defuse.data.settings import as_path
from defuse.errors import DataError
from defuse.types import Labels


@dataclass(frozen=True)
class GroupFile:
    """An array of an .npz file with one group for each training image."""

    path: Path
    key: str


def group_file(text: str) -> GroupFile | None:
    """Return what ``PATH.npz:KEY`` names, or None where the text has another form."""
    match = re.fullmatch(r"(.+\.npz):([^:]+)", text, flags=re.IGNORECASE | re.DOTALL)
    return None if match is None else GroupFile(as_path(match[1]), match[2])


@dataclass(frozen=True)
class GroupedReader(Reader):
    """Another reader's images with other groups.

    Attributes:
        reader: reads the images.
        file: where the groups are; by default those that the reader finds.
        within_class: whether a group's number counts within its class: then the pair of both is the group.
    """

    reader: Reader
    file: GroupFile | None = None
    within_class: bool = False

    def read(self) -> Source:
        """Read the images, then their groups.

        Raises:
            DataError: the images or the groups cannot be read, there are none, or they are not one a training image.
        """
        source = self.reader.read()
        groups = source.groups if self.file is None else _read(self.file, source)
        if groups is None:
            raise DataError(
                "data.groups_within_class is set, but the source has no groups; name them with data.groups=PATH.npz:KEY"
            )
        return replace(source, groups=_paired(groups, source.train.labels) if self.within_class else groups)


def _read(file: GroupFile, source: Source) -> Labels:
    """Return the group of each training image that was read; the file counts the skipped ones too."""
    where = f"{file.path}: {file.key}"
    array = read_named(file.path, file.key, use=" for data.groups")
    count = len(source.train) + sum(image.split == "train" for image in source.skipped)
    return to_groups(array, where, count=count)[source.train.rows]


def _paired(groups: Labels, labels: Labels) -> Labels:
    pairs = labels * (groups.max() + 1) + groups
    return np.unique(pairs, return_inverse=True)[1].astype(np.int64)
