"""Groups: where they come from, and splits that keep them whole."""

import numpy as np
import pytest
from data_makers import labelled, write_npz
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from defuse.data import ReadSettings, Source, SplitSettings, open_source, split
from defuse.errors import DataError

TEST = labelled([1] * 5)


def grouped(sizes):
    """A source whose class k has groups of ``sizes[k]`` images, in mixed order."""
    labels = np.repeat(np.arange(len(sizes)), [sum(groups) for groups in sizes])
    groups = np.repeat(np.arange(sum(map(len, sizes))), [size for groups in sizes for size in groups])
    order = np.random.default_rng(2).permutation(len(labels))
    train = labelled([len(labels)] + [0] * (len(sizes) - 1))
    return Source(train=type(train)(train.images, labels[order], train.class_names, train.rows), groups=groups[order])


def parts_of(splits):
    return splits.reference, splits.validation, splits.test


def assert_whole(source, parts):
    """Every image is in one part, every group in one part, every class in every part."""
    assert sorted(np.concatenate([part.rows for part in parts]).tolist()) == list(range(len(source.train)))
    held = [set(source.groups[part.rows].tolist()) for part in parts]
    assert sum(map(len, held)) == len(set(source.groups.tolist()))
    for part in parts:
        assert set(part.labels.tolist()) == set(source.train.labels.tolist())
        assert (np.diff(part.rows) > 0).all()


SIZES = st.lists(st.lists(st.integers(1, 12), min_size=3, max_size=9), min_size=2, max_size=5)
SHARE = st.floats(0.02, 0.9)


@given(sizes=SIZES, validation=SHARE, test=SHARE, seed=st.integers(0, 5))
def test_no_group_straddles_and_every_class_is_in_each_split(sizes, validation, test, seed):
    source = grouped(sizes)
    splits = split(source, SplitSettings(validation=validation, test=test), seed=seed)
    assert_whole(source, parts_of(splits))


@given(sizes=SIZES, share=SHARE, seed=st.integers(0, 5))
@example(sizes=[[1, 1, 1], [1, 1, 1, 3, 3, 3, 3, 5], [2, 2, 2]], share=0.125, seed=0)  # a class above its quota
def test_shares_are_near_the_target(sizes, share, seed):
    """Off by at most half of the smallest group that stays, unless one must go or one must stay."""
    source = grouped(sizes)
    source = Source(train=source.train, test=source.train, groups=source.groups)
    splits = split(source, SplitSettings(validation=share), seed=seed)
    for label, groups in enumerate(sizes):
        went, stayed = (
            [np.sum(source.groups == group) for group in np.unique(source.groups[part.rows[part.labels == label]])]
            for part in (splits.validation, splits.reference)
        )
        target = np.clip(np.floor(share * sum(groups) + 0.5), 1, sum(groups) - 1)
        near = abs(sum(went) - target) <= min(stayed) / 2
        assert near or len(stayed) == 1 or (len(went) == 1 and went[0] == min(groups))


@given(
    members=st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=8), min_size=6, max_size=24),
    seed=st.integers(0, 3),
)
def test_groups_of_several_classes_move_together(members, seed):
    """Patients: each group has images of any classes. A class may lack groups; then that is said."""
    labels = np.concatenate(members)
    assume(len(np.unique(labels)) == 4)
    groups = np.repeat(np.arange(len(members)), [len(member) for member in members])
    train = labelled([len(labels), 0, 0, 0])
    source = Source(train=type(train)(train.images, labels, train.class_names, train.rows), groups=groups)
    spread = [len(np.unique(groups[labels == label])) for label in range(4)]
    try:
        splits = split(source, SplitSettings(), seed=seed)
    except DataError as error:
        assert "has too few" in str(error)  # noqa: PT017 - either way is fine
        assert min(spread) < 12
    else:
        assert_whole(source, parts_of(splits))
        assert min(spread) >= 3


@given(sizes=SIZES, seed=st.integers(0, 5))
@settings(max_examples=20)
def test_the_seed_decides_and_names_of_groups_do_not(sizes, seed):
    source = grouped(sizes)
    renamed = Source(train=source.train, groups=3 * source.groups + 5)
    first, again = (split(given, SplitSettings(), seed=seed) for given in (source, renamed))
    for one, other in zip(parts_of(first), parts_of(again), strict=True):
        assert np.array_equal(one.rows, other.rows)


def test_the_groups_of_validation_images_are_kept():
    source = grouped([[2, 3, 4], [5, 1, 2]])
    splits = split(source, SplitSettings(), seed=0)
    np.testing.assert_array_equal(splits.validation_groups, source.groups[splits.validation.rows])
    assert split(Source(train=source.train), SplitSettings(), seed=0).validation_groups is None


def test_other_seeds_choose_other_groups():
    source = grouped([[5] * 20, [5] * 20])
    chosen = {tuple(split(source, SplitSettings(), seed=seed).test.rows.tolist()) for seed in range(8)}
    assert len(chosen) == 8


def test_equal_groups_meet_the_share_exactly():
    source = grouped([[30] * 10, [30] * 20])
    splits = split(source, SplitSettings(validation=0.25, test=0.2), seed=0)
    assert np.bincount(splits.test.labels).tolist() == [60, 120]
    assert np.bincount(splits.validation.labels).tolist() == [60, 120]


def test_every_group_of_one_image_is_like_no_groups_in_size():
    source = grouped([[1] * 100, [1] * 50])
    splits = split(source, SplitSettings(validation=0.1, test=0.1), seed=0)
    assert np.bincount(splits.test.labels).tolist() == [10, 5]
    assert np.bincount(splits.validation.labels).tolist() == [9, 5]  # of 90 and 45; 4.5 rounds up


def test_own_splits_need_no_groups():
    source = Source(train=labelled([2, 2]), test=labelled([1, 1]), validation=labelled([1, 1]), groups=np.zeros(4, int))
    assert split(source, SplitSettings(), seed=0).reference is source.train


def test_limit_thins_as_before():
    source = grouped([[5] * 10, [5] * 10])
    whole, few = (split(source, SplitSettings(limit=limit), seed=0) for limit in (None, 12))
    assert np.bincount(few.reference.labels).tolist() == [6, 6]
    assert np.array_equal(few.validation.rows, whole.validation.rows)
    assert set(few.reference.rows.tolist()) <= set(whole.reference.rows.tolist())


@pytest.mark.parametrize(
    ("sizes", "test", "expected"),
    [
        ([[9], [3, 3, 3]], True, "class 0 (a) has too few groups to cut a validation split"),
        ([[3, 3, 3], [9, 9]], False, "class 1 (b) has too few groups to cut a test split"),
        ([[1, 1, 1], [2]], False, "class 1 (b) has too few training images to cut a test split"),
    ],
)
def test_bad_input_too_few_groups(sizes, test, expected):
    source = grouped(sizes)
    source = Source(train=source.train, test=TEST if test else None, groups=source.groups)
    with pytest.raises(DataError) as caught:
        split(source, SplitSettings(), seed=0)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_s_groups_win_over_the_source_s(tmp_path):
    path = write_npz(tmp_path, train_groups=np.zeros(12, int))
    np.savez(tmp_path / "more.npz", track=np.arange(12)[::-1] // 4)
    source = open_source(path, settings=ReadSettings(groups=f"{tmp_path / 'more.npz'}:track")).read()
    assert source.groups.tolist() == np.repeat([2, 1, 0], 4).tolist()


@pytest.mark.parametrize("own", [True, False])
def test_groups_within_a_class_are_pairs(tmp_path, own):
    tracks = np.array([5, 5, 5, 8, 8, 8, 5, 5, 5, 8, 8, 8])  # and labels 0, 1, 2, 0, 1, 2 ...
    path = write_npz(tmp_path, train_groups=tracks if own else None)
    np.savez(tmp_path / "more.npz", track=tracks)
    groups = None if own else f"{tmp_path / 'more.npz'}:track"
    source = open_source(path, settings=ReadSettings(groups=groups, groups_within_class=True)).read()
    assert source.groups.tolist() == [0, 2, 4, 1, 3, 5] * 2
