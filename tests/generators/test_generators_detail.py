"""A generator that draws two flat halves; real images have a pattern on them that it loses."""

import numpy as np
import pytest
import torch

from defuse.generators import Detail, Generator, Posterior, Renderer, reconstruct
from defuse.generators.detail import ALIKE, SIMILAR, STRONGEST, WEAKEST
from defuse.pixels import to_bytes
from defuse.records import LabelledImages

CHECKS = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(2, 2)
STRIPES = torch.tensor([[1.0, -1.0], [1.0, -1.0]]).repeat(2, 2)


class Halves(Generator):
    """Left half 0.2; right half brighter than that by 0.6 times the first latent number; the second is not drawn."""

    latent, conditional, image_shape = 2, True, (4, 4, 1)

    def encode(self, pixels, labels):
        del labels
        mean = torch.cat([(pixels[:, :, :, 2:].mean((2, 3)) - 0.2) / 0.6, pixels[:, :, 0, 0]], dim=1)
        return Posterior(mean, torch.ones_like(mean))

    def decode(self, z, labels, seed=None):
        del labels, seed
        right = torch.tensor([0.0, 0.0, 1.0, 1.0])
        return (0.2 + 0.6 * z[:, :1, None, None] * right).expand(-1, 1, 4, 4)


def codes(z):
    return np.array([[one, 0.2] for one in z], np.float32).reshape(-1, 2)


def drawn(z):
    return Halves().decode(torch.from_numpy(codes(z)), None)


def real(z, pattern, label=0):
    images = to_bytes(drawn(z) + pattern)
    return LabelledImages(images, np.full(len(images), label), ("one", "other"), np.arange(len(images)))


def lent(z, reference, label=0, choice=0.0):
    return Detail(reference, Halves()).lend(drawn(z), codes(z), np.full(len(z), label), np.broadcast_to(choice, len(z)))


@pytest.mark.parametrize(("z", "gain"), [(0.5, 1.0), (0.25, 0.5), (0.01, WEAKEST), (1.0, STRONGEST)])
def test_a_sample_gets_the_detail_that_its_contrast_asks_for(z, gain):
    found = lent([z], real([0.5] * 3, 0.05 * CHECKS)) - drawn([z])
    differ = abs(z - gain * 0.5) * 0.6 / 2  # half a step up on one side, half a step down on the other
    assert torch.allclose(found, gain * 0.05 * CHECKS * np.exp(-((differ / ALIKE) ** 2)), atol=1.6 / 255)


def test_where_the_drawings_differ_little_is_lent():
    """A pattern on the lender's right half, beside a sample whose right half is much brighter."""
    half = 0.05 * CHECKS * torch.tensor([0.0, 0.0, 1.0, 1.0])
    near, far = (lent([z], real([0.2] * 3, half)) - drawn([z]) for z in (0.2, 1.3))
    assert near.abs().amax() > 0.04
    assert far.abs().amax() < near.abs().amax()


def test_similar_images_of_the_same_class_lend():
    reference = LabelledImages.concatenate(
        [real([0.3] * 9, 0.05 * CHECKS), real([0.7] * 9, 0.05 * STRIPES), real([0.3] * 9, 0.05, label=1)]
    )
    found = lent([0.3, 0.7], reference, choice=0.5)
    rows = (found - drawn([0.3, 0.7])).mean(2).abs().amax((1, 2))
    assert rows[0] < 0.01, "checks average out over rows"
    assert rows[1] > 0.04, "stripes do not"


def test_a_choice_picks_among_the_nearest_in_order():
    strength = np.linspace(0.01, 0.01 * (SIMILAR + 3), SIMILAR + 3)
    images = [real([0.5 + 0.001 * number], amount * CHECKS) for number, amount in enumerate(strength)]
    choices = (np.arange(SIMILAR) + 0.5) / SIMILAR
    found = lent([0.5] * SIMILAR, LabelledImages.concatenate(images), choice=choices) - drawn([0.5])
    np.testing.assert_allclose(found.abs().amax((1, 2, 3)), strength[:SIMILAR], atol=1.6 / 255)


def test_nothing_is_lent_where_no_image_can_or_none_is_drawn():
    reference = real([0.5] * 3, 0.05 * CHECKS)
    assert torch.equal(lent([0.5], reference, label=1), drawn([0.5]))
    assert lent([], reference).shape == (0, 1, 4, 4)


def test_what_is_lent_stays_within_the_range_of_pixels():
    found = lent([1.3] * 4, real([1.3] * 3, 0.2 * CHECKS))
    assert 0 <= found.min() <= found.max() <= 1


def renderer(*patterns):
    """Renders halves in the detail of an image for each pattern, the first of them the most alike."""
    real_images = [real([0.5 + 0.001 * number], pattern) for number, pattern in enumerate(patterns)]
    return Renderer(Halves(), Detail(LabelledImages.concatenate(real_images), Halves()))


def test_images_are_rendered_in_the_detail_of_the_nearest_real_image_or_of_the_one_that_is_chosen():
    z, labels = torch.from_numpy(codes([0.5])), torch.zeros(1, dtype=torch.int64)
    fine = renderer(*[0.05 * CHECKS] * (SIMILAR - 1), 0.05 * STRIPES)
    for choice, pattern in ((None, CHECKS), (np.array([0.0]), CHECKS), (np.array([0.99]), STRIPES)):
        rendered = fine.render(z, labels, choice)
        assert torch.equal(rendered.drawn, drawn([0.5]))
        assert torch.allclose(rendered.pixels - rendered.drawn, 0.05 * pattern, atol=2 / 255)
    smooth = fine.smooth.render(z, labels)
    assert torch.equal(smooth.pixels, rendered.drawn)


def test_a_gradient_reaches_the_code_through_detail():
    z = torch.from_numpy(codes([0.5])).requires_grad_()
    pixels = renderer(0.05 * CHECKS).render(z, torch.zeros(1, dtype=torch.int64)).pixels
    (slope,) = torch.autograd.grad(pixels[:, :, :, 2:].sum(), z)
    assert slope[0, 0].item() == pytest.approx(0.6 * 8, abs=0.2), "by 0.6 in eight pixels, and by a little gain"


def test_real_images_are_redrawn_as_samples_are_made():
    some = real([0.5, 0.2], 0.05 * CHECKS)
    fine = renderer(0.05 * STRIPES)
    assert np.array_equal(fine.smooth.redraw(some), reconstruct(Halves(), some))
    assert np.array_equal(fine.redraw(some), fine.detail.redraw(some))


def test_a_real_image_is_redrawn_in_the_detail_of_another():
    others = [real([0.5], 0.05 * STRIPES) for _ in range(SIMILAR)]
    reference = LabelledImages.concatenate([real([0.5], 0.05 * CHECKS), *others])
    again = Detail(reference, Halves()).redraw(reference.take(np.array([0])))
    assert np.abs(again.astype(int) - others[0].images).max() <= 2
