"""What the page sends and is told, as JSON."""

import unicodedata
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from defuse.label import ANNOTATOR
from defuse.records import Answer

MOST_TILES = 1_000
"""Tiles of one region that a verdict may speak of."""

NAME_SIGNS = " .-_'@"
"""What an annotator's name may hold beside letters and digits."""

Key = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
RegionName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
Hash = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{1,64}$")]
ClassIndex = Annotated[int, Field(ge=0, le=1_000_000)]
Places = Annotated[tuple[Annotated[int, Field(ge=0, lt=MOST_TILES)], ...], Field(max_length=MOST_TILES, strict=False)]


def _plain_name(text: str) -> str:
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or not all(unicodedata.category(sign)[0] in "LMN" or sign in NAME_SIGNS for sign in name):
        raise ValueError(f"expected letters, digits, spaces and any of {NAME_SIGNS.strip()}")
    if name.casefold() == ANNOTATOR:
        raise ValueError("this is the name under which the machine votes; take another")
    return name


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NameBody(_Body):
    """Who labels."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=40), AfterValidator(_plain_name)]


class EventBody(_Body):
    """What every event says: the run that the page was made for, and a key that is used once."""

    run: Hash
    key: Key


class SkipBody(_Body):
    """A region to put off."""

    run: Hash
    region: RegionName


class VerdictBody(EventBody):
    """What one person says of one region.

    Attributes:
        page: version of the page.
        label: a class index with the answer ``class``, else nothing.
        shown: positions of the tiles that were on the page.
        crossed: those of them that do not belong.
    """

    page: Hash
    region: RegionName
    answer: Annotated[Answer, Field(strict=False)]
    label: ClassIndex | None = None
    shown: Places = ()
    crossed: Places = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.label is not None) != (self.answer is Answer.CLASS):
            raise ValueError("a label goes with the answer 'class' and with no other")
        if not set(self.crossed) <= set(self.shown) or len(set(self.shown)) != len(self.shown):
            raise ValueError("only tiles that were shown, each once, can be crossed out")
        return self


class ClassView(BaseModel):
    """A class: its name, and ids of real images."""

    name: str
    images: tuple[str, ...]


class RunView(BaseModel):
    """What stays the same for all regions."""

    title: str
    run: str
    page: str
    classes: tuple[ClassView, ...]


class ShareView(BaseModel):
    """How often the model gave an answer."""

    label: int
    share: float


class RegionView(BaseModel):
    """One region to label; classes are given by index, images by id."""

    region: str
    rank: int
    proposed: int
    predicted: int
    tiles: tuple[str, ...]
    answers: tuple[ShareView, ...]
    keys: tuple[int, ...]
    words: tuple[str, ...]


class ProgressView(BaseModel):
    """How far the annotator is."""

    given: int
    left: int
    settled: int
    regions: int
    seconds_left: float | None


class TaskView(BaseModel):
    """What to do next: nothing where no region is left."""

    region: RegionView | None
    progress: ProgressView


class NameView(BaseModel):
    """Who labels, as it was understood."""

    name: str


class StoredView(BaseModel):
    """A verdict that is on disk."""

    stored: Literal[True]
