"""From failures to regions: propose candidates, test each on fresh samples, report what is proven."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.distill.candidates import Candidate, Grouping, Proposed
from defuse.distill.cost import CostMatrix, default_costs, total_cost
from defuse.distill.deepen import Deepening
from defuse.distill.mixture import DirichletMixture
from defuse.distill.sampling import RegionSampler, join
from defuse.distill.sharpen import Sharpening
from defuse.distill.statistics import adjust, gather_evidence
from defuse.progress import Progress, silent
from defuse.records import Evidence, Failures, Purpose, Region, Regions, RegionSamples
from defuse.seeds import numpy_rng
from defuse.types import STRICT

LOW_KEEP_RATE = "keep rate below the floor"
NOT_PROVEN = "failure rate not proven above rho"
OVER_LIMIT = "ranked below the limit"

_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=1)]
_Tested = tuple[Candidate, Evidence]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Distill:
    """Groups failures into regions and keeps those that fresh samples prove.

    Source: Slack et al. 2021 (arXiv:2102.06162), distillation. With ``per_pair=False`` and ``keep_only=False`` it is
    the published method: one mixture over all codes, components below a weight threshold dropped, every other one a
    region, nothing filtered; the values are ours. Deviations of the default: one mixture per (label, predicted)
    pair; a minimum support; Gaussians sharpened until most of their samples fail, and grown into the bug; samples in
    fine detail; proof by fresh ones under a false discovery rate; samples that no longer show the label are left out.

    Attributes:
        mixture: its truncation is lowered to the number of failures over ``min_support``.
        per_pair: fit one mixture per (label, predicted) pair instead of one over all failures.
        weight_threshold: a component with a smaller share of its mixture is dropped.
        min_support: a group or a component with fewer failures is dropped.
        parts: a confusion whose failures lie too far apart for one sharp Gaussian is split into so many at most, of
            which the sharpest counts; 1 for no such parts.
        sharpen_rounds: see ``Sharpening``.
        sharpen_draws: samples per candidate and round, at most.
        sharpen_failing: a round ends early with so many failing samples.
        sharpen_until: share of a candidate's kept samples that fail when it is sharp.
        deepen_support: a candidate of fewer failures is not grown; see ``Deepening``.
        deepen_rounds: see ``Deepening``; draws and shares are those of the sharpening.
        samples: fresh samples per candidate that the evidence is counted on.
        tiles: samples to show.
        repair_samples: samples to repair with, each in fine detail and as it was drawn: a repair with both carries over
            to more real images (80 in place of 48 % of the dark 50s of ``defuse demo``).
        select_samples: samples to choose the repaired model by.
        final_samples: samples to score the repaired model on.
        rho: the failure rate that a region must exceed.
        q_value: the false discovery rate that is accepted among reported regions.
        min_keep_rate: a candidate of whose samples a smaller share still shows the label is dropped.
        keep_only: report only what the evidence proves, and hand on only samples that still show the label.
        draws_per_sample: with ``keep_only``, at most this many draws are made for each sample wanted.
        max_regions: report at most this many, the first in rank; None for all. What the search has met rarely comes
            last, and is less often a bug: of signs (GTSRB) a blind reader read 86 % of the first 25 regions' images,
            67 % of the next 15's. And all regions of a repair share its caps.
    """

    mixture: DirichletMixture = field(default_factory=DirichletMixture)
    per_pair: bool = True
    weight_threshold: _Share = 0.02
    min_support: _Count = 5
    parts: _Count = 6
    sharpen_rounds: Annotated[int, Field(ge=0)] = 8
    sharpen_draws: _Count = 1_000
    sharpen_failing: _Count = 250
    sharpen_until: Annotated[float, Field(gt=0, le=1)] = 0.9
    deepen_support: _Count = 20
    deepen_rounds: Annotated[int, Field(ge=0)] = 5
    samples: _Count = 200
    tiles: _Count = 100
    repair_samples: _Count = 300
    select_samples: _Count = 100
    final_samples: _Count = 200
    rho: Annotated[float, Field(ge=0, lt=1)] = 0.5
    q_value: Annotated[float, Field(gt=0, le=1)] = 0.05
    min_keep_rate: _Share = 0.2
    keep_only: bool = True
    draws_per_sample: _Count = 10
    max_regions: Annotated[int, Field(ge=1)] | None = 25

    def run(
        self,
        failures: Failures,
        sampler: RegionSampler,
        *,
        seed: int,
        costs: CostMatrix | None = None,
        progress: Progress = silent,
    ) -> Regions:
        """Find the regions of a set of failures.

        A candidate's fit, evidence and samples depend on its own group of failures and on the seed; of other groups
        they see no more than the covariance within groups. Only q values, ranks and names compare candidates.

        Rank: support times the mean cost of an answer on the kept evidence samples, that is, how much harm of what one
        search budget found the region stands for; by default the mean cost is the failure rate. Without ``keep_only``
        the support alone. With it, the second region of a confusion counts half, the third a third, and so on (as seats
        are given by D'Hondt), since one who has seen that 100 is read as 30 learns more from another bug than from a
        second region of this one.

        Args:
            failures: what the search kept.
            sampler: of the generator that the codes belong to.
            seed: of the run.
            costs: what each wrong answer costs; by default 1. They decide the rank and nothing else.
            progress: told of mixtures, candidates and regions done.

        Returns:
            The reported regions, each with its samples for every purpose. ``fitted`` counts the components that have
            members; each is either reported or counted in ``dropped``, which also counts the groups that were too
            small to fit. Evidence samples are never filtered, so that the evidence can be counted again from them.
            Other samples may be fewer than wanted, where ``draws_per_sample`` did not suffice.
        """
        proposed = self.grouping.propose(failures, seed=seed, progress=progress)
        return self.settle(proposed, sampler, seed=seed, costs=costs, progress=progress)

    @property
    def grouping(self) -> Grouping:
        """How failures become candidates."""
        return Grouping(self.mixture, self.per_pair, self.weight_threshold, self.min_support, self.parts)

    def settle(
        self,
        proposed: Proposed,
        sampler: RegionSampler,
        *,
        seed: int,
        costs: CostMatrix | None = None,
        progress: Progress = silent,
    ) -> Regions:
        """Make regions of candidates, wherever these come from: sharpen, test, rank and sample them; see ``run``."""
        candidates = self._grow(proposed.candidates, sampler, seed, progress)
        tested = self._test(candidates, sampler, seed, progress)
        if costs is None:
            costs = default_costs(len(sampler.classifier.class_names))
        found, dropped = self._select(tested, costs)
        regions = tuple(_region(f"r{place:03d}", *one) for place, one in enumerate(found, start=1))
        samples: dict[tuple[str, Purpose], RegionSamples] = {}
        for done, (region, (candidate, _)) in enumerate(zip(regions, found, strict=True)):
            progress("distill: samples", done, len(regions), region.name)
            for purpose in Purpose:
                samples[region.name, purpose] = self._draw(region.name, candidate, purpose, sampler, seed)
        progress("distill: samples", len(regions), len(regions))
        return Regions(regions, samples, proposed.fitted, dict(proposed.dropped + dropped))

    def _grow(
        self, candidates: Sequence[Candidate], sampler: RegionSampler, seed: int, progress: Progress
    ) -> list[Candidate]:
        """Move every candidate into the part of the latent space where the classifier fails, and spread it there."""
        how = (self.sharpen_draws, self.sharpen_failing, self.sharpen_until)
        sharpening = Sharpening(self.sharpen_rounds, *how)
        deepening = Deepening(self.deepen_support, self.deepen_rounds, *how)
        grown: list[Candidate] = []
        for done, candidate in enumerate(candidates):
            progress("distill: sharpen", done, len(candidates), f"class {candidate.label} as {candidate.predicted}")
            sharp = sharpening.run(candidate, sampler, seed=seed)
            grown.append(deepening.run(sharp, sampler, seed=seed))
        progress("distill: sharpen", len(candidates), len(candidates))
        return grown

    def _test(
        self, candidates: Sequence[Candidate], sampler: RegionSampler, seed: int, progress: Progress
    ) -> list[_Tested]:
        """Gather every candidate's evidence on fresh samples, then set all q values at once."""
        gathered: list[Evidence] = []
        for done, candidate in enumerate(candidates):
            progress("distill: evidence", done, len(candidates), f"class {candidate.label} as {candidate.predicted}")
            draw = self._draw("", candidate, Purpose.EVIDENCE, sampler, seed)
            gathered.append(gather_evidence(draw, candidate.label, self.rho))
        progress("distill: evidence", len(candidates), len(candidates))
        return list(zip(candidates, adjust(gathered), strict=True))

    def _select(self, tested: Sequence[_Tested], costs: CostMatrix) -> tuple[list[_Tested], Counter[str]]:
        """Return what is reported, first in rank first, and why the others are not."""
        reasons = [self.refuses(evidence) for _, evidence in tested]
        dropped = Counter(reason for reason in reasons if reason)
        passed = [one for one, reason in zip(tested, reasons, strict=True) if not reason]
        found = self._ranked(passed, costs)[: self.max_regions]
        if len(passed) > len(found):
            dropped[OVER_LIMIT] = len(passed) - len(found)
        return found, dropped

    def refuses(self, evidence: Evidence) -> str | None:
        """Return why a candidate is not reported, or None."""
        if not self.keep_only:
            return None
        if not evidence.keep.trials or evidence.keep.value < self.min_keep_rate:
            return LOW_KEEP_RATE
        return NOT_PROVEN if evidence.q_value > self.q_value else None

    def _ranked(self, passed: Sequence[_Tested], costs: CostMatrix) -> list[_Tested]:
        """Return what passed in order; see ``run``."""
        scored = sorted(((self._importance(one, costs), one) for one in passed), key=lambda pair: -pair[0])
        if not self.keep_only:
            return [one for _, one in scored]
        before: Counter[tuple[int, int]] = Counter()
        shared: list[tuple[float, _Tested]] = []
        for importance, one in scored:
            confusion = (one[0].label, one[0].predicted)
            before[confusion] += 1
            shared.append((importance / before[confusion], one))
        return [one for _, one in sorted(shared, key=lambda pair: -pair[0])]

    def _importance(self, one: _Tested, costs: CostMatrix) -> float:
        candidate, evidence = one
        if not self.keep_only:
            return candidate.support
        return candidate.support * total_cost(evidence, candidate.label, costs) / max(evidence.failure.trials, 1)

    def _draw(
        self, name: str, candidate: Candidate, purpose: Purpose, sampler: RegionSampler, seed: int
    ) -> RegionSamples:
        """Draw one candidate's samples for one purpose; the same call gives the same samples."""
        wanted = {
            Purpose.EVIDENCE: self.samples,
            Purpose.SHOW: self.tiles,
            Purpose.REPAIR: self.repair_samples,
            Purpose.SELECT: self.select_samples,
            Purpose.FINAL: self.final_samples,
        }[purpose]
        rng = numpy_rng(seed, "distill", *candidate.key, purpose.value)
        where = (candidate.mean, candidate.covariance, candidate.label)
        if self.keep_only and purpose is not Purpose.EVIDENCE:
            draw = sampler.draw_kept(*where, wanted, limit=wanted * self.draws_per_sample, rng=rng)
        else:
            draw = sampler.draw(*where, wanted, rng=rng)
        if purpose is Purpose.REPAIR and sampler.renderer.detail is not None:
            draw = join([draw, replace(sampler, renderer=sampler.renderer.smooth).at(draw.z, candidate.label)])
        return RegionSamples(name, purpose, draw.images, draw.z, draw.predicted, draw.kept)


def _region(name: str, candidate: Candidate, evidence: Evidence) -> Region:
    """Give a candidate its name and its evidence."""
    return Region(
        name=name,
        label=candidate.label,
        predicted=candidate.predicted,
        mean=candidate.mean,
        covariance=candidate.covariance,
        weight=candidate.weight,
        support=candidate.support,
        evidence=evidence,
    )
