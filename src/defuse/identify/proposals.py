"""How candidates are drawn. A prepared proposal turns seeds into (seed, label, code); the driver does the rest."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass as record
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.mixture import GaussianMixture
from torch import Tensor

from defuse.classifiers import Classifier, TorchClassifier
from defuse.errors import ClassifierError
from defuse.generators import Renderer
from defuse.identify.seeds import Seeds
from defuse.seeds import derive, numpy_rng
from defuse.types import STRICT, Codes, Labels, LabelTensor, Mask

Positive = Annotated[float, Field(gt=0)]

FEWEST_CODES = 10
"""Codes for each Gaussian of a fitted mixture."""


CLIMBING = 256
"""Candidates that climb at once: a network's gradient needs many times the memory of its answer."""


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


@record(frozen=True)
class Models:
    """What a proposal may ask besides the seeds: never a judge, or it would learn to please the one who decides."""

    renderer: Renderer
    classifier: Classifier


class Drawer(ABC):
    """Draws candidates. Pure: the same seeds, ``n`` and ``rng`` state give the same draw."""

    name: ClassVar[str]

    @abstractmethod
    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates, all for the class ``label`` where one is given.

        At least one seed must be a start for it.
        """


class Proposal(ABC):
    """A way to draw candidates, as it is set."""

    name: ClassVar[str]

    @abstractmethod
    def prepared(self, seeds: Seeds, models: Models, seed: int) -> Drawer:
        """Return what draws, with whatever it has to learn from all seeds, once per search."""

    @property
    def cost(self) -> int:
        """How many candidates of the budget one of its own takes: as many as could be decoded in its time."""
        return 1

    def suits(self, classifier: Classifier) -> bool:
        """Return whether it can search for errors of this classifier."""
        del classifier
        return True

    def starts(self, labels: Labels, label: int | None = None) -> Mask:
        """Return which seeds, given their labels, may start a candidate for the class ``label``: those of that class.

        All may where no class is given.
        """
        return np.ones(len(labels), dtype=bool) if label is None else labels == label


class _FromAny(Proposal):
    """A proposal that draws any class from any seed."""

    def starts(self, labels: Labels, label: int | None = None) -> Mask:
        """Return which seeds may start a candidate: all of them, whatever the class."""
        del label
        return np.ones(len(labels), dtype=bool)


class _Ready(Proposal, Drawer):
    """A proposal that has nothing to learn."""

    def prepared(self, seeds: Seeds, models: Models, seed: int) -> Drawer:
        """Return itself."""
        del seeds, models, seed
        return self


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BetaNoise(_Ready):
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
class PosteriorNoise(_Ready):
    """A draw from the seed's own posterior, widened by ``scale``; every class is equally likely."""

    scale: Positive = 2.0
    kind: Literal["posterior_noise"] = "posterior_noise"
    name: ClassVar[str] = "posterior_noise"

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates."""
        seed = seeds.draw_balanced(n, rng, self.starts(seeds.labels, label))
        return Draw(seed, seeds.labels[seed], _posterior(seeds, seed, self.scale, rng))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class StyleTransfer(_Ready):
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
class AggregatePosterior(_FromAny):
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

    def prepared(self, seeds: Seeds, models: Models, seed: int) -> "FittedAggregate":
        """Fit the mixture; each seed's posterior counts with its spread, by one draw from it (two, of a sole seed)."""
        del models
        each = np.resize(np.arange(len(seeds)), max(2, len(seeds)))
        codes = _posterior(seeds, each, 1.0, numpy_rng(seed, "identify", self.name))
        components = max(1, min(self.components, len(codes) // FEWEST_CODES))
        mixture = GaussianMixture(components, random_state=derive(seed, "identify", self.name) % 2**32)
        mixture.fit(codes.astype(np.float64))
        return FittedAggregate(mixture.weights_, mixture.means_, self.scale * np.linalg.cholesky(mixture.covariances_))


@record(frozen=True)
class FittedAggregate(Drawer):
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
        shown = _any_class(seeds, n, rng, label)
        return Draw(seeds.nearest(z), shown, z)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class GradientSearch(_FromAny):
    """A code in the style of any image, decoded as any class, and moved until the classifier reads it as another.

    Each step goes up the slope of the classifier's margin (the best other logit less the label's), measured in standard
    deviations of the seed's posterior, so that all coordinates move by what the seed's image leaves open. Judges are
    not asked on the way: a search that follows their slope finds what fools them too. Needs a conditional generator and
    a classifier with gradients.

    Attributes:
        steps: at most; a candidate that is read as another class by ``margin`` stays where it is.
        stride: length of a step, root mean square over the coordinates, in posterior standard deviations.
        margin: in logits.
        scale: widens the draw from the seed's posterior that the way starts from.
    """

    steps: Annotated[int, Field(ge=1)] = 4
    stride: Positive = 0.6
    margin: Annotated[float, Field(ge=0)] = 0.5
    scale: Positive = 0.5
    kind: Literal["gradient_search"] = "gradient_search"
    name: ClassVar[str] = "gradient_search"

    @property
    def cost(self) -> int:
        """One decoding at the end; at each step one forth and one back."""
        return 1 + 2 * self.steps

    def suits(self, classifier: Classifier) -> bool:
        """Return whether the classifier has gradients: a black box has none."""
        return isinstance(classifier, TorchClassifier)

    def prepared(self, seeds: Seeds, models: Models, seed: int) -> "Climb":
        """Return what climbs."""
        del seeds, seed
        return Climb(self, models)


@record(frozen=True)
class Climb(Drawer):
    """A ``GradientSearch`` and the models whose slope it climbs; ``draw`` raises ClassifierError if there is none."""

    settings: GradientSearch
    models: Models
    name: ClassVar[str] = GradientSearch.name

    def draw(self, seeds: Seeds, n: int, rng: np.random.Generator, label: int | None = None) -> Draw:
        """Draw ``n`` candidates; seeds and, where none is given, labels are equally likely over classes."""
        seed = seeds.draw_balanced(n, rng, np.ones(len(seeds), dtype=bool))
        shown = _any_class(seeds, n, rng, label)
        start = torch.from_numpy(_posterior(seeds, seed, self.settings.scale, rng))
        each = (start, torch.from_numpy(shown), torch.from_numpy(seeds.std[seed]))
        with torch.inference_mode(mode=False), torch.enable_grad():
            parts = [
                self._climb(*part) for part in zip(*(torch.split(tensor, CLIMBING) for tensor in each), strict=True)
            ]
        return Draw(seed, shown, torch.cat(parts).numpy())

    def _climb(self, start: Codes, labels: LabelTensor, std: Codes) -> Codes:
        length = self.settings.stride * math.sqrt(std.shape[1])
        z, moving = start.clone(), torch.arange(len(start))
        for _ in range(self.settings.steps):
            at = z[moving].requires_grad_()
            margin = self._margin(at, labels[moving])
            if not margin.requires_grad:
                raise ClassifierError(
                    "classifier: its module gives no gradients; drop gradient_search from identify.proposals"
                )
            below = margin.detach() < self.settings.margin
            if not below.any():
                break
            (slope,) = torch.autograd.grad(margin.sum(), at)
            moving, scale = moving[below], std[moving[below]]
            direction = scale * slope[below]
            unit = direction / direction.norm(dim=1, keepdim=True).clamp_min(torch.finfo(direction.dtype).tiny)
            z[moving] += length * scale * unit
        return z

    def _margin(self, z: Codes, labels: LabelTensor) -> Float[Tensor, " n"]:
        logits = self.models.classifier.logits(self.models.renderer.render(z, labels).pixels)
        own = logits.gather(1, labels[:, None])
        return logits.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - own[:, 0]


def _any_class(seeds: Seeds, n: int, rng: np.random.Generator, label: int | None) -> Labels:
    """Return the class to draw each candidate for: the one that is given, or every class equally likely."""
    return rng.integers(seeds.classes, size=n) if label is None else np.full(n, label, dtype=np.int64)


def _posterior(seeds: Seeds, seed: Labels, scale: float, rng: np.random.Generator) -> Float32[np.ndarray, "n latent"]:
    noise = rng.standard_normal(size=(len(seed), seeds.mean.shape[1]), dtype=np.float32)
    return seeds.mean[seed] + np.float32(scale) * seeds.std[seed] * noise


AnyProposal = Annotated[
    BetaNoise | PosteriorNoise | StyleTransfer | AggregatePosterior | GradientSearch, Field(discriminator="kind")
]
