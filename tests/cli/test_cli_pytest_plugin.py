"""The plugin as a person meets it: pytest in a process of its own, on the suite of a finished run."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import defuse

ROOT = Path(__file__).parent.parent.parent
MODELS = """
from defuse.classifiers import build_network

def build():
    return build_network("cnn", 1, 3, 16)
"""


@pytest.fixture
def started(tmp_path, finished):
    """Run pytest in a folder that holds one other test, without what else is installed."""
    (tmp_path / "mine.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "test_other.py").write_text("def test_other():\n    pass\n", encoding="utf-8")
    suite = shutil.copytree(finished.folder / "suite", tmp_path / "suite")

    def start(*arguments):
        environment = {
            **os.environ,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONPATH": str(Path(defuse.__file__).parent.parent),
        }
        command = [sys.executable, "-m", "pytest", "-p", "defuse.pytest_plugin", "-p", "no:cacheprovider", *arguments]
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )

    return suite, start


def chosen(suite, weights):
    return ["--defuse-suite", suite.name, "--defuse-classifier", "mine:build", "--defuse-weights", weights]


def test_a_test_for_each_region_that_fails_on_the_old_model_and_passes_on_the_repaired_one(started, finished):
    suite, start = started
    description = json.loads((suite / "suite.json").read_text(encoding="utf-8"))
    cases = len(description["cases"])
    passed = start(*chosen(suite, finished.folder / "repair" / "repaired.safetensors"), "-q")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert f"{cases + 1} passed" in passed.stdout
    failed = start(*chosen(suite, finished.folder / "classifier.safetensors"), "-v")
    assert failed.returncode == 1
    assert "suite/suite.json::r001 FAILED" in failed.stdout
    assert " images misread (" in failed.stdout
    assert "Traceback" not in failed.stdout
    description["cases"][0]["triage"] = "accepted"
    (suite / "suite.json").write_text(json.dumps(description), encoding="utf-8")
    accepted = start(*chosen(suite, finished.folder / "classifier.safetensors"), "-v")
    assert "suite/suite.json::r001 XFAIL" in accepted.stdout


def test_without_the_option_no_torch_is_loaded_and_nothing_is_added(started):
    _, start = started
    (started[0].parent / "test_other.py").write_text(
        "import sys\ndef test_other():\n    assert 'torch' not in sys.modules\n", encoding="utf-8"
    )
    ended = start("-q")
    assert ended.returncode == 0, ended.stdout
    assert "1 passed" in ended.stdout


def test_bad_input_pytest(started, finished):
    suite, start = started
    ended = start("--defuse-suite", suite.name)
    assert (ended.returncode, "expected --defuse-classifier" in ended.stderr) == (4, True)
    ended = start("--defuse-suite", "nowhere", "--defuse-classifier", "mine:build")
    assert (ended.returncode, "suite.json not found" in ended.stderr) == (4, True)
    (suite / "images.safetensors").write_bytes(b"cut")
    ended = start(*chosen(suite, finished.folder / "classifier.safetensors"), "-q")
    assert ended.returncode == 2
    assert "images.safetensors: damaged" in ended.stdout
    assert "Traceback" not in ended.stdout


def test_the_plugin_is_installed_with_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["entry-points"]["pytest11"] == {"defuse": "defuse.pytest_plugin"}
