import math
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from defuse.outcomes import CaseResult, RegionScore, Scores
from defuse.records import Answer, Failures, LabelledImages, ProposalCount, Rate, Search, Splits, Verdict

Z = 1.959963984540054
"""The 97.5 % quantile of the normal distribution."""

counts = st.integers(1, 100_000).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials)))


def images(count=6):
    stored = np.arange(count * 12, dtype=np.uint8).reshape(count, 2, 6, 1)
    return LabelledImages(stored, np.arange(count) % 3, ("a", "b", "c"), 100 + np.arange(count))


@given(counts)
def test_rate_interval_is_wilson_s_closed_form(pair):
    successes, trials = pair
    share = successes / trials
    centre = (share + Z**2 / (2 * trials)) / (1 + Z**2 / trials)
    half = Z * math.sqrt(share * (1 - share) / trials + Z**2 / (4 * trials**2)) / (1 + Z**2 / trials)
    low, high = Rate(successes, trials).interval
    assert Rate(successes, trials).value == share
    assert low == pytest.approx(max(centre - half, 0), abs=1e-9)
    assert high == pytest.approx(min(centre + half, 1), abs=1e-9)
    assert low <= share <= high


def test_rate_of_nothing_says_nothing():
    assert math.isnan(Rate(0, 0).value)
    assert Rate(0, 0).interval == (0, 1)
    assert str(Rate(0, 0)) == "nothing tried"


def test_rate_is_printed_with_its_interval():
    assert str(Rate(5, 10)) == "50.0 % (23.7 to 76.3)"


@pytest.mark.parametrize("index", [np.array([4, 1, 1]), np.array([False, True, True, False, False, True])])
def test_take_keeps_images_labels_and_rows_together(index):
    taken, everything = images().take(index), images()
    assert np.array_equal(taken.images, everything.images[index])
    assert np.array_equal(taken.labels, everything.labels[index])
    assert np.array_equal(taken.rows, everything.rows[index])
    assert taken.class_names == everything.class_names
    assert len(taken) == 3
    assert taken.image_shape == (2, 6, 1)


def test_splits_share_the_reference_s_class_names():
    assert Splits(images(), images(), images()).class_names == ("a", "b", "c")


def test_search_adds_up_its_proposals():
    search = Search((ProposalCount("x", 100, 20, 3), ProposalCount("y", 50, 9, 4)), (), 1.0)
    assert (search.candidates, search.flips, search.kept) == (150, 29, 7)


def test_scores_pool_trials_not_shares():
    regions = (RegionScore("r001", Rate(1, 2)), RegionScore("r002", Rate(0, 98)))
    assert Scores(Rate(1, 1), Rate(1, 1), regions).failure == Rate(1, 100)


@pytest.mark.parametrize(("failed", "passed"), [(9, True), (10, True), (11, False)])
def test_a_case_passes_at_its_threshold(failed, passed):
    assert CaseResult("r001", Rate(failed, 100), 0.1).passed is passed


def verdict(answer, label):
    return Verdict("r001", "ann", answer, label, machine=False, time="2026-01-01T00:00:00+00:00")


def test_a_verdict_has_a_label_exactly_when_it_names_a_class():
    assert verdict(Answer.CLASS, 3).label == 3
    assert verdict(Answer.NOT_AN_ERROR, None).label is None


@pytest.mark.parametrize(("answer", "label"), [(Answer.CLASS, None), (Answer.NO_CLEAR_CLASS, 1)])
def test_verdict_bad_input(answer, label):
    with pytest.raises(ValueError, match="r001"):
        verdict(answer, label)


def test_records_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Rate(1, 2).trials = 3


@pytest.mark.parametrize(
    "change",
    [
        {"seed": np.zeros(3, np.int64)},
        {"label": np.zeros(2, np.int32)},
        {"z": np.zeros((2, 4), np.float64)},
        {"z": np.zeros(2, np.float32)},
        {"predicted": np.zeros((2, 1), np.int64)},
    ],
)
def test_array_shapes_and_dtypes_are_checked_at_run_time(change):
    """Shows that the tests' import hook is at work: one number of rows throughout, and the declared dtypes."""
    whole = {
        "seed": np.zeros(2, np.int64),
        "label": np.zeros(2, np.int64),
        "predicted": np.zeros(2, np.int64),
        "proposal": ("x", "x"),
        "z": np.zeros((2, 4), np.float32),
        "scores": {},
    }
    assert len(Failures(**whole)) == 2
    with pytest.raises(TypeCheckError):
        Failures(**{**whole, **change})
