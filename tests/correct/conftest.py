"""A toy with a planted bug: bright bars, left or right; dark bars on the right are read as left."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from correct_makers import make_region, make_samples
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.pixels import to_pixels
from defuse.records import LabelledImages, Purpose, RegionLabel, Regions, Splits

CLASSES = ("left", "right")


def bars(count, rng, *, low, high, labels=None):
    """Draw 8 x 8 images with a bar of brightness ``low`` to ``high`` on the left (class 0) or right (class 1)."""
    labels = rng.integers(0, 2, count) if labels is None else np.full(count, labels)
    images = rng.integers(0, 20, (count, 8, 8, 1))
    for image, label in zip(images, labels, strict=True):
        column = rng.integers(0, 3) + 4 * label
        image[:, column : column + 2] = rng.integers(low, high)
    return LabelledImages(images.astype(np.uint8), labels.astype(np.int64), CLASSES, np.arange(count))


def join(*parts):
    return LabelledImages(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        CLASSES,
        np.arange(sum(map(len, parts))),
    )


def network():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 2)
    )


def train(module, data, steps=150):
    """Train with plain torch, so that nothing under test made the bug."""
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    rng = np.random.default_rng(0)
    module.train()
    for _ in range(steps):
        rows = rng.integers(0, len(data), 128)
        loss = nn.functional.cross_entropy(module(to_pixels(data.images[rows])), torch.from_numpy(data.labels[rows]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    module.eval()


@dataclass(frozen=True)
class Toy:
    classifier: TorchClassifier
    splits: Splits
    regions: Regions
    labels: tuple[RegionLabel, ...]

    def with_region_labels(self, *labels):
        votes = tuple(RegionLabel("r001", label, "majority", (("x", 1),), machine=True) for label in labels)
        return replace(self, labels=votes)


@pytest.fixture(scope="session")
def toy():
    """One labelled region of dark right bars, one thrown out; reference, validation and test hold no dark bar."""
    torch.manual_seed(0)
    rng = np.random.default_rng(1)
    bright = {"low": 150, "high": 250}
    module = network()
    dark = bars(300, rng, low=60, high=90, labels=1)
    train(module, join(bars(600, rng, **bright), replace(dark, labels=np.zeros(300, dtype=np.int64))))
    classifier = TorchClassifier(module, CLASSES)
    splits = Splits(bars(600, rng, **bright), bars(300, rng, **bright), bars(400, rng, **bright))
    samples = {}
    for name in ("r001", "r002"):
        for purpose, count in ((Purpose.REPAIR, 200), (Purpose.SELECT, 100), (Purpose.FINAL, 150)):
            images = bars(count, rng, low=60, high=90, labels=1).images
            samples[name, purpose] = make_samples(name, purpose, images, classifier.predict(images))
    regions = Regions((make_region("r001"), make_region("r002")), samples, fitted=2)
    labels = (
        RegionLabel("r001", 1, "majority", (("right", 3),), machine=False),
        RegionLabel("r002", None, "no clear class", (("no clear class", 3),), machine=False),
    )
    return Toy(classifier, splits, regions, labels)
