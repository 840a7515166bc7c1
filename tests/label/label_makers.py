import numpy as np

from defuse.records import Evidence, Purpose, Rate, Region, Regions, RegionSamples

NAMES = ("circle", "square", "7", "cross")


def make_region(name="r001", label=0, predicted=1):
    evidence = Evidence(Rate(90, 100), Rate(81, 90), ((predicted, 81), (label, 9)), 1e-9, 2e-9)
    return Region(name, label, predicted, np.zeros(2), np.eye(2), 0.5, 40, evidence)


def make_tiles(region, grey_levels, size=8):
    images = np.array(grey_levels, dtype=np.uint8)[:, None, None, None] * np.ones((1, size, size, 1), dtype=np.uint8)
    count = len(images)
    predicted = np.full(count, region.predicted)
    return RegionSamples(
        region.name, Purpose.SHOW, images, np.zeros((count, 2), np.float32), predicted, np.ones(count, dtype=bool)
    )


def make_regions(*reported):
    reported = reported or (make_region("r001", 0, 1), make_region("r002", 2, 3), make_region("r003", 1, 0))
    samples = {(each.name, Purpose.SHOW): make_tiles(each, range(0, 240, 20)) for each in reported}
    return Regions(reported, samples, fitted=5)
