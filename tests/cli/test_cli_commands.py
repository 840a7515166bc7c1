import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pyarrow.parquet as pq
import pytest

from defuse.cli.show import SHOWN_REGIONS, closing_lines
from defuse.config import build_config, read_config
from defuse.distill import load_regions
from defuse.label import VerdictStore
from defuse.records import Answer, Rate, Verdict
from defuse.rundir import RunDir, read_json
from defuse.summary import Share, Summary
from tiny_run import NAMES

HEAVY = ("torch", "numpy", "scipy", "sklearn", "matplotlib", "pyarrow", "pydantic", "fastapi", "jinja2")


def good(ended):
    assert ended.code == 0, ended.err
    assert ended.err == ""
    return ended.out


def test_help_is_quick_and_loads_nothing_heavy():
    script = f"""
import sys
from defuse.cli import main
sys.argv = ["defuse", "--help"]
try:
    main()
finally:
    print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stderr == "[]\n"
    for command in (
        "demo",
        "init",
        "run",
        "fit",
        "identify",
        "distill",
        "label",
        "correct",
        "check",
        "compare",
        "export",
        "report",
        "train",
        "collect",
        "verify",
    ):
        assert f" {command} " in ended.stdout


@pytest.mark.parametrize(
    "command",
    [
        "run",
        "fit",
        "train",
        "init",
        "check",
        "compare",
        "demo",
        "export",
        "label auto",
        "label import",
        "label serve",
        "collect",
        "bench planted",
        "bench validity",
    ],
)
def test_every_help_shows_an_example(defuse, command):
    assert f"Example: defuse {command}" in " ".join(good(defuse(*command.split(), "--help")).split())


def test_version(defuse):
    assert good(defuse("--version")) == "0.1.0\n"


def test_a_run_ends_with_its_findings(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    said = good(defuse("run", "--out", out))
    summary = finished.results.summary
    assert said.splitlines() == [*closing_lines(finished.results)[:-1], f"Report: {out / 'report.html'}"]
    for region in summary.regions:
        assert f"{region.name}  {region.label} read as {region.predicted}" in said
    assert f"Repair: {summary.repair_outcome}." in said
    assert max(map(len, said.splitlines()[:-1])) <= 80


def test_json_is_alone_on_stdout(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    summary = Summary.model_validate(json.loads(good(defuse("run", "--out", out, "--json"))))
    assert summary.model_dump(exclude={"seconds"}) == finished.results.summary.model_dump(exclude={"seconds"})
    assert json.loads(good(defuse("report", "--out", out, "--json")))["regions"]
    assert json.loads(good(defuse("fit", "--out", out, "--json")))["held_out_bound_nats"] == round(
        summary.generator_bound, 3
    )
    found = json.loads(good(defuse("identify", "--out", out, "--json")))
    assert (found["candidates"], found["kept"]) == (422, summary.search.kept)
    assert json.loads(good(defuse("distill", "--out", out, "--json")))["reported"] == len(summary.regions)
    assert json.loads(good(defuse("correct", "--out", out, "--json")))["suite_cases"] == summary.suite_cases
    assert len(json.loads(good(defuse("label", "auto", out, "--json")))) == len(summary.regions)


def test_quiet_says_nothing(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    weights = out / "repair" / "repaired.safetensors"
    for command in (
        ["run", "--out", out],
        ["identify", "--out", out],
        ["report", "--out", out],
        ["label", "auto", out],
        ["label", "export", out, tmp_path / "a.csv"],
        ["check", out / "suite", "--weights", weights],
    ):
        assert good(defuse(*command, "--quiet")) == ""


def test_stages_print_their_figures(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    assert f"kept: {finished.results.summary.search.kept}\n" in good(defuse("identify", "--out", out))


def test_focus_searches_one_confusion_alone(defuse, tiny, finished, tmp_path):
    region = finished.results.summary.regions[-1]  # no cross, the class of the first, survives reconstruction
    out, names = tmp_path / "out", list(NAMES)
    focus = f"{names.index(region.label)}:{names.index(region.predicted)}"
    told = json.loads(good(defuse("identify", tiny.config, "--out", out, "--focus", focus, "--json")))
    tables = [pq.read_table(path) for path in sorted((out / "identify").glob("*.parquet"))]
    assert told["kept"] == sum(table.num_rows for table in tables) > 0
    for table in tables:
        assert set(table["label"].to_pylist()) <= {names.index(region.label)}
        assert set(table["predicted"].to_pylist()) <= {names.index(region.predicted)}
    summary = json.loads(good(defuse("run", tiny.config, "--out", out, "--focus", focus, "--json")))
    assert [gate["gate"] for gate in summary["search"]["gates"]] == [
        "reconstructs",
        "misclassified",
        "read_as",
        "keeps_label",
    ]
    assert summary["search"]["kept"] == told["kept"]
    assert {(each["label"], each["predicted"]) for each in summary["regions"]} <= {(region.label, region.predicted)}
    assert read_json(out / "manifest.json")["config"]["identify"]["focus"] == focus
    good(defuse("report", "--out", out, "--quiet"))
    line = defuse("run", tiny.config, "--out", out).complaint
    assert f"holds a run with config.identify.focus = '{focus}', not None" in line


def test_check_passes_the_repaired_model_and_fails_the_given_one(defuse, finished):
    folder = RunDir(finished.folder)
    cases = len(json.loads((folder.suite / "suite.json").read_text(encoding="utf-8"))["cases"])
    assert cases == finished.results.summary.suite_cases > 0
    said = good(defuse("check", folder.suite, "--weights", folder.repaired))
    assert said.endswith(f"All {cases} cases passed.\n")
    failed = defuse("check", folder.suite, "--weights", folder.classifier)
    assert (failed.code, failed.err) == (1, "")
    assert "FAIL  r001" in failed.out
    told = defuse("check", folder.suite, "--weights", folder.classifier, "--json")
    values = json.loads(told.out)
    assert told.code == 1
    assert values["passed"] is False
    scores = {region.name: region.failure_before for region in finished.results.summary.regions}
    for case in values["cases"]:
        assert (case["failures"], case["images"]) == (scores[case["region"]].successes, scores[case["region"]].trials)
        assert case["passed"] == (case["failures"] / case["images"] <= case["max_failure_rate"])


def test_exit_code_3_says_that_nothing_met_the_caps(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    caps = ["--set", "correct.max_negative_flips=0", "--set", "correct.flips_of_control=false"]
    caps += ["--set", "correct.learning_rate=0.3", "--redo"]
    ended = defuse("run", "--out", out, *caps)
    assert (ended.code, ended.err) == (3, "")
    assert "Repair: not repaired: no lambda keeps validation accuracy within" in ended.out
    assert not (out / "repair" / "repaired.safetensors").exists()
    assert defuse("correct", "--out", out).code == 3
    assert good(defuse("report", "--out", out, "--quiet")) == ""


def test_export_writes_what_the_summary_counts(defuse, finished, tmp_path):
    out, to = finished.copy(tmp_path / "out"), tmp_path / "regions"
    counts = json.loads(good(defuse("export", out, "--to", to, "--json")))["images"]
    assert counts["test"] == finished.results.summary.repair.after.region_failure_rate.trials
    assert len(list((to / "images" / "test").rglob("*.png"))) == counts["test"]
    assert "not an empty folder" in defuse("export", out, "--to", to).complaint


def test_verify_tells_what_is_gone_left_and_new(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "out")
    told = json.loads(good(defuse("verify", "--out", out, "--json")))
    repaired = [each.name for each in finished.results.summary.regions if each.failure_after is not None]
    assert sorted(told["gone"] + told["left"] + told["not_found"]) == repaired
    said = good(defuse("verify", "--out", out))
    assert f"repaired_kept_per_100000: {told['repaired_kept_per_100000']}\n" in said
    assert f"gone: {', '.join(told['gone']) or 'none'}\n" in said


def test_rounds_are_told_in_a_table(defuse, finished, tmp_path):
    out = finished.copy(tmp_path / "run")
    rounds = json.loads(good(defuse("run", "--out", out, "--rounds", 2, "--json")))
    assert [each["round"] for each in rounds] == list(range(1, len(rounds) + 1))
    said = good(defuse("run", "--out", out, "--rounds", 2)).splitlines()
    assert said[0].split() == [
        "round",
        "kept",
        "per",
        "100,000",
        "regions",
        "test",
        "accuracy",
        "turned",
        "wrong",
        "bugs",
        "back",
        "folder",
    ]
    for line, each in zip(said[1:], rounds, strict=False):
        assert line.split()[:3] == [
            str(each["round"]),
            f"{100_000 * each['kept_rate']['value']:.1f}",
            str(each["regions"]),
        ]
    last = [each for each in rounds if each["repaired"]][-1]
    assert f"Repaired model: {RunDir(Path(last['folder'])).repaired}" in said


def test_check_writes_junit(defuse, finished, tmp_path):
    folder, junit = RunDir(finished.folder), tmp_path / "ci" / "junit.xml"
    assert defuse("check", folder.suite, "--weights", folder.classifier, "--junit", junit).code == 1
    root = ET.fromstring(junit.read_bytes())  # noqa: S314 -- our own
    told = json.loads(defuse("check", folder.suite, "--weights", folder.classifier, "--json").out)
    assert int(root.attrib["failures"]) == sum(not case["passed"] for case in told["cases"]) > 0
    names = [case.attrib["name"].partition(":")[0] for case in root.iter("testcase")]
    assert names == [case["region"] for case in told["cases"]]


def test_compare_tells_what_was_fixed_and_fails_on_what_is_new(defuse, finished):
    folder = RunDir(finished.folder)
    there = defuse("compare", folder.classifier, folder.repaired, "--suite", folder.suite, "--json")
    back = defuse("compare", folder.repaired, folder.classifier, "--suite", folder.suite, "--json")
    forth, reverse = json.loads(there.out)["counts"], json.loads(back.out)["counts"]
    assert (there.code, back.code) == (0, 1)
    assert forth["fixed"] == reverse["new"] > 0
    assert forth["new"] == reverse["fixed"] == 0
    same = good(defuse("compare", folder.repaired, folder.repaired, "--suite", folder.suite))
    assert same.endswith(f"{forth['fixed'] + forth['kept']} kept, 0 new, 0 failing.\n")


def test_check_takes_a_factory_and_preprocessing(defuse, finished, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from defuse.classifiers import build_network\ndef build():\n    return build_network('cnn', 1, 3, 16)\n",
        encoding="utf-8",
    )
    folder = RunDir(finished.folder)
    arguments = ["check", folder.suite, "--classifier", "mine:build", "--weights", folder.repaired]
    assert defuse(*arguments, cwd=tmp_path).code == 0
    assert defuse(*arguments, "--set", "mean=[9.0]", cwd=tmp_path).code == 1


def test_train_writes_weights_of_the_accuracy_that_it_says(defuse, tiny, tmp_path):
    to = tmp_path / "weights.safetensors"
    told = json.loads(good(defuse("train", tiny.config, "--to", to, "--json")))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]
    out = tmp_path / "out"
    found = json.loads(good(defuse("run", tiny.config, "--out", out, "--set", f"classifier.weights={to}", "--json")))
    assert found["test_accuracy"]["value"] == told["accuracy"]["test"]
    assert not (out / "classifier.safetensors").exists()


def test_train_and_run_train_the_same_network(defuse, tiny, finished, tmp_path):
    assert "test accuracy" in good(defuse("train", tiny.config, "--to", tmp_path / "w.safetensors"))
    assert (tmp_path / "w.safetensors").read_bytes() == RunDir(finished.folder).classifier.read_bytes()


def test_init_writes_a_configuration_that_is_valid(defuse, tiny, tmp_path):
    path = tmp_path / "new" / "my.yaml"
    source = f'{tiny.data} "quoted": #1.npz'
    assert f"defuse run {path}" in good(defuse("init", path, "--source", source))
    config = build_config(read_config(path))
    assert config.data.source == source
    assert config == build_config({"data": {"source": source}})
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 15


def test_init_and_run_fit_together(defuse, tiny, tmp_path):
    good(defuse("init", "my.yaml", "--source", tiny.data, cwd=tmp_path))
    settings = [
        argument for key in ("generator.epochs=1", "classifier.training.epochs=1") for argument in ("--set", key)
    ]
    ended = defuse("fit", "my.yaml", *settings, "--set", "generator.min_reconstruction=0", "--set",
                   "judges={gate: [cnn], label: [cnn], training: {epochs: 1}}", cwd=tmp_path)  # fmt: skip
    good(ended)
    assert (tmp_path / "runs" / "my-default" / "manifest.json").exists()


def test_dry_run_plans_and_writes_nothing(defuse, tiny, tmp_path):
    out = tmp_path / "out"
    said = good(defuse("run", tiny.config, "--out", out, "--dry-run"))
    assert said.startswith(f"Plan for {out} (nothing was written there):\n")
    planned = json.loads(good(defuse("run", tiny.config, "--out", out, "--dry-run", "--json")))
    assert [stage["stage"] for stage in planned["stages"]] == [
        "classifier",
        "generator",
        "judges",
        "identify",
        "distill",
        "correct",
    ]
    assert planned["stages"][3]["work"] == "600 candidates in 6 shards"
    assert all(stage["seconds"] >= 0 for stage in planned["stages"])
    assert 0 < planned["disk_bytes"] < planned["free_bytes"]
    assert list(tmp_path.iterdir()) == []


def test_people_s_labels_go_out_and_come_back(defuse, finished, tmp_path):
    out, table = finished.copy(tmp_path / "out"), tmp_path / "labels.csv"
    regions = finished.results.summary.regions
    assert "[machine]" in good(defuse("label", "auto", out))
    good(defuse("label", "export", out, table))
    with table.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["region"] for row in rows] == [region.name for region in regions]
    assert (tmp_path / rows[0]["sheet"]).read_bytes().startswith(b"\x89PNG")
    for row in rows:
        row |= {"annotator": "ann", "answer": "not an error", "label": ""}
    rows[0] |= {"answer": "class", "label": regions[0].label}
    with table.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    decided = json.loads(good(defuse("label", "import", out, table, "--json")))
    assert [(each["decision"], each["machine"]) for each in decided] == [(regions[0].label, False)] + [
        (None, False) for _ in regions[1:]
    ]
    assert json.loads(good(defuse("correct", "--out", out, "--json")))["suite_cases"] == 1


@pytest.mark.parametrize("form", ["csv", "json", "label-studio"])
def test_a_record_taken_in_again_changes_nothing_that_people_have_said_since(defuse, finished, tmp_path, form):
    out, record = finished.copy(tmp_path / "out"), tmp_path / f"labels.{'csv' if form == 'csv' else 'json'}"
    regions = load_regions(RunDir(out).regions)
    name = regions.reported[0].name
    first = Verdict(name, "ann", Answer.CLASS, 0, machine=False, time="2026-01-01T00:00:00+00:00", shown=(0, 1))
    crossing = replace(first, label=1, crossed=(1,), time="2026-01-02T00:00:00+00:00")
    with VerdictStore(RunDir(out).verdicts, regions) as store:
        store.append([first])
    good(defuse("label", "export", out, record, "--format", form))
    with VerdictStore(RunDir(out).verdicts, regions) as store:
        store.append([crossing])
        said = store.current()
    good(defuse("label", "import", out, record, "--format", form))
    with VerdictStore(RunDir(out).verdicts, regions) as store:
        assert store.current() == said


def test_a_run_s_folder_has_the_configuration_s_name_and_preset(defuse, tiny, finished, tmp_path):
    finished.copy(tmp_path / "runs" / "tiny-default")
    assert "Report: runs/tiny-default/report.html" in good(defuse("run", tiny.config, cwd=tmp_path))


def test_closing_lines_name_the_first_regions_only(finished):
    region = finished.results.summary.regions[0]
    many = finished.results.summary.model_copy(update={"regions": (region,) * (SHOWN_REGIONS + 3), "repair": None})
    lines = closing_lines(type(finished.results)(finished.folder, finished.results.report, many))
    assert sum(line.startswith("  r001") for line in lines) == SHOWN_REGIONS
    assert "  ... and 3 more, in the report" in lines


def test_share_of_nothing_is_null():
    assert Share.of(Rate(0, 0)).model_dump() == {"successes": 0, "trials": 0, "value": None, "low": 0.0, "high": 1.0}


def test_collect_ranks_a_pool_and_writes_it(defuse, finished, tmp_path):
    folder, table = finished.copy(tmp_path / "run"), tmp_path / "wanted.csv"
    pool = f"{finished.results.summary.source}:test_images"
    said = json.loads(good(defuse("collect", str(folder), pool, "--to", str(table), "--top", "3", "--json", "--quiet")))
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows[:3]] == [one["image"] for one in said]
    assert len(rows) == finished.results.summary.images["test"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert {row["region"] for row in rows} <= {region.name for region in finished.results.summary.regions}
    assert good(defuse("collect", str(folder), pool, "--top", "1", "--quiet")) == ""
    assert defuse("collect", str(folder), str(tmp_path / "nowhere")).code == 2
