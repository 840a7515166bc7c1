"""Correct: repair the classifier on its regions, prove the repair, and leave a regression suite behind."""

from defuse.correct.compare import CaseComparison, Fate, compare
from defuse.correct.export import export_regions
from defuse.correct.junit import junit_xml
from defuse.correct.measure import pareto_front
from defuse.correct.repair import Correct, Corrected
from defuse.correct.storage import load_corrected, load_repair, save_corrected, save_repair
from defuse.correct.suite import UNREPAIRED_MAX_FAILURE_RATE, build_suite, case_title, check
from defuse.correct.suite_files import keep_accepted, load_suite, save_suite

__all__ = [
    "UNREPAIRED_MAX_FAILURE_RATE",
    "CaseComparison",
    "Correct",
    "Corrected",
    "Fate",
    "build_suite",
    "case_title",
    "check",
    "compare",
    "export_regions",
    "junit_xml",
    "keep_accepted",
    "load_corrected",
    "load_repair",
    "load_suite",
    "pareto_front",
    "save_corrected",
    "save_repair",
    "save_suite",
]
