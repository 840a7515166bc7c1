"""The ascent of the evidence lower bound: from sums of features to a posterior, to responsibilities, to sums again."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from defuse.distill.packing import Packing, Padded
from defuse.distill.variational import Posterior, Prior

EMPTY = 1e-10
"""A component with fewer codes than this is dropped: it stays in the model, empty, and is no longer computed."""

FLOOR = -600.0
"""Log-responsibilities below this are raised to it. What they stand for is nothing either way, but numbers below the
normal range of float64 slow every product down many times."""

CROWD = 0.75
"""When this share of a batch's groups or less is still moving, the others leave the batch."""


@dataclass(frozen=True)
class Ascended:
    """Where a batch of groups ended.

    Attributes:
        statistics: sums of features, of which the posterior is a function.
        bounds: the bound after each iteration; NaN from where the group had ended.
        converged: whether the bound settled.
    """

    statistics: Float64[Tensor, "b k f"]
    bounds: Float64[Tensor, "b iterations"]
    converged: Bool[Tensor, " b"]


@dataclass(frozen=True)
class _Moving:
    """The part of a batch that is still computed, and which rows of the batch it is."""

    data: Padded
    prior: Prior
    posterior: Posterior
    alive: Bool[Tensor, "b k"]
    rows: Int64[Tensor, " b"]
    done: Bool[Tensor, " b"]


@dataclass(frozen=True)
class Ascent:
    """Coordinate ascent, until the bound changes by less than ``tolerance``, at most ``iterations`` times."""

    packing: Packing
    iterations: int
    tolerance: float

    def run(
        self, data: Padded, statistics: Float64[Tensor, "b k f"], exists: Bool[Tensor, "b k"], prior: Prior
    ) -> Ascended:
        """Start from sums of features. Each group ends by its own bound, whatever else is in the batch."""
        ended = statistics.clone()
        bounds = statistics.new_full((len(exists), self.iterations), torch.nan)
        posterior = Posterior.update(self.packing, statistics, exists, prior)
        rows = torch.arange(len(exists), device=exists.device)
        moving = _Moving(data, prior, posterior, exists, rows, torch.zeros_like(rows, dtype=torch.bool))
        converged = moving.done.clone()
        for iteration in range(self.iterations):
            statistics, entropy = self._sweep(moving)
            posterior = Posterior.update(self.packing, statistics, moving.posterior.exists, moving.prior)
            going = ~moving.done
            rows = moving.rows[going]
            ended[rows] = statistics[going]
            bounds[rows, iteration] = posterior.bound(entropy)[going]
            if iteration:
                settled = (bounds[rows, iteration] - bounds[rows, iteration - 1]).abs() < self.tolerance
                converged[rows] = settled
            moving = self._next(moving, posterior, converged[moving.rows])
            if bool(moving.done.all()):
                break
        return Ascended(ended, bounds, converged)

    def _next(self, moving: _Moving, posterior: Posterior, done: Bool[Tensor, " b"]) -> _Moving:
        alive = moving.alive & (posterior.count >= EMPTY)
        if int((~done).sum()) > CROWD * len(done) or bool(done.all()):
            return _Moving(moving.data, moving.prior, posterior, alive, moving.rows, done)
        left = (~done).nonzero()[:, 0]
        return _Moving(
            moving.data.take(left),
            moving.prior.take(left),
            posterior.take(left),
            alive[left],
            moving.rows[left],
            done[left],
        )

    def _sweep(self, moving: _Moving) -> tuple[Float64[Tensor, "b k f"], Float64[Tensor, " b"]]:
        """Return the sums of features under new responsibilities, and the entropy of these.

        The entropy needs no responsibilities: - sum r ln r = sum_n ln sum_k exp(s_nk) - sum r s, where the log-scores
        s are linear in the features, and so sum r s is a product of coefficients and sums of features.
        """
        slots = _slots(moving.alive)[..., None].expand(-1, -1, self.packing.features)
        coefficients = moving.posterior.coefficients(moving.alive).gather(1, slots)
        norms = coefficients.new_zeros(len(coefficients))

        def respond(features: Float64[Tensor, "b f c"], _start: int) -> Float64[Tensor, "b k c"]:
            scores = torch.bmm(coefficients, features)
            top = scores.amax(dim=1, keepdim=True)
            total = scores.sub_(top).clamp_(min=FLOOR).exp_().sum(dim=1, keepdim=True)
            norms.add_(((top + total.log()) * features[:, -1:]).sum(dim=(1, 2)))
            return scores.div_(total)

        found = self.packing.accumulate(moving.data, slots.shape[1], respond)
        statistics = found.new_zeros((*moving.alive.shape, self.packing.features)).scatter_(1, slots, found)
        return statistics, norms - (coefficients * found).sum(dim=(1, 2))


def _slots(alive: Bool[Tensor, "b k"]) -> Int64[Tensor, "b a"]:
    """Return the numbers of each group's components that are alive, filled up with dead ones to equal length."""
    most = int(alive.sum(dim=1).max())
    return alive.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
