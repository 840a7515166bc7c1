import numpy as np
import pytest
from mixture_makers import planted
from pydantic import ValidationError

from defuse.distill import CodeGroup, DirichletMixture

CODES = np.random.default_rng(0).normal(size=(20, 2))


@pytest.mark.parametrize("codes", [np.zeros((0, 3)), np.zeros(3), np.full((4, 2), np.nan), np.array([[np.inf, 1.0]])])
def test_bad_input_codes(codes):
    with pytest.raises(ValueError, match="codes: expected a finite matrix"):
        DirichletMixture().fit(codes, seed=0)


def test_bad_input_groups_of_different_spaces():
    with pytest.raises(ValueError, match="expected 2 columns in every group"):
        DirichletMixture().fit_groups([CodeGroup(CODES, 0), CodeGroup(np.zeros((5, 3)), 1)])


def test_bad_input_truncation_of_a_group():
    with pytest.raises(ValueError, match="max_components: expected 1 or more, got 0"):
        DirichletMixture().fit_groups([CodeGroup(CODES, 0, max_components=0)])


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (np.eye(3), r"symmetric matrix \(2, 2\), got shape \(3, 3\)"),
        (np.array([[1.0, 0.5], [0.0, 1.0]]), "symmetric"),
        (np.diag([1.0, -1.0]), "positive definite"),
        (np.full((2, 2), np.nan), "symmetric"),
    ],
)
def test_bad_input_prior(prior, message):
    with pytest.raises(ValueError, match=message):
        DirichletMixture().fit(CODES, seed=0, prior=prior)


def test_bad_input_codes_that_coincide_have_no_covariance_of_their_own():
    with pytest.raises(ValueError, match="raise regularisation, now 0"):
        DirichletMixture(regularisation=0.0).fit(np.ones((5, 2)), seed=0)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.ones((19, 1)), "matrix with 20 rows"),
        (np.zeros((20, 0)), "matrix with 20 rows"),
        (np.full((20, 2), 0.4), "rows that sum to 1"),
        (np.tile([1.5, -0.5], (20, 1)), "at least 0"),
        (np.full((20, 2), np.nan), "at least 0"),
    ],
)
def test_bad_input_start(start, message):
    with pytest.raises(ValueError, match=message):
        DirichletMixture().fit(CODES, seed=0, start=start)


@pytest.mark.parametrize("codes", [np.zeros((4, 2)), np.zeros(3), np.full((4, 3), np.nan)])
@pytest.mark.parametrize("method", ["assign", "predict_proba", "score_samples"])
def test_bad_input_codes_to_score(codes, method):
    fitted = DirichletMixture(max_components=2).fit(planted()[0], seed=0)
    with pytest.raises(ValueError, match="codes: expected a finite matrix with 3 columns"):
        getattr(fitted, method)(codes)


def test_bad_input_number_of_samples():
    fitted = DirichletMixture(max_components=2).fit(CODES, seed=0)
    with pytest.raises(ValueError, match="count: expected 0 or more, got -1"):
        fitted.sample(-1, rng=np.random.default_rng(0))


@pytest.mark.parametrize(
    "settings",
    [
        {"max_components": 0},
        {"weight_concentration": 0.0},
        {"weight_concentration": np.nan},
        {"regularisation": -1.0},
        {"restarts": 0},
        {"covariance": "tied"},
        {"components": 3},
    ],
)
def test_bad_input_settings(settings):
    with pytest.raises(ValidationError):
        DirichletMixture(**settings)


def test_bad_input_codes_further_apart_than_float64_resolves():
    codes = 1e10 * np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 25, axis=0)
    with pytest.raises(ValueError, match="so far apart"):
        DirichletMixture(max_components=4, regularisation=1e-9).fit(codes, seed=0, prior=1e-9 * np.eye(3))
