"""Sharpening: from a Gaussian around failures to one inside the part of the latent space where the model fails."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from defuse.distill.candidates import Candidate
from defuse.distill.sampling import Draw, RegionSampler
from defuse.seeds import numpy_rng

FEWEST = 10
"""A round with fewer failing samples ends the sharpening: no Gaussian can be fitted to them."""


@dataclass(frozen=True)
class Sharpening:
    """The cross-entropy method on one candidate: draw, keep what fails, fit the Gaussian to that, and again.

    A Gaussian over found failures is too wide: failures often lie in a thin shell between what the classifier reads
    rightly and what no longer shows its label. Fitting a full covariance to the failing draws flattens the Gaussian
    along the shell and leaves it wide everywhere else. Source: Rubinstein, "The Cross-Entropy Method for Combinatorial
    and Continuous Optimization", 1999; the covariance is shrunk towards the last one as if that had as many members as
    the latent space has dimensions. Not in the paper.

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
        """Return the candidate with a sharper Gaussian; its draws depend on the seed, its key and the round alone."""
        for number in range(self.rounds):
            rng = numpy_rng(seed, "distill", *candidate.key, "sharpen", number)
            where = (candidate.mean, candidate.covariance, candidate.label)
            probe = sampler.probe(*where, failing=self.failing, limit=self.draws, rng=rng)
            if len(probe.failing) < FEWEST or len(probe.failing) >= self.enough * probe.kept:
                break
            candidate = fitted_to(candidate, probe.failing)
        return candidate


def fitted_to(candidate: Candidate, failing: Draw) -> Candidate:
    """Return the candidate with the Gaussian of failing samples, shrunk towards its own; see ``Sharpening``."""
    z = failing.z.astype(np.float64)
    prior = z.shape[1]
    mean: Float64[np.ndarray, " latent"] = z.mean(axis=0)
    scatter = (z - mean).T @ (z - mean)
    covariance = (scatter + prior * candidate.covariance) / (len(z) + prior)
    answer = int(np.bincount(failing.predicted).argmax())
    return replace(candidate, mean=mean, covariance=covariance, predicted=answer)
