"""Oracles to score findings with: they saw every labelled image, the test images too.

No method under test may use them. They stand in for a person: a finding is real if the oracle gives it its label
surely; "cannot tell" counts against the finding.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from defuse.bench.planting import content_key
from defuse.classifiers.outlines import Outlines
from defuse.data import SignSettings, render
from defuse.data.sources import SIGNS
from defuse.devices import pick_device
from defuse.judges import Judge, Judges
from defuse.judges.gates import probability_of
from defuse.judges.networks import Unanimous
from defuse.judges.panel import JudgeTraining
from defuse.pixels import to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Rate, Splits
from defuse.types import ByteImages, Labels, Pixels

SURE = 0.5
"""The least probability of a sure answer."""

RIGHT = 0.98
"""Share of an oracle's sure answers on held-out images that are right, where its threshold can reach it."""

MEMBERS = ("resnet", "resnet-mini")
SEED = 9_001
EPOCHS = 10
BATCH = 1_000
NEIGHBOURS = 10

RENDERS = 200_000
"""Rendered signs that oracles of rendered signs learn: as many as leave no corner of the factors' ranges empty."""

USUAL = 60_000
"""Of more images than this, oracles see each the fewer times."""


def known_to_oracles(source: str, splits: Splits) -> Splits:
    """Return what oracles of a source's images learn: its splits; of rendered ``signs``, many renders of their own."""
    if source != SIGNS:
        return splits
    return replace(splits, reference=render(SignSettings(), RENDERS, seed=SEED).images)


def train_oracle(splits: Splits, folder: Path, *, epochs: int, progress: Progress = silent) -> Judge:
    """Train the oracle on reference and test images, calibrate it on validation images; go on where it stopped."""
    seen = _seen(splits)
    training = JudgeTraining(epochs=math.ceil(epochs * min(USUAL / len(seen), 1)))
    judges = Judges(gate=MEMBERS[:1], label=MEMBERS[1:], training=training)
    panel = judges.fit(seen, splits.validation, seed=SEED, folder=folder, device=pick_device(), progress=progress)
    return Unanimous((panel.gate, panel.label))


def _seen(splits: Splits) -> LabelledImages:
    return LabelledImages.concatenate([splits.reference, splits.test])


class Neighbours(Judge):
    """Shares of the classes among the labelled images with the most similar outlines: nothing in it is a network.

    It stands on histograms of oriented gradients (see ``Outlines``) and on nothing learned, so that it shares no
    training, no augmentation and no smoothness with any judge.
    """

    def __init__(self, seen: LabelledImages) -> None:
        self._classes = len(seen.class_names)
        self._nearest = KNeighborsClassifier(NEIGHBOURS, algorithm="brute")
        features = [_outlines(to_pixels(seen.images[rows])) for rows in _batches(len(seen))]
        self._nearest.fit(np.concatenate(features), seen.labels)

    def _probabilities(self, pixels: Pixels) -> Float[Tensor, "n k"]:
        shares = np.zeros((len(pixels), self._classes), dtype=np.float32)
        if len(pixels):
            shares[:, self._nearest.classes_] = self._nearest.predict_proba(_outlines(pixels))
        return torch.from_numpy(shares)


@torch.inference_mode()
def _outlines(pixels: Pixels) -> np.ndarray:
    return Outlines()(pixels).numpy()


@dataclass(frozen=True)
class Oracle:
    """A judge, and from which probability on its answer counts.

    Attributes:
        judge: who is asked.
        sure: fixed on held-out images, see ``fitted``.
        held_out: of these, how many it confirms: about the most that it can confirm of anything.
    """

    judge: Judge
    sure: float
    held_out: Rate

    @classmethod
    def fitted(cls, judge: Judge, held_out: LabelledImages) -> "Oracle":
        """Take the least threshold from ``SURE`` on from which ``RIGHT`` of the sure answers are right; else 1."""
        parts = [judge.probabilities(to_pixels(held_out.images[rows])) for rows in _batches(len(held_out))]
        top = torch.cat(parts).max(dim=1)
        best, right = top.values.numpy(), top.indices.numpy() == held_out.labels
        steps = np.unique(best[best >= SURE])
        reached = [step for step in (SURE, *steps) if (best >= step).any() and right[best >= step].mean() >= RIGHT]
        sure = float(min(reached, default=1.0))
        return cls(judge, sure, Rate.of(right & (best >= sure)))

    def confirms(self, images: ByteImages, labels: Labels) -> Bool[np.ndarray, " n"]:
        """Return which images surely show their labels, (n,)."""
        return confirmed(self.judge, images, labels, sure=self.sure)


def train_oracles(
    splits: Splits, cache: Path, *, epochs: int = EPOCHS, progress: Progress = silent
) -> dict[str, Oracle]:
    """Return two oracles of different families, by name: ``networks``, and ``neighbours``, which are none.

    The networks are trained once for these images, then found again in ``cache``.
    """
    key = content_key(["oracle", epochs], splits.reference, splits.validation, splits.test)
    judges = {
        "networks": train_oracle(splits, cache / key, epochs=epochs, progress=progress),
        "neighbours": Neighbours(_seen(splits)),
    }
    return {name: Oracle.fitted(judge, splits.validation) for name, judge in judges.items()}


@torch.inference_mode()
def confirmed(oracle: Judge, images: ByteImages, labels: Labels, *, sure: float = SURE) -> Bool[np.ndarray, " n"]:
    """Return which images show their labels, (n,)."""
    parts = [np.zeros(0, dtype=bool)]
    for rows in _batches(len(images)):
        own = probability_of(oracle.probabilities(to_pixels(images[rows])), torch.from_numpy(labels[rows]))
        parts.append((own >= sure).numpy())
    return np.concatenate(parts)


def _batches(count: int) -> list[slice]:
    return [slice(start, start + BATCH) for start in range(0, count, BATCH)]
