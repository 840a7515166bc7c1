"""A latent space in which every rate has a closed form.

An image is one row of four grey pixels: the first three are 0.5 + 0.1 z, the last shows the class as class / 10.
The classifier misreads an image when its first pixel is above BRIGHT; the judge accepts it when its second is.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import multivariate_normal

from defuse.classifiers.base import Classifier
from defuse.distill import RegionSampler
from defuse.generators import Detail, Generator, Posterior, Renderer
from defuse.judges import Judge, KeepsLabel, Screen
from defuse.records import Failures, LabelledImages

BRIGHT = 140
THRESHOLD = ((BRIGHT + 0.5) / 255 - 0.5) / 0.1
"""A coordinate above it becomes, once quantised, a pixel above BRIGHT."""

CLASSES = 4
LATENT = 3


class ToyGenerator(Generator):
    latent = LATENT
    image_shape = (1, LATENT + 1, 1)

    def __init__(self, *, conditional=True):
        self.conditional = conditional

    def encode(self, pixels, labels):
        del labels
        mean = (pixels[:, 0, 0, :LATENT] - 0.5) / 0.1
        return Posterior(mean, torch.full_like(mean, 0.01))

    def decode(self, z, labels, seed=None):
        assert seed is None
        assert z.dtype == torch.float32
        shown = labels if self.conditional else (z[:, 2] > 0).long()
        return torch.cat([0.5 + 0.1 * z, shown[:, None] / 10], dim=1)[:, None, None, :].clamp(0, 1)


def shown_class(pixels):
    return (pixels[:, 0, 0, -1] * 10).round().long()


class ToyClassifier(Classifier):
    """Reads the class, or the next one where the first pixel is bright."""

    finetunable = False

    def __init__(self):
        super().__init__(tuple("abcd"))

    def _forward(self, pixels):
        bright = pixels[:, 0, 0, 0] * 255 > BRIGHT + 0.01
        return torch.nn.functional.one_hot((shown_class(pixels) + bright) % CLASSES, CLASSES).float()


class ToyJudge(Judge):
    """Sure of the class where the second pixel is bright, else of nothing."""

    def _probabilities(self, pixels):
        bright = pixels[:, 0, 0, 1] * 255 > BRIGHT + 0.01
        sure = torch.nn.functional.one_hot(shown_class(pixels), CLASSES).float()
        return torch.where(bright[:, None], sure, torch.full_like(sure, 1 / CLASSES))


@dataclass(frozen=True)
class Toys:
    generator: Generator
    classifier: Classifier
    screen: Screen


def screen_of(judge):
    return Screen((KeepsLabel(threshold=0.5),), judge)


def toys(*, conditional=True):
    return Toys(ToyGenerator(conditional=conditional), ToyClassifier(), screen_of(ToyJudge()))


def sampler_of(world, detail=None, **changes):
    return RegionSampler(Renderer(world.generator, detail), world.classifier, world.screen, **changes)


class Blind(ToyGenerator):
    """Takes every image for the one in the middle of its space."""

    def encode(self, pixels, labels):
        found = super().encode(pixels, labels)
        return replace(found, mean=torch.zeros_like(found.mean))

    def decode(self, z, labels, seed=None):
        del seed
        return super().decode(z, labels)


def lending_sampler(world, batch=1024):
    """A sampler whose real images, all of class 1, are a tenth brighter at the first pixel than they can be drawn."""
    images = np.full((20, 1, LATENT + 1, 1), 128, dtype=np.uint8)
    images[:, 0, 0, 0] += 26
    images[:, 0, -1, 0] = 26  # says class 1
    reference = LabelledImages(images, np.ones(20, dtype=np.int64), tuple("abcd"), np.arange(20))
    world = replace(world, generator=Blind())
    return sampler_of(world, batch=batch, detail=Detail(reference, world.generator))


def true_rates(mean, covariance):
    """Return the keep rate and the failure rate among kept samples of N(mean, covariance)."""

    def above(axes):
        axes = list(axes)
        return multivariate_normal(-mean[axes], covariance[np.ix_(axes, axes)]).cdf([-THRESHOLD] * len(axes))

    keep = above([1])
    return keep, above([0, 1]) / keep


def failures(*groups, seed=0):
    """Make failures from (label, predicted, centre, spread, count) groups."""
    rng = np.random.default_rng(seed)
    parts = [np.asarray(centre) + spread * rng.standard_normal((count, LATENT)) for *_, centre, spread, count in groups]
    z = np.concatenate(parts) if parts else np.zeros((0, LATENT))
    counts = [group[-1] for group in groups]
    return Failures(
        seed=np.arange(len(z)),
        label=np.repeat(np.array([group[0] for group in groups], dtype=np.int64), counts),
        predicted=np.repeat(np.array([group[1] for group in groups], dtype=np.int64), counts),
        proposal=("toy",) * len(z),
        z=z.astype(np.float32),
        scores={"misclassified": np.ones(len(z), dtype=np.float32)},
    )
