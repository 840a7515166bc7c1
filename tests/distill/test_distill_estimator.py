import numpy as np
import pytest
from mixture_makers import planted
from sklearn.exceptions import NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from defuse.distill import DirichletMixture, MixtureEstimator


def refused(_estimator):
    return {
        "check_do_not_raise_errors_in_init_or_set_params": "tests check the declared types of arguments at run time"
    }


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
@parametrize_with_checks([MixtureEstimator(max_components=2, max_iterations=5)], expected_failed_checks=refused)
def test_keeps_every_convention_of_scikit_learn(estimator, check):
    check(estimator)


def test_says_what_the_mixture_says():
    codes, truth = planted()
    estimator = MixtureEstimator(max_components=3, random_state=7).fit(codes)
    mixture = DirichletMixture(max_components=3).fit(codes, seed=7)
    np.testing.assert_array_equal(estimator.predict(codes), mixture.assign(codes))
    np.testing.assert_array_equal(estimator.predict_proba(codes), mixture.predict_proba(codes))
    np.testing.assert_array_equal(estimator.score_samples(codes), mixture.score_samples(codes))
    assert estimator.score(codes) == pytest.approx(mixture.score_samples(codes).mean())
    assert adjusted_rand_score(truth, estimator.fit_predict(codes)) >= 0.99


def test_works_in_a_pipeline_and_a_search():
    codes, _ = planted()
    codes = np.random.default_rng(0).permutation(codes)
    grid = {"mixtureestimator__max_components": [1, 3]}
    search = GridSearchCV(make_pipeline(StandardScaler(), MixtureEstimator()), grid, cv=2).fit(codes)
    assert search.best_params_ == {"mixtureestimator__max_components": 3}


def test_bad_input_not_fitted_and_settings():
    with pytest.raises(NotFittedError):
        MixtureEstimator().predict(np.zeros((3, 2)))
    with pytest.raises(ValueError, match="max_components"):
        MixtureEstimator(max_components=0).fit(np.zeros((3, 2)))
