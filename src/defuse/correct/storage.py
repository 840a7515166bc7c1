"""The repair on disk: one JSON record, and the repaired weights beside it."""

import copy
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from defuse.classifiers import TorchClassifier, load_weights, save_weights
from defuse.correct.repair import Corrected
from defuse.errors import RunError
from defuse.outcomes import Repair
from defuse.rundir import read_json, write_json

VERSION = 1
"""Of the layout of the record."""

CONTROL = "control.safetensors"
"""The control's weights, beside the repaired ones."""

_REPAIR = TypeAdapter(Repair | None)


def save_repair(path: Path, repair: Repair | None, reason: str = "") -> None:
    """Write the record as JSON, atomically; rates are stored as counts, so no figure is ever NaN."""
    write_json(path, {"version": VERSION, "reason": reason, "repair": _REPAIR.dump_python(repair, mode="json")})


def load_repair(path: Path) -> Repair | None:
    """Read a record back; None when there was nothing to repair.

    Raises:
        RunError: it is missing, damaged or of another version.
    """
    return _parse(path, _content(path))


def save_corrected(record: Path, weights: Path, corrected: Corrected) -> None:
    """Write the models' weights and then the record, whose presence says that all is written.

    Args:
        record: the JSON record.
        weights: of the repaired model, as safetensors; not there when nothing was repaired. The control's lie beside
            it as ``control.safetensors``.
        corrected: what to write.

    Raises:
        RunError: a file cannot be written.
    """
    record.unlink(missing_ok=True)
    _keep(weights, corrected.classifier if _is_repaired(corrected.repair) else None)
    _keep(weights.with_name(CONTROL), corrected.control)
    save_repair(record, corrected.repair, corrected.reason)


def load_corrected(record: Path, weights: Path, classifier: TorchClassifier) -> Corrected:
    """Read what ``save_corrected`` wrote.

    Args:
        record: the JSON record.
        weights: of the repaired model, read only when the record speaks of one.
        classifier: the model that was given to correct; stays unchanged.

    Raises:
        RunError: the record is missing, damaged or of another version.
        ClassifierError: weights are missing or do not fit.
    """
    content = _content(record)
    repair = _parse(record, content)
    repaired = _with_weights(classifier, weights) if _is_repaired(repair) else classifier
    control = weights.with_name(CONTROL)
    return Corrected(
        repair, repaired, content["reason"], _with_weights(classifier, control) if control.exists() else None
    )


def _keep(path: Path, classifier: TorchClassifier | None) -> None:
    if classifier is None:
        path.unlink(missing_ok=True)
    else:
        save_weights(path, classifier.module)


def _with_weights(classifier: TorchClassifier, path: Path) -> TorchClassifier:
    module = copy.deepcopy(classifier.module)
    load_weights(path, module)
    return classifier.with_module(module)


def _is_repaired(repair: Repair | None) -> bool:
    return repair is not None and repair.chosen is not None


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or content.get("version") != VERSION or not isinstance(content.get("reason"), str):
        raise RunError(f"{path}: no record of a repair in layout {VERSION}; remove it and run correct again")
    return content


def _parse(path: Path, content: dict[str, Any]) -> Repair | None:
    try:
        return _REPAIR.validate_python(content.get("repair"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: {where}: {first['msg']}; remove it and run correct again") from None
