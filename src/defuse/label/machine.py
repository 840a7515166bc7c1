"""Judges that stand in for annotators where no person labels."""

from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.judges.base import Judge
from defuse.pixels import to_pixels
from defuse.records import Answer, Region, RegionSamples, Verdict
from defuse.types import STRICT

ANNOTATOR = "judges"
"""The name under which the machine votes."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class MachineAnnotator:
    """Labels a region as an annotator would: by what most of its tiles clearly show.

    A stand-in of ours for the people that the paper asks (Slack et al. 2021, arXiv:2102.06162). Its judges are
    trained apart from the gate's, but on the same images, and see tiles that the gate has kept: it can reject, yet it
    is no independent proof. Its verdicts are marked as machine.

    Attributes:
        agreement: the share of all tiles that must clearly show one class.
        confidence: a tile clearly shows a class to which the judge gives at least this probability.
    """

    agreement: Annotated[float, Field(gt=0.5, le=1)] = 0.7
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.5

    def verdict(self, region: Region, tiles: RegionSamples, judge: Judge, *, time: str) -> Verdict:
        """Look at a region's tiles and say what they show.

        Args:
            region: the region in question.
            tiles: the samples that a person would be shown; none at all gives "no clear class".
            judge: the panel's judge for labelling.
            time: when it was said, ISO 8601, UTC.
        """
        answer, label = self._answer(region, tiles, judge)
        return Verdict(region.name, ANNOTATOR, answer, label, machine=True, time=time)

    def _answer(self, region: Region, tiles: RegionSamples, judge: Judge) -> tuple[Answer, int | None]:
        if not len(tiles):
            return Answer.NO_CLEAR_CLASS, None
        top = judge.probabilities(to_pixels(tiles.images)).max(dim=1)
        clear = top.indices[top.values >= self.confidence]
        if not len(clear):
            return Answer.NO_CLEAR_CLASS, None
        counts = torch.bincount(clear)
        label = int(counts.argmax())
        if int(counts[label]) < self.agreement * len(tiles):
            return Answer.NO_CLEAR_CLASS, None
        return (Answer.NOT_AN_ERROR, None) if label == region.predicted else (Answer.CLASS, label)
