"""The mixture under scikit-learn's conventions."""

from typing import Any, Literal

import numpy as np
from jaxtyping import Float64
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from defuse.distill.fitted import FittedMixture
from defuse.distill.mixture import DirichletMixture
from defuse.types import Labels


class MixtureEstimator(DensityMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """``DirichletMixture`` for pipelines and searches of scikit-learn; the parameters are its attributes.

    It takes up to four components where nothing else is asked for.

    Attributes:
        mixture_: the ``FittedMixture``.
        n_features_in_: dimensions of a code.
    """

    mixture_: FittedMixture

    def __init__(
        self,
        *,
        max_components: int = 4,
        covariance: Literal["full", "diagonal"] = "full",
        weight_concentration: float = 1.0,
        max_iterations: int = 200,
        tolerance: float = 1e-3,
        regularisation: float = 1e-3,
        restarts: int = 1,
        random_state: int = 0,
    ) -> None:
        self.max_components = max_components
        self.covariance = covariance
        self.weight_concentration = weight_concentration
        self.max_iterations = max_iterations
        self.tolerance = tolerance
        self.regularisation = regularisation
        self.restarts = restarts
        self.random_state = random_state

    def fit(self, X: Any, y: object = None) -> "MixtureEstimator":  # noqa: N803 - scikit-learn's name
        """Fit to codes (n, latent).

        Raises:
            ValueError: the codes are not a finite matrix, or a parameter is out of range.
        """
        del y
        points = validate_data(self, X, dtype=np.float64)
        settings = {key: value for key, value in self.get_params().items() if key != "random_state"}
        self.mixture_ = DirichletMixture(**settings).fit(points, seed=self.random_state)
        return self

    def fit_predict(self, X: Any, y: object = None) -> Labels:  # noqa: N803 - as above
        """Fit to codes (n, latent) and return the component of each, (n,)."""
        return self.fit(X, y).predict(X)

    def predict(self, X: Any) -> Labels:  # noqa: N803 - as above
        """Return the component of each code (n, latent), (n,)."""
        return self._fitted().assign(self._codes(X))

    def predict_proba(self, X: Any) -> Float64[np.ndarray, "n k"]:  # noqa: N803 - as above
        """Return the responsibilities of the components for each code (n, latent), (n, k)."""
        return self._fitted().predict_proba(self._codes(X))

    def score_samples(self, X: Any) -> Float64[np.ndarray, " n"]:  # noqa: N803 - as above
        """Return the expected log-density of each code (n, latent), (n,)."""
        return self._fitted().score_samples(self._codes(X))

    def score(self, X: Any, y: object = None) -> float:  # noqa: N803 - as above
        """Return the mean expected log-density of codes (n, latent)."""
        del y
        return float(self.score_samples(X).mean())

    def _fitted(self) -> FittedMixture:
        check_is_fitted(self)
        return self.mixture_

    def _codes(self, X: Any) -> Float64[np.ndarray, "n latent"]:  # noqa: N803 - as above
        return validate_data(self, X, dtype=np.float64, reset=False)
