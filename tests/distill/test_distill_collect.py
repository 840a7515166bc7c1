"""Ranking a pool, where codes, answers and judges are known."""

import numpy as np
import pytest
from distill_toys import LATENT, THRESHOLD, toys
from natural_makers import images, region
from scipy.stats import chi2

from defuse.distill import collect
from defuse.records import Regions

NEAR, FAR = [2 * THRESHOLD, 2 * THRESHOLD, 0.0], [2 * THRESHOLD, 2 * THRESHOLD, 3.0]


def ranked(codes, labels, *reported):
    kit = toys()
    pool = images(np.array(codes, dtype=float), np.array(labels)).images
    return collect(Regions(reported, {}, 1), pool, kit.generator, kit.classifier, kit.screen.judge)


def test_the_nearest_of_the_label_comes_first():
    first, second, third = ranked([FAR, NEAR, NEAR], [0, 0, 1], region("r001", 0, NEAR, np.eye(LATENT)))
    assert [first.row, second.row, third.row] == [1, 0, 2]
    assert first.score == pytest.approx(1, abs=0.01)
    assert second.score == pytest.approx(chi2.sf(9, LATENT), abs=0.01)
    assert third.score == 0  # the judge is sure that it shows another class


def test_each_image_goes_to_its_own_region_and_says_whether_it_is_misread():
    regions = region("r001", 0, NEAR, np.eye(LATENT)), region("r002", 1, FAR, np.eye(LATENT))
    found = {one.row: one for one in ranked([NEAR, FAR, [-1.0, 1.0, 0.0]], [0, 1, 0], *regions)}
    assert [found[row].region for row in range(3)] == ["r001", "r002", "r001"]
    assert [found[row].answer for row in range(3)] == [1, 2, 0]
    assert [found[row].suspect for row in range(3)] == [True, True, False]


def test_an_image_that_shows_another_class_and_is_read_so_is_not_misread():
    (found,) = ranked([[-1.0, 1.0, 0.0]], [1], region("r001", 0, NEAR, np.eye(LATENT)))
    assert (found.answer == 1, found.score, found.suspect) == (True, 0, False)


def test_without_regions_there_is_nothing_to_collect():
    assert ranked([NEAR], [0]) == ()
