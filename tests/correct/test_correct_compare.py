import numpy as np
import pytest
from test_correct_suite import CLASSES, Mean, one_case, steps

from defuse.correct import Fate, compare
from defuse.errors import SuiteError
from defuse.outcomes import Flips, Suite, SuiteCase


@pytest.mark.parametrize(
    ("old", "new", "fate"), [(30, 10, Fate.FIXED), (10, 20, Fate.KEPT), (10, 30, Fate.NEW), (40, 30, Fate.FAILING)]
)
def test_fate_follows_from_who_passes(old, new, fate):
    """``Mean(m)`` misreads exactly m of the 200 images; 20 are allowed."""
    (found,) = compare(one_case(), Mean(old), Mean(new))
    assert found.fate is fate
    assert (found.old.failure.successes, found.new.failure.successes) == (old, new)
    assert found.flips == Flips(max(old - new, 0), max(new - old, 0))


def test_cases_come_in_the_suite_s_order_and_each_model_must_fit():
    cases = tuple(SuiteCase(name, 1, 0, steps(count), 0.1) for name, count in (("r002", 40), ("r001", 200)))
    found = compare(Suite(CLASSES, cases), Mean(10), Mean(10))
    assert [each.old.region for each in found] == ["r002", "r001"]
    assert [each.fate for each in found] == [Fate.FAILING, Fate.KEPT]
    other = Mean(0, ("left", "right", "up"))
    for pair in ((other, Mean(0)), (Mean(0), other)):
        with pytest.raises(SuiteError, match="made for 2 classes, the classifier has 3"):
            compare(one_case(), *pair)
    wide = Suite(CLASSES, (SuiteCase("r001", 1, 0, np.zeros((2, 9, 9, 3), np.uint8), 0.1),))
    with pytest.raises(SuiteError, match="case r001"):
        compare(wide, Mean(0), Mean(0))
