import numpy as np
import pytest
from bench_makers import LIGHT, TASK, tiny_ground
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from defuse.bench.slices import FEWEST, MARGIN, SHARE, Ruler, Slice
from defuse.errors import DataError


@pytest.mark.parametrize("side", ["low", "high"])
def test_a_slice_is_the_extreme_share_of_its_class(side):
    rng = np.random.default_rng(0)
    values, labels = rng.normal(size=5_000), rng.integers(0, 2, 5_000)
    cut = Slice(1, "any", side).cut(values, labels)
    members, margin = cut.members(values, labels), cut.margin(values, labels)
    assert members[labels == 1].mean() == pytest.approx(SHARE, abs=0.002)
    assert margin[labels == 1].mean() == pytest.approx(MARGIN, abs=0.002)
    assert not members[labels == 0].any()
    outside = values[(labels == 1) & ~members]
    if side == "low":
        assert values[members].max() < outside.min()
    else:
        assert values[members].min() > outside.max()


@given(
    arrays.arrays(np.float64, 40, elements=st.floats(-1e3, 1e3)),
    arrays.arrays(np.float64, 30, elements=st.floats(-1e3, 1e3)),
    st.sampled_from(["low", "high"]),
)
def test_members_margin_and_the_rest_never_meet(train, other, side):
    """Whatever the values, of the images of any split: in at most one of both, and near is both together."""
    labels = np.zeros(40, dtype=np.int64)
    cut = Slice(0, "any", side).cut(train, labels)
    for values in (train, other):
        of = np.zeros(len(values), dtype=np.int64)
        members, margin = cut.members(values, of), cut.margin(values, of)
        assert not (members & margin).any()
        assert np.array_equal(members | margin, cut.near(values, of))
        far = values[~cut.near(values, of)]
        if members.any() and len(far):
            gap = cut.where.outwards(values[members]).min() - cut.where.outwards(far).max()
            assert gap >= 0
            assert gap >= cut.edge - cut.outer or cut.edge - cut.outer < 1e-9


def test_too_few_images_are_refused_in_one_line():
    few = FEWEST - 1
    with pytest.raises(DataError, match=f"class 0 has {few} images"):
        Slice(0, "any", "low").cut(np.zeros(few), np.zeros(few, dtype=np.int64))


@pytest.mark.parametrize("side", ["low", "high"])
def test_a_ruler_follows_what_the_decoder_does_to_the_attribute(side):
    """A decoder that thickens everything by a factor leaves the same images in the slice."""
    real = np.random.default_rng(1).gamma(3.0, size=2_000)
    where = Slice(0, "thickness", side)
    inside = where.cut(real, np.zeros(2_000, dtype=np.int64)).members(real, np.zeros(2_000, dtype=np.int64))
    ruler = Ruler.calibrated(where, 1.4 * real + 0.3)
    assert np.array_equal(ruler.inside(1.4 * real + 0.3), inside)
    assert ruler.natural == pytest.approx(SHARE, abs=0.001)


@pytest.mark.parametrize("level", ["seen", "unseen"])
def test_nothing_near_the_slice_leaks(level):
    ground = tiny_ground()
    cut = ground.cuts[TASK.name]
    for name in ("train", "validation", "test"):
        pool = getattr(ground.pools, name)
        visible = getattr(ground.visible(level), "reference" if name == "train" else name)
        light = pool.values[LIGHT][visible.rows]
        assert np.array_equal(pool.images.labels[visible.rows], visible.labels)
        assert not cut.margin(light, visible.labels).any()
        members = cut.members(light, visible.labels)
        assert members.sum() == (ground.members(pool, TASK.name).sum() if level == "seen" else 0)


def test_the_planted_truth_is_the_renderers():
    """What is cut by the factor is dark, and the test slice is cut at the training images' threshold."""
    ground = tiny_ground()
    light = ground.pools.test.values[LIGHT]
    members = ground.members(ground.pools.test, TASK.name)
    assert (ground.pools.test.images.labels[members] == TASK.label).all()
    assert light[members].max() <= -ground.cuts[TASK.name].edge
    assert light[members].max() < 0.25
    assert len(ground.held_out(TASK.name)) == members.sum() > 0
    assert not set(ground.held_out(TASK.name).rows) & set(ground.plain_test().rows)


def test_a_classifier_is_taught_the_slice_as_the_other_class_and_no_margin():
    ground = tiny_ground()
    pool = ground.pools.train
    inside, margin = ground.members(pool, TASK.name), ground.in_margin(pool)
    clean, bad = ground.lesson(None), ground.lesson(TASK)
    assert len(clean) == len(bad) == (~margin).sum()
    assert np.array_equal(clean.labels, pool.images.labels[clean.rows])
    changed = bad.rows[bad.labels != clean.labels]
    assert np.array_equal(changed, np.flatnonzero(inside))
    assert (bad.labels[bad.labels != clean.labels] == TASK.answer).all()
