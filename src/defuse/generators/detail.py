"""Fine detail: what a generator smooths away, lent by similar real images."""

from dataclasses import dataclass

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
from defuse.types import ByteImages, Labels, Pixels

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
        self._of_class: dict[int, _Lenders] = {}

    def lend(
        self, drawn: Pixels, z: Float32[np.ndarray, "n latent"], labels: Labels, choice: Float64[np.ndarray, " n"]
    ) -> Pixels:
        """Return samples in fine detail, in [0, 1]; as they are, where their class has no real image.

        Args:
            drawn: the samples, (n, c, h, w).
            z: their codes, (n, latent).
            labels: the class each was drawn for, (n,).
            choice: which of the similar images lends, from the nearest at 0 to the last below 1, (n,).
        """
        real = np.zeros((len(z), *self._reference.image_shape), dtype=np.uint8)
        redrawn = real.copy()  # where nobody lends the two stay alike, so that nothing is lost and nothing lent
        for label in np.unique(labels).tolist():
            lenders, rows = self._lenders(label), np.flatnonzero(labels == label)
            if len(lenders.z):
                lender = _similar(z[rows], lenders.z, choice[rows])
                real[rows], redrawn[rows] = lenders.images[lender], lenders.drawn[lender]
        return _lent(drawn, to_pixels(redrawn), to_pixels(real))

    def redraw(self, images: LabelledImages) -> ByteImages:
        """Return real images as samples like them come out: drawn, in the detail of another image, (n, h, w, c)."""
        z, drawn = mean_codes(self._generator, images), to_pixels(reconstruct(self._generator, images))
        return to_bytes(self.lend(drawn, z, images.labels, np.full(len(images), ANOTHER)))

    def _lenders(self, label: int) -> "_Lenders":
        if label not in self._of_class:
            real = self._reference.spread(label, LENDERS)
            drawn = reconstruct(self._generator, real)
            self._of_class[label] = _Lenders(mean_codes(self._generator, real), drawn, real.images)
        return self._of_class[label]


@dataclass(frozen=True)
class _Lenders:
    """Real images of one class with their codes, (m, latent), and their reconstructions; both (m, h, w, c)."""

    z: Float32[np.ndarray, "m latent"]
    drawn: ByteImages
    images: ByteImages


def _lent(drawn: Pixels, redrawn: Pixels, real: Pixels) -> Pixels:
    """Return samples with what each one's lender lost when it was redrawn."""
    gain = (contrast(drawn) / contrast(redrawn).clamp(min=UNLIT)).clamp(WEAKEST, STRONGEST)[:, None, None, None]
    weight = _agreement(_level(drawn), gain * _level(redrawn))
    return (drawn + gain * weight * (real - redrawn)).clamp(0, 1)


def _similar(
    z: Float32[np.ndarray, "n latent"], theirs: Float32[np.ndarray, "m latent"], choice: Float64[np.ndarray, " n"]
) -> Int64[np.ndarray, " n"]:
    distance = cdist(z, theirs, "sqeuclidean")
    near = np.argpartition(distance, min(SIMILAR, len(theirs)) - 1, axis=1)[:, :SIMILAR]
    in_order = np.take_along_axis(distance, near, axis=1).argsort(axis=1, kind="stable")
    rank = (choice * near.shape[1]).astype(np.int64)
    every = np.arange(len(z))
    return near[every, in_order[every, rank]]


def _level(pixels: Pixels) -> Float[Tensor, "n c h w"]:
    return pixels - pixels.mean((1, 2, 3), keepdim=True)


def _agreement(one: Float[Tensor, "n c h w"], other: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 1 h w"]:
    """Return how far two drawings agree around each pixel, in (0, 1]."""
    alike = torch.exp(-((one - other).abs().amax(1, keepdim=True) / ALIKE).square())
    return avg_pool2d(alike, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)
