from dataclasses import replace

import numpy as np
import pytest
import torch
from distill_toys import CLASSES, THRESHOLD, ToyClassifier, ToyJudge, sampler_of, screen_of, shown_class, toys

from defuse.distill.candidates import Candidate
from defuse.distill.deepen import Deepening

DEEPENING = Deepening(support=20, rounds=5, draws=2_000, failing=500, enough=0.9)
SPREAD = 0.3


class Graded(ToyClassifier):
    """Misreads an image whose first pixel is bright, the more surely the brighter it is."""

    def _forward(self, pixels):
        bright = super()._forward(pixels).argmax(dim=1) != shown_class(pixels)
        sure = 1 + pixels[:, 0, 0, 0]
        answer = (shown_class(pixels) + bright) % CLASSES
        return torch.nn.functional.one_hot(answer, CLASSES) * (2 + sure[:, None])


def candidate(centre, spread=SPREAD):
    return Candidate(("toy", 0), 0, 1, np.array(centre), spread**2 * np.eye(3), 1.0, 50)


def sampler(classifier):
    return sampler_of(replace(toys(), classifier=classifier))


def test_two_fronts_pooled_by_closed_form():
    """The mean of the upper half of a normal is up by s sqrt(2 / pi); two equal normals that far apart are pooled."""
    given = candidate((2.5, 3.0, 0.0))
    grown = Deepening(20, rounds=2, draws=100_000, failing=100_000, enough=0.9).run(given, sampler(Graded()), seed=0)
    assert grown.mean[0] == pytest.approx(2.5 + SPREAD * np.sqrt(2 / np.pi) / 2, abs=0.01)
    assert grown.covariance[0, 0] == pytest.approx(SPREAD**2 * (1 + 0.5 / np.pi), rel=0.02)
    assert grown.mean[1:] == pytest.approx([3.0, 0.0], abs=0.01)
    assert np.diag(grown.covariance)[1:] == pytest.approx([SPREAD**2] * 2, rel=0.02)
    assert (grown.label, grown.predicted, grown.support, grown.key) == (0, 1, 50, given.key)


def test_it_grows_towards_sure_errors_and_keeps_its_edge():
    given = candidate((THRESHOLD + 0.9, 3.0, 0.0))
    grown = DEEPENING.run(given, sampler(Graded()), seed=0)
    assert grown.mean[0] > given.mean[0] + SPREAD
    assert grown.covariance[0, 0] > 1.5 * given.covariance[0, 0]
    assert grown.mean[0] - 2 * np.sqrt(grown.covariance[0, 0]) < given.mean[0]
    np.linalg.cholesky(grown.covariance)


class Band(ToyJudge):
    """Sure where the first pixel is dark enough, else of nothing."""

    def _probabilities(self, pixels):
        sure = torch.nn.functional.one_hot(shown_class(pixels), CLASSES).float()
        seen = pixels[:, 0, 0, 0] < 0.5 + 0.1 * 3.0
        return torch.where(seen[:, None], sure, torch.full_like(sure, 1 / CLASSES))


def test_it_ends_where_judges_no_longer_see_the_label():
    """Judges see nothing from 3 on; of a front no farther than 0.84 spreads from there they keep 80 %."""
    there = sampler_of(replace(toys(), classifier=Graded(), screen=screen_of(Band())))
    given = candidate((2.0, 3.0, 0.0))
    few, more, many = (replace(DEEPENING, rounds=rounds).run(given, there, seed=0) for rounds in (3, 10, 20))
    assert given.mean[0] < few.mean[0] < more.mean[0] < 3.0 - 0.84 * SPREAD
    assert many.mean == pytest.approx(more.mean), "the way had ended"


def test_what_is_grown_stays_with_its_confusion():
    """Samples that are read as another class than the candidate's do not count: here all of them."""
    given = replace(candidate((2.5, 3.0, 0.0)), predicted=2)
    assert DEEPENING.run(given, sampler(Graded()), seed=0) is given


@pytest.mark.parametrize(
    ("given", "rounds", "why"),
    [
        (candidate((2.5, 3.0, 0.0)), 0, "switched off"),
        (candidate((2.5, 3.0, 0.0)), 1, "a sole front is the candidate's own"),
        (candidate((THRESHOLD, 3.0, 0.0)), 5, "half of it is read rightly"),
        (candidate((-2.0, 3.0, 0.0)), 5, "nothing fails"),
        (replace(candidate((2.5, 3.0, 0.0)), support=19), 5, "the search met it too rarely"),
    ],
)
def test_a_candidate_is_left_alone(given, rounds, why):
    deepening = Deepening(20, rounds, DEEPENING.draws, DEEPENING.failing, DEEPENING.enough)
    assert deepening.run(given, sampler(Graded()), seed=0) is given, why


def test_the_seed_decides():
    given = candidate((2.5, 3.0, 0.0))
    first, second, other = (DEEPENING.run(given, sampler(Graded()), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.covariance, second.covariance)
    assert not np.array_equal(first.mean, other.mean)
