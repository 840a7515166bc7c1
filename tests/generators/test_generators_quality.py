import numpy as np
import pytest
import torch
from generator_toys import NAMES, bars, direction

from defuse.errors import GeneratorError
from defuse.generators import Generator, Posterior, ReconstructionQuality, reconstruct, reconstruction_accuracy, require
from defuse.records import Rate


class Planted(Generator):
    """Codes are the pixels themselves; images of one class whose first pixel is odd come back transposed."""

    latent = 144
    conditional = True
    image_shape = (12, 12, 1)

    def __init__(self, spoilt):
        self.spoilt = spoilt

    def encode(self, pixels, labels):  # noqa: ARG002  # the interface
        return Posterior(pixels.flatten(1), torch.ones(len(pixels), self.latent))

    def decode(self, z, labels, seed=None):  # noqa: ARG002  # the interface
        pixels = z.view(-1, 1, 12, 12)
        odd = (pixels[:, 0, 0, 0] * 255).round().long() % 2 == 1
        spoil = odd & (labels == self.spoilt)
        return torch.where(spoil.view(-1, 1, 1, 1), pixels.transpose(2, 3), pixels)


def marked(count, odd):
    images = bars(count)
    images.images[:, 0, 0, 0] = 20
    images.images[odd, 0, 0, 0] = 21
    return images


def test_reconstruct_returns_stored_images_batch_by_batch():
    images = marked(11, [])
    np.testing.assert_array_equal(reconstruct(Planted(0), images, batch=4), images.images)
    assert reconstruct(Planted(0), images.take(np.zeros(11, dtype=bool))).shape == (0, 12, 12, 1)


def test_counts_planted_spoilt_reconstructions_per_class():
    """Of 20 images 10 stand; 3 of them come back lying. Odd images of the other class are left alone."""
    quality = reconstruction_accuracy(Planted(1), direction, marked(20, [0, 1, 2, 3, 5]))
    assert quality == ReconstructionQuality(Rate(17, 20), (Rate(10, 10), Rate(7, 10)))


def test_only_images_that_the_classifier_gets_right_count():
    images = marked(20, [1, 3, 5])
    wrong = images.images[[0, 1, 19]].copy()

    def predict(stored):
        known = (stored[:, None] == wrong[None]).all((2, 3, 4)).any(1)
        return np.where(known, 1 - direction(stored), direction(stored))

    seen = {label: int((images.labels[[0, 1, 19]] == label).sum()) for label in (0, 1)}
    quality = reconstruction_accuracy(Planted(1), predict, images)
    assert quality.per_class[0].trials == 10 - seen[0] - sum(_twins(images, wrong, 0))
    assert quality.per_class[1].trials == 10 - seen[1] - sum(_twins(images, wrong, 1))


def _twins(images, wrong, label):
    """Count bars of a class that equal a wrong one by chance, beyond the wrong ones themselves."""
    same = (images.images[:, None] == wrong[None]).all((2, 3, 4)).any(1) & (images.labels == label)
    same[[0, 1, 19]] = False
    return same


def test_a_class_without_right_images_has_an_empty_rate():
    quality = reconstruction_accuracy(Planted(1), lambda stored: np.zeros(len(stored), dtype=np.int64), marked(6, []))
    assert quality.per_class == (Rate(3, 3), Rate(0, 0))
    require(quality, 0.9, NAMES)


def test_require_lets_the_floor_itself_pass():
    require(ReconstructionQuality(Rate(9, 10), (Rate(9, 10), Rate(0, 0))), 0.9, NAMES)


def test_bad_input_poor_generator_is_refused_with_advice_and_the_worst_classes():
    rates = (Rate(10, 10), Rate(2, 10), Rate(0, 0), Rate(5, 10), Rate(8, 10), Rate(9, 10))
    quality = ReconstructionQuality(Rate(34, 50), rates)
    with pytest.raises(GeneratorError, match=r"only 68\.0 % .* at least 90\.0 %") as error:
        require(quality, 0.9, ("zero", "one", "two", "three", "four", "five"))
    message = str(error.value)
    assert "worst: one 20.0 %, three 50.0 %, four 80.0 %)" in message
    assert "generator.epochs" in message
    assert "\n" not in message


def test_bad_input_classifier_that_gets_nothing_right():
    quality = reconstruction_accuracy(Planted(0), lambda stored: 1 - direction(stored), marked(8, []))
    with pytest.raises(GeneratorError, match="got none of the images right"):
        require(quality, 0.9, NAMES)
