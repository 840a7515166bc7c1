"""Variational inference for a truncated Dirichlet-process mixture of Gaussians: its updates in closed form.

Model: sticks v_k ~ Beta(1, alpha), weights pi_k = v_k prod_{j<k} (1 - v_j); precision L_k ~ Wishart(W0, nu0), mean
mu_k ~ N(m0, (beta0 L_k)^-1), code x_n ~ N(mu_k, L_k^-1) for its component k. Posterior: the same families, with

    N_k = sum_n r_nk,  beta_k = beta0 + N_k,  nu_k = nu0 + N_k,  m_k = (beta0 m0 + sum_n r_nk x_n) / beta_k
    W_k^-1 = W0^-1 + beta0 m0 m0' + sum_n r_nk x_n x_n' - beta_k m_k m_k'           (Bishop 2006, 10.58 to 10.63)
    v_k ~ Beta(1 + N_k, alpha + sum_{j>k} N_j)                                      (Blei and Jordan 2006, section 3)
    ln r_nk = E[ln pi_k] + E[ln |L_k|] / 2 - d ln(2 pi) / 2
              - (d / beta_k + nu_k (x_n - m_k)' W_k (x_n - m_k)) / 2 + const        (Bishop 2006, 10.46, 10.64, 10.65)

m0 is the mean of the codes, which are centred, hence 0. Codes enter the updates through the sums N_k, sum r x and
sum r xx' alone, and ln r is a quadratic function of a code: both are matrix products with the same features.

Sources: Blei and Jordan, "Variational inference for Dirichlet process mixtures", 2006; Bishop, "Pattern Recognition and
Machine Learning", 2006, section 10.2. Where scikit-learn's ``BayesianGaussianMixture`` deviates, so do these: the bound
lacks terms that do not change; a regularisation is added to the diagonal of every component's scatter, N_k times, of
which the responsibilities know nothing, so that with one the bound may fall a little; and a diagonal precision keeps
the Wishart's d-dimensional gamma function, not a product of d gammas.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from defuse.distill.packing import Packing

NOWHERE = -1e30
"""Log-responsibility of a component that takes no code; finite, so that its product with next to nothing is nothing."""

_SOME = 10 * torch.finfo(torch.float64).eps
"""What scikit-learn adds to every N_k."""


@dataclass(frozen=True)
class Prior:
    """What is believed of each group's components before any code is seen; nu0 = d.

    Attributes:
        scatter: W0^-1, its diagonal alone for diagonal covariances.
        concentration: alpha.
        regularisation: added to the diagonal of a component's covariance.
        mean_precision: beta0.
    """

    scatter: Float64[Tensor, "b *p"]
    concentration: float
    regularisation: float
    mean_precision: float = 1.0

    def take(self, rows: Tensor) -> "Prior":
        """Return the prior of some of the groups."""
        return Prior(self.scatter[rows], self.concentration, self.regularisation, self.mean_precision)


@dataclass(frozen=True)
class Posterior:
    """The variational posterior of a batch of groups.

    Attributes:
        packing: of the quadratic functions.
        exists: whether a group has this component; those it has come first.
        count: N_k.
        first: first parameter of the sticks.
        second: second parameter of the sticks.
        mean_precision: beta_k.
        means: m_k, from the centre of the group.
        covariances: (nu_k W_k)^-1, the diagonal alone for diagonal ones.
    """

    packing: Packing
    exists: Bool[Tensor, "b k"]
    count: Float64[Tensor, "b k"]
    first: Float64[Tensor, "b k"]
    second: Float64[Tensor, "b k"]
    mean_precision: Float64[Tensor, "b k"]
    means: Float64[Tensor, "b k d"]
    covariances: Float64[Tensor, "b k *p"]

    @classmethod
    def update(
        cls, packing: Packing, statistics: Float64[Tensor, "b k f"], exists: Bool[Tensor, "b k"], prior: Prior
    ) -> "Posterior":
        """Return the posterior given sums of features weighted by responsibilities."""
        count, sums, second = packing.moments(statistics)
        count = (count + _SOME) * exists
        later = count.flip(1).cumsum(1).flip(1) - count
        beta = prior.mean_precision + count
        means = sums / beta[..., None]
        if packing.full:
            eye = torch.eye(packing.latent, dtype=count.dtype, device=count.device)
            outer = means[..., :, None] * means[..., None, :]
        else:
            eye = torch.ones(packing.latent, dtype=count.dtype, device=count.device)
            outer = means.square()
        wide = (..., *[None] * (eye.ndim))
        scatter = prior.scatter[:, None] + second + (prior.regularisation * count)[wide] * eye - beta[wide] * outer
        return cls(
            packing=packing,
            exists=exists,
            count=count,
            first=1 + count,
            second=prior.concentration + later,
            mean_precision=beta,
            means=means,
            covariances=scatter / (packing.latent + count)[wide],
        )

    def take(self, rows: Tensor) -> "Posterior":
        """Return the posterior of some of the groups."""
        parts = (self.exists, self.count, self.first, self.second, self.mean_precision, self.means, self.covariances)
        return Posterior(self.packing, *(part[rows] for part in parts))

    @property
    def degrees(self) -> Float64[Tensor, "b k"]:
        """nu_k."""
        return self.packing.latent + self.count

    @cached_property
    def _root(self) -> Float64[Tensor, "b k *p"]:
        """Cholesky factor of each covariance, or standard deviations."""
        return torch.linalg.cholesky(self.covariances) if self.packing.full else self.covariances.sqrt()

    @property
    def _whitening(self) -> Float64[Tensor, "b k d d"]:
        """Inverse of each Cholesky factor; with it many small precisions come faster than by ``cholesky_inverse``."""
        unit = torch.eye(self.packing.latent, dtype=self.count.dtype, device=self.count.device)
        return torch.linalg.solve_triangular(self._root, unit.expand_as(self._root), upper=False)

    @cached_property
    def _log_determinant(self) -> Float64[Tensor, "b k"]:
        """Half the log-determinant of each precision."""
        diagonal = self._root.diagonal(dim1=-2, dim2=-1) if self.packing.full else self._root
        return -diagonal.log().sum(dim=-1)

    @cached_property
    def _halves(self) -> Float64[Tensor, "b k d"]:
        return 0.5 * (self.degrees[..., None] - torch.arange(self.packing.latent, device=self.count.device))

    def offsets(self) -> Float64[Tensor, "b k"]:
        """Return what a log-responsibility has beyond the Gaussian log-density at the plug-in mean and covariance."""
        total = torch.digamma(self.first + self.second)
        remainders = (torch.digamma(self.second) - total).cumsum(1)
        weights = torch.digamma(self.first) - total + torch.nn.functional.pad(remainders[:, :-1], (1, 0))
        latent = self.packing.latent
        slack = (
            torch.digamma(self._halves).sum(dim=-1) + latent * (2 / self.degrees).log() - latent / self.mean_precision
        )
        return weights + 0.5 * slack

    def coefficients(self, alive: Bool[Tensor, "b k"]) -> Float64[Tensor, "b k f"]:
        """Return ln r_nk, up to the constant of a code, as a quadratic function; dead components take nothing."""
        latent = self.packing.latent
        if self.packing.full:
            whitening = self._whitening
            precision = whitening.mT @ whitening
            linear = (precision @ self.means[..., None])[..., 0]
        else:
            precision = 1 / self.covariances
            linear = precision * self.means
        distance = (linear * self.means).sum(dim=-1)
        constant = self.offsets() + self._log_determinant - 0.5 * (latent * math.log(2 * math.pi) + distance)
        return self.packing.coefficients(torch.where(alive, constant, NOWHERE), linear, precision)

    def bound(self, entropy: Float64[Tensor, " b"]) -> Float64[Tensor, " b"]:
        """Return scikit-learn's lower bound, given the entropy of the responsibilities that led here."""
        latent, degrees = self.packing.latent, self.degrees
        log_determinant = self._log_determinant - 0.5 * latent * degrees.log()
        wishart = degrees * (log_determinant + 0.5 * latent * math.log(2)) + torch.lgamma(self._halves).sum(dim=-1)
        sticks = torch.lgamma(self.first) + torch.lgamma(self.second) - torch.lgamma(self.first + self.second)
        each = wishart + sticks - 0.5 * latent * self.mean_precision.log()
        return entropy + (each * self.exists).sum(dim=-1)

    def weights(self) -> Float64[Tensor, "b k"]:
        """Return the expected weights, normalised over the components that there are."""
        total = self.first + self.second
        left = torch.nn.functional.pad((self.second / total).cumprod(1)[:, :-1], (1, 0), value=1.0)
        weights = self.first / total * left * self.exists
        return weights / weights.sum(dim=1, keepdim=True)
