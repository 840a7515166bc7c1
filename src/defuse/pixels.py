"""The one place where stored 8-bit images become tensors and tensors become 8-bit images."""

import numpy as np
import torch

from defuse.types import ByteImages, Pixels


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
