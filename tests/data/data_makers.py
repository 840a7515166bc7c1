"""Small data sets for the tests of readers and splits."""

import numpy as np

from defuse.records import LabelledImages

KERAS = {
    "train_images": "x_train",
    "train_labels": "y_train",
    "val_images": "x_val",
    "val_labels": "y_val",
    "test_images": "x_test",
    "test_labels": "y_test",
}


def arrays(**changes):
    """Arrays of a good npz file: 12 train and 6 test images of 3 classes, 5 x 4 grey. None removes a key."""
    rng = np.random.default_rng(0)
    good = {
        "train_images": rng.integers(0, 256, (12, 5, 4), dtype=np.uint8),
        "train_labels": np.arange(12) % 3,
        "test_images": rng.integers(0, 256, (6, 5, 4), dtype=np.uint8),
        "test_labels": np.arange(6) % 3,
    }
    return {key: value for key, value in (good | changes).items() if value is not None}


def write_npz(folder, name="images.npz", **changes):
    path = folder / name
    np.savez_compressed(path, **arrays(**changes))
    return path


def labelled(counts):
    """``counts[k]`` images of class k, in mixed order; the pixel is the row."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = np.arange(len(labels))
    images = rows.astype(np.uint8).reshape(-1, 1, 1, 1)
    return LabelledImages(images, labels, tuple("abcdefgh"[: len(counts)]), rows)
