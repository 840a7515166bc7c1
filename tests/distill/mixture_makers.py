"""Planted codes, and scikit-learn's mixture from given responsibilities."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

KINDS = [("full", "full"), ("diagonal", "diag")]
"""Our name of a covariance and scikit-learn's."""


def planted(seed=0, counts=(200, 120, 60)):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(counts)), counts)
    roots = rng.normal(size=(len(counts), 3, 3)) * 0.4
    centres = np.array([[0, 0, 0], [6, 0, 2], [0, -7, 3]])
    return centres[truth] + np.einsum("nij,nj->ni", roots[truth], rng.standard_normal((len(truth), 3))), truth


def overlapping(seed=0, count=150, latent=4, components=6):
    """Return codes of clusters that overlap, and random responsibilities."""
    rng = np.random.default_rng(seed)
    codes = rng.normal(size=(3, latent))[rng.integers(0, 3, count)] + rng.normal(size=(count, latent)) * 0.7
    return codes, rng.dirichlet(np.full(components, 0.5), size=count)


class Started(BayesianGaussianMixture):
    """Starts from responsibilities that are given."""

    def _initialize_parameters(self, X, random_state, xp=None):  # noqa: N803 - scikit-learn's name
        del random_state, xp
        self._initialize(X, self.given)


def reference(codes, start, covariance, *, prior, iterations, concentration=0.7, regularisation=1e-3):
    """Return scikit-learn's mixture after exactly so many iterations; the prior is a covariance."""
    model = Started(
        n_components=start.shape[1],
        covariance_type=covariance,
        covariance_prior=prior if covariance == "full" else np.diag(prior),
        weight_concentration_prior=concentration,
        reg_covar=regularisation,
        max_iter=iterations,
        tol=0.0,
    )
    model.given = start
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(codes)


def full_covariances(model):
    """Return scikit-learn's covariances as matrices."""
    found = model.covariances_
    return found if found.ndim == 3 else found[:, :, None] * np.eye(found.shape[1])
