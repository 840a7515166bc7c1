"""Small images that a generator learns in a second: bright bars, whose class is their direction."""

import numpy as np

from defuse.records import LabelledImages

NAMES = ("across", "down")


def bars(count, *, seed=0, size=12, channels=1):
    """Return bars: class 0 lies across, class 1 stands; place and brightness are the style."""
    rng = np.random.default_rng(seed)
    images = np.full((count, size, size, channels), 20, dtype=np.uint8)
    labels = np.arange(count, dtype=np.int64) % 2
    for image, label in zip(images, labels, strict=True):
        start = rng.integers(1, size - 3)
        bar = image if label == 0 else image.swapaxes(0, 1)
        bar[start : start + 2] = rng.integers(150, 256)
    return LabelledImages(images, labels, NAMES, np.arange(count, dtype=np.int64))


def direction(images):
    """Classify bars exactly: the rows of a bar that lies across differ more than its columns do."""
    grey = images.astype(float).mean(3)
    return (grey.mean(1).var(1) > grey.mean(2).var(1)).astype(np.int64)
