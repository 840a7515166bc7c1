"""The classifier that a regression suite is held against, from what people write on a command line."""

from collections.abc import Sequence
from pathlib import Path

from defuse.classifiers import Classifier, load_classifier
from defuse.config import build_classifier_settings
from defuse.devices import pick_device
from defuse.errors import SuiteError
from defuse.outcomes import Suite


def suite_classifier(
    suite: Suite,
    *,
    factory: str | None,
    weights: Path | None,
    builtin: str = "cnn",
    changes: Sequence[str] = (),
    where: str = "check",
) -> Classifier:
    """Return a classifier of the suite's classes, loaded and asked once on images of the suite's size.

    Args:
        suite: what it will be held against.
        factory: ``module:function``; None for the built-in network.
        weights: to load into it.
        builtin: name of a built-in network.
        changes: preprocessing as ``key=value``, such as ``mean=[0.5]``.
        where: what to name in error messages.

    Raises:
        SuiteError: the suite has no case, so that whatever passes it has passed nothing.
        ConfigError: unknown settings.
        ClassifierError: it cannot be loaded, or does not fit the suite's classes or image size.
    """
    if not suite.cases:
        raise SuiteError("the suite has no case, so nothing can be checked; build it from a run with a labelled region")
    settings = build_classifier_settings(
        {"factory": factory, "builtin": builtin, "weights": weights}, changes, where=where
    )
    height, width, channels = suite.cases[0].images.shape[1:]
    return load_classifier(settings, suite.class_names, (height, width, channels), pick_device())
