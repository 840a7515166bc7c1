"""From settings to a classifier that has answered once."""

import difflib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass
from torch import nn

from defuse.classifiers.base import Classifier
from defuse.classifiers.networks import build_network
from defuse.classifiers.training import Training
from defuse.classifiers.weights import load_weights, save_weights
from defuse.classifiers.wrapper import TorchClassifier
from defuse.errors import ClassifierError
from defuse.types import STRICT

__all__ = [
    "ClassifierSettings",
    "ask_once",
    "load_classifier",
    "load_weights",
    "new_classifier",
    "require_classes",
    "save_weights",
]

Side = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierSettings:
    """Which classifier is under test, and how images are prepared for it.

    Attributes:
        builtin: a network of ``NETWORKS``; used where no factory is given.
        factory: ``module:function``; called without arguments, it returns a ``torch.nn.Module`` or a ``Classifier``.
            The module is looked for in the current folder first, then where Python looks.
        weights: ``.safetensors`` or a torch ``state_dict`` file; a factory may do without.
        input_size: height and width that the network takes; images are resized to it. None: as they are.
        channels: 1 or 3, what the network takes; images are converted. None: as they are.
        mean: subtracted from pixels in [0, 1], one value per channel or one for all. None: 0.
        std: divides the pixels after that, one value per channel or one for all. None: 1.
        training: used when Defuse itself trains the network.
    """

    builtin: str | None = "cnn"
    factory: str | None = None
    weights: Path | None = None
    input_size: tuple[Side, Side] | None = None
    channels: Annotated[int, Field(ge=1, le=3)] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    training: Training = Field(default_factory=Training)

    @property
    def trained_here(self) -> bool:
        """Whether the network comes without weights, so that Defuse trains it."""
        return self.factory is None and self.weights is None

    @property
    def prepares(self) -> bool:
        """Whether any preprocessing is set."""
        return any(value is not None for value in (self.input_size, self.channels, self.mean, self.std))


def load_classifier(
    settings: ClassifierSettings,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    device: torch.device | str = "cpu",
) -> Classifier:
    """Return the classifier under test, loaded and asked once.

    Args:
        settings: which one.
        class_names: of the data, one per logit.
        image_shape: height, width, channels of the data.
        device: where it runs.

    Raises:
        ClassifierError: it cannot be built, its weights cannot be read or do not fit, or its answers are no logits.
    """
    if settings.trained_here:
        raise ClassifierError(
            f"classifier.weights: the built-in network {settings.builtin!r} has none; "
            "name a file, train one (`defuse train`), or set classifier.factory to your own"
        )
    classifier = _build(settings, class_names, image_shape, device, seed=0)
    if settings.weights is not None:
        if not isinstance(classifier, TorchClassifier):
            raise ClassifierError(
                f"classifier.weights: {settings.factory} returns a {type(classifier).__name__}, which has no weights "
                "to load; remove classifier.weights"
            )
        load_weights(settings.weights, classifier.module)
    ask_once(classifier, image_shape, _origin(settings))
    return classifier


def new_classifier(
    settings: ClassifierSettings,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> TorchClassifier:
    """Return the classifier as it is before training, for ``train(classifier.as_module(), ...)``.

    ``settings.weights`` is not read. ``seed`` decides the weights of a built-in network; a factory's are its own.

    Raises:
        ClassifierError: it cannot be built, cannot be trained, or its answers are no logits.
    """
    classifier = _build(settings, class_names, image_shape, device, seed=seed)
    if not isinstance(classifier, TorchClassifier):
        raise ClassifierError(f"classifier.factory: {settings.factory} returns a classifier that cannot be trained")
    ask_once(classifier, image_shape, _origin(settings))
    return classifier


def _origin(settings: ClassifierSettings) -> str:
    if settings.factory is not None:
        return f"classifier.factory: {settings.factory}"
    return f"classifier.builtin: {settings.builtin}"


def _build(
    settings: ClassifierSettings,
    class_names: Sequence[str],
    image_shape: tuple[int, int, int],
    device: torch.device | str,
    *,
    seed: int,
) -> Classifier:
    if settings.factory is not None:
        made = _from_factory(settings.factory)
        if isinstance(made, Classifier):
            return _accepted(made, settings, class_names)
        module = made
    elif settings.builtin is not None:
        size = max(settings.input_size or image_shape[:2])
        channels = settings.channels or image_shape[2]
        module = build_network(settings.builtin, channels, len(class_names), size, seed=seed)
    else:
        raise ClassifierError("classifier: neither builtin nor factory is set; set one of them")
    return TorchClassifier(
        module,
        class_names,
        input_size=settings.input_size,
        channels=settings.channels,
        mean=settings.mean,
        std=settings.std,
        device=device,
    )


def _accepted(classifier: Classifier, settings: ClassifierSettings, class_names: Sequence[str]) -> Classifier:
    if settings.prepares:
        raise ClassifierError(
            f"classifier.factory: {settings.factory} returns a Classifier, which prepares images itself; "
            "remove input_size, channels, mean and std"
        )
    require_classes(classifier, class_names, _origin(settings))
    return classifier


def require_classes(classifier: Classifier, class_names: Sequence[str], origin: str) -> None:
    """Check that a classifier, which came from ``origin``, speaks of the data's classes.

    Raises:
        ClassifierError: it has others, or the same in another order.
    """
    mine, theirs = classifier.class_names, tuple(class_names)
    if len(mine) != len(theirs):
        raise ClassifierError(
            f"{origin}: has {len(mine)} classes, the data {len(theirs)}; they must be the same, in the same order"
        )
    differing = [index for index, (one, other) in enumerate(zip(mine, theirs, strict=True)) if one != other]
    if differing:
        index = differing[0]
        raise ClassifierError(
            f"{origin}: class {index} is {mine[index]!r}, the data's is {theirs[index]!r}; they must be the same, in "
            "the same order"
        )


def _from_factory(reference: str) -> Classifier | nn.Module:
    """Call ``module:function``."""
    made = _call(_find(reference), reference)
    if isinstance(made, Classifier | nn.Module):
        return made
    raise ClassifierError(
        f"classifier.factory: {reference} must return a torch.nn.Module or a defuse Classifier, "
        f"got {type(made).__name__}"
    )


def _find(reference: str) -> Callable[[], Any]:
    module_name, colon, function_name = reference.partition(":")
    if not (module_name and colon and function_name):
        raise ClassifierError(f"classifier.factory: expected module:function, got {reference!r}")
    with _current_folder_importable():
        try:
            importlib.invalidate_caches()
            module = importlib.import_module(module_name)
        except (Exception, SystemExit) as error:  # noqa: BLE001  a user's module may raise anything
            raise ClassifierError(
                f"classifier.factory: module {module_name!r} does not import ({_reason(error)}); "
                "run from the folder that holds it, or install it"
            ) from None
    function = getattr(module, function_name, None)
    if function is None:
        near = difflib.get_close_matches(function_name, [name for name in dir(module) if not name.startswith("_")], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ClassifierError(f"classifier.factory: module {module_name!r} has no {function_name!r}{hint}")
    if not callable(function):
        raise ClassifierError(
            f"classifier.factory: {reference} is a {type(function).__name__}, expected a function without arguments"
        )
    found: Callable[[], Any] = function
    return found


def _call(function: Callable[[], Any], reference: str) -> Any:
    with _current_folder_importable():
        try:
            return function()
        except ClassifierError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  a user's function may raise anything
            raise ClassifierError(
                f"classifier.factory: {reference} failed ({_reason(error)}); it is called without arguments"
            ) from None


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


def ask_once(classifier: Classifier, image_shape: tuple[int, int, int], origin: str) -> None:
    """Ask for one blank and one random image, so that a misfit shows now and not an hour later.

    Raises:
        ClassifierError: it fails, or its answers are no logits of its classes; ``origin`` says where it came from.
    """
    height, width, channels = image_shape
    noise = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            classifier.logits(torch.cat([torch.zeros_like(noise), noise]))
    except ClassifierError as error:
        raise ClassifierError(f"{origin}: {error}") from None
    except Exception as error:  # noqa: BLE001  a user's module may raise anything
        raise ClassifierError(
            f"{origin}: fails on images of height {height}, width {width} and {channels} channels "
            f"({_reason(error)}); set classifier.input_size and classifier.channels to what it takes"
        ) from None


def _reason(error: BaseException) -> str:
    """Return an exception on one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
