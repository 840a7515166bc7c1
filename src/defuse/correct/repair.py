"""The repair: a sweep over lambda beside its control, and the choice of one model under caps on what it costs."""

from collections.abc import Callable
from dataclasses import dataclass as record
from dataclasses import replace
from functools import partial
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from defuse.augment import Augment
from defuse.classifiers import TorchClassifier
from defuse.classifiers.base import Classifier
from defuse.correct.blend import blend
from defuse.correct.finetune import Recipe, draw_batches, fine_tune
from defuse.correct.layers import Layers
from defuse.correct.measure import Caps, Measure, select
from defuse.correct.statistics import flips
from defuse.correct.targets import find_targets, pool
from defuse.errors import ClassifierError
from defuse.outcomes import Repair, SweepPoint
from defuse.progress import Progress, silent
from defuse.records import Purpose, Rate, RegionLabel, Regions, Splits
from defuse.seeds import derive
from defuse.types import STRICT


@record(frozen=True)
class Corrected:
    """What correct returns.

    Attributes:
        repair: the record of the sweep; None when there was nothing to repair.
        classifier: the repaired model, or the one that was given when nothing was repaired.
        reason: in one line, what became of it.
        control: the model after the same steps on reference data alone; None when there was nothing to repair, or when
            it diverged.
    """

    repair: Repair | None
    classifier: TorchClassifier
    reason: str
    control: TorchClassifier | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Correct:
    """Fine-tune on reference images and region samples for each lambda; keep the best model that holds its accuracy.

    Source: Slack et al. (arXiv:2102.06162), the correction step. Deviations: the model is chosen on validation images
    and on region samples set aside for selection, never on test images or final samples; the same steps on reference
    data alone (the control) are reported beside it; on reference images the model's own right answers are learnt;
    region samples are augmented; weights are blended with the given ones; negative flips have a cap, and accuracy on
    changed validation images; the values are ours, since the paper's were not at hand.

    Attributes:
        lambdas: weights of the region term, each at least 0; 0 repeats the control if not ``keep_answers``.
        steps: optimiser steps of each fine-tuning.
        batch_size: reference images per step.
        region_batch_size: region samples per step.
        learning_rate: Adam's at the first step; it falls to 0 along a cosine.
        augment: changes of each region sample, drawn anew each step, and of each reference image where no answers are
            kept, as for the control; see ``defuse.augment.Augment``.
        keep_answers: on reference images the repair learns the given model's own answers, where they are right, in
            place of the labels; so it has no reason to change what needs no repair. The control learns the labels.
        keep_logits: with ``keep_answers``, weights of the square distance by which logits of images that are read right
            have moved; every lambda is tried with each, and validation chooses. 0 keeps answers alone; above it, how
            sure the model is is kept too, on half of the reference images as they are and on half changed.
        layers: whether all weights are trained, the control's too, or those of the last layer alone.
        blends: shares of the way from the given weights to the tuned ones. The published method goes all the way.
        max_accuracy_loss: the most validation accuracy that a repair may cost, as a share: 0.001 is 0.1 points.
        max_accuracy_loss_bound: the most that the upper 95 % bootstrap bound of that loss may be, as a share; drawn by
            group where the data have groups. A small validation set cannot prove a small loss, unless
            none of its images is lost: then the bootstrap sees nothing that varies, and the bound is 0.
        max_changed_loss: the most accuracy that a repair may cost on validation images that were changed as ``augment``
            says, as a share; from 1 on nobody looks. What is used later differs from validation images more than these
            from reference images: a repair of a sign classifier (GTSRB) that turned 4 of 3,930 validation images wrong
            and as many right cost 0.45 points on test images, and one like it 0.7 on changed validation images. The
            less of it is allowed, the less a repair carries over to real images: at 0.1 points 43 % of the dark 50s of
            ``defuse demo`` were read right, at 0.3 points 89 %, before samples had fine detail.
        max_negative_flips: the most validation images that may turn from right to wrong, as a share.
        flips_of_control: allow as many as the control turns, where that is more. A model with many close calls changes
            some of them however it is trained on: one that is wrong on a tenth of Fashion-MNIST loses 1.7 % of its
            right answers to the control alone, and no repair of it stays within 0.3 %.
        kept_only: whether only samples that the judges kept are used, for repair and for every region figure; the
            preset ``paper``, which has no judges, takes all.
    """

    lambdas: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (0.1, 0.3)
    steps: Annotated[int, Field(ge=1)] = 400
    batch_size: Annotated[int, Field(ge=1)] = 128
    region_batch_size: Annotated[int, Field(ge=1)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    augment: Augment = "affine"
    keep_answers: bool = True
    keep_logits: Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1)] = (0.0, 0.05)
    layers: Layers = "all"
    blends: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] = (
        1.0,
        0.75,
        0.5,
        0.375,
        0.25,
        0.125,
    )
    max_accuracy_loss: Annotated[float, Field(ge=0, le=1)] = 0.001
    max_accuracy_loss_bound: Annotated[float, Field(ge=0, le=1)] = 0.005
    max_changed_loss: Annotated[float, Field(ge=0, le=1)] = 0.003
    max_negative_flips: Annotated[float, Field(ge=0, le=1)] = 0.003
    flips_of_control: bool = True
    kept_only: bool = True

    def run(
        self,
        classifier: Classifier,
        splits: Splits,
        regions: Regions,
        labels: tuple[RegionLabel, ...],
        *,
        seed: int,
        progress: Progress = silent,
    ) -> Corrected:
        """Repair the classifier on every region that has a label.

        Args:
            classifier: the model under test; it and its module stay unchanged.
            splits: ``reference`` is trained on, ``validation`` chooses, ``test`` is only scored.
            regions: ``repair`` samples are trained on, ``select`` samples choose, ``final`` samples are only scored.
            labels: the majority's decision on each region; regions without a class take no part.
            seed: of the batches and the dropout masks; every lambda and the control get the same.
            progress: told about every fine-tuning.

        Returns:
            The record and the repaired model. The given model comes back when no region has a label or a usable sample
            (then without a record), or when no lambda holds the caps.

        Raises:
            ClassifierError: the classifier has no weights that can be trained.
            VerdictError: labels that do not fit the regions.
            RunError: a labelled region lacks samples for one of the purposes.
        """
        model = require_finetunable(classifier)
        targets = find_targets(regions, labels, splits.class_names)
        if not targets:
            return Corrected(None, model, "nothing to repair: no region was given a class")
        samples = pool(regions, targets, Purpose.REPAIR, kept_only=self.kept_only)
        if not len(samples):
            return Corrected(None, model, "nothing to repair: the judges kept no sample of any region")
        tune = partial(
            fine_tune,
            model,
            splits.reference,
            samples,
            draw_batches(
                len(splits.reference),
                len(samples),
                steps=self.steps,
                batch_size=self.batch_size,
                region_batch_size=self.region_batch_size,
                seed=derive(seed, "correct"),
            ),
            seed=derive(seed, "correct"),
            progress=progress,
        )
        changes = self.augment if self.max_changed_loss < 1 else "none"
        measure = Measure(model, splits, regions, targets, self.kept_only, derive(seed, "correct"), changes)
        control = tune(weight=0.0, recipe=self.control_recipe)
        caps = self._caps(measure, control)
        best = [self._best(weight, partial(tune, weight=weight), measure, caps) for weight in self.lambdas]
        chosen = select(tuple(part.point for part in best))
        new = next((part.model for part in best if part.model is not None and part.point is chosen), model)
        before = measure.final(model)
        after = before if chosen is None else measure.final(new)
        if control is not None and chosen is not None:
            control = blend(model, control, chosen.blend)
        controlled = measure.final_of_control(control)
        turned = flips(before.right, after.right)
        repair = Repair(
            chosen=None if chosen is None else chosen.weight,
            steps=self.steps,
            sweep=tuple(part.point for part in best),
            before=before.scores,
            after=after.scores,
            control=controlled.scores if controlled else measure.untried,
            negative_flips=Rate(turned.broken, len(splits.test)),
            flips=turned,
            control_flips=flips(before.right, controlled.right) if controlled else None,
            candidates=tuple(point for part in best for point in part.tried),
        )
        return Corrected(repair, new, _reason(repair, caps), control if controlled else None)

    @property
    def control_recipe(self) -> Recipe:
        """How the control is tuned: on labels."""
        return Recipe(self.learning_rate, self.augment, layers=self.layers)

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """How every lambda is tuned: once for each of ``keep_logits``, or on labels where no answers are kept."""
        if not self.keep_answers:
            return (self.control_recipe,)
        return tuple(replace(self.control_recipe, keep_answers=True, keep_logits=keep) for keep in self.keep_logits)

    def _caps(self, measure: Measure, control: TorchClassifier | None) -> Caps:
        turned = measure.negative_flips(control).value if self.flips_of_control else 0.0
        flips = max(self.max_negative_flips, turned)
        return Caps(self.max_accuracy_loss, flips, self.max_accuracy_loss_bound, self.max_changed_loss)

    def _best(
        self, weight: float, tune: Callable[..., TorchClassifier | None], measure: Measure, caps: Caps
    ) -> "_Best":
        """Return the best of one lambda, over all ways to keep answers; of none that is allowed, the first."""
        tuned = [(recipe, tune(recipe=recipe)) for recipe in self.recipes]
        parts = [self._blended(model, weight, recipe, measure, caps) for recipe, model in tuned if model is not None]
        if not parts:
            return _Best(None, measure.point(None, weight, caps), ())
        point = select(tuple(part.point for part in parts)) or parts[0].point
        best = next(part for part in parts if part.point is point)
        return replace(best, tried=tuple(point for part in parts for point in part.tried))

    def _blended(self, tuned: TorchClassifier, weight: float, recipe: Recipe, measure: Measure, caps: Caps) -> "_Best":
        """Return the best allowed part of the way to the tuned weights, or the smallest when none is allowed."""
        parts = {share: blend(measure.given, tuned, share) for share in sorted(self.blends)}
        points = tuple(
            measure.point(part, weight, caps, blend=share, keep_logits=recipe.keep_logits)
            for share, part in parts.items()
        )
        point = select(points) or points[0]
        return _Best(parts[point.blend], point, points)


@record(frozen=True)
class _Best:
    """What is best of one lambda: the model and how it measures (None and untried when it diverged), and all tried."""

    model: TorchClassifier | None
    point: SweepPoint
    tried: tuple[SweepPoint, ...]


def _reason(repair: Repair, caps: Caps) -> str:
    """Return in one line what became of a repair."""
    chosen = next((point for point in repair.sweep if point.weight == repair.chosen), None)
    if chosen is not None:
        kept = f", logits kept at {chosen.keep_logits:g}" if chosen.keep_logits else ""
        way = "" if chosen.blend == 1 else f", {chosen.blend:g} of the way from the given weights"
        return f"repaired with lambda {chosen.weight:g}{kept}{way}"
    if not any(point.validation.trials for point in repair.sweep):
        return "not repaired: the loss became NaN for every lambda; lower correct.learning_rate"
    return (
        f"not repaired: no lambda keeps validation accuracy within {100 * caps.accuracy_loss:g} points (at worst "
        f"{100 * caps.loss_bound:g}, on changed images {100 * caps.changed_loss:g}) and negative flips within "
        f"{100 * caps.negative_flips:.2g} %; raise correct.max_accuracy_loss, correct.max_accuracy_loss_bound, "
        "correct.max_changed_loss or correct.max_negative_flips, or lower correct.learning_rate"
    )


def require_finetunable(classifier: Classifier) -> TorchClassifier:
    """Return the classifier as one whose weights can be trained.

    Raises:
        ClassifierError: it has none; the message says what still works without.
    """
    if not isinstance(classifier, TorchClassifier):
        why = f"{type(classifier).__name__} gives no access to weights"
    elif not classifier.finetunable:
        why = "every parameter of its module is frozen (requires_grad is False)"
    else:
        return classifier
    raise ClassifierError(
        f"classifier: cannot be repaired, since {why}; its regions, the report and the regression suite can still be "
        "had; to repair it, pass a torch.nn.Module with trainable parameters"
    )
