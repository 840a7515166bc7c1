"""Training of a classifier or a judge: the same settings and seed give the same weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass as record
from typing import Annotated, TypeAlias

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, one_hot

from defuse.augment import Augment, augmented
from defuse.classifiers.networks import isolated_random_state
from defuse.classifiers.wrapper import TorchClassifier
from defuse.errors import ClassifierError
from defuse.pixels import contrast, to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages
from defuse.seeds import derive, torch_rng
from defuse.types import STRICT, Pixels

Targets: TypeAlias = Float[Tensor, "n k"]
"""Probabilities of the classes that a network should give, one row per image."""

COARSE = (4, 7)
"""Sides of an unreadable image, in pixels: the least, and one more than the most."""

WARM_UP = 0.15
"""Share of the steps in which the learning rate rises to its peak."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Training:
    """How a network is trained: AdamW; the learning rate rises linearly, then falls to 0 along a cosine.

    Attributes:
        epochs: passes over the reference images.
        batch_size: images per step, at most; the batches of an epoch differ in size by one at most.
        learning_rate: its peak.
        weight_decay: of weight matrices and kernels; biases and normalisation have none.
        augment: changes of each training image, drawn anew each epoch; see ``defuse.augment.Augment``.
        label_smoothing: probability spread evenly over all classes in the target.
        mixup: share of each batch that is blended with other images of the batch, the labels likewise (Zhang et al.,
            "mixup: Beyond Empirical Risk Minimization", ICLR 2018, with every blend equally likely): a network that
            has seen double exposures is not sure of them.
        coarse: share of each batch that is shrunk to 4 to 6 pixels a side and blown up again, with all classes equally
            likely in the target: a network that has seen unreadable images is not sure of them (outlier exposure,
            Hendrycks et al., ICLR 2019).
        faint: contrast below which an image, once changed, is trained on with all classes equally likely: a network
            can read what no person sees. See ``pixels.contrast``.
    """

    epochs: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    augment: Augment = "shift"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mixup: Annotated[float, Field(ge=0, le=1)] = 0.0
    coarse: Annotated[float, Field(ge=0, le=1)] = 0.0
    faint: Annotated[float, Field(ge=0, le=1)] = 0.0


@record(frozen=True)
class History:
    """What training saw, one value per epoch: mean training loss (nats), share of validation images read correctly."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]


def train(
    module: nn.Module,
    reference: LabelledImages,
    validation: LabelledImages,
    settings: Training,
    *,
    seed: int,
    progress: Progress = silent,
) -> History:
    """Train ``module`` in place, where it is, and leave it in eval mode.

    Deterministic on a CPU at a fixed thread count: order, augmentation and dropout depend on ``seed`` alone, and
    torch's global random state is as before afterwards.

    Args:
        module: maps pixels in [0, 1], (n, c, h, w), to logits; of a classifier with preprocessing, ``as_module()``.
        reference: images to train on.
        validation: images to score each epoch; they do not influence the weights.
        settings: hyperparameters.
        seed: of everything random.
        progress: told every step.

    Raises:
        ClassifierError: nothing to train, or the loss is no longer finite; the module is then of no use.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    if not parameters:
        raise ClassifierError("training: the module has no trainable weights; check what the factory returns")
    device, dtype = parameters[0].device, parameters[0].dtype
    scorer = TorchClassifier(module, reference.class_names, device=device, dtype=dtype)
    steps = _Steps(settings, parameters, math.ceil(len(reference) / settings.batch_size))
    losses: list[float] = []
    accuracies: list[float] = []
    with isolated_random_state(derive(seed, "training")):
        for epoch in range(settings.epochs):
            module.train()
            total = 0.0
            for pixels, targets in _batches(reference, settings, seed, epoch, steps.per_epoch):
                logits = module(pixels.to(device=device, dtype=dtype)).float()
                smoothing = settings.label_smoothing
                loss = steps.take(cross_entropy(logits, targets.to(device), label_smoothing=smoothing))
                total += loss * len(targets)
                note = f"epoch {epoch + 1}/{settings.epochs}, loss {loss:.3f}"
                progress("training", steps.done, steps.total, note + _best(accuracies))
            module.eval()
            losses.append(total / len(reference))
            accuracies.append(float((scorer.predict(validation.images) == validation.labels).mean()))
    progress("training", steps.total, steps.total, f"loss {losses[-1]:.3f}" + _best(accuracies))
    return History(tuple(losses), tuple(accuracies))


def _best(accuracies: list[float]) -> str:
    return f", validation accuracy {100 * accuracies[-1]:.2f} %" if accuracies else ""


class _Steps:
    """The optimiser, and the learning rate as a function of the step."""

    def __init__(self, settings: Training, parameters: list[nn.Parameter], per_epoch: int) -> None:
        self.settings = settings
        self.per_epoch = per_epoch
        self.total = per_epoch * settings.epochs
        self.done = 0
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate)

    def take(self, loss: Tensor) -> float:
        """Take one step down the loss and return it."""
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ClassifierError(
                f"training: the loss became {value} in epoch {self.done // self.per_epoch + 1}; "
                f"lower learning_rate (now {self.settings.learning_rate:g}) or check the images' normalisation"
            )
        rate = self.settings.learning_rate * _schedule(self.done, self.total)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        self.optimiser.step()
        self.done += 1
        return value


def _schedule(step: int, total: int) -> float:
    """Return the share of the peak learning rate: up in a line, down along half a cosine."""
    rise = max(1, round(WARM_UP * total))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step + 1 - rise) / (total + 1 - rise)))


def _batches(
    reference: LabelledImages, settings: Training, seed: int, epoch: int, count: int
) -> Iterator[tuple[Pixels, Targets]]:
    """Yield augmented pixels and targets; batches are of equal size but for one image, so none is too small."""
    order = torch.randperm(len(reference), generator=torch_rng(seed, "order", epoch))
    rng = torch_rng(seed, "augment", epoch)
    classes = len(reference.class_names)
    for index in order.tensor_split(count):
        rows = index.numpy()
        pixels = augmented(to_pixels(reference.images[rows]), settings.augment, rng)
        targets = one_hot(torch.from_numpy(reference.labels[rows]), classes).float()
        targets[contrast(pixels) < settings.faint] = 1 / classes
        pixels, targets = blended(pixels, targets, settings.mixup, rng)
        yield coarsened(pixels, targets, settings.coarse, rng)


def blended(pixels: Pixels, targets: Targets, share: float, rng: torch.Generator) -> tuple[Pixels, Targets]:
    """Return images and targets, the first ``share`` of them blended with others of the batch (``Training.mixup``)."""
    count = round(share * len(pixels))
    if not count:
        return pixels, targets
    partner = torch.randperm(len(pixels), generator=rng)[:count]
    weight = torch.rand(count, generator=rng)
    pixels, targets, other, meant = pixels.clone(), targets.clone(), pixels[partner], targets[partner]
    pixels[:count] = torch.lerp(pixels[:count], other, weight.view(-1, 1, 1, 1))
    targets[:count] = torch.lerp(targets[:count], meant, weight.view(-1, 1))
    return pixels, targets


def coarsened(pixels: Pixels, targets: Targets, share: float, rng: torch.Generator) -> tuple[Pixels, Targets]:
    """Return images and targets, the last ``share`` of them made unreadable (``Training.coarse``)."""
    count = round(share * len(pixels))
    if not count:
        return pixels, targets
    side = int(torch.randint(*COARSE, (), generator=rng))
    pixels, targets = pixels.clone(), targets.clone()
    small = interpolate(pixels[-count:], size=(side, side), mode="area")
    pixels[-count:] = interpolate(small, size=pixels.shape[2:], mode="bilinear", align_corners=False)
    targets[-count:] = 1 / targets.shape[1]
    return pixels, targets
