"""Seeds derived from (run seed, stage, shard ...), so that no result depends on order, crash or resume."""

import hashlib

import numpy as np
import torch


def derive(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed that depends on ``seed`` and every part of ``path``, and on nothing else.

    Different paths give different texts: a slash inside a part is doubled, and 1 is not "1".
    """
    parts = (f"{type(part).__name__}:{part}".replace("/", "//") for part in path)
    text = "/".join([str(seed), *parts])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_rng(seed: int, *path: str | int) -> np.random.Generator:
    """Return a NumPy generator for one random step."""
    return np.random.default_rng(derive(seed, *path))


def torch_rng(seed: int, *path: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a torch generator for one random step."""
    return torch.Generator(device=device).manual_seed(derive(seed, *path))
