"""What draws images: a latent space with an encoder and a decoder."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from defuse.errors import GeneratorError
from defuse.types import Codes, LabelTensor, Pixels


@dataclass(frozen=True)
class Posterior:
    """Mean and standard deviation of the code of each image, both (n, latent)."""

    mean: Codes
    std: Codes


class Generator(ABC):
    """A map from codes to natural-looking images and back.

    Attributes:
        latent: dimension of the latent space.
        conditional: whether ``decode`` uses the label; if so a code is style and the label is content.
        image_shape: height, width, channels of the images.
    """

    latent: int
    conditional: bool
    image_shape: tuple[int, int, int]

    @abstractmethod
    def encode(self, pixels: Pixels, labels: LabelTensor) -> Posterior:
        """Return the codes of images in [0, 1]; an unconditional generator ignores the labels."""

    @abstractmethod
    def decode(self, z: Codes, labels: LabelTensor, seed: Pixels | None = None) -> Pixels:
        """Return images in [0, 1], (n, c, h, w).

        An unconditional generator ignores the labels. A learned generator ignores ``seed``; a generator that
        transforms real images needs it.
        """

    def log_likelihood(self, pixels: Pixels, labels: LabelTensor) -> Float[Tensor, " n"]:
        """Return a lower bound of log p(x | y) of each image, in nats, (n,); a conditional generator's depends on y.

        Raises:
            GeneratorError: this kind of generator has no likelihood.
        """
        del pixels, labels
        raise GeneratorError(
            f"generator: {type(self).__name__} has no likelihood; drop the gate of kind plausible from identify.gates"
        )
