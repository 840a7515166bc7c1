"""Gates: yes/no tests on a seed or on a candidate image, each with a score."""

from abc import ABC, abstractmethod
from dataclasses import dataclass as record
from typing import Annotated, ClassVar, Literal, final

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from defuse.judges.base import Judge
from defuse.pixels import adapted, detail
from defuse.types import STRICT, LabelTensor, Logits, Pixels


@record(frozen=True)
class Candidates:
    """Decoded, 8-bit-quantised images with the classifier's answers on them.

    Attributes:
        pixels: (n, c, h, w), values that survive storage as 8 bits.
        labels: the class each was drawn for, (n,).
        logits: the classifier's answers, (n, classes).
        drawn: the same images as the generator drew them: others than ``pixels`` where these have been given the
            detail of real images since, (n, c, h, w).
    """

    pixels: Pixels
    labels: LabelTensor
    logits: Logits
    drawn: Pixels

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, mask: Bool[Tensor, " n"]) -> "Candidates":
        """Return the rows where ``mask`` is true."""
        return Candidates(self.pixels[mask], self.labels[mask], self.logits[mask], self.drawn[mask])


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


class LabelGate(Gate):
    """A gate that looks at the image alone: it serves the search, and every fresh sample of a region as well.

    Attributes:
        of_drawn: whether it looks at what the generator drew, before that was given real detail.
    """

    of_drawn: ClassVar[bool] = False

    @abstractmethod
    def look(self, pixels: Pixels, labels: LabelTensor, judge: Judge) -> Passed:
        """Test whether each image still shows its label."""

    @final
    def check(self, candidates: Candidates, judge: Judge) -> Passed:
        """Test each candidate, whatever the classifier says of it."""
        pixels = candidates.drawn if self.of_drawn else candidates.pixels
        return self.look(pixels, candidates.labels, judge)


@record(frozen=True)
class Screen:
    """The gates that every image of a region must pass, in order, and the judge that they ask."""

    gates: tuple[LabelGate, ...]
    judge: Judge

    @property
    def of_photographs(self) -> "Screen":
        """The screen for real images, and for generated ones with real detail.

        ``Plausible`` is left out: it compares with reconstructions, beside which every photograph is unusual.
        """
        return Screen(tuple(gate for gate in self.gates if not gate.of_drawn), self.judge)

    def keeps(self, pixels: Pixels, labels: LabelTensor, drawn: Pixels | None = None) -> Bool[Tensor, " n"]:
        """Return which images still show their label; a gate is asked only of what earlier gates passed.

        Args:
            pixels: the images, (n, c, h, w).
            labels: what each should show, (n,).
            drawn: the same as the generator drew them, where they have been given real detail since.
        """
        kept = torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        for gate in self.gates:
            seen = drawn if drawn is not None and gate.of_drawn else pixels
            kept[kept.clone()] = gate.look(seen[kept], labels[kept], self.judge).mask
        return kept


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


@record(frozen=True)
class ReadAs(Gate):
    """The classifier reads the image as one class; the score is the probability it gives to that class.

    Attributes:
        answer: the index of the class.
    """

    answer: int
    name: ClassVar[str] = "read_as"

    def check(self, candidates: Candidates, judge: Judge) -> Passed:
        """Test each candidate; the judge is not asked."""
        del judge
        read = candidates.logits.argmax(dim=1) == self.answer
        return Passed(read, torch.softmax(candidates.logits, dim=1)[:, self.answer])


@dataclass(frozen=True, kw_only=True, config=STRICT)
class KeepsLabel(LabelGate):
    """The image still clearly shows its label: every gate judge gives the label at least ``threshold``.

    This gate is not in the paper; without it most flips are ambiguous images.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.8
    kind: Literal["keeps_label"] = "keeps_label"
    name: ClassVar[str] = "keeps_label"

    def look(self, pixels: Pixels, labels: LabelTensor, judge: Judge) -> Passed:
        """Test each image; the score is the least probability that a member gives to the label."""
        if not len(pixels):  # a judge of the user's own need not know what to say of nothing
            return Passed(torch.zeros(0, dtype=torch.bool), torch.zeros(0))
        own = probability_of(judge.probabilities(pixels), labels)
        return Passed(own >= self.threshold, own)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Legible(LabelGate):
    """There is something in the middle of the image that a person can see.

    Networks tell apart grey levels and blurs that nobody sees, so that judges agree on images that show people nothing.
    This gate is not in the paper.

    Attributes:
        detail: see ``pixels.detail``; of a faint image less is asked, see ``pixels.adapted``. The default was set by
            looking at generated traffic signs: below it, blurred beyond reading. Of real images it throws out 2 in
            1,000 photographs of traffic signs (GTSRB), and none of 2,500 of MNIST and of Fashion-MNIST.
    """

    detail: Annotated[float, Field(gt=0, lt=1)] = 0.05
    kind: Literal["legible"] = "legible"
    name: ClassVar[str] = "legible"

    def look(self, pixels: Pixels, labels: LabelTensor, judge: Judge) -> Passed:
        """Test each image; the score is its detail; neither label nor judge is asked."""
        del labels, judge
        seen = detail(pixels)
        return Passed(seen >= adapted(pixels, self.detail), seen)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Plausible(LabelGate):
    """The image is usual for its label, as real images go: see ``TypicalityJudge``. Needs a conditional generator.

    It throws out what only has to be some class for the judges' networks: shapes that are no class at all. It looks at
    what the generator drew, since it compares with reconstructions. This gate is not in the paper.

    Attributes:
        level: share of reconstructed real images that are thrown out as unusual for their class, by each of the two
            measures; a class needs at least ``1 / level`` real images for any to be.
    """

    level: Annotated[float, Field(gt=0, lt=1)] = 0.02
    kind: Literal["plausible"] = "plausible"
    name: ClassVar[str] = "plausible"
    of_drawn: ClassVar[bool] = True

    def look(self, pixels: Pixels, labels: LabelTensor, judge: Judge) -> Passed:
        """Test each image; the score is its p-value."""
        p_value = judge.plausibility(pixels, labels)
        return Passed(p_value >= self.level, p_value)
