"""An oracle to score findings with: networks that saw every labelled image, the test images too.

No method under test may use it. It stands in for a person: a finding is real if every member gives the label at least
``SURE``; "cannot tell" counts against the finding.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool

from defuse.devices import pick_device
from defuse.judges import Judge, Judges
from defuse.judges.gates import probability_of
from defuse.judges.networks import Unanimous
from defuse.judges.panel import JudgeTraining
from defuse.pixels import to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Splits
from defuse.types import ByteImages, Labels

SURE = 0.5
MEMBERS = ("resnet", "resnet-mini")
SEED = 9_001
BATCH = 1_000


def train_oracle(splits: Splits, folder: Path, *, epochs: int, progress: Progress = silent) -> Judge:
    """Train the oracle on reference and test images, calibrate it on validation images; go on where it stopped."""
    training = JudgeTraining(epochs=epochs)
    judges = Judges(gate=MEMBERS[:1], label=MEMBERS[1:], training=training)
    seen = LabelledImages.concatenate([splits.reference, splits.test])
    panel = judges.fit(seen, splits.validation, seed=SEED, folder=folder, device=pick_device(), progress=progress)
    return Unanimous((panel.gate, panel.label))


@torch.inference_mode()
def confirmed(oracle: Judge, images: ByteImages, labels: Labels) -> Bool[np.ndarray, " n"]:
    """Return which images show their labels, (n,)."""
    parts = [np.zeros(0, dtype=bool)]
    for start in range(0, len(images), BATCH):
        rows = slice(start, start + BATCH)
        own = probability_of(oracle.probabilities(to_pixels(images[rows])), torch.from_numpy(labels[rows]))
        parts.append((own >= SURE).numpy())
    return np.concatenate(parts)
