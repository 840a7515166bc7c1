import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from defuse.rundir import RunDir
from tiny_run import SETTINGS, draw, write_data

IMAGES, LABELS = draw(90, np.random.default_rng(0))

MODELS = """
import torch
from torch import nn

class Answer(nn.Module):
    def __init__(self, width, value=0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.width, self.value = width, value

    def forward(self, x):
        return torch.full((len(x), self.width), self.value) * self.scale

def fits():
    return Answer(3)

def wrong_width():
    return Answer(7)

def not_a_number():
    return Answer(3, float("nan"))

def no_module():
    return "a model"

def fails():
    raise OSError("first line\\nsecond line")
"""


def left(folder: Path) -> set[str]:
    """What a run left in its folder, but for the lock."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {".lock"}


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix == ".tmp"]


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


def test_bad_input_folder_of_another_run(defuse, finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    line = defuse("run", tiny.config, "--out", out, "--set", "identify.budget=500", "--seed", "4").complaint
    assert "holds a run with config.identify.budget = 600, not 500" in line
    assert "holds a run with config.seed = 3, not 4" in defuse("distill", "--out", out, "--seed", "4").complaint
    longer = defuse("run", tiny.config, "--out", out, "--set", "correct.lambdas=[1.0, 2.0]").complaint
    assert "config.correct.lambdas.1 = None, not 2.0" in longer
    data = write_data(tiny.data.with_name("other.npz"), test_images=IMAGES, test_labels=LABELS)
    shutil.copy(tiny.data, tmp_path / "kept.npz")
    try:
        shutil.copy(data, tiny.data)
        assert "holds a run with data = " in defuse("run", tiny.config, "--out", out).complaint
    finally:
        shutil.copy(tmp_path / "kept.npz", tiny.data)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_bad_input_folder_that_is_none(defuse, tiny, tmp_path):
    out = tmp_path / "out"
    out.write_text("a file", encoding="utf-8")
    assert f"{out}: cannot be used as an output folder" in defuse("run", tiny.config, "--out", out).complaint
    assert f"{out}/deeper: cannot be used" in defuse("run", tiny.config, "--out", out / "deeper").complaint
    assert f"{out}: no run here" in defuse("run", "--out", out).complaint
    assert out.read_text(encoding="utf-8") == "a file"


def test_bad_input_folder_with_other_things(defuse, tiny, tmp_path):
    (tmp_path / "thesis.tex").touch()
    assert f"{tmp_path}: not empty and not a run's folder" in defuse("run", tiny.config, "--out", tmp_path).complaint
    assert left(tmp_path) == {"thesis.tex"}


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"config": {"sed": 3}, "threads": 1}'])
def test_bad_input_manifest(defuse, tmp_path, content):
    (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
    assert f"{tmp_path / 'manifest.json'}: " in defuse("run", "--out", tmp_path).complaint


@pytest.mark.parametrize("stage", ["run", "fit", "identify", "distill", "correct", "report"])
def test_bad_input_stage_without_a_run(defuse, tmp_path, stage):
    assert "expected a configuration file, or --out" in defuse(stage).complaint
    assert f"{tmp_path}: no run here (no manifest.json)" in defuse(stage, "--out", tmp_path).complaint
    assert left(tmp_path) == set()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damaged", "also"),
    [
        ("identify/shard-00002.parquet", "damaged shard"),
        ("generator/model.safetensors", "fit the generator again"),
        ("generator/model.json", "cannot be read as JSON"),
        ("generator/history.json", "cannot be read as JSON"),
        ("judges/gate-0.safetensors", "no readable safetensors file"),
        ("judges/gate-0.json", "cannot be read as JSON"),
        ("classifier.safetensors", "no readable safetensors file"),
        ("regions/regions.json", "cannot be read as JSON"),
        ("regions/regions.safetensors", "run distill again"),
        ("regions/samples.safetensors", "run distill again"),
        ("verdicts.sqlite", "cannot be used as a verdict store"),
        ("repair/repair.json", "cannot be read as JSON"),
        ("repair/repaired.safetensors", "no readable safetensors file"),
        ("timings.json", "cannot be read as JSON"),
        ("labels.json", "cannot be read as JSON"),
    ],
)
def test_bad_input_damaged_run(defuse, finished, tmp_path, damaged, also):
    out = finished.copy(tmp_path / "out")
    cut(out / damaged)
    line = defuse("run", "--out", out).complaint
    assert line.startswith(f"defuse: {out / damaged}: ")
    assert also in line
    assert not half_written(out)


def test_bad_input_foreign_files_in_a_run(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    for name in ("generator/history.json", "generator/model.json", "judges/gate-0.json", "repair/repair.json"):
        kept = (out / name).read_bytes()
        (out / name).write_text("[]", encoding="utf-8")
        assert f"{out / name}: " in defuse("run", "--out", out).complaint
        (out / name).write_bytes(kept)


def test_bad_input_suite(defuse, finished, tmp_path):
    suite = shutil.copytree(finished.folder / "suite", tmp_path / "suite")
    weights = ["--weights", finished.folder / "repair" / "repaired.safetensors"]
    images = load_file(suite / "images.safetensors")
    save_file({name: 255 - pixels for name, pixels in images.items()}, suite / "images.safetensors")
    assert "the images of r001 were changed" in defuse("check", suite, *weights).complaint
    cut(suite / "images.safetensors")
    assert "images.safetensors: damaged" in defuse("check", suite, *weights).complaint
    (suite / "suite.json").unlink()
    assert "suite.json: missing or no JSON" in defuse("check", suite, *weights).complaint


def test_bad_input_check(defuse, finished, tmp_path):
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")
    suite = shutil.copytree(finished.folder / "suite", tmp_path / "suite")
    expected = {
        ("--classifier", "models:wrong_width"): "expected logits of shape (2, 3) (3 classes), got (2, 7)",
        ("--classifier", "models"): "expected module:function",
        ("--builtin", "cnm", "--weights", "w.pt"): "no built-in network is called 'cnm'",
        (): "classifier.weights: the built-in network 'cnn' has none",
        ("--set", "maen=[0.5]"): "check: unknown key classifier.maen; did you mean classifier.mean?",
        ("--set", "mean"): "mean: expected key=value",
    }
    for arguments, message in expected.items():
        assert message in defuse("check", suite, *arguments, cwd=tmp_path).complaint
    described = json.loads((suite / "suite.json").read_text(encoding="utf-8"))
    described["class_names"].append("fourth")
    (suite / "suite.json").write_text(json.dumps(described), encoding="utf-8")
    weights = ["--weights", finished.folder / "repair" / "repaired.safetensors"]
    assert "wrong shape: " in defuse("check", suite, *weights).complaint


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (None, "not found; write it with `defuse label export`"),
        ("a,b\n1,2\n", "line 1: no column 'region'"),
        ("region,annotator,answer,label\nr999,me,class,1\n", "line 2, column 'region'"),
        ("region,annotator,answer,label\nr001,,class,1\n", "line 2, column 'annotator'"),
        ("region,annotator,answer,label\nr001,me,klass,1\n", "line 2, column 'answer'"),
        ("region,annotator,answer,label\nr001,me,class,crss\n", "line 2, column 'label'"),
        ('region,annotator,answer,label\nr001,me,class,"1\n', "no valid CSV"),
    ],
)
def test_bad_input_label_table(defuse, finished, tmp_path, table, expected):
    out = finished.copy(tmp_path / "out")
    path = tmp_path / "labels.csv"
    if table is not None:
        path.write_text(table, encoding="utf-8")
    before = json.loads(defuse("label", "auto", out, "--json").out)
    line = defuse("label", "import", out, path).complaint
    assert f"{path}: " in line
    assert expected in line
    assert json.loads(defuse("label", "auto", out, "--json").out) == before


def test_bad_input_label_without_a_run(defuse, tmp_path):
    for arguments in (["auto", tmp_path], ["export", tmp_path, "a.csv"], ["import", tmp_path, "a.csv"]):
        assert f"{tmp_path}: no run here" in defuse("label", *arguments, cwd=tmp_path).complaint
    assert left(tmp_path) == set()


def test_bad_input_init_leaves_an_existing_file_alone(defuse, tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("mine", encoding="utf-8")
    assert f"{path}: exists already" in defuse("init", path).complaint
    assert path.read_text(encoding="utf-8") == "mine"


def test_bad_input_train(defuse, tiny, tmp_path):
    assert "nowhere.yaml: not found" in defuse("train", tmp_path / "nowhere.yaml").complaint
    line = defuse("train", tiny.config, "--to", tmp_path / "w.safetensors", "--set", "classifier.builtin=cnm").complaint
    assert "no built-in network is called 'cnm'" in line
    assert left(tmp_path) == set()


def test_bad_input_dry_run(defuse, tiny, tmp_path):
    out = tmp_path / "out"
    assert (
        "nowhere.npz: not found"
        in defuse("run", tiny.config, "--dry-run", "--out", out, "--set", "data.source=nowhere.npz").complaint
    )
    assert not out.exists()


def test_bad_input_diverging_training(defuse, tiny, tmp_path):
    out = tmp_path / "diverged"
    setting = "generator.learning_rate=1e30"
    line = defuse("fit", tiny.config, "--out", out, "--set", setting).complaint
    assert "lower generator.learning_rate" in line
    assert not half_written(out)
    assert not (out / "generator").exists() or not left(out / "generator")


def test_bad_input_generator_that_is_too_poor(defuse, tiny, tmp_path):
    out = tmp_path / "out"
    settings = [
        "--set",
        "generator.min_reconstruction=1.0",
        "--set",
        "generator.epochs=1",
        "--set",
        "generator.beta=99",
    ]
    line = defuse("identify", tiny.config, "--out", out, *settings).complaint
    assert "generator: only " in line
    assert not (out / "identify").exists()


def test_bad_input_disk_full(defuse, finished, tiny, tmp_path):
    """The disk fills up at one file after the other; at the end it has room, and all is as in an undisturbed run."""
    out = tmp_path / "out"
    stopped = set()
    for limit in (2_500, 300_000, 720_000):
        line = defuse("run", tiny.config, "--out", out, limit=limit).complaint
        assert "cannot be written (File too large)" in line
        assert not half_written(out)
        stopped.add(Path(line.split(": ")[1]).relative_to(out).as_posix())
    assert stopped == {"manifest.json", "generator/checkpoint.safetensors", "judges/gate-0.safetensors"}
    assert defuse("run", tiny.config, "--out", out).code == 0
    assert left(out) == left(finished.folder)


def test_bad_input_disk_full_in_later_stages(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    for lost, file, limit in (
        ("report.html", "report.html", 50_000),
        ("repair", "repair/repaired.safetensors", 100_000),
        ("regions", "regions/samples.safetensors", 20_000),
    ):
        path = out / lost
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        assert f"{out / file}: cannot be written" in defuse("run", "--out", out, limit=limit).complaint
        assert not half_written(out)
    assert defuse("run", "--out", out).code == 0
    assert left(out) == left(finished.folder)


def test_bad_input_from_every_key_of_the_tiny_configuration(refuse):
    """Each section refuses a key that it does not know, and says where."""
    for section in [*SETTINGS.keys() - {"seed"}, "data"]:
        assert f"unknown key {section}.zzz" in refuse("--set", f"{section}.zzz=1")
