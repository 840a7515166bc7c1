import pytest
import torch
from label_makers import make_region, make_tiles
from pydantic import ValidationError

from defuse.judges.base import Judge
from defuse.label import MachineAnnotator
from defuse.records import Answer, Verdict

REGION = make_region("r001", label=0, predicted=1)


class Reader(Judge):
    """Reads class and confidence off the grey level: 10 * class + confidence in tenths."""

    def _probabilities(self, pixels):
        grey = (pixels[:, 0, 0, 0] * 255).round().long()
        probabilities = torch.zeros(len(pixels), 4)
        return probabilities.scatter_(1, (grey // 10)[:, None], (grey % 10)[:, None] / 10)


def answer(grey_levels, **settings):
    verdict = MachineAnnotator(**settings).verdict(REGION, make_tiles(REGION, grey_levels), Reader(), time="now")
    return verdict.answer, verdict.label


def test_most_tiles_show_one_class():
    tiles = make_tiles(REGION, [9] * 7 + [39] * 3)
    assert MachineAnnotator().verdict(REGION, tiles, Reader(), time="now") == Verdict(
        "r001", "judges", Answer.CLASS, 0, machine=True, time="now"
    )


def test_it_may_name_another_class_than_the_proposed():
    assert answer([29] * 10) == (Answer.CLASS, 2)


def test_the_models_own_answer_is_no_error():
    assert answer([19] * 8 + [9] * 2) == (Answer.NOT_AN_ERROR, None)


def test_too_little_agreement():
    assert answer([9] * 6 + [29] * 4) == (Answer.NO_CLEAR_CLASS, None)
    assert answer([9] * 6 + [29] * 4, agreement=0.6) == (Answer.CLASS, 0)


def test_unsure_tiles_count_against_agreement():
    assert answer([9] * 6 + [4] * 4) == (Answer.NO_CLEAR_CLASS, None)
    assert answer([9] * 6 + [4] * 4, confidence=0.4) == (Answer.CLASS, 0)


def test_nothing_clear_or_nothing_at_all():
    assert answer([2, 14, 23]) == (Answer.NO_CLEAR_CLASS, None)
    assert answer([]) == (Answer.NO_CLEAR_CLASS, None)


@pytest.mark.parametrize("setting", [{"agreement": 0.5}, {"agreement": 1.1}, {"confidence": 0.0}, {"share": 0.7}])
def test_bad_input_hyperparameters(setting):
    with pytest.raises(ValidationError):
        MachineAnnotator(**setting)
