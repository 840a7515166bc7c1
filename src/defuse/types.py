"""Array types that carry their shapes, and the one strictness setting of all hyperparameter classes."""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8
from pydantic import ConfigDict
from torch import Tensor

STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)
"""Pydantic configuration of every hyperparameter dataclass: unknown keys and non-finite numbers are errors."""

ByteImages: TypeAlias = UInt8[np.ndarray, "n h w c"]
"""Images as stored: 8-bit, channels last, one or three channels."""

Labels: TypeAlias = Int64[np.ndarray, " n"]
"""Class indices, one per image."""

Mask: TypeAlias = Bool[np.ndarray, " n"]
"""One yes or no per row."""

Pixels: TypeAlias = Float[Tensor, "n c h w"]
"""Images as computed with: float32 in [0, 1], channels first."""

Logits: TypeAlias = Float[Tensor, "n k"]
"""Unnormalised log-probabilities, one column per class."""

Codes: TypeAlias = Float[Tensor, "n latent"]
"""Points of the generator's latent space."""

LabelTensor: TypeAlias = Int64[Tensor, " n"]
"""Class indices as a tensor."""
