"""Regions and their samples on disk: three files, of which the JSON is written last and marks completeness."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import safetensors.numpy
from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError

from defuse.errors import RunError
from defuse.records import Evidence, Purpose, Region, Regions, RegionSamples
from defuse.rundir import read_json, write_atomically, write_json
from defuse.types import STRICT

_LISTING, _GAUSSIANS, _SAMPLES = "regions.json", "regions.safetensors", "samples.safetensors"
_ADVICE = "remove the folder and run distill again"

_Tensors = dict[str, np.ndarray]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Scalars:
    """A region without its Gaussian."""

    name: str
    label: int
    predicted: int
    weight: float
    support: int
    evidence: Evidence


@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Listing:
    """The JSON file."""

    version: Literal[1] = 1
    regions: tuple[_Scalars, ...]
    samples: tuple[tuple[str, Purpose], ...]
    fitted: int
    dropped: dict[str, int]


_ADAPTER = TypeAdapter(_Listing)


def save_regions(folder: Path, regions: Regions) -> None:
    """Write ``regions.safetensors``, ``samples.safetensors`` and, last, ``regions.json`` (scalars and evidence).

    Equal regions give equal bytes. A crash at any moment leaves a folder without the JSON, which does not load.

    Raises:
        RunError: the folder cannot be written.
    """
    gaussians: _Tensors = {}
    for region in regions.reported:
        gaussians[f"{region.name}/mean"] = region.mean
        gaussians[f"{region.name}/covariance"] = region.covariance
    samples: _Tensors = {}
    for (name, purpose), drawn in regions.samples.items():
        for part in ("images", "z", "predicted", "kept"):
            samples[f"{name}/{purpose.value}/{part}"] = getattr(drawn, part)
    listing = _Listing(
        regions=tuple(
            _Scalars(
                name=region.name,
                label=region.label,
                predicted=region.predicted,
                weight=region.weight,
                support=region.support,
                evidence=region.evidence,
            )
            for region in regions.reported
        ),
        samples=tuple(regions.samples),
        fitted=regions.fitted,
        dropped=dict(regions.dropped),
    )
    _unmark(folder / _LISTING)
    _write_tensors(folder / _GAUSSIANS, gaussians)
    _write_tensors(folder / _SAMPLES, samples)
    write_json(folder / _LISTING, _ADAPTER.dump_python(listing, mode="json"))


def load_regions(folder: Path) -> Regions:
    """Read what ``save_regions`` wrote.

    Raises:
        RunError: a file is missing or damaged, or the files do not belong together.
    """
    path = folder / _LISTING
    try:
        listing = _ADAPTER.validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: {where}: {first['msg']}; {_ADVICE}") from None
    gaussians = _read_tensors(folder / _GAUSSIANS)
    samples = _read_tensors(folder / _SAMPLES)
    try:
        reported = tuple(_join_region(one, gaussians) for one in listing.regions)
        drawn = {(name, purpose): _join_samples(name, purpose, samples) for name, purpose in listing.samples}
    except KeyError as error:
        raise RunError(f"{folder}: tensor {error} is missing; {_ADVICE}") from None
    return Regions(reported, drawn, listing.fitted, listing.dropped)


def _join_region(scalars: _Scalars, tensors: Mapping[str, np.ndarray]) -> Region:
    return Region(
        name=scalars.name,
        label=scalars.label,
        predicted=scalars.predicted,
        mean=tensors[f"{scalars.name}/mean"],
        covariance=tensors[f"{scalars.name}/covariance"],
        weight=scalars.weight,
        support=scalars.support,
        evidence=scalars.evidence,
    )


def _join_samples(name: str, purpose: Purpose, tensors: Mapping[str, np.ndarray]) -> RegionSamples:
    parts = {part: tensors[f"{name}/{purpose.value}/{part}"] for part in ("images", "z", "predicted", "kept")}
    return RegionSamples(name, purpose, **parts)


def _unmark(path: Path) -> None:
    """Remove the mark of completeness before any other file changes."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be replaced ({error.strerror or error}); check the folder's rights") from None


def _write_tensors(path: Path, tensors: _Tensors) -> None:
    data = safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()})

    def write(temporary: Path) -> None:
        temporary.write_bytes(data)

    write_atomically(path, write)


def _read_tensors(path: Path) -> _Tensors:
    try:
        tensors: _Tensors = safetensors.numpy.load(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read ({error.strerror or error}); {_ADVICE}") from None
    except (SafetensorError, ValueError) as error:
        raise RunError(f"{path}: damaged ({str(error).splitlines()[0]}); {_ADVICE}") from None
    return tensors
