"""The frozen records that stages exchange. A stage reads records and returns records; it never calls another stage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Float, Float32, Int64
from scipy.stats import binomtest

from defuse.types import ByteImages, Labels, Mask


@dataclass(frozen=True)
class LabelledImages:
    """Labelled images of one split.

    Attributes:
        images: 8-bit, (n, h, w, c) with c = 1 or 3.
        labels: class index of each image, (n,).
        class_names: one name per class index.
        rows: row of each image in its source, (n,), so that an image keeps its number through every split.
    """

    images: ByteImages
    labels: Labels
    class_names: tuple[str, ...]
    rows: Labels

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Labels | Mask) -> "LabelledImages":
        """Return the images at ``index`` (integers or a mask), in that order."""
        return LabelledImages(self.images[index], self.labels[index], self.class_names, self.rows[index])

    def spread(self, label: int, most: int) -> "LabelledImages":
        """Return evenly spaced images of a class, ``most`` at most."""
        rows = np.flatnonzero(self.labels == label)
        return self.take(rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)])

    @classmethod
    def concatenate(cls, parts: Sequence["LabelledImages"]) -> "LabelledImages":
        """Return the images of all parts, at least one, in order; the parts share their classes."""
        return cls(
            np.concatenate([part.images for part in parts]),
            np.concatenate([part.labels for part in parts]),
            parts[0].class_names,
            np.concatenate([part.rows for part in parts]),
        )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width, channels."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels


@dataclass(frozen=True)
class Splits:
    """What a run may look at: ``reference`` to search with, ``validation`` to choose with, ``test`` to score.

    ``validation_groups`` says which validation images show the same thing, (n,); None where that is not known.
    """

    reference: LabelledImages
    validation: LabelledImages
    test: LabelledImages
    validation_groups: Labels | None = None

    def __post_init__(self) -> None:
        groups = self.validation_groups
        if groups is not None and len(groups) != len(self.validation):
            count = len(self.validation)
            raise ValueError(f"validation_groups: expected one for each of {count} images, got {len(groups)}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class index, the same in every split."""
        return self.reference.class_names


@dataclass(frozen=True)
class Rate:
    """A share of trials with its 95 % Wilson interval."""

    successes: int
    trials: int

    @classmethod
    def of(cls, hits: Mask) -> "Rate":
        """Return the share of trials, (n,), that are hits."""
        return cls(int(hits.sum()), len(hits))

    @property
    def value(self) -> float:
        """The share itself, in [0, 1]; NaN when nothing was tried."""
        return self.successes / self.trials if self.trials else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper 95 % Wilson bound; (0, 1) when nothing was tried."""
        if not self.trials:
            return 0.0, 1.0
        bounds = binomtest(self.successes, self.trials).proportion_ci(method="wilson")
        return float(bounds.low), float(bounds.high)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{100 * self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})" if self.trials else "nothing tried"


@dataclass(frozen=True)
class Failures:
    """Candidates that passed every gate, one row each.

    Attributes:
        seed: row (in the source) of the reference image that the candidate started from, (n,).
        label: the class that the candidate was drawn for, (n,).
        predicted: the classifier's answer on the decoded 8-bit image, (n,).
        proposal: name of the proposal that drew it, (n,).
        z: latent code, (n, latent).
        scores: one array (n,) per gate: its score, higher is surer; always holds ``misclassified``.
    """

    seed: Labels
    label: Labels
    predicted: Labels
    proposal: tuple[str, ...]
    z: Float32[np.ndarray, "n latent"]
    scores: Mapping[str, Float32[np.ndarray, " n"]]

    def __len__(self) -> int:
        return len(self.z)


@dataclass(frozen=True)
class ProposalCount:
    """What became of the candidates of one proposal."""

    proposal: str
    candidates: int
    flips: int
    kept: int


@dataclass(frozen=True)
class CoveragePoint:
    """How far one proposal's search has come, a point of a curve over its budget.

    ``confusions`` counts the different (label, answer) among the failures ``kept``; ``covered`` estimates what share of
    further failures is of one of these (Good and Turing), None before the first failure.
    """

    candidates: int
    kept: int
    confusions: int
    covered: float | None


@dataclass(frozen=True)
class Search:
    """What identify did: counts per proposal and how many candidates each gate let through.

    ``gates`` holds (name, tested, passed) in the order of testing; a gate sees only what earlier gates passed.
    ``coverage`` is a curve over the budget of the first proposal.
    """

    counts: tuple[ProposalCount, ...]
    gates: tuple[tuple[str, int, int], ...]
    seconds: float
    coverage: tuple[CoveragePoint, ...] = ()

    @property
    def candidates(self) -> int:
        """How many images were decoded and classified."""
        return sum(count.candidates for count in self.counts)

    @property
    def flips(self) -> int:
        """How many candidates were predicted as another class than the one they were drawn for."""
        return sum(count.flips for count in self.counts)

    @property
    def kept(self) -> int:
        """How many flips passed every gate."""
        return sum(count.kept for count in self.counts)


@dataclass(frozen=True)
class Evidence:
    """What fresh samples of a region show; neither fitting nor selection has seen them.

    Attributes:
        keep: share of the samples that the judges accept as still showing the region's label.
        failure: share of the kept samples that the classifier gets wrong.
        answers: (class index, count) of the classifier's answers on the kept samples, most frequent first.
        p_value: exact binomial test of failure rate > rho.
        q_value: Benjamini-Hochberg over every candidate region that was fitted.
    """

    keep: Rate
    failure: Rate
    answers: tuple[tuple[int, int], ...]
    p_value: float
    q_value: float


@dataclass(frozen=True)
class Region:
    """A misclassification region: one Gaussian of the latent space, read by the model as the wrong class.

    Attributes:
        name: short, stable within a run: ``r001`` is the first in rank.
        label: the class that its images show, as proposed before anybody labelled it.
        predicted: the model's most frequent wrong answer on what the Gaussian was fitted to.
        mean: (latent,).
        covariance: (latent, latent).
        weight: share of its mixture's mass.
        support: how many failures of the search it was grown from; sharpening may have left some of them outside.
        evidence: rates on fresh samples.
    """

    name: str
    label: int
    predicted: int
    mean: Float[np.ndarray, " latent"]
    covariance: Float[np.ndarray, "latent latent"]
    weight: float
    support: int
    evidence: Evidence


class Purpose(StrEnum):
    """What a region's samples may be used for; the sets are drawn with different seeds."""

    EVIDENCE = "evidence"
    SHOW = "show"
    REPAIR = "repair"
    SELECT = "select"
    FINAL = "final"


@dataclass(frozen=True)
class RegionSamples:
    """Fresh 8-bit samples of one region, drawn for one purpose.

    Attributes:
        images: (n, h, w, c).
        z: the latent codes they were decoded from, (n, latent).
        predicted: the classifier's answers before any repair, (n,).
        kept: whether the judges accept that the image shows the region's label, (n,).
    """

    region: str
    purpose: Purpose
    images: ByteImages
    z: Float32[np.ndarray, "n latent"]
    predicted: Labels
    kept: Mask

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Regions:
    """Everything distill found: reported regions in rank order, their samples, and how many candidates fell."""

    reported: tuple[Region, ...]
    samples: Mapping[tuple[str, Purpose], RegionSamples]
    fitted: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Why candidate regions were not reported: reason -> count."""


class Answer(StrEnum):
    """The three things that an annotator can say of a region."""

    CLASS = "class"
    NO_CLEAR_CLASS = "no clear class"
    NOT_AN_ERROR = "not an error"


@dataclass(frozen=True)
class Verdict:
    """What one annotator said of one region.

    Attributes:
        label: the class index; set exactly when ``answer`` is ``Answer.CLASS``.
        machine: True when judges said it, not a person.
        time: ISO 8601, UTC.
        shown: which of the region's ``show`` samples the annotator had before them, as positions; empty where nobody
            kept account.
        crossed: those of ``shown`` that the annotator crossed out as not belonging.
        page: version of the page on which it was said; empty for other ways.
        adjudicates: whether it settles a dispute, said with the others' verdicts in view.
    """

    region: str
    annotator: str
    answer: Answer
    label: int | None
    machine: bool
    time: str
    shown: tuple[int, ...] = ()
    crossed: tuple[int, ...] = ()
    page: str = ""
    adjudicates: bool = False

    def __post_init__(self) -> None:
        if (self.label is not None) != (self.answer is Answer.CLASS):
            raise ValueError(f"verdict on {self.region}: a label goes with the answer 'class' and with no other")
        if not set(self.crossed) <= set(self.shown):
            raise ValueError(f"verdict on {self.region}: only tiles that were shown can be crossed out")


@dataclass(frozen=True)
class RegionLabel:
    """The majority's decision on one region.

    Attributes:
        label: the class to repair towards; None when the region is thrown out.
        reason: why it was thrown out, or "majority", or "adjudicated".
        votes: (what was said, count), most frequent first.
        machine: True when no person was among the voters.
    """

    region: str
    label: int | None
    reason: str
    votes: tuple[tuple[str, int], ...]
    machine: bool


@dataclass(frozen=True)
class NearestImages:
    """The real images nearest to a region's mean: their positions in the reference images, nearest first, (m,)."""

    region: str
    rows: Int64[np.ndarray, " m"]
