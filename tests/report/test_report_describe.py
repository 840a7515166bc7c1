"""Regions in words, against scipy and planted differences."""

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from defuse.data import SIGN_NAMES, SignSettings, render
from defuse.data.attributes import measure_attributes
from defuse.report.describe import Trait, describe, sentence


def strokes(widths, lean=0.0):
    """Upright bars of these widths on an empty ground, each row shifted to lean to the right."""
    images = np.zeros((len(widths), 28, 28, 1), dtype=np.uint8)
    for image, width in zip(images, widths, strict=True):
        for row in range(4, 24):
            left = round(12 + lean * (14 - row))
            image[row, left : left + width] = 255
    return images


def test_a_planted_difference_is_named_with_its_size():
    ordinary = strokes([2, 3, 4, 5, 6, 7, 8, 9] * 5)
    traits = {trait.attribute: trait for trait in describe(strokes([2] * 9), ordinary)}
    assert traits["thickness"].words == "thinner"
    assert traits["thickness"].beyond == pytest.approx(7 / 8)
    leaning = {trait.attribute: trait for trait in describe(strokes([5] * 9, lean=0.3), ordinary)}
    assert leaning["slant"].words == "leaning further right"
    assert leaning["slant"].effect == 1.0


def test_effect_is_cliffs_delta_of_the_mann_whitney_statistic():
    rng = np.random.default_rng(0)
    region = rng.integers(0, 120, (30, 8, 8, 1)).astype(np.uint8)
    ordinary = rng.integers(0, 160, (40, 8, 8, 1)).astype(np.uint8)
    found = next(trait for trait in describe(region, ordinary) if trait.attribute == "light")
    values, others = (measure_attributes(images)["light"] for images in (region, ordinary))
    assert found.effect == pytest.approx(2 * mannwhitneyu(values, others).statistic / 1200 - 1)


def test_dark_signs_are_darker_and_ordinary_ones_like_their_class():
    fifty = np.full(120, SIGN_NAMES.index("50"), dtype=np.int64)
    settings = SignSettings()
    ordinary = render(settings, 120, seed=1, labels=fifty).images.images
    dark = render(settings, 120, seed=2, factors={"light": (0.0, 0.2)}, labels=fifty).images.images
    assert "darker" in {trait.words for trait in describe(dark, ordinary)}
    assert describe(render(settings, 120, seed=3, labels=fifty).images.images, ordinary) == ()


def test_what_is_left_out_makes_room_for_what_is_not():
    ordinary = strokes([2, 3, 4, 5, 6, 7, 8, 9] * 5)
    names = {trait.attribute for trait in describe(strokes([2] * 9), ordinary)}
    assert "thickness" in names
    assert "thickness" not in {
        each.attribute for each in describe(strokes([2] * 9), ordinary, leave_out=("thickness",))
    }


def test_nothing_to_compare_is_nothing_to_say():
    images = strokes([3, 4])
    assert describe(images[:0], images) == describe(images, images[:0]) == ()
    assert sentence((), "6") == ""


def test_sentence_names_the_class_once():
    traits = (Trait("thickness", "thinner", -0.9, 0.971), Trait("slant", "leaning further right", 0.8, 0.88))
    assert sentence(traits, "6") == 'thinner than 97 % of "6"; leaning further right than 88 %'
