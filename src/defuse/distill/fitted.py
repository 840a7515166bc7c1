"""A fitted mixture: its Gaussians, how the fit went, and what it says of codes."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from defuse.types import Labels

CHUNK = 8192
"""Codes that are scored at once."""


@dataclass(frozen=True)
class MixtureSample:
    """Codes drawn from a mixture, and the component that each is from."""

    codes: Float64[np.ndarray, "n latent"]
    components: Labels


@dataclass(frozen=True)
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
        bounds: the evidence lower bound after each iteration, up to a constant of the data (scikit-learn's).
        stability: mean adjusted Rand index between this fit's grouping of the codes and each other restart's, at most
            1; None without restarts.
    """

    weights: Float64[np.ndarray, " k"]
    means: Float64[np.ndarray, "k latent"]
    covariances: Float64[np.ndarray, "k latent latent"]
    offsets: Float64[np.ndarray, " k"]
    converged: bool
    bounds: Float64[np.ndarray, " iterations"]
    stability: float | None = None

    @property
    def bound(self) -> float:
        """The evidence lower bound at the end."""
        return float(self.bounds[-1])

    def assign(self, codes: np.ndarray) -> Labels:
        """Return the component with the greatest responsibility for each code (n, latent), (n,).

        Raises:
            ValueError: the codes are not finite, or not of this latent space.
        """
        parts = [scores.argmax(axis=1).astype(np.int64) for scores in self._scores(codes)]
        return np.concatenate([np.zeros(0, dtype=np.int64), *parts])

    def predict_proba(self, codes: np.ndarray) -> Float64[np.ndarray, "n k"]:
        """Return the responsibilities of the components for each code (n, latent); rows sum to 1.

        Raises:
            ValueError: as ``assign``.
        """
        parts = [np.exp(scores - logsumexp(scores, axis=1, keepdims=True)) for scores in self._scores(codes)]
        return np.concatenate([np.zeros((0, len(self.weights))), *parts])

    def score_samples(self, codes: np.ndarray) -> Float64[np.ndarray, " n"]:
        """Return the expected log-density of each code (n, latent) under the posterior, in nats, as scikit-learn's.

        Raises:
            ValueError: as ``assign``.
        """
        parts = [logsumexp(scores, axis=1) for scores in self._scores(codes)]
        return np.concatenate([np.zeros(0), *parts])

    def sample(self, count: int, *, rng: np.random.Generator) -> MixtureSample:
        """Draw codes from the mixture of the Gaussians at their expected weights.

        Raises:
            ValueError: ``count`` is negative.
        """
        if count < 0:
            raise ValueError(f"count: expected 0 or more, got {count}")
        components = rng.choice(len(self.weights), size=count, p=self.weights).astype(np.int64)
        noise = rng.standard_normal((count, self.means.shape[1]))
        codes = self.means[components]
        for number, root in enumerate(np.linalg.cholesky(self.covariances)):
            members = components == number
            codes[members] += noise[members] @ root.T
        return MixtureSample(codes, components)

    def _scores(self, codes: np.ndarray) -> Iterator[Float64[np.ndarray, "n k"]]:
        """Yield the log of weight times density, chunk by chunk."""
        points, latent = np.asarray(codes, dtype=np.float64), self.means.shape[1]
        if points.shape[1:] != (latent,) or not np.isfinite(points).all():
            raise ValueError(f"codes: expected a finite matrix with {latent} columns, got shape {points.shape}")
        roots = np.linalg.cholesky(self.covariances)
        for start in range(0, len(points), CHUNK):
            chunk = points[start : start + CHUNK]
            scores = [_log_density(chunk, mean, root) for mean, root in zip(self.means, roots, strict=True)]
            yield np.stack(scores, axis=1) + self.offsets


def _log_density(
    points: Float64[np.ndarray, "n latent"],
    mean: Float64[np.ndarray, " latent"],
    root: Float64[np.ndarray, "latent latent"],
) -> Float64[np.ndarray, " n"]:
    """Return the Gaussian log-density of each point, given the Cholesky factor of the covariance."""
    whitened = solve_triangular(root, (points - mean).T, lower=True)
    constant = 0.5 * len(mean) * np.log(2 * np.pi) + np.log(np.diagonal(root)).sum()
    density: np.ndarray = -0.5 * np.square(whitened).sum(axis=0) - constant
    return density
