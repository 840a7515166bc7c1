import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.correct import Correct, measure, repair
from defuse.correct.blend import blend

NAMES = ("a", "b", "c")


def linear(seed):
    torch.manual_seed(seed)
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, affine=False), nn.Linear(64, 3))
    module[1].running_mean.uniform_()
    module[1].num_batches_tracked.fill_(seed)
    return TorchClassifier(module, NAMES)


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_linear_model_s_logits_lie_as_far_between_as_its_weights(share):
    given, tuned = linear(1), linear(2)
    tuned.module[1].load_state_dict(given.module[1].state_dict())
    before = [copy.deepcopy(model.module.state_dict()) for model in (given, tuned)]
    pixels = torch.rand(5, 1, 8, 8)
    found = blend(given, tuned, share).logits(pixels)
    torch.testing.assert_close(found, torch.lerp(given.logits(pixels), tuned.logits(pixels), share))
    for model, weights in zip((given, tuned), before, strict=True):
        assert all(torch.equal(value, weights[name]) for name, value in model.module.state_dict().items())


def test_counters_are_the_tuned_model_s():
    assert blend(linear(1), linear(2), 0.5).module[1].num_batches_tracked == 2


def test_weights_under_two_names_are_blended_once():
    given, tuned = linear(1), linear(2)
    for model in (given, tuned):
        model.module.alias = model.module[2]
    between = blend(given, tuned, 0.25).module
    assert between.alias is between[2]
    torch.testing.assert_close(between[2].weight, torch.lerp(given.module[2].weight, tuned.module[2].weight, 0.25))


def test_the_best_allowed_part_of_the_way_is_gone_and_the_control_goes_as_far(toy, monkeypatch):
    """The caps are made to break at the whole way."""
    settings = Correct(lambdas=(1.0,), keep_logits=(0.0,), steps=15, batch_size=64, region_batch_size=64)
    shares = {"max_accuracy_loss": 1.0, "max_accuracy_loss_bound": 1.0, "max_negative_flips": 1.0}
    whole = replace(settings, blends=(1.0,), **shares).run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=0)
    assert whole.repair.sweep[0].blend == 1.0
    answers = iter([True, True, False])
    monkeypatch.setattr(measure.Caps, "hold", lambda *_: next(answers))
    partly = replace(settings, blends=(1.0, 0.5, 0.25))
    corrected = partly.run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=0)
    assert (corrected.repair.chosen, corrected.repair.sweep[0].blend) == (1.0, 0.5)
    assert [(point.weight, point.blend) for point in corrected.repair.candidates] == [(1.0, 0.25), (1.0, 0.5), (1.0, 1)]
    assert corrected.reason == "repaired with lambda 1, 0.5 of the way from the given weights"
    for found, tuned in ((corrected.classifier, whole.classifier), (corrected.control, whole.control)):
        expected = blend(toy.classifier, tuned, 0.5).module.state_dict()
        for name, value in found.module.state_dict().items():
            torch.testing.assert_close(value, expected[name])


def test_where_no_share_holds_the_caps_the_least_is_recorded_and_nothing_repaired(toy, monkeypatch):
    monkeypatch.setattr(measure.Caps, "hold", lambda *_: False)
    settings = Correct(lambdas=(1.0,), keep_logits=(0.0,), steps=5, batch_size=64, region_batch_size=64)
    corrected = settings.run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=0)
    assert corrected.classifier is toy.classifier
    assert (corrected.repair.chosen, corrected.repair.sweep[0].blend) == (None, 0.125)


def test_a_tuned_model_without_finite_answers_is_recorded_at_the_shares_that_were_tried(toy, monkeypatch):
    broken = copy.deepcopy(toy.classifier.module)
    for value in broken.parameters():
        value.data.fill_(torch.nan)
    monkeypatch.setattr(repair, "fine_tune", lambda *_, **__: toy.classifier.with_module(copy.deepcopy(broken)))
    settings = Correct(
        lambdas=(1.0, 2.0), keep_logits=(0.0,), blends=(0.5, 0.25), steps=5, batch_size=64, region_batch_size=64
    )
    found = settings.run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=0).repair
    assert found.chosen is None
    assert [point.blend for point in found.candidates] == [0.25, 0.5] * 2
