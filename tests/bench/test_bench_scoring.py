import numpy as np
import pytest
from bench_makers import TASK

from defuse.bench.scoring import (
    FIRST,
    Finding,
    Models,
    first_rank,
    precision,
    ratio,
    ratio_of_sums,
    score_finding,
    score_repair,
)
from defuse.bench.slices import Ruler, Slice
from defuse.classifiers import CallableClassifier
from defuse.records import LabelledImages

RULER = Ruler(Slice(1, "light", "low"), edge=-0.2, natural=0.12)
"""Darker than 0.2 is inside."""


def finding(label=1, predicted=3, count=10):
    return Finding("r001", label, predicted, np.zeros((count, 2, 2, 1), dtype=np.uint8))


def score(dark, bright, **about):
    values = np.array([0.1] * dark + [0.9] * bright)
    return score_finding(finding(count=len(values), **about), TASK, values, RULER, np.ones(len(values), dtype=bool))


def test_a_match_needs_half_and_five_times_the_natural_share():
    """Five times 0.12 is 0.6, so half is not enough here."""
    assert not score(5, 5).match
    assert score(6, 4).match
    assert not score(7, 3).strict
    assert score(8, 2).strict
    assert score(6, 4).inside == pytest.approx(0.6)


def test_half_is_what_counts_where_the_slice_is_rarer():
    rarer = Ruler(RULER.where, RULER.edge, natural=0.05)
    values = np.array([0.1] * 4 + [0.9] * 6)
    assert not score_finding(finding(), TASK, values, rarer, np.ones(10, dtype=bool)).match
    values = np.array([0.1] * 5 + [0.9] * 5)
    assert score_finding(finding(), TASK, values, rarer, np.ones(10, dtype=bool)).match


@pytest.mark.parametrize("about", [{"label": 2}, {"predicted": 4}])
def test_another_class_or_another_answer_is_no_match(about):
    assert not score(10, 0, **about).match
    assert (score(10, 0, **about).inside is None) == ("label" in about)


def test_too_few_failing_images_prove_nothing():
    assert not score(4, 0).match
    assert score(5, 0).match
    assert score(0, 0).inside is None


def test_the_rank_is_the_first_match_among_ten():
    assert first_rank([]) is None
    assert first_rank([False, True, True]) == 2
    assert first_rank([False] * FIRST + [True]) is None


def test_precision_counts_findings_that_the_oracle_confirms():
    def with_real(share):
        values = np.full(10, 0.1)
        return score_finding(finding(), TASK, values, RULER, np.arange(10) < round(10 * share))

    assert precision([]) is None
    assert precision([with_real(0.5), with_real(0.4), with_real(1.0)]) == pytest.approx(2 / 3)


def test_ratios_of_sums():
    assert ratio([1, 0], [0, 0]) is None
    assert ratio([0.3, 0.1], [0.4, 0.4]) == pytest.approx(0.5)
    same = ratio_of_sums([0.2] * 5, [0.4] * 5, seed=0)
    assert (same.value, same.low, same.high) == (pytest.approx(0.5),) * 3
    wide = ratio_of_sums([0.0, 0.4], [0.4, 0.4], seed=0)
    assert (wide.low, wide.value, wide.high) == (0.0, 0.5, 1.0)
    assert ratio_of_sums([0.1], [-0.2], seed=0).value is None


def reading(answers):
    """A classifier that reads image i, whose pixels are all i, as ``answers[i]``."""
    return CallableClassifier(lambda images: np.eye(3)[np.asarray(answers)[images[:, 0, 0, 0]]], ("a", "b", "c"))


def test_a_repair_is_counted_on_real_images_by_hand():
    def images(rows, labels):
        pixels = np.array(rows, dtype=np.uint8)[:, None, None, None].repeat(2, 1).repeat(2, 2)
        return LabelledImages(pixels, np.array(labels), ("a", "b", "c"), np.arange(len(rows)))

    held_out, test = images([0, 1, 2, 3], [0, 0, 0, 0]), images([4, 5, 6, 7], [1, 1, 2, 2])
    models = Models(
        before=reading([1, 1, 1, 0, 1, 1, 2, 0]),
        control=reading([1, 1, 0, 0, 1, 1, 2, 0]),
        after=reading([0, 0, 0, 1, 1, 2, 2, 2]),
        clean=reading([0, 0, 0, 0, 1, 1, 2, 2]),
    )
    scored = score_repair(models, held_out, test)
    assert [getattr(scored, name).successes for name in ("before", "control", "after", "clean")] == [1, 2, 3, 4]
    assert [getattr(scored, f"test_{name}").successes for name in ("before", "control", "after")] == [3, 3, 3]
    assert (scored.negative_flips.successes, scored.negative_flips.trials) == (1, 4)
    assert scored.deep
