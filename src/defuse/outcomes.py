"""The frozen records of what comes last: how models score, the repair, the regression suite."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.stats import binomtest

from defuse.records import Rate

UNTRIED = Rate(0, 0)
"""The figure of a model that diverged, or that was never measured: nothing was tried."""


@dataclass(frozen=True)
class RegionScore:
    """A classifier's failure rate on the final samples of one region."""

    region: str
    failure: Rate


@dataclass(frozen=True)
class Scores:
    """One classifier's figures: on real validation and test images, and on regions' final samples.

    Attributes:
        validation: accuracy on validation images.
        test: accuracy on test images.
        regions: failure rate on the final samples of each region.
        classes: accuracy on the test images of each class, by class index; empty for a model that diverged.
        calibration_error: expected calibration error on test images, in [0, 1]; None for a model that diverged.
    """

    validation: Rate
    test: Rate
    regions: tuple[RegionScore, ...]
    classes: tuple[Rate, ...] = ()
    calibration_error: float | None = None

    @property
    def failure(self) -> Rate:
        """The failure rate pooled over all regions."""
        return Rate(
            sum(score.failure.successes for score in self.regions), sum(score.failure.trials for score in self.regions)
        )


@dataclass(frozen=True)
class Flips:
    """Test images that one of two models reads right and the other wrong.

    Attributes:
        fixed: wrong by the given model, right by the new one.
        broken: right by the given model, wrong by the new one.
    """

    fixed: int
    broken: int

    @property
    def p_value(self) -> float:
        """McNemar's exact test, two-sided: chance of so uneven a division if both models were equally often right.

        Source: McNemar, "Note on the sampling error of the difference between correlated proportions", 1947; the exact
        form is a binomial test of ``broken`` among all that flip. 1 when nothing flips.
        """
        total = self.fixed + self.broken
        return float(binomtest(self.broken, total).pvalue) if total else 1.0


@dataclass(frozen=True)
class SweepPoint:
    """One lambda of the grid, measured on what selection may see: validation images and ``select`` samples.

    Attributes:
        weight: lambda.
        validation: accuracy on validation images; nothing tried when the fine-tuning diverged.
        region: failure rate on the ``select`` samples of all repaired regions; nothing tried when it diverged.
        allowed: whether it holds the caps on accuracy loss and on negative flips.
        blend: how much of the way from the given weights to the tuned ones was gone: what is best of all that holds the
            caps, or the least that was tried where none does.
        negative_flips: share of validation images that the old model got right and this one gets wrong.
        loss: mean cross-entropy on the ``select`` samples, in nats.
        loss_bound: upper 95 % bootstrap bound of the validation accuracy lost, as a share; by group where there are
            groups.
        changed: accuracy on changed validation images; nothing tried where none are looked at.
        keep_logits: weight at which the given model's logits were kept; 0 for its answers alone.
    """

    weight: float
    validation: Rate
    region: Rate
    allowed: bool
    blend: float = 1.0
    negative_flips: Rate = UNTRIED
    loss: float = 0.0
    loss_bound: float = 0.0
    changed: Rate = UNTRIED
    keep_logits: float = 0.0


@dataclass(frozen=True)
class Repair:
    """What correct did. The repaired weights themselves lie beside this record as safetensors.

    Attributes:
        chosen: the lambda that was chosen; None when no lambda met the caps and the old weights were returned.
        steps: optimiser steps of every fine-tuning, the control's too.
        sweep: the best of each lambda.
        control: the same steps on reference data alone, and the same blend.
        negative_flips: share of test images that the old model got right and the new one gets wrong.
        flips: test images on which the returned model and the given one differ in being right.
        control_flips: the same of the control; None when it diverged.
        candidates: every lambda and every part of the way that was measured.
    """

    chosen: float | None
    steps: int
    sweep: tuple[SweepPoint, ...]
    before: Scores
    after: Scores
    control: Scores
    negative_flips: Rate
    flips: Flips = Flips(0, 0)
    control_flips: Flips | None = None
    candidates: tuple[SweepPoint, ...] = ()


@dataclass(frozen=True)
class RegionAgain:
    """What a second search, with fresh seeds, finds of a region that was repaired; matched by confusion.

    Attributes:
        region: its name.
        given_kept: failures of its confusion (class and answer) that the second search kept on the given model.
        repaired_kept: the same on the repaired model, of as many candidates.
        found_again: whether the second search reports a region of that confusion on the given model; if not, its
            absence from the repaired model says little.
        left: whether it reports one on the repaired model.
    """

    region: str
    given_kept: int
    repaired_kept: int
    found_again: bool
    left: bool

    @property
    def fate(self) -> Literal["gone", "left", "not found"]:
        """``gone`` is what was found again and is not left; of what was found on neither model nothing can be said."""
        if self.left:
            return "left"
        return "gone" if self.found_again else "not found"


@dataclass(frozen=True)
class NewConfusion:
    """A confusion that has a region on the repaired model alone; ``kept`` failures of it were kept."""

    label: int
    predicted: int
    kept: int


@dataclass(frozen=True)
class Verified:
    """The search again, with fresh seeds and equal budget, on both models.

    Attributes:
        given: share of the candidates that were kept as failures of the given model.
        repaired: the same of the repaired model.
        regions: each region that was repaired.
        new: confusions that only the repaired model has a region of.
    """

    given: Rate
    repaired: Rate
    regions: tuple[RegionAgain, ...]
    new: tuple[NewConfusion, ...]


class Triage(StrEnum):
    """What people, or a repair, have decided on one region of a suite.

    ``open``: a bug, not repaired. ``repaired``: a repaired model set its threshold. ``accepted``: people live with it;
    it is still measured and shown, but fails no check.
    """

    OPEN = "open"
    REPAIRED = "repaired"
    ACCEPTED = "accepted"


@dataclass(frozen=True)
class CaseSource:
    """Where a case's images came from.

    Attributes:
        generator: SHA-256 of the generator's weights.
        seed: of the run.
        z: the codes that the images were decoded from, (n, latent).
    """

    generator: str
    seed: int
    z: Float32[np.ndarray, "n latent"]


@dataclass(frozen=True)
class SuiteCase:
    """One region's entry in a regression suite: a later model fails it above ``max_failure_rate``.

    Attributes:
        region: its name.
        label: the class that the images show.
        predicted_before: the given model's most frequent wrong answer on them.
        images: 8-bit, (n, h, w, c).
        max_failure_rate: the threshold, in [0, 1].
        measured: the repaired model's failures, from whose interval the threshold is; nothing tried where none is.
        triage: what was decided on the region.
        source: where the images came from; None where that is not known.
    """

    region: str
    label: int
    predicted_before: int
    images: UInt8[np.ndarray, "n h w c"]
    max_failure_rate: float
    measured: Rate = UNTRIED
    triage: Triage = Triage.OPEN
    source: CaseSource | None = None


@dataclass(frozen=True)
class Suite:
    """Stored images, labels and thresholds that any later model must pass."""

    class_names: tuple[str, ...]
    cases: tuple[SuiteCase, ...]


@dataclass(frozen=True)
class CaseResult:
    """How one model did on one case of a suite, and how many seconds it took."""

    region: str
    failure: Rate
    max_failure_rate: float
    triage: Triage = Triage.OPEN
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether the failure rate is at most the threshold."""
        return self.failure.value <= self.max_failure_rate

    @property
    def blocks(self) -> bool:
        """Whether the suite fails by it: not passed, and not accepted."""
        return not self.passed and self.triage is not Triage.ACCEPTED

    @property
    def sentence(self) -> str:
        """The failure rate beside its threshold."""
        failed = f"{self.failure.successes} of {self.failure.trials} images"
        return (
            f"{failed} misread ({100 * self.failure.value:.1f} %), at most {100 * self.max_failure_rate:.1f} % allowed"
        )
