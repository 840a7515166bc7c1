"""The seeds of a search: reference images, their codes, and which of them survive a reconstruction."""

from dataclasses import dataclass as record
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32
from pydantic.dataclasses import dataclass

from defuse.classifiers import Classifier
from defuse.errors import GeneratorError
from defuse.generators import Generator
from defuse.pixels import quantise, to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages
from defuse.types import STRICT, Labels, Mask

_Among = Bool[np.ndarray, " seeds"]


@record(frozen=True)
class Seeds:
    """Reference images that a search may start from.

    Attributes:
        rows: row of each image in its source, (n,).
        labels: (n,).
        mean: mean of the code of each image, (n, latent).
        std: standard deviation of the code, (n, latent).
        classes: number of classes.
    """

    rows: Labels
    labels: Labels
    mean: Float32[np.ndarray, "n latent"]
    std: Float32[np.ndarray, "n latent"]
    classes: int

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, mask: Mask) -> "Seeds":
        """Return the seeds where ``mask`` is true."""
        return Seeds(self.rows[mask], self.labels[mask], self.mean[mask], self.std[mask], self.classes)

    def draw_uniformly(self, n: int, rng: np.random.Generator, among: _Among) -> Labels:
        """Return ``n`` positions where ``among`` is true, every image there equally likely."""
        places = np.flatnonzero(among)
        return places[rng.integers(len(places), size=n)]

    def draw_balanced(self, n: int, rng: np.random.Generator, among: _Among) -> Labels:
        """Return ``n`` positions where ``among`` is true, every class that has a seed there equally likely.

        So rare classes get their share.
        """
        places = np.flatnonzero(among)
        order = places[np.argsort(self.labels[places], kind="stable")]
        present, start, count = np.unique(self.labels[order], return_index=True, return_counts=True)
        chosen = rng.integers(len(present), size=n)
        return order[start[chosen] + rng.integers(count[chosen])]

    def nearest(self, z: Float32[np.ndarray, "n latent"]) -> Labels:
        """Return the position of the seed whose mean code is nearest to each code, (n,)."""
        distance = np.square(self.mean).sum(1) - 2 * z @ self.mean.T
        return distance.argmin(axis=1).astype(np.int64)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Reconstructs:
    """The gate on seeds: the classifier must read the seed's own 8-bit reconstruction as the seed's label.

    Without it, every image that the generator blurs counts as a failure. Not in the paper.
    """

    kind: Literal["reconstructs"] = "reconstructs"


@torch.inference_mode()
def encode_seeds(
    reference: LabelledImages,
    generator: Generator,
    classifier: Classifier,
    *,
    batch: int,
    progress: Progress = silent,
) -> tuple[Seeds, Mask]:
    """Encode the reference images and say which reconstructions the classifier reads as the label.

    Raises:
        GeneratorError: not one reconstruction is read as its label.
    """
    means, stds, kept = [], [], []
    for start in range(0, len(reference), batch):
        pixels = to_pixels(reference.images[start : start + batch])
        labels = torch.from_numpy(reference.labels[start : start + batch])
        posterior = generator.encode(pixels, labels)
        logits = classifier.logits(quantise(generator.decode(posterior.mean, labels, pixels)))
        means.append(posterior.mean.numpy())
        stds.append(posterior.std.numpy())
        kept.append((logits.argmax(dim=1) == labels).numpy())
        progress("encode reference images", start + len(labels), len(reference))
    seeds = Seeds(
        rows=reference.rows,
        labels=reference.labels,
        mean=np.concatenate(means),
        std=np.concatenate(stds),
        classes=len(reference.class_names),
    )
    mask = np.concatenate(kept)
    if not mask.any():
        raise GeneratorError(
            "generator: the classifier reads no reconstruction as its label; train the generator longer, or check "
            "that it and the classifier expect the same images"
        )
    return seeds, mask
