from dataclasses import replace

import numpy as np
import pytest
from distill_toys import ToyClassifier, ToyJudge, failures, lending_sampler, sampler_of, screen_of, toys, true_rates
from pydantic import ValidationError

from defuse.distill import DirichletMixture, Distill, default_costs, gather_evidence, mean_cost
from defuse.distill.candidates import FEW_IN_GROUP, LOW_SUPPORT, LOW_WEIGHT
from defuse.distill.distill import LOW_KEEP_RATE, NOT_PROVEN, OVER_LIMIT
from defuse.progress import silent
from defuse.records import Purpose

ONE = DirichletMixture(max_components=1)
BUG = (0, 1, (2.5, 2.5, 0.0), 0.4, 80)
"""Nearly every sample is kept and misread."""
AMBIGUOUS = (1, 2, (2.5, -2.5, 0.0), 0.4, 120)
"""Misread, but the judge keeps next to none."""
READ_WELL = (2, 3, (-2.0, 2.5, 0.0), 0.4, 90)
"""Kept, but read rightly: the failures were a fluke."""
QUIETLY = {"seed": 0, "progress": silent}


def run(distill, found, *, seed=0, conditional=True, costs=None, **changes):
    world = replace(toys(conditional=conditional), **changes)
    return distill.run(found, sampler_of(world), seed=seed, costs=costs)


def same_region(one, other):
    """Equal but for what compares candidates: q value and name."""

    def strip(region):
        return replace(region.evidence, q_value=0.0)

    return (
        (one.label, one.predicted, one.weight, one.support)
        == (other.label, other.predicted, other.weight, other.support)
        and strip(one) == strip(other)
        and np.array_equal(one.mean, other.mean)
        and np.array_equal(one.covariance, other.covariance)
    )


def test_only_what_is_kept_and_misread_is_reported():
    regions = run(Distill(mixture=ONE), failures(BUG, AMBIGUOUS, READ_WELL))
    (region,) = regions.reported
    assert (region.name, region.label, region.predicted, region.support) == ("r001", 0, 1, 80)
    assert region.weight == pytest.approx(1.0)
    assert region.evidence.answers[0][0] == 1
    assert regions.fitted == 3
    assert regions.dropped == {LOW_KEEP_RATE: 1, NOT_PROVEN: 1}
    np.testing.assert_allclose(region.mean, BUG[2], atol=0.2)


def test_evidence_agrees_with_the_closed_form_of_the_reported_gaussian():
    border = (0, 1, (1.0, 0.9, 0.0), 0.7, 300)
    (region,) = run(Distill(mixture=ONE, samples=4000, sharpen_rounds=0), failures(border)).reported
    keep, failure = true_rates(region.mean, region.covariance)
    assert 0.6 < keep < 0.9
    assert 0.6 < failure < 0.9
    assert region.evidence.keep.interval[0] <= keep <= region.evidence.keep.interval[1]
    assert region.evidence.failure.interval[0] <= failure <= region.evidence.failure.interval[1]


def test_several_bugs_of_one_pair_become_several_regions_in_order_of_support():
    thin = (0, 1, (2.5, 2.5, -4.0), 0.4, 60)
    regions = run(Distill(mixture=DirichletMixture(max_components=2)), failures(BUG, thin))
    assert [(region.name, region.support) for region in regions.reported] == [("r001", 80), ("r002", 60)]
    np.testing.assert_allclose([region.weight for region in regions.reported], [80 / 140, 60 / 140], atol=0.02)


@pytest.mark.parametrize(("support", "order"), [(50, [0, 2, 0]), (25, [0, 0, 2])])
def test_the_second_region_of_a_confusion_counts_half(support, order):
    lesser, other = (0, 1, (2.5, 2.5, -4.0), 0.4, 70), (2, 3, (2.5, 2.5, 0.0), 0.4, support)
    reported = run(Distill(mixture=DirichletMixture(max_components=2)), failures(BUG, lesser, other)).reported
    assert [region.label for region in reported] == order
    assert reported[0].support > 70, "the greater one first"


def test_rank_is_support_times_failure_rate():
    often = (1, 2, (1.0, 2.5, 0.0), 0.3, 100)  # misread at about 95 %
    rarely = (2, 3, (0.75, 2.5, 0.0), 0.5, 110)  # at about 70 %
    reported = run(Distill(mixture=ONE, sharpen_rounds=0), failures(BUG, often, rarely)).reported
    scores = [region.support * region.evidence.failure.value for region in reported]
    assert scores == sorted(scores, reverse=True)
    assert [region.label for region in reported] == [1, 0, 2]


def priced(cost):
    """Return costs of 1, but ``cost`` where 2 is read as 3."""
    costs = default_costs(4)
    costs[2, 3] = cost
    return costs


@pytest.mark.parametrize(("cost", "order"), [(0.0, [0, 2]), (1.0, [0, 2]), (1.2, [0, 2]), (1.5, [2, 0]), (10, [2, 0])])
def test_costs_decide_the_rank_and_nothing_else(cost, order):
    """All of 80 and all of 60 failures count: the lesser region goes first from a cost of 80 / 60 on."""
    found = failures(BUG, (2, 3, (2.5, 2.5, 0.0), 0.4, 60))
    plain, regions = run(Distill(mixture=ONE), found), run(Distill(mixture=ONE), found, costs=priced(cost))
    assert [(region.label, region.support) for region in plain.reported] == [(0, 80), (2, 60)]
    assert [(region.name, region.label) for region in regions.reported] == [("r001", order[0]), ("r002", order[1])]
    for region in regions.reported:
        (same,) = (other for other in plain.reported if other.label == region.label)
        assert same_region(region, same)
        assert region.evidence == same.evidence  # the q value too
        rate = region.evidence.failure.value
        assert rate > 0.99
        assert mean_cost(region.evidence, region.label, priced(cost)) == pytest.approx(
            rate * (cost if region.label else 1)
        )


def test_the_limit_keeps_the_costliest():
    found = failures(BUG, (2, 3, (2.5, 2.5, 0.0), 0.4, 60))
    for cost, label in ((1, 0), (10, 2)):
        regions = run(Distill(mixture=ONE, max_regions=1), found, costs=priced(cost))
        assert [region.label for region in regions.reported] == [label]
        assert regions.dropped == {OVER_LIMIT: 1}


def test_every_answer_costs_what_the_table_says():
    """Wrong answers are 1 and 2 by turns: their costs are averaged, and right answers cost nothing."""

    class Turns(ToyClassifier):
        def predict_logits(self, images, batch=1024):
            logits = super().predict_logits(images, batch)
            wrong = np.flatnonzero(logits.argmax(axis=1) == 1)
            logits[wrong[::2]] = np.eye(4)[2]
            return logits

    costs = default_costs(4)
    costs[0, 1:3] = 3, 9
    (region,) = run(
        Distill(mixture=ONE, sharpen_rounds=0, deepen_rounds=0), failures(BUG), costs=costs, classifier=Turns()
    ).reported
    answers = dict(region.evidence.answers)
    assert abs(answers[1] - answers[2]) <= 1 < answers[1]
    total = 3 * answers[1] + 9 * answers[2]
    assert mean_cost(region.evidence, 0, costs) == pytest.approx(total / region.evidence.failure.trials)


def test_samples_show_their_label_and_differ_between_purposes():
    border = (0, 1, (2.0, 0.6, 0.0), 0.5, 200)
    distill = Distill(mixture=ONE, samples=150, tiles=40, repair_samples=60, select_samples=30, final_samples=50)
    regions = run(distill, failures(border))
    wanted = {"evidence": 150, "show": 40, "repair": 60, "select": 30, "final": 50}
    assert {purpose.value: len(samples) for (_, purpose), samples in regions.samples.items()} == wanted
    for (name, purpose), samples in regions.samples.items():
        assert (name, purpose) == (samples.region, samples.purpose)
        assert samples.kept.all() == (purpose is not Purpose.EVIDENCE)
    codes = np.concatenate([samples.z for samples in regions.samples.values()])
    assert len(np.unique(codes, axis=0)) == len(codes)


APART = ((0, 1, (3.0, 3.0, -4.0), 0.3, 40), (0, 1, (3.0, 3.0, 4.0), 0.3, 60))


def test_a_confusion_of_failures_far_apart_has_parts():
    found = Distill(mixture=ONE).grouping.propose(failures(*APART, (1, 2, (3.0, 3.0, 0.0), 0.3, 50)), **QUIETLY)
    apart, alone = found.candidates
    assert sum(part.support for part in apart.parts) == 100
    middles = np.array([part.mean[2] for part in apart.parts])
    np.testing.assert_allclose(np.abs(middles), 4.0, atol=1.0)  # the prior draws small parts inwards
    assert len(np.unique(np.sign(middles))) == 2
    assert {(part.label, part.predicted) for part in apart.parts} == {(0, 1)}
    assert len({apart.key, *(part.key for part in apart.parts)}) == 1 + len(apart.parts)
    assert {(part.label, part.predicted) for part in alone.parts} <= {(1, 2)}
    assert found.fitted == 2


def test_no_parts_where_none_are_wanted_or_the_mixture_splits_already():
    for changes in ({"parts": 1}, {"mixture": DirichletMixture(max_components=3)}, {"min_support": 55}):
        found = Distill(**{"mixture": ONE, **changes}).grouping.propose(failures(*APART), **QUIETLY)
        assert all(candidate.parts == () for candidate in found.candidates)


def test_repair_samples_come_in_detail_and_as_they_are_drawn():
    distill = Distill(mixture=ONE, repair_samples=60, deepen_rounds=0)
    regions = distill.run(failures((1, 2, (2.5, 2.5, 0.0), 0.4, 80)), lending_sampler(toys()), seed=0)
    (region,) = regions.reported
    samples = regions.samples[region.name, Purpose.REPAIR]
    fine, drawn = samples.images[:60, 0, 0, 0], samples.images[60:, 0, 0, 0]
    assert len(fine) == len(drawn) == 60
    np.testing.assert_array_equal(samples.z[:60], samples.z[60:])
    assert (fine > drawn).all()
    assert len(regions.samples[region.name, Purpose.FINAL]) == distill.final_samples


def test_evidence_can_be_counted_again_from_its_samples():
    regions = run(Distill(mixture=ONE), failures(BUG, (1, 2, (1.0, 0.6, 0.0), 0.6, 70)))
    assert len(regions.reported) == 2
    for region in regions.reported:
        again = gather_evidence(regions.samples[region.name, Purpose.EVIDENCE], region.label, 0.5)
        assert replace(again, q_value=region.evidence.q_value) == region.evidence


def test_too_few_draws_give_fewer_samples():
    border = (0, 1, (2.5, 0.2, 0.0), 0.4, 200)
    distill = Distill(mixture=ONE, draws_per_sample=1, min_keep_rate=0.05, tiles=100, deepen_rounds=0)
    (region,) = run(distill, failures(border)).reported
    shown = run(distill, failures(border)).samples["r001", Purpose.SHOW]
    assert 0 < len(shown) < 60
    assert shown.kept.all()
    assert region.evidence.keep.value < 0.5


def test_paper_one_mixture_majority_label_and_no_filter():
    # Both parts of the first blob carry other labels; the label with more seeds names the region.
    mixed = failures(
        (0, 1, (2.5, -2.5, -3.0), 0.4, 70), (1, 0, (2.5, -2.5, -3.0), 0.4, 50), (1, 0, (2.5, 2.5, 3.0), 0.4, 60)
    )
    distill = Distill(
        mixture=DirichletMixture(max_components=2), per_pair=False, keep_only=False, min_support=1, deepen_rounds=0
    )
    regions = run(distill, mixed, conditional=False)
    assert [(r.label, r.predicted, r.support) for r in regions.reported] == [(0, 1, 120), (1, 0, 60)]
    assert regions.dropped == {}
    first = regions.reported[0]
    assert first.evidence.keep.value < 0.05
    assert np.isfinite([first.evidence.p_value, first.evidence.q_value]).all()
    shown = regions.samples["r001", Purpose.SHOW]
    assert len(shown) == distill.tiles
    assert not shown.kept.all()


def test_small_components_are_dropped_and_counted():
    small = (0, 1, (2.5, 2.5, -5.0), 0.2, 12)
    mixture = DirichletMixture(max_components=2)
    by_weight = run(Distill(mixture=mixture, weight_threshold=0.2, min_support=5), failures(BUG, small))
    assert by_weight.dropped == {LOW_WEIGHT: 1}
    by_support = run(Distill(mixture=mixture, min_support=20), failures(BUG, small))
    assert by_support.dropped == {LOW_SUPPORT: 1}
    for regions in (by_weight, by_support):
        assert [region.support for region in regions.reported] == [80]
        assert regions.fitted == 2


def test_truncation_leaves_room_for_the_minimum_support():
    regions = run(Distill(mixture=DirichletMixture(max_components=10), min_support=20), failures((*BUG[:4], 39)))
    assert [region.support for region in regions.reported] == [39]


def test_at_most_so_many_regions():
    regions = run(Distill(mixture=ONE, max_regions=1), failures(BUG, (2, 3, (2.5, 2.5, 0.0), 0.4, 50)))
    assert [region.label for region in regions.reported] == [0]
    assert regions.dropped == {OVER_LIMIT: 1}
    assert {name for name, _ in regions.samples} == {"r001"}


@pytest.mark.parametrize("distill", [Distill(), Distill(per_pair=False, keep_only=False)])
def test_no_failures_no_regions(distill):
    regions = run(distill, failures())
    assert (regions.reported, regions.samples, regions.fitted, regions.dropped) == ((), {}, 0, {})


def test_fewer_failures_than_the_minimum_support():
    regions = run(Distill(min_support=20), failures((*BUG[:4], 19)))
    assert regions.reported == ()
    assert regions.fitted == 0
    assert regions.dropped == {FEW_IN_GROUP: 1}


def test_nothing_kept_at_all_is_no_error():
    class Never(ToyJudge):
        def _probabilities(self, pixels):
            return 0 * super()._probabilities(pixels)

    regions = run(Distill(mixture=ONE, min_keep_rate=0.0), failures(BUG), screen=screen_of(Never()))
    assert regions.dropped == {NOT_PROVEN: 1}


def test_same_seed_same_regions_other_seed_other_samples():
    found = failures(BUG, READ_WELL)
    first, second, other = (run(Distill(), found, seed=seed) for seed in (1, 1, 2))
    assert first.reported
    assert len(first.reported) == len(second.reported)
    assert all(same_region(*pair) for pair in zip(first.reported, second.reported, strict=True))
    for key, samples in first.samples.items():
        np.testing.assert_array_equal(samples.images, second.samples[key].images)
        np.testing.assert_array_equal(samples.z, second.samples[key].z)
    shown = ("r001", Purpose.SHOW)
    assert not np.array_equal(first.samples[shown].z, other.samples[shown].z)


def test_pairs_share_nothing_but_the_prior_of_their_gaussians():
    """Each pair's Gaussian is the mixture's own fit of that pair, with the covariance within pairs as its prior."""
    found = failures(BUG, (2, 3, (2.5, 2.5, 1.0), 0.8, 40))
    parts = [found.z[found.label == label].astype(np.float64) for label in (0, 2)]
    within = sum((len(part) - 1) * np.cov(part.T) for part in parts) / 118
    distill = Distill(mixture=ONE, sharpen_rounds=0, deepen_rounds=0)
    reported = run(distill, found).reported
    assert [region.label for region in reported] == [0, 2]
    for region, part in zip(reported, parts, strict=True):
        alone = ONE.fit(part, seed=0, prior=within)
        np.testing.assert_allclose(region.mean, alone.means[0])
        np.testing.assert_allclose(region.covariance, alone.covariances[0], rtol=1e-5)


def test_one_pair_alone_has_its_own_covariance_as_prior():
    (region,) = run(Distill(mixture=ONE, sharpen_rounds=0, deepen_rounds=0), failures(BUG)).reported
    np.testing.assert_allclose(region.covariance, ONE.fit(failures(BUG).z, seed=0).covariances[0], rtol=1e-5)


def test_false_discoveries_are_rare_when_regions_sit_at_rho():
    """Regions that fail on exactly half of their samples: at most one run in twenty may report any."""
    at_rho = [(label, (label + 1) % 4, (0.5098, 4.0, 0.0), 0.4, 400) for label in range(4)]
    distill = Distill(mixture=ONE, tiles=1, repair_samples=1, select_samples=1, final_samples=1)

    class Coin(ToyClassifier):
        """Replaces the answers by fair draws, so that the null holds exactly."""

        def __init__(self, seed):
            super().__init__()
            self.rng = np.random.default_rng(seed)

        def predict_logits(self, images, batch=1024):
            del batch
            shown = np.rint(images[:, 0, -1, 0] / 25.5).astype(np.int64)
            return np.eye(4, dtype=np.float32)[(shown + self.rng.integers(0, 2, len(images))) % 4]

    found = failures(*at_rho)
    reporting = sum(bool(run(distill, found, classifier=Coin(seed)).reported) for seed in range(100))
    assert reporting <= 10  # 5 expected at most; P(more than 10) is about 1 %


def test_progress_reaches_its_totals():
    calls = []
    Distill().run(
        failures(BUG),
        sampler_of(toys()),
        seed=0,
        progress=lambda task, done, total, _note="": calls.append((task, done, total)),
    )
    for task in ("distill: mixtures", "distill: evidence", "distill: samples"):
        last = [call for call in calls if call[0] == task][-1]
        assert last[1] == last[2] > 0


@pytest.mark.parametrize("wrong", [{"rho": 1.0}, {"q_value": 0.0}, {"max_regions": 0}, {"min_suport": 3}])
def test_bad_input_settings_of_distill(wrong):
    with pytest.raises(ValidationError):
        Distill(**wrong)
