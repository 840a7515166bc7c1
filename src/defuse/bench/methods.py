"""Methods that are scored: each gets a classifier and clean images, and reports findings and a repaired classifier."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from defuse.bench.library import borrow
from defuse.bench.scoring import Finding
from defuse.bench.tasks import Home
from defuse.classifiers import TorchClassifier
from defuse.config import Config, build_config, merge
from defuse.correct import Correct
from defuse.correct.finetune import draw_batches, fine_tune
from defuse.correct.targets import Pool, usable
from defuse.errors import ClassifierError
from defuse.generators import Redraw
from defuse.judges import Screen
from defuse.pipeline import Run
from defuse.progress import Progress
from defuse.records import Purpose, Region, RegionLabel, Regions, RegionSamples, Splits
from defuse.seeds import derive

QUICK: Mapping[str, Any] = {
    "identify": {"budget": 60_000},
    "distill": {"max_regions": 10, "sharpen_draws": 500},
    "correct": {"steps": 200},
}
"""What ``--quick`` takes off every method's search and repair."""


@dataclass(frozen=True)
class Situation:
    """What a method is given.

    Attributes:
        data: name of the data set.
        classifier: the model under test; it stays unchanged.
        splits: the images that the method may look at.
        home: how this data set is worked on.
        seed: of everything random.
        quick: whether the small budget holds.
        folder: of this cell, for what is made on the way.
        library: where generators and judges are shared.
        progress: told how far each step is.
    """

    data: str
    classifier: TorchClassifier
    splits: Splits
    home: Home
    seed: int
    quick: bool
    folder: Path
    library: Path
    progress: Progress


@dataclass(frozen=True)
class Outcome:
    """What a method did.

    Attributes:
        findings: in the method's own order.
        repaired: the repaired classifier, or the given one.
        control: after the same steps on reference data alone.
        redraw: makes real images comparable with the findings' images; None where those are real themselves.
        screen: decides whether an image still shows its label; None where the method asks no judge.
        seconds: stage -> seconds.
    """

    findings: tuple[Finding, ...]
    repaired: TorchClassifier
    control: TorchClassifier
    redraw: Redraw | None = None
    screen: Screen | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


class Method(ABC):
    """A way to find and repair errors. ``told`` says everything that decides its result."""

    name: str

    @abstractmethod
    def told(self, home: Home, *, quick: bool, seed: int) -> Mapping[str, Any]:
        """Return the settings as JSON-able values: with the data and the classifier, all that the result rests on."""

    @abstractmethod
    def run(self, situation: Situation) -> Outcome:
        """Find and repair; a call that was interrupted is made again with the same ``folder``."""


@dataclass(frozen=True)
class Chain(Method):
    """Defuse's own pipeline under a preset.

    Attributes:
        name: of the method.
        preset: ``default`` or ``paper``.
        changes: dotted ``key=value`` settings.
    """

    name: str
    preset: str = "default"
    changes: tuple[str, ...] = ()
    opener: type[Run] = Run

    def config(self, home: Home, *, quick: bool, seed: int, data: str = "planted") -> Config:
        """Return the run's configuration: the preset, over it the data set's own settings, over them the changes.

        Raises:
            ConfigError: a change names no setting, or its value is out of range.
        """
        values = merge(home.settings or {}, QUICK if quick else {})
        defaults = {"data": {"source": data}}
        return build_config(
            {**values, "preset": self.preset, "seed": seed}, self.changes, where=self.name, defaults=defaults
        )

    def told(self, home: Home, *, quick: bool, seed: int) -> Mapping[str, Any]:
        """Return the whole configuration."""
        return {**self.config(home, quick=quick, seed=seed).plain(), "opener": self.opener.__name__}

    def run(self, situation: Situation) -> Outcome:
        """Run every stage in the cell's folder."""
        config = self.config(situation.home, quick=situation.quick, seed=situation.seed, data=situation.data)
        with self.opener(
            config,
            situation.folder,
            classifier=situation.classifier,
            splits=situation.splits,
            progress=situation.progress,
        ) as run:
            borrow(run, situation.library)
            corrected = run.corrected
            control = corrected.control if corrected else None
            if control is None:
                control = tune(situation, config.correct)
            return Outcome(
                findings=found_in(run.regions, run.labels, kept_only=config.distill.keep_only),
                repaired=corrected.classifier if corrected else situation.classifier,
                control=control,
                redraw=run.renderer.redraw,
                screen=run.screen if config.distill.keep_only else None,
                seconds=run.seconds,
            )


class ReferenceOnly(Method):
    """No search at all: fine-tuning on the reference data. What every repair must be better than."""

    name = "reference_only"

    def told(self, home: Home, *, quick: bool, seed: int) -> Mapping[str, Any]:
        """Return the repair's settings."""
        return repair_told(home, quick=quick, seed=seed)

    def run(self, situation: Situation) -> Outcome:
        """Fine-tune with the default preset's settings."""
        control = tune(situation, repair_settings(situation))
        return Outcome((), control, control)


def repair_settings(situation: Situation) -> Correct:
    """Return the default preset's repair, for methods that are no preset of their own."""
    return Chain("default").config(situation.home, quick=situation.quick, seed=situation.seed).correct


def repair_told(home: Home, *, quick: bool, seed: int) -> dict[str, Any]:
    """Return the same as JSON-able values."""
    return dict(Chain("default").config(home, quick=quick, seed=seed).plain()["correct"])


def tune(situation: Situation, correct: Correct, samples: Pool | None = None, weight: float = 0.0) -> TorchClassifier:
    """Return the classifier after the repair's steps: on reference data alone, or with other samples at a weight.

    Raises:
        ClassifierError: the loss is no longer finite.
    """
    reference, seed = situation.splits.reference, derive(situation.seed, "correct")
    if samples is None:
        samples = Pool(reference.images[:1], reference.labels[:1])
    batches = draw_batches(
        len(reference),
        len(samples),
        steps=correct.steps,
        batch_size=correct.batch_size,
        region_batch_size=correct.region_batch_size,
        seed=seed,
    )
    tuned = fine_tune(
        situation.classifier,
        reference,
        samples,
        batches,
        weight=weight,
        recipe=correct.recipes[0] if weight else correct.control_recipe,
        seed=seed,
        progress=situation.progress,
    )
    if tuned is None:
        raise ClassifierError("planted: fine-tuning diverged; lower correct.learning_rate with --set")
    return tuned


def found_in(regions: Regions, labels: Sequence[RegionLabel] = (), *, kept_only: bool = True) -> tuple[Finding, ...]:
    """Return the reported regions, under the labels that they were given; one without is under its proposed label."""
    given = {label.region: label.label for label in labels if label.label is not None}
    return tuple(
        _finding(
            region,
            given.get(region.name, region.label),
            regions.samples[region.name, Purpose.FINAL],
            kept_only=kept_only,
        )
        for region in regions.reported
    )


def _finding(region: Region, shown: int, samples: RegionSamples, *, kept_only: bool) -> Finding:
    failing = usable(samples, kept_only=kept_only) & (samples.predicted != shown)
    wrong = samples.predicted[failing]
    predicted = int(np.bincount(wrong).argmax()) if len(wrong) else region.predicted
    return Finding(region.name, shown, predicted, samples.images[failing])
