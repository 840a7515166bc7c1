"""The mixture against scikit-learn's, from the same responsibilities."""

import numpy as np
import pytest
from mixture_makers import KINDS, full_covariances, overlapping, reference

from defuse.distill import DirichletMixture
from defuse.distill.packing import Packing

CLOSE = 1e-6


def settings_for(covariance, components, iterations):
    return DirichletMixture(
        max_components=components,
        covariance=covariance,
        weight_concentration=0.7,
        max_iterations=iterations,
        tolerance=0.0,
    )


def assert_same(ours, theirs, *, shift=0.0, scale=1.0):
    """Compare within CLOSE; means relative to the spread of the codes, since they may be 0."""
    np.testing.assert_allclose(ours.bound, theirs.lower_bound_, rtol=CLOSE)
    np.testing.assert_allclose(ours.weights, theirs.weights_, rtol=CLOSE)
    np.testing.assert_allclose(ours.means - shift, theirs.means_, rtol=CLOSE, atol=CLOSE * scale)
    np.testing.assert_allclose(ours.covariances, full_covariances(theirs), rtol=CLOSE, atol=CLOSE * scale**2)


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize(("covariance", "theirs"), KINDS)
def test_equals_scikit_learn_after_each_of_twenty_iterations(covariance, theirs, shift):
    """Wherever the codes lie; scikit-learn is given them unshifted, as its own diagonal updates lose their digits."""
    codes, start = overlapping()
    codes = (codes + shift) - shift  # what is left of them at 1e6
    prior = np.cov(codes.T)
    for iterations in range(1, 21):
        ours = settings_for(covariance, 6, iterations).fit(codes + shift, seed=0, start=start, prior=prior)
        expected = reference(codes, start, theirs, prior=prior + 1e-3 * np.eye(4), iterations=iterations)
        assert_same(ours, expected, shift=shift)
        assert len(ours.bounds) == iterations


@pytest.mark.parametrize("latent", [1, 2, 5, 16])
@pytest.mark.parametrize(("covariance", "theirs"), KINDS)
def test_equals_scikit_learn_in_any_dimension_with_its_default_priors(covariance, theirs, latent):
    codes, start = overlapping(seed=latent, latent=latent, components=3)
    ours = settings_for(covariance, 3, 10).fit(codes, seed=0, start=start)
    prior = np.atleast_2d(np.cov(codes.T)) + 1e-3 * np.eye(latent)
    assert_same(ours, reference(codes, start, theirs, prior=prior, iterations=10))


@pytest.mark.parametrize(("covariance", "theirs"), KINDS)
def test_scores_responsibilities_and_assignment_equal_scikit_learns(covariance, theirs):
    codes, start = overlapping()
    prior = np.cov(codes.T)
    ours = settings_for(covariance, 6, 15).fit(codes, seed=0, start=start, prior=prior)
    expected = reference(codes, start, theirs, prior=prior + 1e-3 * np.eye(4), iterations=15)
    points = np.random.default_rng(1).uniform(-4, 4, size=(500, 4))
    np.testing.assert_allclose(ours.score_samples(points), expected.score_samples(points), rtol=CLOSE)
    np.testing.assert_allclose(ours.predict_proba(points), expected.predict_proba(points), rtol=CLOSE, atol=1e-9)
    np.testing.assert_array_equal(ours.assign(points), expected.predict(points))


def test_empty_components_are_dropped_and_change_nothing(monkeypatch):
    codes, _ = overlapping(count=300, latent=16)
    start = np.eye(12)[np.random.default_rng(0).integers(0, 3, 300)]
    computed = []
    accumulate = Packing.accumulate

    def counted(self, data, components, respond):
        computed.append(components)
        return accumulate(self, data, components, respond)

    monkeypatch.setattr(Packing, "accumulate", counted)
    prior = np.cov(codes.T)
    ours = settings_for("full", 12, 20).fit(codes, seed=0, start=start, prior=prior)
    expected = reference(codes, start, "full", prior=prior + 1e-3 * np.eye(16), iterations=20)
    assert computed[:2] == [12, 12]  # the start, and the first responsibilities
    assert computed[-1] <= 3
    assert len(ours.weights) == 12
    assert_same(ours, expected)
