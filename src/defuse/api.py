"""``defuse.debug``: the whole job in one call, for scripts and notebooks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from defuse.classifiers import CallableClassifier, Classifier, TorchClassifier
from defuse.config import build_config
from defuse.inputs import read_splits
from defuse.pipeline import Run
from defuse.progress import Progress, silent
from defuse.records import Splits
from defuse.results import Results, write_results

IN_MEMORY = "in memory"
"""What stands for the data's path when images are given as arrays."""


def debug(
    classifier: Classifier | nn.Module | Callable[..., Any],
    data: Splits | str | Path,
    out: str | Path,
    *,
    preset: str = "default",
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
    progress: Progress = silent,
    redo: bool = False,
) -> Results:
    """Find, group, label and repair a classifier's errors.

    Args:
        classifier: a ``Classifier``; a module that takes images in [0, 1], (n, c, h, w), and returns logits; or any
            other callable, as ``CallableClassifier`` describes (then there is no repair). A module is moved to the
            run's device; one that needs resizing or normalisation is wrapped first: ``TorchClassifier(module,
            class_names, mean=..., std=..., device=...)``.
        data: the images, split already, or the path of a data set.
        out: folder of the run; the same call goes on where an interrupted one stopped.
        preset: ``default``, or ``paper`` (the published method).
        seed: of every random step.
        settings: the configuration's sections, such as ``{"identify": {"budget": 50_000}}``.
        progress: told how far each step is.
        redo: where the folder holds a run with other settings, keep what does not rest on the change.

    Returns:
        The summary and where the report lies; in a notebook it shows itself.

    Raises:
        DefuseError: data, classifier or settings cannot be used, or the folder belongs to another run.
    """
    source = IN_MEMORY if isinstance(data, Splits) else str(data)
    given = {**(settings or {}), "preset": preset, "seed": seed}
    config = build_config(given, where="settings", defaults={"data": {"source": source}})
    splits = data if isinstance(data, Splits) else read_splits(config)
    under_test = _as_classifier(classifier, splits, config.device)
    with Run(config, Path(out), classifier=under_test, splits=splits, progress=progress, redo=redo) as run:
        return write_results(run)


def _as_classifier(classifier: Classifier | nn.Module | Callable[..., Any], splits: Splits, device: str) -> Classifier:
    if isinstance(classifier, Classifier):
        return classifier
    if isinstance(classifier, nn.Module):
        return TorchClassifier(classifier, splits.class_names, device=device)
    return CallableClassifier(classifier, splits.class_names)
