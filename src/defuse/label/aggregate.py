"""From verdicts to one decision per region."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.errors import VerdictError
from defuse.records import Answer, Region, RegionLabel, Regions, Verdict
from defuse.types import STRICT

MAJORITY = "majority"
ADJUDICATED = "adjudicated"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Majority:
    """More than half of those who voted on a region decide it.

    Source: Slack et al. 2021 (arXiv:2102.06162), distillation: the majority of the annotators gives one label, or
    throws the region out. Not said there, and ours: half is no majority; machines are counted only where no person
    voted; a vote for the class that the model already answers is a vote for "not an error"; the last adjudication of a
    region outranks all votes.

    Attributes:
        min_votes: a region with fewer votes stays undecided.
    """

    min_votes: Annotated[int, Field(ge=1)] = 1

    def decide(
        self, regions: Regions, verdicts: Sequence[Verdict], class_names: Sequence[str] = ()
    ) -> tuple[RegionLabel, ...]:
        """Decide every reported region, in rank order.

        Args:
            regions: the regions that were shown.
            verdicts: one per annotator and region (``VerdictStore.current``).
            class_names: how to name classes in ``RegionLabel.votes`` and reasons; ``class 3`` where it has no name.

        Raises:
            VerdictError: a verdict speaks of a region that is not among ``regions``.
        """
        ballots: dict[str, list[Verdict]] = {region.name: [] for region in regions.reported}
        for verdict in verdicts:
            if verdict.region not in ballots:
                raise VerdictError(
                    f"verdict of {verdict.annotator}: {verdict.region} is not among the {len(ballots)} regions; "
                    "label this run's regions"
                )
            ballots[verdict.region].append(verdict)
        return tuple(self._decide_one(region, ballots[region.name], class_names) for region in regions.reported)

    def _decide_one(self, region: Region, ballot: list[Verdict], class_names: Sequence[str]) -> RegionLabel:
        settled = [verdict for verdict in ballot if verdict.adjudicates][-1:]
        opinions = [verdict for verdict in ballot if not verdict.adjudicates]
        people = [verdict for verdict in opinions if not verdict.machine]
        counted = people or opinions
        said = Counter(_said(verdict, class_names) for verdict in counted)
        label, reason = _last_word(settled[0], region) if settled else self._outcome(region, counted, class_names)
        votes = tuple(sorted(said.items(), key=lambda vote: (-vote[1], vote[0])))
        return RegionLabel(region.name, label, reason, votes, machine=bool(counted) and not people and not settled)

    def _outcome(self, region: Region, counted: list[Verdict], class_names: Sequence[str]) -> tuple[int | None, str]:
        if not counted:
            return None, "no votes"
        if len(counted) < self.min_votes:
            return None, f"too few votes: {len(counted)} of {self.min_votes}"
        means = Counter(meaning(verdict, region) for verdict in counted)
        (answer, label), count = means.most_common(1)[0]
        if 2 * count <= len(counted):
            return None, "no majority"
        if answer is Answer.CLASS:
            return label, MAJORITY
        if any(verdict.label == region.predicted for verdict in counted):
            return None, f"{answer.value}: it shows {name_of(region.predicted, class_names)}, as the model says"
        return None, answer.value


def name_of(label: int, class_names: Sequence[str]) -> str:
    """Return the name of a class, or its number where it has none."""
    return class_names[label] if 0 <= label < len(class_names) else f"class {label}"


def withhold_names(verdicts: Sequence[Verdict]) -> tuple[Verdict, ...]:
    """Return verdicts with people's names replaced by ``annotator 1`` and so on, in order of their first verdict."""
    numbers: dict[str, int] = {}
    for verdict in verdicts:
        if not verdict.machine:
            numbers.setdefault(verdict.annotator, len(numbers) + 1)
    return tuple(
        verdict if verdict.machine else replace(verdict, annotator=f"annotator {numbers[verdict.annotator]}")
        for verdict in verdicts
    )


def _said(verdict: Verdict, class_names: Sequence[str]) -> str:
    return verdict.answer.value if verdict.label is None else name_of(verdict.label, class_names)


def meaning(verdict: Verdict, region: Region) -> tuple[Answer, int | None]:
    """Return what a verdict comes to: the class that the model answers anyway is no error."""
    if verdict.label == region.predicted:
        return Answer.NOT_AN_ERROR, None
    return verdict.answer, verdict.label


def _last_word(verdict: Verdict, region: Region) -> tuple[int | None, str]:
    answer, label = meaning(verdict, region)
    return (label, ADJUDICATED) if answer is Answer.CLASS else (None, f"{answer.value} ({ADJUDICATED})")
