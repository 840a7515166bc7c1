import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_correct_suite import Mean, one_case

from defuse.correct import check, junit_xml
from defuse.outcomes import Suite, Triage

ATTRIBUTES = {
    "testsuites": {"name", "tests", "failures", "errors", "skipped", "time"},
    "testsuite": {"name", "tests", "failures", "errors", "skipped", "time", "timestamp", "hostname"},
    "testcase": {"classname", "name", "time"},
    "failure": {"message", "type"},
    "skipped": {"message"},
}
"""What the schemas of Ant, Jenkins and GitLab agree on."""


def written(suite, model, name="suite"):
    text = junit_xml(suite, check(suite, model), name)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n')
    return ET.fromstring(text.encode())  # noqa: S314 -- our own text


def suite_of(*triages, names=("left", "right")):
    (case,) = one_case().cases
    cases = tuple(replace(case, region=f"r{i + 1:03d}", triage=triage) for i, triage in enumerate(triages))
    return Suite(names, cases)


@pytest.mark.parametrize(("wrong", "failures", "skipped"), [(5, 0, 0), (50, 2, 1)])
def test_counts_elements_and_attributes_are_as_the_schemas_have_them(wrong, failures, skipped):
    root = written(suite_of(Triage.OPEN, Triage.ACCEPTED, Triage.REPAIRED), Mean(wrong))
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    for element in root.iter():
        assert set(element.attrib) == ATTRIBUTES[element.tag]
    counts = {"tests": "3", "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    for element in (root, suite):
        assert {key: element.attrib[key] for key in counts} == counts
        assert float(element.attrib["time"]) >= 0
    assert len(suite.findall("testcase")) == 3
    assert len(suite.findall("testcase/failure")) == failures
    assert [case.attrib["name"][:4] for case in suite if case.find("skipped") is not None] == ["r002"] * skipped
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
    names = [case.attrib["name"] for case in suite]
    assert names == [f"r00{i}: right read as left" for i in (1, 2, 3)]
    for failure in suite.iter("failure"):
        assert failure.attrib["message"] == "50 of 200 images misread (25.0 %), at most 10.0 % allowed"


@given(st.text(min_size=1), st.text())
def test_any_class_name_makes_a_document_that_parses(name, suite_name):
    (case,) = written(suite_of(Triage.OPEN, names=(name + "0", name)), Mean(50, (name + "0", name)), suite_name)[0]
    plain = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", name)
    assert case.attrib["name"] == f"r001: {plain} read as {plain}0"
