"""What every gate promises. A new one joins with a row in ``GATES``."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from scipy.special import softmax

from defuse.identify.driver import AnyGate
from defuse.judges import (
    Candidates,
    Judge,
    KeepsLabel,
    LabelGate,
    Legible,
    Misclassified,
    Plausible,
    ReadAs,
    Screen,
    Unanimous,
)

CLASSES = 4
N = 200

GATES = {
    "misclassified": Misclassified(),
    "read as": ReadAs(2),
    "keeps label": KeepsLabel(),
    "keeps label, lenient": KeepsLabel(threshold=0.3),
    "legible": Legible(detail=0.25),
    "plausible": Plausible(level=0.3),
}


class Unprepared(Judge):
    """As a user's own may be: it cannot be asked about nothing."""

    def _probabilities(self, pixels):
        return pixels.view(pixels.size(0), -1)[:, :CLASSES]


class Painted(Judge):
    """Reads class probabilities off the first row of pixels."""

    def __init__(self, exponent=1.0):
        self.exponent = exponent

    def _probabilities(self, pixels):
        return pixels[:, 0, 0, :CLASSES] ** self.exponent

    def plausibility(self, pixels, labels):
        return self._probabilities(pixels).gather(1, (labels[:, None] + 1) % CLASSES)[:, 0]


def paint(probabilities):
    pixels = torch.zeros(len(probabilities), 1, 2, CLASSES)
    pixels[:, 0, 0] = torch.as_tensor(probabilities, dtype=torch.float32)
    return pixels


@pytest.fixture(scope="module")
def candidates():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(CLASSES, 0.15), N)
    labels = np.where(rng.random(N) < 0.7, probabilities.argmax(1), rng.integers(0, CLASSES, N))
    logits = (3 * rng.standard_normal((N, CLASSES))).astype(np.float32)
    pixels = paint(probabilities)
    return Candidates(pixels, torch.from_numpy(labels), torch.from_numpy(logits), pixels)


@pytest.fixture(params=GATES)
def gate(request):
    return GATES[request.param]


def test_one_yes_or_no_and_one_score_per_candidate(gate, candidates):
    passed = gate.check(candidates, Painted())
    assert passed.mask.shape == passed.score.shape == (N,)
    assert passed.mask.dtype == torch.bool
    assert passed.score.dtype == torch.float32
    assert 0 <= passed.score.min() <= passed.score.max() <= 1
    assert 10 < passed.mask.sum() < N - 10


def test_a_candidate_s_answer_is_its_own(gate, candidates):
    """A gate may be given what earlier gates passed: the rest's answers do not depend on what is missing."""
    passed = gate.check(candidates, Painted())
    some = torch.arange(N) % 3 == 0
    alone = gate.check(candidates.take(some), Painted())
    assert torch.equal(alone.mask, passed.mask[some])
    assert torch.equal(alone.score, passed.score[some])


def test_no_candidates_are_fine(gate, candidates):
    nothing = candidates.take(torch.zeros(N, dtype=torch.bool))
    for judge in (Painted(), Unprepared(), Unanimous((Painted(), Unprepared()))):
        passed = gate.check(nothing, judge)
        assert passed.mask.shape == passed.score.shape == (0,)


def test_names_are_the_keys_of_the_configuration(gate):
    if isinstance(gate, ReadAs):
        pytest.skip("identify.focus asks for this gate, the list of gates cannot")
    assert gate.name == gate.kind
    settings = {field.name: getattr(gate, field.name) for field in fields(gate)}
    assert TypeAdapter(AnyGate).validate_python(settings) == gate


def test_taking_candidates_keeps_their_parts_together(candidates):
    mask = candidates.labels == 2
    taken = candidates.take(mask)
    assert len(taken) == int(mask.sum())
    assert torch.equal(taken.pixels, candidates.pixels[mask])
    assert torch.equal(taken.logits, candidates.logits[mask])
    assert (taken.labels == 2).all()


def test_misclassified_has_its_closed_form(candidates):
    passed = Misclassified().check(candidates, Painted())
    logits, labels = candidates.logits.numpy().astype(float), candidates.labels.numpy()
    assert np.array_equal(passed.mask.numpy(), logits.argmax(1) != labels)
    np.testing.assert_allclose(passed.score.numpy(), softmax(logits, axis=1).max(1), rtol=1e-5)


@pytest.mark.parametrize("answer", range(CLASSES))
def test_read_as_has_its_closed_form(candidates, answer):
    passed = ReadAs(answer).check(candidates, Painted())
    logits = candidates.logits.numpy().astype(float)
    assert np.array_equal(passed.mask.numpy(), logits.argmax(1) == answer)
    np.testing.assert_allclose(passed.score.numpy(), softmax(logits, axis=1)[:, answer], rtol=1e-5)


@pytest.mark.parametrize("gate", [Misclassified(), ReadAs(0)])
def test_a_gate_on_answers_never_asks_the_judge(candidates, gate):
    class Asked(Judge):
        def _probabilities(self, pixels):
            pytest.fail(f"the judge was shown {len(pixels)} images")

    gate.check(candidates, Asked())


def test_keeps_label_scores_the_label_s_own_probability(candidates):
    passed = KeepsLabel(threshold=0.6).check(candidates, Painted())
    own = candidates.pixels[:, 0, 0].numpy()[np.arange(N), candidates.labels.numpy()]
    assert np.array_equal(passed.score.numpy(), own)
    assert np.array_equal(passed.mask.numpy(), own >= 0.6)


def test_keeps_label_s_threshold_itself_passes():
    for threshold in (0.5, 0.9, 0.75, 1 / 3):
        at = np.float32(threshold)
        own = np.array([np.nextafter(at, np.float32(0)), at, np.nextafter(at, np.float32(1))])
        probabilities = torch.zeros(3, CLASSES)
        probabilities[:, 1] = torch.from_numpy(own)
        labels = torch.ones(3, dtype=torch.int64)
        gate = KeepsLabel(threshold=threshold)
        pixels = paint(probabilities)
        at_gate = gate.check(Candidates(pixels, labels, torch.zeros(3, CLASSES), pixels), Painted())
        assert at_gate.mask.tolist() == [False, True, True]


def test_plausible_asks_the_judge_and_every_plain_judge_says_yes(candidates):
    passed = Plausible(level=0.2).check(candidates, Painted())
    own = candidates.pixels[:, 0, 0].numpy()[np.arange(N), (candidates.labels.numpy() + 1) % CLASSES]
    assert np.array_equal(passed.score.numpy(), own)
    assert np.array_equal(passed.mask.numpy(), own >= np.float32(0.2))

    class Plain(Judge):
        def _probabilities(self, pixels):
            pytest.fail(f"the judge was shown {len(pixels)} images")

    assert Plausible().check(candidates, Plain()).mask.all()


def test_a_screen_keeps_what_every_gate_passes_and_asks_no_more_than_needed(candidates):
    gates = (KeepsLabel(threshold=0.4), Plausible(level=0.1))
    pixels, labels = candidates.pixels, candidates.labels
    each = [gate.check(candidates, Painted()).mask for gate in gates]
    assert 0 < (each[0] & each[1]).sum() < each[0].sum()
    for order in (gates, gates[::-1]):
        assert torch.equal(Screen(order, Painted()).keeps(pixels, labels), each[0] & each[1])
    assert Screen((), Painted()).keeps(pixels, labels).all()
    shown = []

    class Counting(Painted):
        def plausibility(self, pixels, labels):
            shown.append(len(pixels))
            return super().plausibility(pixels, labels)

    Screen(gates, Counting()).keeps(pixels, labels)
    assert shown == [int(each[0].sum())]


def test_what_the_gate_passed_in_the_search_the_screen_keeps(gate, candidates):
    if not isinstance(gate, LabelGate):
        pytest.skip("this gate looks at the classifier's answer")
    passed = gate.check(candidates, Painted()).mask
    assert torch.equal(Screen((gate,), Painted()).keeps(candidates.pixels, candidates.labels), passed)


def test_unanimous_gives_the_least_that_any_member_gives(candidates):
    members = (Painted(), Painted(exponent=2.0), Painted(exponent=0.5))
    together = Unanimous(members).probabilities(candidates.pixels)
    stacked = np.stack([member.probabilities(candidates.pixels).numpy() for member in members])
    assert np.array_equal(together.numpy(), stacked.min(0))
    one = Unanimous(members[:1]).probabilities(candidates.pixels)
    assert torch.equal(one, members[0].probabilities(candidates.pixels))


def test_unanimous_passes_exactly_what_every_member_passes(candidates):
    members = (Painted(), Painted(exponent=3.0))
    gate = KeepsLabel(threshold=0.5)
    together = gate.check(candidates, Unanimous(members)).mask
    each = [gate.check(candidates, member).mask for member in members]
    assert torch.equal(together, each[0] & each[1])
    assert 0 < together.sum() < each[0].sum()


@pytest.mark.parametrize("batch", [1, 7, N, 10_000])
def test_a_judge_s_answers_do_not_depend_on_the_batch(candidates, batch):
    whole = Painted().probabilities(candidates.pixels)
    assert torch.equal(Painted().probabilities(candidates.pixels, batch), whole)
    assert whole.shape == (N, CLASSES)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 1.5, float("nan"), "high", None])
def test_bad_input_threshold(threshold):
    with pytest.raises(ValidationError):
        KeepsLabel(threshold=threshold)


@pytest.mark.parametrize("kind", [KeepsLabel, Misclassified, Plausible])
def test_bad_input_unknown_setting(kind):
    with pytest.raises(ValidationError):
        kind(treshold=0.5)


@pytest.mark.parametrize("level", [0, 1, -0.1, float("nan"), "high"])
def test_bad_input_level(level):
    with pytest.raises(ValidationError):
        Plausible(level=level)
