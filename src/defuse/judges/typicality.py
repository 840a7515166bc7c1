"""A judge that also knows, from a generator, which images are usual for their class."""

from functools import cached_property

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from defuse.generators import Generator, reconstruct
from defuse.judges.base import Judge
from defuse.judges.conformal import conformal
from defuse.judges.shapes import Shapes
from defuse.pixels import adapted, middle, to_pixels
from defuse.records import LabelledImages, Splits
from defuse.types import LabelTensor, Pixels

PER_CLASS = 400
"""Images of a class that a candidate is compared with, at most."""

SHAPES = 1_000
"""Reference images of a class whose shapes are known, at most."""

RIVALS = 5
"""How many other classes are tried as an explanation of an image: those that the judge likes best."""

MARGIN = 0.035
"""How much worse every rival must explain the image, root mean square over its middle: about what a person can see.

Set by looking at regions of generated traffic signs: below it, frames whose symbol nobody can read. On generated digits
it throws out blots, and all that a likelihood ratio of 20 throws out.
"""

BATCH = 1_024


class TypicalityJudge(Judge):
    """Another judge's probabilities, and a generative classifier's veto.

    The generator's evidence lower bound of log p(x | y) says two things that networks trained to tell classes apart do
    not: whether an image is usual for y at all, and whether another class explains it as well. The first is a conformal
    p-value against reconstructions of real images of y, which share the generator's own blur: of held-out images, a
    share p is this unusual; an image must be usual by its ``Shapes`` too. The second is measured in grey levels,
    between the image and its reconstruction as each class, because people must see it: a likelihood ratio is vast where
    classes differ by a shade that no eye resolves. Source: per-class autoencoders as a classifier that agrees with
    people, Schott et al., ICLR 2019.

    Args:
        judge: whose probabilities are given on; it also names the rivals.
        generator: conditional, with a likelihood.
        real: what candidates are compared with, such as ``typical_images`` picks. With n of a class no p-value is below
            1 / (n + 1): of a class with few, or none, no image is found unusual, and only the rivals can speak
            against it.
        known: images whose shapes are known, such as ``known_images`` picks.
        margin: how much worse every rival must explain a well-lit image; less in a faint one, see ``pixels.adapted``.
    """

    def __init__(
        self,
        judge: Judge,
        generator: Generator,
        real: LabelledImages,
        known: LabelledImages,
        margin: float = MARGIN,
    ) -> None:
        self.judge = judge
        self.generator = generator
        self.real = real
        self.shapes = Shapes(generator, known, real)
        self.margin = margin

    def _probabilities(self, pixels: Pixels) -> Float[Tensor, "n k"]:
        return self.judge.probabilities(pixels)

    @torch.inference_mode()
    def plausibility(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return the lesser p-value of each image, in (0, 1], or 0 where another class explains it as well, (n,)."""
        parts = [torch.zeros(0)]
        for start in range(0, len(pixels), BATCH):
            image, label = pixels[start : start + BATCH], labels[start : start + BATCH]
            likely = self._p_values(self.generator.log_likelihood(image, label), label)
            usual = torch.minimum(likely, self.shapes.p_values(image, label))
            parts.append(usual.masked_fill(self._rivalled(image, label), 0.0))
        return torch.cat(parts)

    def _p_values(self, likelihood: Float[Tensor, " n"], labels: LabelTensor) -> Float[Tensor, " n"]:
        p_values = torch.ones(len(likelihood))
        for label in sorted(set(labels.tolist())):
            rows = labels == label
            p_values[rows] = conformal(likelihood[rows], self._usual.get(label, torch.zeros(0)))
        return p_values

    @cached_property
    def _usual(self) -> dict[int, Float[Tensor, " m"]]:
        """The log-likelihoods of each class's reconstructions, in order; found at the first question."""
        usual = {}
        for label in sorted(set(self.real.labels.tolist())):
            of_class = self.real.take(self.real.labels == label)
            pixels = to_pixels(reconstruct(self.generator, of_class))
            usual[label] = self.generator.log_likelihood(pixels, torch.from_numpy(of_class.labels)).sort().values
        return usual

    def _rivalled(self, pixels: Pixels, labels: LabelTensor) -> Bool[Tensor, " n"]:
        """Return where another class explains the image about as well."""
        others = self.judge.probabilities(pixels).scatter(1, labels[:, None], -1.0)
        rivals = others.topk(min(RIVALS, others.shape[1] - 1), dim=1).indices.unbind(1)
        best = torch.stack([self._misfit(pixels, rival) for rival in rivals]).amin(dim=0)
        return best < self._misfit(pixels, labels) + adapted(pixels, self.margin)

    def _misfit(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return how far each image is from its reconstruction as a class, root mean square over the middle, (n,)."""
        rebuilt = self.generator.decode(self.generator.encode(pixels, labels).mean, labels, pixels)
        return middle(rebuilt - pixels).square().mean((1, 2, 3)).sqrt()


def typical_images(splits: Splits) -> LabelledImages:
    """Return images to compare candidates with: of each class, ``PER_CLASS`` evenly spaced over all there are.

    Validation images come first. Where a class has too few of them, reference images fill up: a rare class of grouped
    data may have one group there, thirty frames of one sign. The generator has seen reference images, so there the
    p-values are nominal, and if anything too small.
    """
    parts = []
    for label in range(len(splits.class_names)):
        held_out = splits.validation.spread(label, PER_CLASS)
        parts += [held_out, splits.reference.spread(label, PER_CLASS - len(held_out))]
    return LabelledImages.concatenate(parts)


def known_images(splits: Splits, most: int = SHAPES) -> LabelledImages:
    """Return reference images whose shapes candidates are compared with: of each class ``most``, evenly spaced."""
    return LabelledImages.concatenate(
        [splits.reference.spread(label, most) for label in range(len(splits.class_names))]
    )
