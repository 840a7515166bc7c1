"""Where a mixture starts: k-means++ and Lloyd's iterations, for a batch of groups at once.

Source: Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007; of several draws the one that
leaves the least distance is taken, as in scikit-learn.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from defuse.distill.packing import Packing, Padded
from defuse.distill.variational import NOWHERE
from defuse.seeds import torch_rng

TRIALS = 4
"""Draws for each centre."""

LLOYD = 30
"""Iterations of Lloyd's algorithm, at most."""


def k_means_statistics(
    packing: Packing, data: Padded, exists: Bool[Tensor, "b k"], seeds: Sequence[int]
) -> Float64[Tensor, "b k f"]:
    """Cluster each group and return the sums of features of each cluster; a cluster may be empty.

    A group's clusters depend on its own codes, on how many there may be, and on its seed.
    """
    centres = _plus_plus(data, exists, seeds)
    plain = Packing(packing.latent, full=False, device=packing.device)
    for _ in range(LLOYD):
        count, sums, _ = plain.moments(_nearest(plain, data, exists, centres))
        moved = torch.where(count[..., None] > 0, sums / count.clamp(min=1)[..., None], centres)
        if torch.equal(moved, centres):
            break
        centres = moved
    return _nearest(packing, data, exists, centres)


def _nearest(
    packing: Packing, data: Padded, exists: Bool[Tensor, "b k"], centres: Float64[Tensor, "b k d"]
) -> Float64[Tensor, "b k f"]:
    """Return the sums of features over the codes that are nearest to each centre."""
    constant = torch.where(exists, -0.5 * centres.square().sum(dim=-1), NOWHERE)
    unit = torch.eye(packing.latent, dtype=centres.dtype, device=centres.device)
    precision = (unit if packing.full else unit.diagonal()).expand(*exists.shape, *unit.shape[not packing.full :])
    coefficients = packing.coefficients(constant, centres, precision)

    def respond(features: Float64[Tensor, "b f c"], _start: int) -> Float64[Tensor, "b k c"]:
        scores = coefficients @ features
        return torch.zeros_like(scores).scatter_(1, scores.argmax(dim=1, keepdim=True), 1.0)

    return packing.accumulate(data, exists.shape[1], respond)


def _plus_plus(data: Padded, exists: Bool[Tensor, "b k"], seeds: Sequence[int]) -> Float64[Tensor, "b k d"]:
    """Choose codes far from one another: each next one with odds by squared distance from those chosen."""
    sizes = data.present.sum(dim=1).long()
    groups = torch.arange(len(sizes), device=sizes.device)
    draws = _draws(exists, seeds)
    centres = data.points.new_zeros((*exists.shape, data.points.shape[1]))
    first = (draws[:, 0, 0] * sizes).long()
    centres[:, 0] = data.points[groups, :, first]
    squares = data.points.square().sum(dim=1)
    least = _distances(data, squares, first[:, None])[:, 0]
    for number in range(1, exists.shape[1]):
        mass = least.cumsum(dim=1)
        wanted = draws[:, number] * mass[:, -1:]
        candidates = torch.searchsorted(mass, wanted, right=True).minimum(sizes[:, None] - 1)
        left = torch.minimum(least[:, None], _distances(data, squares, candidates))
        best = left.sum(dim=2).argmin(dim=1)
        centres[:, number] = data.points[groups, :, candidates[groups, best]]
        least = left[groups, best]
    return centres


def _draws(exists: Bool[Tensor, "b k"], seeds: Sequence[int]) -> Float64[Tensor, "b k t"]:
    """Return numbers in [0, 1) for each group's components, the same whatever else is in the batch."""
    draws = torch.zeros((*exists.shape, TRIALS), dtype=torch.float64)
    for row, (seed, components) in enumerate(zip(seeds, exists.sum(dim=1).tolist(), strict=True)):
        rng = torch_rng(seed, "mixture", "start")
        draws[row, :components] = torch.rand((components, TRIALS), generator=rng, dtype=torch.float64)
    return draws.to(exists.device)


def _distances(data: Padded, squares: Float64[Tensor, "b n"], chosen: Int64[Tensor, "b t"]) -> Float64[Tensor, "b t n"]:
    """Return squared distances from each chosen code to every code of its group; 0 where there is none."""
    places = chosen[:, None].expand(-1, data.points.shape[1], -1)
    picked = data.points.gather(2, places)
    inner = picked.transpose(1, 2) @ data.points
    distances = squares[:, None] - 2 * inner + squares.gather(1, chosen)[..., None]
    return distances.clamp_(min=0) * data.present[:, None]
