"""Tiles that people crossed out, and the samples that go with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.spatial.distance import cdist

from defuse.records import Purpose, Region, Regions, RegionSamples, Verdict

STRUCK = (Purpose.REPAIR, Purpose.SELECT, Purpose.FINAL)
"""Samples that what people crossed out speaks of; evidence was measured before anybody looked."""


def crossed_out(verdicts: Sequence[Verdict]) -> Mapping[str, tuple[int, ...]]:
    """Return, by region, the tiles that more than half of the people who were shown them crossed out.

    Args:
        verdicts: one per annotator and region (``VerdictStore.current``).
    """
    shown: Counter[tuple[str, int]] = Counter()
    crossed: Counter[tuple[str, int]] = Counter()
    for verdict in verdicts:
        if not verdict.machine and not verdict.adjudicates:
            shown.update((verdict.region, place) for place in verdict.shown)
            crossed.update((verdict.region, place) for place in verdict.crossed)
    found: dict[str, tuple[int, ...]] = {}
    for region, place in sorted(tile for tile, count in crossed.items() if 2 * count > shown[tile]):
        found[region] = (*found.get(region, ()), place)
    return found


def strike(regions: Regions, crossed: Mapping[str, Sequence[int]]) -> Regions:
    """Return the regions with samples no longer kept whose nearest tile was crossed out.

    Nearest is meant in the latent space, under the region's own covariance, among all its tiles. Where no kept sample
    of a purpose would be left, they stay as they are: people who cross out everything have a verdict for it.

    Args:
        regions: with tiles and samples.
        crossed: positions of crossed-out tiles, by region; positions that no tile has are passed over.
    """
    known = {region.name: region for region in regions.reported}
    samples = dict(regions.samples)
    for name, places in crossed.items():
        tiles = samples.get((name, Purpose.SHOW))
        if name not in known or tiles is None or not len(tiles):
            continue
        out = np.isin(np.arange(len(tiles)), places)
        for purpose in STRUCK:
            if (drawn := samples.get((name, purpose))) is not None:
                kept = drawn.kept & ~out[_nearest(known[name], drawn, tiles)]
                samples[name, purpose] = replace(drawn, kept=kept) if kept.any() else drawn
    return replace(regions, samples=samples)


def _nearest(region: Region, samples: RegionSamples, tiles: RegionSamples) -> np.ndarray:
    """Return the position of each sample's nearest tile, (n,)."""
    root = np.linalg.cholesky(np.linalg.inv(region.covariance))
    nearest: np.ndarray = cdist(samples.z @ root, tiles.z @ root, "sqeuclidean").argmin(axis=1)
    return nearest
