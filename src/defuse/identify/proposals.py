"""How candidates are drawn. A proposal turns seeds into (seed, label, code); the driver does the rest."""

from abc import ABC, abstractmethod
from dataclasses import dataclass as record
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float32
from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.identify.seeds import Seeds
from defuse.types import STRICT, Labels, Mask

Positive = Annotated[float, Field(gt=0)]


@record(frozen=True)
class Draw:
    """Codes to decode.

    Attributes:
        seed: position of the seed each code started from, (n,).
        label: the class to decode it as, (n,).
        z: (n, latent).
    """

    seed: Labels
    label: Labels
    z: Float32[np.ndarray, "n latent"]


class Proposal(ABC):
    """A way to draw candidates. Pure: the same seeds, ``n`` and ``rng`` state give the same draw."""

    name: ClassVar[str]

    @abstractmethod
    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates, all for the class ``label`` where one is given.

        At least one seed must be a start for it.
        """

    def starts(self, labels: Labels, label: int | None = None) -> Mask:
        """Return which seeds, given their labels, may start a candidate for the class ``label``: those of that class.

        All may where no class is given.
        """
        return np.ones(len(labels), dtype=bool) if label is None else labels == label


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BetaNoise(Proposal):
    """The paper's proposal: per-coordinate noise ``scale * (Beta(a, b) - a / (a + b))`` added to a seed's mean code.

    Every reference image is equally likely. Source: arXiv:2102.06162, section 3 (identify). The values of
    ``a``, ``b`` and ``scale`` are ours; the paper's were not at hand.
    """

    a: Positive = 2.0
    b: Positive = 2.0
    scale: Positive = 3.0
    kind: Literal["beta_noise"] = "beta_noise"
    name: ClassVar[str] = "beta_noise"

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates."""
        seed = seeds.draw_uniformly(n, rng, self.starts(seeds.labels, label))
        noise = rng.beta(self.a, self.b, size=(n, seeds.mean.shape[1])) - self.a / (self.a + self.b)
        return Draw(seed, seeds.labels[seed], seeds.mean[seed] + (self.scale * noise).astype(np.float32))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PosteriorNoise(Proposal):
    """A draw from the seed's own posterior, widened by ``scale``; every class is equally likely."""

    scale: Positive = 2.0
    kind: Literal["posterior_noise"] = "posterior_noise"
    name: ClassVar[str] = "posterior_noise"

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates."""
        seed = seeds.draw_balanced(n, rng, self.starts(seeds.labels, label))
        return Draw(seed, seeds.labels[seed], _posterior(seeds, seed, self.scale, rng))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StyleTransfer(Proposal):
    """The style of an image of one class, decoded as another: reaches styles never seen with that class.

    Needs a conditional generator. ``scale`` widens the draw from the donor's posterior. The donor's class and the
    class to draw are both equally likely over classes, and differ.
    """

    scale: Positive = 1.5
    kind: Literal["style_transfer"] = "style_transfer"
    name: ClassVar[str] = "style_transfer"

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates."""
        seed = seeds.draw_balanced(n, rng, self.starts(seeds.labels, label))
        if label is None:
            shown = (seeds.labels[seed] + rng.integers(1, seeds.classes, size=n)) % seeds.classes
        else:
            shown = np.full(n, label, dtype=np.int64)
        return Draw(seed, shown, _posterior(seeds, seed, self.scale, rng))

    def starts(self, labels: Labels, label: int | None = None) -> Mask:
        """Return which seeds may give their style to the class ``label``: those of every other class."""
        return np.ones(len(labels), dtype=bool) if label is None else labels != label


def _posterior(seeds: Seeds, seed: Labels, scale: float, rng: np.random.Generator) -> Float32[np.ndarray, "n latent"]:
    noise = rng.standard_normal(size=(len(seed), seeds.mean.shape[1]), dtype=np.float32)
    return seeds.mean[seed] + np.float32(scale) * seeds.std[seed] * noise


AnyProposal = Annotated[BetaNoise | PosteriorNoise | StyleTransfer, Field(discriminator="kind")]
