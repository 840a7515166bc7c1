"""What every reader of labelled images offers."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from defuse.records import LabelledImages


@dataclass(frozen=True)
class Source:
    """Labelled images as a source holds them, checked, in the source's own splits and order.

    Attributes:
        train: at least one image of every class.
        test: None when the source has no test split.
        validation: None when the source has no validation split.
    """

    train: LabelledImages
    test: LabelledImages | None = None
    validation: LabelledImages | None = None


class Reader(ABC):
    """Reads labelled images from one kind of source."""

    @abstractmethod
    def read(self) -> Source:
        """Read and check everything.

        Raises:
            DataError: the source is missing, cannot be read, or holds something else than labelled images.
        """
