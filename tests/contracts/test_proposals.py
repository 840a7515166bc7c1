"""What every proposal promises. A new one joins with a row in ``PROPOSALS``."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from linear_models import LATENT, linear_models
from pydantic import TypeAdapter, ValidationError
from scipy import stats

from defuse.classifiers import CallableClassifier, TorchClassifier
from defuse.errors import ClassifierError
from defuse.generators import Detail
from defuse.identify import AggregatePosterior, BetaNoise, GradientSearch, Models, PosteriorNoise, Seeds, StyleTransfer
from defuse.identify.proposals import AnyProposal

SIZES = (60, 12, 3)
"""Images of each class, far from equal."""

N = 6_000

UNIFORM, BALANCED = "every image equally likely", "every class equally likely"
NEAREST = "the code comes first, and then the nearest seed"

PROPOSALS = {
    "beta noise": (BetaNoise(), UNIFORM),
    "beta noise, skewed": (BetaNoise(a=5.0, b=1.5, scale=0.7), UNIFORM),
    "beta noise, two-humped": (BetaNoise(a=0.5, b=0.5), UNIFORM),
    "posterior noise": (PosteriorNoise(), BALANCED),
    "posterior noise, narrow": (PosteriorNoise(scale=0.3), BALANCED),
    "style transfer": (StyleTransfer(), BALANCED),
    "style transfer, wide": (StyleTransfer(scale=3.0), BALANCED),
    "aggregate posterior": (AggregatePosterior(), NEAREST),
    "aggregate posterior, one wide Gaussian": (AggregatePosterior(components=1, scale=2.0), NEAREST),
    "gradient search": (GradientSearch(), BALANCED),
    "gradient search, one long step": (GradientSearch(steps=1, stride=2.0, scale=2.0), BALANCED),
}


def make_seeds():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(np.arange(3), SIZES))
    n = len(labels)
    mean = rng.standard_normal((n, LATENT)).astype(np.float32)
    std = rng.uniform(0.05, 0.8, (n, LATENT)).astype(np.float32)
    return Seeds(7 * np.arange(n), labels, mean, std, classes=3)


@pytest.fixture(scope="module")
def seeds():
    return make_seeds()


@pytest.fixture(scope="module", params=PROPOSALS)
def case(request):
    """What a proposal draws with, how it picks seeds, and one large draw."""
    proposal, picks = PROPOSALS[request.param]
    drawer = proposal.prepared(make_seeds(), linear_models(), 0)
    return drawer, picks, drawer.draw(make_seeds(), N, np.random.default_rng(1))


def of_type(kind):
    return [proposal for proposal, _ in PROPOSALS.values() if isinstance(proposal, kind)]


def test_shapes_dtypes_and_ranges(case, seeds):
    _, _, draw = case
    assert draw.seed.shape == draw.label.shape == (N,)
    assert draw.seed.dtype == draw.label.dtype == np.int64
    assert draw.z.shape == (N, LATENT)
    assert draw.z.dtype == np.float32
    assert np.isfinite(draw.z).all()
    assert 0 <= draw.seed.min() <= draw.seed.max() < len(seeds)  # positions among the seeds, not rows
    assert 0 <= draw.label.min() <= draw.label.max() < seeds.classes


def test_the_state_of_the_rng_decides_and_nothing_else(case, seeds):
    proposal, _, draw = case
    np.random.seed(0)  # noqa: NPY002  what must not matter
    again = proposal.draw(seeds, N, np.random.default_rng(1))
    other = proposal.draw(seeds, N, np.random.default_rng(2))
    for name in ("seed", "label", "z"):
        assert np.array_equal(getattr(draw, name), getattr(again, name))
        assert not np.array_equal(getattr(draw, name), getattr(other, name))


def test_a_second_draw_goes_on(case, seeds):
    proposal, _, _ = case
    rng = np.random.default_rng(1)
    first, second = proposal.draw(seeds, 50, rng), proposal.draw(seeds, 50, rng)
    assert not np.array_equal(first.z, second.z)


def test_seeds_are_left_as_they_were(case):
    proposal, _, _ = case
    seeds, untouched = make_seeds(), make_seeds()
    proposal.draw(seeds, 100, np.random.default_rng(0))
    for name in ("rows", "labels", "mean", "std"):
        assert np.array_equal(getattr(seeds, name), getattr(untouched, name))


@pytest.mark.parametrize("n", [0, 1])
def test_few_candidates_are_fine(case, seeds, n):
    proposal, _, _ = case
    assert proposal.draw(seeds, n, np.random.default_rng(0)).z.shape == (n, LATENT)


def test_seeds_are_picked_as_promised(case, seeds):
    """Chi-square over images; classes differ twentyfold in size, so one way of picking is far from the other."""
    _, picks, draw = case
    if picks == NEAREST:
        distances = np.square(draw.z[:, None] - seeds.mean[None]).sum(2)
        assert np.allclose(distances[np.arange(N), draw.seed], distances.min(1), atol=1e-5)
        return
    share = {
        UNIFORM: np.full(len(seeds), 1 / len(seeds)),
        BALANCED: 1 / (3 * np.array(SIZES)[seeds.labels]),
    }
    picked = np.bincount(draw.seed, minlength=len(seeds))
    pvalues = {name: stats.chisquare(picked, N * expected).pvalue for name, expected in share.items()}
    assert pvalues.pop(picks) > 1e-3
    assert max(pvalues.values()) < 1e-12


@pytest.mark.parametrize("proposal", of_type(object))
def test_names_are_the_keys_of_the_configuration(proposal, seeds):
    assert proposal.name == proposal.kind == proposal.prepared(seeds, linear_models(), 0).name
    assert proposal.cost >= 1
    settings = {field.name: getattr(proposal, field.name) for field in fields(proposal)}
    assert TypeAdapter(AnyProposal).validate_python(settings) == proposal


@pytest.mark.parametrize("proposal", [*of_type(BetaNoise), *of_type(PosteriorNoise)])
def test_noise_keeps_the_seed_s_label(proposal, seeds):
    draw = proposal.draw(seeds, N, np.random.default_rng(3))
    assert np.array_equal(draw.label, seeds.labels[draw.seed])


@pytest.mark.parametrize("proposal", of_type(BetaNoise))
def test_beta_noise_has_its_closed_form(proposal, seeds):
    a, b, scale = proposal.a, proposal.b, proposal.scale
    draw = proposal.draw(seeds, N, np.random.default_rng(4))
    noise = (draw.z - seeds.mean[draw.seed]).astype(float)
    variance = scale**2 * a * b / ((a + b) ** 2 * (a + b + 1))
    law = stats.beta(a, b, loc=-scale * a / (a + b), scale=scale)
    kurtosis = law.stats("k") + 2
    assert abs(noise.mean()) < 4 * np.sqrt(variance / noise.size)
    assert abs(noise.var() - variance) < 4 * variance * np.sqrt(kurtosis / noise.size)
    assert noise.min() >= -scale * a / (a + b) - 1e-5
    assert noise.max() <= scale * b / (a + b) + 1e-5
    assert stats.kstest(noise.ravel(), law.cdf).pvalue > 1e-3
    assert np.abs(np.corrcoef(noise.T) - np.eye(LATENT)).max() < 4 / np.sqrt(N)  # coordinates are independent


@pytest.mark.parametrize("proposal", [*of_type(PosteriorNoise), *of_type(StyleTransfer)])
def test_posterior_draws_have_each_seed_s_own_spread(proposal, seeds):
    draw = proposal.draw(seeds, N, np.random.default_rng(5))
    noise = (draw.z - seeds.mean[draw.seed]) / (proposal.scale * seeds.std[draw.seed])
    assert stats.kstest(noise.ravel().astype(float), stats.norm.cdf).pvalue > 1e-3
    assert abs(noise.var() - 1) < 4 * np.sqrt(2 / noise.size)
    assert np.abs(np.corrcoef(noise.T) - np.eye(LATENT)).max() < 4 / np.sqrt(N)
    for position in np.argsort(np.bincount(draw.seed))[-3:]:  # the three drawn most often
        own = draw.z[draw.seed == position].astype(float)
        variance = (proposal.scale * seeds.std[position].astype(float)) ** 2
        assert (np.abs(own.var(axis=0) / variance - 1) < 5 * np.sqrt(2 / len(own))).all()


@pytest.mark.parametrize("proposal", of_type(StyleTransfer))
def test_style_transfer_never_draws_the_donor_s_class_and_every_other_equally_often(proposal, seeds):
    draw = proposal.draw(seeds, N, np.random.default_rng(6))
    donor = seeds.labels[draw.seed]
    assert (draw.label != donor).all()
    pairs = [np.sum((donor == one) & (draw.label == other)) for one in range(3) for other in range(3) if one != other]
    assert stats.chisquare(pairs).pvalue > 1e-3


def test_style_transfer_reaches_classes_that_have_no_seed(seeds):
    without = seeds.take(seeds.labels != 1)
    draw = StyleTransfer().draw(without, N, np.random.default_rng(7))
    assert set(np.unique(draw.label)) == {0, 1, 2}
    assert (draw.label != without.labels[draw.seed]).all()


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_draw_for_one_class_starts_where_it_may_and_nowhere_else(name, seeds):
    """Chi-square over the seeds that may start it, each as likely as without a class to draw for."""
    proposal, picks = PROPOSALS[name]
    drawer = proposal.prepared(seeds, linear_models(), 0)
    for label in range(3):
        draw = drawer.draw(seeds, N, np.random.default_rng(8), label)
        starts = proposal.starts(seeds.labels, label)
        if picks == NEAREST:
            assert starts.all()
            assert (draw.label == label).all()
            continue
        if isinstance(proposal, GradientSearch):
            assert starts.all()
        else:
            assert np.array_equal(starts, (seeds.labels == label) != isinstance(proposal, StyleTransfer))
        assert draw.label.dtype == np.int64
        assert (draw.label == label).all()
        assert starts[draw.seed].all()
        weight = np.ones(len(seeds)) if picks == UNIFORM else 1 / np.array(SIZES)[seeds.labels]
        expected = N * weight[starts] / weight[starts].sum()
        assert stats.chisquare(np.bincount(draw.seed, minlength=len(seeds))[starts], expected).pvalue > 1e-3
    assert proposal.starts(seeds.labels).all()


def test_without_a_class_the_rng_is_asked_for_the_very_same_numbers(case, seeds):
    """So that shards of earlier versions stay what they are."""
    proposal, picks, draw = case
    if picks == NEAREST or not isinstance(proposal, BetaNoise | PosteriorNoise | StyleTransfer):
        pytest.skip("no earlier version had it")
    rng = np.random.default_rng(1)
    if picks == UNIFORM:
        seed = rng.integers(len(seeds), size=N)
    else:
        groups = [np.flatnonzero(seeds.labels == label) for label in range(3)]
        chosen = rng.integers(3, size=N)
        places = rng.integers(np.array(SIZES)[chosen])
        seed = np.array([groups[group][place] for group, place in zip(chosen, places, strict=True)])
    step = rng.integers(1, 3, size=N) if isinstance(proposal, StyleTransfer) else 0
    assert np.array_equal(draw.seed, seed)
    assert np.array_equal(draw.label, (seeds.labels[seed] + step) % 3)
    if picks == UNIFORM:
        noise = rng.beta(proposal.a, proposal.b, (N, LATENT)) - proposal.a / (proposal.a + proposal.b)
        z = seeds.mean[seed] + (proposal.scale * noise).astype(np.float32)
    else:
        noise = rng.standard_normal((N, LATENT), dtype=np.float32)
        z = seeds.mean[seed] + np.float32(proposal.scale) * seeds.std[seed] * noise
    assert np.array_equal(draw.z, z)


@pytest.mark.parametrize("kind", [BetaNoise, PosteriorNoise, StyleTransfer, GradientSearch])
@pytest.mark.parametrize(
    "change", [{"scale": 0}, {"scale": -1.0}, {"scale": float("nan")}, {"scale": float("inf")}, {"width": 1}]
)
def test_bad_input_settings(kind, change):
    with pytest.raises(ValidationError):
        kind(**change)


@pytest.mark.parametrize("change", [{"a": 0}, {"b": -2}, {"a": "wide"}])
def test_bad_input_beta_parameters(change):
    with pytest.raises(ValidationError):
        BetaNoise(**change)


@pytest.mark.parametrize("proposal", of_type(AggregatePosterior))
def test_aggregate_posterior_has_the_moments_of_the_seeds_codes(proposal, seeds):
    """Of a mixture fitted by expectation maximisation, mean and covariance are those of the codes, for any components.

    Its components are widened about their own means; with one that is the square of the scale.
    """
    many = Seeds(
        *(np.tile(part, (40, *[1] * (part.ndim - 1))) for part in (seeds.rows, seeds.labels, seeds.mean)),
        np.tile(seeds.std, (40, 1)),
        seeds.classes,
    )
    fitted = proposal.prepared(many, linear_models(), 1)
    draw = fitted.draw(many, 40_000, np.random.default_rng(9))
    mean = seeds.mean.mean(0)
    covariance = np.cov(seeds.mean.T, bias=True) + np.diag(np.square(seeds.std).mean(0))
    if len(fitted.weights) == 1:
        covariance = proposal.scale**2 * covariance
    assert np.allclose(draw.z.mean(0), mean, atol=0.05)
    assert np.allclose(np.cov(draw.z.T), covariance, atol=0.08 * np.diag(covariance).max())
    assert stats.chisquare(np.bincount(draw.label, minlength=3)).pvalue > 1e-3


def test_aggregate_posterior_finds_planted_clusters():
    rng = np.random.default_rng(10)
    centres = np.array([[-6.0, 0], [6, 0], [0, 9]])
    of = rng.choice(3, size=900, p=[0.5, 0.3, 0.2])
    mean = (centres[of] + 0.4 * rng.standard_normal((900, 2))).astype(np.float32)
    seeds = Seeds(np.arange(900), of, mean, np.full_like(mean, 0.3), 3)
    fitted = AggregatePosterior(components=3).prepared(seeds, linear_models(), 2)
    order = np.argsort(-fitted.weights)
    assert np.allclose(fitted.weights[order], np.bincount(of) / 900, atol=0.01)
    assert np.allclose(fitted.means[order], centres, atol=0.1)
    covariances = fitted.roots @ fitted.roots.transpose(0, 2, 1)
    assert np.allclose(covariances, 0.25 * np.eye(2), atol=0.06)


def test_aggregate_posterior_of_few_seeds_has_few_components(seeds):
    assert len(AggregatePosterior().prepared(seeds, linear_models(), 0).weights) == len(seeds) // 10
    one = seeds.take(np.arange(len(seeds)) == 0)
    assert np.isfinite(
        AggregatePosterior().prepared(one, linear_models(), 0).draw(one, 5, np.random.default_rng(0)).z
    ).all()


def test_aggregate_posterior_is_prepared_the_same_by_the_same_seed(seeds):
    first, again, other = (AggregatePosterior().prepared(seeds, linear_models(), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.means, again.means)
    assert not np.array_equal(first.means, other.means)


def margins(models, draw, z):
    """The best other logit less the label's, and its slope, by NumPy alone."""
    weight, bias = (part.detach().numpy().astype(float) for part in models.classifier.module.parameters())
    logits = (0.5 + z / 100) @ weight.T + bias
    logits[np.arange(len(z)), draw.label], own = -np.inf, logits[np.arange(len(z)), draw.label]
    best = logits.argmax(1)
    return logits.max(1) - own, (weight[best] - weight[draw.label]) / 100


@pytest.mark.parametrize("stride", [0.05, 0.4])
def test_gradient_search_takes_the_step_of_a_linear_model(seeds, stride):
    """One step, along the slope in posterior standard deviations, where the label still has the lead."""
    settings, models = GradientSearch(steps=1, stride=stride, scale=1.0), linear_models()
    draw = settings.prepared(seeds, models, 0).draw(seeds, N, np.random.default_rng(11))
    rng = np.random.default_rng(11)
    seed = seeds.draw_balanced(N, rng, np.ones(len(seeds), dtype=bool))
    shown = rng.integers(3, size=N)
    std = seeds.std[seed].astype(float)
    start = seeds.mean[seed] + std * rng.standard_normal((N, LATENT), dtype=np.float32)
    assert np.array_equal(draw.seed, seed)
    assert np.array_equal(draw.label, shown)
    margin, slope = margins(models, draw, start)
    step = std * slope / np.linalg.norm(std * slope, axis=1, keepdims=True)
    expected = start + np.where(margin[:, None] < settings.margin, 2 * stride * std * step, 0.0)
    assert 0.1 < (margin < settings.margin).mean() < 0.9
    assert np.allclose(draw.z, expected, atol=1e-5)


def test_gradient_search_climbs_until_the_classifier_is_wrong_by_the_margin_and_stops_there(seeds):
    models = linear_models()
    few = (
        GradientSearch(steps=2, stride=0.1, scale=1.0)
        .prepared(seeds, models, 0)
        .draw(seeds, N, np.random.default_rng(12))
    )
    many = (
        GradientSearch(steps=200, stride=0.1, scale=1.0)
        .prepared(seeds, models, 0)
        .draw(seeds, N, np.random.default_rng(12))
    )
    few_margin, many_margin = (margins(models, draw, draw.z)[0] for draw in (few, many))
    assert many_margin.min() >= 0.5 - 1e-3
    there = few_margin >= 0.5 + 1e-3
    assert np.array_equal(few.z[there], many.z[there])


def test_gradient_search_climbs_in_fine_detail(seeds):
    """Where detail adds a constant, as if that were part of the classifier's bias."""

    class Brighter(Detail):
        def __init__(self):
            pass

        def lend(self, drawn, z, labels, choice):
            assert len(z) == len(labels) == len(choice)
            return drawn + 0.02

    plain, biased = linear_models(), linear_models()
    detailed = Models(replace(plain.renderer, detail=Brighter()), plain.classifier)
    layer = biased.classifier.module[1]
    with torch.no_grad():
        layer.bias.add_(0.02 * layer.weight.sum(1))
    drawn, fine, expected = (
        GradientSearch().prepared(seeds, models, 0).draw(seeds, N, np.random.default_rng(13)).z
        for models in (plain, detailed, biased)
    )
    assert np.allclose(fine, expected, atol=1e-3)
    assert np.abs(fine - drawn).max() > 0.1


def test_gradient_search_works_where_inference_mode_is_on(seeds):
    drawer = GradientSearch().prepared(seeds, linear_models(), 0)
    with torch.inference_mode():
        draw = drawer.draw(seeds, 10, np.random.default_rng(0))
    assert np.isfinite(draw.z).all()


def test_gradient_search_suits_modules_alone():
    black_box = CallableClassifier(len, ("a", "b", "c"))
    for proposal in of_type(object):
        assert proposal.suits(linear_models().classifier)
        assert proposal.suits(black_box) != isinstance(proposal, GradientSearch)


def test_bad_input_a_module_without_gradients(seeds):
    class Blind(torch.nn.Module):
        def forward(self, pixels):
            return pixels.flatten(1)[:, :3].detach()

    models = Models(linear_models().renderer, TorchClassifier(Blind(), ("a", "b", "c")))
    with pytest.raises(ClassifierError, match="gives no gradients; drop gradient_search"):
        GradientSearch().prepared(seeds, models, 0).draw(seeds, 5, np.random.default_rng(0))


@pytest.mark.parametrize("change", [{"steps": 0}, {"stride": 0}, {"margin": -0.1}, {"margin": float("nan")}])
def test_bad_input_gradient_search_settings(change):
    with pytest.raises(ValidationError):
        GradientSearch(**change)
