import copy

import pytest
import torch
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.correct import Correct
from defuse.correct.layers import trained_weights


class Nested(nn.Module):
    """Its own parameter is defined first; the head is the last submodule, below an activation without weights."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.head = nn.Sequential(nn.ReLU(), nn.Linear(3, 2), nn.Identity())


def names_of(module, weights):
    return [name for name, value in module.named_parameters() if any(value is each for each in weights)]


def test_the_last_layer_is_the_last_submodule_with_weights_that_may_be_trained():
    module = Nested()
    assert names_of(module, trained_weights(module, "last")) == ["head.1.weight", "head.1.bias"]
    assert len(trained_weights(module, "all")) == len(list(module.parameters()))
    module.head.requires_grad_(requires_grad=False)
    assert names_of(module, trained_weights(module, "last")) == ["body.2.weight", "body.2.bias"]
    module.requires_grad_(requires_grad=False)
    assert trained_weights(module, "last") == trained_weights(module, "all") == []


@pytest.mark.parametrize(("layers", "changed"), [("last", {"5.weight", "5.bias"}), ("all", None)])
def test_nothing_but_the_trained_weights_changes_in_repair_and_control(toy, layers, changed):
    caps = {"max_accuracy_loss": 1.0, "max_accuracy_loss_bound": 1.0, "max_negative_flips": 1.0}
    settings = Correct(lambdas=(1.0,), steps=4, batch_size=32, region_batch_size=32, layers=layers, **caps)
    given = copy.deepcopy(toy.classifier.module.state_dict())
    corrected = settings.run(toy.classifier, toy.splits, toy.regions, toy.labels, seed=0)
    for model in (corrected.classifier, corrected.control):
        assert isinstance(model, TorchClassifier)
        found = {name for name, value in model.module.state_dict().items() if not torch.equal(value, given[name])}
        assert found == (changed or {name for name, _ in toy.classifier.module.named_parameters()})
