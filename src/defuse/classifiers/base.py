"""The model under test behind one interface."""

from abc import ABC, abstractmethod

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from defuse.errors import ClassifierError
from defuse.pixels import to_pixels
from defuse.records import LabelledImages, Rate
from defuse.types import ByteImages, Labels, Logits, Mask, Pixels

BATCH = 512
"""How many images are classified at once where the caller does not say."""


class Classifier(ABC):
    """Images in [0, 1] in, logits out.

    A subclass owns resizing, channel handling, normalisation, device and dtype, so that nothing outside ever
    normalises an image. Subclasses write ``_forward`` alone.
    """

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self.class_names = class_names

    @property
    @abstractmethod
    def finetunable(self) -> bool:
        """Whether its weights can be changed; if not, it can be diagnosed but not repaired."""

    @abstractmethod
    def _forward(self, pixels: Pixels) -> Tensor:
        """Return raw logits, unchecked, on the images' device; may be differentiable."""

    def logits(self, pixels: Pixels) -> Logits:
        """Classify images.

        Args:
            pixels: float32 in [0, 1], (n, c, h, w).

        Returns:
            Logits on the images' device, float32, (n, classes).

        Raises:
            ClassifierError: the answer has another width than there are classes, or is not finite.
        """
        logits = self._forward(pixels)
        expected = (len(pixels), len(self.class_names))
        if tuple(logits.shape) != expected:
            raise ClassifierError(
                f"classifier: expected logits of shape {expected} ({len(self.class_names)} classes), "
                f"got {tuple(logits.shape)}; check the number of classes of the model and of the data"
            )
        if not torch.isfinite(logits).all():
            raise ClassifierError("classifier: logits hold NaN or infinity; check its weights and its normalisation")
        return logits.float()

    @torch.inference_mode()
    def predict_logits(self, images: ByteImages, batch: int = BATCH) -> Float32[np.ndarray, "n k"]:
        """Return the logits of stored 8-bit images, computed batch by batch, (n, classes)."""
        parts = [self.logits(to_pixels(images[i : i + batch])).cpu() for i in range(0, len(images), batch)]
        if not parts:
            return np.zeros((0, len(self.class_names)), dtype=np.float32)
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float32)

    def predict(self, images: ByteImages, batch: int = BATCH) -> Labels:
        """Return the most likely class of each stored 8-bit image, (n,)."""
        return self.predict_logits(images, batch).argmax(axis=1).astype(np.int64)

    def reads_right(self, data: LabelledImages) -> Mask:
        """Return which images are read as their label, (n,)."""
        return np.asarray(self.predict(data.images) == data.labels)

    def accuracy(self, data: LabelledImages) -> Rate:
        """Return the share of images that are read as their label."""
        return Rate.of(self.reads_right(data))
