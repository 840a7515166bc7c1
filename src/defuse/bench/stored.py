"""What a benchmark's file of results holds already, for a command that adds to it."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from defuse.errors import ConfigError, RunError
from defuse.rundir import read_json
from defuse.summary import Part

_Kind = TypeVar("_Kind", bound=Part)


def stored_parts(path: Path, key: str, kind: type[_Kind]) -> list[_Kind]:
    """Return the parts that lie under ``key``; none where there is no file.

    Raises:
        ConfigError: the file holds something else.
    """
    if not path.exists():
        return []
    try:
        return [kind.model_validate(part) for part in read_json(path)[key]]
    except (KeyError, TypeError, RunError, ValidationError):
        raise ConfigError(f"--json {path}: holds something else than results of this command; name another") from None
