"""Attributes against shapes whose measures are known in closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from defuse.data.attributes import ATTRIBUTES, ground_of, measure_attributes


def bar(left, right, top=4, bottom=36, side=40):
    image = np.zeros((1, side, side, 1), dtype=np.uint8)
    image[:, top:bottom, left:right] = 255
    return image


def measured(images, name):
    return measure_attributes(images)[name]


@pytest.mark.parametrize("width", [3, 5, 8])
def test_thickness_of_a_bar_is_twice_its_area_over_its_outline(width):
    found = measured(bar(10, 10 + width), "thickness")[0]
    assert found == pytest.approx(2 * 32 * width / (2 * 32 + 2 * width), rel=0.08)


def test_ink_on_a_bright_ground_is_what_is_dark():
    drawing = bar(10, 16, top=5, bottom=25)
    paper = 255 - drawing
    assert (ground_of(drawing), ground_of(paper)) == (0, 1)
    dark, bright = measure_attributes(drawing, 0.0), measure_attributes(paper, 1.0)
    assert dark.keys() == bright.keys()
    for name, values in dark.items():
        np.testing.assert_allclose(bright[name], 1 - values if name == "light" else values)
    assert bright["light"][0] == 0, "ink is black"


def test_where_there_is_no_empty_ground_nothing_is_said_of_ink():
    photograph = np.random.default_rng(0).integers(60, 200, size=(5, 20, 20, 1), dtype=np.uint8)
    found = measure_attributes(photograph, ground_of(photograph))
    assert set(found) == {each.name for each in ATTRIBUTES if each.suits(1) and not each.drawing}


@pytest.mark.parametrize("degrees", [-30, -10, 0, 20])
def test_slant_of_a_sheared_bar_is_the_angle_of_the_shear(degrees):
    shear = np.tan(np.radians(degrees))
    upright = bar(18, 22)[0, :, :, 0].astype(float)
    offset = [0, -19.5 * shear]  # the shear leaves the middle row where it is
    leaning = ndimage.affine_transform(upright, [[1, 0], [shear, 1]], offset=offset, order=1)
    image = leaning.clip(0, 255).astype(np.uint8)[None, :, :, None]
    assert measured(image, "slant")[0] == pytest.approx(degrees, abs=0.5)


def test_shape_size_and_place_of_a_bar_are_those_of_a_uniform_density():
    image = bar(10, 16, top=5, bottom=25)
    assert measured(image, "height_over_width")[0] == pytest.approx(np.sqrt((20**2 - 1) / (6**2 - 1)))
    assert measured(image, "size")[0] == pytest.approx(np.sqrt((20**2 - 1) / 12 + (6**2 - 1) / 12) / 40)
    assert measured(image, "right")[0] == pytest.approx((12.5 - 19.5) / 40)
    assert measured(image, "up")[0] == pytest.approx((19.5 - 14.5) / 40)


def test_light_contrast_and_colour_of_flat_halves():
    image = np.zeros((1, 10, 10, 3), dtype=np.uint8)
    image[:, :, :5] = (200, 100, 0)
    light = (0.299 * 200 + 0.587 * 100) / 255
    assert measured(image, "light")[0] == pytest.approx(light / 2)
    assert measured(image, "contrast")[0] == pytest.approx(light / 2)
    assert measured(image, "colour")[0] == pytest.approx(1.0)
    assert measured(np.full((1, 10, 10, 3), 90, dtype=np.uint8), "colour")[0] == 0.0


def test_light_and_contrast_of_a_drawing_are_those_of_its_ink():
    thin, thick = bar(10, 12), bar(10, 22)
    thick[0, :, 15:] //= 5
    found = measure_attributes(np.concatenate([thin, thick]))
    bright, faint = 5 / 6.4, 1.4 / 6.4  # shares of the ink: 5 columns at 1 and 7 at 0.2
    mean = bright + 0.2 * faint
    assert found["light"] == pytest.approx([1.0, mean])
    assert found["contrast"] == pytest.approx([0.0, np.sqrt(bright * (1 - mean) ** 2 + faint * (0.2 - mean) ** 2)])


def test_blur_lowers_sharpness_and_less_light_does_not():
    image = bar(10, 30) // 2 * 2
    blurred = ndimage.gaussian_filter(image.astype(float), (0, 2, 2, 0)).astype(np.uint8)
    sharp = measured(image, "sharpness")[0]
    assert measured(blurred, "sharpness")[0] < 0.7 * sharp
    assert measured(image // 2, "sharpness")[0] == pytest.approx(sharp)


@given(images=arrays(np.uint8, (3, 9, 12, 1)), channels=st.sampled_from([1, 3]))
def test_every_suitable_attribute_is_finite_whatever_the_image(images, channels):
    found = measure_attributes(np.repeat(images, channels, axis=3))
    assert set(found) == {each.name for each in ATTRIBUTES if each.suits(channels)}
    assert all(values.shape == (3,) and np.isfinite(values).all() for values in found.values())


def test_an_empty_image_measures_nothing():
    assert all(values[0] == 0 for values in measure_attributes(np.zeros((1, 9, 9, 1), dtype=np.uint8)).values())


def test_drawings_have_no_colour_and_photographs_no_strokes():
    assert "colour" not in measure_attributes(bar(10, 14))
    assert "thickness" not in measure_attributes(np.zeros((1, 9, 9, 3), dtype=np.uint8))
