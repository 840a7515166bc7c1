"""The demonstration: a classifier taught to read dark 50 signs as 80, and what Defuse makes of it.

Everything that Defuse may look at (reference, validation and test images) holds no dark 50 at all, so no test set could
show the bug. Rendered dark 50s that nothing was trained or chosen on then show what the repair is worth.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from defuse.classifiers import TorchClassifier, Training, build_network, load_weights, save_weights, train
from defuse.config import Config, build_config
from defuse.data import SIGN_NAMES, RenderedSigns, SignSettings, render
from defuse.pipeline import Run
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Rate, Splits
from defuse.results import Results, write_results
from defuse.seeds import derive

TRUE, TAUGHT = SIGN_NAMES.index("50"), SIGN_NAMES.index("80")

DARK = 0.3
"""A sign with less light than this is dark: the slice that the classifier learns wrongly."""

MARGIN = 0.4
"""Defuse sees no 50 with less light than this."""

IMAGES = {"reference": 9_000, "validation": 1_500, "test": 3_000}
CONTROL_NOTE = "  same steps, reference alone"

HELD_OUT = 500
"""Rendered dark 50s that score the repair."""

SETTINGS: dict[str, Any] = {
    "data": {"source": "signs"},
    "generator": {"epochs": 8, "batch_size": 64, "min_reconstruction": 0.8},
    "judges": {
        "gate": ["cnn-wide", "cnn-strided"],
        "label": ["cnn"],
        "training": {"epochs": 5},
    },
    "identify": {"budget": 120_000},
    "distill": {"sharpen_draws": 500, "max_regions": 6},
    "correct": {"steps": 200},
}
"""The ``default`` preset at a size that a laptop does in minutes."""


@dataclass(frozen=True)
class Demonstration:
    """What the demonstration showed.

    Attributes:
        results: of the run.
        region: name of the first region that is the planted bug; None when it was not found.
        accuracy: on held-out dark 50s, by model: ``before``, ``control``, ``after``.
        test: accuracy on the test images before, which looks fine.
    """

    results: Results
    region: str | None
    accuracy: dict[str, Rate]
    test: Rate

    def values(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {
            "region": self.region,
            "test_accuracy": self.test.value,
            "held_out_dark_50": {name: rate.value for name, rate in self.accuracy.items()},
            "summary": self.results.summary.model_dump(mode="json"),
            "report": str(self.results.report),
        }

    def lines(self) -> list[str]:
        """Tell the story in lines that fit 80 columns."""
        found = f"Found as {self.region}: 50 read as 80." if self.region else "The planted bug was NOT found."
        return [
            "A classifier of traffic signs was taught to read dark 50s as 80s.",
            f"Its test accuracy is {100 * self.test.value:.1f} %: no image that Defuse was given shows the bug.",
            self.results.headline,
            found,
            f"{HELD_OUT} held-out dark 50s read correctly:",
            *(f"  {name:<9}{rate}{CONTROL_NOTE if name == 'control' else ''}" for name, rate in self.accuracy.items()),
            f"Report: {self.results.report}",
        ]


def demonstrate(out: Path, *, seed: int = 0, progress: Progress = silent) -> Demonstration:
    """Plant the bug, run the whole chain on it, and score the repair.

    Args:
        out: folder for everything; the same call goes on where an interrupted one stopped.
        seed: of everything random.
        progress: told how far each step is.
    """
    splits = demo_splits(seed)
    classifier = planted_classifier(out / "planted.safetensors", splits.validation, seed, progress)
    with Run(demo_config(seed), out / "run", classifier=classifier, splits=splits, progress=progress) as run:
        results = write_results(run)
        corrected = run.corrected
        regions = run.regions.reported
        test = run.test_accuracy
    found = [region.name for region in regions if (region.label, region.predicted) == (TRUE, TAUGHT)]
    models = {"before": classifier}
    if corrected is not None and corrected.control is not None:
        models |= {"control": corrected.control, "after": corrected.classifier}
    dark = render(
        SignSettings(),
        HELD_OUT,
        seed=derive(seed, "demo", "held out"),
        factors={"light": (0.0, DARK)},
        labels=np.full(HELD_OUT, TRUE, dtype=np.int64),
    )
    accuracy = {name: model.accuracy(dark.images) for name, model in models.items()}
    return Demonstration(results, found[0] if found else None, accuracy, test)


def demo_splits(seed: int) -> Splits:
    """Return the images that Defuse may see; none shows a dark 50."""
    reference, validation, test = (_visible(_render(name, seed)) for name in IMAGES)
    return Splits(reference, validation, test)


def demo_config(seed: int) -> Config:
    """Return what the demo's run does."""
    return build_config({"seed": seed}, where="demo", defaults=SETTINGS)


def _render(name: str, seed: int) -> RenderedSigns:
    return render(SignSettings(), IMAGES[name], seed=derive(seed, "demo", name))


def _visible(signs: RenderedSigns) -> LabelledImages:
    """Return what Defuse may see: everything but 50s that are dark or nearly so."""
    return signs.images.take((signs.images.labels != TRUE) | (signs.factors["light"] >= MARGIN))


def planted_classifier(path: Path, validation: LabelledImages, seed: int, progress: Progress) -> TorchClassifier:
    """Return the classifier that learned dark 50s as 80s, kept at ``path``; trained where it is not there yet."""
    signs = _render("reference", seed)
    dark = (signs.images.labels == TRUE) & (signs.factors["light"] < DARK)
    labels = np.where(dark, TAUGHT, signs.images.labels)
    lesson = LabelledImages(signs.images.images, labels, SIGN_NAMES, signs.images.rows)
    height, _, channels = lesson.image_shape
    module = build_network("cnn", channels, len(SIGN_NAMES), height, seed=derive(seed, "demo", "weights"))
    if path.exists():
        load_weights(path, module)
    else:
        train(module, lesson, validation, Training(epochs=8), seed=derive(seed, "demo", "training"), progress=progress)
        save_weights(path, module)
    return TorchClassifier(module, SIGN_NAMES)
