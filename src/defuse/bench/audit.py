"""A blind audit: a reader says what each image shows, real ones among those reported, not knowing which is which.

Oracles are networks, and may share the blindness of the judges that kept an image. A person does not.
"""

import base64
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError

from defuse.bench.methods import found_in
from defuse.bench.planting import content_key
from defuse.classes import nearest_class
from defuse.data.text import reason_of
from defuse.errors import DataError
from defuse.records import LabelledImages, Rate, Regions
from defuse.rundir import write_json, write_text
from defuse.seeds import numpy_rng
from defuse.summary import Part, Share
from defuse.tiles import encode
from defuse.types import ByteImages

_Part = TypeVar("_Part", bound=Part)

CANNOT_TELL = "?"
"""The answer for an image that shows no class clearly."""


class Truth(Part):
    """What an image of the sheet is: of which region (null: a real test image), and what it is said to show."""

    region: str | None
    label: str


class Key(Part):
    """The truth of a sheet, in the order of its images. ``sheet`` names the sheet that it belongs to."""

    sheet: str
    class_names: tuple[str, ...]
    images: tuple[Truth, ...]


class Answers(Part):
    """What a reader said: number of the image, from 1, -> class name, or ``?``."""

    sheet: str
    answers: Mapping[int, str]


class Audited(Part):
    """What an audit found.

    ``real`` is the share of reported images that the reader gives their region's label; "cannot tell" counts against.
    ``reader`` is the share of real test images that the reader reads right: about the most that ``real`` can be.
    ``missed`` counts, by region, what else was said of its images.
    """

    real: Share
    reader: Share
    cannot_tell: int
    missed: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Sheet:
    """Images in a random order, (n, h, w, c), and their truth."""

    images: ByteImages
    key: Key


def draw_sheet(regions: Regions, test: LabelledImages, *, reported: int, real: int, seed: int = 0) -> Sheet:
    """Draw images of all reported regions together, and real ones, and shuffle them.

    Args:
        regions: their kept and misread ``final`` samples are drawn from; each image is drawn once.
        test: real images, none of which the judges have seen.
        reported: how many of regions, at most.
        real: how many real ones, at most.
        seed: of the draw.

    Raises:
        DataError: no region has such a sample.
    """
    rng = numpy_rng(seed, "audit")
    found = [(one.name, one.label, image) for one in found_in(regions) for image in one.failing]
    if not found:
        raise DataError("audit: the run reports no region with a misread sample; there is nothing to audit")
    names = test.class_names
    chosen = [found[row] for row in rng.permutation(len(found))[:reported]]
    rows = rng.permutation(len(test))[:real]
    truths = [Truth(region=name, label=names[label]) for name, label, _ in chosen]
    truths += [Truth(region=None, label=names[label]) for label in test.labels[rows].tolist()]
    images = np.concatenate([np.stack([image for *_, image in chosen]), test.images[rows]])
    order = rng.permutation(len(images))
    shuffled = images[order]
    sheet = content_key(["audit"], LabelledImages(shuffled, np.zeros(len(order), dtype=np.int64), names, order))
    return Sheet(shuffled, Key(sheet=sheet, class_names=names, images=tuple(truths[row] for row in order)))


def write_sheet(folder: Path, sheet: Sheet) -> tuple[Path, Path]:
    """Write ``audit.html``, a page that needs nothing else, and ``key.json``; return where they are.

    Raises:
        RunError: they cannot be written.
    """
    page, key = folder / "audit.html", folder / "key.json"
    folder.mkdir(parents=True, exist_ok=True)
    tiles = [base64.b64encode(encode(image)).decode("ascii") for image in sheet.images]
    environment = Environment(
        loader=PackageLoader("defuse.bench", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    told = {"sheet": sheet.key.sheet, "classes": [*sheet.key.class_names, CANNOT_TELL]}
    write_text(page, environment.get_template("audit.html").render(tiles=tiles, told=told))
    write_json(key, sheet.key.model_dump(mode="json"))
    return page, key


def read_key(path: Path) -> Key:
    """Read a sheet's key.

    Raises:
        DataError: there is none, or it is none.
    """
    return _read(path, Key, "the key.json that was written with the sheet")


def read_answers(path: Path, key: Key) -> Answers:
    """Read a reader's answers and check that they are one for each image of the sheet.

    Raises:
        DataError: there are none; they are of another sheet; an image has no answer; or an answer is no class.
    """
    found = _read(path, Answers, "the answers.json that the sheet's page saves")
    if found.sheet != key.sheet:
        raise DataError(f"{path}: answers of sheet {found.sheet}, expected of {key.sheet}; give those of this sheet")
    count = len(key.images)
    for number, answer in sorted(found.answers.items()):
        if not 1 <= number <= count:
            raise DataError(f"{path}: an answer for image {number}, but the sheet has images 1 to {count}; remove it")
        if answer != CANNOT_TELL and answer not in key.class_names:
            expected = f"{nearest_class(answer, key.class_names)}, or {CANNOT_TELL} for cannot tell"
            raise DataError(f"{path}: image {number}: no class is called {answer!r}; {expected}")
    missing = sorted(set(range(1, count + 1)) - set(found.answers))
    if missing:
        raise DataError(f"{path}: {len(missing)} of {count} images have no answer, first image {missing[0]}; add them")
    return found


def score_audit(key: Key, answers: Answers) -> Audited:
    """Hold a reader's answers against the truth."""
    pairs = [(truth, answers.answers[number]) for number, truth in enumerate(key.images, start=1)]
    reported = [(truth, answer) for truth, answer in pairs if truth.region is not None]
    missed: dict[str, Counter[str]] = {}
    for truth, answer in reported:
        if truth.region is not None and answer != truth.label:
            missed.setdefault(truth.region, Counter())[answer] += 1
    return Audited(
        real=_agreed(reported),
        reader=_agreed([(truth, answer) for truth, answer in pairs if truth.region is None]),
        cannot_tell=sum(answer == CANNOT_TELL for _, answer in reported),
        missed={region: dict(missed[region].most_common()) for region in sorted(missed)},
    )


def _agreed(pairs: Sequence[tuple[Truth, str]]) -> Share:
    return Share.of(Rate(sum(truth.label == answer for truth, answer in pairs), len(pairs)))


def _read(path: Path, kind: type[_Part], expected: str) -> _Part:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        reason = "not found" if isinstance(error, FileNotFoundError) else f"cannot be read ({reason_of(error)})"
        raise DataError(f"{path}: {reason}; give {expected}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = "".join(f"{part}: " for part in [".".join(map(str, first["loc"]))] if part)
        raise DataError(f"{path}: {where}{first['msg']}; give {expected}") from None
