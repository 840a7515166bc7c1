"""Which images of an unlabelled pool fall into reported regions: what to collect and label next."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import chi2

from defuse.classifiers.base import Classifier
from defuse.distill.natural import distances
from defuse.generators.base import Generator
from defuse.judges.base import Judge
from defuse.judges.gates import probability_of
from defuse.pixels import to_pixels
from defuse.progress import Progress, silent
from defuse.records import Region, Regions
from defuse.types import ByteImages, Labels

BATCH = 1_000

RATHER = 0.5
"""From this probability of a label on, the judges rather see it than not."""


@dataclass(frozen=True)
class Collected:
    """One image of a pool, and the region that it most likely falls into.

    Attributes:
        row: position in the pool.
        region: name of the region.
        score: the share of the region's own samples that lie as far out or farther, times the judges' probability that
            the image shows the region's label, in [0, 1].
        answer: what the classifier says of it, a class index.
        suspect: whether the judges rather see the region's label, and the answer is another class.
    """

    row: int
    region: str
    score: float
    answer: int
    suspect: bool


def collect(
    regions: Regions,
    images: ByteImages,
    generator: Generator,
    classifier: Classifier,
    judge: Judge,
    *,
    progress: Progress = silent,
) -> tuple[Collected, ...]:
    """Return every image of a pool with its most likely region, the highest score first.

    Args:
        regions: the reported ones; none gives nothing.
        images: the pool, (n, h, w, c), as the run's images are.
        generator: gives their codes, under each region's label.
        classifier: the model under test.
        judge: says how likely an image shows a label; the gate's.
        progress: told of every batch.
    """
    if not regions.reported:
        return ()
    found: list[Collected] = []
    for start in range(0, len(images), BATCH):
        progress("collect", start, len(images))
        found += _batch(regions.reported, images[start : start + BATCH], start, generator, classifier, judge)
    progress("collect", len(images), len(images))
    return tuple(sorted(found, key=lambda one: -one.score))


@torch.inference_mode()
def _batch(
    regions: tuple[Region, ...],
    images: ByteImages,
    first: int,
    generator: Generator,
    classifier: Classifier,
    judge: Judge,
) -> list[Collected]:
    pixels = to_pixels(images)
    answers: Labels = classifier.logits(pixels).argmax(dim=1).numpy()
    scores, shown = np.zeros((len(regions), len(images))), np.zeros((len(regions), len(images)))
    for label in sorted({region.label for region in regions}):
        labels = torch.full((len(images),), label)
        codes = generator.encode(pixels, labels).mean.double().numpy()
        shows = probability_of(judge.probabilities(pixels), labels).numpy()
        for place, region in enumerate(regions):
            if region.label == label:
                shown[place] = shows
                scores[place] = chi2.sf(distances(region, codes), len(region.mean)) * shows
    best = scores.argmax(axis=0)
    return [
        Collected(
            first + row,
            regions[place].name,
            float(scores[place, row]),
            int(answers[row]),
            suspect=bool(answers[row] != regions[place].label and shown[place, row] >= RATHER),
        )
        for row, place in enumerate(best)
    ]
