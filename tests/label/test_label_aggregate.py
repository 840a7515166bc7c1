from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_makers import make_region, make_regions
from pydantic import ValidationError

from defuse.errors import VerdictError
from defuse.label import Majority
from defuse.records import Answer, RegionLabel, Verdict

REGION = make_region("r001", label=6, predicted=1)
REGIONS = make_regions(REGION)
decide = Majority().decide
DIGITS = tuple("0123456789")


def says(answer, annotator="ada", *, machine=False, region="r001"):
    if isinstance(answer, int):
        return Verdict(region, annotator, Answer.CLASS, answer, machine, "t")
    return Verdict(region, annotator, answer, None, machine, "t")


def ballot(*answers):
    return [says(answer, f"person {i}") for i, answer in enumerate(answers)]


@pytest.mark.parametrize(
    ("answers", "label", "reason", "votes"),
    [
        ([], None, "no votes", ()),
        ([6], 6, "majority", (("6", 1),)),
        ([6, 6, 0], 6, "majority", (("6", 2), ("0", 1))),
        ([6, 0], None, "no majority", (("0", 1), ("6", 1))),
        ([6, 6, 0, 2], None, "no majority", (("6", 2), ("0", 1), ("2", 1))),
        (
            [Answer.NO_CLEAR_CLASS, Answer.NO_CLEAR_CLASS, 6],
            None,
            "no clear class",
            (("no clear class", 2), ("6", 1)),
        ),
        ([Answer.NOT_AN_ERROR], None, "not an error", (("not an error", 1),)),
        ([1, 1], None, "not an error: it shows 1, as the model says", (("1", 2),)),
        (
            [1, Answer.NOT_AN_ERROR, 6],
            None,
            "not an error: it shows 1, as the model says",
            (("1", 1), ("6", 1), ("not an error", 1)),
        ),
        ([0, 0, 6], 0, "majority", (("0", 2), ("6", 1))),
    ],
)
def test_more_than_half_decide(answers, label, reason, votes):
    assert decide(REGIONS, ballot(*answers), class_names=DIGITS) == (
        RegionLabel("r001", label, reason, votes, machine=False),
    )


def test_people_outrank_machines():
    machines = [says(6, f"judge {i}", machine=True) for i in range(3)]
    (alone,) = decide(REGIONS, machines, class_names=DIGITS)
    assert (alone.label, alone.machine) == (6, True)
    (outranked,) = decide(REGIONS, [*machines, says(Answer.NO_CLEAR_CLASS)], class_names=DIGITS)
    assert outranked == RegionLabel("r001", None, "no clear class", (("no clear class", 1),), machine=False)


def test_people_outrank_machines_on_their_own_region_only():
    other = make_region("r002", label=4, predicted=9)
    first, second = decide(make_regions(REGION, other), [says(6), says(4, "judges", machine=True, region="r002")])
    assert (first.machine, second.machine, second.label) == (False, True, 4)


def test_nobody_is_no_machine():
    assert decide(REGIONS, [])[0].machine is False


def test_min_votes():
    (label,) = Majority(min_votes=3).decide(REGIONS, ballot(6, 6))
    assert (label.label, label.reason) == (None, "too few votes: 2 of 3")
    assert Majority(min_votes=3).decide(REGIONS, ballot(6, 6, 6))[0].label == 6


def test_classes_without_names_are_numbered():
    assert decide(REGIONS, [says(6)], class_names=("a",))[0].votes == (("class 6", 1),)


def test_regions_keep_their_order():
    regions = make_regions(*(make_region(name, 6, 1) for name in ("r003", "r001", "r002")))
    assert [label.region for label in decide(regions, [])] == ["r003", "r001", "r002"]


@given(st.lists(st.sampled_from([0, 1, 2, 6, *(a for a in Answer if a is not Answer.CLASS)]), max_size=9))
def test_decision_is_the_strict_majority_of_what_was_meant(answers):
    meant = Counter(Answer.NOT_AN_ERROR if answer == 1 else answer for answer in answers)
    winners = [answer for answer, count in meant.items() if count > len(answers) / 2]
    expected = winners[0] if winners and winners[0] in (0, 2, 6) and not isinstance(winners[0], Answer) else None
    (label,) = decide(REGIONS, ballot(*answers), class_names=DIGITS)
    assert label.label == expected
    assert (label.reason == "majority") == (expected is not None)
    assert sum(count for _, count in label.votes) == len(answers)


def test_bad_input_verdict_on_an_unknown_region():
    with pytest.raises(VerdictError, match="verdict of ada: r009 is not among the 1 regions"):
        decide(REGIONS, [says(6, region="r009")])


def test_bad_input_hyperparameters():
    with pytest.raises(ValidationError):
        Majority(min_votes=0)
    with pytest.raises(ValidationError):
        Majority(votes=1)


def test_an_adjudication_outranks_all_votes():
    votes = [*ballot(6, 6, 0), replace(says(0, "dan"), adjudicates=True)]
    assert decide(REGIONS, votes, DIGITS) == (
        RegionLabel("r001", 0, "adjudicated", (("6", 2), ("0", 1)), machine=False),
    )
    votes.append(replace(says(Answer.NO_CLEAR_CLASS, "eve"), adjudicates=True))
    (decided,) = decide(REGIONS, votes, DIGITS)
    assert (decided.label, decided.reason) == (None, "no clear class (adjudicated)")
    votes.append(replace(says(1, "fay"), adjudicates=True))
    (decided,) = decide(REGIONS, votes, DIGITS)
    assert (decided.label, decided.reason) == (None, "not an error (adjudicated)")


def test_an_adjudication_alone_is_a_persons_word():
    (decided,) = decide(REGIONS, [says(0, "judges", machine=True), replace(says(6), adjudicates=True)], DIGITS)
    assert (decided.label, decided.machine) == (6, False)
