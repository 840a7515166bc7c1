"""What a run starts from, as its configuration names it: the images and the classifier."""

import logging
from pathlib import Path

from defuse.classifiers import (
    Classifier,
    TorchClassifier,
    load_classifier,
    load_weights,
    new_classifier,
    save_weights,
    train,
)
from defuse.config import Config
from defuse.data import open_source, split
from defuse.progress import Progress, silent
from defuse.records import Splits
from defuse.seeds import derive

_LOG = logging.getLogger(__name__)


def load_or_train(config: Config, splits: Splits, path: Path, *, progress: Progress = silent) -> Classifier:
    """Return the configured classifier; a network that comes without weights is trained, unless ``path`` holds them.

    Raises:
        ClassifierError: it cannot be loaded or trained.
    """
    settings = config.classifier
    if not settings.trained_here:
        return load_classifier(settings, splits.class_names, splits.reference.image_shape, config.device)
    if not path.exists():
        return train_classifier(config, splits, path, progress=progress)
    classifier = untrained(config, splits)
    load_weights(path, classifier.module)
    return classifier


def train_classifier(config: Config, splits: Splits, path: Path, *, progress: Progress = silent) -> TorchClassifier:
    """Train the configured network on the reference images and store its weights.

    Raises:
        ClassifierError: the network cannot be built or its training diverges.
    """
    classifier = untrained(config, splits)
    seed = derive(config.seed, "classifier", "training")
    train(
        classifier.as_module(),
        splits.reference,
        splits.validation,
        config.classifier.training,
        seed=seed,
        progress=progress,
    )
    save_weights(path, classifier.module)
    return classifier


def untrained(config: Config, splits: Splits) -> TorchClassifier:
    """Return the configured network as it is before training.

    Raises:
        ClassifierError: it cannot be built or trained.
    """
    seed = derive(config.seed, "classifier", "weights")
    shape = splits.reference.image_shape
    return new_classifier(config.classifier, splits.class_names, shape, seed=seed, device=config.device)


def read_splits(config: Config) -> Splits:
    """Read the configured data set and split it; say how many images were skipped, where that was asked for.

    Raises:
        DataError: it cannot be used.
    """
    source = open_source(config.data.source, config.data.class_names, config.data).read()
    if source.skipped:
        first = source.skipped[0]
        _LOG.warning("skipped %d unreadable images; the first: %s (%s)", len(source.skipped), first.where, first.reason)
    return split(source, config.data.split, seed=derive(config.seed, "split"))
