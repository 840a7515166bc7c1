import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from defuse.classifiers import CallableClassifier
from defuse.judges import NetworkJudge, fit_temperature
from defuse.pixels import to_pixels
from defuse.records import LabelledImages

CLASSES = 5
N = 4_000


def logits_of(images):
    """Read true logits off the pixels: their values stand in the image."""
    return (images[:, 0, :, 0].astype(np.float32) - 128) / 32


def classifier(factor):
    return CallableClassifier(lambda images: factor * logits_of(images), tuple("abcde"))


@pytest.fixture(scope="module")
def calibrated():
    """Images whose labels were drawn from the softmax of their logits, so that the true temperature is 1."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (N, 1, CLASSES, 1)).astype(np.uint8)
    chosen = (softmax(logits_of(images), axis=1).cumsum(1) < rng.random((N, 1))).sum(1).clip(max=CLASSES - 1)
    return LabelledImages(images, chosen.astype(np.int64), tuple("abcde"), np.arange(N))


def likelihood(temperature, factor, data):
    logits = factor * logits_of(data.images).astype(float)
    return log_softmax(logits / temperature, axis=1)[np.arange(N), data.labels].mean()


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_a_planted_temperature_is_found(calibrated, factor):
    """Logits multiplied by a factor need that temperature; its standard error here is below 2 %."""
    assert fit_temperature(classifier(factor), calibrated) == pytest.approx(factor, rel=0.06)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5])
def test_no_temperature_of_a_grid_is_likelier(calibrated, factor):
    found = fit_temperature(classifier(factor), calibrated)
    grid = np.linspace(0.2, 5, 481)
    values = [likelihood(temperature, factor, calibrated) for temperature in grid]
    assert abs(found - grid[np.argmax(values)]) <= 0.01
    assert likelihood(found, factor, calibrated) >= max(values) - 1e-9


def test_the_temperature_scales_with_the_logits(calibrated):
    one, three = (fit_temperature(classifier(factor), calibrated) for factor in (1.0, 3.0))
    assert three == pytest.approx(3 * one, rel=1e-4)


@pytest.mark.parametrize(("factor", "bound"), [(100.0, 5.0), (0.001, 0.2)])
def test_the_temperature_stays_within_its_bounds(calibrated, factor, bound):
    assert fit_temperature(classifier(factor), calibrated) == pytest.approx(bound, rel=1e-3)


def test_a_judge_is_the_softmax_at_its_temperature(calibrated):
    pixels = to_pixels(calibrated.images[:50])
    found = NetworkJudge(classifier(2.0), temperature=4.0).probabilities(pixels)
    np.testing.assert_allclose(found.numpy(), softmax(logits_of(calibrated.images[:50]) / 2, axis=1), rtol=1e-5)
    assert torch.allclose(found.sum(1), torch.ones(50))
