"""Slices: the extreme members of one class by one measurable attribute, and the margin beside them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64

from defuse.errors import DataError
from defuse.types import Labels, Mask

SHARE = 0.12
"""Share of its class that a slice is."""

MARGIN = 0.10
"""Share of the class next to the slice that is left out everywhere, so that no near-member leaks."""

FEWEST = 20
"""Images of a class that thresholds can be computed on, at least."""

Side = Literal["low", "high"]
Values = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Slice:
    """Which images: those of a class whose attribute is among the lowest, or the highest.

    Attributes:
        label: index of the class.
        attribute: name of a mechanical attribute, or of a factor of the renderer.
        side: which end.
    """

    label: int
    attribute: str
    side: Side

    def cut(self, values: Values, labels: Labels) -> "Cut":
        """Compute the thresholds on images of all classes, such as the training images.

        Args:
            values: the attribute of each image, (n,).
            labels: (n,).

        Raises:
            DataError: the class has fewer than ``FEWEST`` images.
        """
        own = self.outwards(values[labels == self.label])
        if len(own) < FEWEST:
            raise DataError(f"slice: class {self.label} has {len(own)} images, expected at least {FEWEST}")
        return Cut(self, float(np.quantile(own, 1 - SHARE)), float(np.quantile(own, 1 - SHARE - MARGIN)))

    def outwards(self, values: Values) -> Values:
        """Return the attribute such that more is nearer to the slice's end, (n,)."""
        return values if self.side == "high" else -values


@dataclass(frozen=True)
class Cut:
    """A slice with its thresholds, both measured outwards (see ``Slice.outwards``).

    Attributes:
        where: the slice.
        edge: from here on an image of the class is a member.
        outer: from here on to the edge it lies in the margin.
    """

    where: Slice
    edge: float
    outer: float

    def members(self, values: Values, labels: Labels) -> Mask:
        """Return which images belong to the slice, (n,)."""
        return (labels == self.where.label) & (self.where.outwards(values) >= self.edge)

    def margin(self, values: Values, labels: Labels) -> Mask:
        """Return which images lie in the margin, (n,)."""
        outwards = self.where.outwards(values)
        return (labels == self.where.label) & (outwards >= self.outer) & (outwards < self.edge)

    def near(self, values: Values, labels: Labels) -> Mask:
        """Return which images are members or lie in the margin, (n,)."""
        return (labels == self.where.label) & (self.where.outwards(values) >= self.outer)


@dataclass(frozen=True)
class Ruler:
    """Membership of generated images: as extreme as the slice is among real images of the class.

    Decoders smooth, so a generated image is compared with real ones that were drawn again the same way.

    Attributes:
        where: the slice; ``attribute`` is what is measured on images, whatever the slice was cut by.
        edge: threshold, measured outwards.
        natural: share of the class's images beyond it.
    """

    where: Slice
    edge: float
    natural: float

    @classmethod
    def calibrated(cls, where: Slice, ordinary: Values) -> "Ruler":
        """Return the ruler for a class, given the attribute of its images, slice included."""
        outwards = where.outwards(ordinary)
        edge = float(np.quantile(outwards, 1 - SHARE))
        return cls(where, edge, float((outwards >= edge).mean()))

    def inside(self, values: Values) -> Mask:
        """Return which images of the class lie in the slice, given their attribute, (n,)."""
        return self.where.outwards(values) >= self.edge
