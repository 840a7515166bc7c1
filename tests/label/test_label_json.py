import json
import string
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_makers import NAMES, make_region, make_regions

from defuse.errors import VerdictError
from defuse.label import (
    VerdictStore,
    contact_sheet,
    export_json,
    export_label_studio,
    import_json,
    import_key,
    import_label_studio,
    regions_fingerprint,
)
from defuse.records import Answer, Purpose, Verdict

REGIONS = make_regions()
TIME = "2024-05-01T10:00:00+00:00"
MACHINE = Verdict("r001", "judges", Answer.CLASS, 3, machine=True, time=TIME)
ADA = Verdict("r002", "ada", Answer.CLASS, 2, machine=False, time=TIME)

answers = st.sampled_from(
    [(Answer.CLASS, 0), (Answer.CLASS, 2), (Answer.NO_CLEAR_CLASS, None), (Answer.NOT_AN_ERROR, None)]
)
people = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1).map(str.strip).filter(bool)
opinions = st.builds(
    lambda region, annotator, answer: Verdict(region, annotator, *answer, machine=False, time=TIME),
    st.sampled_from(["r001", "r002", "r003"]),
    people,
    answers,
)
full = st.builds(
    lambda verdict, shown, crossed, page, adjudicates: replace(
        verdict, shown=tuple(shown), crossed=tuple(shown[:crossed]), page=page, adjudicates=adjudicates
    ),
    opinions,
    st.lists(st.integers(0, 99), unique=True, max_size=5),
    st.integers(0, 5),
    st.text(string.hexdigits, max_size=16),
    st.booleans(),
)
patient = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


@patient
@given(st.lists(full, max_size=6))
def test_json_round_trip_keeps_everything(tmp_path, verdicts):
    export_json(tmp_path / "v.json", REGIONS, NAMES, [MACHINE, *verdicts])
    assert import_json(tmp_path / "v.json", REGIONS, NAMES) == tuple(verdicts)


@pytest.mark.parametrize("inline", [True, False])
@patient
@given(verdicts=st.lists(opinions, max_size=6))
def test_label_studio_round_trip(tmp_path, inline, verdicts):
    last_word = replace(ADA, adjudicates=True)
    export_label_studio(tmp_path / "t.json", REGIONS, NAMES, [MACHINE, *verdicts, last_word], inline=inline)
    found = import_label_studio(tmp_path / "t.json", REGIONS, NAMES)
    assert found == tuple(sorted(verdicts, key=lambda verdict: verdict.region))


def test_label_studio_tasks_show_the_contact_sheets(tmp_path):
    export_label_studio(tmp_path / "t.json", REGIONS, NAMES, inline=False)
    tasks = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    for task, region in zip(tasks, REGIONS.reported, strict=True):
        sheet = contact_sheet(REGIONS.samples[region.name, Purpose.SHOW].images)
        assert (tmp_path / task["data"]["image"]).read_bytes() == sheet
        assert task["annotations"] == []
    export_label_studio(tmp_path / "i.json", REGIONS, NAMES)
    inlined = json.loads((tmp_path / "i.json").read_text(encoding="utf-8"))
    assert all(task["data"]["image"].startswith("data:image/png;base64,iVBOR") for task in inlined)


def test_label_studio_interface_offers_every_answer(tmp_path):
    export_label_studio(tmp_path / "t.json", REGIONS, ('<b>"x" & y</b>', "square"))
    view = ET.parse(tmp_path / "t.xml")  # noqa: S314 -- our own file
    assert {choice.get("alias"): choice.get("value") for choice in view.iter("Choice")} == {
        "class:0": '<b>"x" & y</b>',
        "class:1": "square",
        "no clear class": "no clear class",
        "not an error": "not an error",
    }


def annotated(tmp_path, *annotations, **data):
    task = {"data": {"region": "r001", "regions": regions_fingerprint(REGIONS), **data}, "annotations": annotations}
    path = tmp_path / "t.json"
    path.write_text(json.dumps([task]), encoding="utf-8")
    return import_label_studio(path, REGIONS, NAMES)


def annotation(choice="class:2", who=7, **more):
    result = [{"from_name": "answer", "to_name": "tiles", "type": "choices", "value": {"choices": [choice]}}]
    return {"completed_by": who, "created_at": TIME, "result": result, **more}


@pytest.mark.parametrize(
    ("who", "name"),
    [
        (7, "user 7"),
        ({"id": 7, "email": "ada@example.org"}, "ada@example.org"),
        ({"id": 7, "first_name": "Ada", "last_name": "L"}, "Ada L"),
        ({"id": 7, "first_name": "", "last_name": None, "email": ""}, "user 7"),
    ],
)
def test_label_studio_annotators(tmp_path, who, name):
    assert [verdict.annotator for verdict in annotated(tmp_path, annotation(who=who))] == [name]


def test_label_studio_choices_by_name_and_skipped_tasks(tmp_path):
    found = annotated(tmp_path, annotation("square"), annotation("not an error"), annotation(was_cancelled=True))
    assert [(verdict.answer, verdict.label) for verdict in found] == [(Answer.CLASS, 1), (Answer.NOT_AN_ERROR, None)]


def test_importing_twice_adds_nothing(tmp_path):
    export_json(tmp_path / "v.json", REGIONS, NAMES, [ADA])
    with VerdictStore(tmp_path / "v.sqlite", REGIONS) as store:
        for _ in range(2):
            for verdict in import_json(tmp_path / "v.json", REGIONS, NAMES):
                store.add(verdict, import_key(verdict))
        assert store.all() == (ADA,)


@pytest.mark.parametrize(
    ("annotations", "data", "message"),
    [
        ([], {"region": "r009"}, "task 1: data.region 'r009' is none of the run's 3"),
        ([], {"region": ["r001"]}, r"task 1: data.region \['r001'\] is none"),
        ([], {"regions": "0" * 16}, "task 1: made from other regions"),
        ([annotation("class:4")], {}, "choice 'class:4' is no class"),
        ([annotation(["class:1"])], {}, r"choice \['class:1'\] is no class"),
        ([annotation(result=[])], {}, "expected one choice for 'answer'"),
        ([annotation(result=3)], {}, "expected one choice for 'answer'"),
        ([annotation(created_at=None)], {}, "without created_at"),
        ([annotation(who=None)], {}, "without an annotator"),
        ([annotation(who={"email": " "})], {}, "without an annotator"),
        ([3], {}, "expected annotations as mappings, got int"),
    ],
)
def test_bad_input_label_studio(tmp_path, annotations, data, message):
    with pytest.raises(VerdictError, match=rf"t\.json: .*{message}") as error:
        annotated(tmp_path, *annotations, **data)
    assert "\n" not in str(error.value)


def changed(tmp_path, **verdict):
    path = tmp_path / "v.json"
    export_json(path, REGIONS, NAMES, [ADA])
    value = json.loads(path.read_text(encoding="utf-8"))
    value["verdicts"][0] |= verdict
    path.write_text(json.dumps(value), encoding="utf-8")
    return import_json(path, REGIONS, NAMES)


@pytest.mark.parametrize(
    ("verdict", "message"),
    [
        ({"region": "r009"}, "verdicts.0.region: 'r009' is none of the run's 3"),
        ({"label": 4}, "verdicts.0.label: expected 0 to 3, got 4"),
        ({"label": -1}, "verdicts.0.label: Input should be greater than or equal to 0"),
        ({"label": None}, "a label goes with the answer 'class'"),
        ({"answer": "maybe"}, "verdicts.0.answer: Input should be"),
        ({"annotator": ""}, "verdicts.0.annotator"),
        ({"annotator": 3}, "verdicts.0.annotator"),
        ({"crossed": [1]}, "only tiles that were shown"),
        ({"time": None}, "verdicts.0.time"),
    ],
)
def test_bad_input_json(tmp_path, verdict, message):
    with pytest.raises(VerdictError, match=rf"v\.json: .*{message}") as error:
        changed(tmp_path, **verdict)
    assert "\n" not in str(error.value)


def test_bad_input_files(tmp_path):
    path = tmp_path / "v.json"
    export_json(path, make_regions(make_region("r001", 3, 1)), NAMES, [])
    with pytest.raises(VerdictError, match="speak of other regions"):
        import_json(path, REGIONS, NAMES)
    for read in (import_json, import_label_studio):
        with pytest.raises(VerdictError, match="not found"):
            read(tmp_path / "none.json", REGIONS, NAMES)
        path.write_bytes(b"\xff{")
        with pytest.raises(VerdictError, match="cannot be read as JSON"):
            read(path, REGIONS, NAMES)
        path.write_text("[" * 200_000, encoding="utf-8")
        with pytest.raises(VerdictError, match="cannot be read as JSON"):
            read(path, REGIONS, NAMES)
        path.write_text("3", encoding="utf-8")
        with pytest.raises(VerdictError, match=r"v\.json"):
            read(path, REGIONS, NAMES)
