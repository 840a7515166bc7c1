from dataclasses import replace

import numpy as np
import pytest
import torch
from distill_toys import BRIGHT, LATENT, THRESHOLD, ToyJudge, lending_sampler, sampler_of, toys, true_rates
from scipy.stats import kstest

from defuse.distill import RegionSampler, gather_evidence
from defuse.distill.sampling import PROBE_BATCH, PROBED
from defuse.generators import Renderer
from defuse.judges import KeepsLabel, Plausible, Screen
from defuse.records import Purpose, RegionSamples

MEAN = np.array([0.9, 0.8, -0.3])
COVARIANCE = np.array([[0.5, 0.2, 0.1], [0.2, 0.4, 0.0], [0.1, 0.0, 0.3]])


def sampler(batch=1024):
    return sampler_of(toys(), batch=batch)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_codes_follow_the_gaussian():
    z = sampler().draw(MEAN, COVARIANCE, 1, 20_000, rng=rng()).z.astype(np.float64)
    np.testing.assert_allclose(z.mean(axis=0), MEAN, atol=4 * np.sqrt(0.5 / 20_000))
    np.testing.assert_allclose(np.cov(z.T), COVARIANCE, atol=0.02)
    whitened = np.linalg.solve(np.linalg.cholesky(COVARIANCE), (z - MEAN).T)
    for axis in whitened:
        assert kstest(axis, "norm").pvalue > 0.001


def test_answers_are_given_on_the_images_that_are_stored():
    draw = sampler().draw(MEAN, COVARIANCE, 2, 500, rng=rng())
    assert draw.images.shape == (500, 1, LATENT + 1, 1)
    assert draw.images.dtype == np.uint8
    np.testing.assert_array_equal(draw.predicted, np.where(draw.images[:, 0, 0, 0] > BRIGHT, 3, 2))
    np.testing.assert_array_equal(draw.kept, draw.images[:, 0, 1, 0] > BRIGHT)
    expected = np.rint(np.clip(0.5 + 0.1 * draw.z.astype(np.float64), 0, 1) * 255)
    assert np.abs(draw.images[:, 0, :LATENT, 0] - expected).max() <= 1
    np.testing.assert_array_equal(draw.kept, draw.z[:, 1] > THRESHOLD)


@pytest.mark.parametrize("rate", ["keep", "failure"])
def test_intervals_hold_the_closed_form_as_often_as_they_promise(rate):
    truth = dict(zip(["keep", "failure"], true_rates(MEAN, COVARIANCE), strict=True))[rate]
    inside = 0
    for seed in range(200):
        draw = sampler().draw(MEAN, COVARIANCE, 1, 150, rng=rng(seed))
        samples = RegionSamples("r001", Purpose.EVIDENCE, draw.images, draw.z, draw.predicted, draw.kept)
        low, high = getattr(gather_evidence(samples, 1, 0.5), rate).interval
        inside += low <= truth <= high
    # 95 % of 200 is 190; 180 is more than three standard deviations below.
    assert 180 <= inside < 200


def test_batches_do_not_change_the_samples():
    whole, parts = (sampler(batch).draw(MEAN, COVARIANCE, 1, 100, rng=rng()) for batch in (1024, 7))
    for name in ("images", "z", "predicted", "kept"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))


def test_nothing_wanted_gives_empty_arrays_of_the_right_shapes():
    draw = sampler().draw(MEAN, COVARIANCE, 1, 0, rng=rng())
    assert draw.images.shape == (0, 1, LATENT + 1, 1)
    assert draw.z.shape == (0, LATENT)
    assert len(draw.predicted) == len(draw.kept) == 0


def test_kept_samples_are_the_first_kept_ones_of_the_stream():
    # A keep rate of about 13 % takes several rounds.
    mean = MEAN - np.array([0, 1.0, 0])
    kept = sampler().draw_kept(mean, COVARIANCE, 1, 80, limit=5000, rng=rng())
    stream = sampler().draw(mean, COVARIANCE, 1, 5000, rng=rng())
    assert len(kept) == 80
    assert kept.kept.all()
    np.testing.assert_allclose(kept.z, stream.z[stream.kept][:80], rtol=1e-6)


def test_draws_are_bounded():
    asked = []

    class Counting(RegionSampler):
        def draw(self, mean, covariance, label, count, *, rng):
            asked.append(count)
            return super().draw(mean, covariance, label, count, rng=rng)

    world = toys()
    counting = Counting(Renderer(world.generator), world.classifier, world.screen)
    never = counting.draw_kept(MEAN - np.array([0, 50.0, 0]), COVARIANCE, 1, 10, limit=100, rng=rng())
    assert len(never) == 0
    assert sum(asked) == 100
    asked.clear()
    few = counting.draw_kept(MEAN - np.array([0, 1.0, 0]), COVARIANCE, 1, 50, limit=100, rng=rng())
    assert 0 < len(few) < 50
    assert sum(asked) == 100


@pytest.mark.parametrize("batch", [1024, 30])
def test_a_probe_finds_every_failing_sample_and_judges_few_others(batch):
    asked = []

    class Counting(Screen):
        def keeps(self, pixels, labels, drawn=None):
            asked.append(len(pixels))
            return super().keeps(pixels, labels, drawn)

    world = toys()
    mean = MEAN - [1.2, 0, 0]  # mostly read rightly
    counting = replace(world, screen=Counting(world.screen.gates, world.screen.judge))
    probe = sampler_of(counting, batch=batch).probe(mean, COVARIANCE, 1, failing=1_000, limit=1_000, rng=rng())
    draw = sampler().draw(mean, COVARIANCE, 1, 1_000, rng=rng())
    failing = draw.take(draw.kept & (draw.predicted != 1))
    np.testing.assert_array_equal(probe.failing.z, failing.z)
    np.testing.assert_array_equal(probe.failing.predicted, failing.predicted)
    np.testing.assert_array_equal(probe.failing.margin, 1.0)  # one logit is 1, the others 0
    assert probe.drawn == 1_000
    assert probe.kept == pytest.approx(draw.kept.sum(), abs=150)  # the share of 4 x 50 samples, times 1,000
    if batch == 1024:
        assert sum(asked) == (draw.predicted != 1).sum() + 4 * PROBED


def test_a_probe_ends_with_the_batch_that_holds_enough_failing_samples():
    failing = sampler().probe(MEAN, COVARIANCE, 1, failing=1_000, limit=1_000, rng=rng()).failing
    some = sampler().probe(MEAN, COVARIANCE, 1, failing=1, limit=1_000, rng=rng())
    assert 0 < len(some.failing) < len(failing)
    np.testing.assert_array_equal(some.failing.z, failing.z[: len(some.failing)])
    assert some.kept <= PROBE_BATCH


class Usual(ToyJudge):
    """Notes what it is asked to find plausible."""

    def __init__(self):
        self.asked = []

    def plausibility(self, pixels, labels):
        self.asked.append(pixels)
        return torch.ones(len(labels))


def lending(judge=None, batch=1024):
    world = toys() if judge is None else replace(toys(), screen=Screen((KeepsLabel(threshold=0.5), Plausible()), judge))
    return lending_sampler(world, batch=batch)


def test_samples_of_a_class_with_real_images_are_classified_in_their_detail():
    plain, fine, other = (
        one.draw(np.zeros(3), 0.01 * np.eye(3), label, 200, rng=rng())
        for one, label in ((sampler(), 1), (lending(), 1), (lending(), 2))
    )
    assert plain.predicted.tolist() == [1] * 200
    assert fine.predicted.tolist() == [2] * 200, "the first pixel is bright"
    assert other.predicted.tolist() == [2] * 200, "of class 2, as there is no image to lend"
    assert (fine.images[:, 0, 0, 0].astype(int) - 128 > 10).all()


def test_gates_that_compare_with_reconstructions_see_what_was_drawn():
    judge = Usual()
    draw = lending(judge).draw(np.array([0.0, 2.0, 0.0]), 0.01 * np.eye(3), 1, 50, rng=rng())
    assert draw.kept.all()
    (seen,) = judge.asked
    assert (seen[:, 0, 0, 0] * 255 < 140).all(), "without detail"
    assert (draw.images[:, 0, 0, 0] > BRIGHT).all()


def test_how_many_are_drawn_at_once_changes_no_detail():
    whole, parts = (lending(batch=batch).draw(MEAN, COVARIANCE, 1, 100, rng=rng()) for batch in (1024, 7))
    np.testing.assert_array_equal(whole.images, parts.images)
    np.testing.assert_array_equal(whole.kept, parts.kept)


def test_codes_give_the_same_samples_without_detail():
    draw = lending().draw(MEAN, COVARIANCE, 1, 30, rng=rng())
    whole = lending(batch=7)
    smooth = replace(whole, renderer=whole.renderer.smooth).at(draw.z, 1)
    np.testing.assert_array_equal(smooth.z, draw.z)
    assert (draw.images[:, 0, 0, 0] > smooth.images[:, 0, 0, 0]).mean() > 0.9
    np.testing.assert_array_equal(smooth.images[:, 0, 1, 0] > BRIGHT, smooth.kept)
