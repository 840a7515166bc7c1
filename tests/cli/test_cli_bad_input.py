import numpy as np
import pytest
import torch
from bad_input import IMAGES, LABELS, MODELS, left
from safetensors.torch import load_file, save_file

from defuse.rundir import RunDir
from tiny_run import SETTINGS, write_data


@pytest.fixture
def refuse(defuse, tiny, tmp_path):
    """Run the tiny configuration with changes, expect one line, and nothing in the output folder."""
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")

    def run(*arguments, config=tiny.config, out=tmp_path / "out"):
        given = [] if config is None else [config]
        line = defuse("run", *given, "--out", out, *arguments, cwd=tmp_path).complaint
        assert left(out) == set()
        return line

    return run


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "my.yaml: not found"),
        ("a: [1", "my.yaml: not valid YAML"),
        ("- a\n- b\n", "my.yaml: expected keys and values, got list"),
        ("", "my.yaml: expected keys and values, got NoneType"),
        ("data: {source: x.npz}\ngenrator: {}\n", "my.yaml: unknown key genrator; did you mean generator?"),
        (
            "data: {source: x.npz}\nidentify: {budgte: 3}\n",
            "unknown key identify.budgte; did you mean identify.budget?",
        ),
        ("data: {source: x.npz}\nidentify: {budget: many}\n", "my.yaml: identify.budget: "),
        ("data: {source: x.npz}\nidentify:\n", "my.yaml: identify: "),
        (
            "data: {source: x.npz}\npreset: papre\n",
            "my.yaml: preset: Input should be 'default' or 'paper', got 'papre'",
        ),
        ("seed: 3\n", "my.yaml: data is missing"),
        ("data: {source: nowhere.npz}\n", "nowhere.npz: not found"),
        ("data: {source: ''}\n", "cannot read"),
    ],
)
def test_bad_input_configuration(refuse, tmp_path, text, expected):
    path = tmp_path / "my.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    assert expected in refuse(config=path)


def test_bad_input_configuration_that_is_no_text(refuse, tmp_path):
    (tmp_path / "my.yaml").write_bytes(b"\xff\xfe\x00\x80")
    assert "my.yaml: cannot be read" in refuse(config=tmp_path / "my.yaml")
    assert f"{tmp_path}: cannot be read" in refuse(config=tmp_path)


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("identify.budget", "--set identify.budget: expected key=value"),
        ("=3", "--set =3: expected key=value"),
        ("seed=[1", "--set seed=[1: the value is not valid YAML"),
        ("identify.budgte=3", "did you mean identify.budget?"),
        ("identify.budget=-3", "identify.budget: Input should be greater than 0, got -3"),
        ("judges.gate=[cnm]", "judges.gate.0: no built-in network is called 'cnm'"),
        ("identify.gates=[{kind: keeps_label, treshold: 1}]", "did you mean identify.gates.0.threshold?"),
        ("classifier.builtin=cnm", "no built-in network is called 'cnm'; did you mean 'cnn'?"),
        ("data.split.limit=2", "data.split.limit: expected at least one image a class (3), got 2"),
    ],
)
def test_bad_input_setting(refuse, setting, expected):
    assert expected in refuse("--set", setting)


def test_bad_input_preset_and_seed(refuse):
    assert "preset: Input should be 'default' or 'paper', got 'paepr'" in refuse("--preset", "paepr")
    assert "seed: Input should be greater than or equal to 0, got -1" in refuse("--seed", "-1")


@pytest.mark.parametrize(
    ("focus", "expected"),
    [
        ("cross", "expected LABEL:ANSWER, two classes with a colon between, got 'cross'"),
        ("cross:uprght", "unknown class 'uprght'; did you mean 'upright'?"),
        ("2:5", "unknown class '5'; use one of the 3 class names, or 0 to 2 (in '2:5')"),
        ("cross:2", "expected two different classes, got 'cross:2'"),
        ("", "expected LABEL:ANSWER"),
    ],
)
def test_bad_input_focus(refuse, focus, expected):
    assert refuse("--focus", focus).startswith(f"defuse: identify.focus: {expected}")
    assert refuse("--focus", focus, "--dry-run").startswith(f"defuse: identify.focus: {expected}")


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, "not found"),
        ("0,1\n1,0\n", "expected 3 x 3 costs"),
        ("0,1,1\n1,0,-2\n1,1,0\n", "got -2 for 'upright' read as 'cross'"),
        ("0,1,1\n1,0,nan\n1,1,0\n", "got nan for 'upright' read as 'cross'"),
        ("1,1,1\n1,0,1\n1,1,0\n", "expected 0 for every right answer (the diagonal), got 1 for '<b>flat</b>'"),
        ("0,1,1\n1,0,lots\n1,1,0\n", "line 2, column 3: expected a number, got 'lots'"),
        (",<b>flat</b>,upright,crss\n", "line 1: unknown class 'crss'; did you mean 'cross'?"),
    ],
)
def test_bad_input_costs(refuse, tmp_path, table, expected):
    path = tmp_path / "costs.csv"
    if table is not None:
        path.write_text(table, encoding="utf-8")
    for more in ([], ["--dry-run"]):
        line = refuse("--set", f"cost.matrix={path}", *more)
        assert line.startswith(f"defuse: {path}: ")
        assert expected in line
    assert "cost.pairs: unknown class 'crss'" in refuse("--set", "cost.pairs={crss:upright: 2}")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"train_images": None}, "train_images is missing"),
        ({"train_images": None, "train_labels": None}, "expected the keys train_images and train_labels"),
        ({"train_images": np.array([IMAGES[0], None], dtype=object)}, "train_images is an object array"),
        ({"train_labels": LABELS.astype(float), "train_images": IMAGES}, "train_labels: expected labels as integers"),
        ({"train_labels": LABELS[1:], "train_images": IMAGES}, "train_labels: expected one label an image"),
        ({"train_labels": LABELS - 1, "train_images": IMAGES}, "train_labels: expected class indices from 0, got -1"),
        ({"train_labels": LABELS + 1, "train_images": IMAGES}, "label 3 in the train split, but only 3 class names"),
        ({"train_labels": LABELS // 2 * 2, "train_images": IMAGES}, "class 1 (upright) has no training image"),
        ({"train_labels": LABELS, "train_images": IMAGES / np.nan}, "train_images: holds NaN"),
        ({"train_labels": LABELS, "train_images": IMAGES * 1.0}, "train_images: expected floats in [0, 1]"),
        ({"train_labels": LABELS, "train_images": IMAGES.astype(int)}, "train_images: expected images as uint8"),
        ({"train_labels": LABELS[:0], "train_images": IMAGES[:0]}, "train_images: expected at least one image"),
        ({"test_images": IMAGES[:, 1:], "test_labels": LABELS}, "test images are 15 x 16 x 1"),
    ],
)
def test_bad_input_data(refuse, tmp_path, changes, expected):
    data = write_data(tmp_path / "data.npz", **changes)
    line = refuse("--set", f"data.source={data}")
    assert line.startswith(f"defuse: {data}: ")
    assert expected in line


@pytest.mark.parametrize(
    ("name", "expected"), [("data.npz", "is no .npz file"), ("data.csv", "cannot read a file that ends in '.csv'")]
)
def test_bad_input_data_of_another_kind(refuse, tmp_path, name, expected):
    data = tmp_path / name
    data.write_bytes(b"a,b\n1,2\n")
    line = refuse("--set", f"data.source={data}")
    assert str(data) in line
    assert expected in line


def test_bad_input_data_cut_short(refuse, tiny, tmp_path):
    data = tmp_path / "data.npz"
    data.write_bytes(tiny.data.read_bytes()[:-40_000])
    assert f"{data}: " in refuse("--set", f"data.source={data}")


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        ("models", "expected module:function, got 'models'"),
        ("modles:fits", "module 'modles' does not import (ModuleNotFoundError"),
        ("models:fit", "module 'models' has no 'fit'; did you mean 'fits'?"),
        ("models:no_module", "must return a torch.nn.Module or a defuse Classifier, got str"),
        ("models:fails", "models:fails failed (OSError: first line)"),
        (
            "models:wrong_width",
            "models:wrong_width: classifier: expected logits of shape (2, 3) (3 classes), got (2, 7)",
        ),
        ("models:not_a_number", "models:not_a_number: classifier: logits hold NaN"),
    ],
)
def test_bad_input_factory(refuse, factory, expected):
    line = refuse("--set", f"classifier.factory={factory}")
    assert line.startswith("defuse: classifier.factory: ")
    assert expected in line


def test_bad_input_factory_with_a_syntax_error(refuse, tmp_path):
    (tmp_path / "broken.py").write_text("def build(:\n", encoding="utf-8")
    assert "module 'broken' does not import (SyntaxError" in refuse("--set", "classifier.factory=broken:build")


class Code:
    def __reduce__(self):
        return print, ("this must never be seen",)


def test_bad_input_weights(refuse, defuse, finished, tmp_path):
    def complaint(name):
        line = refuse("--set", f"classifier.weights={tmp_path / name}")
        assert line.startswith(f"defuse: {tmp_path / name}: ")
        return line

    assert "weights not found" in complaint("nowhere.pt")
    save_file({"scale": torch.ones(3), "more": torch.ones(1)}, tmp_path / "other.safetensors")
    assert "do not fit the network: missing: 0.0.weight, " in complaint("other.safetensors")
    weights = load_file(RunDir(finished.folder).classifier)
    last = list(weights)[-1]
    shape = tuple(weights[last].shape)
    save_file({**weights, last: torch.ones(7)}, tmp_path / "wide.safetensors")
    assert f"wrong shape: {last} is (7,), expected {shape}" in complaint("wide.safetensors")
    torch.save({"model": Code()}, tmp_path / "code.pt")
    assert "could run code, so it was refused" in complaint("code.pt")
    (tmp_path / "cut.safetensors").write_bytes(RunDir(finished.folder).classifier.read_bytes()[:1000])
    assert "no readable safetensors file" in complaint("cut.safetensors")
    (tmp_path / "text.pt").write_text("hello", encoding="utf-8")
    assert "text.pt: no" in complaint("text.pt")
    assert "this must never be seen" not in defuse("check", tmp_path, "--weights", tmp_path / "code.pt").out


def test_bad_input_from_every_key_of_the_tiny_configuration(refuse):
    """Each section refuses a key that it does not know, and says where."""
    for section in [*SETTINGS.keys() - {"seed"}, "data"]:
        assert f"unknown key {section}.zzz" in refuse("--set", f"{section}.zzz=1")
