"""Other ways to find or repair errors, written from their papers, for comparison. Each names its source."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32, Float64
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from torch.nn.functional import cross_entropy

from defuse.bench.methods import Chain, Method, Outcome, Situation, repair_settings, repair_told, tune
from defuse.bench.scoring import Finding
from defuse.bench.tasks import Home
from defuse.classifiers import BATCH, TorchClassifier
from defuse.correct.targets import Pool
from defuse.pixels import to_bytes, to_pixels
from defuse.records import LabelledImages
from defuse.seeds import derive, torch_rng
from defuse.types import ByteImages, Labels, Mask

ANY_FLIP = "identify.gates=[{kind: misclassified}]"

RANDOM = Chain("random_latents", changes=("identify.proposals=[{kind: aggregate_posterior}]", ANY_FLIP))
"""Random codes, from a Gaussian mixture of all codes, decoded as any class; every flip is kept. Grouping, evidence and
repair are the default's, so that the search alone differs."""

FEATURES = 16
"""Principal components of the classifier's features that errors are clustered by, at most."""


@dataclass(frozen=True)
class Clustering(Method):
    """Clusters of errors among the labelled images, in the manner of Domino; then fine-tuning on the clustered errors.

    Source: Eyuboglu et al., "Domino: Discovering Systematic Errors with Cross-Modal Embeddings", ICLR 2022: a Gaussian
    mixture over embedding, label and answer together. Deviations: the embedding is the classifier's own last layer,
    since there is no text; components are ranked by their number of errors.

    Attributes:
        components: of the mixture, at most.
        weight: of label and answer beside the embedding, whose components have unit variance.
    """

    name: str = "clustering"
    components: int = 25
    weight: float = 3.0

    def told(self, home: Home, *, quick: bool, seed: int) -> Mapping[str, Any]:
        """Return everything that decides the result."""
        return {"components": self.components, "weight": self.weight, **repair_told(home, quick=quick, seed=seed)}

    def run(self, situation: Situation) -> Outcome:
        """Cluster the reference and validation images; report each cluster's errors."""
        seen = LabelledImages.concatenate([situation.splits.reference, situation.splits.validation])
        logits = situation.classifier.predict_logits(seen.images)
        wrong = logits.argmax(1) != seen.labels
        settings = repair_settings(situation)
        control = tune(situation, settings)
        if not wrong.any():
            return Outcome((), control, control)
        features = _features(situation.classifier, seen.images)
        groups = self._groups(features, logits, seen.labels, derive(situation.seed, "planted", self.name))
        found = [_cluster(seen, logits.argmax(1), wrong & (groups == group)) for group in np.unique(groups[wrong])]
        found.sort(key=lambda finding: len(finding.failing), reverse=True)
        findings = tuple(
            Finding(f"c{place:03d}", each.label, each.predicted, each.failing)
            for place, each in enumerate(found, start=1)
        )
        repaired = tune(situation, settings, Pool(seen.images[wrong], seen.labels[wrong]), 1.0)
        return Outcome(findings, repaired, control)

    def _groups(
        self,
        features: Float64[np.ndarray, "n f"],
        logits: Float32[np.ndarray, "n k"],
        labels: Labels,
        seed: int,
    ) -> Labels:
        """Return the most likely component of each image, (n,)."""
        size = min(FEATURES, *features.shape)
        reduced = PCA(size, whiten=True, random_state=seed % 2**32).fit_transform(features)
        answers = torch.softmax(torch.from_numpy(logits), dim=1).numpy()
        together = np.hstack([reduced, self.weight * np.eye(logits.shape[1])[labels], self.weight * answers])
        mixture = GaussianMixture(
            min(self.components, len(labels)), covariance_type="diag", random_state=seed % 2**32, reg_covar=1e-3
        )
        return np.asarray(mixture.fit_predict(together.astype(np.float64)), dtype=np.int64)


@dataclass(frozen=True)
class ValidationErrors(Method):
    """Fine-tuning on the validation images that the classifier misreads: what many do first. It reports no groups."""

    name: str = "validation_errors"

    def told(self, home: Home, *, quick: bool, seed: int) -> Mapping[str, Any]:
        """Return the repair's settings."""
        return repair_told(home, quick=quick, seed=seed)

    def run(self, situation: Situation) -> Outcome:
        """Fine-tune on reference images and validation errors together, at weight 1."""
        settings = repair_settings(situation)
        control = tune(situation, settings)
        seen = situation.splits.validation
        wrong = situation.classifier.predict(seen.images) != seen.labels
        if not wrong.any():
            return Outcome((), control, control)
        return Outcome((), tune(situation, settings, Pool(seen.images[wrong], seen.labels[wrong]), 1.0), control)


@dataclass(frozen=True)
class AdversarialTuning(Method):
    """Fine-tuning on adversarial images of reference images. It reports no groups.

    Source: Madry et al., "Towards Deep Learning Models Resistant to Adversarial Attacks", ICLR 2018: projected gradient
    ascent on the loss from a random start within a ball of the maximum norm. Deviation: the images are made once, from
    the given classifier, so that it takes the same steps as every other repair.

    Attributes:
        images: how many are attacked, at most.
        steps: of the ascent.
        grey: radius for drawings, in [0, 1].
        colour: radius for photographs.
    """

    name: str = "adversarial"
    images: int = 2_000
    steps: int = 10
    grey: float = 0.1
    colour: float = 8 / 255

    def told(self, home: Home, *, quick: bool, seed: int) -> Mapping[str, Any]:
        """Return everything that decides the result."""
        attack = {"images": self.images, "steps": self.steps, "grey": self.grey, "colour": self.colour}
        return {**attack, **repair_told(home, quick=quick, seed=seed)}

    def run(self, situation: Situation) -> Outcome:
        """Attack evenly spaced reference images, then fine-tune on them at weight 1."""
        settings = repair_settings(situation)
        reference = situation.splits.reference
        chosen = reference.take(np.linspace(0, len(reference) - 1, min(self.images, len(reference))).astype(np.int64))
        rng = torch_rng(situation.seed, "planted", self.name)
        parts = [
            self.attack(situation.classifier, chosen.take(rows), rng)
            for rows in np.array_split(np.arange(len(chosen)), -(-len(chosen) // BATCH))
        ]
        repaired = tune(situation, settings, Pool(np.concatenate(parts), chosen.labels), 1.0)
        return Outcome((), repaired, tune(situation, settings))

    def attack(self, classifier: TorchClassifier, images: LabelledImages, rng: torch.Generator) -> ByteImages:
        """Return images of the same labels, each within the radius of its own, on which the loss is high."""
        labels, clean = torch.from_numpy(images.labels), to_pixels(images.images)
        radius = self.grey if clean.shape[1] == 1 else self.colour
        moved = clean + radius * (2 * torch.rand(clean.shape, generator=rng) - 1)
        for _ in range(self.steps):
            moved = moved.clamp(0, 1).requires_grad_()
            loss = cross_entropy(classifier.logits(moved), labels)
            (slope,) = torch.autograd.grad(loss, moved)
            ahead = moved.detach() + 2.5 * radius / self.steps * slope.sign()
            moved = torch.minimum(torch.maximum(ahead, clean - radius), clean + radius)
        return to_bytes(moved)


def _cluster(seen: LabelledImages, answers: Labels, members: Mask) -> Finding:
    label = int(np.bincount(seen.labels[members]).argmax())
    return Finding("", label, int(np.bincount(answers[members]).argmax()), seen.images[members])


@torch.inference_mode()
def _features(classifier: TorchClassifier, images: ByteImages) -> Float64[np.ndarray, "n f"]:
    """Return what the network's last layer sees, (n, features)."""
    body = torch.nn.Sequential(*list(classifier.module.children())[:-1]).eval()
    parts = []
    for start in range(0, len(images), BATCH):
        pixels = classifier.preprocess(to_pixels(images[start : start + BATCH], classifier.device))
        parts.append(body(pixels).flatten(1).cpu())
    return torch.cat(parts).double().numpy()
