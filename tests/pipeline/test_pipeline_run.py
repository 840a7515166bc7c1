import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest

import defuse
from defuse.classifiers import build_network, load_weights
from defuse.correct import check, load_suite
from defuse.distill import Distill, load_regions
from defuse.errors import RunError
from defuse.generators import reconstruct
from defuse.identify import Identify
from defuse.label import VerdictStore
from defuse.pipeline import Run
from defuse.records import Answer, Purpose, Rate, Verdict
from defuse.results import write_results
from defuse.rundir import RunDir
from defuse.summary import Summary, summarise
from tiny_run import NAMES, files

FILES = {
    ".lock",
    "classifier.safetensors",
    "generator/history.json",
    "generator/model.json",
    "generator/model.safetensors",
    *(f"identify/shard-0000{number}.parquet" for number in range(6)),
    "judges/gate-0.json",
    "judges/gate-0.safetensors",
    "judges/label-0.json",
    "judges/label-0.safetensors",
    "labels.json",
    "manifest.json",
    "regions/regions.json",
    "regions/regions.safetensors",
    "regions/samples.safetensors",
    "repair/control.safetensors",
    "repair/repair.json",
    "repair/repaired.safetensors",
    "report.html",
    "suite/images.safetensors",
    "suite/latents.safetensors",
    "suite/suite.json",
    "summary.json",
    "timings.json",
    "verdicts.sqlite",
}


def changed(folder, before):
    return {name for name in files(folder) if (folder / name).stat().st_mtime_ns != before.get(name)}


def times(folder):
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder)}


def test_the_chain_leaves_every_file_and_no_other(finished):
    assert files(finished.folder) == FILES


def test_summary_is_as_documented(finished):
    stored = json.loads((finished.folder / "summary.json").read_text(encoding="utf-8"))
    assert Summary.model_validate(stored) == finished.results.summary
    assert stored["schema_version"] == 1
    assert (stored["preset"], stored["seed"], stored["classes"]) == ("default", 3, 3)
    assert stored["images"] == {"reference": 480, "validation": 60, "test": 90}
    assert stored["seconds"].keys() == {"classifier", "generator", "judges", "identify", "distill", "label", "correct"}


def test_summary_agrees_with_the_shards(finished):
    search = finished.results.summary.search
    tables = [pq.read_table(path) for path in sorted((finished.folder / "identify").glob("*.parquet"))]
    assert search.kept == sum(table.num_rows for table in tables) > 0
    for proposal in search.proposals:
        assert proposal.kept == sum(table["proposal"].to_pylist().count(proposal.proposal) for table in tables)
        assert proposal.candidates == {"gradient_search": 2 * (100 // 9)}.get(proposal.proposal, 200)
    assert search.kept_rate.model_dump() == {
        "successes": search.kept,
        "trials": 422,
        "value": search.kept / 422,
        **dict(zip(("low", "high"), Rate(search.kept, 422).interval, strict=True)),
    }
    assert search.gates[1].tested == 422
    assert search.gates[1].passed == search.flips == search.gates[2].tested
    assert search.gates[2].passed == search.kept
    for table in tables:
        assert all(a != b for a, b in zip(table["label"].to_pylist(), table["predicted"].to_pylist(), strict=True))


def test_summary_agrees_with_the_regions(finished):
    summary, regions = finished.results.summary, load_regions(RunDir(finished.folder).regions)
    assert len(summary.regions) == len(regions.reported) > 1
    assert summary.regions_fitted == regions.fitted == len(regions.reported) + sum(regions.dropped.values())
    for told, region in zip(summary.regions, regions.reported, strict=True):
        shown = regions.samples[region.name, Purpose.EVIDENCE]
        kept = shown.kept
        assert (told.name, told.support) == (region.name, region.support)
        assert (told.label, told.predicted) == (NAMES[region.label], NAMES[region.predicted])
        assert (told.keep_rate.successes, told.keep_rate.trials) == (kept.sum(), len(shown))
        assert told.failure_rate.successes == (shown.predicted[kept] != region.label).sum()
        assert told.failure_rate.trials == kept.sum()
        assert told.expected_cost == told.failure_rate.value


def test_summary_agrees_with_the_models(finished, given, splits):
    """Loaded from the folder and asked again, the models give the figures that the summary states."""
    summary, folder = finished.results.summary, RunDir(finished.folder)
    repaired = build_network("cnn", 1, 3, 16)
    load_weights(folder.repaired, repaired)
    models = {"before": given, "after": given.with_module(repaired)}
    regions = load_regions(folder.regions)
    assert summary.repair is not None
    for name, model in models.items():
        scores = getattr(summary.repair, name)
        test = splits.test
        assert scores.test_accuracy.successes == (model.predict(test.images) == test.labels).sum()
        for told in summary.regions:
            final = regions.samples[told.name, Purpose.FINAL]
            assert told.decision is not None
            wrong = model.predict(final.images[final.kept]) != NAMES.index(told.decision)
            assert getattr(told, f"failure_{name}").successes == wrong.sum()
    assert summary.test_accuracy == summary.repair.before.test_accuracy
    assert summary.repair.chosen == 1.0
    assert [point.weight for point in summary.repair.sweep] == [1.0]


def test_the_suite_passes_the_repaired_model(finished, given):
    folder = RunDir(finished.folder)
    suite = load_suite(folder.suite)
    assert suite.class_names == NAMES
    repaired = build_network("cnn", 1, 3, 16)
    load_weights(folder.repaired, repaired)
    assert all(result.passed for result in check(suite, given.with_module(repaired)))
    assert not all(result.passed for result in check(suite, given))


def test_report_escapes_class_names(finished):
    page = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;flat&lt;/b&gt;" in page
    assert "<b>flat" not in page


def test_a_notebook_shows_a_table_and_escapes(finished):
    region = finished.results.summary.regions[0].model_copy(update={"label": NAMES[0], "predicted": "<i>x</i> & y"})
    summary = finished.results.summary.model_copy(update={"regions": (region,)})
    shown = replace(finished.results, summary=summary)._repr_html_()
    assert "<td>&lt;b&gt;flat&lt;/b&gt; read as &lt;i&gt;x&lt;/i&gt; &amp; y</td>" in shown
    assert "1 misclassification region from 422 candidates" in shown
    none = replace(finished.results, summary=summary.model_copy(update={"regions": ()}))
    assert none.headline.startswith("No bug found at this budget: 422 candidates, ")


def test_a_finished_run_is_not_made_anew(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    before = times(out)
    with Run(tiny.build(), out) as run:
        again = write_results(run)
    assert again.summary.model_dump(exclude={"seconds"}) == finished.results.summary.model_dump(exclude={"seconds"})
    assert changed(out, before) <= {
        "report.html",
        "summary.json",
        "suite/images.safetensors",
        "suite/latents.safetensors",
        "suite/suite.json",
        "timings.json",
        "verdicts.sqlite",
    }


def test_another_verdict_makes_the_repair_anew_and_nothing_else(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    folder, before = RunDir(out), times(out)
    regions = load_regions(folder.regions)
    second = regions.reported[1].name
    with VerdictStore(folder.verdicts, regions) as store:
        store.append([Verdict(second, "ann", Answer.NO_CLEAR_CLASS, None, machine=False, time="2026-01-01T00:00:00Z")])
    with Run(tiny.build(), out) as run:
        summary = write_results(run).summary
    told = {region.name: region for region in summary.regions}
    assert (told[second].decision, told[second].machine) == (None, False)
    assert told[second].failure_after is None
    assert told["r001"].failure_after is not None
    assert summary.suite_cases == finished.results.summary.suite_cases - 1
    made = changed(out, before)
    assert {"repair/repair.json", "repair/repaired.safetensors", "labels.json"} <= made
    assert not any(name.startswith(("identify/", "generator/", "judges/", "regions/", "classifier")) for name in made)
    with VerdictStore(folder.verdicts, regions) as store:
        store.append(
            Verdict(region.name, "ann", Answer.NOT_AN_ERROR, None, machine=False, time="2026-01-02T00:00:00Z")
            for region in regions.reported
        )
    with Run(tiny.build(), out) as run:
        nothing = write_results(run).summary
    assert nothing.repair is None
    assert nothing.repair_outcome == "nothing to repair: no region was given a class"
    assert nothing.suite_cases == 0
    assert not folder.repaired.exists()


def test_costs_rank_regions_and_belong_to_the_run(tiny, tmp_path):
    out, table = tmp_path / "out", tmp_path / "costs.csv"
    costs = np.array([[0, 2, 30], [4, 0, 50], [6, 70, 0]])
    np.savetxt(table, costs, delimiter=",")
    settings = [f"cost.matrix={table}", "cost.pairs={upright:cross: 0.5}"]
    costs = np.where(costs == 50, 0.5, costs)
    with Run(tiny.build(*settings), out) as run:
        assert np.array_equal(run.costs, costs)
        regions, results = run.regions.reported, write_results(run)
    page = results.report.read_text(encoding="utf-8")
    assert len(regions) > 1
    for region, told in zip(regions, results.summary.regions, strict=True):
        total = sum(count * costs[region.label, answer] for answer, count in region.evidence.answers)
        assert told.expected_cost == pytest.approx(total / region.evidence.failure.trials)
        assert told.expected_cost > told.failure_rate.value
        assert f'<td class="number">{told.expected_cost:.3g}</td>' in page
    ranked = [told.support * told.expected_cost for told in results.summary.regions]
    assert ranked == sorted(ranked, reverse=True)
    np.savetxt(table, costs + np.triu(costs), delimiter=",")
    with pytest.raises(RunError, match="holds a run with costs = "), Run(tiny.build(*settings), out):
        pass


def test_labels_lost_are_decided_again(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    RunDir(out).labels.unlink()
    with Run(tiny.build(), out) as run:
        assert run.corrected is not None
    assert RunDir(out).repaired.read_bytes() == RunDir(finished.folder).repaired.read_bytes()


def test_without_a_machine_regions_wait_for_people(tiny, tmp_path):
    out = tmp_path / "out"
    with Run(tiny.build("label.machine=null", "identify.budget=200"), out) as run:
        summary = write_results(run).summary
    assert {region.reason for region in summary.regions} == {"no votes"}
    assert summary.repair is None


def test_preset_paper(tiny, tmp_path):
    plain = {key: value for key, value in tiny.plain.items() if key not in ("identify", "distill")}
    config = defuse.build_config({**plain, "preset": "paper", "identify": {"budget": 300, "shard_size": 100}})
    assert not config.generator.conditional
    with Run(config, tmp_path / "out") as run:
        results = write_results(run)
    summary = results.summary
    assert summary.preset == "paper"
    assert [proposal.proposal for proposal in summary.search.proposals] == ["beta_noise"]
    assert [gate.gate for gate in summary.search.gates] == ["misclassified"]
    assert summary.search.kept == summary.search.flips > 0
    assert summary.regions
    assert all(region.weight >= 0.01 for region in summary.regions)
    assert results.report.exists()


def test_no_failure_at_all_is_a_result(tiny, tmp_path):
    """The judges have learnt next to nothing and are sure of nothing, so that nothing is kept."""
    gates = "identify.gates=[{kind: misclassified}, {kind: keeps_label, threshold: 0.97}]"
    settings = ["judges.training={epochs: 1, learning_rate: 1.0e-9}", gates, "identify.budget=100"]
    with Run(tiny.build(*settings, "generator.epochs=1"), tmp_path / "out") as run:
        results = write_results(run)
    assert results.summary.search.kept == 0
    assert results.summary.regions == ()
    assert results.headline.startswith("No bug found at this budget: 69 candidates")
    assert results.summary.repair_outcome == "nothing to repair: no region was given a class"
    assert results.report.stat().st_size > 1000


def test_stages_by_hand_give_the_shards_of_the_run(finished, tiny, splits, given, tmp_path):
    """Each stage is a function: called with the run's seed and models, it makes the run's very bytes."""
    config = tiny.build()
    with Run(config, finished.copy(tmp_path / "copy")) as run:
        generator, panel = run.generator, run.panel
    identify: Identify = config.identify
    found = identify.run(
        splits.reference, generator, given, panel.gate, seed=3, shard_path=lambda number: tmp_path / f"{number}.parquet"
    )
    for number in range(6):
        mine, theirs = tmp_path / f"{number}.parquet", RunDir(finished.folder).shard(number)
        assert mine.read_bytes() == theirs.read_bytes()
    assert found.search.kept == finished.results.summary.search.kept


def test_the_folder_is_free_after_the_block_and_after_an_error(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    with Run(tiny.build(), out), pytest.raises(RunError, match="another run is at work here"), Run(tiny.build(), out):
        pass
    with pytest.raises(RunError, match=r"config\.seed = 3, not 4"), Run(tiny.build("seed=4"), out):
        pass
    with Run(tiny.build(), out) as run:
        assert summarise(run).search == finished.results.summary.search


@pytest.mark.parametrize(
    ("stage", "save"), [("generator", "save_generator"), ("distill", "save_regions"), ("correct", "save_corrected")]
)
def test_time_is_noted_before_a_stage_counts_as_done(tiny, tmp_path, monkeypatch, finished, stage, save):
    """Else a kill between the two would leave a finished stage without its time."""
    out = finished.copy(tmp_path / "out")
    for marks in ("generator/history.json", "regions/regions.json", "repair/repair.json", "timings.json"):
        (out / marks).unlink()

    def killed(*_):
        raise KeyboardInterrupt(*Run(tiny.build(), out).seconds)

    monkeypatch.setattr(f"defuse.pipeline.{save}", killed)
    with pytest.raises(KeyboardInterrupt) as seen, Run(tiny.build(), out) as run:
        _ = run.corrected
    assert stage in seen.value.args


@pytest.mark.parametrize("detail", [True, False])
def test_regions_come_in_fine_detail_where_that_is_asked_for(tiny, tmp_path, monkeypatch, finished, detail):
    out = finished.copy(tmp_path / "out")
    shutil.rmtree(out / "regions")
    seen = []
    distill = Distill.run
    monkeypatch.setattr(
        Distill, "run", lambda self, *args, **more: seen.append(args[1]) or distill(self, *args, **more)
    )
    with Run(tiny.build(f"identify.detail={str(detail).lower()}"), out, redo=True) as run:
        assert run.regions.reported
        some = run.splits.reference.take(np.arange(20))
        smooth = np.array_equal(run.renderer.redraw(some), reconstruct(run.generator, some))
    assert (seen[0].renderer.detail is not None) == detail
    assert smooth == (not detail), "what samples are compared with is drawn as they are"
