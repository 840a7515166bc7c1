"""People's verdicts as one JSON file, with everything that is known of each."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from defuse.errors import VerdictError
from defuse.label.aggregate import name_of
from defuse.label.store import regions_fingerprint
from defuse.records import Answer, Regions, Verdict
from defuse.rundir import write_json

_Place = Annotated[int, Field(ge=0)]


class _Said(BaseModel):
    """One verdict in the file; ``class`` names the label for people, ``label`` is its index and counts."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    region: str
    annotator: Annotated[str, Field(min_length=1)]
    answer: Annotated[Answer, Field(strict=False)]
    label: _Place | None
    time: str
    shown: Annotated[tuple[_Place, ...], Field(strict=False)] = ()
    crossed: Annotated[tuple[_Place, ...], Field(strict=False)] = ()
    page: str = ""
    adjudicates: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    defuse_verdicts: Literal[1]
    regions: str
    verdicts: tuple[_Said, ...]


def export_json(path: Path, regions: Regions, class_names: Sequence[str], verdicts: Sequence[Verdict]) -> None:
    """Write people's verdicts; machines' are left out, since every run makes its own.

    Raises:
        RunError: the file cannot be written.
    """
    people = [verdict for verdict in verdicts if not verdict.machine]
    value = {
        "defuse_verdicts": 1,
        "regions": regions_fingerprint(regions),
        "verdicts": [_plain(verdict, class_names) for verdict in people],
    }
    write_json(path, value)


def import_json(path: Path, regions: Regions, class_names: Sequence[str]) -> tuple[Verdict, ...]:
    """Read what ``export_json`` wrote.

    Raises:
        VerdictError: naming the file and what is wrong: no such file, no verdicts, those of other regions, an unknown
            region or class.
    """
    try:
        file = _File.model_validate(read_json_file(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VerdictError(f"{path}: {where}: {first['msg']}; write the file with `defuse label export`") from None
    if file.regions != regions_fingerprint(regions):
        raise VerdictError(
            f"{path}: its verdicts speak of other regions ({file.regions}) than this run's "
            f"({regions_fingerprint(regions)}); import them into the run that they were exported from"
        )
    known = {region.name for region in regions.reported}
    for place, said in enumerate(file.verdicts):
        if said.region not in known:
            raise VerdictError(f"{path}: verdicts.{place}.region: {said.region!r} is none of the run's {len(known)}")
        if said.label is not None and said.label >= len(class_names):
            raise VerdictError(
                f"{path}: verdicts.{place}.label: expected 0 to {len(class_names) - 1}, got {said.label}; correct it"
            )
    try:
        return tuple(Verdict(**said.model_dump(), machine=False) for said in file.verdicts)
    except ValueError as error:
        raise VerdictError(f"{path}: {error}; correct it") from None


def read_json_file(path: Path) -> Any:
    """Read a JSON file that a person named.

    Raises:
        VerdictError: it is missing or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise VerdictError(f"{path}: not found; write it with `defuse label export`") from None
    except (OSError, ValueError, RecursionError) as error:
        raise VerdictError(f"{path}: cannot be read as JSON ({error}); export it again") from None


def import_key(verdict: Verdict) -> str:
    """Return the key under which an imported verdict is stored, so that importing a file twice adds nothing."""
    return f"import {hashlib.sha256(repr(verdict).encode()).hexdigest()[:32]}"


def _plain(verdict: Verdict, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "region": verdict.region,
        "annotator": verdict.annotator,
        "answer": verdict.answer.value,
        "label": verdict.label,
        "class": None if verdict.label is None else name_of(verdict.label, class_names),
        "time": verdict.time,
        "shown": list(verdict.shown),
        "crossed": list(verdict.crossed),
        "page": verdict.page,
        "adjudicates": verdict.adjudicates,
    }
