"""Histograms of gradients: what they see, and what they do not."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defuse.classifiers.outlines import BINS, Outlines


def waves(angle, size=32):
    """Bright and dark bands whose gradient runs at an angle, as (1, 1, size, size)."""
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    along = columns * math.cos(angle) + rows * math.sin(angle)
    return (0.5 + 0.4 * torch.sin(0.4 * along))[None, None]


@pytest.mark.parametrize("number", range(BINS))
def test_the_direction_of_a_gradient_is_its_bin(number):
    found = Outlines()(waves(math.pi * number / BINS)).view(BINS, 4, -1)  # blocks list a bin's four cells together
    assert int(found.sum(dim=(1, 2)).argmax()) == number


@given(st.floats(0.2, 1.0), st.floats(0.0, 0.1))
def test_light_does_not_matter(gain, offset):
    pixels = waves(0.7)
    torch.testing.assert_close(Outlines()(gain * pixels + offset), Outlines()(pixels), atol=0.02, rtol=0)


def test_an_even_image_has_no_outlines():
    assert Outlines()(torch.full((1, 3, 20, 28), 0.6)).abs().max() == 0


def test_the_steepest_channel_counts():
    grey = waves(0.3)
    colour = torch.cat([torch.full_like(grey, 0.2), grey, 0.5 * grey], dim=1)
    torch.testing.assert_close(Outlines()(colour), Outlines()(grey))


def test_every_image_has_a_gradient_an_even_one_too():
    pixels = torch.cat([torch.full((1, 1, 32, 32), 0.6), waves(0.3)]).requires_grad_()
    Outlines()(pixels).square().sum().backward()
    assert torch.isfinite(pixels.grad).all()
    assert pixels.grad[1].abs().max() > 0
