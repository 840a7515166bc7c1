"""Statistics of a model's answers on real images: per class, calibrated or not, against another model."""

import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from defuse.outcomes import Flips
from defuse.records import Rate
from defuse.types import Labels, Mask

BINS = 15
"""Of equal width, of the calibration error."""


def flips(before: Mask, after: Mask) -> Flips:
    """Count the images, (n,), on which one of two models is right and the other wrong."""
    return Flips(int((after & ~before).sum()), int((before & ~after).sum()))


def class_accuracy(right: Mask, labels: Labels, classes: int) -> tuple[Rate, ...]:
    """Return the share of each class's images that is read right, by class index; nothing tried where it has none."""
    counts, hits = (np.bincount(of, minlength=classes) for of in (labels, labels[right]))
    return tuple(Rate(int(hit), int(count)) for hit, count in zip(hits, counts, strict=True))


def calibration_error(logits: Float[np.ndarray, "n k"], labels: Labels, bins: int = BINS) -> float:
    """Return the expected calibration error, in [0, 1]; 0 for no images.

    Images are put into ``bins`` of equal width by the probability of the model's answer, (low, high]; the error is the
    mean over images of their bin's |accuracy - mean probability|. Source: Guo et al., "On calibration of modern neural
    networks", ICML 2017.
    """
    if not len(labels):
        return 0.0
    probabilities = softmax(logits.astype(np.float64), axis=1)
    sure = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(sure * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=right - sure, minlength=bins)  # each bin's size times its gap
    return float(np.abs(gap).sum() / len(labels))
