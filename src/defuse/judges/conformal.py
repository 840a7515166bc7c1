"""Conformal p-values: how many known values are at most as usual as a new one."""

import torch
from jaxtyping import Float
from torch import Tensor


def conformal(scores: Float[Tensor, " n"], usual: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
    """Return the p-value of each score, higher being more usual, in (0, 1], (n,).

    Of scores from where the known ones come from, a share p has a p-value of at most p; with m known ones none is below
    1 / (m + 1). Source: Vovk et al., "Algorithmic Learning in a Random World", 2005.

    Args:
        scores: new ones.
        usual: known ones, in rising order.
    """
    return (1 + torch.searchsorted(usual, scores.contiguous(), right=True)) / (1 + len(usual))
