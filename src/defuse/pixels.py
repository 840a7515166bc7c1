"""The one place where stored 8-bit images become tensors and tensors 8-bit images, and how much can be seen on them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import avg_pool2d

from defuse.types import ByteImages, Pixels

WINDOW = 9 / 32
"""Side of the neighbourhood that ``detail`` takes the mean of, as a share of the image's shorter side."""

USUAL = 0.2
"""Contrast of a well-lit image."""

DIMMEST = 0.3
"""An eye gets used to no less than this share of the usual contrast."""


def to_pixels(images: ByteImages, device: torch.device | str = "cpu") -> Pixels:
    """Turn 8-bit images (n, h, w, c) into float32 tensors (n, c, h, w) in [0, 1]."""
    # torch warns of arrays that cannot be written, such as memory maps; those alone are copied.
    tensor = torch.from_numpy(np.require(images, requirements=["C", "W"])).to(device)
    return tensor.permute(0, 3, 1, 2).to(torch.float32).div_(255.0).contiguous()


def to_bytes(pixels: Pixels) -> ByteImages:
    """Turn tensors (n, c, h, w) into 8-bit images (n, h, w, c); values are clipped to [0, 1] and rounded."""
    quantised = pixels.detach().clamp(0.0, 1.0).mul(255.0).round_().to(torch.uint8)
    return quantised.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def quantise(pixels: Pixels) -> Pixels:
    """Return the values that survive storage as 8-bit images, still as floats in [0, 1]."""
    return pixels.clamp(0.0, 1.0).mul(255.0).round_().div_(255.0)


def middle(pixels: Pixels) -> Float[Tensor, "n c middle_h middle_w"]:
    """Return what is left when a fifth is cut off every side of each image."""
    height, width = pixels.shape[2:]
    return pixels[:, :, height // 5 : height - height // 5, width // 5 : width - width // 5]


def contrast(pixels: Pixels) -> Float[Tensor, " n"]:
    """Return the standard deviation of the values in the middle of each image, of the strongest channel, (n,)."""
    values = middle(pixels).flatten(2)
    return (values - values.mean(2, keepdim=True)).square().mean(2).sqrt().amax(1)


def detail(pixels: Pixels) -> Float[Tensor, " n"]:
    """Return the contrast that is left when each value's neighbourhood has been subtracted, in [0, 1], (n,).

    Slow changes of light do not count, nor does what a blur wider than the neighbourhood has left.
    """
    side = max(3, int(min(pixels.shape[2:]) * WINDOW) | 1)
    return contrast(pixels - avg_pool2d(pixels, side, stride=1, padding=side // 2, count_include_pad=False))


def adapted(pixels: Pixels, difference: float) -> Float[Tensor, " n"]:
    """Return what a just visible difference of grey levels in a well-lit image shrinks to in each image, (n,).

    Eyes see differences as shares of the contrast around them (Weber's law): a digit on a dark sign is as clear as on a
    bright one.
    """
    return difference * (contrast(pixels) / USUAL).clamp(DIMMEST, 1.0)
