"""Regions, and images whose codes are known, for the toys of ``distill_toys``."""

import numpy as np

from defuse.records import Evidence, LabelledImages, Rate, Region


def region(name, label, mean, covariance):
    evidence = Evidence(Rate(1, 1), Rate(1, 1), (), 0.0, 0.0)
    return Region(name, label, (label + 1) % 4, np.asarray(mean), np.asarray(covariance), 1.0, 9, evidence)


def images(codes, labels):
    """Draw what the toy generator would, so that an image's code is what it was drawn from, but for rounding."""
    shown = np.repeat(labels[:, None] / 10, 1, axis=1)
    values = np.concatenate([0.5 + 0.1 * codes, shown], axis=1).clip(0, 1)
    pixels = np.round(255 * values).astype(np.uint8)[:, None, :, None]
    return LabelledImages(pixels, labels, tuple("abcd"), np.arange(len(labels)))
