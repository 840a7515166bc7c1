"""Classifiers: the interface, torch modules and black boxes behind it, loading, training, small networks."""

from defuse.classifiers.base import BATCH, Classifier
from defuse.classifiers.loading import (
    ClassifierSettings,
    ask_once,
    load_classifier,
    load_weights,
    new_classifier,
    require_classes,
    save_weights,
)
from defuse.classifiers.networks import NETWORKS, build_network
from defuse.classifiers.training import History, Training, train
from defuse.classifiers.wrapper import CallableClassifier, TorchClassifier

__all__ = [
    "BATCH",
    "NETWORKS",
    "CallableClassifier",
    "Classifier",
    "ClassifierSettings",
    "History",
    "TorchClassifier",
    "Training",
    "ask_once",
    "build_network",
    "load_classifier",
    "load_weights",
    "new_classifier",
    "require_classes",
    "save_weights",
    "train",
]
