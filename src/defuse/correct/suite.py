"""The regression suite: images that a model once got wrong, with a threshold that every later model must hold."""

import time

import numpy as np

from defuse.classifiers.base import Classifier
from defuse.correct.measure import failure_rate
from defuse.correct.targets import Target, find_targets, samples_of, usable
from defuse.errors import ClassifierError, SuiteError
from defuse.outcomes import UNTRIED, CaseResult, CaseSource, Repair, Suite, SuiteCase, Triage
from defuse.progress import Progress, silent
from defuse.records import Purpose, Rate, RegionLabel, Regions, RegionSamples
from defuse.types import Mask

UNREPAIRED_MAX_FAILURE_RATE = 0.1
"""Threshold of a case when no repaired model shows what can be reached: at most one image in ten may be misread."""

MOST = 0.5
"""No threshold is higher: a case on which most images fail is a bug that is there, whatever was repaired."""


def build_suite(
    regions: Regions,
    labels: tuple[RegionLabel, ...],
    repair: Repair | None,
    classifier: Classifier,
    class_names: tuple[str, ...],
    *,
    generator: str,
    seed: int,
    kept_only: bool = True,
) -> Suite:
    """Make one case of the ``final`` samples of each region that was given a class.

    A case's threshold is the upper 95 % Wilson bound of the repaired model's failure rate on the case's images: a later
    model may be as bad as the repaired one within chance, and no worse; but never above ``MOST``. Without a
    repaired model it is ``UNREPAIRED_MAX_FAILURE_RATE``. A region without a usable image makes no case.

    Args:
        regions: with their ``final`` samples, as 8-bit images.
        labels: the majority's decisions.
        repair: the record of the repair; None, or without a chosen lambda, when no model was repaired.
        classifier: the repaired model; not asked when there is none.
        class_names: of the data.
        generator: SHA-256 of the weights that drew the samples.
        seed: of the run.
        kept_only: as in ``Correct``.

    Raises:
        VerdictError: labels that do not fit the regions.
        RunError: a labelled region lacks its final samples.
    """
    judge = classifier if repair is not None and repair.chosen is not None else None
    cases = []
    for target in find_targets(regions, labels, class_names):
        samples = samples_of(regions, target.region.name, Purpose.FINAL)
        counted = usable(samples, kept_only=kept_only)
        if counted.any():
            source = CaseSource(generator, seed, samples.z[counted])
            cases.append(_case(target, samples, counted, judge, source))
    return Suite(class_names, tuple(cases))


def _case(
    target: Target, samples: RegionSamples, counted: Mask, repaired: Classifier | None, source: CaseSource
) -> SuiteCase:
    images, answers = samples.images[counted], samples.predicted[counted]
    wrong = answers[answers != target.label]
    before = int(np.bincount(wrong).argmax()) if len(wrong) else target.region.predicted
    measured = UNTRIED if repaired is None else failure_rate(repaired, images, target.label)
    limit = UNREPAIRED_MAX_FAILURE_RATE if repaired is None else min(measured.interval[1], MOST)
    triage = Triage.OPEN if repaired is None else Triage.REPAIRED
    return SuiteCase(target.region.name, target.label, before, images, limit, measured, triage, source)


def case_title(case: SuiteCase, class_names: tuple[str, ...]) -> str:
    """Return the bug in words."""
    return f"{class_names[case.label]} read as {class_names[case.predicted_before]}"


def check(suite: Suite, classifier: Classifier, *, progress: Progress = silent) -> tuple[CaseResult, ...]:
    """Return how a model does on every case of a suite, in the suite's order.

    Raises:
        SuiteError: the model has other classes, or cannot read images of the suite's size.
    """
    require_suite_classes(suite, classifier)
    results = []
    for done, case in enumerate(suite.cases, start=1):
        began = time.monotonic()
        right = read_case(case, classifier)
        results.append(scored(case, right, time.monotonic() - began))
        progress("check", done, len(suite.cases), case.region)
    return tuple(results)


def scored(case: SuiteCase, right: Mask, seconds: float = 0.0) -> CaseResult:
    """Return the result of a model that reads the case's images, (n,), right where said."""
    return CaseResult(case.region, Rate.of(~right), case.max_failure_rate, case.triage, seconds)


def read_case(case: SuiteCase, classifier: Classifier) -> Mask:
    """Return which of a case's images a model reads right, (n,).

    Raises:
        SuiteError: it cannot read images of that size.
    """
    try:
        return classifier.predict(case.images) == case.label
    except (ClassifierError, RuntimeError, ValueError, TypeError, IndexError) as error:
        size = " x ".join(map(str, case.images.shape[1:]))
        raise SuiteError(
            f"suite: case {case.region}: the classifier cannot read its images of {size} "
            f"({' '.join(str(error).split())}); use the image size and channels that the suite was made with"
        ) from None


def require_suite_classes(suite: Suite, classifier: Classifier) -> None:
    """Check that a model speaks of the suite's classes.

    Raises:
        SuiteError: it has others, or the same in another order.
    """
    mine, theirs = suite.class_names, classifier.class_names
    if mine == theirs:
        return
    if len(mine) != len(theirs):
        what = f"made for {len(mine)} classes, the classifier has {len(theirs)}"
    else:
        index = next(i for i, (a, b) in enumerate(zip(mine, theirs, strict=True)) if a != b)
        what = f"class {index} is {mine[index]!r}, the classifier's is {theirs[index]!r}"
    raise SuiteError(f"suite: {what}; check a classifier of the same class list, in the same order")
