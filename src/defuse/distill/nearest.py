"""The real images nearest to a region, for a person to compare with."""

import numpy as np
from jaxtyping import Float64

from defuse.distill.natural import distances
from defuse.generators import Generator, mean_codes
from defuse.records import LabelledImages, NearestImages, Region, Regions
from defuse.types import Labels

CANDIDATES = 2_000
"""How many reference images of a class are looked at; more would change little and cost much on large data."""


def nearest_images(
    regions: Regions, reference: LabelledImages, generator: Generator, *, count: int = 8
) -> tuple[NearestImages, ...]:
    """Return, for each reported region, the reference images of its label whose codes lie nearest to its mean.

    The distance is Mahalanobis' under the region's own covariance. Of each class the first 2,000 images are looked at.

    Args:
        regions: the reported ones are served.
        reference: real images.
        generator: gives their codes.
        count: how many images per region, nearest first.
    """
    places: dict[int, Labels] = {}
    codes: dict[int, Float64[np.ndarray, "m latent"]] = {}
    for label in sorted({region.label for region in regions.reported}):
        places[label] = np.flatnonzero(reference.labels == label)[:CANDIDATES]
        codes[label] = mean_codes(generator, reference.take(places[label])).astype(np.float64)
    return tuple(
        NearestImages(region.name, places[region.label][_order(region, codes[region.label])[:count]])
        for region in regions.reported
    )


def _order(region: Region, codes: Float64[np.ndarray, "m latent"]) -> Labels:
    return np.argsort(distances(region, codes), kind="stable").astype(np.int64)
