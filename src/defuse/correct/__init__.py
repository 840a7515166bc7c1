"""Correct: repair the classifier on its regions, prove the repair, and leave a regression suite behind."""

from defuse.correct.repair import Correct, Corrected
from defuse.correct.storage import load_corrected, load_repair, save_corrected, save_repair
from defuse.correct.suite import UNREPAIRED_MAX_FAILURE_RATE, build_suite, check
from defuse.correct.suite_files import load_suite, save_suite

__all__ = [
    "UNREPAIRED_MAX_FAILURE_RATE",
    "Correct",
    "Corrected",
    "build_suite",
    "check",
    "load_corrected",
    "load_repair",
    "load_suite",
    "save_corrected",
    "save_repair",
    "save_suite",
]
