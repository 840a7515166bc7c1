from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import ValidationError
from scipy.special import softmax
from sklearn.metrics import log_loss
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.classifiers.base import Classifier
from defuse.correct import Correct
from defuse.correct.measure import Caps, Measure, cross_entropy, pareto_front, select
from defuse.correct.targets import find_targets
from defuse.errors import ClassifierError, RunError, VerdictError
from defuse.outcomes import UNTRIED, Flips, SweepPoint
from defuse.pixels import to_bytes
from defuse.records import Purpose, Rate, Regions

QUICK = Correct(lambdas=(0.3, 1.0), steps=60, batch_size=64, region_batch_size=64, learning_rate=2e-3, augment="none")


LOOSE = {
    "max_accuracy_loss": 1.0,
    "max_accuracy_loss_bound": 1.0,
    "max_changed_loss": 1.0,
    "max_negative_flips": 1.0,
}

BRIEF = replace(QUICK, lambdas=(1.0,), steps=15, **LOOSE)
"""Too short to repair well; enough to compare, and always chosen."""


def run(toy, settings=QUICK, seed=0):
    return settings.run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=seed)


def same_weights(a, b):
    pairs = zip(a.module.state_dict().values(), b.module.state_dict().values(), strict=True)
    return all(torch.equal(first, second) for first, second in pairs)


def change_samples(toy, change, purpose):
    samples = {key: change(part) if key[1] is purpose else part for key, part in toy.regions.samples.items()}
    return replace(toy, regions=Regions(toy.regions.reported, samples, fitted=2))


def blank(samples):
    return replace(samples, images=np.zeros_like(samples.images))


@pytest.fixture(scope="module")
def repaired(toy):
    return run(toy)


def test_planted_bug_is_repaired_and_accuracy_is_kept(repaired):
    repair = repaired.repair
    assert repair.before.failure.value > 0.9, "the bug is there"
    assert repair.after.failure.value < 0.05
    assert repair.after.test.successes >= repair.before.test.successes - 0.001 * 400
    assert repair.chosen in QUICK.lambdas
    assert repair.steps == 60
    assert [point.weight for point in repair.sweep] == [0.3, 1.0]
    assert [score.region for score in repair.after.regions] == ["r001"], "a region thrown out takes no part"
    assert repaired.reason.startswith(f"repaired with lambda {repair.chosen:g}")


def test_figures_are_those_of_the_returned_model(toy, repaired):
    """Every figure again, counted by hand."""
    test, final = toy.splits.test, toy.regions.samples["r001", Purpose.FINAL]
    old, new = toy.classifier.predict(test.images), repaired.classifier.predict(test.images)
    repair = repaired.repair
    assert repair.before.test == Rate(int((old == test.labels).sum()), 400)
    assert repair.after.test == Rate(int((new == test.labels).sum()), 400)
    assert repair.negative_flips == Rate(int(((old == test.labels) & (new != test.labels)).sum()), 400)
    assert repair.flips.broken == repair.negative_flips.successes
    assert repair.flips.fixed - repair.flips.broken == repair.after.test.successes - repair.before.test.successes
    of_class = [Rate(int((new == k)[test.labels == k].sum()), int((test.labels == k).sum())) for k in (0, 1)]
    assert list(repair.after.classes) == of_class
    control = repaired.control.predict(test.images) == test.labels
    assert repair.control_flips.fixed == int((control & (old != test.labels)).sum())
    assert repair.after.failure == Rate(int((repaired.classifier.predict(final.images) != 1).sum()), 150)
    validation = toy.splits.validation
    right = repaired.classifier.predict(validation.images) == validation.labels
    point = next(point for point in repair.sweep if point.weight == repair.chosen)
    assert repair.after.validation == point.validation == Rate(int(right.sum()), 300)
    select_images = toy.regions.samples["r001", Purpose.SELECT].images
    lost = (toy.classifier.predict(validation.images) == validation.labels) & ~right
    assert point.negative_flips == Rate(int(lost.sum()), 300)
    assert point.region == Rate(int((repaired.classifier.predict(select_images) != 1).sum()), 100)


@pytest.mark.parametrize("of_control", [True, False])
def test_as_many_negative_flips_are_allowed_as_the_control_makes(toy, of_control):
    """With lambda 0 the repair is the control."""
    reference = toy.splits.reference
    noisy = replace(
        reference, labels=np.where(np.arange(len(reference)) % 5 < 4, 1 - reference.labels, reference.labels)
    )
    settings = replace(
        BRIEF, lambdas=(0.0,), blends=(1.0,), keep_answers=False, max_negative_flips=0.0, flips_of_control=of_control
    )
    repair = run(replace(toy, splits=replace(toy.splits, reference=noisy)), settings).repair
    assert repair.sweep[0].negative_flips.successes > 0
    assert repair.sweep[0].allowed == of_control


def test_lambda_zero_equals_the_control(toy):
    corrected = run(toy, replace(QUICK, lambdas=(0.0,), keep_answers=False))
    repair = corrected.repair
    assert repair.chosen == 0.0
    assert repair.after == repair.control
    assert same_weights(corrected.classifier, corrected.control)
    assert repair.control.failure.value > 0.5, "bright images alone do not teach dark ones here"


def test_same_seed_same_model_other_seed_other_model(toy):
    first, again = run(toy, BRIEF), run(toy, BRIEF)
    assert first.repair == again.repair
    assert same_weights(first.classifier, again.classifier)
    assert same_weights(first.control, again.control)
    assert not same_weights(first.classifier, run(toy, BRIEF, seed=1).classifier)


def test_neither_test_images_nor_final_samples_matter_to_the_model(toy, repaired):
    wrong = replace(toy.splits.test, labels=1 - toy.splits.test.labels)
    other = replace(toy, splits=replace(toy.splits, test=wrong))
    other = run(change_samples(other, blank, Purpose.FINAL))
    assert same_weights(repaired.classifier, other.classifier)
    assert other.repair.sweep == repaired.repair.sweep
    assert other.repair.after.test.value < 0.1, "they are scored, though"


def test_cap_is_kept_and_the_old_model_returned(toy):
    """Region labels that contradict the reference images: every lambda that learns them breaks the cap."""
    reversed_labels = change_samples(
        toy,
        lambda part: replace(part, images=toy.splits.reference.images[toy.splits.reference.labels == 0][:200]),
        Purpose.REPAIR,
    )
    corrected = run(reversed_labels, replace(QUICK, lambdas=(30.0, 100.0), steps=25, blends=(1.0,)))
    repair = corrected.repair
    assert not any(point.allowed for point in repair.sweep)
    assert all(point.validation.value < repair.before.validation.value - 0.001 for point in repair.sweep)
    assert repair.chosen is None
    assert corrected.classifier is toy.classifier
    assert repair.after == repair.before
    assert repair.negative_flips == Rate(0, 400)
    assert repair.flips == Flips(0, 0)
    assert "max_accuracy_loss" in corrected.reason
    loose = run(reversed_labels, replace(QUICK, lambdas=(30.0,), steps=25, **LOOSE))
    assert loose.repair.chosen == 30.0


class Rote(Classifier):
    """Knows some images by heart, and takes every other for class 0."""

    finetunable = False

    def __init__(self, images):
        super().__init__(images.class_names)
        self.known = {image.tobytes(): label for image, label in zip(images.images, images.labels, strict=True)}

    def _forward(self, pixels):
        answers = torch.tensor([int(self.known.get(image.tobytes(), 0)) for image in to_bytes(pixels)])
        return nn.functional.one_hot(answers, len(self.class_names)).float()


@pytest.mark.parametrize("changes", ["none", "shift"])
def test_accuracy_on_changed_validation_images_is_held_too(toy, changes):
    validation = toy.splits.validation
    targets = find_targets(toy.regions, toy.labels, validation.class_names)
    measure = Measure(toy.classifier, toy.splits, toy.regions, targets, kept_only=True, seed=0, changes=changes)
    point = measure.point(Rote(validation), 1.0, Caps(accuracy_loss=0.001, negative_flips=0.003, changed_loss=0.003))
    assert point.validation == Rate(300, 300)
    assert point.allowed == (changes == "none")
    assert point.changed == (UNTRIED if changes == "none" else Rate(2 * int((validation.labels == 0).sum()), 600))


def test_every_lambda_is_tried_with_each_way_to_keep_answers_and_the_best_is_taken(toy):
    tried = replace(QUICK, steps=15, keep_logits=(0.0, 0.5), **LOOSE)
    repair = run(toy, tried).repair
    assert [(point.weight, point.keep_logits) for point in repair.candidates[:: len(tried.blends)]] == [
        (weight, keep) for weight in tried.lambdas for keep in tried.keep_logits
    ]
    for best in repair.sweep:
        assert best.loss == min(point.loss for point in repair.candidates if point.weight == best.weight)
    chosen = next(point for point in repair.sweep if point.weight == repair.chosen)
    alone = run(toy, replace(tried, lambdas=(chosen.weight,), keep_logits=(chosen.keep_logits,)))
    assert alone.repair.after == repair.after


def test_nan_loss_keeps_the_old_weights(toy):
    corrected = run(toy, replace(QUICK, learning_rate=1e30))
    assert corrected.classifier is toy.classifier
    assert corrected.repair.chosen is None
    assert all(point.validation.trials == 0 and not point.allowed for point in corrected.repair.sweep)
    assert corrected.repair.control.test.trials == 0
    assert corrected.control is None
    assert corrected.repair.control_flips is None
    assert corrected.repair.control.calibration_error is None
    assert "learning_rate" in corrected.reason


def test_one_diverging_lambda_does_not_stop_the_others(toy):
    corrected = run(toy, replace(QUICK, lambdas=(1e39, 1.0)))
    assert [point.allowed for point in corrected.repair.sweep] == [False, True]
    assert corrected.repair.chosen == 1.0


def test_only_kept_samples_count_unless_all_are_asked_for(toy):
    half = np.arange(150) < 50
    marked = change_samples(toy, lambda part: replace(part, kept=half), Purpose.FINAL)
    marked = change_samples(marked, lambda part: replace(part, kept=np.arange(200) < 10), Purpose.REPAIR)
    assert run(marked, BRIEF).repair.before.failure.trials == 50
    everything = run(marked, replace(BRIEF, kept_only=False))
    assert everything.repair.before.failure.trials == 150
    assert same_weights(everything.classifier, run(toy, BRIEF).classifier), "all 200 repair samples were used"


def test_samples_teach_the_majority_label_not_the_proposed_one(toy):
    region = replace(toy.regions.reported[0], label=0)
    regions = Regions((region, toy.regions.reported[1]), toy.regions.samples, fitted=2)
    assert run(replace(toy, regions=regions), BRIEF).repair == run(toy, BRIEF).repair


def test_nothing_to_repair_is_a_plain_result(toy):
    for other in (toy.with_region_labels(None), toy.with_region_labels()):
        corrected = run(other)
        assert corrected.repair is None
        assert corrected.classifier is toy.classifier
        assert corrected.reason.startswith("nothing to repair")
    none_kept = change_samples(toy, lambda part: replace(part, kept=np.zeros(200, dtype=bool)), Purpose.REPAIR)
    assert run(none_kept).repair is None


def test_select_takes_what_is_surest_of_the_regions_and_never_breaks_a_cap():
    def point(weight, failures, loss, *, allowed=True):
        return SweepPoint(weight, Rate(95, 100), Rate(failures, 50), allowed=allowed, loss=loss)

    def chosen(*points):
        found = select(points)
        return found and found.weight

    assert chosen(point(3.0, 0, 0.2), point(1.0, 0, 0.1), point(0.1, 20, 0.9), point(9.0, 0, 0.0, allowed=False)) == 1.0
    assert chosen(point(1.0, 1, 0.1), point(9.0, 0, 0.3)) == 1.0
    assert chosen(point(1.0, 0, 0.0, allowed=False)) is None
    empty = tuple(SweepPoint(weight, Rate(95, 100), Rate(0, 0), allowed=True) for weight in (1.0, 2.0))
    assert select(empty).weight == 1.0


def test_the_bound_is_a_cap_of_its_own():
    before = np.ones(1000, dtype=bool)
    assert Caps(1.0, 1.0, 0.005).hold(before, before, 0.005)
    assert not Caps(1.0, 1.0, 0.005).hold(before, before, 0.0051)


def test_no_other_point_beats_one_of_the_front():
    """Held against every pair: accuracy up, failures down."""
    rng = np.random.default_rng(0)
    points = [
        SweepPoint(float(i), Rate(int(right), 30), Rate(int(failed), 30), allowed=True)
        for i, (right, failed) in enumerate(rng.integers(0, 30, (60, 2)))
    ]

    def beats(a, b):
        mine, theirs = (a.validation.successes, -a.region.successes), (b.validation.successes, -b.region.successes)
        return mine != theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1]

    front = pareto_front([*points, SweepPoint(99.0, Rate(0, 0), Rate(0, 0), allowed=False)])
    unbeaten = {
        (point.validation, point.region) for point in points if not any(beats(other, point) for other in points)
    }
    assert {(point.validation, point.region) for point in front} == unbeaten
    assert len(front) == len(unbeaten)


@given(before=arrays(bool, 1000), after=arrays(bool, 1000), loss=st.integers(0, 9), flips=st.integers(0, 9))
def test_caps_are_shares_of_the_same_images(before, after, loss, flips):
    held = Caps(loss / 1000, flips / 1000).hold(before, after)
    assert held == (before.sum() - after.sum() <= loss and (before & ~after).sum() <= flips)


def test_cross_entropy_is_scikit_learns():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (30, 4)).astype(np.float32), rng.integers(0, 4, 30)
    expected = log_loss(labels, softmax(logits.astype(np.float64), axis=1), labels=range(4))
    assert cross_entropy(logits, labels) == pytest.approx(expected, rel=1e-5)
    assert cross_entropy(logits[:0], labels[:0]) == 0.0


class BlackBox(Classifier):
    """Answers, and shows no weights."""

    finetunable = False

    def _forward(self, pixels):
        return torch.zeros(len(pixels), len(self.class_names))


def test_bad_input_black_box_says_what_it_can_still_do(toy):
    with pytest.raises(ClassifierError, match=r"BlackBox.*regions, the report and the regression suite.*Module"):
        run(replace(toy, classifier=BlackBox(("left", "right"))))


def test_bad_input_module_without_trainable_parameters(toy):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)).requires_grad_(requires_grad=False)
    with pytest.raises(ClassifierError, match="requires_grad"):
        run(replace(toy, classifier=TorchClassifier(module, ("left", "right"))))


def test_bad_input_labels_that_do_not_fit(toy):
    with pytest.raises(VerdictError, match=r"r001 has label 2, expected 0 to 1"):
        run(toy.with_region_labels(2))
    stranger = replace(toy.labels[0], region="r009")
    with pytest.raises(VerdictError, match="r009 is not among the 2 regions"):
        run(replace(toy, labels=(stranger,)))


def test_bad_input_region_without_samples(toy):
    samples = {key: part for key, part in toy.regions.samples.items() if key[1] is not Purpose.SELECT}
    regions = Regions(toy.regions.reported, samples, fitted=2)
    with pytest.raises(RunError, match="r001 has no samples for 'select'"):
        run(replace(toy, regions=regions))


@pytest.mark.parametrize(
    "setting",
    [
        {"lambdas": (0.1, -0.1)},
        {"lambdas": ()},
        {"lambdas": (float("nan"),)},
        {"lambdas": (float("inf"),)},
        {"steps": 0},
        {"batch_size": 0},
        {"region_batch_size": 0},
        {"learning_rate": 0.0},
        {"max_accuracy_loss": -0.1},
        {"max_accuracy_loss": 1.1},
        {"max_accuracy_loss_bound": -0.1},
        {"max_negative_flips": -0.1},
        {"augment": "warp"},
        {"lamda": (1.0,)},
    ],
)
def test_bad_input_settings(setting):
    with pytest.raises(ValidationError, match=next(iter(setting))):
        Correct(**setting)
