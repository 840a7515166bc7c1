"""A search whose every figure can be counted by hand.

An image is a row of four grey pixels: two show the code, the third the class (100 times its index), the fourth nothing.
The classifier misreads an image, as the next class, when its first pixel is above BRIGHT; the judge is sure of the
class when the second pixel is at least CLEAR, and of nothing else.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch.nn.functional import one_hot

from defuse.classifiers import Classifier
from defuse.generators import Generator, Posterior
from defuse.identify import Identify, PosteriorNoise, Reconstructs, StyleTransfer
from defuse.judges import Judge, KeepsLabel, Misclassified
from defuse.records import LabelledImages
from defuse.seeds import numpy_rng

CLASSES = ("a", "b", "c")
BRIGHT = 127
CLEAR = 100
SURE = 0.95
LOGIT = 4.0
STD = 0.15


class ToyGenerator(Generator):
    latent = 2
    image_shape = (1, 4, 1)

    def __init__(self, *, conditional=True):
        self.conditional = conditional
        self.batches = []

    def encode(self, pixels, labels):
        del labels
        mean = pixels[:, 0, 0, :2]
        return Posterior(mean, torch.full_like(mean, STD))

    def decode(self, z, labels, seed=None):
        del seed
        self.batches.append(len(z))
        rest = torch.stack([labels * (100 / 255), torch.zeros(len(z))], dim=1)
        return torch.cat([z, rest], dim=1)[:, None, None, :]


def levels(pixels):
    """Return 8-bit values, as floats that need not be whole."""
    return pixels[:, 0, 0] * 255


def shown(pixels):
    return (levels(pixels)[:, 2] / 100).round().long()


class ToyClassifier(Classifier):
    finetunable = False

    def __init__(self):
        super().__init__(CLASSES)
        self.asked = 0

    def misreads(self, pixels):
        return levels(pixels)[:, 0] > BRIGHT + 0.5

    def _forward(self, pixels):
        self.asked += len(pixels)
        return LOGIT * one_hot((shown(pixels) + self.misreads(pixels)) % 3, 3).float()


class ToyJudge(Judge):
    def __init__(self):
        self.asked = 0

    def _probabilities(self, pixels):
        self.asked += len(pixels)
        clear = levels(pixels)[:, 1:2] > CLEAR - 0.5
        return torch.where(clear, SURE * one_hot(shown(pixels), 3), torch.tensor(1 / 3)).float()


def reference(count=60):
    """Images of unequal classes, every fifth misread as it is; rows are no positions."""
    rng = np.random.default_rng(0)
    labels = np.minimum(np.arange(count) % 6, 2).astype(np.int64)
    images = np.zeros((count, 1, 4, 1), dtype=np.uint8)
    images[:, 0, 0, 0] = np.where(np.arange(count) % 5 == 0, 140, rng.integers(60, 126, count))
    images[:, 0, 1, 0] = rng.integers(80, 140, count)
    images[:, 0, 2, 0] = 100 * labels
    return LabelledImages(images, labels, CLASSES, 1000 + 3 * np.arange(count))


SETTINGS = Identify(
    budget=1_000,
    rounds=1,
    shard_size=150,
    batch_size=64,
    proposals=(PosteriorNoise(scale=1.0), StyleTransfer(scale=1.5)),
    gates=(Reconstructs(), Misclassified(), KeepsLabel()),
    detail=False,
)


@dataclass(frozen=True)
class Toys:
    reference: LabelledImages = field(default_factory=reference)
    generator: ToyGenerator = field(default_factory=ToyGenerator)
    classifier: ToyClassifier = field(default_factory=ToyClassifier)
    judge: ToyJudge = field(default_factory=ToyJudge)

    def run(self, folder, settings=SETTINGS, *, seed=7, **options):
        return settings.run(
            self.reference,
            self.generator,
            self.classifier,
            self.judge,
            seed=seed,
            shard_path=lambda number: folder / f"shard-{number}.parquet",
            **options,
        )


def draws(settings, seeds, seed=7):
    """Yield (proposal's name, draw) of every batch, as the seed of each shard has it."""
    per_shard = settings.candidates
    for shard in range(settings.shards):
        proposal = settings.proposals[shard % len(settings.proposals)]
        rng = numpy_rng(seed, "identify", shard)
        left = per_shard(shard)
        while left:
            n = min(settings.batch_size, left)
            yield proposal.name, proposal.draw(seeds, n, rng)
            left -= n


def stored(z):
    """Return the 8-bit values of the code's two pixels, by NumPy alone."""
    return np.round(np.clip(z, 0, 1) * np.float32(255)).astype(int)
