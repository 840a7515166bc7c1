"""Whether an image's shape is one that images of its class have."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from defuse.classifiers.outlines import Outlines
from defuse.generators import Generator, reconstruct
from defuse.judges.conformal import conformal
from defuse.pixels import to_pixels
from defuse.records import LabelledImages
from defuse.types import LabelTensor, Pixels


class Shapes:
    """Compares an image's outlines with those of known images of its class, however light, dark, thick or thin.

    Networks agree on strokes that people cannot read, a search by gradient finds such strokes, and a likelihood counts
    grey levels. Distance to the nearest known outline says what these do not: that nobody writes so. It is turned into
    a conformal p-value against real images that are none of the known ones. All are reconstructed first, so that the
    generator's own blur is on both sides.

    Blind readers of 200 reported digits found 67 unclear; a p-value of 0.02 throws out 81 of 100 of those, and 24 of
    100 of the clear ones. Of images from slices that were kept from it altogether (thin 6s, leaning 7s, bright bags,
    dark signs, see ``defuse bench planted``) it throws out 1 to 34 of 100, 13 on average.

    Args:
        generator: reconstructs.
        known: images with the shapes that are known.
        held_out: real images to compare with. One that is among the known is not compared with itself.
    """

    def __init__(self, generator: Generator, known: LabelledImages, held_out: LabelledImages) -> None:
        self._generator = generator
        self._known = known
        self._held_out = held_out
        self._outlines = Outlines()
        self._looked_at: dict[int, _Class] = {}

    def p_values(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return how usual each image's outlines are for its label, in (0, 1], (n,); 1 where no shape is known."""
        found = torch.ones(len(pixels))
        for label in sorted(set(labels.tolist())):
            rows = labels == label
            if (self._known.labels == label).any():
                of = self._class(label)
                found[rows] = conformal(-_nearest(self._outlines(pixels[rows]), of.outlines), of.usual)
        return found

    def _class(self, label: int) -> "_Class":
        """Look at a class with known shapes, at the first question about it."""
        if label not in self._looked_at:
            known, held_out = (part.take(part.labels == label) for part in (self._known, self._held_out))
            outlines, theirs = (
                self._outlines(to_pixels(reconstruct(self._generator, part))) for part in (known, held_out)
            )
            itself = torch.from_numpy(held_out.rows[:, None] == known.rows[None, :])
            usual = -_nearest(theirs, outlines, itself)
            self._looked_at[label] = _Class(outlines, usual.sort().values)
        return self._looked_at[label]


@dataclass(frozen=True)
class _Class:
    """Known outlines of a class, and in rising order how near held-out ones are to them."""

    outlines: Float[Tensor, "m width"]
    usual: Float[Tensor, " k"]


def _nearest(
    outlines: Float[Tensor, "n width"], known: Float[Tensor, "m width"], itself: Tensor | None = None
) -> Float[Tensor, " n"]:
    """Return the distance to the nearest known outline, of at least one; infinite where all are the image itself."""
    distance = torch.cdist(outlines, known)
    return (distance if itself is None else distance.masked_fill(itself, torch.inf)).amin(dim=1)
