import copy
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from defuse.correct import Corrected, load_corrected, load_repair, save_corrected, save_repair
from defuse.errors import ClassifierError, RunError
from defuse.outcomes import Flips, RegionScore, Repair, Scores, SweepPoint
from defuse.records import Rate

REGIONS = (RegionScore("r001", Rate(3, 50)), RegionScore("r002", Rate(0, 0)))
SCORES = Scores(Rate(98, 100), Rate(97, 100), REGIONS, (Rate(5, 9),), 0.125)
REPAIR = Repair(
    chosen=0.3,
    steps=400,
    sweep=(
        SweepPoint(0.3, Rate(98, 100), Rate(3, 50), allowed=True),
        SweepPoint(1.0, Rate(0, 0), Rate(0, 0), allowed=False),
    ),
    before=SCORES,
    after=SCORES,
    control=SCORES,
    negative_flips=Rate(1, 100),
    flips=Flips(4, 1),
    control_flips=Flips(2, 2),
)


def noisy(classifier, seed):
    """Return a copy with other weights."""
    rng = torch.Generator().manual_seed(seed)
    other = classifier.with_module(copy.deepcopy(classifier.module))
    for value in other.module.state_dict().values():
        if value.is_floating_point():
            value.add_(torch.rand(value.shape, generator=rng))
    return other


def state(classifier):
    return {name: value.clone() for name, value in classifier.module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("repair", [REPAIR, replace(REPAIR, chosen=None), None])
def test_record_round_trip(tmp_path, repair):
    save_repair(tmp_path / "repair.json", repair)
    assert load_repair(tmp_path / "repair.json") == repair


def test_weights_round_trip(tmp_path, toy):
    tuned, control, before = noisy(toy.classifier, 0), noisy(toy.classifier, 1), state(toy.classifier)
    record, weights = tmp_path / "repair.json", tmp_path / "repaired.safetensors"
    save_corrected(record, weights, Corrected(REPAIR, tuned, "repaired with lambda 0.3", control))
    loaded = load_corrected(record, weights, toy.classifier)
    assert (loaded.repair, loaded.reason) == (REPAIR, "repaired with lambda 0.3")
    assert same(state(loaded.classifier), state(tuned))
    assert same(state(loaded.control), state(control))
    assert same(state(toy.classifier), before), "the given model is unchanged"
    np.testing.assert_array_equal(
        loaded.classifier.predict_logits(toy.splits.test.images), tuned.predict_logits(toy.splits.test.images)
    )


@pytest.mark.parametrize("repair", [None, replace(REPAIR, chosen=None)])
def test_unrepaired_model_leaves_no_weights(tmp_path, toy, repair):
    record, weights = tmp_path / "repair.json", tmp_path / "repaired.safetensors"
    for path in (weights, tmp_path / "control.safetensors"):
        path.write_bytes(b"of an earlier run")
    save_corrected(record, weights, Corrected(repair, toy.classifier, "why"))
    assert [path.name for path in tmp_path.iterdir()] == ["repair.json"]
    assert load_corrected(record, weights, toy.classifier) == Corrected(repair, toy.classifier, "why")


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda c: c.update(version=0), "layout 1"),
        (lambda c: c.pop("reason"), "layout 1"),
        (lambda c: c["repair"].pop("control"), "control"),
        (lambda c: c["repair"]["before"]["test"].update(trials="many"), "before.test.trials"),
    ],
)
def test_bad_input_damaged_record(tmp_path, change, where):
    path = tmp_path / "repair.json"
    save_repair(path, REPAIR)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(RunError, match=where) as raised:
        load_repair(path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_bad_input_missing_record_or_weights(tmp_path, toy):
    record, weights = tmp_path / "repair.json", tmp_path / "repaired.safetensors"
    with pytest.raises(RunError, match=r"repair\.json"):
        load_corrected(record, weights, toy.classifier)
    save_repair(record, REPAIR)
    with pytest.raises(ClassifierError, match=r"repaired\.safetensors"):
        load_corrected(record, weights, toy.classifier)
