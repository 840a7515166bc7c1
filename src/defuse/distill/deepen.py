"""Deepening: a region grows from where the classifier begins to err to where it errs most surely."""

from dataclasses import dataclass, replace

import numpy as np

from defuse.distill.candidates import Candidate
from defuse.distill.sampling import Draw, Probe, RegionSampler, join
from defuse.distill.sharpen import FEWEST, SLACK, fitted_to
from defuse.seeds import numpy_rng

SUREST = 0.5
"""Share of a front's failing samples whose middle is that of the next front."""

KEPT = 0.8
"""A front of whose samples judges keep less than this part of what they keep of the candidate's is leaving what shows
the label: there the way ends."""


@dataclass(frozen=True)
class Deepening:
    """Follows a bug inwards from a sharp candidate, and spreads the candidate over the way.

    A search stops where the classifier begins to err, so failures lie along the edge of a bug, and a Gaussian sharpened
    around them stays there. So a front of the candidate's shape moves on, each time to the middle of those of its
    failing samples that are misread most surely, by the margin of the logits, as long as judges still see the label.
    The candidate becomes the Gaussian of all failing samples that were met, edge and depth together. Not in the paper.

    Attributes:
        support: a candidate of fewer failures is left as it is. What the search has met a few times may have no inside:
            grown, a region of 14 (70s read as 20) led to images of which an oracle confirmed 82 % in place of 95 %.
        rounds: fronts, the candidate itself being the first; fewer than 2 leave candidates as they are.
        draws: samples per front, at most.
        failing: a front needs no more failing samples than these.
        enough: share of a front's kept samples that must fail: a candidate that is not sharp has no inside.
    """

    support: int
    rounds: int
    draws: int
    failing: int
    enough: float

    def run(self, candidate: Candidate, sampler: RegionSampler, *, seed: int) -> Candidate:
        """Return the candidate, grown; its draws depend on the seed, its key and the round alone."""
        front, met, least = candidate, list[Draw](), 0.0
        for number in range(self.rounds if candidate.support >= self.support else 0):
            probe = self._probe(front, sampler, seed, number)
            if not self._inside(probe, least):
                break
            if not met:
                least = KEPT * probe.kept / probe.drawn
            met.append(probe.failing)
            front = replace(front, mean=_surest(probe.failing).z.astype(np.float64).mean(axis=0))
        if len(met) < 2:  # noqa: PLR2004 -- the first is the candidate itself
            return candidate
        grown = replace(fitted_to(candidate, join(met)), predicted=candidate.predicted)
        return grown if self._inside(self._probe(grown, sampler, seed, self.rounds), least) else candidate

    def _probe(self, front: Candidate, sampler: RegionSampler, seed: int, number: int) -> Probe:
        """Draw from a front; of the failing samples those count that are read as the candidate's are."""
        rng = numpy_rng(seed, "distill", *front.key, "deepen", number)
        where = (front.mean, front.covariance, front.label)
        probe = sampler.probe(*where, failing=self.failing, limit=self.draws, rng=rng)
        return replace(probe, failing=probe.failing.take(probe.failing.predicted == front.predicted))

    def _inside(self, probe: Probe, least: float) -> bool:
        failing = len(probe.failing)
        sharp = failing >= (self.enough - SLACK) * probe.kept
        return sharp and failing * SUREST >= FEWEST and probe.kept >= least * probe.drawn


def _surest(failing: Draw) -> Draw:
    order = np.argsort(-failing.margin, kind="stable")
    return failing.take(order[: round(SUREST * len(failing))])
