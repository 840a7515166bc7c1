"""What is to be repaired: the regions that were given a label, and the samples that may be used for what."""

from dataclasses import dataclass

import numpy as np

from defuse.errors import RunError, VerdictError
from defuse.records import Purpose, Region, RegionLabel, Regions, RegionSamples
from defuse.types import ByteImages, Labels, Mask


@dataclass(frozen=True)
class Target:
    """One region and the class to repair it towards."""

    region: Region
    label: int


@dataclass(frozen=True)
class Pool:
    """Region samples of one purpose, of all targets, each with its region's majority label."""

    images: ByteImages
    labels: Labels

    def __len__(self) -> int:
        return len(self.images)


def find_targets(regions: Regions, labels: tuple[RegionLabel, ...], class_names: tuple[str, ...]) -> tuple[Target, ...]:
    """Return the regions that the annotators gave a class, in rank order.

    Raises:
        VerdictError: a label speaks of an unknown region, or is no class index.
    """
    known = {region.name for region in regions.reported}
    for label in labels:
        if label.region not in known:
            raise VerdictError(
                f"labels: {label.region} is not among the {len(known)} regions; label this run's regions"
            )
        if label.label is not None and not 0 <= label.label < len(class_names):
            raise VerdictError(
                f"labels: {label.region} has label {label.label}, expected 0 to {len(class_names) - 1}; label it again"
            )
    decided = {label.region: label.label for label in labels}
    named = ((region, decided.get(region.name)) for region in regions.reported)
    return tuple(Target(region, label) for region, label in named if label is not None)


def samples_of(regions: Regions, region: str, purpose: Purpose) -> RegionSamples:
    """Return a region's samples for one purpose.

    Raises:
        RunError: distill left none.
    """
    try:
        return regions.samples[region, purpose]
    except KeyError:
        raise RunError(f"regions: {region} has no samples for {purpose.value!r}; run distill again") from None


def usable(samples: RegionSamples, *, kept_only: bool) -> Mask:
    """Return which samples count: those that the judges kept, or all of them, (n,)."""
    return samples.kept if kept_only else np.ones(len(samples), dtype=bool)


def usable_images(regions: Regions, region: str, purpose: Purpose, *, kept_only: bool) -> ByteImages:
    """Return the images of a region that count for one purpose, (n, h, w, c)."""
    samples = samples_of(regions, region, purpose)
    return samples.images[usable(samples, kept_only=kept_only)]


def pool(regions: Regions, targets: tuple[Target, ...], purpose: Purpose, *, kept_only: bool) -> Pool:
    """Join the usable samples of at least one target; a region weighs as much as it has samples."""
    parts = [usable_images(regions, target.region.name, purpose, kept_only=kept_only) for target in targets]
    labels = np.repeat([target.label for target in targets], [len(part) for part in parts])
    return Pool(np.concatenate(parts), labels.astype(np.int64))
