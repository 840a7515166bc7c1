"""A regression suite on disk: ``suite.json`` for people and hashes, ``images.safetensors`` for the images."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from defuse.errors import RunError, SuiteError
from defuse.outcomes import Suite, SuiteCase
from defuse.rundir import read_json, write_atomically, write_json

DESCRIPTION, IMAGES = "suite.json", "images.safetensors"

LAYOUT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

Size = Annotated[int, Field(ge=1)]


class _Class(BaseModel):
    """A class by index and, for the reader, by name."""

    model_config = LAYOUT

    index: Annotated[int, Field(ge=0)]
    name: str


class _Case(BaseModel):
    """One case as it stands in ``suite.json``; ``image_shape`` is height, width, channels."""

    model_config = LAYOUT

    region: Annotated[str, Field(min_length=1)]
    label: _Class
    predicted_before: _Class
    max_failure_rate: Annotated[float, Field(ge=0, le=1)]
    images: Size
    image_shape: Annotated[list[Size], Field(min_length=3, max_length=3)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Description(BaseModel):
    """The whole of ``suite.json``."""

    model_config = LAYOUT

    version: Literal[1] = 1
    class_names: list[str]
    cases: list[_Case]

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
    description = _Description(
        class_names=list(suite.class_names), cases=[_describe(case, suite.class_names) for case in suite.cases]
    )
    write_atomically(folder / IMAGES, lambda temporary: save_file(images, temporary))
    write_json(folder / DESCRIPTION, description.model_dump(mode="json"))


def load_suite(folder: Path) -> Suite:
    """Read a suite and check every image against its hash.

    Raises:
        SuiteError: a file is missing, damaged, of another version, or was changed; the message names it.
    """
    description = _read_description(folder / DESCRIPTION)
    path = folder / IMAGES
    images = _read_images(path)
    expected = {case.region for case in description.cases}
    if images.keys() != expected:
        odd = ", ".join(sorted(images.keys() ^ expected))
        raise SuiteError(f"{path}: its cases differ from {DESCRIPTION} ({odd}); restore both files of the suite")
    cases = tuple(_read_case(path, case, images[case.region]) for case in description.cases)
    return Suite(tuple(description.class_names), cases)


def _describe(case: SuiteCase, class_names: tuple[str, ...]) -> _Case:
    return _Case(
        region=case.region,
        label=_Class(index=case.label, name=class_names[case.label]),
        predicted_before=_Class(index=case.predicted_before, name=class_names[case.predicted_before]),
        max_failure_rate=case.max_failure_rate,
        images=len(case.images),
        image_shape=list(case.images.shape[1:]),
        sha256=_hash(case.images),
    )


def _hash(images: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()


def _read_description(path: Path) -> _Description:
    try:
        return _Description.model_validate(read_json(path))
    except RunError:
        raise SuiteError(f"{path}: missing or no JSON; give the folder of a suite that defuse wrote") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "contents"
        raise SuiteError(f"{path}: {where}: {first['msg']}; restore the file or build the suite again") from None


def _read_images(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return dict(load_file(path))
    except FileNotFoundError:
        raise SuiteError(f"{path}: missing; restore the file or build the suite again") from None
    except (SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise SuiteError(f"{path}: damaged ({reason}); restore the file or build the suite again") from None


def _read_case(path: Path, case: _Case, images: NDArray[Any]) -> SuiteCase:
    shape = (case.images, *case.image_shape)
    if images.dtype != np.uint8 or images.shape != shape or _hash(images) != case.sha256:
        raise SuiteError(f"{path}: the images of {case.region} were changed (hash mismatch); restore the file")
    return SuiteCase(case.region, case.label.index, case.predicted_before.index, images, case.max_failure_rate)
