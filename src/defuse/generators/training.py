"""Training an autoencoder: epochs, the learning-rate schedule, early stopping, checkpoint and resume."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import safetensors
import torch
from safetensors.torch import load, save
from torch import Tensor

from defuse.augment import Augment, augmented
from defuse.errors import GeneratorError
from defuse.generators.likelihood import Bound
from defuse.generators.networks import Autoencoder
from defuse.pixels import to_pixels
from defuse.progress import Progress
from defuse.records import LabelledImages
from defuse.rundir import write_bytes
from defuse.seeds import numpy_rng, torch_rng
from defuse.types import Codes, Labels, Pixels

TASK = "fit generator"
WARM_UP = 0.1
EVALUATION_BATCH = 512

RESTARTS = 3
"""How often a training that diverged goes back to its last good epoch, each time at half the learning rate."""


class _DivergedError(Exception):
    """The bound is no longer a number."""


@dataclass(frozen=True)
class Epoch:
    """One pass over the reference images; all figures in nats per image, negative bounds, lower is better.

    Attributes:
        number: 1 is the first.
        train: mean over the epoch's batches, while the weights moved.
        held_out: on the held-out images after the epoch, at beta = 1.
        reconstruction: the held-out figure's first part.
        divergence: its second part.
    """

    number: int
    train: float
    held_out: float
    reconstruction: float
    divergence: float


@dataclass(frozen=True)
class History:
    """How a training went.

    Attributes:
        epochs: in order.
        stopped_early: whether patience ran out before the last epoch.
        restarts: how often the training diverged, went back to its last good epoch and halved the learning rate.
    """

    epochs: tuple[Epoch, ...]
    stopped_early: bool
    restarts: int = 0

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return min(self.epochs, key=lambda epoch: epoch.held_out)


@dataclass(frozen=True)
class Schedule:
    """What the training loop needs to know of the hyperparameters."""

    beta: float
    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    augment: Augment = "none"

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step: a linear rise over the first tenth, then half a cosine to zero.

        It depends on the step alone, so that there is no state to resume.
        """
        rise = max(1, round(WARM_UP * steps))
        if step < rise:
            return self.learning_rate * (step + 1) / rise
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))

    def finished(self, epochs: list[Epoch]) -> bool:
        """Return whether the last epoch was reached or patience has run out."""
        if not epochs:
            return False
        best = min(epochs, key=lambda epoch: epoch.held_out)
        return len(epochs) >= self.epochs or len(epochs) - best.number >= self.patience


@dataclass
class Progression:
    """Everything that changes while an autoencoder trains, and that a checkpoint holds."""

    network: Autoencoder
    optimiser: torch.optim.Adam
    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    restarts: int = 0

    @classmethod
    def start(cls, network: Autoencoder) -> "Progression":
        """Return the state before the first step."""
        optimiser = torch.optim.Adam(network.parameters(), fused=True)
        for parameter in network.parameters():  # what Adam itself would make at its first step
            optimiser.state[parameter] = {
                "step": parameter.new_zeros(()),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return cls(network, optimiser)

    def tensors(self) -> dict[str, Tensor]:
        """Return the live tensors under stable names; writing into them changes the state."""
        named = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        for name, parameter in self.network.named_parameters():
            named |= {f"adam.{name}.{key}": tensor for key, tensor in self.optimiser.state[parameter].items()}
        return named

    def restore(self, stored: Mapping[str, Tensor]) -> None:
        """Bring every tensor back to a stored value.

        Values are copied into the existing tensors, since Adam's fused step needs each moment to lie in memory like its
        parameter.
        """
        for name, tensor in self.tensors().items():
            tensor.detach().copy_(stored[name])

    def keep_best(self) -> None:
        """Copy the weights if the last epoch is the best so far."""
        if self.epochs[-1] == min(self.epochs, key=lambda epoch: epoch.held_out):
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds a training's state after each epoch.

    Attributes:
        path: a safetensors file.
        fingerprint: says which training it belongs to.
    """

    path: Path
    fingerprint: str

    def save(self, state: Progression) -> None:
        """Write the state atomically."""
        tensors = state.tensors() | {f"best.{name}": tensor for name, tensor in state.best.items()}
        counters = {
            "fingerprint": self.fingerprint,
            "epochs": [asdict(epoch) for epoch in state.epochs],
            "restarts": state.restarts,
        }
        content = save(
            {name: tensor.contiguous() for name, tensor in tensors.items()}, {"defuse": json.dumps(counters)}
        )
        write_bytes(self.path, content)

    def resume(self, state: Progression) -> None:
        """Bring the state to where the checkpoint left it; do nothing if there is none.

        Raises:
            GeneratorError: the file is damaged or belongs to another training.
        """
        if not self.path.exists():
            return
        try:
            with safetensors.safe_open(self.path, "pt") as file:
                counters = json.loads(file.metadata()["defuse"])
            if counters["fingerprint"] != self.fingerprint:
                raise GeneratorError(
                    f"{self.path}: checkpoint of another training (other images, settings or seed); remove it to train "
                    "anew"
                )
            stored = load(self.path.read_bytes())  # a mapped file could change under us
            state.restore(stored)
            state.epochs = [Epoch(**epoch) for epoch in counters["epochs"]]
            state.restarts = int(counters["restarts"])
            state.best = {name: stored[f"best.{name}"] for name in state.network.state_dict()}
        except (safetensors.SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            raise GeneratorError(f"{self.path}: damaged checkpoint ({error}); remove it to train anew") from None


def train(
    state: Progression,
    reference: LabelledImages,
    held_out: LabelledImages,
    schedule: Schedule,
    *,
    seed: int,
    checkpoint: Checkpoint | None,
    progress: Progress,
) -> History:
    """Train until the last epoch or until patience runs out; ``state.network`` ends with the best weights.

    Random draws are derived from the seed and the epoch's number, so that a training that was killed and resumed
    ends in the same bytes as an undisturbed one.

    Raises:
        GeneratorError: the bound stopped being a number again and again, at ever lower learning rates.
    """
    if checkpoint:
        checkpoint.resume(state)
    while not schedule.finished(state.epochs):
        good = {name: tensor.detach().clone() for name, tensor in state.tensors().items()}
        try:
            epoch = _epoch(state, reference, held_out, schedule, seed=seed, progress=progress)
        except _DivergedError:
            _back_off(state, good, schedule, checkpoint)
            continue
        state.epochs.append(epoch)
        state.keep_best()
        if checkpoint:
            checkpoint.save(state)
    state.network.load_state_dict(state.best)
    return History(tuple(state.epochs), len(state.epochs) < schedule.epochs, state.restarts)


def _back_off(
    state: Progression, good: Mapping[str, Tensor], schedule: Schedule, checkpoint: Checkpoint | None
) -> None:
    """Go back to the last good epoch at half the learning rate, unless that was tried often enough."""
    number = len(state.epochs) + 1
    if state.restarts == RESTARTS:
        if checkpoint:
            checkpoint.path.unlink(missing_ok=True)  # resuming it would diverge again
        raise GeneratorError(
            f"generator: the bound became NaN or infinite in epoch {number}, also at {0.5**RESTARTS:g} of the learning "
            f"rate; lower generator.learning_rate (now {schedule.learning_rate:g})"
        )
    state.restore(good)
    state.restarts += 1


def _epoch(
    state: Progression,
    reference: LabelledImages,
    held_out: LabelledImages,
    schedule: Schedule,
    *,
    seed: int,
    progress: Progress,
) -> Epoch:
    """Make one pass over the reference images and measure what it brought."""
    mean = _train_epoch(state, reference, schedule, seed=seed, progress=progress)
    reconstruction, divergence = evaluate(state.network, held_out, seed)
    total = reconstruction + divergence
    if not math.isfinite(total):
        raise _DivergedError
    return Epoch(len(state.epochs) + 1, mean, total, reconstruction, divergence)


def _train_epoch(
    state: Progression, reference: LabelledImages, schedule: Schedule, *, seed: int, progress: Progress
) -> float:
    number = len(state.epochs) + 1
    batches = list(_batches(len(reference), schedule.batch_size, seed, number))
    step, steps = (number - 1) * len(batches), schedule.epochs * len(batches)
    rng = torch_rng(seed, "generator", "noise", number)
    note = f"epoch {number} of {schedule.epochs}"
    note += f", held-out bound {state.epochs[-1].held_out:.2f} nats" if state.epochs else ""
    note += f", learning rate halved {state.restarts} times after a divergence" if state.restarts else ""
    state.network.train()
    total = 0.0
    for index in batches:
        state.optimiser.param_groups[0]["lr"] = schedule.rate(step, steps) * 0.5**state.restarts
        pixels = augmented(to_pixels(reference.images[index]), schedule.augment, rng)
        noise = torch.randn(len(index), state.network.shape.latent, generator=rng)
        result = _bound(state.network, pixels, reference.labels[index], noise)
        loss = (result.reconstruction + schedule.beta * result.divergence).mean()
        total += float(result.total.detach().mean())
        if not math.isfinite(total):
            raise _DivergedError
        state.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        state.optimiser.step()
        step += 1
        progress(TASK, step, steps, note)
    return total / len(batches)


def _batches(images: int, size: int, seed: int, number: int) -> Iterator[Labels]:
    """Yield shuffled rows; a last, smaller batch is left out, since batch norm would weigh its images more."""
    order = numpy_rng(seed, "generator", "order", number).permutation(images).astype(np.int64)
    size = min(size, images)
    for start in range(0, images - size + 1, size):
        yield order[start : start + size]


@torch.inference_mode()
def evaluate(network: Autoencoder, images: LabelledImages, seed: int) -> tuple[float, float]:
    """Return mean reconstruction and divergence in nats per image, with the same noise at every call."""
    network.eval()
    rng = torch_rng(seed, "generator", "held-out")
    sums = [0.0, 0.0]
    for start in range(0, len(images), EVALUATION_BATCH):
        rows = slice(start, start + EVALUATION_BATCH)
        pixels = to_pixels(images.images[rows])
        noise = torch.randn(len(pixels), network.shape.latent, generator=rng)
        result = _bound(network, pixels, images.labels[rows], noise)
        sums[0] += float(result.reconstruction.sum())
        sums[1] += float(result.divergence.sum())
    return sums[0] / len(images), sums[1] / len(images)


def _bound(network: Autoencoder, pixels: Pixels, labels: Labels, noise: Codes) -> Bound:
    """Ask for the bound where the weights are; images and noise were drawn on the processor, alike for any device."""
    device = next(network.parameters()).device
    return network.bound(pixels.to(device), torch.from_numpy(labels).to(device), noise.to(device))
