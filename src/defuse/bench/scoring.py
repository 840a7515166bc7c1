"""Scoring: which findings are the planted bug, and what a repair is worth on real images of the slice."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from defuse.bench.slices import Ruler, Values
from defuse.bench.tasks import Task
from defuse.classifiers import Classifier
from defuse.records import LabelledImages, Rate
from defuse.seeds import numpy_rng
from defuse.summary import Part, Share
from defuse.types import ByteImages, Mask

FIRST = 10
"""How many findings, in the method's own order, are looked at."""

MATCH, STRICT_MATCH = 0.5, 0.8
"""Share of a finding's failing images that must lie in the slice."""

LIFT = 5.0
"""How many times the class's natural share must do so."""

FEWEST_FAILING = 5
"""A finding with fewer failing images proves nothing."""

REAL = 0.5
"""Share of a finding's failing images that must show its label to the oracle for the finding to count as real."""


@dataclass(frozen=True)
class Finding:
    """One reported group of errors.

    Attributes:
        name: such as ``r001``.
        label: index of the class that its images show.
        predicted: index of the class that they are read as.
        failing: images of the group that are misread; fresh ones where the method can draw some, (n, h, w, c).
    """

    name: str
    label: int
    predicted: int
    failing: ByteImages


class FindingScore(Part):
    """A finding against the truth.

    ``inside`` is the share of its failing images that lie in the slice, null for findings of other classes or without
    images; ``real`` is the share that shows the finding's label to the oracle.
    """

    name: str
    label: int
    predicted: int
    failing: int
    inside: float | None
    match: bool
    strict: bool
    real: Share


def score_finding(finding: Finding, task: Task, values: Values, ruler: Ruler, real: Mask) -> FindingScore:
    """Hold a finding against a planted bug.

    Args:
        finding: what was reported.
        task: the bug.
        values: the task's attribute of each failing image, (n,).
        ruler: says which values lie in the slice.
        real: which failing images show the finding's label to the oracle, (n,).
    """
    about = (finding.label, finding.predicted) == (task.label, task.answer)
    inside = float(ruler.inside(values).mean()) if finding.label == task.label and len(values) else None
    counts = about and inside is not None and len(values) >= FEWEST_FAILING and inside >= LIFT * ruler.natural
    return FindingScore(
        name=finding.name,
        label=finding.label,
        predicted=finding.predicted,
        failing=len(values),
        inside=inside,
        match=counts and inside is not None and inside >= MATCH,
        strict=counts and inside is not None and inside >= STRICT_MATCH,
        real=Share.of(Rate.of(real)),
    )


def first_rank(matches: Sequence[bool]) -> int | None:
    """Return the place of the first match among the first ``FIRST``, from 1: the labels that a person must give."""
    return next((place for place, match in enumerate(matches[:FIRST], start=1) if match), None)


def precision(scores: Sequence[FindingScore]) -> float | None:
    """Return the share of the first findings that are real errors, planted or not; None where there are none."""
    first = scores[:FIRST]
    return sum((score.real.value or 0) >= REAL for score in first) / len(first) if first else None


class RepairScore(Part):
    """Accuracies on real held-out images of the slice, and on test images away from every slice.

    ``control`` is the same fine-tuning on reference data alone; ``clean`` is a classifier that was taught no bug.
    ``negative_flips`` is the share of ``test`` images that turned from right to wrong.
    """

    before: Share
    control: Share
    after: Share
    clean: Share
    test_before: Share
    test_control: Share
    test_after: Share
    negative_flips: Share

    @property
    def deep(self) -> bool:
        """Whether the control closes less than half of the gap: what a planted bug should be."""
        closed = ratio([self.control.successes - self.before.successes], [self.clean.successes - self.before.successes])
        return closed is not None and closed < 0.5  # noqa: PLR2004 -- half


@dataclass(frozen=True)
class Models:
    """The four classifiers that a repair is told by."""

    before: Classifier
    control: Classifier
    after: Classifier
    clean: Classifier


def score_repair(models: Models, held_out: LabelledImages, test: LabelledImages) -> RepairScore:
    """Measure the models on real images that nothing was trained or chosen on."""
    on_slice = {name: Share.of(model.accuracy(held_out)) for name, model in vars(models).items()}
    right = {name: getattr(models, name).reads_right(test) for name in ("before", "control", "after")}
    lost = right["before"] & ~right["after"]
    return RepairScore(
        **on_slice,
        **{f"test_{name}": Share.of(Rate.of(mask)) for name, mask in right.items()},
        negative_flips=Share.of(Rate.of(lost)),
    )


def ratio(gains: Sequence[float], gaps: Sequence[float]) -> float | None:
    """Return the sum of gains over the sum of gaps; None where there is no gap to close."""
    total = sum(gaps)
    return sum(gains) / total if total > 0 else None


@dataclass(frozen=True)
class Interval:
    """A ratio of sums over tasks, with a 95 % bootstrap interval over tasks; None where there is no gap."""

    value: float | None
    low: float | None
    high: float | None


def ratio_of_sums(gains: Sequence[float], gaps: Sequence[float], *, seed: int, rounds: int = 2_000) -> Interval:
    """Return how much of the gaps was closed, over all tasks together.

    A ratio of sums, since a task with hardly a gap would blow up a mean of ratios.

    Args:
        gains: one per task and seed.
        gaps: likewise.
        seed: of the resampling.
        rounds: resamples; those without any gap are left out.
    """
    value = ratio(gains, gaps)
    if value is None:
        return Interval(None, None, None)
    rows = numpy_rng(seed, "bootstrap").integers(len(gains), size=(rounds, len(gains)))
    tops: Float64[np.ndarray, " rounds"] = np.asarray(gains, dtype=np.float64)[rows].sum(1)
    bottoms: Float64[np.ndarray, " rounds"] = np.asarray(gaps, dtype=np.float64)[rows].sum(1)
    drawn = tops[bottoms > 0] / bottoms[bottoms > 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(value, float(low), float(high))
