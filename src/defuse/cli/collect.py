"""The command that says which images of an unlabelled pool to label next."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from defuse.cli.common import AsJson, Quiet, open_run, settle, tell

if TYPE_CHECKING:
    from defuse.data.pool import Pool
    from defuse.distill import Collected
    from defuse.records import Regions

COLUMNS = ("image", "region", "score", "label", "answer", "misread")


def collect(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run.")],
    pool: Annotated[str, typer.Argument(help="Folder of images, or PATH.npz:KEY; no labels are needed.")],
    to: Annotated[Path | None, typer.Option(help="CSV file to write, a line an image.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many images to print.")] = 20,
    *,
    skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave out what cannot be read.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Rank the images of an unlabelled pool by how likely they fall into reported regions: what to label next."""
    from defuse.data.pool import read_pool
    from defuse.distill import collect as rank
    from defuse.rundir import write_text

    config, out = settle(None, folder, None, None, None)
    with open_run(config, out, quiet=quiet) as run:
        images = read_pool(pool, run.splits.reference.image_shape, skip_unreadable=skip_unreadable)
        found = rank(run.regions, images.images, run.generator, run.classifier, run.gate_judge, progress=run.progress)
        values = _values(found, images, run.regions, run.splits.class_names)
    if to is not None:
        write_text(to, _csv(values))
    tell(values[:top], _lines(values[:top], len(values), images, to), as_json=as_json, quiet=quiet)


def _values(
    found: Sequence["Collected"], pool: "Pool", regions: "Regions", names: tuple[str, ...]
) -> list[dict[str, Any]]:
    labels = {region.name: names[region.label] for region in regions.reported}
    return [
        {
            "image": pool.names[one.row],
            "region": one.region,
            "score": round(one.score, 6),
            "label": labels[one.region],
            "answer": names[one.answer],
            "misread": one.suspect,
        }
        for one in found
    ]


def _csv(values: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(values)
    return text.getvalue()


def _lines(values: Sequence[Mapping[str, Any]], count: int, pool: "Pool", to: Path | None) -> list[str]:
    if not values:
        return ["The run reports no region, so no image is worth more than another."]
    lines = [
        f"{value['score']:.3f}  {value['region']}  {value['image']}: {value['label']}?"
        + (" So says the model." if value["answer"] == value["label"] else f" The model says {value['answer']}.")
        + ("" if value["misread"] or value["answer"] == value["label"] else " So may the judges.")
        for value in values
    ]
    skipped = f"; {len(pool.skipped)} cannot be read" if pool.skipped else ""
    where = f"; all of them in {to}" if to else ""
    return [*lines, f"{len(values)} of {count} images{skipped}{where}."]
