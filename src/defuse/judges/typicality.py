"""A judge that also knows, from a generator, which images are usual for their class."""

from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from defuse.generators import Generator, reconstruct
from defuse.judges.base import Judge
from defuse.pixels import to_pixels
from defuse.records import LabelledImages
from defuse.types import LabelTensor, Pixels

PER_CLASS = 400
"""Held-out images of a class that a candidate is compared with, at most."""

RIVALS = 2
"""How many other classes are tried as an explanation of an image: those that the judge likes best."""

BATCH = 1_024

Evidence = Float[Tensor, "n 2"]
"""Of each image under its label: the log-likelihood's bound, and how far it exceeds the best rival's."""


class TypicalityJudge(Judge):
    """Another judge's probabilities, and a generative classifier's veto.

    The generator's evidence lower bound of log p(x | y) says two things that networks trained to tell classes apart do
    not: whether an image is usual for y at all, and whether another class explains it better. Both are compared with
    reconstructions of held-out images of y, which share the generator's own blur, so that the answer is a conformal
    p-value: of real images, at most a share p is this unusual. Source: per-class autoencoders as a classifier that
    agrees with people, Schott et al., ICLR 2019; conformal p-values, Vovk et al., 2005.

    Args:
        judge: whose probabilities are given on; it also names the rivals.
        generator: conditional, with a likelihood.
        held_out: images that neither was trained on, at least one of every class that is asked about.
    """

    def __init__(self, judge: Judge, generator: Generator, held_out: LabelledImages) -> None:
        self.judge = judge
        self.generator = generator
        self.held_out = held_out

    def _probabilities(self, pixels: Pixels) -> Float[Tensor, "n k"]:
        return self.judge.probabilities(pixels)

    @torch.inference_mode()
    def plausibility(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return the smaller of both p-values, (n,), in (0, 1]."""
        found = self._evidence(pixels, labels)
        smallest = torch.ones(len(pixels))
        for label in sorted(set(labels.tolist())):
            rows = labels == label
            usual = self._usual[label]
            below = torch.searchsorted(usual.T.contiguous(), found[rows].T.contiguous(), right=True)
            smallest[rows] = ((1 + below) / (1 + len(usual))).amin(dim=0)
        return smallest

    @cached_property
    def _usual(self) -> dict[int, Evidence]:
        """Of each class, both figures of its held-out reconstructions, each sorted; found at the first question."""
        usual = {}
        for label in self.held_out.labels.tolist():
            if label not in usual:
                few = self.held_out.take((self.held_out.labels == label).nonzero()[0][:PER_CLASS])
                labels = torch.from_numpy(few.labels)
                usual[label] = self._evidence(to_pixels(reconstruct(self.generator, few)), labels).sort(dim=0).values
        return usual

    def _evidence(self, pixels: Pixels, labels: LabelTensor) -> Evidence:
        parts = [torch.zeros(0, 2)]
        for start in range(0, len(pixels), BATCH):
            image, label = pixels[start : start + BATCH], labels[start : start + BATCH]
            own = self.generator.log_likelihood(image, label)
            others = self.judge.probabilities(image).scatter(1, label[:, None], -1.0)
            rivals = others.topk(min(RIVALS, others.shape[1] - 1), dim=1).indices.unbind(1)
            best = torch.stack([self.generator.log_likelihood(image, rival) for rival in rivals]).amax(dim=0)
            parts.append(torch.stack([own, own - best], dim=1))
        return torch.cat(parts)
