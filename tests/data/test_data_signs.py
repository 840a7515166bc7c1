import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from defuse.data import FACTORS, SIGN_NAMES, SignSettings, SignsReader, render
from defuse.data.faces import templates
from defuse.data.signs import DARKEST, _blur

PLAIN = {
    "rotation": (0, 0),
    "scale": (0.8, 0.8),
    "shift_x": (0, 0),
    "shift_y": (0, 0),
    "shear": (0, 0),
    "turn": (0, 0),
    "tip": (0, 0),
    "cover": (-1, -1),
    "contrast": (1, 1),
    "tint": (0, 0),
    "light": (1, 1),
    "blur": (0, 0),
    "noise": (0, 0),
}
"""A frontal sign in full light, seen by a perfect camera."""


def plain(labels, **changes):
    labels = np.asarray(labels)
    factors = PLAIN | changes
    return render(SignSettings(), len(labels), seed=5, factors=factors, labels=labels).images.images.astype(float)


def test_names_shapes_and_turns():
    signs = render(SignSettings(size=24), 23, seed=0)
    assert signs.images.images.shape == (23, 24, 24, 3)
    assert signs.images.images.dtype == np.uint8
    assert signs.images.labels.tolist() == [i % 10 for i in range(23)]
    assert signs.images.class_names == SIGN_NAMES
    assert SIGN_NAMES[:6] == ("30", "50", "60", "80", "100", "120")
    assert signs.images.rows.tolist() == list(range(23))
    assert set(signs.factors) == set(FACTORS)
    assert len(signs) == 23


def test_same_seed_same_bytes():
    first, again, other = (render(SignSettings(), 40, seed=seed).images.images for seed in (1, 1, 2))
    assert first.tobytes() == again.tobytes()
    assert (first != other).mean() > 0.5


def test_a_sign_depends_on_its_number_not_on_how_many():
    few, many = render(SignSettings(), 7, seed=3), render(SignSettings(), 600, seed=3)
    assert np.array_equal(few.images.images, many.images.images[:7])
    for name in FACTORS:
        assert np.array_equal(few.factors[name], many.factors[name][:7])


@pytest.mark.parametrize("name", FACTORS)
def test_factors_fill_their_range_and_are_overridden(name):
    low, high = getattr(SignSettings(), name)
    whole = render(SignSettings(size=16), 400, seed=0).factors[name]
    assert low <= whole.min() < low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) < whole.max() <= high
    upper = render(SignSettings(size=16), 400, seed=0, factors={name: ((low + high) / 2, high)}).factors
    assert np.allclose(upper[name], (whole + high) / 2)  # the same place within the narrower range
    others = render(SignSettings(size=16), 400, seed=0).factors
    assert all(np.array_equal(upper[other], others[other]) for other in FACTORS if other != name)


@pytest.mark.parametrize("name", [name for name in FACTORS if name != "cover_angle"])
def test_every_factor_changes_the_image(name):
    low, high = getattr(SignSettings(), name)
    first, second = (
        render(SignSettings(), 20, seed=0, factors={name: (value, value)}).images.images for value in (low, high)
    )
    assert all((a != b).any() for a, b in zip(first, second, strict=True))


def test_light_scales_every_pixel_by_a_known_gain():
    full = plain(np.arange(10))
    for light in (0.0, 0.3, 0.7):
        dim = plain(np.arange(10), light=(light, light))
        assert np.abs(dim - full * (DARKEST + (1 - DARKEST) * light)).max() <= 1.0


def test_no_pixel_gets_darker_in_more_light():
    shots = [
        render(SignSettings(), 60, seed=0, factors={"light": (light, light)}).images.images
        for light in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    for darker, brighter in pairwise(shots):
        assert (darker <= brighter).all()
        assert (darker.mean(axis=(1, 2, 3)) < brighter.mean(axis=(1, 2, 3))).all()


def test_contrast_mixes_in_grey():
    full = plain(np.arange(10))
    assert np.abs(plain(np.arange(10), contrast=(0.5, 0.5)) - (0.5 * full + 0.5 * 0.6 * 255)).max() <= 1.0


def test_tint_trades_blue_for_red():
    full, warm = plain(np.arange(10), light=(0.5, 0.5)), plain(np.arange(10), light=(0.5, 0.5), tint=(1, 1))
    assert np.abs(warm - full * [1.1, 1.0, 0.9]).max() <= 1.1


def test_noise_has_the_known_deviation():
    photos = plain(np.zeros(50, dtype=int), light=(0.6, 0.6), contrast=(0, 0), noise=(0.05, 0.05)) / 255
    assert photos.std() == pytest.approx(0.05, rel=0.01)
    assert photos.mean() == pytest.approx(0.6 * (DARKEST + (1 - DARKEST) * 0.6), abs=0.0005)  # 0.6 is the haze's grey


def test_blur_is_scipys_gaussian():
    pixels = torch.rand(3, 2, 12, 9, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor([0.4, 1.0, 1.3])
    ours = _blur(pixels, sigma, reach=4)
    for image, width, blurred in zip(pixels, sigma, ours, strict=True):
        for plane, result in zip(image, blurred, strict=True):
            expected = gaussian_filter(plane.double().numpy(), float(width), mode="nearest", radius=4)
            assert np.allclose(result.numpy(), expected, atol=1e-5)


def reddish(images):
    return (images[..., 0] > 130) & (images[..., 1] < 90) & (images[..., 2] < 90)


def centre_of(mask):
    rows, columns = np.nonzero(mask)
    return columns.mean() + 0.5, rows.mean() + 0.5


def test_shift_moves_the_sign_by_shares_of_the_side():
    x, y = centre_of(reddish(plain([8]))[0])
    moved_x, moved_y = centre_of(reddish(plain([8], shift_x=(0.125, 0.125), shift_y=(-0.0625, -0.0625)))[0])
    assert (x, y) == pytest.approx((16, 16), abs=0.3)
    assert (moved_x - x, moved_y - y) == pytest.approx((4, -2), abs=0.2)


@pytest.mark.parametrize("scale", [0.5, 0.7, 0.9])
def test_scale_is_the_diameter(scale):
    settings = SignSettings(size=96)
    signs = render(settings, 1, seed=0, factors=PLAIN | {"scale": (scale, scale)}, labels=np.array([8]))
    rows, columns = np.nonzero(reddish(signs.images.images.astype(int))[0])
    for places in (rows, columns):
        assert np.ptp(places) + 1 == pytest.approx(0.97 * scale * 96, abs=1.6)


def test_rotation_is_clockwise():
    """The no-entry sign's white bar, turned by 20 degrees, ends lower on the right."""
    image = plain([8], rotation=(20, 20))[0]
    rows, columns = np.nonzero(image[6:26, 6:26].min(axis=2) > 200)
    slope = np.polyfit(columns, rows, 1)[0]
    assert np.degrees(np.arctan(slope)) == pytest.approx(20, abs=4)


@pytest.mark.parametrize(("angle", "side"), [(0, np.s_[:, 16:]), (90, np.s_[16:, :]), (180, np.s_[:, :16])])
def test_cover_comes_from_its_side_and_grows(angle, side):
    clear = plain([8] * 20)
    hidden = [
        (plain([8] * 20, cover=(deep, deep), cover_angle=(angle, angle)) != clear).any(axis=3) for deep in (0.1, 0.3)
    ]
    half = np.zeros((32, 32), dtype=bool)
    half[side] = True
    on_sign = reddish(clear) | (clear.min(axis=3) > 200)
    few, many = ((mask & on_sign & half).sum() for mask in hidden)
    assert 0 < few < many
    assert (hidden[0] & on_sign & ~half).sum() == 0


def test_an_object_that_keeps_clear_hides_nothing():
    settings = SignSettings()
    lowest = settings.cover[0]
    clear = plain([8] * 40)
    near = plain([8] * 40, cover=(lowest, lowest), cover_angle=(0, 360))
    inner = np.hypot(*(np.mgrid[:32, :32] - 15.5)) < 12
    assert np.array_equal(clear[:, inner], near[:, inner])


def test_faces_differ_clearly_in_the_dark():
    """The same scene with two speed limits differs by far more than the noise, even in the worst light."""
    shots = np.stack(
        [
            render(SignSettings(), 50, seed=0, factors={"light": (0, 0)}, labels=np.full(50, label)).images.images
            for label in range(6)
        ]
    ).astype(float)
    contrast = np.abs(shots[:, None] - shots[None]).max(axis=(3, 4, 5))
    noise = 255 * SignSettings().noise[1]
    off_diagonal = contrast[~np.eye(6, dtype=bool)]
    assert off_diagonal.min() > 3 * noise


def test_templates_are_premultiplied_and_distinct():
    faces = templates(64)
    assert faces.shape == (10, 4, 64, 64)
    assert faces.min() >= 0
    assert faces.max() <= 1
    assert (faces[:, :3] <= faces[:, 3:] + 1e-6).all()
    flat = faces.reshape(10, -1)
    distances = np.abs(flat[:, None] - flat[None]).mean(axis=2) + np.eye(10)
    assert distances.min() > 0.005


def test_take_keeps_images_and_factors_together():
    signs = render(SignSettings(size=16), 50, seed=0)
    dark = signs.take(signs.factors["light"] < 0.3)
    assert 0 < len(dark) < 50
    assert (dark.factors["light"] < 0.3).all()
    assert np.array_equal(dark.images.images, signs.images.images[dark.images.rows])
    assert all(np.array_equal(dark.factors[name], signs.factors[name][dark.images.rows]) for name in FACTORS)


def test_reader_renders_two_different_splits():
    source = SignsReader(train=20, test=10, settings=SignSettings(size=16)).read()
    assert source.train.image_shape == (16, 16, 3)
    assert (len(source.train), len(source.test), source.validation) == (20, 10, None)
    assert not np.array_equal(source.train.images[:10], source.test.images)


@pytest.mark.slow
def test_ten_thousand_signs_in_about_ten_seconds_on_one_core():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        start = time.process_time()
        render(SignSettings(), 10_000, seed=0)
        seconds = time.process_time() - start
    finally:
        torch.set_num_threads(threads)
    assert seconds < 20
