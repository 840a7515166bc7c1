"""Random changes of training images that leave their labels alone."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from defuse.types import Pixels

Augment = Literal["none", "shift", "affine", "affine_light"]
"""``shift``: up to 7 % of the side; ``affine``: also turned by up to 12 degrees, scaled by 0.85 to 1.15 and sheared by
up to 0.1; ``affine_light``: also multiplied by 0.25 to 1.35 and clipped."""


def augmented(pixels: Pixels, augment: Augment, rng: torch.Generator) -> Pixels:
    """Return randomly changed images (see ``Augment``); edges are continued outwards."""
    if augment == "none":
        return pixels
    theta = _transforms(pixels.shape, augment, rng)
    grid = affine_grid(theta, list(pixels.shape), align_corners=False)
    moved = grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    if augment == "affine_light":
        gain = 0.25 + 1.1 * torch.rand(len(pixels), 1, 1, 1, generator=rng)
        moved = (moved * gain).clamp_(max=1.0)
    return moved


def _transforms(shape: Sequence[int], augment: Augment, rng: torch.Generator) -> Float[Tensor, "n 2 3"]:
    """Draw the maps from output to input coordinates; both run from -1 to 1 across the image, whatever its sides."""
    n, _, height, width = shape
    angle, scale, shear, *shift = (2 * torch.rand(5, n, generator=rng) - 1).unbind()
    theta = torch.zeros(n, 2, 3)
    theta[:, :, 2] = 0.14 * torch.stack(shift, dim=1)
    if augment == "shift":
        theta[:, 0, 0] = theta[:, 1, 1] = 1.0
        return theta
    angle, scale, shear = math.radians(12) * angle, 1 + 0.15 * scale, 0.1 * shear
    theta[:, 0, 0], theta[:, 1, 0] = scale * angle.cos(), scale * angle.sin() * width / height
    theta[:, 0, 1] = scale * (shear * angle.cos() - angle.sin()) * height / width
    theta[:, 1, 1] = scale * (shear * angle.sin() + angle.cos())
    return theta
