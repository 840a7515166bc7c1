"""How much of what there is to find the search has found: Good and Turing's estimate, as a curve over the budget."""

from collections import Counter
from collections.abc import Hashable, Sequence

from defuse.identify.shards import Shard
from defuse.records import CoveragePoint

POINTS = 10
"""Points of the curve, at most."""


def good_turing(seen: Counter[Hashable]) -> float | None:
    """Return the estimated probability that the next draw is of a kind seen before; None before the first draw.

    Source: Good, "The population frequencies of species and the estimation of population parameters", Biometrika 1953:
    one less the share of draws whose kind was seen once only.
    """
    if not seen.total():
        return None
    return 1 - sum(times == 1 for times in seen.values()) / seen.total()


def coverage_curve(shards: Sequence[Shard]) -> tuple[CoveragePoint, ...]:
    """Return, over the budget of the first proposal, which share of further failures would be of a confusion seen.

    One proposal alone, since the estimate holds for draws from one distribution; a kind is (label, answer).

    Args:
        shards: of all proposals, at least one, in the order of the search.
    """
    own = [shard for shard in shards if shard.count.proposal == shards[0].count.proposal]
    marks = {len(own) * point // POINTS for point in range(1, POINTS + 1)}
    seen: Counter[Hashable] = Counter()
    candidates = 0
    curve = []
    for number, shard in enumerate(own, start=1):
        candidates += shard.count.candidates
        seen.update(zip(shard.failures.label.tolist(), shard.failures.predicted.tolist(), strict=True))
        if number in marks:
            curve.append(CoveragePoint(candidates, seen.total(), len(seen), good_turing(seen)))
    return tuple(curve)
