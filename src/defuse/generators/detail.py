"""Fine detail: what a generator smooths away, lent by similar real images."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from scipy.spatial.distance import cdist
from torch import Tensor
from torch.nn.functional import avg_pool2d

from defuse.generators.base import Generator
from defuse.generators.quality import mean_codes, reconstruct
from defuse.pixels import contrast, to_bytes, to_pixels
from defuse.records import LabelledImages
from defuse.types import ByteImages, Pixels

LENDERS = 1_000
"""Real images of a class that may lend their detail, at most; evenly spaced."""

SIMILAR = 5
"""A sample's lender is one of so many real images of its class, those with the nearest codes."""

ANOTHER = 1 - 0.5 / SIMILAR
"""The choice of the last of them, which is not the image itself."""

WEAKEST, STRONGEST = 0.2, 1.2
"""Between these factors detail is scaled as the sample's contrast is to that of its lender's reconstruction."""

UNLIT = 0.02
"""Contrast that a reconstruction is taken to have at least."""

ALIKE = 0.4
"""Grey levels by which sample and lender's reconstruction may differ at a pixel; there detail still counts a third."""

AROUND = 3
"""Side of the square over which that weight is averaged."""

RECENT = 4
"""Classes whose lenders are kept in memory."""


class Detail:
    """Lends samples of a generator the fine detail of real images that are like them.

    A decoder draws smoothly, and a classifier may misread the smoothness: of the bugs that a search finds on smooth
    images many are none on photographs. What a generator loses of a real image, the image less its reconstruction, is
    added to a sample of the same class: scaled as the sample's contrast asks, and where the two drawings agree, since
    the rim of one stroke is a speckle beside another. Not in the paper.

    Args:
        reference: real images that may lend.
        generator: made the samples.
    """

    def __init__(self, reference: LabelledImages, generator: Generator) -> None:
        self._reference = reference
        self._generator = generator
        self._lenders = lru_cache(RECENT)(self._look)

    def lend(
        self, drawn: Pixels, z: Float32[np.ndarray, "n latent"], label: int, choice: Float64[np.ndarray, " n"]
    ) -> Pixels:
        """Return samples of one class in fine detail, in [0, 1]; as they are, where the class has no real image.

        Args:
            drawn: the samples, (n, c, h, w).
            z: their codes, (n, latent).
            label: their class.
            choice: which of the similar images lends, from the nearest at 0 to the last below 1, (n,).
        """
        lenders = self._lenders(label)
        if not (len(drawn) and len(lenders.z)):
            return drawn
        lender = _similar(z, lenders.z, choice)
        gain = (contrast(drawn) / contrast(lenders.drawn[lender]).clamp(min=UNLIT)).clamp(WEAKEST, STRONGEST)
        gain = gain[:, None, None, None]
        weight = _agreement(_level(drawn), gain * _level(lenders.drawn[lender]))
        return (drawn + gain * weight * lenders.lost[lender]).clamp(0, 1)

    def redraw(self, images: LabelledImages) -> ByteImages:
        """Return real images as samples like them come out: drawn, in the detail of another image, (n, h, w, c)."""
        z, drawn = self._again(images)
        for label in np.unique(images.labels).tolist():
            rows = np.flatnonzero(images.labels == label)
            drawn[rows] = self.lend(drawn[rows], z[rows], label, np.full(len(rows), ANOTHER))
        return to_bytes(drawn)

    def _look(self, label: int) -> "_Lenders":
        images = self._reference.spread(label, LENDERS)
        z, drawn = self._again(images)
        return _Lenders(z, drawn, to_pixels(images.images) - drawn)

    def _again(self, images: LabelledImages) -> tuple[Float32[np.ndarray, "n latent"], Pixels]:
        return mean_codes(self._generator, images), to_pixels(reconstruct(self._generator, images))


@dataclass(frozen=True)
class _Lenders:
    """Real images of one class: their codes, (m, latent), reconstructions, and what these lack, (m, c, h, w)."""

    z: Float32[np.ndarray, "m latent"]
    drawn: Pixels
    lost: Float[Tensor, "m c h w"]


def _similar(
    z: Float32[np.ndarray, "n latent"], theirs: Float32[np.ndarray, "m latent"], choice: Float64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    nearest = cdist(z, theirs, "sqeuclidean").argsort(axis=1, kind="stable")[:, :SIMILAR]
    return nearest[np.arange(len(z)), (choice * nearest.shape[1]).astype(np.int64)]


def _level(pixels: Pixels) -> Float[Tensor, "n c h w"]:
    return pixels - pixels.mean((1, 2, 3), keepdim=True)


def _agreement(one: Float[Tensor, "n c h w"], other: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return how far two drawings agree around each pixel, in (0, 1]."""
    alike = torch.exp(-((one - other).abs().amax(1, keepdim=True) / ALIKE).square())
    return avg_pool2d(alike, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)
