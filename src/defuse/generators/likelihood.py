"""The two terms of the evidence lower bound, in nats per image."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from defuse.types import Codes, Pixels

LOWEST_LOG_VARIANCE = -8.0
"""Of colour pixels: a standard deviation of 0.018. Lower, and the bound would grow without end on flat images."""

FIRST_LOG_VARIANCE = -3.0
"""Of colour pixels before training: a standard deviation of 0.22."""

NOISE_RATE = 10.0
"""How much faster than the weights the log-variance of colour pixels learns."""


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


def gaussian(mean: Pixels, pixels: Pixels, log_variance: Tensor) -> Float[Tensor, " n"]:
    """Return the log-density of pixels under one variance for all, summed over pixels and channels, (n,)."""
    values = pixels[0].numel()
    misfit = (pixels - mean).square().sum((1, 2, 3)) * torch.exp(-log_variance)
    return -0.5 * (misfit + values * (log_variance + math.log(2 * math.pi)))


def log_variance(pixel_noise: Tensor) -> Tensor:
    """Return the bounded log-variance of colour pixels from its free parameter, which starts at zero."""
    free = NOISE_RATE * pixel_noise + FIRST_LOG_VARIANCE
    return LOWEST_LOG_VARIANCE + functional.softplus(free - LOWEST_LOG_VARIANCE)
