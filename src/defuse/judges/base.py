"""Who says whether an image still shows its label: never the classifier under test."""

from abc import ABC, abstractmethod
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor

from defuse.types import LabelTensor, Pixels


class Judge(ABC):
    """Probabilities of the classes from something other than the classifier under test."""

    @abstractmethod
    def _probabilities(self, pixels: Pixels) -> Float[Tensor, "n k"]:
        """Return one row of class probabilities per image."""

    @final
    @torch.inference_mode()
    def probabilities(self, pixels: Pixels, batch: int = 1024) -> Float[Tensor, "n k"]:
        """Return class probabilities of images in [0, 1], computed batch by batch, (n, classes).

        A row sums to at most 1; what is missing is the probability of "cannot tell".
        """
        return torch.cat([self._probabilities(part) for part in torch.split(pixels, batch)])

    def plausibility(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return how usual each image is for its label, in [0, 1], (n,): 1 from a judge that cannot tell."""
        del labels
        return torch.ones(len(pixels))
