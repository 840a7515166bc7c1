import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defuse.distill import adjust, failure_p_value, gather_evidence
from defuse.records import Evidence, Purpose, Rate, RegionSamples


def with_p(p_value):
    return Evidence(Rate(10, 10), Rate(5, 10), ((1, 5), (0, 5)), p_value, p_value)


def samples(predicted, kept):
    count = len(predicted)
    return RegionSamples(
        "r001",
        Purpose.EVIDENCE,
        np.zeros((count, 1, 1, 1), dtype=np.uint8),
        np.zeros((count, 2), dtype=np.float32),
        np.array(predicted, dtype=np.int64),
        np.array(kept, dtype=bool),
    )


@given(trials=st.integers(1, 60), data=st.data(), rho=st.sampled_from([0.1, 0.5, 0.9]))
def test_p_value_is_the_upper_tail_of_the_binomial(trials, data, rho):
    successes = data.draw(st.integers(0, trials))
    tail = sum(math.comb(trials, i) * rho**i * (1 - rho) ** (trials - i) for i in range(successes, trials + 1))
    assert failure_p_value(Rate(successes, trials), rho) == pytest.approx(tail, rel=1e-9)


def test_all_failures_give_rho_to_the_power_of_the_trials():
    assert failure_p_value(Rate(12, 12), 0.5) == pytest.approx(0.5**12, rel=1e-12)


def test_nothing_kept_proves_nothing():
    evidence = gather_evidence(samples([1, 1, 1], [False] * 3), 0, 0.5)
    assert evidence == Evidence(Rate(0, 3), Rate(0, 0), (), 1.0, 1.0)


def test_only_kept_samples_count_and_answers_are_ranked():
    evidence = gather_evidence(samples([3, 0, 3, 1, 1, 2, 0], [True, True, True, True, False, False, True]), 0, 0.25)
    assert evidence.keep == Rate(5, 7)
    assert evidence.failure == Rate(3, 5)
    assert evidence.answers == ((0, 2), (3, 2), (1, 1))
    assert evidence.p_value == pytest.approx(10 * 0.25**3 * 0.75**2 + 5 * 0.25**4 * 0.75 + 0.25**5)


def test_q_values_by_hand():
    # Sorted: 0.001 * 5 / 1, 0.008 * 5 / 2, 0.039 * 5 / 3 = 0.065, 0.041 * 5 / 4 = 0.05125, 0.9; then the least of
    # each and its successors.
    adjusted = adjust([with_p(p) for p in (0.039, 0.9, 0.001, 0.041, 0.008)])
    assert [one.q_value for one in adjusted] == pytest.approx([0.05125, 0.9, 0.005, 0.05125, 0.02])
    assert [one.p_value for one in adjusted] == [0.039, 0.9, 0.001, 0.041, 0.008]


def test_one_test_alone_is_not_adjusted_and_none_gives_none():
    assert adjust([with_p(0.03)])[0].q_value == pytest.approx(0.03)
    assert adjust([]) == []


def test_answers_drawn_at_rho_are_hardly_ever_reported():
    rng = np.random.default_rng(0)
    label, rho, repetitions = 0, 0.5, 200
    reporting = 0
    for _ in range(repetitions):
        tested = []
        for kept in rng.integers(40, 201, size=30):
            predicted = np.where(rng.random(kept) < rho, 1, label)
            tested.append(gather_evidence(samples(predicted, np.ones(kept, dtype=bool)), label, rho))
        reporting += any(one.q_value <= 0.05 for one in adjust(tested))
    assert reporting <= 0.05 * repetitions
