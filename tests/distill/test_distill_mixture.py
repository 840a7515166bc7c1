from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mixture_makers import planted
from scipy.stats import multivariate_t
from sklearn.metrics import adjusted_rand_score

from defuse.distill import CodeGroup, DirichletMixture


def test_one_component_has_the_closed_form_of_the_normal_wishart_posterior():
    codes = np.random.default_rng(2).normal(3.0, 2.0, size=(25, 4))
    fitted = DirichletMixture(max_components=1, regularisation=0.1).fit(codes, seed=0)
    prior = np.cov(codes.T) + 0.1 * np.eye(4)
    scatter = np.cov(codes.T, bias=True) + 0.1 * np.eye(4)
    np.testing.assert_allclose(fitted.means[0], codes.mean(axis=0))
    np.testing.assert_allclose(fitted.covariances[0], (prior + 25 * scatter) / (4 + 25), atol=1e-12)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_with_one_component_of_one_dimension_the_bound_is_the_log_evidence(covariance):
    """Up to a constant of prior and N. Codes given mean and precision integrated out are Student's t."""
    rng = np.random.default_rng(0)
    mixture = DirichletMixture(max_components=1, covariance=covariance, regularisation=0.0)
    scatter = 0.7
    gaps = []
    for spread in (0.2, 1.0, 30.0):
        codes = rng.normal(5.0, spread, size=12)
        shape = scatter * (np.eye(12) + np.ones((12, 12)))  # W0^-1 / nu0, and 1 / beta0 = 1 more for the shared mean
        evidence = multivariate_t(np.full(12, codes.mean()), shape, df=1).logpdf(codes)
        fitted = mixture.fit(codes[:, None], seed=0, prior=np.array([[scatter]]))
        gaps.append(fitted.bound - evidence)
    np.testing.assert_allclose(gaps, gaps[0], rtol=1e-9)


def test_stick_breaking_weights_have_their_closed_form():
    """E[v_k] = (1 + N_k) / (1 + N_k + alpha + sum of the later N), N the sums of responsibilities once they settled."""
    codes, _ = planted()
    mixture = DirichletMixture(max_components=3, weight_concentration=2.5, max_iterations=60, tolerance=0.0)
    fitted = mixture.fit(codes, seed=0)
    first, second, third = fitted.predict_proba(codes).sum(axis=0)
    sticks = [
        (1 + first) / (3.5 + first + second + third),
        (1 + second) / (3.5 + second + third),
        (1 + third) / (3.5 + third),
    ]
    shares = np.array([sticks[0], (1 - sticks[0]) * sticks[1], (1 - sticks[0]) * (1 - sticks[1]) * sticks[2]])
    np.testing.assert_allclose(fitted.weights, shares / shares.sum(), rtol=1e-9)


@pytest.mark.parametrize("covariance", ["full", "diagonal"])
def test_planted_clusters_are_recovered(covariance):
    codes, truth = planted()
    fitted = DirichletMixture(max_components=3, covariance=covariance).fit(codes, seed=0)
    assert fitted.converged
    assert adjusted_rand_score(truth, fitted.assign(codes)) >= 0.99
    order = np.argsort(-fitted.weights)
    np.testing.assert_allclose(fitted.weights[order], [200 / 380, 120 / 380, 60 / 380], atol=0.01)
    for number, component in enumerate(order):
        # The prior counts as one code at the mean of all.
        members = np.vstack([codes[truth == number], codes.mean(axis=0)])
        np.testing.assert_allclose(fitted.means[component], members.mean(axis=0), atol=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_k_means_plus_plus_finds_every_one_of_many_separate_clusters(seed):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(12), 30)
    codes = 20 * rng.normal(size=(12, 5))[truth] + 0.1 * rng.normal(size=(360, 5))
    fitted = DirichletMixture(max_components=12, max_iterations=1).fit(codes, seed=seed, prior=np.eye(5))
    assert adjusted_rand_score(truth, fitted.assign(codes)) == 1.0


@st.composite
def any_codes(draw):
    """Few or many, of up to 32 dimensions, with duplicates and a constant column, perhaps far from the origin."""
    count, latent, distinct = draw(st.integers(1, 40)), draw(st.integers(1, 32)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pool = rng.standard_normal((distinct, latent)) * draw(st.sampled_from([1e-3, 1.0, 1e3]))
    if draw(st.booleans()):
        pool[:, 0] = 0.0
    return draw(st.sampled_from([0.0, 1e6])) + pool[rng.integers(0, distinct, count)]


COVARIANCES = st.sampled_from(["full", "diagonal"])


@settings(max_examples=60)
@given(codes=any_codes(), components=st.integers(1, 50), covariance=COVARIANCES, seed=st.integers(0, 2**62))
def test_the_bound_never_falls(codes, components, covariance, seed):
    mixture = DirichletMixture(
        max_components=components, covariance=covariance, regularisation=0.0, max_iterations=30, tolerance=0.0
    )
    scale = max(float(codes.std(axis=0).max()), 1e-3)
    bounds = mixture.fit(codes, seed=seed, prior=scale**2 * np.eye(codes.shape[1])).bounds
    assert (np.diff(bounds) >= -1e-9 * (1 + np.abs(bounds[1:]))).all()


@settings(max_examples=40)
@given(codes=any_codes(), components=st.integers(1, 10), covariance=COVARIANCES, seed=st.integers(0, 2**62))
def test_any_codes_give_usable_gaussians_without_warnings(codes, components, covariance, seed):
    fitted = DirichletMixture(max_components=components, covariance=covariance).fit(codes, seed=seed)
    (count, latent), k = codes.shape, len(fitted.weights)
    assert k == min(components, count)
    assert fitted.means.shape == (k, latent)
    assert fitted.covariances.shape == (k, latent, latent)
    assert np.isclose(fitted.weights.sum(), 1.0)
    assert (np.linalg.eigvalsh(fitted.covariances) > 0).all()
    labels = fitted.assign(codes)
    assert labels.shape == (count,)
    assert (labels >= 0).all()
    assert (labels < k).all()


def fit_from(codes, start, *, prior, regularisation=1e-3):
    mixture = DirichletMixture(max_components=start.shape[1], max_iterations=25, regularisation=regularisation)
    return mixture.fit(codes, seed=0, start=start, prior=prior)


@pytest.fixture
def started():
    codes, _ = planted()
    return codes, np.random.default_rng(3).dirichlet(np.ones(3), size=len(codes))


def test_shift_and_scale_of_the_codes_shift_and_scale_the_fit(started):
    codes, start = started
    plain = fit_from(codes, start, prior=np.eye(3))
    moved = fit_from(5.0 * codes - 40.0, start, prior=25 * np.eye(3), regularisation=25e-3)
    np.testing.assert_allclose(moved.weights, plain.weights)
    np.testing.assert_allclose(moved.means, 5.0 * plain.means - 40.0)
    np.testing.assert_allclose(moved.covariances, 25 * plain.covariances, atol=1e-9)
    # The degrees of freedom of all precisions: N + 3 components of 3 each.
    np.testing.assert_allclose(moved.bounds, plain.bounds - (len(codes) + 9) * 3 * np.log(5.0))


def test_order_of_codes_and_of_dimensions_does_not_matter(started):
    codes, start = started
    plain = fit_from(codes, start, prior=np.eye(3))
    order, axes = np.random.default_rng(0).permutation(len(codes)), [2, 0, 1]
    mixed = fit_from(codes[order][:, axes], start[order], prior=np.eye(3))
    np.testing.assert_allclose(mixed.means, plain.means[:, axes])
    np.testing.assert_allclose(mixed.covariances, plain.covariances[:, axes][:, :, axes], atol=1e-12)
    np.testing.assert_allclose(mixed.bounds, plain.bounds)
    np.testing.assert_array_equal(mixed.assign(codes[:, axes]), plain.assign(codes))


def test_order_of_components_moves_clusters_but_not_their_members():
    """Sticks are ordered, so weights may differ a little; what belongs together may not."""
    codes, truth = planted()
    start = np.eye(3)[truth]
    plain, turned = (fit_from(codes, one, prior=np.eye(3)) for one in (start, start[:, [1, 2, 0]]))
    assert adjusted_rand_score(plain.assign(codes), turned.assign(codes)) == 1.0
    np.testing.assert_allclose(turned.means, plain.means[[1, 2, 0]], atol=1e-3)


def test_a_batch_of_groups_gives_what_each_group_gives_alone():
    rng = np.random.default_rng(0)
    sizes = (1, 2, 40, 300, 35, 50, 280, 1, 33)
    groups = [
        CodeGroup(rng.normal(size=(2, 3))[rng.integers(0, 2, size)] * 3 + rng.normal(size=(size, 3)), seed, limit)
        for seed, (size, limit) in enumerate(zip(sizes, (None, 9, 2, None, 1, None, 3, None, None), strict=True))
    ]
    mixture = DirichletMixture(max_components=5, restarts=2, max_iterations=12)
    for prior in (None, np.eye(3)):
        for group, together in zip(groups, mixture.fit_groups(groups, prior=prior), strict=True):
            room = min(group.max_components or 5, 5)
            alone = replace(mixture, max_components=room).fit(group.codes, seed=group.seed, prior=prior)
            assert len(together.weights) == min(room, len(group.codes))
            np.testing.assert_allclose(together.weights, alone.weights, rtol=1e-6)
            np.testing.assert_allclose(together.means, alone.means, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(together.covariances, alone.covariances, rtol=1e-6, atol=1e-6)
            np.testing.assert_allclose(together.bounds, alone.bounds, rtol=1e-9)
            assert together.converged == alone.converged
            assert (together.stability is None) == (alone.stability is None)


def test_no_groups_no_mixtures():
    assert DirichletMixture().fit_groups([]) == []


def test_convergence_is_told_by_the_trace():
    codes, _ = planted()
    fitted = DirichletMixture(max_components=3, tolerance=1e-2).fit(codes, seed=0)
    changes = np.abs(np.diff(fitted.bounds))
    assert fitted.converged
    assert changes[-1] < 1e-2
    assert (changes[:-1] >= 1e-2).all()
    assert fitted.bound == fitted.bounds[-1]
    short = DirichletMixture(max_iterations=1).fit(codes, seed=0)
    assert not short.converged
    assert len(short.bounds) == 1


def test_the_best_of_several_starts_wins_and_their_agreement_is_told():
    codes, _ = planted()
    assert DirichletMixture(max_components=3).fit(codes, seed=0).stability is None
    separate = DirichletMixture(max_components=3, restarts=3).fit(codes, seed=0)
    assert separate.stability == 1.0
    noise = np.random.default_rng(0).normal(size=(200, 3))
    fits = [DirichletMixture(max_components=6, restarts=n, max_iterations=15).fit(noise, seed=0) for n in (1, 2, 4)]
    bounds = [fit.bound for fit in fits]
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1]
    assert 0 < fits[-1].stability < 0.9


def test_samples_have_the_moments_of_the_mixture():
    codes, _ = planted()
    fitted = DirichletMixture(max_components=3).fit(codes, seed=0)
    drawn = fitted.sample(40_000, rng=np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn.components) / 40_000, fitted.weights, atol=0.01)
    for number in range(3):
        members = drawn.codes[drawn.components == number]
        np.testing.assert_allclose(members.mean(axis=0), fitted.means[number], atol=0.05)
        np.testing.assert_allclose(np.cov(members.T), fitted.covariances[number], atol=0.05)
    again = fitted.sample(40_000, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(again.codes, drawn.codes)
    assert len(fitted.sample(0, rng=np.random.default_rng(0)).codes) == 0


def test_no_codes_have_no_scores():
    fitted = DirichletMixture(max_components=3).fit(planted()[0], seed=0)
    assert fitted.assign(np.zeros((0, 3))).shape == (0,)
    assert fitted.predict_proba(np.zeros((0, 3))).shape == (0, 3)
    assert fitted.score_samples(np.zeros((0, 3))).shape == (0,)


def test_same_seed_same_fit_and_no_global_random_state():
    codes = np.random.default_rng(0).normal(size=(300, 3))
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must stay as it is
    mixture = DirichletMixture(max_components=4)
    first, second = (mixture.fit(codes, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_array_equal(first.covariances, second.covariances)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002 - as above
    assert not np.array_equal(first.means, mixture.fit(codes, seed=4).means)
