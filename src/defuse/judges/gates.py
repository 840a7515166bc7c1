"""Gates: yes/no tests on a seed or on a candidate image, each with a score."""

from abc import ABC, abstractmethod
from dataclasses import dataclass as record
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from defuse.judges.base import Judge
from defuse.types import STRICT, LabelTensor, Logits, Pixels


@record(frozen=True)
class Candidates:
    """Decoded, 8-bit-quantised images with the classifier's answers on them.

    Attributes:
        pixels: (n, c, h, w), values that survive storage as 8 bits.
        labels: the class each was drawn for, (n,).
        logits: the classifier's answers, (n, classes).
    """

    pixels: Pixels
    labels: LabelTensor
    logits: Logits

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, mask: Bool[Tensor, " n"]) -> "Candidates":
        """Return the rows where ``mask`` is true."""
        return Candidates(self.pixels[mask], self.labels[mask], self.logits[mask])


@record(frozen=True)
class Passed:
    """A gate's answer: who passed, and a score in [0, 1], higher is surer; both (n,)."""

    mask: Bool[Tensor, " n"]
    score: Float[Tensor, " n"]


class Gate(ABC):
    """A test on candidate images. Gates run in order; each sees only what earlier ones passed."""

    name: ClassVar[str]

    @abstractmethod
    def check(self, candidates: Candidates, judge: Judge) -> Passed:
        """Test each candidate; ``judge`` is the panel's gate judge."""


def probability_of(probabilities: Float[Tensor, "n k"], labels: LabelTensor) -> Float[Tensor, " n"]:
    """Return the probability of each row's own label, (n,)."""
    return probabilities.gather(1, labels[:, None])[:, 0]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Misclassified(Gate):
    """The classifier's answer differs from the label; the score is the probability it gives to its answer."""

    kind: Literal["misclassified"] = "misclassified"
    name: ClassVar[str] = "misclassified"

    def check(self, candidates: Candidates, judge: Judge) -> Passed:
        """Test each candidate; the judge is not asked."""
        del judge
        top = torch.softmax(candidates.logits, dim=1).max(dim=1)
        return Passed(top.indices != candidates.labels, top.values)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KeepsLabel(Gate):
    """The image still clearly shows its label: every gate judge gives the label at least ``threshold``.

    This gate is not in the paper; without it most flips are ambiguous images.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.9
    kind: Literal["keeps_label"] = "keeps_label"
    name: ClassVar[str] = "keeps_label"

    def check(self, candidates: Candidates, judge: Judge) -> Passed:
        """Test each candidate by the judge; the score is the least probability that a member gives to the label."""
        probabilities = judge.probabilities(candidates.pixels)
        return Passed(self.accepts(probabilities, candidates.labels), probability_of(probabilities, candidates.labels))

    def accepts(self, probabilities: Float[Tensor, "n k"], labels: LabelTensor) -> Bool[Tensor, " n"]:
        """Return which images still show their label, given the judge's probabilities."""
        return probability_of(probabilities, labels) >= self.threshold
