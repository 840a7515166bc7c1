"""How much accuracy a repair may have cost at worst: a bootstrap over groups of validation images."""

import numpy as np

from defuse.seeds import numpy_rng
from defuse.types import Labels, Mask

LEVEL = 0.95
"""Confidence of the one-sided bound."""

RESAMPLES = 2_000


def loss_bound(before: Mask, after: Mask, groups: Labels | None, *, seed: int) -> float:
    """Return the upper 95 % percentile-bootstrap bound of the accuracy lost, as a share; below 0 where some is gained.

    Whole groups, such as frames of one object, are drawn with replacement, since their errors come together. Source:
    Efron and Tibshirani, "An introduction to the bootstrap", 1993, chapters 8 and 13. It knows no loss but those that
    occurred: where no image is lost or gained, it is 0, however few images there are.

    Args:
        before: which images the given model reads right, (n,) with n at least 1.
        after: which ones the new model reads right, (n,).
        groups: each image's group, (n,); None when every image stands for itself.
        seed: of the resamples.
    """
    lost = before.astype(np.int64) - after.astype(np.int64)
    members = np.arange(len(lost)) if groups is None else np.unique(groups, return_inverse=True)[1]
    totals = np.stack([np.bincount(members, weights=lost), np.bincount(members)], axis=1)
    kinds, counts = np.unique(totals, axis=0, return_counts=True)  # groups of one kind are drawn as one: the same law
    drawn = numpy_rng(seed, "bootstrap").multinomial(counts.sum(), counts / counts.sum(), size=RESAMPLES)
    resampled = drawn @ kinds
    return float(np.quantile(resampled[:, 0] / resampled[:, 1], LEVEL))
