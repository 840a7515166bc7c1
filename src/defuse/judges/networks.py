"""Judges that are small networks, trained on the reference images alone."""

import torch
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn.functional import cross_entropy

from defuse.classifiers import Classifier
from defuse.judges.base import Judge
from defuse.records import LabelledImages
from defuse.types import Pixels


class NetworkJudge(Judge):
    """A classifier whose softmax, at a temperature fitted on held-out images, is taken as probability."""

    def __init__(self, classifier: Classifier, temperature: float) -> None:
        self.classifier = classifier
        self.temperature = temperature

    def _probabilities(self, pixels: Pixels) -> Float[Tensor, "n k"]:
        return torch.softmax(self.classifier.logits(pixels) / self.temperature, dim=1)


class Unanimous(Judge):
    """Several judges that must agree: the probability of a class is the least that any member gives it.

    Where members differ, little is left for any class; the rest is "cannot tell".
    """

    def __init__(self, members: tuple[Judge, ...]) -> None:
        self.members = members

    def _probabilities(self, pixels: Pixels) -> Float[Tensor, "n k"]:
        return torch.stack([member.probabilities(pixels) for member in self.members]).amin(dim=0)


def fit_temperature(classifier: Classifier, held_out: LabelledImages) -> float:
    """Return the temperature in [0.2, 5] that maximises the held-out likelihood.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2.
    """
    logits = torch.from_numpy(classifier.predict_logits(held_out.images)).double()
    labels = torch.from_numpy(held_out.labels)
    found = minimize_scalar(
        lambda temperature: float(cross_entropy(logits / temperature, labels)), bounds=(0.2, 5.0), method="bounded"
    )
    return float(found.x)
