"""How the budget is split over the proposals: in rounds, by what each has yielded in the complete rounds before."""

from collections.abc import Sequence

import numpy as np

from defuse.identify.shards import Shard
from defuse.records import Failures

Kind = tuple[int, int, int]
"""A failure's seed, label and answer."""

LEAST = 0.25
"""Of an equal part: what every proposal gets in each round, so that none is given up for bad luck."""


def round_ends(shards: int, rounds: int, proposals: int) -> list[int]:
    """Return the number of shards after each round; every round has one for each proposal, where there are as many."""
    count = max(1, min(rounds, shards // proposals))
    return [shards * (number + 1) // count for number in range(count)]


def yields(turns: Sequence[int], shards: Sequence[Shard], costs: Sequence[int]) -> list[float]:
    """Return the distinct failures kept for each part of the budget spent, of each proposal.

    Two failures are the same if they start from one seed and are one confusion. One is added to each count, so that
    nothing found is little, not nothing.

    Args:
        turns: position of the proposal that drew each shard; each proposal drew one.
        shards: that are complete.
        costs: see ``Proposal.cost``, of each proposal.
    """
    found: list[float] = []
    for position, cost in enumerate(costs):
        own = [shard for turn, shard in zip(turns, shards, strict=True) if turn == position]
        kinds = set[Kind]().union(*(distinct(shard.failures) for shard in own))
        found.append((1 + len(kinds)) / (cost * sum(shard.count.candidates for shard in own)))
    return found


def distinct(failures: Failures) -> set[Kind]:
    """Return the different kinds of failures."""
    return set(zip(failures.seed.tolist(), failures.label.tolist(), failures.predicted.tolist(), strict=True))


def share_out(shards: int, weights: Sequence[float]) -> list[int]:
    """Return whose turn each shard of a round is, as positions: as many as the weights say, evenly mixed.

    Each gets at least ``LEAST`` of an equal part, rounded down; at equal weights they take turns.
    """
    count = len(weights)
    part = np.asarray(weights) / np.sum(weights)
    part = LEAST / count + (1 - LEAST) * part
    turns, given = [], np.zeros(count)
    for number in range(shards):
        turn = int(np.argmax(part * (number + 1) - given))
        given[turn] += 1
        turns.append(turn)
    return turns
