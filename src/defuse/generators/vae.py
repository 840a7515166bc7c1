"""Variational autoencoders, conditional or not: hyperparameters in, a trained generator out."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from defuse.augment import Augment
from defuse.errors import GeneratorError
from defuse.generators.conv import ConvVAE
from defuse.generators.networks import LARGEST, SMALLEST, Architecture, Autoencoder
from defuse.generators.training import Checkpoint, History, Progression, Schedule, train
from defuse.progress import Progress, silent
from defuse.records import LabelledImages
from defuse.seeds import derive
from defuse.types import STRICT

FEWEST = 2
"""Batch norm needs two images."""


@dataclass(frozen=True)
class TrainedVAE:
    """What ``VAE.fit`` returns: the generator with its best weights, and how the training went."""

    generator: ConvVAE
    history: History


@settings(frozen=True, kw_only=True, config=STRICT)
class VAE:
    """A convolutional beta-VAE (Slack et al., section 3) or its conditional form q(z | x, y), p(x | z, y).

    The conditional form deviates from the paper: the label is given to encoder and decoder, so that the code holds
    style alone and a candidate keeps its label while its style moves.

    The likelihood follows the images. One channel: Bernoulli on the grey values, the convention for digits. Three
    channels: Gaussian, with one learned variance for each band of Haar wavelets in luma and two chromas (see
    ``likelihood.gaussian``), log-variances bounded below at -8 so that none can collapse. The posterior's log-variances
    are bounded smoothly by plus and minus 8, so that nothing overflows.
    The networks are ours (the paper does not fix them): strided convolutions, batch norm under the label, one
    residual block at the coarsest resolution and one dense layer on either side.

    Attributes:
        conditional: whether the networks see the label.
        latent: dimension of the code.
        beta: weight of the divergence in the loss; every reported bound has beta = 1.
        width: channels of the finest feature map.
        hidden: units of the dense layers.
        epochs: passes over the reference images; the learning rate falls to zero over them.
        batch_size: images a step.
        learning_rate: the highest, reached after a tenth of the steps.
        patience: epochs without a better held-out bound after which training stops.
        augment: changes of each training image, drawn anew each epoch; see ``defuse.augment.Augment``.
        min_reconstruction: share of correctly classified images whose reconstruction must still be classified
            correctly; ``quality.require`` refuses a generator below it.
    """

    conditional: bool = True
    latent: Annotated[int, Field(ge=1)] = 16
    beta: Annotated[float, Field(gt=0)] = 1.0
    width: Annotated[int, Field(ge=1)] = 32
    hidden: Annotated[int, Field(ge=1)] = 256
    epochs: Annotated[int, Field(ge=1)] = 10
    batch_size: Annotated[int, Field(ge=2)] = 128
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    patience: Annotated[int, Field(ge=1)] = 5
    augment: Augment = "none"
    min_reconstruction: Annotated[float, Field(ge=0, le=1)] = 0.9

    def fit(
        self,
        reference: LabelledImages,
        held_out: LabelledImages,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        checkpoint: Path | None = None,
        progress: Progress = silent,
    ) -> TrainedVAE:
        """Train on the reference images and keep the weights with the best held-out bound.

        Args:
            reference: at least two images, sides from 8 to 128, one or three channels.
            held_out: at least one image, of the same shape and classes.
            seed: decides the first weights and every later draw, whatever the device.
            device: where the networks are trained, and stay.
            checkpoint: where to keep the state after each epoch. A training that was killed and is started again
                with the same path goes on from there and ends in the same weights, byte for byte (same machine and
                thread count); one that had ended returns at once. The caller removes the file.
            progress: told of every step.

        Raises:
            GeneratorError: images that cannot be learnt from, a damaged or foreign checkpoint, or a bound that
                stopped being a number.
        """
        _check(reference, held_out)
        network = _network(self.architecture(reference), derive(seed, "generator", "weights")).to(device)
        history = train(
            Progression.start(network),
            reference,
            held_out,
            self.schedule,
            seed=seed,
            checkpoint=Checkpoint(checkpoint, self._fingerprint(reference, held_out, seed)) if checkpoint else None,
            progress=progress,
        )
        return TrainedVAE(ConvVAE(network), history)

    @property
    def schedule(self) -> Schedule:
        """What the training loop needs to know."""
        return Schedule(self.beta, self.epochs, self.batch_size, self.learning_rate, self.patience, self.augment)

    def architecture(self, images: LabelledImages) -> Architecture:
        """Return what decides the networks' shapes for these images."""
        return Architecture(
            image_shape=images.image_shape,
            classes=len(images.class_names),
            conditional=self.conditional,
            latent=self.latent,
            width=self.width,
            hidden=self.hidden,
        )

    def _fingerprint(self, reference: LabelledImages, held_out: LabelledImages, seed: int) -> str:
        decisive = {name: value for name, value in asdict(self).items() if name != "min_reconstruction"}
        digest = hashlib.sha256(json.dumps([decisive, seed, *reference.class_names]).encode())
        for part in (reference, held_out):
            digest.update(repr(part.images.shape).encode() + part.images.tobytes() + part.labels.tobytes())
        return digest.hexdigest()


def _network(shape: Architecture, seed: int) -> Autoencoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Autoencoder(shape)


def _check(reference: LabelledImages, held_out: LabelledImages) -> None:
    height, width, channels = reference.image_shape
    if channels not in (1, 3):
        raise GeneratorError(f"generator: expected images of 1 or 3 channels, got {channels}; convert them first")
    if min(height, width) < SMALLEST or max(height, width) > LARGEST:
        raise GeneratorError(
            f"generator: expected images with sides from {SMALLEST} to {LARGEST} pixels, got {height} x {width}; "
            "resize them first"
        )
    if len(reference) < FEWEST or not len(held_out):
        raise GeneratorError(
            f"generator: expected at least {FEWEST} reference images and 1 held-out image, got {len(reference)} and "
            f"{len(held_out)}; give more images"
        )
    if held_out.image_shape != reference.image_shape or held_out.class_names != reference.class_names:
        raise GeneratorError(
            f"generator: held-out images of shape {held_out.image_shape} with {len(held_out.class_names)} classes do "
            f"not fit reference images of shape {reference.image_shape} with {len(reference.class_names)} classes; "
            "split one data set"
        )
