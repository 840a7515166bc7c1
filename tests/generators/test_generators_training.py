"""Which images an epoch shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from defuse.generators.training import _order

LABELS = np.repeat([0, 1, 2], [900, 90, 10])


def counts(balance, labels=LABELS):
    order = _order(labels, balance, np.random.default_rng(0))
    return np.bincount(labels[order]), order


@pytest.mark.parametrize(("balance", "shares"), [(0.5, np.sqrt([900, 90, 10])), (1.0, np.ones(3))])
def test_classes_get_their_share(balance, shares):
    found, _ = counts(balance)
    assert found == pytest.approx(1000 * shares / shares.sum(), abs=1)


def test_without_balance_every_image_comes_once():
    _, order = counts(0.0)
    assert sorted(order) == list(range(len(LABELS)))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.floats(0.0, 1.0))
def test_within_a_class_no_image_comes_much_oftener_than_another(labels, balance):
    labels = np.array(labels)
    _, order = counts(balance, labels)
    assert len(labels) <= len(order) <= len(labels) + 5
    often = np.bincount(order, minlength=len(labels))
    for label in np.unique(labels):
        assert np.ptp(often[labels == label]) <= 1
