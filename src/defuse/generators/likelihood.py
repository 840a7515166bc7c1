"""The two terms of the evidence lower bound, in nats per image."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from defuse.types import Codes, Pixels

LOWEST_LOG_VARIANCE = -8.0
"""Of a band of colour images: a standard deviation of 0.018. Lower, and flat images would raise the bound for ever."""

FIRST_LOG_VARIANCE = -3.0
"""Of a band before training: a standard deviation of 0.22."""

NOISE_RATE = 10.0
"""How much faster than the weights the log-variances of bands learn."""

HALVINGS = 3
"""How often wavelets halve an image: details up to eight pixels wide have bands of their own."""

HAAR = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
"""Of a 2 x 2 block read row by row: its mean, and what differs across, down and diagonally."""

LUMA_CHROMA = torch.tensor([[1.0, 1, 1], [1, -1, 0], [1, 1, -2]])
"""Of red, green and blue: light, and two colours."""


@dataclass(frozen=True)
class Bound:
    """The negative evidence lower bound of each image and its two parts, in nats.

    Attributes:
        reconstruction: negative log-likelihood of the image under one decoded code, (n,).
        divergence: Kullback-Leibler divergence of the posterior from the prior, (n,).
    """

    reconstruction: Float[Tensor, " n"]
    divergence: Float[Tensor, " n"]

    @property
    def total(self) -> Float[Tensor, " n"]:
        """Reconstruction plus divergence: beta is 1 here, whatever the training used."""
        return self.reconstruction + self.divergence


def divergence(mean: Codes, log_variance: Codes) -> Float[Tensor, " n"]:
    """Return KL(N(mean, variance) || N(0, 1)), summed over the code, (n,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)


def bernoulli(logits: Pixels, pixels: Pixels) -> Float[Tensor, " n"]:
    """Return the log-likelihood of grey values read as probabilities, summed over pixels, (n,).

    This is the usual convention for digits; for values strictly between 0 and 1 it is no normalised density.
    """
    return -functional.binary_cross_entropy_with_logits(logits, pixels, reduction="none").sum((1, 2, 3))


def bands(height: int, width: int) -> int:
    """Return into how many bands ``wavelets`` takes images of these sides apart."""
    return 3 * _halvings(height, width) + 1


def wavelets(pixels: Pixels) -> list[Float[Tensor, "n 3 band_h band_w"]]:
    """Return the Haar wavelet bands of three-channel images, the finest first, in luma and two chromas.

    Sides are halved as long as both are even, ``HALVINGS`` times at most. The change of basis is orthonormal: it keeps
    sums of squares, and a density of bands is one of pixels.
    """
    values = torch.einsum("kc,nchw->nkhw", functional.normalize(LUMA_CHROMA).to(pixels), pixels)
    parts = []
    for _ in range(_halvings(*pixels.shape[2:])):
        n, channels, height, width = values.shape
        blocks = functional.pixel_unshuffle(values, 2).view(n, channels, 4, height // 2, width // 2)
        values, *details = torch.einsum("bk,nckhw->bnchw", functional.normalize(HAAR).to(pixels), blocks).unbind()
        parts += details
    return [*parts, values]


def gaussian(misfit: Pixels, log_variances: Float[Tensor, "bands 3"]) -> Float[Tensor, " n"]:
    """Return the log-density of what a decoder misses, under one variance for each wavelet band and colour, (n,).

    Broad light is hard to foresee and varies much, fine detail varies little. One variance for all pixels would measure
    both with the one yardstick, so that it costs nothing to blur.
    """
    total = misfit.new_zeros(len(misfit))
    for band, spread in zip(wavelets(misfit), log_variances, strict=True):
        scaled = band.square().sum((2, 3)) * torch.exp(-spread)
        total = total - 0.5 * (scaled + band[0, 0].numel() * (spread + math.log(2 * math.pi))).sum(1)
    return total


def _halvings(height: int, width: int) -> int:
    halvings = 0
    while halvings < HALVINGS and not height % 2 ** (halvings + 1) and not width % 2 ** (halvings + 1):
        halvings += 1
    return halvings


def log_variance(pixel_noise: Tensor) -> Tensor:
    """Return bounded log-variances from their free parameters, which start at zero."""
    free = NOISE_RATE * pixel_noise + FIRST_LOG_VARIANCE
    return LOWEST_LOG_VARIANCE + functional.softplus(free - LOWEST_LOG_VARIANCE)
