"""Where real images fall: how many lie inside a region, how many of them the model misreads, how often that happens."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from scipy.stats import chi2

from defuse.classifiers.base import Classifier
from defuse.generators import Generator, Renderer
from defuse.pixels import quantise, to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Rate, Region, Regions
from defuse.seeds import derive, torch_rng
from defuse.types import Labels, Mask

WITHIN = 0.95
"""Share of a region's Gaussian that counts as its inside: the ellipsoid about the mean that holds so much."""

BATCH = 1_000


@dataclass(frozen=True)
class NaturalImages:
    """What real images say of a region.

    Attributes:
        region: its name.
        of_label: how many real images have the region's label.
        inside: positions of those whose mean code lies inside the region.
        misread: of those inside, how many the classifier gets wrong; of images it was trained on, fewer than of others.
        mass: the probability, under the images' own distribution, that an image's code falls inside the region and that
            what it decodes to is misread: of one draw from the posterior of every image that no search started from,
            the share that does. No draw of 0 is a probability of 0: the interval's upper end says how likely it may be,
            where images show different things; frames of one object come together, and then it may be wider.
    """

    region: str
    of_label: int
    inside: Labels
    misread: Rate
    mass: Rate


def natural_images(
    regions: Regions,
    images: LabelledImages,
    renderer: Renderer,
    classifier: Classifier,
    *,
    unseen: Bool[np.ndarray, " all"],
    seed: int,
    progress: Progress = silent,
) -> tuple[NaturalImages, ...]:
    """Return, for each reported region, what real images say of it.

    Codes of images are compared with the region under the region's label, so only images of that label count.

    Args:
        regions: the reported ones are served.
        images: real images, of whatever split.
        renderer: its generator gives their codes.
        classifier: the model under test.
        unseen: which images neither generator nor search has seen, (n,): a region lies where the search's seeds do.
        seed: of the draws from the posteriors.
        progress: told of every class done.
    """
    found: dict[str, NaturalImages] = {}
    labels = sorted({region.label for region in regions.reported})
    for done, label in enumerate(labels):
        progress("real images in regions", done, len(labels), images.class_names[label])
        places = np.flatnonzero(images.labels == label)
        of_class = _OfClass.look(images.take(places), renderer.generator, classifier, derive(seed, "natural", label))
        for region in regions.reported:
            if region.label == label:
                found[region.name] = of_class.in_region(region, places, unseen, renderer, classifier)
    progress("real images in regions", len(labels), len(labels))
    return tuple(found[region.name] for region in regions.reported)


def inside(region: Region, codes: Float64[np.ndarray, "n latent"]) -> Mask:
    """Return which codes lie inside a region, (n,)."""
    return distances(region, codes) <= chi2.ppf(WITHIN, len(region.mean))


def distances(region: Region, codes: Float64[np.ndarray, "n latent"]) -> Float64[np.ndarray, " n"]:
    """Return each code's squared Mahalanobis distance from a region's mean under the region's covariance, (n,)."""
    difference = codes - region.mean
    squares: np.ndarray = np.einsum("ij,ji->i", difference, np.linalg.solve(region.covariance, difference.T))
    return squares


@dataclass(frozen=True)
class _OfClass:
    """The real images of one class: mean codes, one draw from each posterior, and whether each image is misread."""

    label: int
    means: Float64[np.ndarray, "n latent"]
    draws: Float64[np.ndarray, "n latent"]
    wrong: Mask

    @classmethod
    @torch.inference_mode()
    def look(cls, images: LabelledImages, generator: Generator, classifier: Classifier, seed: int) -> "_OfClass":
        rng = torch_rng(seed)
        means, draws, wrong = [], [], []
        for batch in _batches(images):
            pixels, labels = to_pixels(batch.images), torch.from_numpy(batch.labels)
            posterior = generator.encode(pixels, labels)
            means.append(posterior.mean)
            draws.append(posterior.mean + posterior.std * torch.randn(posterior.mean.shape, generator=rng))
            wrong.append(classifier.logits(pixels).argmax(dim=1) != labels)
        latent = generator.latent
        return cls(
            int(images.labels[0]) if len(images) else -1,
            torch.cat([torch.zeros(0, latent), *means]).double().numpy(),
            torch.cat([torch.zeros(0, latent), *draws]).double().numpy(),
            torch.cat([torch.zeros(0, dtype=torch.bool), *wrong]).numpy(),
        )

    def in_region(
        self,
        region: Region,
        places: Labels,
        unseen: Bool[np.ndarray, " all"],
        renderer: Renderer,
        classifier: Classifier,
    ) -> NaturalImages:
        within = inside(region, self.means)
        fallen = self.draws[inside(region, self.draws) & unseen[places]]
        return NaturalImages(
            region=region.name,
            of_label=len(places),
            inside=places[within],
            misread=Rate.of(self.wrong[within]),
            mass=Rate(_misread(fallen, region.label, renderer, classifier), int(unseen.sum())),
        )


@torch.inference_mode()
def _misread(codes: Float64[np.ndarray, "n latent"], label: int, renderer: Renderer, classifier: Classifier) -> int:
    """Return how many codes decode to an image that the classifier gets wrong."""
    wrong = 0
    for start in range(0, len(codes), BATCH):
        z = torch.from_numpy(codes[start : start + BATCH]).float()
        labels = torch.full((len(z),), label)
        pixels = quantise(renderer.render(z, labels).pixels)
        wrong += int((classifier.logits(pixels).argmax(dim=1) != labels).sum())
    return wrong


def _batches(images: LabelledImages) -> Iterator[LabelledImages]:
    for start in range(0, len(images), BATCH):
        yield images.take(np.arange(start, min(start + BATCH, len(images))))
