"""What sets a region's images apart from others of their class, in words."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, UInt8

from defuse.data.attributes import ATTRIBUTES, Values, ground_of, measure_attributes
from defuse.generators import Redraw
from defuse.records import LabelledImages, Purpose, Regions
from defuse.types import ByteImages

LARGE = 0.474
"""Cliff's delta from which an effect counts as large (Romano et al., 2006)."""

MOST_TRAITS = 3

ORDINARY = 500
"""Images of a class that its regions are compared with, at most; evenly spaced."""


@dataclass(frozen=True)
class Trait:
    """One attribute in which a region differs from its class.

    Attributes:
        attribute: its name.
        words: how it differs, such as ``darker``.
        effect: Cliff's delta: the probability that an image of the region has a higher value than one of the class,
            less that of a lower one, in [-1, 1].
        beyond: share of the class's images on the other side of the region's median, in [0, 1].
    """

    attribute: str
    words: str
    effect: float
    beyond: float


def describe(
    region: ByteImages, ordinary: UInt8[np.ndarray, "m h w c"], *, leave_out: tuple[str, ...] = ()
) -> tuple[Trait, ...]:
    """Return the traits with a large effect, the largest first, three at most; none if there are no images.

    Args:
        region: images of the region, (n, h, w, c).
        ordinary: images of its class made the same way, so real ones that were drawn again, (m, h, w, c): compared with
            the real ones themselves, everything that a decoder draws would be blurred.
        leave_out: names of attributes that must not count.
    """
    if not len(region) or not len(ordinary):
        return ()
    ground = ground_of(ordinary)
    found, usual = (measure_attributes(images, ground) for images in (region, ordinary))
    traits = []
    for each in ATTRIBUTES:
        if each.name in found and each.name not in leave_out:
            effect = _cliffs_delta(found[each.name], usual[each.name])
            words, sign = (each.more, 1) if effect > 0 else (each.less, -1)
            beyond = (sign * usual[each.name] < sign * np.median(found[each.name])).mean()
            traits.append(Trait(each.name, words, effect, float(beyond)))
    large = [trait for trait in traits if abs(trait.effect) >= LARGE]
    return tuple(sorted(large, key=lambda trait: -abs(trait.effect))[:MOST_TRAITS])


def describe_regions(regions: Regions, reference: LabelledImages, redraw: Redraw) -> dict[str, tuple[Trait, ...]]:
    """Return each reported region's traits, from its kept final samples, against redrawn real images of its class."""
    ordinary = {}
    for label in {region.label for region in regions.reported}:
        ordinary[label] = redraw(reference.spread(label, ORDINARY))
    described = {}
    for region in regions.reported:
        samples = regions.samples[region.name, Purpose.FINAL]
        described[region.name] = describe(samples.images[samples.kept], ordinary[region.label])
    return described


def sentence(traits: tuple[Trait, ...], name: str) -> str:
    """Return traits as one phrase, such as ``darker than 98 % of "50"; blurrier than 91 %``."""
    parts = [f"{trait.words} than {100 * trait.beyond:.0f} %" for trait in traits]
    return "; ".join([f'{parts[0]} of "{name}"', *parts[1:]]) if parts else ""


def _cliffs_delta(values: Values, others: Float64[np.ndarray, " m"]) -> float:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    above = len(ordered) - np.searchsorted(ordered, values, side="right")
    return float((below - above).mean() / len(ordered))
