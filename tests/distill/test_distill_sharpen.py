from dataclasses import replace

import numpy as np
import pytest
from distill_toys import THRESHOLD, sampler_of, toys, true_rates

from defuse.distill import RegionSampler
from defuse.distill.candidates import Candidate
from defuse.distill.sharpen import Sharpening
from defuse.generators import Renderer

SHARPENING = Sharpening(rounds=8, draws=2000, failing=300, enough=0.75)


def candidate(centre, spread=0.6):
    return Candidate(("toy", 0), 0, 1, np.array(centre), spread**2 * np.eye(3), 1.0, 50)


@pytest.fixture
def sampler():
    return sampler_of(toys())


def test_the_gaussian_moves_into_the_failing_part_and_stays_wide_along_it(sampler):
    """Rates by closed form; the third coordinate decides nothing, so its spread must survive."""
    wide = candidate((THRESHOLD - 0.7, THRESHOLD - 0.2, 0.0))
    sharp = SHARPENING.run(wide, sampler, seed=0)
    before, after = true_rates(wide.mean, wide.covariance), true_rates(sharp.mean, sharp.covariance)
    assert before[1] < 0.2
    assert after[1] > 0.7
    assert after[0] > before[0]
    assert sharp.covariance[0, 0] < 0.5 * wide.covariance[0, 0]
    assert sharp.covariance[2, 2] == pytest.approx(wide.covariance[2, 2], rel=0.25)
    assert (sharp.label, sharp.predicted, sharp.support, sharp.key) == (0, 1, 50, wide.key)
    np.linalg.cholesky(sharp.covariance)


def test_one_round_is_the_moments_of_the_failing_draws(sampler):
    """Of a normal cut off at its mean, by closed form: mean up by s sqrt(2 / pi), variance s^2 (1 - 2 / pi)."""
    wide = candidate((THRESHOLD, 4.0, 0.0))
    once = Sharpening(rounds=1, draws=200_000, failing=200_000, enough=0.75).run(wide, sampler, seed=0)
    spread = 0.6
    assert once.mean[0] == pytest.approx(THRESHOLD + spread * np.sqrt(2 / np.pi), abs=0.01)
    assert once.covariance[0, 0] == pytest.approx(spread**2 * (1 - 2 / np.pi), rel=0.02)
    assert once.covariance[1, 1] == pytest.approx(spread**2, rel=0.02)


@pytest.mark.parametrize(
    ("centre", "why"),
    [((3.0, 3.0, 0.0), "sharp already"), ((-3.0, 3.0, 0.0), "nothing fails"), ((3.0, -3.0, 0.0), "nothing is kept")],
)
def test_a_candidate_is_left_alone(sampler, centre, why):
    given = candidate(centre)
    assert SHARPENING.run(given, sampler, seed=0) is given, why


def test_where_little_fails_between_bugs_the_part_that_fails_most_is_sharpened(sampler):
    places = enumerate((-2.0, THRESHOLD - 0.3, 0.0))
    parts = tuple(replace(candidate((at, 3.0, 0.0)), key=("toy", "part", number)) for number, at in places)
    between = replace(candidate((-3.0, 3.0, 0.0)), parts=parts)
    found = SHARPENING.run(between, sampler, seed=0)
    np.testing.assert_array_equal(found.mean, SHARPENING.run(parts[1], sampler, seed=0).mean)
    assert found.mean[0] > THRESHOLD


@pytest.mark.parametrize("centre", [3.0, THRESHOLD + 0.4])
def test_parts_of_what_is_sharp_are_never_looked_at(centre):
    asked = []

    class Watching(RegionSampler):
        def probe(self, mean, *rest, **options):
            asked.append(mean)
            return super().probe(mean, *rest, **options)

    world = toys()
    watching = Watching(Renderer(world.generator), world.classifier, world.screen)
    whole = candidate((centre, 3.0, 0.0))
    part = replace(candidate((9.0, 9.0, 9.0)), key=("toy", "part", 0))
    found = SHARPENING.run(replace(whole, parts=(part, part)), watching, seed=0)
    np.testing.assert_array_equal(found.mean, SHARPENING.run(whole, sampler_of(toys()), seed=0).mean)
    assert max(mean[2] for mean in asked) < 9.0


def test_parts_that_fail_no_more_change_nothing(sampler):
    given = candidate((-3.0, 3.0, 0.0))
    parts = tuple(replace(given, key=("toy", "part", number)) for number in range(2))
    whole = replace(given, parts=parts)
    assert SHARPENING.run(whole, sampler, seed=0) is whole


def test_no_rounds_change_nothing(sampler):
    given = replace(candidate((0.0, 0.0, 0.0)), parts=(candidate((3.0, 3.0, 0.0)),) * 2)
    assert Sharpening(rounds=0, draws=10, failing=10, enough=0.75).run(given, sampler, seed=0) is given


def test_the_seed_decides(sampler):
    given = candidate((THRESHOLD - 0.7, THRESHOLD, 0.0))
    first, second, other = (SHARPENING.run(given, sampler, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.covariance, second.covariance)
    assert not np.array_equal(first.mean, other.mean)
