"""What fresh samples prove of a region: rates, the exact test against rho, and the false discovery rate."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import binomtest, false_discovery_control

from defuse.records import Evidence, Rate, RegionSamples


def failure_p_value(failure: Rate, rho: float) -> float:
    """Return the p-value of the exact one-sided binomial test of "the failure rate is greater than rho".

    The alternative is the paper's relaxed definition of a misclassification region. Without a trial it is 1.
    """
    if not failure.trials:
        return 1.0
    return float(binomtest(failure.successes, failure.trials, rho, alternative="greater").pvalue)


def gather_evidence(samples: RegionSamples, label: int, rho: float) -> Evidence:
    """Count keep rate and failure rate of fresh samples; the q value is that of a region tested alone."""
    answers = samples.predicted[samples.kept]
    failure = Rate.of(answers != label)
    classes, counts = np.unique(answers, return_counts=True)
    ranked = sorted(zip(classes.tolist(), counts.tolist(), strict=True), key=lambda item: (-item[1], item[0]))
    p_value = failure_p_value(failure, rho)
    return Evidence(Rate(len(answers), len(samples)), failure, tuple(ranked), p_value, p_value)


def adjust(tested: Sequence[Evidence]) -> list[Evidence]:
    """Set the q values: Benjamini-Hochberg, once over every candidate region that was tested."""
    if not tested:
        return []
    q_values = false_discovery_control([one.p_value for one in tested], method="bh")
    return [replace(one, q_value=float(q)) for one, q in zip(tested, q_values, strict=True)]
