"""Region images for training elsewhere: as an image folder, and as Parquet as Hugging Face's image data sets are."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from defuse.correct.targets import Target, find_targets, usable_images
from defuse.errors import RunError
from defuse.records import LabelledImages, Purpose, RegionLabel, Regions, Splits
from defuse.tiles import encode
from defuse.types import ByteImages, Labels

PURPOSES = {"train": Purpose.REPAIR, "validation": Purpose.SELECT, "test": Purpose.FINAL}
"""Split -> the region samples that go there; the suite holds those of the test split."""

FOLDER, PARQUET = "images", "parquet"

REAL = "real"
"""Stands for a region's name where an image is a real one."""

_UNFIT = re.compile(r"^\.|[/\\%\x00-\x1f\x7f-\x9f]")
"""What a folder's name may not hold, or what would hide it."""


@dataclass(frozen=True)
class Part:
    """The images of one split.

    Attributes:
        images: 8-bit, (n, h, w, c).
        labels: (n,).
        names: of the image files, without an ending, (n,).
        regions: each image's region, or ``REAL``, (n,).
    """

    images: ByteImages
    labels: Labels
    names: tuple[str, ...]
    regions: tuple[str, ...]


def export_regions(
    to: Path,
    regions: Regions,
    labels: tuple[RegionLabel, ...],
    splits: Splits,
    *,
    kept_only: bool = True,
    with_real: bool = False,
) -> Mapping[str, int]:
    """Write the samples of every region that was given a class, each with that class, and return how many by split.

    ``to/images/SPLIT/CLASS/NAME.png`` is an image folder; a class is named as in the data, with characters that a
    folder's name cannot hold written as %XX. ``to/parquet/SPLIT-00000-of-00001.parquet`` has the columns ``image``
    (``bytes`` and ``path``), ``label`` (with all the data's class names in the metadata) and ``region``. Samples for
    repair are the train split, those for selection validation, and final ones, which the suite checks with, test.

    Args:
        to: a folder that is not there yet, or empty; it appears when everything is written.
        regions: with their samples.
        labels: the decision on each region.
        splits: the run's real images.
        kept_only: as in ``Correct``.
        with_real: whether the real images of each split are written too, which makes whole training data.

    Returns:
        Number of images by split; empty, and nothing is written, when no region was given a class or an image.

    Raises:
        RunError: the folder holds something, or cannot be written.
        VerdictError: labels that do not fit the regions.
    """
    targets = find_targets(regions, labels, splits.class_names)
    parts = {split: _generated(regions, targets, purpose, kept_only) for split, purpose in PURPOSES.items()}
    if not sum(part is not None for part in parts.values()):
        return {}
    if with_real:
        real = {"train": splits.reference, "validation": splits.validation, "test": splits.test}
        parts = {split: _joined(parts[split], _real(images)) for split, images in real.items()}
    written = {split: part for split, part in parts.items() if part is not None}
    _write(to, written, splits.class_names)
    return {split: len(part.names) for split, part in written.items()}


def _generated(regions: Regions, targets: tuple[Target, ...], purpose: Purpose, kept_only: bool) -> Part | None:  # noqa: FBT001 -- as its caller's
    part = None
    for target in targets:
        name = target.region.name
        images = usable_images(regions, name, purpose, kept_only=kept_only)
        if len(images):
            files = tuple(f"{name}-{place:05d}" for place in range(len(images)))
            labels = np.full(len(images), target.label, dtype=np.int64)
            part = _joined(part, Part(images, labels, files, (name,) * len(images)))
    return part


def _real(images: LabelledImages) -> Part:
    names = tuple(f"{REAL}-{row:07d}" for row in images.rows.tolist())
    return Part(images.images, images.labels, names, (REAL,) * len(images))


def _joined(first: Part | None, second: Part) -> Part:
    if first is None:
        return second
    return Part(
        np.concatenate([first.images, second.images]),
        np.concatenate([first.labels, second.labels]),
        first.names + second.names,
        first.regions + second.regions,
    )


def _write(to: Path, parts: Mapping[str, Part], class_names: tuple[str, ...]) -> None:
    """Write everything beside the folder, then put it in its place."""
    unfinished = to.with_name(f".{to.name}.tmp")
    try:
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise RunError(f"{to}: not an empty folder; name another with --to")
        shutil.rmtree(unfinished, ignore_errors=True)
        for split, part in parts.items():
            _write_split(unfinished, split, part, class_names)
        if to.exists():
            to.rmdir()
        unfinished.rename(to)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise RunError(
            f"{to}: cannot be written ({error.strerror or error}); see to the disk's free space and the folder's "
            "permissions, then export again"
        ) from None


def _write_split(folder: Path, split: str, part: Part, class_names: tuple[str, ...]) -> None:
    rows = []
    for image, label, name, region in zip(part.images, part.labels.tolist(), part.names, part.regions, strict=True):
        content = encode(image)
        place = folder / FOLDER / split / folder_name(class_names[label])
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{name}.png").write_bytes(content)
        rows.append({"image": {"bytes": content, "path": f"{name}.png"}, "label": label, "region": region})
    (folder / PARQUET).mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=_schema(class_names))
    pq.write_table(table, folder / PARQUET / f"{split}-00000-of-00001.parquet")


def _schema(class_names: tuple[str, ...]) -> pa.Schema:
    features = {
        "image": {"_type": "Image"},
        "label": {"names": list(class_names), "_type": "ClassLabel"},
        "region": {"dtype": "string", "_type": "Value"},
    }
    return pa.schema(
        [
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("label", pa.int64()),
            ("region", pa.string()),
        ],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )


def folder_name(name: str) -> str:
    """Return a class name as a folder's: characters that cannot stand there are written as %XX of their UTF-8."""
    return _UNFIT.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), name)
