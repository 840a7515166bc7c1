import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defuse.correct.statistics import calibration_error, class_accuracy, flips
from defuse.outcomes import Flips
from defuse.records import Rate


def exact_p(fixed, broken):
    """The two-sided sign test, summed term by term: both tails at most as likely as what was seen."""
    total = fixed + broken
    tail = sum(math.comb(total, k) for k in range(min(fixed, broken) + 1)) / 2**total
    return min(1.0, 2 * tail)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_twice_the_binomial_tail(fixed, broken):
    assert Flips(fixed, broken).p_value == pytest.approx(exact_p(fixed, broken), rel=1e-9)


def test_mcnemar_of_a_textbook_table():
    """10 against 2: 2 * (1 + 12 + 66) / 4096."""
    assert Flips(10, 2).p_value == pytest.approx(158 / 4096)
    assert Flips(0, 0).p_value == 1.0


def test_mcnemar_is_statsmodels():
    tables = pytest.importorskip("statsmodels.stats.contingency_tables")
    for fixed, broken in [(10, 2), (3, 3), (0, 7), (40, 25)]:
        expected = tables.mcnemar([[50, broken], [fixed, 20]], exact=True).pvalue
        assert Flips(fixed, broken).p_value == pytest.approx(expected)


def test_flips_and_classes_are_counted():
    before, after = np.array([1, 1, 0, 0, 1], dtype=bool), np.array([1, 0, 1, 1, 1], dtype=bool)
    assert flips(before, after) == Flips(2, 1)
    assert class_accuracy(before, np.array([0, 0, 0, 2, 2]), 3) == (Rate(2, 3), Rate(0, 0), Rate(1, 2))


def binned(logits, labels, bins):
    """The definition, one bin after another."""
    scores = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    sure, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    error = 0.0
    for low in np.arange(bins) / bins:
        inside = (sure > low) & (sure <= low + 1 / bins)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return error


@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_calibration_error_is_the_binned_definition(scale):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, scale, (500, 4)), rng.integers(0, 4, 500)
    assert calibration_error(logits, labels) == pytest.approx(binned(logits, labels, 15), abs=1e-12)


def test_calibration_error_of_known_answers():
    """Sure of 80 % and right 4 times in 5: no error; right always: 0.2; sure beyond doubt and never right: 1."""
    sure = np.log(np.tile([[0.8, 0.2]], (5, 1)))
    assert calibration_error(sure, np.array([0, 0, 0, 0, 1])) == pytest.approx(0, abs=1e-12)
    assert calibration_error(sure, np.zeros(5, dtype=np.int64)) == pytest.approx(0.2)
    assert calibration_error(np.tile([[0.0, 900.0]], (3, 1)), np.zeros(3, dtype=np.int64)) == 1.0
    assert calibration_error(sure[:0], np.zeros(0, dtype=np.int64)) == 0.0
