"""Real images inside regions, counted where every share has a closed form."""

import numpy as np
import pytest
from distill_toys import LATENT, THRESHOLD, toys
from natural_makers import images, region
from scipy.stats import chi2, ncx2

from defuse.distill import natural_images
from defuse.distill.natural import WITHIN, distances, inside
from defuse.generators import Renderer
from defuse.records import Regions

SPREAD, CENTRE = 0.5, 1.0
SIZE = 4_000
UNSEEN = np.arange(SIZE) % 4 > 0


@pytest.fixture(scope="module")
def found():
    codes = np.random.default_rng(0).normal(size=(SIZE, LATENT))
    labels = np.repeat(np.array([0, 1]), SIZE // 2)
    reported = (
        region("r001", 0, [CENTRE, 0, 0], SPREAD**2 * np.eye(LATENT)),
        region("r002", 1, [50.0, 0, 0], np.eye(LATENT)),
        region("r003", 3, [0.0, 0, 0], np.eye(LATENT)),
    )
    kit = toys()
    regions = Regions(reported, {}, 3)
    what = (regions, images(codes, labels), Renderer(kit.generator), kit.classifier)
    return codes, natural_images(*what, unseen=UNSEEN, seed=0)


def test_the_share_inside_is_that_of_the_ellipsoid(found):
    _, (first, *_) = found
    share = ncx2.cdf(chi2.ppf(WITHIN, LATENT) * SPREAD**2, LATENT, CENTRE**2)
    assert first.of_label == SIZE // 2
    deviation = np.sqrt(share * (1 - share) / first.of_label)
    assert first.misread.trials / first.of_label == pytest.approx(share, abs=4 * deviation)


def test_misread_are_those_that_the_classifier_gets_wrong(found):
    codes, (first, *_) = found
    assert (first.inside < SIZE // 2).all()
    assert first.misread.successes == int((codes[first.inside, 0] > THRESHOLD).sum())


def test_mass_counts_draws_over_all_images_that_no_search_started_from(found):
    codes, (first, *_) = found
    assert first.mass.trials == UNSEEN.sum()
    misread = first.inside[codes[first.inside, 0] > THRESHOLD]
    assert first.mass.successes == pytest.approx(UNSEEN[misread].sum(), abs=10)  # posteriors are narrow


def test_where_no_image_lies_nothing_is_counted(found):
    _, (_, far, empty) = found
    assert (far.misread.trials, far.mass.successes, far.of_label) == (0, 0, SIZE // 2)
    assert (empty.misread.trials, empty.mass.successes, empty.of_label) == (0, 0, 0)


def test_distances_are_mahalanobis():
    root = np.array([[1.0, 0, 0], [0.3, 0.5, 0], [-0.2, 0.1, 2.0]])
    one = region("r", 0, [1.0, 2.0, 3.0], root @ root.T)
    whitened = np.random.default_rng(1).normal(size=(50, LATENT))
    codes = one.mean + whitened @ root.T
    np.testing.assert_allclose(distances(one, codes), np.square(whitened).sum(axis=1))
    np.testing.assert_array_equal(inside(one, codes), np.square(whitened).sum(axis=1) <= chi2.ppf(WITHIN, LATENT))
