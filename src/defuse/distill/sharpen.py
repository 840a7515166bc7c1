"""Sharpening: from a Gaussian around failures to one inside the part of the latent space where the model fails."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from defuse.distill.candidates import Candidate
from defuse.distill.sampling import Draw, Probe, RegionSampler
from defuse.seeds import numpy_rng

FEWEST = 10
"""A round with fewer failing samples ends the sharpening: no Gaussian can be fitted to them."""

SLACK = 0.1
"""What fails on so much less than ``enough`` still counts as sharp: shares are of some draws, and differ on others."""


@dataclass(frozen=True)
class Sharpening:
    """The cross-entropy method on one candidate: draw, keep what fails, fit the Gaussian to that, and again.

    A Gaussian over found failures is too wide: failures often lie in a thin shell between what the classifier reads
    rightly and what no longer shows its label. Fitting a full covariance to the failing draws flattens the Gaussian
    along the shell and leaves it wide everywhere else. Source: Rubinstein, "The Cross-Entropy Method for Combinatorial
    and Continuous Optimization", 1999; the covariance is shrunk towards the last one as if that had as many members as
    the latent space has dimensions. Not in the paper.

    A confusion may hold several bugs far apart, and a Gaussian over all its failures then lies between them, where
    little fails. So where a candidate does not become sharp, the one of its parts that fails most is sharpened instead,
    and the better of the two is kept.

    Attributes:
        rounds: at most this many; 0 leaves candidates as they are.
        draws: samples per round, at most.
        failing: a round ends early with so many failing samples.
        enough: a candidate is sharp when at least this share of its kept samples fails.
    """

    rounds: int
    draws: int
    failing: int
    enough: float

    def run(self, candidate: Candidate, sampler: RegionSampler, *, seed: int) -> Candidate:
        """Return the candidate, or a part of it, with a sharper Gaussian.

        Draws depend on the seed, the key of what is drawn from, and the round alone.
        """
        sharp, share = self._sharpened(candidate, sampler, seed)
        if not (self.rounds and candidate.parts) or share >= self.enough - SLACK:
            return sharp
        first = [_share(self._probe(part, sampler, seed, 0)) for part in candidate.parts]
        part, of_part = self._sharpened(candidate.parts[int(np.argmax(first))], sampler, seed)
        return part if of_part > share else sharp

    def _sharpened(self, candidate: Candidate, sampler: RegionSampler, seed: int) -> tuple[Candidate, float]:
        """Return the candidate, sharper, and which share of what was kept in the last round failed."""
        share = 0.0
        for number in range(self.rounds):
            probe = self._probe(candidate, sampler, seed, number)
            share = _share(probe)
            if not share or share >= self.enough:
                break
            candidate = fitted_to(candidate, probe.failing)
        return candidate, share

    def _probe(self, candidate: Candidate, sampler: RegionSampler, seed: int, number: int) -> Probe:
        rng = numpy_rng(seed, "distill", *candidate.key, "sharpen", number)
        where = (candidate.mean, candidate.covariance, candidate.label)
        return sampler.probe(*where, failing=self.failing, limit=self.draws, rng=rng)


def _share(probe: Probe) -> float:
    """Return which share of what is kept fails; 0 where too few samples fail to fit a Gaussian to."""
    return len(probe.failing) / probe.kept if len(probe.failing) >= FEWEST else 0.0


def fitted_to(candidate: Candidate, failing: Draw) -> Candidate:
    """Return the candidate with the Gaussian of failing samples, shrunk towards its own; see ``Sharpening``."""
    z = failing.z.astype(np.float64)
    prior = z.shape[1]
    mean: Float64[np.ndarray, " latent"] = z.mean(axis=0)
    scatter = (z - mean).T @ (z - mean)
    covariance = (scatter + prior * candidate.covariance) / (len(z) + prior)
    answer = int(np.bincount(failing.predicted).argmax())
    return replace(candidate, mean=mean, covariance=covariance, predicted=answer)
