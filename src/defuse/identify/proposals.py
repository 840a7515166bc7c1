"""How candidates are drawn. A proposal turns seeds into (seed, label, code); the driver does the rest."""

from abc import ABC, abstractmethod
from dataclasses import dataclass as record
from typing import Annotated, ClassVar, Literal

import numpy as np
from jaxtyping import Float32, Float64
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.mixture import GaussianMixture

from defuse.identify.seeds import Seeds
from defuse.seeds import derive, numpy_rng
from defuse.types import STRICT, Labels, Mask

Positive = Annotated[float, Field(gt=0)]

FEWEST_CODES = 10
"""Codes for each Gaussian of a fitted mixture."""


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

    def prepared(self, seeds: Seeds, seed: int) -> "Proposal":
        """Return the proposal with whatever it has to learn from all seeds, once per search; most learn nothing."""
        del seeds, seed
        return self

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


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AggregatePosterior(Proposal):
    """Codes from one Gaussian mixture of all seeds' codes, decoded as any class: styles between those of real images.

    Needs a conditional generator. Codes of real images fill no N(0, I), whatever the training wished, so a draw from
    the prior is often no natural image; a density fitted to the codes afterwards follows them. Every class is equally
    likely. Source: ex-post density estimation, Ghosh et al., "From Variational to Deterministic Autoencoders", ICLR
    2020, section 4.

    Attributes:
        components: Gaussians with full covariances, fewer where there are fewer than ten codes for each.
        scale: widens each Gaussian.
    """

    components: Annotated[int, Field(ge=1)] = 20
    scale: Positive = 1.0
    kind: Literal["aggregate_posterior"] = "aggregate_posterior"
    name: ClassVar[str] = "aggregate_posterior"

    def prepared(self, seeds: Seeds, seed: int) -> "FittedAggregate":
        """Fit the mixture; each seed's posterior counts with its spread, by one draw from it (two, of a sole seed)."""
        each = np.resize(np.arange(len(seeds)), max(2, len(seeds)))
        codes = _posterior(seeds, each, 1.0, numpy_rng(seed, "identify", self.name))
        components = max(1, min(self.components, len(codes) // FEWEST_CODES))
        mixture = GaussianMixture(components, random_state=derive(seed, "identify", self.name) % 2**32)
        mixture.fit(codes.astype(np.float64))
        return FittedAggregate(mixture.weights_, mixture.means_, self.scale * np.linalg.cholesky(mixture.covariances_))

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates from a mixture fitted anew with seed 0."""
        return self.prepared(seeds, 0).draw(seeds, n, rng, label)

    def starts(self, labels: Labels, label: int | None = None) -> Mask:
        """Return which seeds may start a candidate: all of them, whatever the class."""
        del label
        return np.ones(len(labels), dtype=bool)


@record(frozen=True)
class FittedAggregate(Proposal):
    """A fitted ``AggregatePosterior``.

    Attributes:
        weights: of the components, (k,).
        means: (k, latent).
        roots: lower-triangular, (k, latent, latent): a component is its mean plus its root times N(0, I).
    """

    weights: Float64[np.ndarray, " k"]
    means: Float64[np.ndarray, "k latent"]
    roots: Float64[np.ndarray, "k latent latent"]
    name: ClassVar[str] = AggregatePosterior.name

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates; each is put down to the seed with the nearest code."""
        component = rng.choice(len(self.weights), size=n, p=self.weights)
        noise = rng.standard_normal((n, self.means.shape[1]))
        z = (self.means[component] + np.einsum("nij,nj->ni", self.roots[component], noise)).astype(np.float32)
        shown = rng.integers(seeds.classes, size=n) if label is None else np.full(n, label, dtype=np.int64)
        return Draw(seeds.nearest(z), shown, z)


def _posterior(seeds: Seeds, seed: Labels, scale: float, rng: np.random.Generator) -> Float32[np.ndarray, "n latent"]:
    noise = rng.standard_normal(size=(len(seed), seeds.mean.shape[1]), dtype=np.float32)
    return seeds.mean[seed] + np.float32(scale) * seeds.std[seed] * noise


AnyProposal = Annotated[BetaNoise | PosteriorNoise | StyleTransfer | AggregatePosterior, Field(discriminator="kind")]
