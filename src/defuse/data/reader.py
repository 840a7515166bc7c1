"""What every reader of labelled images offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from defuse.records import LabelledImages
from defuse.types import Labels


@dataclass(frozen=True)
class Skipped:
    """An image that was left out because it cannot be read.

    Attributes:
        split: ``train``, ``test`` or ``validation``.
        row: its place in the source's split, where skipped images count.
        where: names it.
        reason: what is wrong with it.
    """

    split: str
    row: int
    where: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Labelled images as a source holds them, checked, in the source's own splits and order.

    Attributes:
        train: at least one image of every class.
        test: None when the source has no test split.
        validation: None when the source has no validation split.
        groups: which training images show the same thing, from 0, (n,); None when every image stands for itself.
        skipped: images that were left out, on request, because they cannot be read.
    """

    train: LabelledImages
    test: LabelledImages | None = None
    validation: LabelledImages | None = None
    groups: Labels | None = None
    skipped: tuple[Skipped, ...] = ()


class Reader(ABC):
    """Reads labelled images from one kind of source."""

    @abstractmethod
    def read(self) -> Source:
        """Read and check everything.

        Raises:
            DataError: the source is missing, cannot be read, or holds something else than labelled images.
        """
