"""Defuse finds, groups, labels and repairs errors of image classifiers that no test set contains."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from defuse.api import debug
    from defuse.classifiers import CallableClassifier, Classifier, TorchClassifier
    from defuse.config import Config, build_config, read_config
    from defuse.correct import Correct, check, load_suite
    from defuse.data import open_source, split
    from defuse.distill import Distill
    from defuse.errors import DefuseError
    from defuse.generators import VAE
    from defuse.identify import Identify
    from defuse.judges import Judges
    from defuse.label import Majority
    from defuse.pipeline import Run
    from defuse.records import LabelledImages, Splits
    from defuse.results import Results, write_results

_HOMES = {
    "VAE": "generators",
    "CallableClassifier": "classifiers",
    "Classifier": "classifiers",
    "Config": "config",
    "Correct": "correct",
    "DefuseError": "errors",
    "Distill": "distill",
    "Identify": "identify",
    "Judges": "judges",
    "LabelledImages": "records",
    "Majority": "label",
    "Results": "results",
    "Run": "pipeline",
    "Splits": "records",
    "TorchClassifier": "classifiers",
    "build_config": "config",
    "check": "correct",
    "debug": "api",
    "load_suite": "correct",
    "open_source": "data",
    "read_config": "config",
    "split": "data",
    "write_results": "results",
}
"""Where each public name lives; it is imported at its first use, so that ``import defuse`` loads no torch."""

__all__ = [
    "VAE",
    "CallableClassifier",
    "Classifier",
    "Config",
    "Correct",
    "DefuseError",
    "Distill",
    "Identify",
    "Judges",
    "LabelledImages",
    "Majority",
    "Results",
    "Run",
    "Splits",
    "TorchClassifier",
    "build_config",
    "check",
    "debug",
    "load_suite",
    "open_source",
    "read_config",
    "split",
    "write_results",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'defuse' has no attribute {name!r}")
    found: object = getattr(import_module(f"defuse.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
