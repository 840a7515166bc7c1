import numpy as np

from defuse.records import Evidence, Rate, Region, RegionSamples


def make_region(name, label=1, predicted=0):
    evidence = Evidence(Rate(9, 10), Rate(8, 9), ((predicted, 8), (label, 1)), 0.001, 0.002)
    return Region(name, label, predicted, np.zeros(2), np.eye(2), 1.0, 50, evidence)


def make_samples(name, purpose, images, predicted, kept=None):
    kept = np.ones(len(images), dtype=bool) if kept is None else kept
    return RegionSamples(name, purpose, images, np.zeros((len(images), 2), np.float32), predicted, kept)
