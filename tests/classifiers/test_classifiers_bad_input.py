"""Every bad input: one line that names the file or key, says what came, and what to do."""

import os
import pickle
import re
import sys
import zipfile

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn

from defuse.classifiers import (
    CallableClassifier,
    ClassifierSettings,
    TorchClassifier,
    Training,
    build_network,
    load_classifier,
    load_weights,
    new_classifier,
    save_weights,
)
from defuse.errors import ClassifierError, RunError

NAMES = ("a", "b", "c")
SHAPE = (16, 16, 1)

MODULE = """
import torch
from torch import nn
from defuse.classifiers import CallableClassifier

def make_model(): return nn.Sequential(nn.Flatten(), nn.Linear(256, 3))
def wide(): return nn.Sequential(nn.Flatten(), nn.Linear(256, 7))
def rank(): return nn.Conv2d(1, 3, 3)
def colour(): return nn.Sequential(nn.Conv2d(3, 3, 16), nn.Flatten())
def number(): return 7
def nothing(): pass
def needs(argument): return nn.Flatten()
def fails(): raise RuntimeError("no licence\\nfor this model")
def leaves(): raise SystemExit(3)
def nan():
    module = make_model()
    nn.init.constant_(module[1].bias, float("nan"))
    return module
class Pair(nn.Module):
    def forward(self, x): return x, x
def box(): return CallableClassifier(lambda x: x[:, 0, :3, 0], ("a", "b", "c"))
def box_of_two(): return CallableClassifier(lambda x: x[:, 0, :2, 0], ("a", "b"))
def box_of_words(): return CallableClassifier(lambda x: ["stop"] * len(x), ("a", "b", "c"))
constant = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A current folder with users' modules, forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "bad_models.py").write_text(MODULE)
    (tmp_path / "bad_broken.py").write_text("import nowhere_to_be_found\n")
    (tmp_path / "bad_syntax.py").write_text("def f(:\n")
    (tmp_path / "bad_script.py").write_text("raise SystemExit('usage: ...')\n")
    yield tmp_path
    for name in ("bad_models", "bad_broken", "bad_syntax", "bad_script"):
        sys.modules.pop(name, None)


def refused(call, *patterns):
    with pytest.raises(ClassifierError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    for pattern in patterns:
        assert re.search(pattern, message), message


@pytest.mark.parametrize(
    ("factory", "patterns"),
    [
        ("bad_models.make_model", ["expected module:function, got 'bad_models.make_model'"]),
        (":make_model", ["expected module:function"]),
        ("bad_models:", ["expected module:function"]),
        ("no_such_module:f", ["'no_such_module' does not import", "ModuleNotFoundError"]),
        ("../x:f", ["does not import"]),
        ("bad_broken:f", ["'bad_broken' does not import", "nowhere_to_be_found"]),
        ("bad_syntax:f", ["SyntaxError"]),
        ("bad_script:f", ["SystemExit: usage"]),
        ("bad_models:make_modle", ["no 'make_modle'", "did you mean 'make_model'"]),
        ("bad_models:xyzzy", ["has no 'xyzzy'$"]),
        ("bad_models:constant", ["is a int, expected a function"]),
        ("bad_models:number", ["must return a torch.nn.Module or a defuse Classifier, got int"]),
        ("bad_models:nothing", ["got NoneType"]),
        ("bad_models:needs", ["failed", "missing 1 required", "called without arguments"]),
        ("bad_models:fails", [r"failed \(RuntimeError: no licence\)"]),
        ("bad_models:leaves", ["failed", "SystemExit"]),
        ("bad_models:wide", [r"shape \(2, 3\) \(3 classes\), got \(2, 7\)", "number of classes"]),
        ("bad_models:rank", [r"got \(2, 3, 14, 14\)"]),
        ("bad_models:nan", ["NaN"]),
        ("bad_models:Pair", ["expected the module to return a tensor of logits, got tuple"]),
        ("bad_models:colour", ["height 16, width 16 and 1 channels", "classifier.channels"]),
        ("bad_models:box_of_two", ["has 2 classes, the data 3"]),
        ("bad_models:box_of_words", ["expected the function to return numbers"]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_bad_input_factory(factory, patterns):
    path = list(sys.path)
    settings = ClassifierSettings(factory=factory)
    refused(lambda: load_classifier(settings, NAMES, SHAPE), "^classifier.factory: ", *patterns)
    assert sys.path == path


def test_bad_input_classifier_from_factory_with_other_settings(folder):
    box = "bad_models:box"
    refused(lambda: load_classifier(ClassifierSettings(factory=box, channels=3), NAMES, SHAPE), "remove input_size")
    weights = ClassifierSettings(factory=box, weights=folder / "w.safetensors")
    refused(lambda: load_classifier(weights, NAMES, SHAPE), "^classifier.weights: ", "CallableClassifier", "remove")
    refused(lambda: new_classifier(ClassifierSettings(factory=box), NAMES, SHAPE, seed=0), "cannot be trained")


def test_bad_input_no_classifier_at_all():
    refused(
        lambda: load_classifier(ClassifierSettings(), NAMES, SHAPE), "^classifier.weights: .*'cnn' has none", "train"
    )
    settings = ClassifierSettings(builtin=None)
    refused(lambda: new_classifier(settings, NAMES, SHAPE, seed=0), "neither builtin nor factory")
    refused(lambda: new_classifier(ClassifierSettings(builtin="cnn-wyde"), NAMES, SHAPE, seed=0), "mean 'cnn-wide'")
    refused(lambda: build_network("vgg", 1, 3, 16), "'vgg'; choose one of cnn, ")


def network():
    return build_network("cnn", 1, 3, 16, seed=1)


class Payload:
    """Unpickled, it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_bad_input_pickle_with_code_is_refused_and_not_run(tmp_path):
    target, weights = tmp_path / "run", tmp_path / "evil.pt"
    torch.save({"0.0.weight": torch.ones(2), "extra": Payload(target)}, weights)
    refused(lambda: load_weights(weights, network()), "evil.pt: .*could run code", "refused")
    assert not target.exists()
    torch.save(network(), weights)
    refused(lambda: load_weights(weights, network()), "could run code", "state_dict")
    plain = tmp_path / "plain.pkl"
    plain.write_bytes(pickle.dumps(Payload(target)))
    refused(lambda: load_weights(plain, network()), "plain.pkl: ")
    assert not target.exists()
    pickle.loads(plain.read_bytes())  # noqa: S301  shows that the payload works where it is not refused
    assert target.exists()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", bytes(range(256)) * 8, b"{}", b"PK\x03\x04junk"])
def test_bad_input_unreadable_weights(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    refused(lambda: load_weights(path, network()), f"^{path}: no ")


def test_bad_input_cut_short_weights(tmp_path):
    for name, write in (("w.safetensors", lambda p: save_weights(p, network())), ("w.pt", save_torch)):
        path = tmp_path / name
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 2 // 3])
        refused(lambda path=path: load_weights(path, network()), f"^{path}: no ")


def save_torch(path):
    torch.save(network().state_dict(), path)


def test_bad_input_missing_weights(tmp_path):
    for name in ("none.safetensors", "none.pt"):
        settings = ClassifierSettings(weights=tmp_path / name)
        refused(lambda settings=settings: load_classifier(settings, NAMES, SHAPE), f"{name}: weights not found")
        (tmp_path / name).mkdir()
        refused(lambda name=name: load_weights(tmp_path / name, network()), f"{name}: weights cannot be read")


def test_bad_input_other_content(tmp_path):
    path = tmp_path / "w.pt"
    for content in ([1, 2], {"epoch": 3}, {"state_dict": {"a": "b"}}, {}, torch.ones(3)):
        torch.save(content, path)
        refused(lambda: load_weights(path, network()), "w.pt: expected a state_dict")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hello.txt", "hello")
    refused(lambda: load_weights(path, network()), "w.pt: no readable torch file")


def test_bad_input_weights_that_do_not_fit(tmp_path):
    path = tmp_path / "w.safetensors"
    state = {key: value.contiguous() for key, value in network().state_dict().items()}
    del state["0.0.weight"]
    state["9.weight"] = torch.ones(3)
    state["7.bias"] = torch.ones(43)
    save_file(state, path)
    other = build_network("cnn", 1, 3, 16, seed=2)
    before = {key: value.clone() for key, value in other.state_dict().items()}
    refused(
        lambda: load_weights(path, other),
        f"^{path}: the weights do not fit",
        "missing: 0.0.weight; unexpected: 9.weight; wrong shape: 7.bias is ",
    )
    assert all(torch.equal(value, before[key]) for key, value in other.state_dict().items())
    save_weights(path, build_network("mixer", 1, 3, 16))
    refused(lambda: load_weights(path, network()), r"missing: (\S+, ){2}\S+ and \d+ more; unexpected: ")


def test_bad_input_nan_weights_are_found_by_the_probe(tmp_path):
    module = network()
    nn.init.constant_(module[-1].bias, float("nan"))
    save_weights(tmp_path / "w.safetensors", module)
    settings = ClassifierSettings(weights=tmp_path / "w.safetensors")
    refused(lambda: load_classifier(settings, NAMES, SHAPE), "^classifier.builtin: cnn: .*NaN")


def test_bad_input_weights_that_cannot_be_stored(tmp_path):
    class Extra(nn.Linear):
        def get_extra_state(self):
            return "a string"

        def set_extra_state(self, state):
            del state

    refused(lambda: save_weights(tmp_path / "w.safetensors", Extra(2, 2)), "_extra_state")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"):
        save_weights(tmp_path / "file" / "w.safetensors", network())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("arguments", "pattern"),
    [
        ({"input_size": (0, 3)}, "input_size: expected two positive numbers"),
        ({"channels": 2}, "channels: expected 1 or 3, got 2"),
        ({"mean": (0.1, 0.2)}, "mean: expected 1 or 3 finite numbers"),
        ({"mean": (0.1, 0.2, 0.3), "channels": 1}, "mean: expected 1"),
        ({"mean": (float("nan"),)}, "mean: expected"),
        ({"std": (0.1, 0.0, 0.1)}, "std: expected positive"),
    ],
)
def test_bad_input_preprocessing(arguments, pattern):
    refused(lambda: TorchClassifier(nn.Flatten(), NAMES, **arguments), pattern)


def test_bad_input_three_means_for_grey_images():
    classifier = TorchClassifier(nn.Flatten(), NAMES, mean=(0.1, 0.2, 0.3))
    refused(lambda: classifier.logits(torch.zeros(1, 1, 4, 4)), "mean: expected 1 or 1 values", "channels")


@pytest.mark.parametrize(
    ("answer", "pattern"),
    [
        (np.zeros((2, 4)), r"got \(2, 4\)"),
        (np.zeros(2), r"got \(2,\)"),
        (np.full((2, 3), np.inf), "NaN or infinity"),
        (None, r"got \(\)"),
        ("stop", "expected the function to return numbers"),
        ([[1, 2, 3], [1, 2]], "expected the function to return numbers"),
    ],
)
def test_bad_input_black_box(answer, pattern):
    refused(lambda: CallableClassifier(lambda _: answer, NAMES).logits(torch.zeros(2, 1, 4, 4)), pattern)


@pytest.mark.parametrize("row", [[0.5, 0.5, 0.5], [1.5, -0.5, 0.0]])
def test_bad_input_black_box_without_probabilities(row):
    box = CallableClassifier(lambda _: np.array([row]), NAMES, outputs="probabilities")
    refused(lambda: box.logits(torch.zeros(1, 1, 4, 4)), "expected probabilities", "outputs='logits'")


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"weight_decay": -1.0},
        {"augment": "flip"},
        {"label_smoothing": 1.0},
        {"epoch": 3},
    ],
)
def test_bad_input_training_settings(settings):
    with pytest.raises(ValidationError):
        Training(**settings)
