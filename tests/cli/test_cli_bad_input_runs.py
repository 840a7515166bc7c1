import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from bad_input import IMAGES, LABELS, MODELS, half_written, left
from safetensors.torch import load_file, save_file

from defuse.correct import load_suite, save_suite
from tiny_run import write_data


def test_bad_input_folder_of_a_later_round(defuse, finished, tmp_path):
    first = finished.copy(tmp_path / "out")
    later = finished.copy(first / "rounds" / "2")
    for command in ("verify", "report", "run"):
        line = defuse(command, "--out", later).complaint
        assert f"a later round of {first}, on the model that the round before left; go on with" in line
        assert "--redo" not in line


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
    for arguments in (["check", suite, *weights], ["compare", weights[1], weights[1], "--suite", suite]):
        assert "images.safetensors: the images of r001 were changed (hash mismatch)" in defuse(*arguments).complaint
    cut(suite / "images.safetensors")
    assert "images.safetensors: damaged" in defuse("check", suite, *weights).complaint
    (suite / "suite.json").unlink()
    assert "suite.json: missing or no JSON" in defuse("check", suite, *weights).complaint


def test_bad_input_a_suite_without_a_case_proves_nothing(defuse, finished, tmp_path):
    save_suite(tmp_path, replace(load_suite(finished.folder / "suite"), cases=()))
    weights = finished.folder / "repair" / "repaired.safetensors"
    for arguments in (["check", tmp_path, "--weights", weights], ["compare", weights, weights, "--suite", tmp_path]):
        assert "the suite has no case, so nothing can be checked" in defuse(*arguments).complaint


def test_bad_input_two_models_that_are_one_network(defuse, finished, tmp_path):
    code = "import functools\nfrom defuse.classifiers import build_network\n@functools.cache\ndef build():\n"
    (tmp_path / "cached.py").write_text(f"{code}    return build_network('cnn', 1, 3, 16, seed=0)\n", encoding="utf-8")
    models = [finished.folder / "classifier.safetensors", finished.folder / "repair" / "repaired.safetensors"]
    suite = ["--suite", finished.folder / "suite", "--classifier", "cached:build"]
    line = defuse("compare", *models, *suite, cwd=tmp_path).complaint
    assert "are one network in memory" in line


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
    whole = load_suite(suite)
    save_suite(suite, replace(whole, class_names=(*whole.class_names, "fourth")))
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
