"""Results of a regression suite as JUnit XML, which continuous integration knows how to show."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from defuse.correct.suite import case_title
from defuse.outcomes import CaseResult, Suite, Triage

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no XML 1.0 document may hold, not even escaped."""


def junit_xml(suite: Suite, results: Sequence[CaseResult], name: str) -> str:
    """Return the results as one ``testsuite`` with a ``testcase`` for each region, in the suite's order.

    An accepted region that fails is ``skipped``. Characters that XML cannot hold are replaced.

    Args:
        suite: what was checked.
        results: of ``check``, one a case.
        name: of the suite.
    """
    seconds = sum(result.seconds for result in results)
    totals = {
        "tests": str(len(results)),
        "failures": str(sum(result.blocks for result in results)),
        "errors": "0",
        "skipped": str(sum(not result.passed and not result.blocks for result in results)),
        "time": f"{seconds:.3f}",
    }
    root = ET.Element("testsuites", {"name": "defuse", **totals})
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    place = {"name": _clean(name), **totals, "timestamp": stamp, "hostname": "localhost"}
    parent = ET.SubElement(root, "testsuite", place)
    for case, result in zip(suite.cases, results, strict=True):
        title = _clean(f"{case.region}: {case_title(case, suite.class_names)}")
        entry = {"classname": "defuse.suite", "name": title, "time": f"{result.seconds:.3f}"}
        _add_outcome(ET.SubElement(parent, "testcase", entry), result)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_outcome(element: ET.Element, result: CaseResult) -> None:
    if result.blocks:
        failure = ET.SubElement(element, "failure", {"message": result.sentence, "type": "failure rate"})
        failure.text = result.sentence
    elif not result.passed:
        ET.SubElement(element, "skipped", {"message": f"{Triage.ACCEPTED}: {result.sentence}"})


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
