"""A generator that draws each class in a range of grey values, so that p-values and rivals can be counted by hand."""

import numpy as np
import pytest
import torch

from defuse.errors import GeneratorError
from defuse.generators import Generator, Posterior
from defuse.judges import Judge, TypicalityJudge
from defuse.judges.typicality import BATCH, MARGIN, PER_CLASS, typical_images
from defuse.pixels import DIMMEST
from defuse.records import LabelledImages, Splits

CENTRES = torch.tensor([50.0, 120.0, 200.0, 210.0])
"""Grey value at which images of each class are likeliest."""

REACH = 30
"""Grey levels that the generator can go away from a centre."""


class Grey(Generator):
    latent, conditional, image_shape = 1, True, (1, 2, 1)

    def __init__(self):
        self.asked = 0

    def encode(self, pixels, labels):
        del labels
        return Posterior(pixels[:, 0, 0, :1], torch.zeros(len(pixels), 1))

    def decode(self, z, labels, seed=None):
        del seed
        lowest, highest = (CENTRES[labels] - REACH) / 255, (CENTRES[labels] + REACH) / 255
        return z[:, 0].clamp(lowest, highest)[:, None, None, None].expand(-1, 1, 1, 2)

    def log_likelihood(self, pixels, labels):
        self.asked += len(pixels)
        return -((pixels[:, 0, 0, 0] * 255 - CENTRES[labels]).abs())


class Nearest(Judge):
    """Likes classes by how near their centre is."""

    def _probabilities(self, pixels):
        return torch.softmax(-(pixels[:, 0, 0, :1] * 255 - CENTRES).abs() / 20, dim=1)


def images(values, labels):
    values, labels = np.asarray(values, dtype=np.uint8), np.asarray(labels, dtype=np.int64)
    pictures = np.repeat(values[:, None, None, None], 2, axis=2)
    return LabelledImages(pictures, labels, tuple("abcd"), np.arange(len(values)))


def pixels_of(values):
    return (torch.as_tensor(values, dtype=torch.float32) / 255).view(-1, 1, 1, 1).expand(-1, 1, 1, 2)


NONE = images([], [])
"""No shape is known."""

HELD_OUT = images([50, 52, 56, 40, 70, 120, 121, 125, 130, 200, 201, 210, 209], [0] * 5 + [1] * 4 + [2] * 2 + [3] * 2)


def by_hand(value, label):
    """The conformal p-value, counted over the held-out images of the class; every other class is a rival."""

    def likelihood(grey, k=label):
        return -abs(float(grey) - float(CENTRES[k]))

    def misfit(k):
        return max(abs(value - float(CENTRES[k])) - REACH, 0) / 255

    if (
        min(misfit(k) for k in range(4) if k != label) < misfit(label) + MARGIN * DIMMEST
    ):  # flat images have no contrast
        return 0.0
    others = HELD_OUT.images[HELD_OUT.labels == label, 0, 0, 0]
    return (1 + sum(likelihood(grey) <= likelihood(value) for grey in others)) / (1 + len(others))


def test_p_values_are_those_counted_by_hand():
    judge = TypicalityJudge(Nearest(), Grey(), HELD_OUT, NONE)
    values = torch.arange(0, 256, 5)
    for label in range(4):
        found = judge.plausibility(pixels_of(values), torch.full((len(values),), label))
        assert found.tolist() == pytest.approx([by_hand(value, label) for value in values.tolist()])


def test_a_shape_that_is_no_class_and_one_that_another_class_explains_are_both_unusual():
    rng = np.random.default_rng(0)
    held_out = images(rng.normal(50, 4, 200).clip(1, 254), [0] * 200)
    judge = TypicalityJudge(Nearest(), Grey(), held_out, NONE)
    usual, far, between = judge.plausibility(pixels_of([51, 5, 85]), torch.zeros(3, dtype=torch.int64)).tolist()
    assert usual > 0.5
    assert 0 < far < 0.05
    assert between == 0


def test_the_margin_is_the_caller_s():
    """Half way between 200 and 210 both classes explain the image perfectly: only a margin of nothing lets it pass."""
    at = pixels_of([205]), torch.tensor([2])
    assert TypicalityJudge(Nearest(), Grey(), HELD_OUT, NONE).plausibility(*at).item() == 0
    assert TypicalityJudge(Nearest(), Grey(), HELD_OUT, NONE, margin=0.0).plausibility(*at).item() > 0


def test_real_images_are_thrown_out_no_more_often_than_the_level_says():
    """Fresh images of the class have uniform p-values, but for ties: a grey level holds up to 7 % of them."""
    rng = np.random.default_rng(1)
    draw = lambda n: rng.normal(120, 12, n).clip(1, 254)  # noqa: E731
    judge = TypicalityJudge(Nearest(), Grey(), images(draw(PER_CLASS), [1] * PER_CLASS), NONE)
    fresh = judge.plausibility(pixels_of(np.round(draw(4000))), torch.ones(4000, dtype=torch.int64))
    for level in (0.05, 0.2):
        assert level - 0.07 < float((fresh < level).float().mean()) < level + 0.05


def test_the_batch_does_not_matter_and_nothing_is_fine():
    judge = TypicalityJudge(Nearest(), Grey(), HELD_OUT, NONE)
    count = BATCH + 7
    labels = torch.arange(count) % 4
    values = torch.arange(count) % 256
    whole = judge.plausibility(pixels_of(values), labels)
    assert torch.equal(whole[-9:], judge.plausibility(pixels_of(values[-9:]), labels[-9:]))
    assert judge.plausibility(pixels_of([]), labels[:0]).shape == (0,)


def test_the_held_out_images_are_looked_at_once_and_only_when_asked():
    generator = Grey()
    judge = TypicalityJudge(Nearest(), generator, HELD_OUT, NONE)
    assert torch.equal(judge.probabilities(pixels_of([50])), Nearest().probabilities(pixels_of([50])))
    assert generator.asked == 0
    judge.plausibility(pixels_of([50]), torch.tensor([0]))
    first = generator.asked
    judge.plausibility(pixels_of([50]), torch.tensor([0]))
    assert generator.asked - first == 1


def test_bad_input_a_generator_without_a_likelihood():
    class Plain(Grey):
        log_likelihood = Generator.log_likelihood

    judge = TypicalityJudge(Nearest(), Plain(), HELD_OUT, NONE)
    with pytest.raises(GeneratorError, match="Plain has no likelihood; drop the gate of kind plausible"):
        judge.plausibility(pixels_of([50]), torch.tensor([0]))


def test_typical_images_are_held_out_ones_and_then_evenly_spaced_reference_images():
    rng = np.random.default_rng(2)
    many = images(rng.integers(0, 255, 2 * PER_CLASS), [0] * (2 * PER_CLASS))
    few = images(rng.integers(0, 255, 30), [1] * 30)
    reference = images(np.arange(1000) % 255, [1] * 999 + [2])
    splits = Splits(reference, LabelledImages.concatenate([many, few]), images([], []))
    found = typical_images(splits)
    assert np.bincount(found.labels, minlength=4).tolist() == [PER_CLASS, PER_CLASS, 1, 0]
    rows = found.rows[found.labels == 0]
    assert (rows[0], rows[-1]) == (0, 2 * PER_CLASS - 1)
    assert set(np.diff(rows)) == {2, 3}
    of_small_class = found.take(found.labels == 1)
    assert np.array_equal(of_small_class.images[:30], few.images)
    rows = of_small_class.rows[30:]
    assert len(rows) == PER_CLASS - 30
    assert set(np.diff(rows)) == {2, 3}
    assert rows[0] == 0
    assert rows[-1] >= 999 - 3


def test_a_class_with_one_held_out_group_can_still_be_found_unusual():
    rng = np.random.default_rng(3)
    draw = lambda n: images(rng.normal(50, 4, n).clip(1, 254), [0] * n)  # noqa: E731
    splits = Splits(draw(300), draw(30), draw(0))
    judge = TypicalityJudge(Nearest(), Grey(), typical_images(splits), NONE)
    assert float(judge.plausibility(pixels_of([5]), torch.tensor([0]))) < 0.02
