import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_makers import NAMES, make_region, make_regions
from sklearn.metrics import cohen_kappa_score

from defuse.label import measure_agreement
from defuse.label.agreement import Pair, coincidences, fleiss_kappa, krippendorff_alpha
from defuse.records import Answer, Verdict

FLEISS = np.array(  # fourteen raters, ten subjects, five categories: the worked example that goes with Fleiss 1971
    [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
)

KRIPPENDORFF = (  # four observers, twelve units, a dot where one said nothing: example C of Krippendorff 2011
    "123321412...",
    "1233224125.3",
    ".3332342251.",
    "12332441251.",
)


def counts_of(rows):
    return np.array([[column.count(answer) for answer in "12345"] for column in zip(*rows, strict=True)])


def test_fleiss_worked_example():
    assert fleiss_kappa(FLEISS) == pytest.approx(0.210, abs=5e-4)


def test_krippendorff_worked_example():
    assert krippendorff_alpha(counts_of(KRIPPENDORFF)) == pytest.approx(0.743, abs=5e-4)


def test_krippendorff_two_observers_worked_example():
    first, second = "0100000010", "1110010000"  # example A of Krippendorff 2011
    counts = np.array([[pair.count("0"), pair.count("1")] for pair in zip(first, second, strict=True)])
    assert coincidences(counts).tolist() == [[10, 4], [4, 2]]
    assert krippendorff_alpha(counts) == pytest.approx(0.095, abs=5e-4)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=2, max_size=20))
def test_two_raters_closed_forms(ratings):
    counts = np.array([[pair.count(answer) for answer in range(3)] for pair in ratings])
    shares = counts.sum(axis=0) / counts.sum()
    agreed, chance, n = np.mean([a == b for a, b in ratings]), (shares**2).sum(), 2 * len(ratings)
    if chance == 1:
        assert math.isnan(fleiss_kappa(counts))
        assert math.isnan(krippendorff_alpha(counts))
        return
    scott = (agreed - chance) / (1 - chance)  # with two raters Fleiss' kappa is Scott's pi
    assert fleiss_kappa(counts) == pytest.approx(scott)
    # The disagreement expected without replacement: alpha = 1 - (n - 1) / n * (1 - pi).
    assert krippendorff_alpha(counts) == pytest.approx(1 - (n - 1) / n * (1 - scott))


def test_equal_margins_give_cohens_kappa():
    first, second = [0, 0, 1, 1, 2, 2], [0, 1, 1, 2, 2, 0]
    counts = np.array([[pair.count(answer) for answer in range(3)] for pair in zip(first, second, strict=True)])
    assert fleiss_kappa(counts) == pytest.approx(cohen_kappa_score(first, second))


def test_lone_ratings_do_not_count():
    lone = np.array([[1, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    assert fleiss_kappa(np.vstack([FLEISS, lone])) == fleiss_kappa(FLEISS)
    assert krippendorff_alpha(np.vstack([FLEISS, lone])) == krippendorff_alpha(FLEISS)
    assert math.isnan(fleiss_kappa(lone))
    assert math.isnan(krippendorff_alpha(lone))


REGIONS = make_regions(*(make_region(f"r00{number}", 0, 1) for number in (1, 2, 3)))


def says(annotator, region, label, **more):
    return Verdict(region, annotator, Answer.CLASS, label, machine=more.get("machine", False), time="t",
                   adjudicates=more.get("adjudicates", False))  # fmt: skip


def test_measured_over_regions():
    verdicts = [
        says("ada", "r001", 0), says("bob", "r001", 0), says("cy", "r001", 2),
        says("ada", "r002", 3), says("bob", "r002", 2),
        says("ada", "r003", 1), Verdict("r003", "cy", Answer.NOT_AN_ERROR, None, machine=False, time="t"),
        says("judges", "r001", 3, machine=True), says("ada", "r002", 2, adjudicates=True),
    ]  # fmt: skip
    found = measure_agreement(REGIONS, verdicts, NAMES)
    assert (found.annotators, found.rated) == (("ada", "bob", "cy"), 3)
    assert found.pairs == (Pair("ada", "bob", 2, 1), Pair("ada", "cy", 2, 1), Pair("bob", "cy", 1, 0))
    assert found.confused == (("circle", "7", 2), ("7", "cross", 1))
    counts = np.array([[2, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 2]])
    assert found.kappa == fleiss_kappa(counts)
    assert found.alpha == krippendorff_alpha(counts)


def test_nobody_has_said_anything():
    found = measure_agreement(REGIONS, [], NAMES)
    assert (found.annotators, found.rated, found.pairs, found.confused) == ((), 0, (), ())
    assert math.isnan(found.kappa)
