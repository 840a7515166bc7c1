"""Fine-tuning on reference images and region samples together: one lambda, one copy of the model."""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.nn.modules.batchnorm import _NormBase

from defuse.augment import Augment, augmented
from defuse.classifiers import TorchClassifier
from defuse.correct.layers import Layers, trained_weights
from defuse.correct.targets import Pool
from defuse.pixels import to_pixels
from defuse.progress import Progress
from defuse.records import LabelledImages
from defuse.seeds import derive, numpy_rng, torch_rng
from defuse.types import ByteImages, LabelTensor, Logits, Pixels

REPORT_EVERY = 10
"""Optimiser steps between two progress reports."""


Wanted = LabelTensor | Float[Tensor, "n k"]
"""What to answer on a batch: labels, or probabilities."""


@dataclass(frozen=True)
class Recipe:
    """What is the same for every lambda of a sweep.

    Attributes:
        learning_rate: of the first step.
        augment: random changes of region samples, and of a share of the reference images: see ``changed_reference``.
        keep_answers: whether reference images teach the given model's own answers (``own_answers``) or their labels.
        keep_logits: with ``keep_answers``, the weight of ``moved``.
        layers: which weights are trained; see ``defuse.correct.layers``.
    """

    learning_rate: float
    augment: Augment = "none"
    keep_answers: bool = False
    keep_logits: float = 0.0
    layers: Layers = "all"

    @property
    def changed_reference(self) -> float:
        """Share of the reference images that are changed: all to learn labels, half to keep logits, else none.

        On changed images a model answers what it was never taught; learning its answers alone there turned twice as
        many right ones into wrong ones (Fashion-MNIST: 3.2 % against 1.6 % of the validation images, at the same
        repair).
        """
        if not self.keep_answers:
            return 1.0
        return 0.5 if self.keep_logits else 0.0


@dataclass(frozen=True)
class Batches:
    """Which images every step sees: drawn once, so that each lambda and the control take the very same steps.

    Attributes:
        reference: rows of the reference images, (steps, batch).
        region: rows of the pooled region samples, (steps, region batch).
    """

    reference: Int64[np.ndarray, "steps batch"]
    region: Int64[np.ndarray, "steps region_batch"]

    @property
    def steps(self) -> int:
        """How many optimiser steps there are."""
        return len(self.reference)


def draw_batches(
    reference: int, region: int, *, steps: int, batch_size: int, region_batch_size: int, seed: int
) -> Batches:
    """Draw the batches of a fine-tuning from ``reference`` and ``region`` many images, both at least 1."""
    return Batches(
        _epochs(reference, (steps, batch_size), numpy_rng(seed, "reference batches")),
        _epochs(region, (steps, region_batch_size), numpy_rng(seed, "region batches")),
    )


def _epochs(count: int, shape: tuple[int, int], rng: np.random.Generator) -> Int64[np.ndarray, "steps batch"]:
    """Fill ``shape`` with one permutation of ``count`` rows after another: every row comes equally often."""
    size = shape[0] * shape[1]
    rows = np.concatenate([rng.permutation(count) for _ in range(math.ceil(size / count))])
    return rows[:size].reshape(shape).astype(np.int64)


@dataclass(frozen=True)
class Answers:
    """A model's logits on one batch, (n, classes), and what it should have answered.

    Attributes:
        logits: (n, classes).
        wanted: labels, (n,), or probabilities, (n, classes).
    """

    logits: Logits
    wanted: Wanted


def objective(reference: Answers, region: Answers | None, weight: float) -> Float[Tensor, ""]:
    """Return cross-entropy on reference images + ``weight`` * cross-entropy on region samples.

    This is the correction loss of Slack et al. (arXiv:2102.06162); both terms are means over their batch. Without
    ``region`` it is the control's loss.
    """
    loss = cross_entropy(reference.logits, reference.wanted)
    return loss if region is None else loss + weight * cross_entropy(region.logits, region.wanted)


def own_answers(given: Logits, labels: LabelTensor) -> Float[Tensor, "n k"]:
    """Return what a model should go on answering: its own probabilities where it is right, elsewhere the label, (n, k).

    Source: Li and Hoiem, "Learning without Forgetting", TPAMI 2018. Not in the paper.

    Args:
        given: the model's logits before anything was learnt, (n, k).
        labels: (n,).
    """
    right = given.argmax(dim=1) == labels
    return torch.where(right[:, None], torch.softmax(given, dim=1), one_hot(labels, given.shape[1]).to(given))


def moved(new: Logits, given: Logits, labels: LabelTensor) -> Float[Tensor, ""]:
    """Return how far logits have moved on images that were read right: the mean square over images and classes.

    Probabilities near 1 say nothing of how sure a model is, so that it may become less so on every image unseen, and
    images like them turn wrong; logits hold the margin itself. What is added to every class alike does not count, and
    images that were read wrong count as 0. Source: Ba and Caruana, "Do deep nets really need to be deep?", NeurIPS
    2014, and, against forgetting, Buzzega et al., "Dark experience for general continual learning", NeurIPS 2020. Not
    in the paper. On traffic signs (GTSRB), at 1 % of region samples failing, a quarter as many right answers turn wrong
    on changed validation images as without it; on digits it makes no difference.

    Args:
        new: logits that are learnt, (n, k).
        given: logits of the model that was given, (n, k).
        labels: (n,).
    """
    right = given.argmax(dim=1) == labels
    distance = (new - new.mean(dim=1, keepdim=True)) - (given - given.mean(dim=1, keepdim=True))
    return (distance.square().mean(dim=1) * right).mean()


def training_mode(module: nn.Module) -> None:
    """Put a model in training mode, except for normalisation layers with running statistics.

    Those keep using, and keep, the statistics of the real training images, while their affine weights are trained.
    Generated samples have other statistics (smoother, fewer classes): they would shift the running ones, and the model
    that is tested would not be the one that was tuned. Dropout stays active, as in the training that it belongs to.
    """
    module.train()
    for layer in module.modules():
        if isinstance(layer, _NormBase) and layer.track_running_stats:
            layer.eval()


def fine_tune(
    classifier: TorchClassifier,
    reference: LabelledImages,
    samples: Pool,
    batches: Batches,
    *,
    weight: float,
    recipe: Recipe,
    seed: int,
    progress: Progress,
) -> TorchClassifier | None:
    """Fine-tune a copy of the classifier with Adam, its learning rate falling to 0 along a cosine.

    Half-precision weights are tuned in float32, in which Adam's small steps are not lost, and rounded at the end.
    Parameters with ``requires_grad=False`` stay as they are. With ``weight`` 0 the region term is left out, so that the
    region samples cannot matter.

    Args:
        classifier: stays unchanged.
        reference: real images.
        samples: region samples with the labels to learn.
        batches: the rows of both that each step sees.
        weight: lambda, at least 0.
        recipe: what is the same for every lambda.
        seed: of the random changes of images and the dropout masks, which depend on it and on the step alone.
        progress: told every few steps.

    Returns:
        The tuned copy in evaluation mode, or None when the loss became NaN or infinite.
    """
    module = copy.deepcopy(classifier.module)
    tuned = classifier.with_module(module, torch.promote_types(classifier.dtype, torch.float32))
    weights = trained_weights(module, recipe.layers)
    device = classifier.device
    labels, towards = torch.from_numpy(reference.labels), torch.from_numpy(samples.labels)
    optimizer = torch.optim.Adam(weights, lr=recipe.learning_rate)
    training_mode(module)
    kept = ", logits kept" if recipe.keep_logits else ""
    task = f"correct: lambda {weight:g}{kept}" if weight else "correct: control"
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for step in range(batches.steps):
            rng = torch_rng(seed, "augment", step)
            torch.manual_seed(derive(seed, "dropout", step))
            _set_rate(optimizer, recipe.learning_rate * (1 + math.cos(math.pi * step / batches.steps)) / 2)
            rows = batches.reference[step]
            pixels = _changed(reference.images[rows], recipe.augment, rng, device, recipe.changed_reference)
            wanted = labels[rows].to(device)
            given = _given(classifier, pixels) if recipe.keep_answers else None
            real = _answer(tuned, pixels, wanted if given is None else own_answers(given, wanted))
            fresh = None
            if weight:
                rows = batches.region[step]
                pixels = _changed(samples.images[rows], recipe.augment, rng, device)
                fresh = _answer(tuned, pixels, towards[rows].to(device))
            loss = objective(real, fresh, weight)
            if given is not None and recipe.keep_logits:
                loss = loss + recipe.keep_logits * moved(real.logits, given, wanted)
            if not torch.isfinite(loss):
                return None
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            if (step + 1) % REPORT_EVERY == 0 or step + 1 == batches.steps:
                progress(task, step + 1, batches.steps, f"loss {loss.item():.3f}")
    module.eval()
    return classifier.with_module(module)


def _changed(
    images: ByteImages, augment: Augment, rng: torch.Generator, device: torch.device, share: float = 1.0
) -> Pixels:
    """Return images of which a share, the first ones, is changed."""
    pixels, count = to_pixels(images), round(share * len(images))
    if count:
        pixels = torch.cat([augmented(pixels[:count], augment, rng), pixels[count:]])
    return pixels.to(device)


@torch.no_grad()
def _given(classifier: TorchClassifier, pixels: Pixels) -> Logits:
    return classifier.logits(pixels)


def _answer(classifier: TorchClassifier, pixels: Pixels, wanted: Wanted) -> Answers:
    """Run the module in the mode it is in; ``classifier.logits`` would put it in evaluation mode."""
    return Answers(classifier.module(classifier.preprocess(pixels)).float(), wanted)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
