"""``--redo`` must end in the very results of a new run, and touch nothing that does not rest on the change."""

import json
import shutil

import pytest

from defuse.config import Config
from defuse.distill import load_regions
from defuse.errors import RunError
from defuse.label import VerdictStore
from defuse.pipeline import Run
from defuse.records import Answer, Verdict
from defuse.redo import REMADE, remade
from defuse.results import write_results
from defuse.rundir import RunDir

KEPT = {
    "identify.budget=300": ("classifier.safetensors", "generator", "judges"),
    "distill.samples=30": ("classifier.safetensors", "generator", "judges", "identify"),
    "judges.training.epochs=2": ("classifier.safetensors", "generator"),
    "correct.steps=3": ("classifier.safetensors", "generator", "judges", "identify", "regions", "verdicts.sqlite"),
    "generator.min_reconstruction=0.01": (
        "classifier.safetensors",
        "generator",
        "judges",
        "identify",
        "regions",
        "repair",
    ),
}
CLOCKED = {"seconds", "versions"}


def contents(folder, names=None):
    chosen = [folder / name for name in names] if names else [folder]
    files = [file for path in chosen for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()]
    return {file.relative_to(folder).as_posix(): (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def summary_of(folder):
    values = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return {key: value for key, value in values.items() if key not in CLOCKED}


@pytest.mark.parametrize("setting", KEPT)
def test_the_results_are_a_new_run_s_and_what_stands_is_not_touched(finished, tiny, tmp_path, setting):
    out, config = finished.copy(tmp_path / "out"), tiny.build(setting)
    before = contents(out, KEPT[setting])
    with Run(config, out, redo=True) as run:
        write_results(run)
    assert contents(out, KEPT[setting]) == before
    with Run(config, tmp_path / "new") as run:
        write_results(run)
    assert summary_of(out) == summary_of(tmp_path / "new")
    regions, again = (RunDir(folder).regions for folder in (out, tmp_path / "new"))
    assert {name: content for name, (content, _) in contents(regions).items()} == {
        name: content for name, (content, _) in contents(again).items()
    }


def test_without_it_the_folder_is_refused_and_the_advice_works(finished, tiny, tmp_path):
    out, config = finished.copy(tmp_path / "out"), tiny.build("correct.steps=3")
    before = contents(out)
    with pytest.raises(RunError, match="add --redo to keep what does not rest on it"), Run(config, out):
        pass
    assert contents(out) == before
    with Run(config, out, redo=True) as run:
        assert run.corrected
    with Run(config, out):  # the folder is this configuration's now
        pass


def test_bad_input_another_seed_leaves_nothing_to_keep(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    before = contents(out)
    with (
        pytest.raises(RunError, match=r"config\.seed = 3, not 4; use the same configuration to go on, or use another"),
        Run(tiny.build("seed=4", "identify.budget=300"), out, redo=True),
    ):
        pass
    assert contents(out) == before


def test_bad_input_people_s_labels_are_not_thrown_away(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    folder = RunDir(out)
    regions = load_regions(folder.regions)
    with VerdictStore(folder.verdicts, regions) as store:
        name = regions.reported[0].name
        store.append(
            [Verdict(name, "ann", Answer.NO_CLEAR_CLASS, None, machine=False, time="2026-01-01T00:00:00+00:00")]
        )
    before = contents(out)
    with pytest.raises(RunError, match="people labelled"), Run(tiny.build("identify.budget=300"), out, redo=True):
        pass
    assert {name: content for name, (content, _) in contents(out).items()} == {
        name: content for name, (content, _) in before.items()
    }
    with Run(tiny.build("correct.steps=3"), out, redo=True) as run:
        assert run.corrected
    shutil.rmtree(folder.regions)  # as after samples that were damaged
    with pytest.raises(RunError, match="people labelled"), Run(tiny.build("identify.budget=300"), out, redo=True):
        pass
    assert folder.verdicts.exists()


def leaves(value, path):
    if not isinstance(value, dict):
        return [path]
    return [leaf for key, below in value.items() for leaf in leaves(below, f"{path}.{key}")]


def test_every_key_of_the_configuration_is_covered_and_every_covered_key_exists():
    plain = Config.model_validate({"data": {"source": "signs"}}).plain()
    assert [key for key in leaves(plain, "config") if remade(key) is None] == ["config.seed"]
    assert remade("data") is remade("schema") is None
    for key in REMADE:
        value = {"config": plain, "classifier": "", "judge": "", "costs": ""}
        for part in key.split("."):
            assert part in value, key
            value = value[part]
