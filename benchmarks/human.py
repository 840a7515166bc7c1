"""The gate against people: 500 digits that five test generators made, and what two people said of each.

python benchmarks/human.py runs/mnist-default-0 --source human_validity_mnist.npz

RUN is the folder of a finished run on MNIST; its judges and its generator have seen MNIST alone, and no threshold is
touched: those of the run's configuration decide what is kept, without the gate that compares with the generator's own
reconstructions, since these images are none of its. An image counts as real where both people gave it the
class that its maker set out to keep (always a 5). ``density`` is the generator's likelihood alone, which keeps what is
no more unusual than 95 % of held-out real 5s. The curve moves the threshold of the gate ``keeps_label`` alone. The
images are small changes of few real digits, all 5s; each maker has 100, so figures are also averaged over makers.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import RESULTS

from defuse.judges import KeepsLabel
from defuse.pipeline import Run
from defuse.pixels import to_pixels
from defuse.records import Rate
from defuse.rundir import RunDir
from defuse.types import Mask
from defuse.versions import provenance
from defuse.workspace import stored_config

UNUSUAL = 0.05
"""Share of held-out real images that the density's threshold throws out."""


def main() -> None:
    """Score the gate, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run on MNIST")
    parser.add_argument(
        "--source", type=Path, required=True, help="images, intended, assessor_1, assessor_2, generator"
    )
    parser.add_argument("--json", type=Path, default=RESULTS / "human.json")
    options = parser.parse_args()
    made = provenance(f"python benchmarks/human.py {options.run.name} --source {options.source.name}")
    with np.load(options.source, allow_pickle=False) as archive:
        data = {key: archive[key] for key in archive.files}
    truth = (data["assessor_1"] == data["intended"]) & (data["assessor_2"] == data["intended"])
    config = stored_config(RunDir(options.run))
    with Run(config, options.run) as run:
        kept, scores = _gated(run, data)
        dense = _dense(run, data)
    makers = data["generator"]
    result = {
        "figures": _figures("gate", truth, kept, makers)
        | _figures("density", truth, dense, makers)
        | {"human.mnist.real": float(truth.mean()), "human.mnist.images": len(truth)},
        "by_maker": {
            str(maker): {
                "real": int(truth[of].sum()),
                "kept": int(kept[of].sum()),
                "both": int((truth & kept)[of].sum()),
            }
            for maker in np.unique(makers)
            for of in [makers == maker]
        },
        "curve": _curve(truth, scores),
        "seed": config.seed,
        **made,
    }
    for name, value in result["figures"].items():
        print(f"{name:45} {value:.4f}")
    options.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


@torch.inference_mode()
def _gated(run: Run, data: dict[str, np.ndarray]) -> tuple[Mask, np.ndarray]:
    """Return which images pass every gate, and their score at ``keeps_label``, 0 where another gate refuses."""
    pixels, labels = to_pixels(data["images"][..., None]), torch.from_numpy(data["intended"])
    kept, scores = torch.ones(len(labels), dtype=torch.bool), torch.ones(len(labels))
    for gate in run.screen.of_photographs.gates:
        passed = gate.look(pixels, labels, run.gate_judge)
        kept &= passed.mask
        scores = torch.minimum(scores, passed.score) if isinstance(gate, KeepsLabel) else scores * passed.mask
    return kept.numpy(), scores.numpy()


@torch.inference_mode()
def _dense(run: Run, data: dict[str, np.ndarray]) -> Mask:
    """Return which images the generator finds usual for their class."""
    held_out = run.splits.validation
    real = held_out.take(held_out.labels == int(data["intended"][0]))
    usual = run.generator.log_likelihood(to_pixels(real.images), torch.from_numpy(real.labels))
    found = run.generator.log_likelihood(to_pixels(data["images"][..., None]), torch.from_numpy(data["intended"]))
    return (found >= torch.quantile(usual, UNUSUAL)).numpy()


def _figures(name: str, truth: Mask, kept: Mask, makers: np.ndarray) -> dict[str, float]:
    head = "human.mnist." + ("" if name == "gate" else f"{name}_")
    precision, recall = Rate.of(truth[kept]), Rate.of(kept[truth])
    each = [(truth & kept)[makers == maker].sum() / max(kept[makers == maker].sum(), 1) for maker in np.unique(makers)]
    reached = [(truth & kept)[makers == maker].sum() / truth[makers == maker].sum() for maker in np.unique(makers)]
    return {
        f"{head}precision": precision.value,
        f"{head}precision_low": precision.interval[0],
        f"{head}recall": recall.value,
        f"{head}recall_low": recall.interval[0],
        f"{head}precision_over_makers": float(np.mean(each)),
        f"{head}recall_over_makers": float(np.mean(reached)),
    }


def _curve(truth: Mask, scores: np.ndarray) -> list[dict[str, Any]]:
    """Return precision and recall at every threshold at which they change."""
    points = []
    for threshold in np.unique(scores[scores > 0]):
        kept = scores >= threshold
        right = int((truth & kept).sum())
        points.append({"threshold": float(threshold), "precision": right / kept.sum(), "recall": right / truth.sum()})
    return points


if __name__ == "__main__":
    main()
