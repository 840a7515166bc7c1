import math

import pytest
import torch

from defuse.pixels import contrast, detail


def test_contrast_is_that_of_the_middle_and_of_the_strongest_channel():
    pixels = torch.full((3, 3, 20, 20), 0.5)
    pixels[1, 2, 4:16, 4:10] = 0.7
    pixels[2, :, :4] = 1.0  # a bright sky says nothing of the sign
    torch.testing.assert_close(contrast(pixels), torch.tensor([0.0, 0.1, 0.0]))


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_detail_scales_with_the_light_and_ignores_an_even_slope(gain):
    rng = torch.Generator().manual_seed(0)
    pattern = 0.2 * torch.rand(4, 3, 32, 32, generator=rng) + 0.3
    slope = torch.linspace(0, 0.4, 32).expand(4, 3, 32, 32)
    torch.testing.assert_close(detail(gain * pattern), gain * detail(pattern))
    torch.testing.assert_close(detail(pattern + slope), detail(pattern), atol=1e-4, rtol=1e-4)
    assert detail(slope).max() < 1e-4


@pytest.mark.parametrize(("period", "low", "high"), [(4, 0.85, 1.15), (32, 0.0, 0.3)])
def test_detail_of_a_wave_is_its_own_contrast_when_short_and_little_when_long(period, low, high):
    wave = 0.5 + 0.3 * torch.sin(2 * math.pi * torch.arange(32) / period)
    pixels = wave.expand(1, 1, 32, 32)
    share = detail(pixels) / contrast(pixels)
    assert low < share.item() < high


def test_what_is_small_or_missing_is_fine():
    assert detail(torch.rand(3, 1, 8, 9)).shape == (3,)
    assert detail(torch.rand(0, 3, 32, 32)).shape == (0,)
