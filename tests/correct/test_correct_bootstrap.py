import numpy as np
import pytest
from scipy.stats import binom, bootstrap

from defuse.correct.bootstrap import loss_bound


def masks(lost, gained, count):
    before, after = np.ones(count, dtype=bool), np.ones(count, dtype=bool)
    after[:lost] = False
    before[lost : lost + gained] = False
    return before, after


@pytest.mark.parametrize(("lost", "count"), [(5, 1000), (3, 100), (40, 2000)])
def test_pure_losses_have_the_binomial_s_quantile(lost, count):
    """Resampling n images of which k are lost draws from a binomial with share k / n."""
    found = loss_bound(*masks(lost, 0, count), None, seed=0)
    low, high = binom.ppf([0.94, 0.96], count, lost / count) / count
    assert low <= found <= high


def test_it_is_scipy_s_percentile_bootstrap():
    before, after = masks(30, 20, 1500)
    lost = before.astype(float) - after
    expected = bootstrap(
        (lost,), np.mean, confidence_level=0.95, alternative="less", method="percentile", n_resamples=4000, rng=0
    )
    assert loss_bound(before, after, None, seed=0) == pytest.approx(expected.confidence_interval.high, rel=0.08)


def test_groups_that_err_together_widen_the_bound():
    """40 losses in 4 groups of 10: as 4 losses among 100."""
    before, after = masks(40, 0, 1000)
    groups = np.arange(1000) // 10
    low, high = binom.ppf([0.94, 0.96], 100, 0.04) / 100
    assert low <= loss_bound(before, after, groups, seed=0) <= high
    assert high > loss_bound(before, after, None, seed=0) * 1.2


def test_groups_of_unlike_size_weigh_by_their_images():
    """A group of 90 lost images beside 10 single ones: drawn at least once, it is most of what is drawn."""
    before, after = masks(90, 0, 100)
    groups = np.concatenate([np.zeros(90, dtype=np.int64), np.arange(1, 11)])
    rng = np.random.default_rng(1)
    drawn = rng.integers(0, 11, (20_000, 11))
    hits = (drawn == 0).sum(axis=1)
    expected = np.quantile(90 * hits / (90 * hits + 11 - hits), 0.95)
    assert loss_bound(before, after, groups, seed=0) == pytest.approx(expected, abs=0.01)


def test_no_change_no_bound_and_the_same_seed_the_same():
    before, after = masks(0, 0, 50)
    assert loss_bound(before, after, None, seed=0) == 0
    assert loss_bound(*masks(0, 9, 50), None, seed=0) < 0
    assert loss_bound(*masks(9, 3, 90), None, seed=4) == loss_bound(*masks(9, 3, 90), None, seed=4)
