import numpy as np
import pytest
from data_makers import labelled
from hypothesis import given
from hypothesis import strategies as st

from defuse.data import Source, SplitSettings, split


def counts_of(images):
    return np.bincount(images.labels, minlength=len(images.class_names)).tolist()


def test_own_splits_are_used_as_they_are():
    source = Source(train=labelled([5, 4]), test=labelled([2, 3]), validation=labelled([1, 1]))
    splits = split(source, SplitSettings(), seed=0)
    assert splits.reference is source.train
    assert splits.validation is source.validation
    assert splits.test is source.test


def test_validation_is_cut_class_by_class():
    source = Source(train=labelled([100, 50, 25, 2]), test=labelled([1, 1, 1, 1]))
    splits = split(source, SplitSettings(validation=0.1), seed=0)
    assert counts_of(splits.validation) == [10, 5, 3, 1]  # 2.5 rounds up; one of the rare class goes
    assert counts_of(splits.reference) == [90, 45, 22, 1]
    assert splits.test is source.test


def test_a_missing_test_split_is_cut_first():
    splits = split(Source(train=labelled([50, 20])), SplitSettings(validation=0.25, test=0.2), seed=0)
    assert counts_of(splits.test) == [10, 4]
    assert counts_of(splits.validation) == [10, 4]  # a quarter of the 40 and 16 that were left
    assert counts_of(splits.reference) == [30, 12]


@given(
    counts=st.lists(st.integers(3, 40), min_size=2, max_size=6),
    validation=st.floats(0.01, 0.99),
    test=st.floats(0.01, 0.99),
    seed=st.integers(0, 9),
)
def test_splits_partition_the_source_and_keep_its_order(counts, validation, test, seed):
    train = labelled(counts)
    splits = split(Source(train=train), SplitSettings(validation=validation, test=test), seed=seed)
    parts = (splits.reference, splits.validation, splits.test)
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(len(train)))
    for part in parts:
        assert (np.diff(part.rows) > 0).all()
        assert np.array_equal(part.labels, train.labels[part.rows])
        assert np.array_equal(part.images, train.images[part.rows])
        assert min(counts_of(part)) >= 1


def test_the_seed_decides():
    source = Source(train=labelled([60, 60]))
    first, again, other = (split(source, SplitSettings(), seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.validation.rows, again.validation.rows)
    assert np.array_equal(first.reference.rows, again.reference.rows)
    assert not np.array_equal(first.validation.rows, other.validation.rows)


@given(counts=st.lists(st.integers(1, 60), min_size=2, max_size=6), data=st.data())
def test_limit_keeps_the_classes_shares(counts, data):
    source = Source(train=labelled(counts), test=labelled([1] * len(counts)), validation=labelled([1] * len(counts)))
    limit = data.draw(st.integers(len(counts), sum(counts) + 3))
    kept = split(source, SplitSettings(limit=limit), seed=0).reference
    assert len(kept) == min(limit, sum(counts))
    assert (np.diff(kept.rows) > 0).all()
    spare = len(kept) - len(counts)
    for got, count in zip(counts_of(kept), counts, strict=True):
        fair = 1 + spare * (count - 1) / max(1, sum(counts) - len(counts))
        assert abs(got - fair) < 1
        assert 1 <= got <= count


def test_limit_leaves_validation_and_test_whole():
    source = Source(train=labelled([50, 50]), test=labelled([9, 9]))
    whole, few = (split(source, SplitSettings(limit=limit), seed=0) for limit in (None, 10))
    assert np.array_equal(whole.validation.rows, few.validation.rows)
    assert counts_of(few.reference) == [5, 5]
    assert few.test is source.test
    assert set(few.reference.rows.tolist()) <= set(whole.reference.rows.tolist())


def test_settings_take_no_nonsense():
    for wrong in ({"validation": 0.0}, {"validation": 1.0}, {"test": -0.1}, {"limit": 0}, {"share": 0.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SplitSettings(**wrong)
