"""The desk at which people label: who has which region before them, what they said, what comes next."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from defuse.label import Agreement, Ledger, Majority, StopRule, VerdictStore, measure_agreement
from defuse.records import RegionLabel, Verdict
from defuse.web.gallery import Exhibit, Gallery
from defuse.web.writer import Writer

ATTENTION = 300.0
"""Seconds for which somebody who was shown a region is taken to be still looking at it."""

PAUSE = 120.0
"""Seconds between two verdicts from which on it was a break, not work."""

RECENT = 30
"""Latest verdicts that tell how fast a person is."""


@dataclass(frozen=True)
class Progress:
    """How far one person is.

    Attributes:
        given: regions on which they have said something.
        left: regions that wait for them.
        settled: regions that need no further verdict, of ``regions``.
        seconds_left: at their own pace; None before there is one.
    """

    given: int
    left: int
    settled: int
    regions: int
    seconds_left: float | None


class Desk:
    """Hands out regions and takes in verdicts. All methods are called from one event loop.

    Args:
        gallery: what there is to look at.
        path: the verdict store; made on first use unless ``read_only``.
        rule: when a region needs no further verdict.
        majority: how verdicts become a decision, where decisions are shown.
        read_only: whether nothing is ever written.

    Raises:
        VerdictError: the store cannot be used.
    """

    def __init__(
        self,
        gallery: Gallery,
        path: Path,
        rule: StopRule | None = None,
        *,
        majority: Majority | None = None,
        read_only: bool = False,
    ) -> None:
        gallery.prepare()
        self.gallery = gallery
        self.read_only = read_only
        self.majority = majority or Majority()
        self._skipped: dict[str, set[str]] = {}
        self._looking: dict[str, tuple[str, float]] = {}
        standing: tuple[Verdict, ...] = ()
        if not read_only or path.exists():
            with VerdictStore(path, gallery.regions, read_only=read_only) as store:
                standing = store.standing()
        self._machine = {verdict.region: verdict for verdict in standing if verdict.machine}
        self.ledger = Ledger(gallery.regions, standing, rule or StopRule())
        self._writer = None if read_only else Writer(lambda: VerdictStore(path, gallery.regions))

    def next_for(self, annotator: str, region: str | None = None) -> Exhibit | None:
        """Return what a person is to look at now, and remember that they do; None where nothing is left.

        Args:
            annotator: the person.
            region: a region that they asked for, such as one whose verdict they took back.
        """
        if region is None:
            skipped = self._skipped.get(annotator, set())
            queue = self.ledger.queue(annotator, skipped=skipped, looking=self._others(annotator))
            if not queue:
                self._looking.pop(annotator, None)
                return None
            region = queue[0].name
        self._looking[annotator] = (region, time.monotonic())
        return self.gallery.exhibits[region]

    def progress(self, annotator: str) -> Progress:
        """Return how far a person is."""
        left = self.ledger.left(annotator)
        pace = _pace(self.ledger.of(annotator))
        names = self.gallery.exhibits
        return Progress(
            given=self.ledger.given(annotator),
            left=left,
            settled=sum(self.ledger.settled(name) for name in names),
            regions=len(names),
            seconds_left=None if pace is None else pace * left,
        )

    def skip(self, annotator: str, region: str) -> None:
        """Put a region off until nothing else is left."""
        self._skipped.setdefault(annotator, set()).add(region)

    async def say(self, verdict: Verdict, key: str) -> bool:
        """Store a verdict; return, once it is on disk, whether this event was new.

        Raises:
            VerdictError: it could not be stored.
        """

        def then() -> None:
            self.ledger.add(verdict)
            self._skipped.get(verdict.annotator, set()).discard(verdict.region)

        return await self._open_writer().write(lambda store: store.add(verdict, key), then)

    async def undo(self, annotator: str, key: str) -> tuple[Verdict | None, bool]:
        """Take back a person's last verdict; return it (None where there is none) and whether this was done before.

        Raises:
            VerdictError: it could not be stored.
        """
        taken: list[Verdict | None] = [None]
        before = [False]

        def take(store: VerdictStore) -> bool:
            before[0] = store.took_back(key)
            return not before[0] and store.undo(annotator, key, time=now())

        def then() -> None:
            taken[0] = self.ledger.undo(annotator)

        await self._open_writer().write(take, then)
        return taken[0], before[0]

    def open_to(self, annotator: str, region: str) -> bool:
        """Return whether a person may see what others said of a region: once they, or enough others, have spoken."""
        return self.read_only or self.ledger.settled(region) or self.ledger.judged(annotator, region)

    def agreement(self, annotator: str) -> Agreement:
        """Return how far people agree over the regions that are open to one of them."""
        seen = [verdict for verdict in self._people() if self.open_to(annotator, verdict.region)]
        return measure_agreement(self.gallery.regions, seen, self.gallery.class_names)

    def decisions(self) -> tuple[RegionLabel, ...]:
        """Return the decision on each region, in rank order."""
        verdicts = (*self._machine.values(), *self._people())
        return self.majority.decide(self.gallery.regions, verdicts, self.gallery.class_names)

    def verdicts_on(self, region: str) -> tuple[Verdict, ...]:
        """Return the machine's and people's verdicts on a region."""
        machine = self._machine.get(region)
        return (*([machine] if machine else []), *self.ledger.on(region))

    def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()

    def _open_writer(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("a desk that is read-only writes nothing")
        return self._writer

    def _people(self) -> tuple[Verdict, ...]:
        return tuple(verdict for name in self.gallery.exhibits for verdict in self.ledger.on(name))

    def _others(self, annotator: str) -> dict[str, int]:
        since = time.monotonic() - ATTENTION
        found: dict[str, int] = {}
        for name, (region, when) in self._looking.items():
            if name != annotator and when > since and not self.ledger.judged(name, region):
                found[region] = found.get(region, 0) + 1
        return found


def now() -> str:
    """Return the time as verdicts keep it: ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _pace(verdicts: Sequence[Verdict]) -> float | None:
    """Return the median seconds from verdict to verdict, breaks left out."""
    times = []
    for verdict in verdicts[-RECENT:]:
        try:
            times.append(datetime.fromisoformat(verdict.time).timestamp())
        except ValueError:  # an imported verdict's time may be anything
            continue
    gaps = [after - before for before, after in pairwise(times) if 0 < after - before < PAUSE]
    return median(gaps) if gaps else None
