import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from defuse.pixels import DIMMEST, USUAL, adapted, detail, quantise, to_bytes, to_pixels

byte_images = st.sampled_from([1, 3]).flatmap(
    lambda channels: arrays(np.uint8, array_shapes(min_dims=3, max_dims=3, max_side=5).map(lambda s: (*s, channels)))
)
float_images = arrays(np.float32, (2, 3, 4, 5), elements=st.floats(-0.5, 1.5, width=32)).map(torch.from_numpy)


@given(byte_images)
def test_bytes_survive_the_round_trip(images):
    assert np.array_equal(to_bytes(to_pixels(images)), images)


def test_every_byte_survives_the_round_trip():
    images = np.arange(256, dtype=np.uint8).reshape(2, 8, 16, 1)
    assert np.array_equal(to_bytes(to_pixels(images)), images)


@given(byte_images)
def test_pixels_are_bytes_over_255_channels_first(images):
    pixels = to_pixels(images)
    assert pixels.dtype == torch.float32
    assert np.array_equal(pixels.numpy(), (images / np.float32(255)).transpose(0, 3, 1, 2))


@given(float_images)
def test_quantise_is_storage_and_back_bit_for_bit(pixels):
    assert torch.equal(quantise(pixels), to_pixels(to_bytes(pixels)))
    assert torch.equal(quantise(quantise(pixels)), quantise(pixels))


@given(float_images)
def test_bytes_are_the_nearest_to_the_clipped_pixels(pixels):
    wanted = pixels.double().clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(to_bytes(pixels) - wanted).max() <= 0.5 + 1e-4


def test_arguments_are_left_as_they_were():
    pixels = torch.linspace(-1, 2, 12).reshape(1, 1, 3, 4)
    images = np.arange(12, dtype=np.uint8).reshape(1, 3, 4, 1)
    before, stored = pixels.clone(), images.copy()
    quantise(pixels)
    to_bytes(pixels)
    to_pixels(images).add_(1)
    assert torch.equal(pixels, before)
    assert np.array_equal(images, stored)


@pytest.mark.parametrize("view", ["read-only", "reversed", "every second"])
def test_any_array_layout_is_read(view):
    images = np.arange(48, dtype=np.uint8).reshape(2, 4, 6, 1)
    if view == "read-only":
        images.flags.writeable = False
    images = {"read-only": images, "reversed": images[:, ::-1, ::-1], "every second": images[:, ::2]}[view]
    assert np.array_equal(to_bytes(to_pixels(images)), images)


def test_no_images_are_fine():
    assert to_bytes(to_pixels(np.zeros((0, 4, 5, 3), np.uint8))).shape == (0, 4, 5, 3)


def stripes(contrast, count=1):
    """Return images of two grey levels, ``contrast`` either side of the middle."""
    pixels = torch.full((count, 1, 20, 20), 0.5 - contrast)
    pixels[:, :, :, ::2] = 0.5 + contrast
    return pixels


@given(st.floats(0.01, 0.49))
def test_eyes_get_used_to_little_contrast_down_to_a_floor(contrast):
    (seen,) = adapted(stripes(contrast), 0.1).tolist()
    assert seen == pytest.approx(0.1 * min(1.0, max(DIMMEST, contrast / USUAL)), rel=1e-3)


def test_a_dark_image_is_judged_as_the_same_one_in_the_light():
    bright = stripes(USUAL) + 0.1 * torch.rand(1, 1, 20, 20, generator=torch.Generator().manual_seed(0))
    for share in (0.8, 0.5, 0.35):
        dark = share * bright
        assert detail(dark) / adapted(dark, 0.05) == pytest.approx(detail(bright) / 0.05, rel=0.1)
