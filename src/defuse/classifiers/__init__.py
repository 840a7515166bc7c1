"""Classifiers: the interface, torch modules and black boxes behind it, loading, training, small networks."""

from defuse.classifiers.base import BATCH, Classifier
from defuse.classifiers.loading import ClassifierSettings, load_classifier, load_weights, new_classifier, save_weights
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
    "build_network",
    "load_classifier",
    "load_weights",
    "new_classifier",
    "save_weights",
    "train",
]
