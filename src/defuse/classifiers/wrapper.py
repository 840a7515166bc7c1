"""Classifiers under test: a torch module with its preprocessing, or any function that answers for images."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from defuse.classifiers.base import Classifier
from defuse.errors import ClassifierError
from defuse.pixels import to_bytes
from defuse.types import ByteImages, Pixels

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in grey (ITU-R BT.601)."""


class Preprocess(nn.Module):
    """Resize, match channels, normalise: pixels in [0, 1] become what a module was trained on.

    Args:
        input_size: height and width to resize to (bilinear, antialiased); None leaves the size.
        channels: 1 (RGB becomes grey by ITU-R BT.601) or 3 (grey is repeated); None leaves the channels.
        mean: one value per channel, or one for all, subtracted; None is 0.
        std: one value per channel, or one for all, divided by; None is 1.
        dtype: of the result.

    Raises:
        ClassifierError: a value is out of its range or does not fit the channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        *,
        input_size: tuple[int, int] | None = None,
        channels: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        if input_size is not None and (len(input_size) != 2 or min(input_size) < 1):  # noqa: PLR2004  height, width
            raise ClassifierError(f"input_size: expected two positive numbers (height, width), got {input_size}")
        if channels not in (None, 1, 3):
            raise ClassifierError(f"channels: expected 1 or 3, got {channels}")
        self.input_size = input_size
        self.channels = channels
        self.dtype = dtype
        self.register_buffer("mean", _per_channel("mean", (0.0,) if mean is None else mean, channels), persistent=False)
        self.register_buffer("std", _per_channel("std", (1.0,) if std is None else std, channels), persistent=False)
        if not (self.std > 0).all():
            raise ClassifierError(f"std: expected positive numbers, got {std}")

    def forward(self, pixels: Pixels) -> Tensor:
        """Return the module's input; differentiable."""
        if self.input_size is not None and tuple(pixels.shape[2:]) != tuple(self.input_size):
            pixels = interpolate(pixels, self.input_size, mode="bilinear", align_corners=False, antialias=True)
        pixels = _match_channels(pixels, self.channels)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values.numel() not in (1, pixels.shape[1]):
                raise ClassifierError(
                    f"{name}: expected 1 or {pixels.shape[1]} values, as the images have {pixels.shape[1]} channels, "
                    f"got {values.numel()}; set channels to what the model was trained on"
                )
        return ((pixels - self.mean) / self.std).to(self.dtype)


def _per_channel(name: str, values: Sequence[float], channels: int | None) -> Tensor:
    tensor = torch.tensor(list(values), dtype=torch.float32)
    allowed = (1, 3) if channels is None else (1, channels)
    if len(tensor) not in allowed or not torch.isfinite(tensor).all():
        raise ClassifierError(f"{name}: expected {' or '.join(map(str, allowed))} finite numbers, got {list(values)}")
    return tensor.view(1, -1, 1, 1)


def _match_channels(pixels: Tensor, channels: int | None) -> Tensor:
    if channels is None or pixels.shape[1] == channels:
        return pixels
    if pixels.shape[1] == 1:
        return pixels.expand(-1, channels, -1, -1)
    return (pixels * pixels.new_tensor(LUMA).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into eval mode and give each of its parts its own mode back afterwards."""
    training = [part for part in module.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


class TorchClassifier(Classifier):
    """A torch module and the preprocessing it needs; the module is moved, not copied.

    ``logits`` evaluates in eval mode (batch norm and dropout do not act), whatever mode the module is in, and leaves
    every part of it in the mode it found. It is differentiable in the pixels and in the weights.

    Args:
        module: maps its input to logits, (n, classes).
        class_names: one name per logit.
        input_size: see ``Preprocess``, as are ``channels``, ``mean`` and ``std``.
        channels: as above.
        mean: as above.
        std: as above.
        device: where the module is put and runs; logits come back on the device of the pixels.
        dtype: of the module's weights and input; preprocessing is in float32.

    Raises:
        ClassifierError: the preprocessing's values contradict each other.
    """

    def __init__(
        self,
        module: nn.Module,
        class_names: Sequence[str],
        *,
        input_size: tuple[int, int] | None = None,
        channels: int | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(tuple(class_names))
        self.device = torch.device(device)
        self.dtype = dtype
        self.preprocess = Preprocess(input_size=input_size, channels=channels, mean=mean, std=std, dtype=dtype)
        self.preprocess.to(self.device)
        self.module = module.to(device=self.device, dtype=dtype)

    @property
    def finetunable(self) -> bool:
        """Whether any of its weights may be changed: a parameter with ``requires_grad``."""
        return any(parameter.requires_grad for parameter in self.module.parameters())

    def as_module(self) -> nn.Module:
        """Return preprocessing and module as one module that shares the weights: what to train or fine-tune."""
        return nn.Sequential(self.preprocess, self.module)

    def with_module(self, module: nn.Module, dtype: torch.dtype | None = None) -> "TorchClassifier":
        """Return the same preprocessing and device round another module, in another dtype where one is given."""
        prepare = self.preprocess
        return TorchClassifier(
            module,
            self.class_names,
            input_size=prepare.input_size,
            channels=prepare.channels,
            mean=prepare.mean.flatten().tolist(),
            std=prepare.std.flatten().tolist(),
            device=self.device,
            dtype=dtype or self.dtype,
        )

    def _forward(self, pixels: Pixels) -> Tensor:
        with evaluating(self.module):
            answer: Any = self.module(self.preprocess(pixels.to(self.device)))
        if not isinstance(answer, Tensor):
            raise ClassifierError(
                f"classifier: expected the module to return a tensor of logits, got {type(answer).__name__}; "
                "wrap it in a module that returns the logits alone"
            )
        return answer.to(pixels.device)


class CallableClassifier(Classifier):
    """A black box: any function from images to answers. It can be diagnosed, not repaired.

    The function is given images as they are stored, uint8 (n, h, w, c), so that it never sees an image that could
    not be a file; pixels in between are rounded first. Not differentiable.

    Args:
        fn: returns one row per image, (n, classes), as an array or a tensor. It must be deterministic.
        class_names: one name per column.
        outputs: what the columns are; probabilities are turned into logits by their logarithm.
    """

    def __init__(
        self,
        fn: Callable[[ByteImages], Any],
        class_names: Sequence[str],
        *,
        outputs: Literal["logits", "probabilities"] = "logits",
    ) -> None:
        super().__init__(tuple(class_names))
        self.fn = fn
        self.outputs = outputs

    @property
    def finetunable(self) -> bool:
        """False: nothing is known of its weights."""
        return False

    def _forward(self, pixels: Pixels) -> Tensor:
        answer: Any = self.fn(to_bytes(pixels))
        if isinstance(answer, Tensor):
            answer = answer.detach().cpu().float().numpy()
        try:
            values = torch.from_numpy(np.array(answer, dtype=np.float32))
        except (TypeError, ValueError):
            raise ClassifierError(
                f"classifier: expected the function to return numbers of shape (n, {len(self.class_names)}), "
                f"got {type(answer).__name__}"
            ) from None
        if self.outputs == "probabilities":
            values = _log_probabilities(values)
        return values.to(pixels.device)


def _log_probabilities(values: Tensor) -> Tensor:
    if (values < 0).any() or (values.sum(dim=-1) - 1).abs().gt(1e-3).any():
        raise ClassifierError(
            "classifier: expected probabilities (rows that are positive and sum to 1), got other numbers; "
            "use outputs='logits' if they are logits"
        )
    return values.clamp_min(torch.finfo(torch.float32).tiny).log()
