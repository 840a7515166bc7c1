"""Opening a run's folder: the lock, and the manifest that says which run lives there."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from defuse.classifiers import Classifier, TorchClassifier, load_classifier
from defuse.config import Config, build_config
from defuse.distill import CostMatrix
from defuse.errors import ConfigError, RunError
from defuse.records import Splits
from defuse.redo import forget, remade
from defuse.rundir import RunDir, read_json, write_json
from defuse.types import ByteImages
from defuse.versions import versions

SCHEMA = 1
"""Version of the folder's layout."""

ASKED = 256
"""Images whose answers tell one classifier from another."""


def data_fingerprint(splits: Splits) -> str:
    """Return a hash of every image and label that the run may see, and of which validation images go together."""
    digest = hashlib.sha256(repr((splits.class_names, splits.reference.image_shape)).encode())
    for part in (splits.reference, splits.validation, splits.test):
        for array in (part.images, part.labels):
            digest.update(np.ascontiguousarray(array).data)
    if splits.validation_groups is not None:
        digest.update(np.ascontiguousarray(splits.validation_groups).data)
    return digest.hexdigest()[:16]


def classifier_fingerprint(classifier: Classifier | None, images: ByteImages) -> str:
    """Return a hash of what is under test: its answers on some images, and a module's code, weights and preprocessing.

    Args:
        classifier: None where the run trains it, so that the configuration and the data decide its weights.
        images: ``ASKED`` of them, evenly spread, are classified; all that a black box can be told apart by.
    """
    if classifier is None:
        return "built-in"
    digest = hashlib.sha256(type(classifier).__name__.encode())
    spread = np.linspace(0, len(images) - 1, min(ASKED, len(images))).astype(int)
    digest.update(classifier.predict(images[spread]).tobytes())
    if isinstance(classifier, TorchClassifier):
        prepare = classifier.preprocess
        prepared = (prepare.input_size, prepare.channels, prepare.mean.tolist(), prepare.std.tolist(), prepare.dtype)
        digest.update(repr((prepared, classifier.module)).encode())
        for name, tensor in sorted(classifier.module.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def fingerprints(config: Config, splits: Splits, classifier: Classifier | None, costs: CostMatrix) -> dict[str, str]:
    """Return a hash of everything that a run rests on and that its configuration only names, by what it is.

    Args:
        config: what to do.
        splits: the images.
        classifier: what is under test; None where the run trains it.
        costs: what each wrong answer costs; told apart only where any were given.

    Raises:
        ClassifierError: the user's own judge cannot be loaded, or does not fit the data.
    """
    marks = {
        "data": data_fingerprint(splits),
        "classifier": classifier_fingerprint(classifier, splits.validation.images),
    }
    if config.cost.given:
        marks["costs"] = hashlib.sha256(costs.tobytes()).hexdigest()[:16]
    if config.judges.own is not None:
        judge = load_classifier(config.judges.own, splits.class_names, splits.reference.image_shape, config.device)
        marks["judge"] = classifier_fingerprint(judge, splits.validation.images)
    return marks


def refuse_foreign(folder: RunDir) -> None:
    """Check that a folder is new, empty or a run's, before anything is put there.

    Raises:
        RunError: it holds something else.
    """
    begun = {".lock", f".{folder.manifest.name}.tmp"}  # all that a run killed at its very start leaves
    new = folder.root.is_dir() and not folder.manifest.exists()
    if new and any(path.name not in begun for path in folder.root.iterdir()):
        raise RunError(f"{folder.root}: not empty and not a run's folder; choose another with --out")


def claim(folder: RunDir, config: Config, marks: Mapping[str, str], *, redo: bool = False) -> None:
    """Write the manifest of a new folder, or check that the folder belongs to this very run.

    A resumed run takes the thread count of the manifest, since results may differ in the last bit between counts. A
    setting that came later than the folder is taken to have had its default, so that an update of Defuse leaves runs
    readable.

    Args:
        folder: of the run.
        config: what to do.
        marks: see ``fingerprints``.
        redo: where configuration, classifier, judge or costs have changed, remove the results that rest on what has
            changed, and take the folder over.

    Raises:
        RunError: the folder belongs to another configuration, data, classifier, judge or costs; the
            first differing key is named. With ``redo`` only where nothing could be kept or people's work would go.
    """
    identity = {"schema": SCHEMA, "config": config.plain(), **marks}
    if not folder.manifest.exists():
        threads = torch.get_num_threads()
        write_json(folder.manifest, {**identity, "threads": threads, "versions": versions()})
        return
    found = _read_manifest(folder)
    mine, theirs = _flat(json.loads(json.dumps(identity))), _flat(found | {"config": _completed(found["config"])})
    told = {key for key in theirs if key != "threads" and not key.startswith("versions.")}
    changed = sorted(key for key in mine.keys() | told if mine.get(key) != theirs.get(key))
    hopeless = [key for key in changed if remade(key) is None]
    for key in hopeless if redo else changed:
        keep = "" if hopeless else "add --redo to keep what does not rest on it, "
        raise RunError(
            f"{folder.root}: holds a run with {key} = {theirs.get(key)!r}, not {mine.get(key)!r}; "
            f"use the same configuration to go on, {keep}or use another --out"
        )
    if changed:
        forget(folder, changed)
        write_json(folder.manifest, {**identity, "threads": found["threads"], "versions": versions()})
    torch.set_num_threads(int(found["threads"]))


def stored_config(folder: RunDir) -> Config:
    """Return the configuration of the run that lives in a folder.

    Raises:
        RunError: there is no run.
    """
    if not folder.manifest.exists():
        raise RunError(f"{folder.root}: no run here (no manifest.json); start one with `defuse run`")
    return build_config(_read_manifest(folder)["config"], where=str(folder.manifest))


def _completed(stored: dict[str, Any]) -> dict[str, Any]:
    """Return a stored configuration with what the Defuse that stored it did not know yet, at its default."""
    try:
        return build_config(stored).plain()
    except ConfigError:
        return stored  # it has what this Defuse does not know: the differing key is named


def _read_manifest(folder: RunDir) -> dict[str, Any]:
    manifest = read_json(folder.manifest)
    if (
        not isinstance(manifest, dict)
        or not isinstance(manifest.get("config"), dict)
        or not isinstance(manifest.get("threads"), int)
    ):
        raise RunError(f"{folder.manifest}: no manifest of a run; restore it, or start anew with another --out")
    return manifest


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, list):
        value = {str(place): item for place, item in enumerate(value)}
    if not isinstance(value, Mapping):
        return {prefix.removesuffix("."): value}
    return {key: leaf for name, item in value.items() for key, leaf in _flat(item, f"{prefix}{name}.").items()}
