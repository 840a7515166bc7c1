"""What a folder's manifest holds against a run that would go on in it: settings, and what they only name."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from defuse.classifiers import CallableClassifier, TorchClassifier
from defuse.data import open_source, split
from defuse.errors import RunError
from defuse.pipeline import Run
from defuse.redo import remade
from defuse.rundir import RunDir
from defuse.seeds import derive
from defuse.summary import summarise
from defuse.workspace import classifier_fingerprint, data_fingerprint, fingerprints, stored_config
from tiny_run import NAMES


def test_a_setting_that_came_later_is_at_its_default(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    manifest = json.loads(RunDir(out).manifest.read_text(encoding="utf-8"))
    assert manifest["config"]["judges"].pop("margin") == tiny.build().judges.margin
    RunDir(out).manifest.write_text(json.dumps(manifest), encoding="utf-8")
    with Run(stored_config(RunDir(out)), out) as run:
        assert len(run.regions.reported) > 0
    told = "holds a run with config.judges.margin = 0.035, not 0.5"
    with pytest.raises(RunError, match=told), Run(tiny.build("judges.margin=0.5"), out):
        pass


def test_the_split_is_the_seed_s(tiny, splits):
    source = open_source(tiny.data).read()
    config = tiny.build()
    again = split(source, config.data.split, seed=derive(3, "split"))
    assert data_fingerprint(again) == data_fingerprint(splits)


def test_fingerprints_tell_data_and_weights_apart(splits, given):
    renamed = replace(splits, reference=replace(splits.reference, class_names=("a", "b", "c")))
    turned = splits.test.images.copy()
    turned[0, 0, 0, 0] ^= 1
    touched = replace(splits, test=replace(splits.test, images=turned))
    grouped = replace(splits, validation_groups=np.arange(len(splits.validation)))
    assert len({data_fingerprint(each) for each in (splits, renamed, touched, grouped)}) == 4
    with pytest.raises(ValueError, match=r"validation_groups: expected one for each of \d+ images, got 1"):
        replace(splits, validation_groups=np.zeros(1, dtype=np.int64))
    images = splits.validation.images
    marks = [classifier_fingerprint(each, images) for each in (given, None)]
    prepared = TorchClassifier(given.module, NAMES, mean=[0.5], std=[0.2])
    marks.append(classifier_fingerprint(prepared, images))
    with torch.no_grad():
        next(iter(given.module.parameters())).mul_(2)
    marks.append(classifier_fingerprint(given, images))
    for answer in (0, 1):  # black boxes are told apart by what they say
        said = np.eye(3, dtype=np.float32)[answer]
        box = CallableClassifier(lambda each, said=said: np.tile(said, (len(each), 1)), NAMES)
        marks += [classifier_fingerprint(box, images)]
    assert len(set(marks)) == 6
    ordered = images[np.argsort(splits.validation.labels, kind="stable")].repeat(20, axis=0)  # as folders give them
    rows = {image.tobytes(): row for row, image in enumerate(ordered)}
    last = [
        CallableClassifier(
            lambda each, wrong=wrong: np.stack(
                [[1.0, 0.0, wrong * (rows[image.tobytes()] > 0.9 * len(ordered)) * 2.0] for image in each]
            ),
            NAMES,
        )
        for wrong in (0, 1)
    ]
    assert len({classifier_fingerprint(box, ordered) for box in last}) == 2


def test_a_judge_of_the_user_s_own_belongs_to_the_run(tiny, splits, tmp_path, monkeypatch):
    """The manifest names the same factory; what it returns has changed."""
    code = "import numpy as np\nfrom defuse.classifiers import CallableClassifier\n"
    code += "def judge():\n    return CallableClassifier(lambda x: np.eye(3)[np.full(len(x), {})], {!r})\n"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "first_judge.py").write_text(code.format(0, NAMES))
    (tmp_path / "other_judge.py").write_text(code.format(1, NAMES))
    costs = np.zeros((3, 3))
    first, other = (
        fingerprints(tiny.build(f"judges.own.factory={name}:judge"), splits, None, costs)
        for name in ("first_judge", "other_judge")
    )
    assert first.pop("judge") != other.pop("judge")
    assert first == other == fingerprints(tiny.build(), splits, None, costs)
    assert remade("judge") == remade("config.judges.own")


def test_a_folder_knows_its_configuration(finished, tiny):
    assert stored_config(RunDir(finished.folder)) == tiny.build()


def test_a_folder_from_before_costs_and_focus_goes_on(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["config"].pop("cost") == {"matrix": None, "pairs": {}}
    assert manifest["config"]["identify"].pop("focus") is None
    assert "costs" not in manifest
    (out / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    with Run(tiny.build(), out) as run:
        assert summarise(run).search == finished.results.summary.search
