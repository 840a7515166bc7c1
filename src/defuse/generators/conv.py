"""A trained convolutional autoencoder as a generator."""

import torch
from jaxtyping import Float
from torch import Tensor

from defuse.generators.base import Generator, Posterior
from defuse.generators.networks import Architecture, Autoencoder
from defuse.types import Codes, LabelTensor, Pixels


class ConvVAE(Generator):
    """Encoder and decoder of a variational autoencoder, conditional or not, frozen.

    Both calls are differentiable in their images and codes; wrap them in ``torch.inference_mode()`` where no
    gradient is wanted. They work on the network's device, answer on that of the question, and do no batching of their
    own.

    Args:
        network: the trained autoencoder; it is switched to evaluation and its weights are frozen.
    """

    def __init__(self, network: Autoencoder) -> None:
        network.zero_grad()  # training left gradients behind
        self.network = network.eval().requires_grad_(requires_grad=False)
        self.latent = network.shape.latent
        self.conditional = network.shape.conditional
        self.image_shape = network.shape.image_shape

    @property
    def architecture(self) -> Architecture:
        """What decides the shapes of the weights."""
        return self.network.shape

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    def encode(self, pixels: Pixels, labels: LabelTensor) -> Posterior:
        """Return mean and standard deviation of q(z | x, y), or of q(z | x) if not conditional, (n, latent)."""
        if not len(pixels):  # torch cannot fold pixels of no images
            return Posterior(pixels.new_zeros(0, self.latent), pixels.new_zeros(0, self.latent))
        mean, log_variance = self.network.encoder(pixels.to(self.device), self._condition(labels))
        return Posterior(mean.to(pixels.device), torch.exp(0.5 * log_variance).to(pixels.device))

    def decode(self, z: Codes, labels: LabelTensor, seed: Pixels | None = None) -> Pixels:  # noqa: ARG002  # learned
        """Return the mean of p(x | z, y), or of p(x | z) if not conditional, (n, c, h, w) in [0, 1]."""
        if not len(z):
            height, width, channels = self.image_shape
            return z.new_zeros(0, channels, height, width)
        logits = self.network.decoder(z.to(self.device), self._condition(labels))
        return torch.sigmoid(logits).contiguous().to(z.device)

    def log_likelihood(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return the evidence lower bound of each image in nats, with the mean code in place of a draw, (n,)."""
        if not len(pixels):
            return pixels.new_zeros(0)
        own = pixels.to(self.device)
        bound = self.network.bound(own, labels.to(self.device), own.new_zeros(len(own), self.latent))
        return -bound.total.to(pixels.device)

    def _condition(self, labels: LabelTensor) -> Tensor:
        return self.network.condition(labels.to(self.device))
