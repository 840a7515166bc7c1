"""The convolutional encoder and decoder of the variational autoencoders, with labels fed in at every block."""

import math
from itertools import pairwise
from typing import Annotated

import torch
from jaxtyping import Float
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.nn import functional

from defuse.generators.likelihood import Bound, bands, bernoulli, divergence, gaussian, log_variance
from defuse.types import STRICT, Codes, LabelTensor, Pixels

SMALLEST, LARGEST = 8, 128
"""Sides of images that the networks take; they are laid out for 28 to 64 pixels."""

BOTTOM = 8
"""The coarsest feature map is at most this many pixels high and wide."""

LOG_VARIANCE_BOUND = 8.0
"""The posterior's log-variances stay within plus and minus this."""

MOMENTUM, EPSILON, SLOPE = 0.1, 1e-5, 0.1
"""Of batch norm's running statistics; added to its variances; of the leaky rectifier below zero."""

SCALE_SPREAD, SHIFT_SPREAD = 0.3, 0.5
"""Standard deviations over the labels of batch norm's first scales and shifts."""

Side = Annotated[int, Field(ge=SMALLEST, le=LARGEST)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Architecture:
    """Everything that decides the networks' weights' shapes.

    Attributes:
        image_shape: height, width, channels; any sides from 8 to 128, one or three channels.
        classes: how many classes the labels name.
        conditional: whether the networks see the label.
        latent: dimension of the code.
        width: channels of the finest feature map; each halving of the resolution doubles them, up to twice.
        hidden: units of the fully connected layer between code and feature maps, on both sides.
    """

    image_shape: tuple[Side, Side, Annotated[int, Field(ge=1, le=3)]]
    classes: Annotated[int, Field(ge=1)]
    conditional: bool
    latent: Annotated[int, Field(ge=1)]
    width: Annotated[int, Field(ge=1)]
    hidden: Annotated[int, Field(ge=1)]

    @property
    def grey(self) -> bool:
        """Whether the images have one channel, and so a Bernoulli likelihood."""
        return self.image_shape[2] == 1

    @property
    def halvings(self) -> int:
        """How often the resolution is halved until both sides are at most ``BOTTOM``; at least once."""
        halvings = 1
        while -(-max(self.image_shape[:2]) // 2**halvings) > BOTTOM:
            halvings += 1
        return halvings

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width rounded up to a multiple of the networks' stride."""
        stride = 2**self.halvings
        height, width, _ = self.image_shape
        return -(-height // stride) * stride, -(-width // stride) * stride

    @property
    def bottom(self) -> tuple[int, int, int]:
        """Channels, height and width of the coarsest feature map."""
        height, width = self.padded
        return self.channels[-1], height >> self.halvings, width >> self.halvings

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each feature map, the finest first."""
        return tuple(self.width * 2 ** min(level, 2) for level in range(self.halvings))

    @property
    def labels(self) -> int:
        """How many labels the networks tell apart: an unconditional network sees one and the same everywhere."""
        return self.classes if self.conditional else 1

    @property
    def margins(self) -> tuple[int, int, int, int]:
        """Pixels added left, right, above and below."""
        across, down = self.padded[1] - self.image_shape[1], self.padded[0] - self.image_shape[0]
        return across // 2, across - across // 2, down // 2, down - down // 2


class LabelNorm(nn.Module):
    """Batch norm whose scale and shift depend on the label (conditional batch norm, arXiv:1707.00683).

    The label comes as a one-hot row: a matrix product adds up its gradients in a fixed order, which scattering
    into an embedding does not. In evaluation it is one multiplication and one addition per value.

    With several labels, scales and shifts start apart. Were they to start alike, the code would learn to carry the
    class long before the labels had drifted apart, and the decoder would then ignore the label.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        apart = 1.0 if labels > 1 else 0.0
        self.scale = nn.Parameter(1 + apart * SCALE_SPREAD * torch.randn(labels, channels))
        self.shift = nn.Parameter(apart * SHIFT_SPREAD * torch.randn(labels, channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_variance", torch.ones(channels))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Normalise (n, channels) or (n, channels, h, w) under one-hot labels (n, labels)."""
        scale: Tensor = self.scale
        shift: Tensor = self.shift
        if self.training:
            features = functional.batch_norm(
                features, self.running_mean, self.running_variance, training=True, momentum=MOMENTUM, eps=EPSILON
            )
        else:
            scale = scale / (self.running_variance + EPSILON).sqrt()
            shift = shift - self.running_mean * scale
        shape = (len(features), -1) + (1,) * (features.dim() - 2)
        scaled = features * (condition @ scale).view(shape)
        return scaled.add_((condition @ shift).view(shape))


class Block(nn.Module):
    """A convolution (or any other layer) without bias, batch norm under the label, a leaky rectifier."""

    def __init__(self, layer: nn.Module, channels: int, labels: int) -> None:
        super().__init__()
        self.layer = layer
        self.norm = LabelNorm(channels, labels)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Transform features of one resolution into those of the next."""
        return functional.leaky_relu(self.norm(self.layer(features), condition), SLOPE, inplace=True)


class Residual(nn.Module):
    """Two convolutions beside a shortcut, at one resolution."""

    def __init__(self, channels: int, labels: int) -> None:
        super().__init__()
        self.first = Block(nn.Conv2d(channels, channels, 3, padding=1, bias=False), channels, labels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = LabelNorm(channels, labels)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Return features of the same shape."""
        change = self.norm(self.second(self.first(features, condition)), condition)
        return functional.leaky_relu(change + features, SLOPE)


class Encoder(nn.Module):
    """Images and labels to the mean and log-variance of the code.

    The first layer folds 2 x 2 pixels into channels, so that nothing is ever computed at full resolution.
    """

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        channels, labels = shape.channels, shape.labels
        self.margins = shape.margins
        inputs = [4 * shape.image_shape[2], *channels]
        self.stem = Block(nn.Conv2d(inputs[0], channels[0], 3, padding=1, bias=False), channels[0], labels)
        self.down = nn.ModuleList(
            Block(nn.Conv2d(fine, coarse, 4, stride=2, padding=1, bias=False), coarse, labels)
            for fine, coarse in pairwise(channels)
        )
        self.residual = Residual(channels[-1], labels)
        flat = math.prod(shape.bottom)
        self.dense = Block(nn.Linear(flat, shape.hidden, bias=False), shape.hidden, labels)
        self.head = nn.Linear(shape.hidden, 2 * shape.latent)

    def forward(self, pixels: Pixels, condition: Tensor) -> tuple[Codes, Codes]:
        """Return mean and log-variance, both (n, latent)."""
        padded = functional.pad(pixels, self.margins).contiguous(memory_format=torch.channels_last)
        features = self.stem(functional.pixel_unshuffle(padded, 2), condition)
        for block in self.down:
            features = block(features, condition)
        features = self.residual(features, condition)
        mean, raw = self.head(self.dense(features.flatten(1), condition)).chunk(2, dim=1)
        return mean, LOG_VARIANCE_BOUND * torch.tanh(raw / LOG_VARIANCE_BOUND)


class Decoder(nn.Module):
    """Codes and labels to one logit per pixel and channel: the mirror image of the encoder."""

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        channels, labels = shape.channels, shape.labels
        self.margins, self.size, self.bottom = shape.margins, shape.image_shape[:2], shape.bottom
        flat = math.prod(shape.bottom)
        self.dense = Block(nn.Linear(shape.latent, shape.hidden, bias=False), shape.hidden, labels)
        self.unfold = Block(nn.Linear(shape.hidden, flat, bias=False), flat, labels)
        self.residual = Residual(channels[-1], labels)
        self.up = nn.ModuleList(
            Block(nn.ConvTranspose2d(coarse, fine, 4, stride=2, padding=1, bias=False), fine, labels)
            for fine, coarse in reversed(list(pairwise(channels)))
        )
        self.head = nn.Conv2d(channels[0], 4 * shape.image_shape[2], 3, padding=1)

    def forward(self, z: Codes, condition: Tensor) -> Pixels:
        """Return logits, (n, c, h, w)."""
        flat = self.unfold(self.dense(z, condition), condition)
        features = flat.view(-1, *self.bottom).contiguous(memory_format=torch.channels_last)
        features = self.residual(features, condition)
        for block in self.up:
            features = block(features, condition)
        padded = functional.pixel_shuffle(self.head(features), 2)
        left, _, top, _ = self.margins
        return padded[:, :, top : top + self.size[0], left : left + self.size[1]]


class Autoencoder(nn.Module):
    """Encoder, decoder and, for colour images, the learned variance of each wavelet band in luma and two chromas."""

    pixel_noise: nn.Parameter | None

    def __init__(self, shape: Architecture) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.decoder = Decoder(shape)
        self.pixel_noise = None if shape.grey else nn.Parameter(torch.zeros(bands(*shape.image_shape[:2]), 3))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it; twice as fast

    def condition(self, labels: LabelTensor) -> Float[Tensor, "n labels"]:
        """Return one-hot labels, or a column of ones where the label must not matter."""
        if not self.shape.conditional:
            return torch.ones(len(labels), 1, device=labels.device)
        return functional.one_hot(labels, self.shape.classes).float()

    def log_likelihood(self, logits: Pixels, pixels: Pixels) -> Float[Tensor, " n"]:
        """Return log p(x | z, y) in nats, (n,), of images in [0, 1] given the decoder's logits, both (n, c, h, w)."""
        if self.pixel_noise is None:
            return bernoulli(logits, pixels)
        return gaussian(pixels - torch.sigmoid(logits), log_variance(self.pixel_noise))

    def bound(self, pixels: Pixels, labels: LabelTensor, noise: Codes) -> Bound:
        """Return the negative bound of each image from one draw of its code.

        Args:
            pixels: images in [0, 1], (n, c, h, w).
            labels: their classes, (n,).
            noise: standard normal, (n, latent): the draw, so that no global random state is touched.
        """
        condition = self.condition(labels)
        mean, spread = self.encoder(pixels, condition)
        logits = self.decoder(mean + torch.exp(0.5 * spread) * noise, condition)
        return Bound(-self.log_likelihood(logits, pixels), divergence(mean, spread))
