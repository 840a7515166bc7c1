"""Is a generator good enough to search with? It is if reconstructions keep the classifier's answer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32

from defuse.errors import GeneratorError
from defuse.generators.base import Generator
from defuse.pixels import to_bytes, to_pixels
from defuse.records import LabelledImages, Rate
from defuse.types import ByteImages, Labels

BATCH = 512
WORST = 3
"""How many classes the refusal names."""


@dataclass(frozen=True)
class ReconstructionQuality:
    """Among images that the classifier gets right, the share whose reconstruction it still gets right.

    This is the base rate of the reconstruction gate: one minus it is the share of flips that owe nothing to the search.

    Attributes:
        kept: over all classes.
        per_class: one rate per class index.
    """

    kept: Rate
    per_class: tuple[Rate, ...]


Redraw = Callable[[LabelledImages], ByteImages]
"""Makes real images like samples of a generator, so that the two can be compared."""


@torch.inference_mode()
def mean_codes(generator: Generator, images: LabelledImages, batch: int = 1_000) -> Float32[np.ndarray, "n latent"]:
    """Return each image's posterior mean under its own label, (n, latent)."""
    parts = [np.zeros((0, generator.latent), dtype=np.float32)]
    for start in range(0, len(images), batch):
        pixels = to_pixels(images.images[start : start + batch])
        labels = torch.from_numpy(images.labels[start : start + batch])
        parts.append(generator.encode(pixels, labels).mean.numpy())
    return np.concatenate(parts)


@torch.inference_mode()
def reconstruct(generator: Generator, images: LabelledImages, batch: int = BATCH) -> ByteImages:
    """Return the 8-bit images decoded from each image's posterior mean under its own label, (n, h, w, c)."""
    parts = [np.zeros((0, *images.image_shape), dtype=np.uint8)]
    for start in range(0, len(images), batch):
        pixels = to_pixels(images.images[start : start + batch])
        labels = torch.from_numpy(images.labels[start : start + batch])
        mean = generator.encode(pixels, labels).mean
        parts.append(to_bytes(generator.decode(mean, labels, pixels)))
    return np.concatenate(parts)


def reconstruction_accuracy(
    generator: Generator, predict: Callable[[ByteImages], Labels], images: LabelledImages
) -> ReconstructionQuality:
    """Measure how far reconstructions keep the classifier's right answers.

    Args:
        generator: the generator to judge.
        predict: the classifier under test: 8-bit images (n, h, w, c) to class indices (n,).
        images: images that the generator was not trained on.
    """
    right = images.take(predict(images.images) == images.labels)
    kept = predict(reconstruct(generator, right)) == right.labels if len(right) else np.zeros(0, dtype=bool)
    tried = np.bincount(right.labels, minlength=len(images.class_names))
    good = np.bincount(right.labels[kept], minlength=len(images.class_names))
    per_class = tuple(Rate(int(successes), int(trials)) for successes, trials in zip(good, tried, strict=True))
    return ReconstructionQuality(Rate(int(good.sum()), int(tried.sum())), per_class)


def require(quality: ReconstructionQuality, floor: float, class_names: tuple[str, ...]) -> None:
    """Refuse a generator that is too poor to search with.

    Args:
        quality: what ``reconstruction_accuracy`` measured.
        floor: the least share kept, in [0, 1].
        class_names: one name per class index.

    Raises:
        GeneratorError: the share is below the floor, or the classifier got no image right to begin with.
    """
    if not quality.kept.trials:
        raise GeneratorError(
            "generator: cannot be judged, since the classifier got none of the images right; check its preprocessing "
            "and the order of the classes"
        )
    if quality.kept.value >= floor:
        return
    rates = [(rate.value, name) for rate, name in zip(quality.per_class, class_names, strict=True) if rate.trials]
    worst = ", ".join(f"{name} {100 * value:.1f} %" for value, name in sorted(rates)[:WORST])
    raise GeneratorError(
        f"generator: only {100 * quality.kept.value:.1f} % of reconstructions keep the classifier's right answer, "
        f"expected at least {100 * floor:.1f} % (worst: {worst}); raise generator.epochs, generator.latent or "
        "generator.width, lower generator.beta, give more images of those classes, or set "
        "generator.min_reconstruction lower"
    )
