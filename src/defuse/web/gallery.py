"""What there is to look at: every region with its tiles, real images of every class, each image under an id."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import UInt8

from defuse.label import regions_fingerprint
from defuse.records import LabelledImages, Purpose, Region, Regions
from defuse.report.describe import describe
from defuse.tiles import encode
from defuse.types import ByteImages

REAL = 3
"""Real images of a class that are shown for comparison."""

COMPARED = 500
"""Real images of a class that a region is described against, at most."""

SHORTLIST = 10
"""Classes that have a key of their own."""


@dataclass(frozen=True)
class Share:
    """How often the model gave one answer: class index, and share in [0, 1]."""

    label: int
    share: float


@dataclass(frozen=True)
class Exhibit:
    """One region as it is shown.

    Attributes:
        region: the region itself.
        rank: 1 for the first.
        tiles: ids of its ``show`` samples, in their order.
        answers: what the model says on its kept samples, most frequent first.
        keys: classes under the keys 1 to 9 and 0: all where there are few, else the likeliest.
        words: what is unusual about its tiles beside real images of its label.
    """

    region: Region
    rank: int
    tiles: tuple[str, ...]
    answers: tuple[Share, ...]
    keys: tuple[int, ...]
    words: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """The regions of a run and the real images to compare them with.

    Attributes:
        title: what was debugged.
        regions: with their ``show`` samples.
        reference: real images.
    """

    title: str
    regions: Regions
    reference: LabelledImages
    _images: dict[str, UInt8[np.ndarray, "h w c"]] = field(default_factory=dict, init=False, repr=False)
    _encoded: dict[str, bytes] = field(default_factory=dict, init=False, repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class index."""
        return self.reference.class_names

    @cached_property
    def fingerprint(self) -> str:
        """Tells these regions from another run's."""
        return regions_fingerprint(self.regions)

    @cached_property
    def real(self) -> tuple[tuple[str, ...], ...]:
        """Ids of up to ``REAL`` real images of each class, taken from all over the reference images."""
        return tuple(self._few(label) for label in range(len(self.class_names)))

    @cached_property
    def exhibits(self) -> Mapping[str, Exhibit]:
        """Every reported region by name, in rank order."""
        return {region.name: self._exhibit(rank, region) for rank, region in enumerate(self.regions.reported, start=1)}

    def prepare(self) -> None:
        """Look up everything now, so that no request waits for it."""
        _ = self.real, self.exhibits

    def picture(self, key: str) -> bytes | None:
        """Return an image as PNG; None where no image has this id."""
        if key not in self._images:
            return None
        if key not in self._encoded:
            self._encoded[key] = encode(self._images[key])
        return self._encoded[key]

    def _exhibit(self, rank: int, region: Region) -> Exhibit:
        samples = self.regions.samples.get((region.name, Purpose.SHOW))
        total = sum(count for _, count in region.evidence.answers)
        answers = tuple(Share(label, count / total) for label, count in region.evidence.answers if count)
        real = self.reference.images[self.reference.labels == region.label]
        return Exhibit(
            region=region,
            rank=rank,
            tiles=() if samples is None else self._keep(samples.images),
            answers=tuple(sorted(answers, key=lambda answer: -answer.share)),
            keys=self._keys(region, answers),
            words=() if samples is None else tuple(_words(samples.images, real[:COMPARED])),
        )

    def _keys(self, region: Region, answers: tuple[Share, ...]) -> tuple[int, ...]:
        if len(self.class_names) <= SHORTLIST:
            return tuple(range(len(self.class_names)))
        likely = sorted(answers, key=lambda answer: -answer.share)
        return tuple(dict.fromkeys([region.label, region.predicted, *(each.label for each in likely)]))[:SHORTLIST]

    def _few(self, label: int) -> tuple[str, ...]:
        return self._keep(self.reference.spread(label, REAL).images)

    def _keep(self, images: ByteImages) -> tuple[str, ...]:
        ids = [hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()[:32] for image in images]
        self._images.update(zip(ids, images, strict=True))
        return tuple(ids)


def _words(tiles: ByteImages, real: UInt8[np.ndarray, "m h w c"]) -> Iterator[str]:
    for trait in describe(tiles, real, leave_out=("sharpness",)):  # every decoder blurs
        yield f"{trait.words} than {100 * trait.beyond:.0f} % of real ones"
