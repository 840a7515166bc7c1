"""Truncated variational Dirichlet-process Gaussian mixture."""

import warnings
from dataclasses import dataclass as record
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import Field
from pydantic.dataclasses import dataclass
from scipy.linalg import solve_triangular
from scipy.special import digamma
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from defuse.seeds import derive
from defuse.types import STRICT, Labels


@record(frozen=True)
class FittedMixture:
    """The variational posterior of a mixture, reduced to what distill needs.

    Attributes:
        weights: share of each component, (k,), sums to 1.
        means: (k, latent).
        covariances: (k, latent, latent), also where the fitted ones are diagonal; positive definite.
        offsets: (k,); the log-responsibility of a component is its Gaussian log-density plus this, up to a
            constant of the code. It holds the expected log weight and what the uncertainty about mean and
            precision adds to the plug-in density (Bishop 2006, equations 10.64 to 10.67).
        converged: whether the bound settled before the iterations ran out.
        bound: the evidence lower bound at the end, up to a constant of the data (scikit-learn's).
    """

    weights: Float64[np.ndarray, " k"]
    means: Float64[np.ndarray, "k latent"]
    covariances: Float64[np.ndarray, "k latent latent"]
    offsets: Float64[np.ndarray, " k"]
    converged: bool
    bound: float

    def assign(self, codes: np.ndarray) -> Labels:
        """Return the component with the greatest responsibility for each code (n, latent), (n,)."""
        points = np.asarray(codes, dtype=np.float64)
        scores = [_log_density(points, mean, cov) for mean, cov in zip(self.means, self.covariances, strict=True)]
        return (np.stack(scores, axis=1) + self.offsets).argmax(axis=1).astype(np.int64)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DirichletMixture:
    """A Dirichlet-process mixture of Gaussians, truncated, fitted by variational inference.

    Source: Slack et al. 2021 (arXiv:2102.06162), distillation; Blei and Jordan 2006; Bishop 2006, section 10.2.
    The paper's truncation, concentration and priors were not at hand: the values here are ours. The engine is
    scikit-learn's ``BayesianGaussianMixture`` with its priors, except that ``regularisation`` is also added to the
    prior covariance, so that few codes, or codes that coincide, still give Gaussians with a density.

    Attributes:
        max_components: truncation of the process; fewer codes than this lower it to their number.
        covariance: ``full`` or ``diagonal`` Gaussians.
        weight_concentration: of the process; smaller values put the mass on fewer components.
        max_iterations: of the variational updates.
        tolerance: the fit has converged when the bound rises by less than this.
        regularisation: added to the diagonal of every covariance, in squared units of the latent space.
        restarts: how often it is fitted from another start; the best bound wins.
    """

    max_components: Annotated[int, Field(ge=1)] = 4
    covariance: Literal["full", "diagonal"] = "full"
    weight_concentration: Annotated[float, Field(gt=0)] = 1.0
    max_iterations: Annotated[int, Field(ge=1)] = 200
    tolerance: Annotated[float, Field(gt=0)] = 1e-3
    regularisation: Annotated[float, Field(gt=0)] = 1e-3
    restarts: Annotated[int, Field(ge=1)] = 1

    def fit(
        self, codes: np.ndarray, *, seed: int, prior: Float64[np.ndarray, "latent latent"] | None = None
    ) -> FittedMixture:
        """Fit the mixture to codes (n, latent) with n >= 1; a component may end with next to no weight.

        Args:
            codes: points of the latent space.
            seed: of the start.
            prior: expected covariance of a component before any code is seen; None for that of all codes.

        Raises:
            ValueError: the codes are not a finite matrix with at least one row.
        """
        points = np.asarray(codes, dtype=np.float64)
        if points.ndim != 2 or not points.size or not np.isfinite(points).all():  # noqa: PLR2004 - a matrix
            raise ValueError(f"codes: expected a finite matrix with at least one row, got shape {points.shape}")
        expected = _covariance(points) if prior is None else prior
        prior = expected + self.regularisation * np.eye(points.shape[1])
        if len(points) == 1:
            return FittedMixture(np.ones(1), points.copy(), prior[None], np.zeros(1), converged=True, bound=0.0)
        model = BayesianGaussianMixture(
            n_components=min(self.max_components, len(points)),
            covariance_type="full" if self.covariance == "full" else "diag",
            covariance_prior=prior if self.covariance == "full" else np.diag(prior),
            weight_concentration_prior_type="dirichlet_process",
            weight_concentration_prior=self.weight_concentration,
            max_iter=self.max_iterations,
            tol=self.tolerance,
            reg_covar=self.regularisation,
            n_init=self.restarts,
            random_state=derive(seed, "mixture") % 2**32,
        )
        with warnings.catch_warnings():
            # Said by ``converged``; k-means says the same of codes that coincide.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(points)
        return _read(model)


def _covariance(points: Float64[np.ndarray, "n latent"]) -> Float64[np.ndarray, "latent latent"]:
    """Return the covariance of all codes; zero for a single one."""
    if len(points) == 1:
        return np.zeros((points.shape[1], points.shape[1]))
    return np.atleast_2d(np.cov(points, rowvar=False))


def _read(model: BayesianGaussianMixture) -> FittedMixture:
    """Take over scikit-learn's fit."""
    covariances = model.covariances_
    if model.covariance_type == "diag":
        covariances = covariances[:, :, None] * np.eye(covariances.shape[1])
    return FittedMixture(
        weights=model.weights_,
        means=model.means_,
        covariances=covariances,
        offsets=_expected_log_weights(*model.weight_concentration_) + _expected_log_slack(model),
        converged=bool(model.converged_),
        bound=float(model.lower_bound_),
    )


def _expected_log_weights(
    first: Float64[np.ndarray, " k"], second: Float64[np.ndarray, " k"]
) -> Float64[np.ndarray, " k"]:
    """Return E[log pi] of stick-breaking weights whose sticks are Beta(first, second)."""
    total = digamma(first + second)
    remainders = np.cumsum(digamma(second) - total)
    expected: np.ndarray = digamma(first) - total + np.concatenate([[0.0], remainders[:-1]])
    return expected


def _expected_log_slack(model: BayesianGaussianMixture) -> Float64[np.ndarray, " k"]:
    """Return the expected log-density under the Normal-Wishart posterior less the plug-in log-density, (k,)."""
    latent = model.means_.shape[1]
    degrees = model.degrees_of_freedom_
    halves = 0.5 * (degrees[:, None] - np.arange(latent))
    log_scale = digamma(halves).sum(axis=1) + latent * np.log(2.0 / degrees)
    slack: np.ndarray = 0.5 * (log_scale - latent / model.mean_precision_)
    return slack


def _log_density(
    points: Float64[np.ndarray, "n latent"],
    mean: Float64[np.ndarray, " latent"],
    covariance: Float64[np.ndarray, "latent latent"],
) -> Float64[np.ndarray, " n"]:
    """Return the Gaussian log-density of each point, up to the constant that all Gaussians of a space share."""
    root = np.linalg.cholesky(covariance)
    whitened = solve_triangular(root, (points - mean).T, lower=True)
    density: np.ndarray = -0.5 * np.square(whitened).sum(axis=0) - np.log(np.diagonal(root)).sum()
    return density
