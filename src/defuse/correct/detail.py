"""Fine detail for repair samples: what the generator smooths away, lent by similar real images."""

from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from scipy.spatial.distance import cdist
from torch import Tensor

from defuse.classifiers.base import Classifier
from defuse.correct.targets import find_targets
from defuse.generators import Generator, mean_codes, reconstruct
from defuse.judges import Screen
from defuse.pixels import contrast, to_bytes, to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Purpose, RegionLabel, Regions, RegionSamples
from defuse.seeds import numpy_rng
from defuse.types import ByteImages, Pixels

LENDERS = 1_000
"""Real images of a class that may lend their detail, at most; evenly spaced."""

SIMILAR = 30
"""A sample's lender is drawn among so many real images of its class, those with the nearest codes."""

WEAKEST, STRONGEST = 0.2, 1.2
"""Between these factors detail is scaled as the sample's contrast is to that of its lender's reconstruction."""

UNLIT = 0.02
"""Contrast that a reconstruction is taken to have at least."""


def with_detail(
    regions: Regions,
    labels: tuple[RegionLabel, ...],
    reference: LabelledImages,
    generator: Generator,
    classifier: Classifier,
    screen: Screen,
    *,
    seed: int,
    progress: Progress = silent,
) -> Regions:
    """Return the regions with every repair sample of those with a label there a second time, in finer detail.

    A decoder draws smoothly, and a model that is repaired on smooth images is repaired less on photographs. What a
    generator loses of a real image, the image less its reconstruction, is added to a sample of the same class, scaled
    as its contrast asks. Not in the paper.

    Args:
        regions: as they are to be repaired; samples for other purposes stay as they are.
        labels: the class that each region was given, whose images lend the detail; regions without one stay as they
            are.
        reference: real images that may lend detail.
        generator: made the samples.
        classifier: the model under test, whose answers on the new images are noted.
        screen: as in the search; it decides anew whether an image shows its label.
        seed: of which real image lends to which sample.
        progress: told of every region done.
    """
    eyes = screen.of_photographs
    samples = dict(regions.samples)
    targets = find_targets(regions, labels, reference.class_names)
    label_of = attrgetter("label")
    done = 0
    for label, same in groupby(sorted(targets, key=label_of), key=label_of):
        lenders = _Lenders.look(reference.spread(label, LENDERS), generator)
        for target in same:
            name = target.region.name
            progress("correct: detail", done, len(targets), name)
            smooth = samples[name, Purpose.REPAIR]
            if len(smooth) and len(lenders):
                fine = lenders.lend(smooth, numpy_rng(seed, "detail", name))
                samples[name, Purpose.REPAIR] = _joined(smooth, fine, label, classifier, eyes)
            done += 1
    progress("correct: detail", done, done)
    return replace(regions, samples=samples)


@dataclass(frozen=True)
class _Lenders:
    """Real images of one class: their codes, the contrast of their reconstructions, and what these lack."""

    z: Float32[np.ndarray, "m latent"]
    contrast: Float[Tensor, " m"]
    detail: Pixels

    def __len__(self) -> int:
        return len(self.z)

    @classmethod
    def look(cls, images: LabelledImages, generator: Generator) -> "_Lenders":
        real, drawn = to_pixels(images.images), to_pixels(reconstruct(generator, images))
        return cls(mean_codes(generator, images), contrast(drawn).clamp(min=UNLIT), real - drawn)

    def lend(self, samples: RegionSamples, rng: np.random.Generator) -> ByteImages:
        """Return each sample with the detail of a real image that is like it, (n, h, w, c)."""
        pixels = to_pixels(samples.images)
        lender = self._similar(samples.z, rng)
        gain = (contrast(pixels) / self.contrast[lender]).clamp(WEAKEST, STRONGEST)
        return to_bytes(pixels + gain[:, None, None, None] * self.detail[lender])

    def _similar(self, z: Float32[np.ndarray, "n latent"], rng: np.random.Generator) -> Int64[np.ndarray, " n"]:
        nearest = cdist(z, self.z, "sqeuclidean").argsort(axis=1)[:, :SIMILAR]
        return nearest[np.arange(len(z)), rng.integers(nearest.shape[1], size=len(z))]


def _joined(
    smooth: RegionSamples, fine: ByteImages, label: int, classifier: Classifier, screen: Screen
) -> RegionSamples:
    kept = screen.keeps(to_pixels(fine), torch.full((len(fine),), label)).cpu().numpy()
    return replace(
        smooth,
        images=np.concatenate([smooth.images, fine]),
        z=np.concatenate([smooth.z, smooth.z]),
        predicted=np.concatenate([smooth.predicted, classifier.predict(fine)]),
        kept=np.concatenate([smooth.kept, kept & smooth.kept]),
    )
