"""Rounds: the repaired model is debugged again."""

import json

import pytest
from threadpoolctl import threadpool_limits

import defuse.rounds
from defuse.correct import load_suite
from defuse.outcomes import CaseResult
from defuse.pipeline import Run
from defuse.records import Rate
from defuse.rounds import run_rounds
from defuse.rundir import RunDir
from defuse.summary import Share
from tiny_run import times


def all_rounds(config, folder, count):
    with threadpool_limits(1), Run(config, folder) as run:
        return list(run_rounds(run, count))


@pytest.fixture(scope="module")
def three(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds") / "run"
    return folder, all_rounds(tiny.build(), folder, 3)


def test_the_first_round_is_the_run_itself(three, finished):
    folder, rounds = three
    assert rounds[0].results.out == folder
    assert rounds[0].results.summary.regions == finished.results.summary.regions


def test_a_later_round_begins_with_the_model_that_the_one_before_left(three):
    folder, rounds = three
    assert len(rounds) > 1
    second = rounds[1].results.summary
    assert second.test_accuracy == rounds[0].summary.test_accuracy
    assert second.seed == rounds[0].results.summary.seed + 1
    assert rounds[1].summary.folder == str(folder / "rounds" / "2")


def test_generator_and_judges_are_trained_once(three):
    folder, rounds = three
    assert not {"generator", "judges"} & rounds[1].results.summary.seconds.keys() - {"judges"}
    for name in ("generator/model.safetensors", "judges/gate-0.safetensors"):
        assert (folder / name).read_bytes() == (folder / "rounds" / "2" / name).read_bytes()


def test_the_file_of_rounds_says_what_was_returned(three):
    folder, rounds = three
    stored = json.loads((folder / "rounds.json").read_text())
    assert stored == [each.summary.model_dump(mode="json") for each in rounds]
    assert [each["round"] for each in stored] == list(range(1, len(rounds) + 1))


def test_called_again_it_makes_nothing_anew(three, tiny):
    folder, rounds = three
    made = times(folder)
    again = all_rounds(tiny.build(), folder, 3)
    assert [each.summary for each in again] == [each.summary for each in rounds]
    assert made == times(folder)


def test_bugs_that_were_gone_and_come_back_are_named(three, tiny, monkeypatch):
    folder, rounds = three
    suite = load_suite(RunDir(folder).suite)
    never_gone, *gone = [case.region for case in suite.cases]
    assert gone
    asked = []

    def check(suite, model):
        """Of the first round's bugs one was never gone; all others are back at the end of the second."""
        del model
        asked.append(suite)
        failing = {never_gone} if len(asked) == 1 else {case.region for case in suite.cases}
        return [CaseResult(case.region, Rate(9 * (case.region in failing), 10), 0.5) for case in suite.cases]

    monkeypatch.setattr(defuse.rounds, "check", check)
    again = all_rounds(tiny.build(), folder, 2)
    assert again[1].summary.back == tuple(f"1/{region}" for region in gone)
    assert again[0].summary.back == rounds[0].summary.back == ()


def test_what_all_repairs_have_cost_is_counted_from_the_first_model(three, tiny):
    folder, rounds = three
    with Run(tiny.build(), folder) as run:
        right, last = run.classifier.reads_right(run.splits.test), rounds[0].summary.negative_flips
        broken = right & ~run.repaired.reads_right(run.splits.test)
    assert (last.successes, last.trials) == (broken.sum(), len(broken))


def test_fewer_failures_is_a_matter_of_failures_not_of_candidates():
    few, many = Share.of(Rate(90, 1_000)), Share.of(Rate(100, 2_000))
    assert defuse.rounds._fewer(few, many)
    assert not defuse.rounds._fewer(many, few)


def test_it_ends_where_nothing_can_be_repaired(tiny, tmp_path):
    config = tiny.build("distill.min_support=1000000")  # no region
    assert len(all_rounds(config, tmp_path / "run", 3)) == 1
