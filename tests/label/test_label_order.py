import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_makers import make_region, make_regions
from pydantic import ValidationError

from defuse.label import Ledger, StopRule
from defuse.records import Answer, Verdict

REGIONS = make_regions(*(make_region(f"r00{number}", 0, 1) for number in (1, 2, 3, 4)))


def says(annotator, region, label=0, **more):
    answer = Answer.NO_CLEAR_CLASS if label is None else Answer.CLASS
    return Verdict(region, annotator, answer, label, machine=more.pop("machine", False), time="t", **more)


def ledger(*verdicts, agreeing=2):
    return Ledger(REGIONS, verdicts, StopRule(agreeing=agreeing))


def names(regions):
    return [region.name for region in regions]


def test_fewest_verdicts_first_then_rank():
    given_so_far = ledger(says("ada", "r001"), says("ada", "r003"))
    assert names(given_so_far.queue("bob")) == ["r002", "r004", "r001", "r003"]
    assert names(given_so_far.queue("ada")) == ["r002", "r004"]


def test_whoever_looks_at_a_region_counts_as_a_verdict():
    assert names(ledger().queue("bob", looking={"r001": 2, "r002": 1})) == ["r003", "r004", "r002", "r001"]


def test_what_was_put_off_comes_last():
    assert names(ledger(says("ada", "r004")).queue("bob", skipped=["r001"])) == ["r002", "r003", "r004", "r001"]


def test_agreeing_verdicts_settle_a_region():
    said = ledger(says("ada", "r001"), says("bob", "r001", 2))
    assert not said.settled("r001")
    said.add(says("cy", "r001", 2))
    assert said.settled("r001")
    assert names(said.queue("dan")) == ["r002", "r003", "r004"]


def test_the_models_own_answer_and_not_an_error_agree():
    said = ledger(says("ada", "r001", 1))
    said.add(Verdict("r001", "bob", Answer.NOT_AN_ERROR, None, machine=False, time="t"))
    assert said.settled("r001")
    assert not said.disputed("r001")


def test_one_person_twice_is_one_opinion():
    said = ledger(says("ada", "r001"), says("ada", "r001"))
    assert not said.settled("r001")


def test_machines_do_not_count():
    said = ledger(says("judges", "r001", machine=True), says("ada", "r001"))
    assert not said.settled("r001")
    assert said.on("r001") == (says("ada", "r001"),)


def test_disputes_end_with_an_adjudication():
    said = ledger(says("ada", "r001"), says("bob", "r001", None))
    assert said.disputed("r001")
    said.add(says("bob", "r001", adjudicates=True))
    assert said.settled("r001")
    assert not said.disputed("r001")
    assert said.on("r001") == (says("ada", "r001"), says("bob", "r001", None), says("bob", "r001", adjudicates=True))


steps = st.lists(
    st.one_of(
        st.builds(says, st.sampled_from("abc"), st.sampled_from(["r001", "r002"]), st.sampled_from([0, 2, None])),
        st.sampled_from("abc"),
    ),
    max_size=30,
)


@given(steps)
def test_undo_leaves_the_same_as_never_having_said_it(script):
    walked, stands = ledger(), []
    for step in script:
        if isinstance(step, Verdict):
            walked.add(step)
            stands.append(step)
            continue
        mine = [place for place, verdict in enumerate(stands) if verdict.annotator == step]
        expected = stands.pop(mine[-1]) if mine else None
        assert walked.undo(step) == expected
    fresh = ledger(*stands)
    for region in names(REGIONS.reported):
        assert walked.on(region) == fresh.on(region)
        assert walked.settled(region) == fresh.settled(region)
        assert walked.disputed(region) == fresh.disputed(region)
    assert [walked.of(who) for who in "abc"] == [fresh.of(who) for who in "abc"]
    assert walked.queue("a") == fresh.queue("a")


@pytest.mark.parametrize("setting", [{"agreeing": 0}, {"agree": 2}])
def test_bad_input_rule(setting):
    with pytest.raises(ValidationError):
        StopRule(**setting)
