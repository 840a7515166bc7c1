import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from defuse.classifiers import (
    CallableClassifier,
    ClassifierSettings,
    TorchClassifier,
    build_network,
    load_classifier,
    load_weights,
    new_classifier,
    save_weights,
)

NAMES = ("a", "b", "c")
SHAPE = (16, 20, 1)
IMAGES = np.random.default_rng(0).integers(0, 256, size=(4, *SHAPE), dtype=np.uint8)


def network(seed=1):
    return build_network("cnn", 1, 3, 20, seed=seed)


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return states[0].keys() == states[1].keys() and all(
        torch.equal(states[0][key], states[1][key]) for key in states[0]
    )


def test_weights_round_trip(tmp_path):
    path = tmp_path / "new" / "w.safetensors"
    save_weights(path, network())
    other = network(seed=2)
    assert not same(other, network())
    load_weights(path, other)
    assert same(other, network())
    assert [file.name for file in path.parent.iterdir()] == ["w.safetensors"]
    save_weights(tmp_path / "again.safetensors", other)
    assert (tmp_path / "again.safetensors").read_bytes() == path.read_bytes()


def test_shared_weights_are_written_under_both_names(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
            self.two.weight = self.one.weight

    path = tmp_path / "tied.safetensors"
    module = Tied()
    save_weights(path, module)
    stored = load_file(path)
    assert torch.equal(stored["one.weight"], module.one.weight)
    assert torch.equal(stored["two.weight"], module.one.weight)
    other = Tied()
    load_weights(path, other)
    assert same(other, module)
    assert other.one.weight is other.two.weight


@pytest.mark.parametrize(
    "content",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model_state_dict": state, "loss": 0.1},
        lambda state: {f"module.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module.{key}": value for key, value in state.items()}},
    ],
    ids=["plain", "nested", "nested-too", "parallel", "nested-parallel"],
)
def test_state_dict_files(tmp_path, content):
    path = tmp_path / "w.pt"
    torch.save(content(network().state_dict()), path)
    other = network(seed=2)
    load_weights(path, other)
    assert same(other, network())


def test_a_prefix_that_the_network_has_itself_is_kept(tmp_path):
    class Outer(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = nn.Linear(2, 2)

    module, other = Outer(), Outer()
    save_file(module.state_dict(), tmp_path / "w.safetensors")
    load_weights(tmp_path / "w.safetensors", other)
    assert same(module, other)


def test_builtin_with_weights(tmp_path):
    save_weights(tmp_path / "w.safetensors", network())
    settings = ClassifierSettings(weights=tmp_path / "w.safetensors", mean=(0.5,), std=(0.2,))
    classifier = load_classifier(settings, NAMES, SHAPE)
    expected = TorchClassifier(network(), NAMES, mean=(0.5,), std=(0.2,))
    assert classifier.finetunable
    np.testing.assert_array_equal(classifier.predict_logits(IMAGES), expected.predict_logits(IMAGES))


def test_input_size_and_channels_shape_the_builtin_network(tmp_path):
    settings = ClassifierSettings(builtin="mixer", input_size=(32, 32), channels=3)
    fresh = new_classifier(settings, NAMES, SHAPE, seed=4)
    assert same(fresh.module, build_network("mixer", 3, 3, 32, seed=4))
    save_weights(tmp_path / "w.safetensors", fresh.module)
    settings = ClassifierSettings(builtin="mixer", input_size=(32, 32), channels=3, weights=tmp_path / "w.safetensors")
    loaded = load_classifier(settings, NAMES, SHAPE)
    np.testing.assert_array_equal(loaded.predict_logits(IMAGES), fresh.predict_logits(IMAGES))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with a user's module, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("their_model", None)


def write_module(folder, body):
    (folder / "their_model.py").write_text(
        "import numpy as np\nimport torch\nfrom torch import nn\n"
        "from defuse.classifiers import CallableClassifier, TorchClassifier\n" + body
    )


def test_factory_in_the_current_folder(folder):
    write_module(
        folder,
        "def make():\n    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 8, 3))\n",
    )
    path = list(sys.path)
    settings = ClassifierSettings(factory="their_model:make", input_size=(8, 8))
    classifier = load_classifier(settings, NAMES, SHAPE)
    assert sys.path == path
    assert isinstance(classifier, TorchClassifier)
    save_weights(folder / "w.safetensors", nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(8 * 8, 3)))
    settings = ClassifierSettings(factory="their_model:make", input_size=(8, 8), weights=folder / "w.safetensors")
    with_weights = load_classifier(settings, NAMES, SHAPE)
    assert torch.equal(with_weights.module[2].weight, load_file(folder / "w.safetensors")["2.weight"])
    assert not torch.equal(with_weights.module[2].weight, classifier.module[2].weight)
    assert classifier.module.training  # as the factory left it


def test_a_classifier_from_a_factory_is_used_as_it_is(folder):
    write_module(
        folder,
        "def box():\n    return CallableClassifier(lambda x: x[:, 0, :3, 0], ('a', 'b', 'c'))\n"
        "def torch_one():\n"
        "    return TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(320, 3)), ('a', 'b', 'c'), mean=[0.3])\n",
    )
    box = load_classifier(ClassifierSettings(factory="their_model:box"), NAMES, SHAPE)
    assert isinstance(box, CallableClassifier)
    np.testing.assert_array_equal(box.predict_logits(IMAGES), IMAGES[:, 0, :3, 0])
    other = load_classifier(ClassifierSettings(factory="their_model:torch_one"), NAMES, SHAPE)
    assert float(other.preprocess.mean) == pytest.approx(0.3)
