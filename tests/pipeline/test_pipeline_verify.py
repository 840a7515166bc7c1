from dataclasses import replace

import numpy as np
import pytest

from defuse.distill import load_regions
from defuse.errors import RunError
from defuse.outcomes import NewConfusion, RegionAgain
from defuse.pipeline import Run
from defuse.records import Evidence, Failures, Rate, Region
from defuse.results import report_context, write_results
from defuse.rundir import RunDir
from defuse.verify import Found, SecondSearch, compare_searches, load_verified, verify


def region(name, label, predicted):
    evidence = Evidence(Rate(9, 10), Rate(8, 9), ((predicted, 8), (label, 1)), 0.001, 0.002)
    return Region(name, label, predicted, np.zeros(2), np.eye(2), 1.0, 50, evidence)


def failures(*pairs):
    label, predicted = (np.array(values, dtype=np.int64) for values in zip(*pairs, strict=True))
    count = len(pairs)
    scores = {"misclassified": np.zeros(count, np.float32)}
    return Failures(np.arange(count), label, predicted, ("noise",) * count, np.zeros((count, 2), np.float32), scores)


def test_regions_are_gone_left_or_new_by_their_confusion():
    first = (region("r001", 0, 1), region("r002", 1, 2), region("r003", 2, 0))
    given = Found(1000, failures((0, 1), (0, 1), (1, 2), (1, 0)), (region("r001", 0, 1), region("r002", 1, 0)))
    repaired = Found(
        1000,
        failures((1, 2), (1, 0), (0, 2), (0, 2)),
        (region("r001", 1, 2), region("r002", 1, 0), region("r003", 0, 2)),
    )
    found = compare_searches(first, {"r001", "r002", "r003"}, given, repaired)
    assert (found.given, found.repaired) == (Rate(4, 1000), Rate(4, 1000))
    assert found.regions == (
        RegionAgain("r001", 2, 0, found_again=True, left=False),
        RegionAgain("r002", 1, 1, found_again=False, left=True),
        RegionAgain("r003", 0, 0, found_again=False, left=False),
    )
    assert found.new == (NewConfusion(0, 2, 2),), "1 read as 0 is on the given model too"
    refused = (*first, region("r004", 0, 2))
    found = compare_searches(refused, {"r001"}, given, repaired)
    assert [each.region for each in found.regions] == ["r001"]
    assert found.new == (), "0 read as 2 is a region of the run, though people refused it"


def test_a_limit_on_what_is_reported_makes_no_region_come_or_go(finished, tiny, tmp_path):
    out = finished.copy(tmp_path / "out")
    with Run(tiny.build(), out) as run:
        given = (run.splits.reference, run.renderer, run.screen, run.costs)
        free, tight = (
            SecondSearch(tiny.build(*limit), *given).run(run.classifier, RunDir(tmp_path / name), run.progress)
            for name, limit in (("free", ()), ("tight", ("distill.max_regions=1",)))
        )
    assert len(tight.regions) > 1
    assert tight.pairs == free.pairs


@pytest.fixture(scope="module")
def verified(finished, tiny, tmp_path_factory):
    """A finished run's folder, verified: twice the search of the run."""
    out = finished.copy(tmp_path_factory.mktemp("verify") / "out")
    with Run(tiny.build(), out) as run:
        assert run.verified_so_far is None
        assert not run.folder.verify.exists()
        return out, run.verified


def test_both_models_are_searched_at_the_run_s_budget_with_fresh_seeds(verified, finished, tiny):
    out, found = verified
    search = finished.results.summary.search
    assert found.given.trials == found.repaired.trials == search.candidates
    assert [each.region for each in found.regions] == [
        each.name for each in finished.results.summary.regions if each.failure_after is not None
    ]
    first = RunDir(out).shard(0).read_bytes()
    assert first != RunDir(out / "verify" / "given").shard(0).read_bytes()
    with Run(tiny.build(), out) as run:
        assert run.verified_so_far == found
        summary = write_results(run).summary.verified
        assert report_context(run).verified == found
    assert summary.repaired_kept_rate.successes == found.repaired.successes
    assert "With fresh seeds and equal budget" in RunDir(out).report.read_text(encoding="utf-8")


def test_a_model_against_itself_has_nothing_new_and_the_same_rates(verified, tiny, tmp_path):
    out, found = verified
    with Run(tiny.build(), out) as run:
        search = SecondSearch(run.config, run.splits.reference, run.renderer, run.screen, run.costs)
        regions = tuple(replace(each) for each in run.regions.reported)
        names = {each.name for each in regions}
        same = verify(search, regions, names, run.classifier, run.classifier, tmp_path, run.progress)
    assert same.given == same.repaired == found.given
    assert same.new == ()
    assert all(each.left == each.found_again and each.given_kept == each.repaired_kept for each in same.regions)


def test_a_broken_off_search_ends_alike(verified, tiny):
    out, found = verified
    folder = RunDir(out)
    folder.verified.unlink()
    model = RunDir(folder.verify / "repaired")
    model.regions_done.unlink()
    model.shard(3).unlink()
    with Run(tiny.build(), out) as run:
        assert run.verified == found
    assert load_regions(model.regions)


def test_another_repair_forgets_it(verified, tiny, tmp_path, finished):
    out, _ = verified
    kept = finished.copy(tmp_path / "kept")
    (kept / "verify").mkdir()
    (kept / "verify" / "verified.json").write_bytes((out / "verify" / "verified.json").read_bytes())
    with Run(tiny.build("correct.steps=3"), kept, redo=True) as run:
        assert write_results(run).summary.verified is None
    assert not (kept / "verify").exists()


def test_bad_input_damaged_record(tmp_path):
    (tmp_path / "verified.json").write_text('{"given": 3}', encoding="utf-8")
    with pytest.raises(RunError, match=r"verified\.json: .*; remove it and run verify again"):
        load_verified(tmp_path / "verified.json")
