"""Two models on one regression suite: what the newer one fixed, kept, and newly gets wrong."""

from dataclasses import dataclass
from enum import StrEnum

from defuse.classifiers.base import Classifier
from defuse.correct.statistics import flips
from defuse.correct.suite import read_case, require_suite_classes, scored
from defuse.outcomes import CaseResult, Flips, Suite


class Fate(StrEnum):
    """What became of one case from an old model to a new one."""

    FIXED = "fixed"
    KEPT = "kept"
    NEW = "new"
    FAILING = "failing"


@dataclass(frozen=True)
class CaseComparison:
    """One case under two models.

    Attributes:
        old: of the first model.
        new: of the second.
        flips: the case's images that only one of the two reads right.
    """

    old: CaseResult
    new: CaseResult
    flips: Flips

    @property
    def fate(self) -> Fate:
        """Fixed: fails, then passes. Kept: passes twice. New: passes, then fails. Failing: fails twice."""
        if self.new.passed:
            return Fate.KEPT if self.old.passed else Fate.FIXED
        return Fate.NEW if self.old.passed else Fate.FAILING


def compare(suite: Suite, old: Classifier, new: Classifier) -> tuple[CaseComparison, ...]:
    """Hold two models against every case of a suite, in the suite's order.

    Raises:
        SuiteError: a model has other classes, or cannot read images of the suite's size.
    """
    for model in (old, new):
        require_suite_classes(suite, model)
    compared = []
    for case in suite.cases:
        before, after = read_case(case, old), read_case(case, new)
        compared.append(CaseComparison(scored(case, before), scored(case, after), flips(before, after)))
    return tuple(compared)
