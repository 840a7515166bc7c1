"""Weights on disk: safetensors out, safetensors or a state_dict in, and never any code."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from defuse.errors import ClassifierError
from defuse.rundir import write_bytes

NESTED = ("state_dict", "model_state_dict")
"""Keys under which training scripts store the state_dict beside other things."""

PARALLEL = "module."
"""What torch's DataParallel puts before every key."""

SHOWN = 3
"""How many differing keys of each sort a message lists."""


def save_weights(path: Path, module: nn.Module) -> None:
    """Write a module's weights and buffers as safetensors, atomically.

    A tensor that two keys share is written twice, so that any module with the same keys can read it.

    Raises:
        ClassifierError: the module keeps something else than tensors in its state.
        RunError: the file cannot be written.
    """
    state = module.state_dict()
    other = [key for key, value in state.items() if not isinstance(value, Tensor)]
    if other:
        raise ClassifierError(f"{path}: the module's state {other[0]!r} is no tensor and cannot be stored")
    tensors = {key: value.detach().cpu().clone(memory_format=torch.contiguous_format) for key, value in state.items()}
    data = safetensors.torch.save(tensors, metadata={"format": "pt"})
    write_bytes(path, data)


def load_weights(path: Path, module: nn.Module) -> None:
    """Copy weights from a ``.safetensors`` file, or else a torch ``state_dict`` file, into a module.

    A state_dict under the key ``state_dict`` or ``model_state_dict`` is found there; the prefix ``module.`` that
    DataParallel leaves is dropped where all keys have it and the module's own do not. All keys must fit; the module is
    unchanged where they do not.

    Raises:
        ClassifierError: the file is missing, unreadable, holds code, or does not fit.
    """
    own = module.state_dict()
    state = read_state(path)
    if state and all(key.startswith(PARALLEL) for key in state) and not all(key.startswith(PARALLEL) for key in own):
        state = {key.removeprefix(PARALLEL): value for key, value in state.items()}
    differences = _differences(own, state)
    if differences:
        raise ClassifierError(f"{path}: the weights do not fit the network: {differences}")
    module.load_state_dict(state)


def _differences(own: Mapping[str, Any], state: Mapping[str, Tensor]) -> str:
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    wrong = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(value.shape)}"
        for key, value in own.items()
        if key in state and isinstance(value, Tensor) and state[key].shape != value.shape
    ]
    groups = (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
    return "; ".join(f"{name}: {_listed(items)}" for name, items in groups if items)


def _listed(items: list[str]) -> str:
    more = len(items) - SHOWN
    return ", ".join(items[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def read_state(path: Path) -> dict[str, Tensor]:
    """Read named tensors from a ``.safetensors`` file, or else a torch ``state_dict`` file; run no code in it.

    Raises:
        ClassifierError: the file is missing, unreadable, holds code, or holds no named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch thinks of a foreign file is said below, on one line
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ClassifierError(f"{path}: weights not found; check the path or train first") from None
    except OSError as error:
        raise ClassifierError(f"{path}: weights cannot be read ({error.strerror or error})") from None
    except SafetensorError as error:
        raise ClassifierError(f"{path}: no readable safetensors file ({error}); save the weights again") from None
    except pickle.UnpicklingError as error:
        if "global" in str(error).lower():
            raise ClassifierError(
                f"{path}: holds pickled objects beside tensors, which could run code, so it was refused; "
                "save model.state_dict() alone, or safetensors"
            ) from None
        raise ClassifierError(f"{path}: no torch file; save model.state_dict(), or safetensors") from None
    except (RuntimeError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise ClassifierError(f"{path}: no readable torch file, perhaps cut short; save the weights again") from None
    return _named_tensors(path, content)


def _named_tensors(path: Path, content: Any) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        nested = [content[key] for key in NESTED if isinstance(content.get(key), Mapping)]
        state = nested[0] if nested else content
        if state and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()):
            return dict(state)
    raise ClassifierError(
        f"{path}: expected a state_dict (names and tensors), got {type(content).__name__}; save model.state_dict()"
    )
