import numpy as np
import pytest
import torch
from torch import nn

import defuse
from defuse.classifiers import CallableClassifier, TorchClassifier
from defuse.correct import check, load_suite
from defuse.errors import ClassifierError, ConfigError, RunError
from defuse.inputs import read_splits
from tiny_run import NAMES, SETTINGS, files


class Brightness(nn.Module):
    """Reads class 0 where the upper half is brighter than the lower; a poor classifier, but one with weights."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(4, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[9.0, 0, -9, 0], [0, 9, 0, -9], [1, 1, 1, 1]]))
            self.head.bias.zero_()

    def forward(self, x):
        upper, lower = x[:, :, :8].mean((1, 2, 3)), x[:, :, 8:].mean((1, 2, 3))
        left, right = x[..., :8].mean((1, 2, 3)), x[..., 8:].mean((1, 2, 3))
        return self.head(torch.stack([upper, left, lower, right], dim=1))


@pytest.fixture(scope="module")
def splits(tiny):
    return read_splits(tiny.build())


def test_debug_a_module(splits, tmp_path):
    settings = {key: value for key, value in SETTINGS.items() if key not in ("seed", "classifier")}
    told = []
    results = defuse.debug(
        Brightness(),
        splits,
        tmp_path / "out",
        seed=3,
        settings=settings,
        progress=lambda task, done, total, note="": told.append((task, done <= total, note)),
    )
    summary = results.summary
    assert (summary.source, summary.seed) == ("in memory", 3)
    assert not (tmp_path / "out" / "classifier.safetensors").exists()
    assert "Brightness" in results.report.read_text(encoding="utf-8")
    assert summary.repair is not None
    assert summary.regions
    assert told
    assert all(within for _, within, _ in told)
    again = defuse.debug(Brightness(), splits, tmp_path / "out", seed=3, settings=settings)
    assert again.summary.model_dump(exclude={"seconds"}) == summary.model_dump(exclude={"seconds"})
    other = Brightness()
    with torch.no_grad():
        other.head.bias.add_(1)
    with pytest.raises(RunError, match="holds a run with classifier = "):
        defuse.debug(other, splits, tmp_path / "out", seed=3, settings=settings)


def test_debug_a_black_box(tiny, tmp_path):
    def answer(images):
        assert images.dtype == np.uint8
        halves = images.reshape(len(images), 2, 8, 16).mean((2, 3))
        return np.stack([halves[:, 0], halves[:, 1], np.full(len(images), 60.0)], axis=1)

    settings = {key: value for key, value in SETTINGS.items() if key not in ("seed", "classifier")}
    results = defuse.debug(answer, tiny.data, tmp_path / "out", settings=settings)
    assert results.summary.repair is None
    assert results.summary.repair_outcome.startswith(
        "not repaired: the classifier gives no access to trainable weights;"
    )
    assert results.summary.regions
    assert results.summary.suite_cases > 0
    assert "no access to trainable weights" in results.report.read_text(encoding="utf-8")
    suite = load_suite(tmp_path / "out" / "suite")
    assert not all(case.passed for case in check(suite, CallableClassifier(answer, NAMES)))
    assert not (tmp_path / "out" / "repair").exists()


def test_debug_refuses_early(splits, tmp_path):
    """What does not fit is told before anything is trained or written."""
    for classifier in (nn.Sequential(nn.Flatten(), nn.Linear(256, 7)), lambda images: np.zeros((len(images), 7))):
        with pytest.raises(ClassifierError, match=r"expected logits of shape \(2, 3\)"):
            defuse.debug(classifier, splits, tmp_path / "out")
    with pytest.raises(ConfigError, match=r"settings: unknown key identify\.budgte; did you mean identify\.budget"):
        defuse.debug(Brightness(), splits, tmp_path / "out", settings={"identify": {"budgte": 1}})
    with pytest.raises(ConfigError, match="preset: Input should be 'default' or 'paper'"):
        defuse.debug(Brightness(), splits, tmp_path / "out", preset="papre")
    for wrong in ({"cost": {"pairs": {"0:7": 2}}}, {"identify": {"focus": "0:7"}}):
        with pytest.raises(ConfigError, match="unknown class '7'; use one of the 3 class names, or 0 to 2"):
            defuse.debug(Brightness(), splits, tmp_path / "out", settings=wrong)
    with pytest.raises(ClassifierError, match="class 0 is 'a', the data's is '<b>flat</b>'"):
        defuse.debug(TorchClassifier(Brightness(), ("a", "b", "c")), splits, tmp_path / "out")
    with pytest.raises(ClassifierError, match=r"fails on images of height 16, width 16 and 1 channels"):
        defuse.debug(nn.Sequential(nn.Conv2d(3, 3, 16), nn.Flatten()), splits, tmp_path / "out")
    assert files(tmp_path) == {"out/.lock"}


def test_debug_refuses_a_folder_that_is_not_a_run_s_and_leaves_nothing_there(splits, tmp_path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(RunError, match="not empty and not a run's folder"):
        defuse.debug(Brightness(), splits, tmp_path)
    assert files(tmp_path) == {"photo.png"}


def test_debug_a_frozen_module_is_a_diagnosis(splits, tmp_path):
    settings = {key: value for key, value in SETTINGS.items() if key not in ("seed", "classifier")}
    frozen = Brightness().requires_grad_(requires_grad=False)
    results = defuse.debug(frozen, splits, tmp_path / "out", seed=3, settings=settings)
    assert results.summary.repair_outcome.startswith(
        "not repaired: the classifier gives no access to trainable weights;"
    )
    assert results.summary.suite_cases > 0
    assert results.report.exists()
