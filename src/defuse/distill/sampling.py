"""Fresh samples of a region: drawn, decoded, stored as 8 bits, classified and judged."""

import math
from dataclasses import dataclass, fields

import numpy as np
import torch
from jaxtyping import Float32, Float64
from scipy.special import ndtr

from defuse.classifiers.base import Classifier
from defuse.generators import Renderer
from defuse.judges.gates import Screen
from defuse.pixels import quantise, to_bytes, to_pixels
from defuse.types import ByteImages, Labels, Mask


@dataclass(frozen=True)
class Draw:
    """Samples of one Gaussian.

    Attributes:
        images: 8-bit, (n, h, w, c), with real detail where the sampler lends it.
        z: the codes they were decoded from, (n, latent).
        predicted: the classifier's answers on the 8-bit images, (n,).
        margin: how far the logit of the best other class is above the label's there, (n,).
        kept: whether the screen accepts that the 8-bit image shows the label, (n,).
    """

    images: ByteImages
    z: Float32[np.ndarray, "n latent"]
    predicted: Labels
    margin: Float32[np.ndarray, " n"]
    kept: Mask

    def __len__(self) -> int:
        return len(self.z)

    def take(self, index: Labels | Mask | slice) -> "Draw":
        """Return the samples at ``index``, in that order."""
        return Draw(*(getattr(self, each.name)[index] for each in fields(self)))


def join(draws: list[Draw]) -> Draw:
    """Put at least one draw after another."""
    return Draw(*(np.concatenate([getattr(draw, each.name) for draw in draws]) for each in fields(Draw)))


PROBE_BATCH = 250
"""How many samples a probe draws before it looks whether enough of them fail."""

PROBED = 50
"""How many rightly read samples of each such batch are judged, to estimate how many of them are kept."""


@dataclass(frozen=True)
class Probe:
    """What a Gaussian holds, at a fraction of the price of ``RegionSampler.draw``.

    Attributes:
        failing: the samples that are kept and misread.
        kept: about how many of the samples drawn are kept, rightly read or not.
        drawn: how many there are.
    """

    failing: Draw
    kept: float
    drawn: int


@dataclass(frozen=True)
class RegionSampler:
    """Draws samples of Gaussians in a generator's latent space.

    Attributes:
        renderer: makes the images.
        classifier: the model under test.
        screen: decides whether an image still shows its label, as in the search.
        batch: how many images are decoded at once; the samples do not depend on it beyond rounding.
    """

    renderer: Renderer
    classifier: Classifier
    screen: Screen
    batch: int = 1024

    def draw(
        self,
        mean: Float64[np.ndarray, " latent"],
        covariance: Float64[np.ndarray, "latent latent"],
        label: int,
        count: int,
        *,
        rng: np.random.Generator,
    ) -> Draw:
        """Draw ``count`` samples of N(mean, covariance), whatever they show.

        The codes are drawn in float64 and rounded to float32. Classifier and judge see the 8-bit images.

        Raises:
            numpy.linalg.LinAlgError: the covariance is not positive definite.
        """
        return self._drawn(mean, covariance, label, count, rng)

    def draw_kept(
        self,
        mean: Float64[np.ndarray, " latent"],
        covariance: Float64[np.ndarray, "latent latent"],
        label: int,
        wanted: int,
        *,
        limit: int,
        rng: np.random.Generator,
    ) -> Draw:
        """Draw until ``wanted`` samples are kept or ``limit`` were drawn; return the kept ones, at most ``wanted``."""
        parts = [self.draw(mean, covariance, label, min(wanted, limit), rng=rng)]
        kept, drawn = int(parts[0].kept.sum()), len(parts[0])
        while kept < wanted and drawn < limit:
            # As many as the share kept so far calls for; doubled each round where nothing was kept yet.
            guess = math.ceil((wanted - kept) * drawn / kept) if kept else drawn
            parts.append(self.draw(mean, covariance, label, min(guess, limit - drawn), rng=rng))
            kept, drawn = kept + int(parts[-1].kept.sum()), drawn + len(parts[-1])
        everything = join(parts)
        return everything.take(np.flatnonzero(everything.kept)[:wanted])

    def at(self, z: Float32[np.ndarray, "n latent"], label: int) -> Draw:
        """Return the samples of given codes; the nearest real image lends the detail."""
        return self._looked(z, np.zeros(len(z)), label)

    def probe(
        self,
        mean: Float64[np.ndarray, " latent"],
        covariance: Float64[np.ndarray, "latent latent"],
        label: int,
        *,
        failing: int,
        limit: int,
        rng: np.random.Generator,
    ) -> Probe:
        """Draw batch by batch until ``failing`` samples are kept and misread, or ``limit`` were drawn.

        Judges cost more than everything else, and a Gaussian that is still wide is mostly read rightly: they are asked
        of what is misread, and of the first ``PROBED`` other samples of each batch, alone.

        Raises:
            numpy.linalg.LinAlgError: the covariance is not positive definite.
        """
        failed: list[Draw] = []
        kept, found, drawn = 0.0, 0, 0
        while drawn < limit and found < failing:
            count = min(PROBE_BATCH, limit - drawn)
            looked = self._drawn(mean, covariance, label, count, rng, PROBED)
            wrong = looked.predicted != label
            right = np.flatnonzero(~wrong)
            failed.append(looked.take(wrong & looked.kept))
            share = float(looked.kept[right[:PROBED]].mean()) if len(right) else 0.0
            drawn, found, kept = drawn + count, found + len(failed[-1]), kept + len(failed[-1]) + share * len(right)
        return Probe(join(failed), kept, drawn)

    def _drawn(
        self,
        mean: Float64[np.ndarray, " latent"],
        covariance: Float64[np.ndarray, "latent latent"],
        label: int,
        count: int,
        rng: np.random.Generator,
        probed: int | None = None,
    ) -> Draw:
        noise = rng.standard_normal((count, len(mean) + (self.renderer.detail is not None)))
        z = (mean + noise[:, : len(mean)] @ np.linalg.cholesky(covariance).T).astype(np.float32)
        lenders = ndtr(noise[:, -1])  # uniform, and of the same stream: how much is drawn at once changes no sample
        return self._looked(z, lenders, label, probed)

    def _looked(
        self,
        z: Float32[np.ndarray, "n latent"],
        lenders: Float64[np.ndarray, " n"],
        label: int,
        probed: int | None = None,
    ) -> Draw:
        # One empty batch when nothing is wanted, so that the arrays keep their shapes.
        parts = [slice(start, start + self.batch) for start in range(0, max(len(z), 1), self.batch)]
        return join([self._look(z[part], lenders[part], label, probed) for part in parts])

    @torch.inference_mode()
    def _look(
        self, z: Float32[np.ndarray, "n latent"], lenders: Float64[np.ndarray, " n"], label: int, probed: int | None
    ) -> Draw:
        """Decode one batch, then classify and judge what survives storage.

        Where ``probed`` is given, only so many of the rightly read are judged; of the rest nothing is kept.
        """
        if not len(z):
            images = np.zeros((0, *self.renderer.generator.image_shape), dtype=np.uint8)
            return Draw(images, z, np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32), np.zeros(0, dtype=bool))
        rendered = self.renderer.render(torch.from_numpy(z), torch.full((len(z),), label), lenders)
        images, drawn = to_bytes(rendered.pixels), quantise(rendered.drawn)
        logits = self.classifier.predict_logits(images)
        predicted = logits.argmax(axis=1).astype(np.int64)
        judged = predicted != label
        judged[np.flatnonzero(~judged)[:probed]] = True
        kept = np.zeros(len(z), dtype=bool)
        asked = to_pixels(images[judged])
        kept[judged] = self.screen.keeps(asked, torch.full((len(asked),), label), drawn[judged]).cpu().numpy()
        margin = np.delete(logits, label, axis=1).max(axis=1) - logits[:, label]
        return Draw(images, z, predicted, margin, kept)
