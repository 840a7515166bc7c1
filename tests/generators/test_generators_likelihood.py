"""The two terms of the bound against torch.distributions, and the whole bound against a case solved on paper."""

import math

import pytest
import torch
from torch import distributions as dist

from defuse.generators.likelihood import (
    LOWEST_LOG_VARIANCE,
    bands,
    bernoulli,
    divergence,
    gaussian,
    log_variance,
    wavelets,
)
from defuse.generators.networks import Autoencoder


def draws(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergence_matches_torch_distributions():
    mean, spread = draws(7, 5), draws(7, 5, seed=1)
    expected = dist.kl_divergence(dist.Normal(mean, (0.5 * spread).exp()), dist.Normal(0.0, 1.0)).sum(1)
    torch.testing.assert_close(divergence(mean, spread), expected)


def test_divergence_is_zero_at_the_prior_alone():
    assert divergence(torch.zeros(1, 3), torch.zeros(1, 3)).item() == 0
    assert divergence(torch.full((1, 3), 0.1), torch.zeros(1, 3)).item() == pytest.approx(0.5 * 3 * 0.01)


def test_bernoulli_matches_torch_distributions_on_grey_values():
    logits, pixels = 3 * draws(4, 1, 6, 5), torch.sigmoid(draws(4, 1, 6, 5, seed=1))
    expected = dist.Bernoulli(logits=logits, validate_args=False).log_prob(pixels).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli(logits, pixels), expected)


def test_wavelets_of_an_image_solved_on_paper():
    """Luma is the sum of the colours over the root of 3; each 2 x 2 block gives half of its sum and differences."""
    image = torch.zeros(1, 3, 2, 2)
    image[0, :, 0] = torch.tensor([3.0, 1.0])  # grey, the upper row alone
    across, down, diagonal, mean = wavelets(image)
    for band, luma in ((across, 1), (down, 2), (diagonal, 1), (mean, 2)):
        torch.testing.assert_close(band.flatten(), torch.tensor([luma * math.sqrt(3), 0, 0]))
    red = wavelets(torch.tensor([6.0, 0, 0]).view(1, 3, 1, 1))[0].flatten()
    torch.testing.assert_close(red, torch.tensor([6 / math.sqrt(3), 6 / math.sqrt(2), 6 / math.sqrt(6)]))


@pytest.mark.parametrize(("height", "width", "count"), [(8, 8, 10), (8, 4, 7), (6, 10, 4), (5, 8, 1), (16, 16, 10)])
def test_wavelets_are_an_orthonormal_basis(height, width, count):
    units = torch.eye(3 * height * width, dtype=torch.float64).view(-1, 3, height, width)
    parts = wavelets(units)
    assert len(parts) == bands(height, width) == count
    basis = torch.cat([part.flatten(1) for part in parts], dim=1)
    torch.testing.assert_close(basis @ basis.T, torch.eye(len(units), dtype=torch.float64))


def test_gaussian_is_a_density_of_pixels():
    """Against the multivariate normal with the same covariance, written out in pixels."""
    spread = draws(bands(4, 4), 3)
    units = wavelets(torch.eye(48, dtype=torch.float64).view(48, 3, 4, 4))
    basis = torch.cat([part.flatten(1) for part in units], dim=1)
    shapes = zip(units, spread, strict=True)
    variances = torch.cat([one.exp().repeat_interleave(part[0, 0].numel()) for part, one in shapes])
    misfit = draws(5, 48, seed=1)
    expected = dist.MultivariateNormal(torch.zeros(48).double(), basis @ variances.diag() @ basis.T).log_prob(misfit)
    torch.testing.assert_close(gaussian(misfit.view(5, 3, 4, 4), spread), expected)


def test_gaussian_of_equal_variances_matches_torch_distributions():
    misfit, spread = draws(4, 3, 6, 5), torch.tensor(-1.3, dtype=torch.float64)
    expected = dist.Normal(0.0, (0.5 * spread).exp()).log_prob(misfit).sum((1, 2, 3))
    torch.testing.assert_close(gaussian(misfit, spread.expand(1, 3)), expected)


def test_the_best_variance_of_a_band_is_its_mean_square():
    misfit = draws(9, 3, 4, 4)
    best = torch.stack([part.square().mean((0, 2, 3)).log() for part in wavelets(misfit)]).requires_grad_()
    (slope,) = torch.autograd.grad(gaussian(misfit, best).sum(), best)
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-9, rtol=0)


def test_pixel_variance_cannot_collapse_and_is_free_above_the_bound():
    assert log_variance(torch.tensor(-1e6)).item() == LOWEST_LOG_VARIANCE
    assert log_variance(torch.tensor(0.5)).item() == pytest.approx(2.0, abs=1e-3)


class LinearAutoencoder(Autoencoder):
    """x = w z + b + noise: its posterior and its evidence are known exactly.

    The decoder returns logits, so the mean is passed through the inverse of the sigmoid.
    """

    def __init__(self, weights, offset, free):
        torch.nn.Module.__init__(self)  # none of the networks
        self.weights, self.offset = weights, offset
        self.pixel_noise = free.expand(1, 3)
        self.variance = log_variance(free).exp()

    def condition(self, labels):
        return labels

    def encoder(self, pixels, _condition):
        latent = self.weights.shape[1]
        precision = torch.eye(latent, dtype=torch.float64) + self.weights.T @ self.weights / self.variance
        covariance = torch.linalg.inv(precision)
        mean = (pixels.flatten(1) - self.offset) @ self.weights @ covariance / self.variance
        return mean, covariance.diagonal().log().expand_as(mean)

    def decoder(self, z, _condition):
        return torch.logit(z @ self.weights.T + self.offset).view(-1, 3, 1, 2)


def test_the_bound_is_the_evidence_where_the_posterior_is_exact():
    """With orthogonal weights the true posterior is a diagonal Gaussian, so the bound is tight: -log p(x)."""
    basis, _ = torch.linalg.qr(draws(6, 2))
    model = LinearAutoencoder(0.03 * basis, torch.full((6,), 0.5, dtype=torch.float64), torch.tensor(-0.3).double())
    pixels = (0.5 + 0.05 * draws(3, 6, seed=2)).view(3, 3, 1, 2)
    covariance = model.weights @ model.weights.T + model.variance * torch.eye(6, dtype=torch.float64)
    evidence = dist.MultivariateNormal(model.offset, covariance).log_prob(pixels.flatten(1))

    noise = draws(40_000, 2, seed=3)
    noise = torch.cat([noise, -noise])
    labels = torch.zeros(len(noise), dtype=torch.int64)
    for image, expected in zip(pixels, evidence, strict=True):
        result = model.bound(image.expand(len(noise), -1, -1, -1), labels, noise).total
        error = result.std().item() / math.sqrt(len(noise))
        assert result.mean().item() == pytest.approx(-expected.item(), abs=5 * error + 1e-6)
