"""What the page's template is given: one card per region, with every name and number looked up."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from defuse.distill import NaturalImages, mean_cost
from defuse.records import Purpose, Rate, Region, RegionLabel, Verdict
from defuse.report.context import ReportContext
from defuse.report.describe import sentence
from defuse.report.images import Album, make_album
from defuse.types import ByteImages

MAX_CARDS = 60
"""Regions beyond this rank stand in the table alone."""

SHOWN = 24
"""Tiles that a card shows before it is opened."""

NEIGHBOURS = 8
"""Real images in one strip."""


@dataclass(frozen=True)
class Tile:
    """One image of a sprite: its place there, what to write under it, and what to mark."""

    place: int
    text: str = ""
    kind: str = ""
    kept: bool = True


@dataclass(frozen=True)
class Strip:
    """Tiles of one sprite with a caption."""

    caption: str
    style: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Share:
    """One bar: how often the model gave an answer."""

    name: str
    count: int
    share: float
    right: bool


@dataclass(frozen=True)
class Card:
    """One region as the page shows it."""

    region: Region
    shows: str
    says: str
    traits: str
    label: RegionLabel | None
    relabelled: bool
    verdicts: tuple[Verdict, ...]
    tiles: Strip
    wrong: int
    answers: tuple[Share, ...]
    strips: tuple[Strip, ...]
    before: Rate | None
    control: Rate | None
    after: Rate | None
    natural: NaturalImages | None
    cost: float | None

    @property
    def title(self) -> str:
        """What is read as what."""
        return f"{self.shows} read as {self.says}"

    @property
    def split_vote(self) -> bool:
        """Whether the votes are worth showing: more than one was given."""
        return self.label is not None and sum(votes for _, votes in self.label.votes) > 1

    @property
    def is_bug(self) -> bool:
        """Whether the region was given a label."""
        return self.label is not None and self.label.label is not None


@dataclass(frozen=True)
class View:
    """Cards in rank order and the sprites that they show; ``rows`` holds every region, cards only the first."""

    rows: tuple[Card, ...]
    album: Album

    @property
    def bugs(self) -> tuple[Card, ...]:
        """Cards of the regions that were given a label."""
        return tuple(card for card in self.rows[:MAX_CARDS] if card.is_bug)

    @property
    def others(self) -> tuple[Card, ...]:
        """Cards of the regions without a label."""
        return tuple(card for card in self.rows[:MAX_CARDS] if not card.is_bug)


def make_view(context: ReportContext) -> View:
    """Look up everything that the cards show."""
    album = make_album(dict(_groups(context)))
    scores = _scores(context)
    labels = {label.region: label for label in context.labels}
    rows = tuple(_card(context, region, labels.get(region.name), album, scores) for region in context.regions.reported)
    return View(rows, album)


def _groups(context: ReportContext) -> Iterator[tuple[str, ByteImages]]:
    """Yield the images of every sprite under its key."""
    reference = context.splits.reference
    cards = context.regions.reported[:MAX_CARDS]
    for region in cards:
        samples = context.regions.samples.get((region.name, Purpose.SHOW))
        if samples is not None:
            yield f"tiles {region.name}", samples.images
    for near in context.nearest:
        if near.region in {region.name for region in cards}:
            yield f"near {near.region}", reference.images[near.rows[:NEIGHBOURS]]
    for label in sorted({region.predicted for region in cards}):
        yield f"class {label}", reference.images[np.flatnonzero(reference.labels == label)[:NEIGHBOURS]]


def _scores(context: ReportContext) -> Mapping[str, tuple[Rate, Rate, Rate]]:
    """Return failure rates before, of the control, and after, for each repaired region."""
    repair = context.repair
    if repair is None:
        return {}
    before, control, after = (
        {score.region: score.failure for score in scores.regions}
        for scores in (repair.before, repair.control, repair.after)
    )
    return {name: (before[name], control[name], after[name]) for name in before.keys() & control.keys() & after.keys()}


def _card(
    context: ReportContext,
    region: Region,
    label: RegionLabel | None,
    album: Album,
    scores: Mapping[str, tuple[Rate, Rate, Rate]],
) -> Card:
    names = context.class_names
    decided = region.label if label is None or label.label is None else label.label
    tiles = _tiles(context, region, decided, album.level.tiles)
    before, control, after = scores.get(region.name, (None, None, None))
    return Card(
        region=region,
        shows=names[decided],
        says=names[region.predicted],
        traits=sentence(context.traits.get(region.name, ()), names[region.label]),
        label=label,
        relabelled=decided != region.label,
        verdicts=tuple(verdict for verdict in context.verdicts if verdict.region == region.name),
        tiles=Strip("", album.classes.get(f"tiles {region.name}", ""), tiles),
        wrong=sum(tile.kind == "wrong" for tile in tiles),
        answers=_answers(region, names),
        strips=tuple(_strips(context, region, album)),
        before=before,
        control=control,
        after=after,
        natural=next((found for found in context.natural if found.region == region.name), None),
        cost=None if context.costs is None else mean_cost(region.evidence, region.label, context.costs),
    )


def _tiles(context: ReportContext, region: Region, label: int, most: int) -> tuple[Tile, ...]:
    """Return the samples to show; an answer is named only where the card's title does not say it."""
    samples = context.regions.samples.get((region.name, Purpose.SHOW))
    if samples is None:
        return ()
    return tuple(
        Tile(
            place,
            "" if answer in (label, region.predicted) else context.class_names[answer],
            "right" if answer == label else "wrong",
            bool(kept),
        )
        for place, (answer, kept) in enumerate(zip(samples.predicted[:most], samples.kept[:most], strict=True))
    )


def _answers(region: Region, names: Sequence[str], most: int = 4) -> tuple[Share, ...]:
    total = sum(count for _, count in region.evidence.answers)
    shares = [Share(names[k], count, count / total, k == region.label) for k, count in region.evidence.answers if count]
    rest = sum(share.count for share in shares[most:])
    other = [Share("any other", rest, rest / total, right=False)] if rest else []
    return tuple(shares[:most] + other)


def _strips(context: ReportContext, region: Region, album: Album) -> Iterator[Strip]:
    names, reference = context.class_names, context.splits.reference
    for near in context.nearest:
        if near.region == region.name:
            shown = reference.labels[near.rows[:NEIGHBOURS]]
            named = ", ".join(names[label] for label in dict.fromkeys(shown.tolist()))
            yield from _strip(f"Nearest real images, labelled {named}", f"near {near.region}", len(shown), album)
    shown = min(NEIGHBOURS, int((reference.labels == region.predicted).sum()))
    said = names[region.predicted]
    yield from _strip(f"For comparison: real images labelled {said}", f"class {region.predicted}", shown, album)


def _strip(caption: str, key: str, count: int, album: Album) -> Iterator[Strip]:
    if key in album.classes:
        yield Strip(caption, album.classes[key], tuple(Tile(place) for place in range(min(count, album.level.tiles))))
