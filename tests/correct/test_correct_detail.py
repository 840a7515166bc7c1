"""A generator that draws two flat halves; real images have a pattern on them that it loses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from correct_makers import make_region, make_samples

from defuse.classifiers.base import Classifier
from defuse.correct.detail import SIMILAR, STRONGEST, WEAKEST, with_detail
from defuse.generators import Generator, Posterior
from defuse.judges import Judge, KeepsLabel, Plausible, Screen
from defuse.pixels import to_bytes, to_pixels
from defuse.records import LabelledImages, Purpose, RegionLabel, Regions

CHECKS = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
STRIPES = torch.tensor([[1.0, -1.0], [1.0, -1.0]]).repeat(2, 2)


class Halves(Generator):
    """Left half 0.2; right half brighter than that by 0.6 times the one latent number."""

    latent, conditional, image_shape = 1, True, (4, 4, 1)

    def encode(self, pixels, labels):
        del labels
        mean = (pixels[:, :, :, 2:].mean((2, 3)) - 0.2) / 0.6
        return Posterior(mean, torch.ones_like(mean))

    def decode(self, z, labels, seed=None):
        del labels, seed
        right = torch.tensor([0.0, 0.0, 1.0, 1.0])
        return (0.2 + 0.6 * z[:, :, None, None] * right).expand(-1, 1, 4, 4)


class Even(Classifier):
    """Reads a flat image as class 0 and one with a pattern as class 1."""

    finetunable = False

    def __init__(self):
        super().__init__(("flat", "fine"))

    def _forward(self, pixels):
        pattern = (pixels - pixels.flip(2)).abs().amax((1, 2, 3)) > 0.005
        return torch.nn.functional.one_hot(pattern.long(), 2).float()


class Dark(Judge):
    """Sure of class 0 where no pixel is brighter than a limit; nothing is ever plausible."""

    def __init__(self, limit=1.0):
        self.limit = limit

    def _probabilities(self, pixels):
        sure = (pixels.amax((1, 2, 3)) <= self.limit).float()
        return torch.stack([sure, 1 - sure], dim=1)

    def plausibility(self, pixels, labels):
        del pixels
        return torch.zeros(len(labels))


def drawn(z, pattern=None):
    codes = torch.tensor(z, dtype=torch.float32)[:, None]
    return Halves().decode(codes, None) + (0 if pattern is None else pattern)


def real(z, pattern, label=0):
    images = to_bytes(drawn(z, pattern))
    return LabelledImages(images, np.full(len(images), label), ("flat", "fine"), np.arange(len(images)))


def regions_of(z, kept=None):
    images = to_bytes(drawn(z))
    codes = np.array(z, np.float32)[:, None]
    samples = {
        ("r001", purpose): replace(make_samples("r001", purpose, images, np.zeros(len(z), int), kept), z=codes)
        for purpose in (Purpose.REPAIR, Purpose.SELECT, Purpose.FINAL)
    }
    return Regions((make_region("r001", label=0, predicted=1),), samples, fitted=1)


def detailed(regions, reference, judge=None, label=0):
    screen = Screen((KeepsLabel(threshold=0.5), Plausible()), judge or Dark())
    labels = (RegionLabel("r001", label, "majority", (), machine=True),)
    return with_detail(regions, labels, reference, Halves(), Even(), screen, seed=0)


@pytest.mark.parametrize(("z", "gain"), [(0.5, 1.0), (0.25, 0.5), (0.01, WEAKEST), (1.0, STRONGEST)])
def test_a_sample_gets_the_detail_that_its_contrast_asks_for(z, gain):
    found = detailed(regions_of([z]), real([0.5] * 3, 0.1 * CHECKS)).samples["r001", Purpose.REPAIR]
    expected = drawn([z], gain * 0.1 * CHECKS)
    assert len(found) == 2
    assert np.array_equal(found.images[:1], to_bytes(drawn([z])))
    assert torch.allclose(to_pixels(found.images[1:]), expected, atol=1.6 / 255)
    assert np.array_equal(found.z, np.full((2, 1), z, np.float32))
    assert found.predicted.tolist() == [0, 1], "the classifier was not asked again"
    assert found.kept.all(), "Plausible was asked"


def test_similar_images_of_the_same_class_lend():
    dull = real(np.linspace(0.2, 0.4, 2 * SIMILAR), 0.1 * CHECKS)
    bright = real(np.linspace(0.6, 0.8, 2 * SIMILAR), 0.1 * STRIPES)
    other = real(np.linspace(0.2, 0.8, 2 * SIMILAR), 0.1, label=1)
    found = detailed(regions_of([0.3] * 40 + [0.7] * 40), LabelledImages.concatenate([dull, bright, other]))
    fine = to_pixels(found.samples["r001", Purpose.REPAIR].images[80:])
    columns = (fine - fine.mean(2, keepdim=True)).abs().amax((1, 2, 3))
    assert (columns[:40] > 0.05).all(), "no checks"
    assert (columns[40:] < 0.01).all(), "no stripes"


def test_what_no_longer_shows_its_label_is_not_kept():
    reference = real([0.5] * 3, 0.1 * CHECKS)
    found = detailed(regions_of([0.5, 0.25], np.array([True, False])), reference, Dark(0.55))
    assert found.samples["r001", Purpose.REPAIR].kept.tolist() == [True, False, False, False]
    found = detailed(regions_of([0.5, 0.25], np.array([True, False])), reference, Dark(0.65))
    assert found.samples["r001", Purpose.REPAIR].kept.tolist() == [True, False, True, False]


def test_other_samples_and_the_given_regions_stay_as_they_are():
    given = regions_of([0.5])
    found = detailed(given, real([0.5] * 3, 0.1 * CHECKS))
    assert len(given.samples["r001", Purpose.REPAIR]) == 1
    for purpose in (Purpose.SELECT, Purpose.FINAL):
        assert found.samples["r001", purpose] is given.samples["r001", purpose]


def test_where_no_image_can_lend_or_none_is_needed_nothing_changes():
    given = regions_of([0.5])
    assert len(detailed(given, real([0.5], 0, label=1)).samples["r001", Purpose.REPAIR]) == 1
    empty = regions_of([])
    assert len(detailed(empty, real([0.5], 0)).samples["r001", Purpose.REPAIR]) == 0


def test_a_region_that_was_thrown_out_needs_no_detail():
    given = regions_of([0.5])
    assert detailed(given, real([0.5] * 3, 0.1 * CHECKS), label=None).samples == given.samples


def test_images_of_the_class_that_people_gave_it_lend():
    other = real([0.5] * 3, 0.1 * CHECKS, label=1)
    assert len(detailed(regions_of([0.5]), other).samples["r001", Purpose.REPAIR]) == 1
    assert len(detailed(regions_of([0.5]), other, label=1).samples["r001", Purpose.REPAIR]) == 2


def test_the_same_seed_lends_the_same():
    reference = real(np.linspace(0.4, 0.6, 50), torch.linspace(0, 0.1, 50)[:, None, None, None] * CHECKS)
    first, again = (detailed(regions_of([0.5] * 20), reference).samples["r001", Purpose.REPAIR] for _ in range(2))
    assert np.array_equal(first.images, again.images)
    assert len(np.unique(first.images[20:], axis=0)) > 5
