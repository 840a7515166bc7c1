"""A regression suite on disk: ``suite.json`` for people and hashes; images and latent codes as safetensors.

``suite.json`` may be changed by people in one place: the ``triage`` of a case. Everything else has a hash.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from defuse.errors import RunError, SuiteError
from defuse.outcomes import UNTRIED, CaseSource, Suite, SuiteCase, Triage
from defuse.records import Rate
from defuse.rundir import read_json, write_atomically, write_json

DESCRIPTION, IMAGES, LATENTS = "suite.json", "images.safetensors", "latents.safetensors"

LAYOUT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

Size = Annotated[int, Field(ge=1)]

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Class(BaseModel):
    """A class by index and, for the reader, by name."""

    model_config = LAYOUT

    index: Annotated[int, Field(ge=0)]
    name: str


class _Measured(BaseModel):
    """Whose failures the threshold is from: the upper 95 % Wilson bound of this rate, or 0.5 where that is higher."""

    model_config = LAYOUT

    failures: Annotated[int, Field(ge=0)]
    images: Size


class _Source(BaseModel):
    """Where the images came from; ``sha256`` is of the latent codes."""

    model_config = LAYOUT

    generator: str
    seed: int
    latents: Annotated[int, Field(ge=0)]
    sha256: Hash


class _Case(BaseModel):
    """One case as it stands in ``suite.json``; ``image_shape`` is height, width, channels."""

    model_config = LAYOUT

    region: Annotated[str, Field(min_length=1)]
    label: _Class
    predicted_before: _Class
    triage: Literal["open", "repaired", "accepted"]
    max_failure_rate: Annotated[float, Field(ge=0, le=1)]
    measured: _Measured | None
    images: Size
    image_shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    sha256: Hash
    source: _Source | None


class _Description(BaseModel):
    """The whole of ``suite.json``; ``sha256`` is of everything else in it but the triage."""

    model_config = LAYOUT

    version: Literal[2] = 2
    class_names: list[str]
    cases: list[_Case]
    sha256: str = ""

    @property
    def hash(self) -> str:
        """SHA-256 of the contents as JSON, sorted and without spaces, less ``sha256`` and every ``triage``."""
        plain = self.model_dump(mode="json", exclude={"sha256": True, "cases": {"__all__": {"triage"}}})
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @model_validator(mode="after")
    def _consistent(self) -> "_Description":
        names = [case.region for case in self.cases]
        if len(set(names)) < len(names):
            raise ValueError("two cases have the same region")
        known = dict(enumerate(self.class_names))
        for case in self.cases:
            for entry in (case.label, case.predicted_before):
                if known.get(entry.index) != entry.name:
                    raise ValueError(f"{case.region}: class {entry.index} is not {entry.name!r} in class_names")
        return self


def save_suite(folder: Path, suite: Suite) -> None:
    """Write a suite; the same suite gives the same bytes.

    Each file is written atomically, the description last: a stop between the two leaves hashes that do not match,
    which ``load_suite`` refuses, never a suite that mixes old and new unnoticed.

    Args:
        folder: made if it is missing.
        suite: region names must differ.

    Raises:
        RunError: the disk is full or the folder cannot be written.
    """
    images = {case.region: np.ascontiguousarray(case.images) for case in suite.cases}
    latents = {case.region: np.ascontiguousarray(case.source.z) for case in suite.cases if case.source}
    description = _Description(
        class_names=list(suite.class_names), cases=[_describe(case, suite.class_names) for case in suite.cases]
    )
    write_atomically(folder / IMAGES, lambda temporary: save_file(images, temporary))
    write_atomically(folder / LATENTS, lambda temporary: save_file(latents, temporary))
    write_json(
        folder / DESCRIPTION, description.model_copy(update={"sha256": description.hash}).model_dump(mode="json")
    )


def load_suite(folder: Path) -> Suite:
    """Read a suite and check everything against its hash; only the triage of a case may have been changed.

    Raises:
        SuiteError: a file is missing, damaged, of another version, or was changed; the message names it.
    """
    description = _read_description(folder / DESCRIPTION)
    images = _read_arrays(folder / IMAGES, {case.region for case in description.cases})
    latents = _read_arrays(folder / LATENTS, {case.region for case in description.cases if case.source})
    cases = tuple(_read_case(folder, case, images[case.region], latents.get(case.region)) for case in description.cases)
    return Suite(tuple(description.class_names), cases)


def keep_accepted(folder: Path, suite: Suite) -> Suite:
    """Return a suite in which regions that people accepted in an earlier one, on the very same images, stay accepted.

    Args:
        folder: of the earlier suite; where there is none, nothing is kept.
        suite: the new one.

    Raises:
        SuiteError: the earlier description was changed beyond its triage, which the new one would overwrite.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        return suite
    earlier = {
        case.region: case.sha256 for case in _read_description(path).cases if Triage(case.triage) is Triage.ACCEPTED
    }
    cases = tuple(
        replace(case, triage=Triage.ACCEPTED) if earlier.get(case.region) == _hash(case.images) else case
        for case in suite.cases
    )
    return Suite(suite.class_names, cases)


def _describe(case: SuiteCase, class_names: tuple[str, ...]) -> _Case:
    measured, source = case.measured, case.source
    return _Case(
        region=case.region,
        label=_Class(index=case.label, name=class_names[case.label]),
        predicted_before=_Class(index=case.predicted_before, name=class_names[case.predicted_before]),
        triage=case.triage.value,
        max_failure_rate=case.max_failure_rate,
        measured=_Measured(failures=measured.successes, images=measured.trials) if measured.trials else None,
        images=len(case.images),
        image_shape=list(case.images.shape[1:]),
        sha256=_hash(case.images),
        source=source
        and _Source(generator=source.generator, seed=source.seed, latents=source.z.shape[1], sha256=_hash(source.z)),
    )


def _hash(images: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


def _read_description(path: Path) -> _Description:
    try:
        description = _Description.model_validate(read_json(path))
    except RunError:
        raise SuiteError(f"{path}: missing or no JSON; give the folder of a suite that defuse wrote") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "contents"
        raise SuiteError(f"{path}: {where}: {first['msg']}; restore the file or build the suite again") from None
    if description.hash != description.sha256:
        raise SuiteError(
            f"{path}: was changed (hash mismatch); only the triage of a case may be: restore the file or build the "
            "suite again"
        )
    return description


def _read_arrays(path: Path, expected: set[str]) -> dict[str, NDArray[Any]]:
    try:
        found = dict(load_file(path))
    except FileNotFoundError:
        raise SuiteError(f"{path}: missing; restore the file or build the suite again") from None
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SuiteError(f"{path}: damaged ({reason}); restore the file or build the suite again") from None
    if found.keys() != expected:
        odd = ", ".join(sorted(found.keys() ^ expected))
        raise SuiteError(f"{path}: its cases differ from {DESCRIPTION} ({odd}); restore every file of the suite")
    return found


def _read_case(folder: Path, case: _Case, images: NDArray[Any], z: NDArray[Any] | None) -> SuiteCase:
    shape = (case.images, *case.image_shape)
    if images.dtype != np.uint8 or images.shape != shape or _hash(images) != case.sha256:
        raise _changed(folder / IMAGES, "images", case.region)
    source = None
    if case.source is not None and z is not None:
        if z.dtype != np.float32 or z.shape != (case.images, case.source.latents) or _hash(z) != case.source.sha256:
            raise _changed(folder / LATENTS, "latent codes", case.region)
        source = CaseSource(case.source.generator, case.source.seed, z)
    return SuiteCase(
        case.region,
        case.label.index,
        case.predicted_before.index,
        images,
        case.max_failure_rate,
        Rate(case.measured.failures, case.measured.images) if case.measured else UNTRIED,
        Triage(case.triage),
        source,
    )


def _changed(path: Path, what: str, region: str) -> SuiteError:
    return SuiteError(f"{path}: the {what} of {region} were changed (hash mismatch); restore the file")
