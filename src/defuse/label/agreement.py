"""How far annotators agree: Fleiss' kappa, Krippendorff's alpha, who differs from whom, and over what."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float64, Int64

from defuse.label.aggregate import meaning, name_of
from defuse.records import Answer, Regions, Verdict

Counts = Int64[np.ndarray, "items answers"]


@dataclass(frozen=True)
class Pair:
    """Two annotators: on how many regions both gave an opinion, and on how many they agreed."""

    first: str
    second: str
    common: int
    agreed: int


@dataclass(frozen=True)
class Agreement:
    """Agreement of people's opinions over regions.

    Attributes:
        annotators: everybody who gave an opinion, sorted.
        rated: how many regions have at least two opinions; only these count below.
        kappa: Fleiss' kappa; NaN where it is not defined.
        alpha: Krippendorff's alpha for nominal data; NaN where it is not defined.
        pairs: annotators who have a region in common.
        confused: (one answer, another, how often two annotators differed so), most frequent first.
    """

    annotators: tuple[str, ...]
    rated: int
    kappa: float
    alpha: float
    pairs: tuple[Pair, ...]
    confused: tuple[tuple[str, str, int], ...]


def fleiss_kappa(counts: Counts) -> float:
    """Return Fleiss' kappa; NaN without an item that two people rated, or where only one answer was ever given.

    Source: Fleiss 1971, Measuring nominal scale agreement among many raters. Beyond it: items may have different
    numbers of ratings; each item's agreement counts the same, and answers are weighed by how often they were given.

    Args:
        counts: how often each item was given each answer; items with fewer than two ratings are left out.
    """
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return float("nan")
    ratings = counts.sum(axis=1)
    observed = float((((counts**2).sum(axis=1) - ratings) / (ratings * (ratings - 1))).mean())
    expected = float(((counts.sum(axis=0) / ratings.sum()) ** 2).sum())
    return float("nan") if expected == 1 else (observed - expected) / (1 - expected)


def coincidences(counts: Counts) -> Float64[np.ndarray, "answers answers"]:
    """Return Krippendorff's coincidence matrix: pairs of answers to one item, an item's pairs weighed to its ratings.

    Args:
        counts: as for ``fleiss_kappa``.
    """
    counts = counts[counts.sum(axis=1) > 1].astype(np.float64)
    weights = 1 / (counts.sum(axis=1) - 1)
    pairs = np.einsum("ia,ib,i->ab", counts, counts, weights)
    return pairs - np.diag((counts * weights[:, None]).sum(axis=0))


def krippendorff_alpha(counts: Counts) -> float:
    """Return Krippendorff's alpha for nominal data with missing ratings; NaN where ``fleiss_kappa`` is.

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability.

    Args:
        counts: as for ``fleiss_kappa``.
    """
    pairs = coincidences(counts)
    margins, total = pairs.sum(axis=0), pairs.sum()
    expected = total**2 - (margins**2).sum()
    if total == 0 or expected == 0:
        return float("nan")
    return float(1 - (total - 1) * (total - np.trace(pairs)) / expected)


def measure_agreement(regions: Regions, verdicts: Sequence[Verdict], class_names: Sequence[str]) -> Agreement:
    """Measure the agreement of people's opinions; adjudications and machines' verdicts are left out.

    Args:
        regions: that the verdicts speak of.
        verdicts: one opinion per annotator and region (``VerdictStore.current``).
        class_names: one name per class.
    """
    known = {region.name: region for region in regions.reported}
    said: dict[str, dict[str, tuple[Answer, int | None]]] = {name: {} for name in known}
    for verdict in verdicts:
        if not verdict.machine and not verdict.adjudicates:
            said[verdict.region][verdict.annotator] = meaning(verdict, known[verdict.region])
    answers = sorted({each for opinions in said.values() for each in opinions.values()}, key=_order)
    counts = np.zeros((len(said), len(answers)), dtype=np.int64)
    for row, opinions in enumerate(said.values()):
        for each in opinions.values():
            counts[row, answers.index(each)] += 1
    shown = [answer.value if label is None else name_of(label, class_names) for answer, label in answers]
    return Agreement(
        annotators=tuple(sorted({name for opinions in said.values() for name in opinions})),
        rated=int((counts.sum(axis=1) > 1).sum()),
        kappa=fleiss_kappa(counts),
        alpha=krippendorff_alpha(counts),
        pairs=_pairs(list(said.values())),
        confused=_confused(counts, shown),
    )


def _order(answer: tuple[Answer, int | None]) -> tuple[str, int]:
    return answer[0].value, -1 if answer[1] is None else answer[1]


def _pairs(said: Sequence[dict[str, tuple[Answer, int | None]]]) -> tuple[Pair, ...]:
    common: Counter[tuple[str, str]] = Counter()
    agreed: Counter[tuple[str, str]] = Counter()
    for opinions in said:
        for pair in combinations(sorted(opinions), 2):
            common[pair] += 1
            agreed[pair] += opinions[pair[0]] == opinions[pair[1]]
    return tuple(Pair(*pair, common[pair], agreed[pair]) for pair in sorted(common))


def _confused(counts: Counts, shown: Sequence[str]) -> tuple[tuple[str, str, int], ...]:
    together = counts.T @ counts
    found = [(shown[a], shown[b], int(together[a, b])) for a, b in combinations(range(len(shown)), 2) if together[a, b]]
    return tuple(sorted(found, key=lambda one: (-one[2], one[0], one[1])))
