"""From codes to images, as the classifier and the judges see them."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64

from defuse.generators.base import Generator
from defuse.generators.detail import Detail
from defuse.generators.quality import reconstruct
from defuse.records import LabelledImages
from defuse.types import ByteImages, Codes, LabelTensor, Pixels


@dataclass(frozen=True)
class Rendered:
    """The images of codes, in [0, 1].

    Attributes:
        drawn: as the generator decodes them, (n, c, h, w).
        pixels: in fine detail; the same where none is lent, (n, c, h, w).
    """

    drawn: Pixels
    pixels: Pixels


@dataclass(frozen=True)
class Renderer:
    """Makes the images of codes: in the search, for every sample of a region, and for what these are compared with.

    Attributes:
        generator: decodes the codes; it must not need seed images.
        detail: lends every image the fine detail of a real one, so that classifier and judges see what is as sharp as a
            photograph; None leaves images as they are decoded.
    """

    generator: Generator
    detail: Detail | None = None

    def render(self, z: Codes, labels: LabelTensor, choice: Float64[np.ndarray, " n"] | None = None) -> Rendered:
        """Return the images of codes, before they are stored as 8 bits; gradients reach ``z``.

        Args:
            z: (n, latent).
            labels: the class to decode each as, (n,).
            choice: which of the similar real images lends, see ``Detail.lend``; by default the nearest.
        """
        drawn = self.generator.decode(z, labels)
        if self.detail is None:
            return Rendered(drawn, drawn)
        choice = np.zeros(len(z)) if choice is None else choice
        return Rendered(drawn, self.detail.lend(drawn, z.detach().numpy(), labels.numpy(), choice))

    @torch.inference_mode()
    def redraw(self, images: LabelledImages) -> ByteImages:
        """Return real images as they would come out as samples, (n, h, w, c): what samples may be compared with."""
        return reconstruct(self.generator, images) if self.detail is None else self.detail.redraw(images)

    @property
    def smooth(self) -> "Renderer":
        """The same, without detail."""
        return Renderer(self.generator)
