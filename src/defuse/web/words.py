"""What sets a region's tiles apart from real images of its label, in words."""

import numpy as np
from jaxtyping import Float64

from defuse.types import ByteImages

UNUSUAL = 0.15
"""A share of real images below or above which a look is worth a word."""

COMPARED = 500
"""Real images that are looked at, at most."""


def describe(tiles: ByteImages, real: ByteImages) -> tuple[str, ...]:
    """Say where the middle tile lies among real images, in light, contrast and detail; only what is unusual.

    Args:
        tiles: samples of one region, (n, h, w, c).
        real: real images of the region's label, (m, h, w, c).

    Returns:
        Phrases such as ``darker than 93 % of real ones``; none where there is nothing to compare or nothing unusual.
    """
    if not len(tiles) or not len(real):
        return ()
    looks = (
        ("darker", "lighter", _light),
        ("of less contrast", "of more contrast", _contrast),
        ("smoother", "rougher", _detail),
    )
    phrases = []
    for less, more, look in looks:
        below = float((look(real[:COMPARED]) < np.median(look(tiles))).mean())
        if below <= UNUSUAL:
            phrases.append(f"{less} than {100 * (1 - below):.0f} % of real ones")
        elif below >= 1 - UNUSUAL:
            phrases.append(f"{more} than {100 * below:.0f} % of real ones")
    return tuple(phrases)


def _light(images: ByteImages) -> Float64[np.ndarray, " n"]:
    return images.mean(axis=(1, 2, 3), dtype=np.float64)


def _contrast(images: ByteImages) -> Float64[np.ndarray, " n"]:
    return images.mean(axis=3, dtype=np.float64).std(axis=(1, 2))


def _detail(images: ByteImages) -> Float64[np.ndarray, " n"]:
    """Return the mean step between neighbouring pixels, relative to the contrast."""
    grey = images.mean(axis=3, dtype=np.float64)
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=(1, 2)) + np.abs(np.diff(grey, axis=2)).mean(axis=(1, 2))
    return steps / (grey.std(axis=(1, 2)) + 1)
