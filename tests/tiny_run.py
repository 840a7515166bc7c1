"""A data set and a configuration so small that the whole chain runs in seconds, and one finished run of them."""

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from threadpoolctl import threadpool_limits

from defuse.config import Config, build_config
from defuse.pipeline import Run
from defuse.results import Results, write_results

NAMES = ("<b>flat</b>", "upright", "cross")
"""One name would be markup, were it not escaped."""

PLAIN = {"epochs": 3, "batch_size": 64, "augment": "shift", "mixup": 0.0, "coarse": 0.0, "faint": 0.0}
"""How the tiny judges are trained: too briefly to cope with more."""

SETTINGS = {
    "seed": 3,
    "classifier": {"training": {"epochs": 2, "batch_size": 64, "learning_rate": 0.002, "augment": "none"}},
    "generator": {
        "latent": 4,
        "width": 8,
        "hidden": 32,
        "epochs": 8,
        "batch_size": 32,
        "learning_rate": 0.005,
        "min_reconstruction": 0,
    },
    "judges": {"gate": ["cnn-strided"], "label": ["cnn"], "training": PLAIN},
    "identify": {
        "budget": 600,
        "rounds": 1,
        "shard_size": 100,
        "batch_size": 100,
        "gates": [{"kind": "reconstructs"}, {"kind": "misclassified"}, {"kind": "keeps_label", "threshold": 0.5}],
    },
    "distill": {
        "mixture": {"max_components": 2},
        "min_support": 3,
        "samples": 40,
        "tiles": 12,
        "repair_samples": 30,
        "select_samples": 20,
        "final_samples": 30,
        "rho": 0.05,
        "q_value": 0.5,
        "min_keep_rate": 0.05,
        "max_regions": 3,
    },
    "label": {"machine": {"agreement": 0.51, "confidence": 0.05}},
    "correct": {
        "lambdas": [1.0],
        "steps": 20,
        "batch_size": 32,
        "region_batch_size": 32,
        "max_accuracy_loss": 1.0,
        "max_accuracy_loss_bound": 1.0,
    },
}


def files(folder):
    """What a folder holds, folders left out."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def times(folder):
    """When each file was written that takes work to make; the suite is put together anew each time."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors") if path.parent.name != "suite"}


@dataclass(frozen=True)
class Tiny:
    """Where data and configuration lie."""

    data: Path
    config: Path

    @property
    def plain(self):
        return {"data": {"source": str(self.data)}, **SETTINGS}

    def build(self, *settings: str) -> Config:
        return build_config(self.plain, settings)


@dataclass(frozen=True)
class Finished:
    """An undisturbed run's folder, only to be read, and its results."""

    folder: Path
    results: Results

    def copy(self, to: Path) -> Path:
        return shutil.copytree(self.folder, to)


def draw(count, rng):
    """Draw bars on a 16 x 16 ground: lying, standing, or both; noisy, of any place, width and light."""
    labels = np.arange(count) % 3
    images = rng.integers(0, 40, (count, 16, 16))
    for image, label in zip(images, labels, strict=True):
        row, column, width = rng.integers((4, 4, 2), (10, 10, 4)).tolist()
        light = rng.integers(70, 210)
        if label != 1:
            image[row : row + width, 2:14] += light
        if label != 0:
            image[2:14, column : column + width] += light
    return images.clip(0, 255).astype(np.uint8), labels


def write_data(path: Path, **changes) -> Path:
    """Write the archive; ``changes`` replace its arrays by key, and None leaves a key out."""
    rng = np.random.default_rng(0)
    arrays = {"class_names": np.array(NAMES)}
    for split, count in (("train", 480), ("val", 60), ("test", 90)):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = draw(count, rng)
    np.savez(path, **{key: value for key, value in {**arrays, **changes}.items() if value is not None})
    return path


@functools.cache
def make_tiny(base: Path) -> Tiny:
    """Write data and configuration, once in a session."""
    folder = base / "tiny"
    folder.mkdir()
    tiny = Tiny(write_data(folder / "bars.npz"), folder / "tiny.yaml")
    tiny.config.write_text(yaml.safe_dump(tiny.plain), encoding="utf-8")
    return tiny


@functools.cache
def make_finished(base: Path) -> Finished:
    """Run the whole chain, once in a session."""
    folder = base / "finished"
    with threadpool_limits(1), Run(make_tiny(base).build(), folder) as run:
        return Finished(folder, write_results(run))
