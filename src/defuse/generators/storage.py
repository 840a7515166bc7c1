"""A generator on disk: ``model.json`` says what it is, ``model.safetensors`` holds its weights."""

from dataclasses import asdict
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from defuse.errors import GeneratorError, RunError
from defuse.generators.base import Generator
from defuse.generators.conv import ConvVAE
from defuse.generators.networks import Architecture, Autoencoder
from defuse.rundir import read_json, write_bytes, write_json

DESCRIPTION, WEIGHTS = "model.json", "model.safetensors"
KIND, VERSION = "conv_vae", 1


def save_generator(folder: Path, generator: Generator) -> None:
    """Write a generator; the description comes last, so that a folder that holds one is complete.

    Raises:
        GeneratorError: a kind of generator that has no file format.
        RunError: the folder cannot be written.
    """
    if not isinstance(generator, ConvVAE):
        raise GeneratorError(f"generator: expected a ConvVAE, got {type(generator).__name__}, which cannot be stored")
    content = save({name: tensor.contiguous() for name, tensor in generator.network.state_dict().items()})
    write_bytes(folder / WEIGHTS, content)
    architecture = asdict(generator.architecture)
    write_json(folder / DESCRIPTION, {"kind": KIND, "version": VERSION, "architecture": architecture})


def load_generator(folder: Path, device: torch.device | str = "cpu") -> ConvVAE:
    """Read a generator that ``save_generator`` wrote.

    Raises:
        GeneratorError: a file is missing, damaged, or does not fit the other.
    """
    shape = _read_description(folder / DESCRIPTION)
    weights = _read_weights(folder / WEIGHTS)
    with torch.random.fork_rng(devices=[]):  # the first weights are thrown away, but drawing them moves the state
        network = Autoencoder(shape)
    _require_fit(folder / WEIGHTS, network.state_dict(), weights)
    network.load_state_dict(weights)
    return ConvVAE(network.to(device))


def _read_description(path: Path) -> Architecture:
    try:
        description = read_json(path)
    except RunError as error:
        raise GeneratorError(str(error)) from None
    if not isinstance(description, dict) or (description.get("kind"), description.get("version")) != (KIND, VERSION):
        raise GeneratorError(f"{path}: expected a generator of kind {KIND!r}, version {VERSION}; fit it again")
    try:
        return TypeAdapter(Architecture).validate_python(description.get("architecture"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in ("architecture", *first["loc"]))
        raise GeneratorError(f"{path}: {key}: {first['msg']}; fit the generator again") from None


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load(path.read_bytes())
    except FileNotFoundError:
        raise GeneratorError(f"{path}: not found; fit the generator again") from None
    except (SafetensorError, OSError) as error:
        raise GeneratorError(f"{path}: cannot be read as safetensors ({error}); fit the generator again") from None


def _require_fit(path: Path, expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    differing = [
        name
        for name in sorted(expected.keys() | found.keys())
        if name not in expected or name not in found or expected[name].shape != found[name].shape
    ]
    if differing:
        raise GeneratorError(
            f"{path}: weights do not fit {DESCRIPTION}: {len(differing)} differ, first {', '.join(differing[:3])}; "
            "fit the generator again"
        )
    if not all(bool(torch.isfinite(tensor).all()) for tensor in found.values()):
        raise GeneratorError(f"{path}: weights hold NaN or infinity; fit the generator again")
