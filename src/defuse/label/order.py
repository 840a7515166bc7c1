"""Which region comes next for whom: people's verdicts as they stand, and the rule that says when to stop."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.label.aggregate import meaning
from defuse.records import Region, Regions, Verdict
from defuse.types import STRICT


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StopRule:
    """A region needs no further verdict once enough people agree on it, or a dispute was adjudicated.

    Attributes:
        agreeing: how many people must say the same.
    """

    agreeing: Annotated[int, Field(ge=1)] = 2

    def settled(self, region: Region, verdicts: Iterable[Verdict]) -> bool:
        """Return whether the verdicts of people on a region suffice."""
        said = list(verdicts)
        if any(verdict.adjudicates for verdict in said):
            return True
        means = Counter(meaning(verdict, region) for verdict in said)
        return max(means.values(), default=0) >= self.agreeing


class Ledger:
    """What people said, as it stands, kept up to date verdict by verdict; machines' verdicts are left out.

    Args:
        regions: in rank order.
        verdicts: those that were not taken back, oldest first (``VerdictStore.standing``).
        rule: when a region needs no further verdict.
    """

    def __init__(self, regions: Regions, verdicts: Iterable[Verdict], rule: StopRule) -> None:
        self.rule = rule
        self._regions: Mapping[str, Region] = {region.name: region for region in regions.reported}
        self._given: dict[str, list[Verdict]] = {name: [] for name in self._regions}
        self._by: dict[str, list[Verdict]] = {}
        self._times: Counter[tuple[str, str]] = Counter()
        self._people: dict[str, int] = dict.fromkeys(self._regions, 0)
        self._settled: set[str] = set()
        for verdict in verdicts:
            self.add(verdict)

    def add(self, verdict: Verdict) -> None:
        """Take in the latest verdict."""
        if not verdict.machine:
            self._given[verdict.region].append(verdict)
            self._by.setdefault(verdict.annotator, []).append(verdict)
            self._times[verdict.annotator, verdict.region] += 1
            self._people[verdict.region] += self._times[verdict.annotator, verdict.region] == 1
            self._weigh(verdict.region)

    def undo(self, annotator: str) -> Verdict | None:
        """Take back a person's last verdict and return it; None where there is none."""
        if not self._by.get(annotator):
            return None
        verdict = self._by[annotator].pop()
        given = self._given[verdict.region]
        self._times[annotator, verdict.region] -= 1
        self._people[verdict.region] -= self._times[annotator, verdict.region] == 0
        del given[max(place for place, each in enumerate(given) if each is verdict)]
        self._weigh(verdict.region)
        return verdict

    def of(self, annotator: str) -> Sequence[Verdict]:
        """Return all standing verdicts of one person, oldest first."""
        return tuple(self._by.get(annotator, ()))

    def on(self, region: str) -> tuple[Verdict, ...]:
        """Return the last opinion, and the last adjudication, of each person on a region, oldest first."""
        last: dict[tuple[str, bool], Verdict] = {}
        for verdict in self._given[region]:
            last.pop((verdict.annotator, verdict.adjudicates), None)
            last[verdict.annotator, verdict.adjudicates] = verdict
        return tuple(last.values())

    def settled(self, region: str) -> bool:
        """Return whether a region needs no further verdict."""
        return region in self._settled

    def disputed(self, region: str) -> bool:
        """Return whether people differ on a region and nobody has adjudicated."""
        said = self.on(region)
        means = {meaning(verdict, self._regions[region]) for verdict in said}
        return len(means) > 1 and not any(verdict.adjudicates for verdict in said)

    def judged(self, annotator: str, region: str) -> bool:
        """Return whether a person has said something of a region."""
        return self._times[annotator, region] > 0

    def given(self, annotator: str) -> int:
        """Return of how many regions a person has said something."""
        return sum(self.judged(annotator, name) for name in self._regions)

    def left(self, annotator: str) -> int:
        """Return how many regions a person has still to label."""
        return sum(self._waits(annotator, name) for name in self._regions)

    def queue(
        self, annotator: str, *, skipped: Collection[str] = (), looking: Mapping[str, int] | None = None
    ) -> tuple[Region, ...]:
        """Return what a person has still to label, the next first: fewest verdicts, then the highest rank.

        Args:
            annotator: the person; regions on which they have said something are left out, settled ones too.
            skipped: regions that they put off; these come last.
            looking: region -> how many others have it before them now, which counts as many verdicts.
        """
        others = looking or {}
        waiting = [region for name, region in self._regions.items() if self._waits(annotator, name)]
        waiting.sort(
            key=lambda region: (region.name in skipped, self._people[region.name] + others.get(region.name, 0))
        )
        return tuple(waiting)

    def _waits(self, annotator: str, region: str) -> bool:
        return region not in self._settled and not self.judged(annotator, region)

    def _weigh(self, region: str) -> None:
        if self.rule.settled(self._regions[region], self.on(region)):
            self._settled.add(region)
        else:
            self._settled.discard(region)
