import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import BayesianGaussianMixture

from defuse.distill import DirichletMixture
from defuse.seeds import derive


def planted(seed=0, counts=(200, 120, 60)):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    roots = rng.normal(size=(len(counts), 3, 3)) * 0.4
    centres = np.array([[0, 0, 0], [6, 0, 2], [0, -7, 3]])
    return centres[truth] + np.einsum("nij,nj->ni", roots[truth], rng.standard_normal((len(truth), 3))), truth


@pytest.mark.parametrize(("covariance", "theirs"), [("full", "full"), ("diagonal", "diag")])
def test_agrees_with_scikit_learn(covariance, theirs):
    codes, _ = planted()
    prior = np.cov(codes.T) + 1e-3 * np.eye(3)
    reference = BayesianGaussianMixture(
        n_components=8,
        covariance_type=theirs,
        covariance_prior=prior if theirs == "full" else np.diag(prior),
        weight_concentration_prior=0.7,
        max_iter=300,
        reg_covar=1e-3,
        random_state=derive(5, "mixture") % 2**32,
    ).fit(codes)
    settings = DirichletMixture(max_components=8, covariance=covariance, weight_concentration=0.7, max_iterations=300)
    ours = settings.fit(codes, seed=5)
    np.testing.assert_allclose(ours.weights, reference.weights_)
    np.testing.assert_allclose(ours.means, reference.means_)
    expected = reference.covariances_ if theirs == "full" else np.stack([np.diag(v) for v in reference.covariances_])
    np.testing.assert_allclose(ours.covariances, expected)
    assert ours.bound == reference.lower_bound_
    # Assignment is our own code: it must agree on new points too, and between the clusters.
    points = np.random.default_rng(1).uniform(-9, 9, size=(2000, 3))
    assert (ours.assign(points) == reference.predict(points)).all()


def test_one_component_has_the_closed_form_of_the_normal_wishart_posterior():
    codes = np.random.default_rng(2).normal(3.0, 2.0, size=(25, 4))
    fitted = DirichletMixture(max_components=1, regularisation=0.1).fit(codes, seed=0)
    prior = np.cov(codes.T) + 0.1 * np.eye(4)
    scatter = np.cov(codes.T, bias=True) + 0.1 * np.eye(4)
    np.testing.assert_allclose(fitted.means[0], codes.mean(axis=0))
    np.testing.assert_allclose(fitted.covariances[0], (prior + 25 * scatter) / (4 + 25), atol=1e-12)


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


@settings(max_examples=40)
@given(
    count=st.integers(1, 30),
    latent=st.integers(1, 12),
    components=st.integers(1, 10),
    covariance=st.sampled_from(["full", "diagonal"]),
    distinct=st.integers(1, 30),
    shift=st.sampled_from([0.0, 1e4]),
    seed=st.integers(0, 2**62),
)
def test_any_codes_give_usable_gaussians_without_warnings(
    *, count, latent, components, covariance, distinct, shift, seed
):
    rng = np.random.default_rng(seed)
    pool = rng.standard_normal((distinct, latent)).astype(np.float32)
    pool[:, 0] = 0.0
    codes = shift + pool[rng.integers(0, distinct, count)]
    fitted = DirichletMixture(max_components=components, covariance=covariance).fit(codes, seed=seed)
    k = len(fitted.weights)
    assert k == min(components, count)
    assert fitted.means.shape == (k, latent)
    assert fitted.covariances.shape == (k, latent, latent)
    assert np.isclose(fitted.weights.sum(), 1.0)
    assert (np.linalg.eigvalsh(fitted.covariances) > 0).all()
    labels = fitted.assign(codes)
    assert labels.shape == (count,)
    assert (labels >= 0).all()
    assert (labels < k).all()


def test_too_few_iterations_are_said_by_converged_and_by_no_warning():
    assert not DirichletMixture(max_iterations=1).fit(planted()[0], seed=0).converged


def test_same_seed_same_fit_and_no_global_random_state():
    codes, _ = planted()
    state = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is what must stay as it is
    first, second = (DirichletMixture().fit(codes, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.means, second.means)
    np.testing.assert_array_equal(first.covariances, second.covariances)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002 - as above
    assert not np.array_equal(first.means, DirichletMixture().fit(codes, seed=4).means)


@pytest.mark.parametrize("codes", [np.zeros((0, 3)), np.zeros(3), np.full((4, 2), np.nan)])
def test_bad_input_codes(codes):
    with pytest.raises(ValueError, match="codes: expected a finite matrix"):
        DirichletMixture().fit(codes, seed=0)


@pytest.mark.parametrize(
    "settings_", [{"max_components": 0}, {"weight_concentration": 0.0}, {"regularisation": -1.0}, {"components": 3}]
)
def test_bad_input_settings(settings_):
    with pytest.raises(ValidationError):
        DirichletMixture(**settings_)
