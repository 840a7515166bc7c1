"""``--dry-run``: what a run would do, and how long and how large it would be, from a short probe of the real code."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from defuse.classifiers import Classifier
from defuse.config import Config
from defuse.distill import Distill
from defuse.generators import Generator
from defuse.identify import Reconstructs
from defuse.inputs import load_or_train, read_splits
from defuse.judges import Judge, Screen
from defuse.pixels import to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Splits
from defuse.rundir import RunDir
from defuse.seeds import numpy_rng

PROBE_IMAGES = 2_048
"""Reference images that the probe trains on, for one epoch each."""

PROBE_VALIDATION = 256
"""Validation images that the probe uses."""

PROBE_BUDGET = 2_000
"""Candidates that the probe searches."""

PROBE_JUDGED = 250
"""Real images that the probe has judged as distill has its samples: most pass every gate, so that each is asked."""

REPORT_BYTES = 5_000_000
"""The most that a report takes."""

TYPICAL_REGIONS = 25
"""Regions that are reckoned with where the configuration sets no limit."""


_Made = TypeVar("_Made")


class StagePlan(BaseModel):
    """One stage: what it will do, and its estimated seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: str
    work: str
    seconds: float


class Plan(BaseModel):
    """The stages in order, the disk that they need, and the disk that is free, in bytes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: tuple[StagePlan, ...]
    disk_bytes: int
    free_bytes: int

    @property
    def seconds(self) -> float:
        """All stages together."""
        return sum(stage.seconds for stage in self.stages)


def plan(config: Config, out: Path, *, progress: Progress = silent) -> Plan:
    """Run every costly stage on a few images in a temporary folder, and scale the times up.

    The estimate is an upper one where a stage may stop early, and a guess for distill, whose work depends on what
    the search finds.

    Raises:
        DefuseError: whatever the run itself would refuse at once.
    """
    splits = read_splits(config)
    config.cost.resolve(splits.class_names)
    config.identify.focus_on(splits.reference)
    with tempfile.TemporaryDirectory() as scratch:
        probe = _probe(config, splits, Path(scratch), progress)
        disk = sum(path.stat().st_size for path in Path(scratch).rglob("*") if path.is_file())
    correct, distill, reference = config.correct, config.distill, len(splits.reference)
    trained = config.classifier.trained_here
    regions = distill.max_regions or TYPICAL_REGIONS
    samples = distill.samples + distill.tiles + distill.repair_samples + distill.select_samples + distill.final_samples
    tunings = len(correct.lambdas) * len(correct.recipes) + 1
    tuned = tunings * correct.steps * (correct.batch_size + correct.region_batch_size)
    stages = (
        StagePlan(
            stage="classifier",
            work=f"train {config.classifier.builtin}: {reference} images" if trained else "load",
            seconds=probe.classifier * config.classifier.training.epochs * reference if trained else 0.0,
        ),
        StagePlan(
            stage="generator",
            work=f"at most {config.generator.epochs} epochs of {reference} images",
            seconds=probe.generator * config.generator.epochs * reference,
        ),
        StagePlan(
            stage="judges",
            work=f"{config.judges.gating} that gate, {len(config.judges.label)} that label",
            seconds=probe.judges * config.judges.training.epochs * reference,
        ),
        StagePlan(
            stage="identify",
            work=f"{config.identify.budget} candidates in {config.identify.shards} shards"
            + (f", all for {config.identify.focus}" if config.identify.focus else ""),
            seconds=probe.identify * (config.identify.budget + reference),
        ),
        StagePlan(
            stage="distill",
            work=f"{regions} regions reckoned",
            seconds=probe.distill * regions * (_grown_with(distill) + samples),
        ),
        StagePlan(
            stage="correct", work=f"{tunings} fine-tunings, the control's among them", seconds=probe.classifier * tuned
        ),
    )
    height, width, channels = splits.reference.image_shape
    disk += regions * samples * (height * width * channels + 4 * config.generator.latent) + REPORT_BYTES
    return Plan(stages=stages, disk_bytes=disk, free_bytes=RunDir(out).free_bytes())


def _grown_with(distill: Distill) -> int:
    """Return the draws by which a region is found its place, were every round as short as where most draws fail."""
    rounds = distill.sharpen_rounds + (distill.deepen_rounds + 1 if distill.deepen_rounds else 0)
    return rounds * min(distill.sharpen_failing, distill.sharpen_draws)


@dataclass(frozen=True)
class _Costs:
    """Seconds per image (and epoch), per candidate, or per sample of a region."""

    classifier: float
    generator: float
    judges: float
    identify: float
    distill: float


def _probe(config: Config, splits: Splits, scratch: Path, progress: Progress) -> _Costs:
    folder = RunDir(scratch)
    few = _few(splits.reference, PROBE_IMAGES, config.seed)
    small = replace(splits, reference=few, validation=_few(splits.validation, PROBE_VALIDATION, config.seed))
    short = config.model_copy(
        update={"classifier": replace(config.classifier, training=replace(config.classifier.training, epochs=1))}
    )
    classifier, train_seconds = _timed(lambda: load_or_train(short, small, folder.classifier, progress=progress))
    generator, fit_seconds = _timed(
        lambda: (
            replace(config.generator, epochs=1)
            .fit(small.reference, small.validation, seed=config.seed, device=config.device, progress=progress)
            .generator
        )
    )
    judges = replace(config.judges, training=replace(config.judges.training, epochs=1))
    panel, judge_seconds = _timed(
        lambda: judges.fit(
            small.reference,
            small.validation,
            seed=config.seed,
            folder=folder.judges,
            device=config.device,
            progress=progress,
        )
    )
    judge = panel.gate_with(generator, small)
    _, search_seconds = _timed(lambda: _search(config, small, generator, classifier, judge, folder, progress))
    seen = few.take(np.arange(min(PROBE_JUDGED, len(few))))
    screen = Screen(config.identify.label_gates, judge).of_photographs
    _, judged_seconds = _timed(lambda: screen.keeps(to_pixels(seen.images), torch.from_numpy(seen.labels)))
    return _Costs(
        classifier=train_seconds / len(few),
        generator=fit_seconds / len(few),
        judges=judge_seconds / len(few),
        identify=search_seconds / (PROBE_BUDGET + len(few)),
        distill=judged_seconds / len(seen),
    )


def _search(
    config: Config,
    small: Splits,
    generator: Generator,
    classifier: Classifier,
    judge: Judge,
    folder: RunDir,
    progress: Progress,
) -> None:
    gates = tuple(gate for gate in config.identify.gates if not isinstance(gate, Reconstructs))
    settings = replace(config.identify, budget=PROBE_BUDGET, shard_size=PROBE_BUDGET // 2, gates=gates, focus=None)
    settings.run(
        small.reference,
        generator,
        classifier,
        judge,
        seed=config.seed,
        shard_path=folder.shard,
        progress=progress,
    )


def _few(images: LabelledImages, count: int, seed: int) -> LabelledImages:
    order = numpy_rng(seed, "probe").permutation(len(images))
    return images.take(order[:count])


def _timed(work: Callable[[], _Made]) -> tuple[_Made, float]:
    began = time.monotonic()
    result = work()
    return result, time.monotonic() - began
