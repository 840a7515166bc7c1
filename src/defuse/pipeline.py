"""The whole chain. Each stage's result is loaded where the folder holds it, and made and stored where it does not."""

import logging
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from defuse.classifiers import Classifier, TorchClassifier, ask_once, require_classes
from defuse.config import Config
from defuse.correct import Corrected, build_suite, keep_accepted, load_corrected, save_corrected, save_suite
from defuse.distill import (
    CostMatrix,
    NaturalImages,
    RegionSampler,
    load_regions,
    natural_images,
    nearest_images,
    save_regions,
)
from defuse.errors import RunError
from defuse.generators import (
    Generator,
    ReconstructionQuality,
    Renderer,
    load_generator,
    reconstruction_accuracy,
    require,
    save_generator,
)
from defuse.identify import Identified
from defuse.inputs import load_or_train, read_splits, untrained
from defuse.judges import Judge, JudgePanel, Screen
from defuse.label import VerdictStore, crossed_out, strike
from defuse.outcomes import Suite, Verified
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, NearestImages, Purpose, Rate, RegionLabel, Regions, Splits
from defuse.report.describe import Trait, describe_regions
from defuse.rundir import RunDir, file_hash, read_json, write_json
from defuse.seeds import derive
from defuse.timings import Timings
from defuse.verify import SecondSearch, load_verified, save_verified, verify
from defuse.workspace import claim, fingerprints, refuse_foreign

_LOG = logging.getLogger(__name__)

WEAKER = 0.05
"""How much less accurate than the classifier under test, in shares of validation images, the gate's best judge may
silently be. All must agree, so a weak one beside it costs candidates and lets nothing through."""


class Run:
    """One run in one folder. Ask for a stage's result; what it needs is made first.

    Use it as a context manager: the folder is held for one process until the block ends.

    Attributes:
        config: what to do.
        folder: where everything lies.
        splits: the images that the run may look at.
        timings: how long each stage took.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        *,
        classifier: Classifier | None = None,
        splits: Splits | None = None,
        progress: Progress = silent,
        redo: bool = False,
    ) -> None:
        self.config = config
        self._redo = redo
        self.folder = RunDir(out)
        self.timings = Timings(self.folder.timings)
        self.progress = progress
        self._given = classifier
        self.splits = splits if splits is not None else read_splits(config)
        self._held = ExitStack()

    def __enter__(self) -> Self:
        refuse_foreign(self.folder)
        self._held.enter_context(self.folder.locked())
        try:
            costs = self.costs
            self.config.identify.focus_on(self.splits.reference)
            marks = fingerprints(self.config, self.splits, self._fit_classifier(), costs)
            claim(self.folder, self.config, marks, redo=self._redo)
        except BaseException:
            self._held.close()
            raise
        return self

    def _fit_classifier(self) -> Classifier | None:
        """Ask the classifier once, before anything is written; None when it is still to be trained."""
        if self._trains:
            untrained(self.config, self.splits)
            return None
        ask_once(self.classifier, self.splits.reference.image_shape, "classifier")
        require_classes(self.classifier, self.splits.class_names, "classifier")
        return self.classifier

    def __exit__(self, *_: object) -> None:
        self._held.close()

    @property
    def title(self) -> str:
        """What is debugged, in a few words."""
        settings = self.config.classifier
        given = self._given.module if isinstance(self._given, TorchClassifier) else self._given
        model = type(given).__name__ if given else settings.factory or settings.builtin
        return f"{model} on {Path(self.config.data.source).name}"

    @cached_property
    def classifier(self) -> Classifier:
        """The model under test: given, loaded, or the built-in one, trained here."""
        if self._given is not None:
            return self._given
        if not self._trains:
            return load_or_train(self.config, self.splits, self.folder.classifier)
        with self.timings.of("classifier"):
            return load_or_train(self.config, self.splits, self.folder.classifier, progress=self.progress)

    @property
    def _trains(self) -> bool:
        """Whether the classifier under test is the built-in one, trained in this folder."""
        return self._given is None and self.config.classifier.trained_here

    @cached_property
    def generator(self) -> Generator:
        """The generative model of the reference images, checked to be good enough to search with."""
        return self._generator_and_quality[0]

    @property
    def quality(self) -> ReconstructionQuality:
        """How many validation images the classifier still reads right after reconstruction."""
        return self._generator_and_quality[1]

    @cached_property
    def bound(self) -> float:
        """The generator's held-out negative evidence lower bound in nats per image."""
        _ = self.generator
        path = self.folder.generator_history
        try:
            return float(read_json(path)["held_out"])
        except (KeyError, TypeError, ValueError):
            raise RunError(f"{path}: expected a number under 'held_out'; remove the folder to fit anew") from None

    @cached_property
    def _generator_and_quality(self) -> tuple[Generator, ReconstructionQuality]:
        folder, classifier = self.folder.generator, self.classifier
        if not self.folder.generator_history.exists():
            with self.timings.of("generator"):
                trained = self.config.generator.fit(
                    self.splits.reference,
                    self.splits.validation,
                    seed=derive(self.config.seed, "generator"),
                    device=self.config.device,
                    checkpoint=self.folder.generator_checkpoint,
                    progress=self.progress,
                )
            save_generator(folder, trained.generator)
            write_json(self.folder.generator_history, asdict(trained.history.best))
            self.folder.generator_checkpoint.unlink(missing_ok=True)
        generator = load_generator(folder, self.config.device)
        quality = reconstruction_accuracy(generator, classifier.predict, self.splits.validation)
        require(quality, self.config.generator.min_reconstruction, self.splits.class_names)
        return generator, quality

    @cached_property
    def panel(self) -> JudgePanel:
        """The judges, trained on the reference images alone."""
        with self.timings.of("judges", done=self.config.judges.trained_in(self.folder.judges)):
            return self.config.judges.fit(
                self.splits.reference,
                self.splits.validation,
                seed=self.config.seed,
                folder=self.folder.judges,
                device=self.config.device,
                progress=self.progress,
            )

    @cached_property
    def gate_judge(self) -> Judge:
        """Who decides whether an image still shows its label: the panel's gate, and a generator that knows classes."""
        panel, validation = self.panel, self.splits.validation
        under_test = self.classifier.accuracy(validation)
        best = max(panel.accuracy[: self.config.judges.gating], key=lambda rate: rate.value)
        if best.value < under_test.value - WEAKER:
            _LOG.warning(
                "judges: the best of the gate reads %.1f %% of the validation images right, the classifier under test "
                "%.1f %%; raise judges.training.epochs, or errors that all judges make pass for the classifier's",
                100 * best.value,
                100 * under_test.value,
            )
        return panel.gate_with(self.generator, self.splits)

    @cached_property
    def renderer(self) -> Renderer:
        """What makes the images of codes."""
        return self.config.identify.renderer(self.splits.reference, self.generator)

    @property
    def screen(self) -> Screen:
        """The gates on images alone."""
        return Screen(self.config.identify.label_gates, self.gate_judge)

    @cached_property
    def identified(self) -> Identified:
        """The failures, and how the search went."""
        generator, judge = self.generator, self.gate_judge
        shards = map(self.folder.shard, range(self.config.identify.shards))
        with self.timings.of("identify", done=all(path.exists() for path in shards)):
            return self.config.identify.run(
                self.splits.reference,
                generator,
                self.classifier,
                judge,
                seed=self.config.seed,
                shard_path=self.folder.shard,
                progress=self.progress,
            )

    @cached_property
    def costs(self) -> CostMatrix:
        """What each wrong answer costs."""
        return self.config.cost.resolve(self.splits.class_names)

    @cached_property
    def regions(self) -> Regions:
        """The misclassification regions, with evidence and samples."""
        if self.folder.regions_done.exists():
            return load_regions(self.folder.regions)
        failures = self.identified.failures
        with self.timings.of("distill"):
            regions = self.config.distill.run(
                failures,
                RegionSampler(self.renderer, self.classifier, self.screen),
                seed=self.config.seed,
                costs=self.costs,
                progress=self.progress,
            )
        save_regions(self.folder.regions, regions)
        return regions

    @cached_property
    def nearest(self) -> tuple[NearestImages, ...]:
        """The real images nearest to each region."""
        return nearest_images(self.regions, self.splits.reference, self.generator)

    @cached_property
    def natural(self) -> tuple[NaturalImages, ...]:
        """What real images of every split say of each region."""
        images = LabelledImages.concatenate((self.splits.reference, self.splits.validation, self.splits.test))
        unseen = np.arange(len(images)) >= len(self.splits.reference)
        what = (self.regions, images, self.renderer, self.classifier)
        return natural_images(*what, unseen=unseen, seed=self.config.seed, progress=self.progress)

    @cached_property
    def traits(self) -> dict[str, tuple[Trait, ...]]:
        """What sets each reported region's images apart from others of its class."""
        return describe_regions(self.regions, self.splits.reference, self.renderer.redraw)

    @contextmanager
    def verdicts(self) -> Iterator[VerdictStore]:
        """Open the store of what annotators said of this run's regions."""
        with VerdictStore(self.folder.verdicts, self.regions) as store:
            yield store

    @cached_property
    def labels(self) -> tuple[RegionLabel, ...]:
        """The majority's decision on each region, from the verdicts as they are now."""
        regions, judge = self.regions, self.panel.label
        machine = self.config.label.machine
        with self.timings.of("label"), self.verdicts() as store:
            judged = {verdict.region for verdict in store.all() if verdict.machine}
            missing = [region for region in regions.reported if region.name not in judged]
            if machine is not None and missing:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                store.append(
                    [
                        machine.verdict(region, regions.samples[region.name, Purpose.SHOW], judge, time=now)
                        for region in missing
                    ]
                )
            names = self.splits.class_names
            return self.config.label.majority.decide(regions, store.current(), names)

    @cached_property
    def _crossed_out(self) -> Mapping[str, tuple[int, ...]]:
        with self.verdicts() as store:
            return crossed_out(store.current())

    @cached_property
    def looked_over(self) -> Regions:
        """The regions, less the samples that resemble what people crossed out."""
        return strike(self.regions, self._crossed_out)

    @cached_property
    def corrected(self) -> Corrected | None:
        """The repair, made anew when the verdicts have changed since; None for a model without trainable weights."""
        model, labels, folder = self.classifier, self.labels, self.folder
        crossed = self._crossed_out
        decided = [
            [label.region, label.label, *([list(crossed[label.region])] if label.region in crossed else [])]
            for label in labels
        ]
        if not (isinstance(model, TorchClassifier) and model.finetunable):
            return None
        if folder.repair.exists() and folder.labels.exists() and read_json(folder.labels) == decided:
            return load_corrected(folder.repair, folder.repaired, model)
        folder.repair.unlink(missing_ok=True)
        shutil.rmtree(folder.verify, ignore_errors=True)  # of another repair
        with self.timings.of("correct"):
            corrected = self.config.correct.run(
                model, self.splits, self.looked_over, labels, seed=self.config.seed, progress=self.progress
            )
        write_json(folder.labels, decided)
        save_corrected(folder.repair, folder.repaired, corrected)
        return corrected

    @property
    def repaired(self) -> TorchClassifier | None:
        """The repaired model; None where none was made, or none met the caps."""
        corrected = self.corrected
        return None if corrected is None or corrected.repair is None or self.unrepaired else corrected.classifier

    @property
    def verified(self) -> Verified | None:
        """The search again, on the given and on the repaired model; None where no model was repaired."""
        corrected, repaired, folder = self.corrected, self.repaired, self.folder
        if corrected is None or corrected.repair is None or repaired is None:
            return None
        if not folder.verified.exists():
            search = SecondSearch(self.config, self.splits.reference, self.renderer, self.screen, self.costs)
            repaired_on = {score.region for score in corrected.repair.after.regions}
            what = (self.regions.reported, repaired_on, self.classifier, repaired)
            with self.timings.of("verify"):
                verified = verify(search, *what, folder.verify, self.progress)
            save_verified(folder.verified, verified)
        return load_verified(folder.verified)

    @property
    def verified_so_far(self) -> Verified | None:
        """The same, but None where that has not been asked for: it takes as long as two searches."""
        return self.verified if self.corrected and self.folder.verified.exists() else None

    @property
    def outcome(self) -> str:
        """What became of the repair, in one line."""
        if self.corrected is None:
            return (
                "not repaired: the classifier gives no access to trainable weights; `defuse export` writes images to "
                "train it elsewhere"
            )
        return self.corrected.reason

    @property
    def unrepaired(self) -> bool:
        """Whether there was something to repair and no model met the caps."""
        repair = self.corrected.repair if self.corrected else None
        return repair is not None and repair.chosen is None

    @cached_property
    def suite(self) -> Suite:
        """The regression suite, written beside everything else."""
        corrected = self.corrected
        suite = build_suite(
            self.looked_over,
            self.labels,
            corrected.repair if corrected else None,
            corrected.classifier if corrected else self.classifier,
            self.splits.class_names,
            generator=file_hash(self.folder.generator_weights),
            seed=self.config.seed,
            kept_only=self.config.correct.kept_only,
        )
        suite = keep_accepted(self.folder.suite, suite)
        save_suite(self.folder.suite, suite)
        return suite

    @cached_property
    def test_accuracy(self) -> Rate:
        """The given model's accuracy on the test images."""
        return self.classifier.accuracy(self.splits.test)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent in each stage, over all sessions that finished the stage or a part of it."""
        return self.timings.read()
