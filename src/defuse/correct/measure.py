"""Measuring models: what selection may see (validation, ``select`` samples), and the final figures."""

from dataclasses import dataclass
from functools import cached_property

from defuse.classifiers.base import Classifier
from defuse.correct.targets import Pool, Target, pool, usable_images
from defuse.errors import ClassifierError
from defuse.records import (
    LabelledImages,
    Purpose,
    Rate,
    Regions,
    RegionScore,
    Scores,
    Splits,
    SweepPoint,
)
from defuse.types import ByteImages, Labels, Mask

UNTRIED = Rate(0, 0)
"""The figure of a model that diverged: nothing was measured."""


def failure_rate(classifier: Classifier, images: ByteImages, label: Labels | int) -> Rate:
    """Return the share of images that are not read as their label."""
    return Rate(int((classifier.predict(images) != label).sum()), len(images))


def reads_right(classifier: Classifier, data: LabelledImages) -> Mask:
    """Return which images are read as their label, (n,)."""
    return classifier.predict(data.images) == data.labels


def accuracy(classifier: Classifier, data: LabelledImages) -> Rate:
    """Return the share of images that are read as their label."""
    return Rate(int(reads_right(classifier, data).sum()), len(data))


def holds_cap(before: Rate, after: Rate, max_accuracy_loss: float) -> bool:
    """Return whether an accuracy, on the same images as before, fell by at most ``max_accuracy_loss`` (a share)."""
    return before.successes - after.successes <= max_accuracy_loss * before.trials + 1e-9


def select(points: tuple[SweepPoint, ...], tolerance: float) -> SweepPoint | None:
    """Choose among the allowed points the one that changes least: the smallest blend, then the smallest lambda.

    Those whose failure rate on regions is more than ``tolerance`` (a share) above the lowest have no say.
    """
    allowed = [point for point in points if point.allowed]
    lowest = min((point.region.value for point in allowed if point.region.trials), default=0.0)
    near = [point for point in allowed if not point.region.trials or point.region.value <= lowest + tolerance]
    return min(near, key=lambda point: (point.blend, point.weight), default=None)


@dataclass(frozen=True)
class Measure:
    """The images that models are measured on."""

    splits: Splits
    regions: Regions
    targets: tuple[Target, ...]
    kept_only: bool

    @cached_property
    def _selection(self) -> Pool:
        return pool(self.regions, self.targets, Purpose.SELECT, kept_only=self.kept_only)

    def point(
        self, model: Classifier | None, weight: float, before: Rate, max_accuracy_loss: float, blend: float = 1.0
    ) -> SweepPoint:
        """Measure one lambda on what selection may see; a model that diverged (None, or bad logits) is not allowed."""
        if model is None:
            return SweepPoint(weight, UNTRIED, UNTRIED, allowed=False)
        try:
            validation = accuracy(model, self.splits.validation)
            region = failure_rate(model, self._selection.images, self._selection.labels)
        except ClassifierError:
            return SweepPoint(weight, UNTRIED, UNTRIED, allowed=False)
        allowed = holds_cap(before, validation, max_accuracy_loss)
        return SweepPoint(weight, validation, region, allowed=allowed, blend=blend)

    def scores(self, model: Classifier) -> Scores:
        """Return the final figures."""
        return Scores(
            accuracy(model, self.splits.validation),
            accuracy(model, self.splits.test),
            tuple(RegionScore(target.region.name, self._final(model, target)) for target in self.targets),
        )

    def control_scores(self, control: Classifier | None) -> Scores:
        """Return the control's final figures; those of nothing tried if it diverged (None, or bad logits)."""
        untried = tuple(RegionScore(target.region.name, UNTRIED) for target in self.targets)
        try:
            return self.scores(control) if control else Scores(UNTRIED, UNTRIED, untried)
        except ClassifierError:
            return Scores(UNTRIED, UNTRIED, untried)

    def _final(self, model: Classifier, target: Target) -> Rate:
        images = usable_images(self.regions, target.region.name, Purpose.FINAL, kept_only=self.kept_only)
        return failure_rate(model, images, target.label)

    def negative_flips(self, old: Classifier, new: Classifier) -> Rate:
        """Return the share of test images that the old model reads right and the new one wrong."""
        test = self.splits.test
        lost = reads_right(old, test) & ~reads_right(new, test)
        return Rate(int(lost.sum()), len(test))
