"""Histograms of oriented gradients, as a layer."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, pad, unfold

from defuse.types import Pixels

BINS, GRID = 9, 8
"""Directions, over half a turn; cells along either side of an image."""

CLIP = 0.3
"""No direction of a block counts for more, so that one strong edge does not hide the others."""

FAINT = 1e-4
"""Added to a block's squared length: below this, gradients count as none."""


class Outlines(nn.Module):
    """Which way edges run, cell by cell, whatever their strength: it has nothing to learn.

    Source: Dalal and Triggs, "Histograms of oriented gradients for human detection", CVPR 2005: unsigned directions,
    blocks of 2 x 2 cells that overlap, lengths normalised and clipped once. Of several channels the one with the
    steepest gradient counts.
    """

    width = 4 * BINS * (GRID - 1) ** 2
    """Length of what it returns."""

    def forward(self, pixels: Pixels) -> Float[Tensor, "n width"]:
        """Return each image's histograms; a constant times the image, or added to it, changes next to nothing."""
        wide = pad(pixels, (1, 1, 1, 1), mode="replicate")
        across, down = wide[:, :, 1:-1, 2:] - wide[:, :, 1:-1, :-2], wide[:, :, 2:, 1:-1] - wide[:, :, :-2, 1:-1]
        steepest = (across.square() + down.square()).argmax(dim=1, keepdim=True)
        across, down = across.gather(1, steepest), down.gather(1, steepest)
        flat = (across == 0) & (down == 0)  # there direction and length have no derivative
        across = across.masked_fill(flat, 1.0)
        turn = torch.atan2(down, across) * (BINS / math.pi)
        lower, steep = turn.floor(), torch.hypot(across, down).masked_fill(flat, 0.0)
        upper_share = steep * (turn - lower)
        bins = steep.new_zeros(len(steep), BINS, *steep.shape[2:])
        bins.scatter_add_(1, lower.long() % BINS, steep - upper_share)
        bins.scatter_add_(1, (lower.long() + 1) % BINS, upper_share)
        cells = adaptive_avg_pool2d(bins, GRID)
        blocks = unfold(cells, 2)
        lengths = (blocks.square().sum(dim=1, keepdim=True) + FAINT).sqrt()
        return (blocks / lengths).clamp_(max=CLIP).flatten(1)
