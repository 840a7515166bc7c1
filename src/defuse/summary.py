"""``summary.json``: what a run found and did, in figures. The classes below are its schema."""

from typing import Self

from pydantic import BaseModel, ConfigDict

from defuse.distill import NaturalImages, mean_cost
from defuse.outcomes import Flips, Scores, SweepPoint, Verified
from defuse.pipeline import Run
from defuse.records import CoveragePoint, Rate, Region, RegionLabel
from defuse.report.describe import sentence
from defuse.versions import versions

SCHEMA = 1
"""Version of the summary's schema; raised when a key changes its meaning or goes."""


class Part(BaseModel):
    """Base of the summary's parts: immutable, and no key but those that are documented."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Share(Part):
    """A share with its 95 % Wilson interval; ``value`` is null when nothing was tried."""

    successes: int
    trials: int
    value: float | None
    low: float
    high: float

    @classmethod
    def of(cls, rate: Rate) -> Self:
        """Return a rate as plain figures."""
        low, high = rate.interval
        return cls(
            successes=rate.successes,
            trials=rate.trials,
            value=rate.value if rate.trials else None,
            low=low,
            high=high,
        )


class ProposalSummary(Part):
    """What became of one proposal's candidates."""

    proposal: str
    candidates: int
    flips: int
    kept: int


class GateSummary(Part):
    """How many reached a gate and how many passed it."""

    gate: str
    tested: int
    passed: int


class SearchSummary(Part):
    """The search: ``flip_rate`` is flips over candidates, ``kept_rate`` is failures kept over candidates."""

    candidates: int
    flips: int
    kept: int
    flip_rate: Share
    kept_rate: Share
    proposals: tuple[ProposalSummary, ...]
    gates: tuple[GateSummary, ...]
    coverage: tuple[CoveragePoint, ...] = ()


class RegionSummary(Part):
    """One reported region, in rank order.

    ``label`` is the class proposed, ``description`` says what sets the region's images apart from others of that class
    (empty when nothing does). ``decision`` is the class that annotators gave it (null when thrown out, for ``reason``);
    ``machine`` says that judges, not people, decided. ``expected_cost`` is the mean cost of an answer on the kept
    samples, null when none was kept; where no costs were given, it is the failure rate. ``failure_before``,
    ``failure_after`` and ``failure_control`` are on final samples; null where there was no repair. ``real_images`` is
    how many real images of all splits have the label; of those whose code lies inside the region, ``real_misread`` are
    misread. ``mass`` is the probability that a real image, of those that no search started from, falls inside and is
    misread.
    """

    name: str
    label: str
    predicted: str
    description: str
    support: int
    weight: float
    keep_rate: Share
    failure_rate: Share
    p_value: float
    q_value: float
    expected_cost: float | None
    decision: str | None
    reason: str
    machine: bool
    failure_before: Share | None
    failure_after: Share | None
    failure_control: Share | None
    real_images: int
    real_misread: Share
    mass: Share


class ScoresSummary(Part):
    """One model's accuracy on real images and its failure rate over all labelled regions' final samples.

    ``class_accuracy`` is on the test images of each class, in the order of the classes. ``calibration_error`` is the
    expected calibration error on test images, over 15 bins of equal width. Both are empty for a model that diverged.
    """

    validation_accuracy: Share
    test_accuracy: Share
    region_failure_rate: Share
    class_accuracy: tuple[Share, ...]
    calibration_error: float | None

    @classmethod
    def of(cls, scores: Scores) -> Self:
        """Return scores as plain figures."""
        return cls(
            validation_accuracy=Share.of(scores.validation),
            test_accuracy=Share.of(scores.test),
            region_failure_rate=Share.of(scores.failure),
            class_accuracy=tuple(Share.of(rate) for rate in scores.classes),
            calibration_error=scores.calibration_error,
        )


class FlipsSummary(Part):
    """Test images newly right (``fixed``) and newly wrong (``broken``); McNemar's exact test, two-sided."""

    fixed: int
    broken: int
    p_value: float

    @classmethod
    def of(cls, flips: Flips) -> Self:
        """Return flips as plain figures."""
        return cls(fixed=flips.fixed, broken=flips.broken, p_value=flips.p_value)


class SweepSummary(Part):
    """One lambda on what selection may see, whether it met the caps, and how far from the given weights it went.

    ``accuracy_loss_bound`` is the upper 95 % bootstrap bound of the validation accuracy lost, as a share;
    ``changed_accuracy`` is that on changed validation images, of no trials where none were looked at; ``keep_logits``
    is the weight at which the given model's logits were kept.
    """

    weight: float
    validation_accuracy: Share
    changed_accuracy: Share
    region_failure_rate: Share
    negative_flips: Share
    region_loss: float
    accuracy_loss_bound: float
    allowed: bool
    blend: float
    keep_logits: float

    @classmethod
    def of(cls, point: SweepPoint) -> Self:
        """Return a point of the sweep as plain figures."""
        return cls(
            weight=point.weight,
            validation_accuracy=Share.of(point.validation),
            changed_accuracy=Share.of(point.changed),
            region_failure_rate=Share.of(point.region),
            negative_flips=Share.of(point.negative_flips),
            region_loss=point.loss,
            accuracy_loss_bound=point.loss_bound,
            allowed=point.allowed,
            blend=point.blend,
            keep_logits=point.keep_logits,
        )


class RepairSummary(Part):
    """The repair; ``chosen`` is the lambda taken, null when none met the caps.

    ``sweep`` holds the best of each lambda, ``candidates`` every lambda and part of the way that was measured.
    ``flips`` holds the returned model, ``control_flips`` the control (null when it diverged) against the given model.
    """

    chosen: float | None
    steps: int
    sweep: tuple[SweepSummary, ...]
    candidates: tuple[SweepSummary, ...]
    before: ScoresSummary
    after: ScoresSummary
    control: ScoresSummary
    negative_flips: Share
    flips: FlipsSummary
    control_flips: FlipsSummary | None


class RegionAgainSummary(Part):
    """A repaired region in the searches after the repair; ``left`` says that its confusion still has a region.

    ``given_kept`` and ``repaired_kept`` count failures of its confusion; ``found_again`` says that the given model has
    a region of it, too, under fresh seeds.
    """

    name: str
    given_kept: int
    repaired_kept: int
    found_again: bool
    left: bool


class NewConfusionSummary(Part):
    """A confusion of which only the repaired model has a region, and how many failures of it were kept."""

    label: str
    predicted: str
    kept: int


class VerifiedSummary(Part):
    """``defuse verify``: the search again, fresh seeds, equal budget; shares are failures kept over candidates."""

    given_kept_rate: Share
    repaired_kept_rate: Share
    regions: tuple[RegionAgainSummary, ...]
    new: tuple[NewConfusionSummary, ...]

    @classmethod
    def of(cls, verified: Verified, names: tuple[str, ...]) -> Self:
        """Return what both searches found as plain figures."""
        return cls(
            given_kept_rate=Share.of(verified.given),
            repaired_kept_rate=Share.of(verified.repaired),
            regions=tuple(
                RegionAgainSummary(
                    name=each.region,
                    given_kept=each.given_kept,
                    repaired_kept=each.repaired_kept,
                    found_again=each.found_again,
                    left=each.left,
                )
                for each in verified.regions
            ),
            new=tuple(
                NewConfusionSummary(label=names[each.label], predicted=names[each.predicted], kept=each.kept)
                for each in verified.new
            ),
        )


class Summary(Part):
    """Everything in figures. Rates are shares in [0, 1], times are seconds, the bound is in nats per image."""

    schema_version: int
    preset: str
    seed: int
    source: str
    classes: int
    images: dict[str, int]
    test_accuracy: Share
    generator_bound: float
    reconstruction_kept: Share
    judge_accuracy: tuple[Share, ...]
    search: SearchSummary
    regions: tuple[RegionSummary, ...]
    regions_fitted: int
    regions_dropped: dict[str, int]
    repair: RepairSummary | None
    repair_outcome: str
    verified: VerifiedSummary | None
    suite_cases: int
    seconds: dict[str, float]
    versions: dict[str, str]


def summarise(run: Run) -> Summary:
    """Return the summary of a run; what is not done yet is done first."""
    search = run.identified.search
    splits, verified = run.splits, run.verified_so_far
    return Summary(
        schema_version=SCHEMA,
        preset=run.config.preset,
        seed=run.config.seed,
        source=run.config.data.source,
        classes=len(splits.class_names),
        images={
            "reference": len(splits.reference),
            "validation": len(splits.validation),
            "test": len(splits.test),
        },
        test_accuracy=Share.of(run.test_accuracy),
        generator_bound=run.bound,
        reconstruction_kept=Share.of(run.quality.kept),
        judge_accuracy=tuple(Share.of(rate) for rate in run.panel.accuracy),
        search=SearchSummary(
            candidates=search.candidates,
            flips=search.flips,
            kept=search.kept,
            flip_rate=Share.of(Rate(search.flips, search.candidates)),
            kept_rate=Share.of(Rate(search.kept, search.candidates)),
            proposals=tuple(
                ProposalSummary(proposal=c.proposal, candidates=c.candidates, flips=c.flips, kept=c.kept)
                for c in search.counts
            ),
            gates=tuple(GateSummary(gate=g, tested=tested, passed=passed) for g, tested, passed in search.gates),
            coverage=search.coverage,
        ),
        regions=_regions(run),
        regions_fitted=run.regions.fitted,
        regions_dropped=dict(run.regions.dropped),
        repair=_repair(run),
        repair_outcome=run.outcome,
        verified=None if verified is None else VerifiedSummary.of(verified, splits.class_names),
        suite_cases=len(run.suite.cases),
        seconds=run.seconds,
        versions=versions(),
    )


def _regions(run: Run) -> tuple[RegionSummary, ...]:
    repair = run.corrected.repair if run.corrected else None
    scores = {
        when: {score.region: Share.of(score.failure) for score in measured.regions}
        for when, measured in (
            {"before": repair.before, "after": repair.after, "control": repair.control} if repair else {}
        ).items()
    }
    return tuple(
        _region(
            region,
            sentence(run.traits[region.name], run.splits.class_names[region.label]),
            label,
            run.splits.class_names,
            mean_cost(region.evidence, region.label, run.costs),
            natural,
            {when: of.get(region.name) for when, of in scores.items()},
        )
        for region, label, natural in zip(run.regions.reported, run.labels, run.natural, strict=True)
    )


def _region(
    region: Region,
    description: str,
    label: RegionLabel,
    names: tuple[str, ...],
    cost: float | None,
    natural: NaturalImages,
    failure: dict[str, Share | None],
) -> RegionSummary:
    return RegionSummary(
        name=region.name,
        label=names[region.label],
        predicted=names[region.predicted],
        description=description,
        support=region.support,
        weight=region.weight,
        keep_rate=Share.of(region.evidence.keep),
        failure_rate=Share.of(region.evidence.failure),
        p_value=region.evidence.p_value,
        q_value=region.evidence.q_value,
        expected_cost=cost,
        decision=None if label.label is None else names[label.label],
        reason=label.reason,
        machine=label.machine,
        failure_before=failure.get("before"),
        failure_after=failure.get("after"),
        failure_control=failure.get("control"),
        real_images=natural.of_label,
        real_misread=Share.of(natural.misread),
        mass=Share.of(natural.mass),
    )


def _repair(run: Run) -> RepairSummary | None:
    repair = run.corrected.repair if run.corrected else None
    if repair is None:
        return None
    return RepairSummary(
        chosen=repair.chosen,
        steps=repair.steps,
        sweep=tuple(SweepSummary.of(point) for point in repair.sweep),
        candidates=tuple(SweepSummary.of(point) for point in repair.candidates),
        before=ScoresSummary.of(repair.before),
        after=ScoresSummary.of(repair.after),
        control=ScoresSummary.of(repair.control),
        negative_flips=Share.of(repair.negative_flips),
        flips=FlipsSummary.of(repair.flips),
        control_flips=None if repair.control_flips is None else FlipsSummary.of(repair.control_flips),
    )
