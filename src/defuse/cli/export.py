"""``defuse export``: region images for training elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from defuse.cli.common import AsJson, Quiet, open_run, settle, tell


def export(
    folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
    to: Annotated[Path, typer.Option("--to", help="A new folder: images/ as an image folder, parquet/ as Parquet.")],
    *,
    with_real: Annotated[
        bool, typer.Option("--with-real", help="Add the run's real images: whole training data, not regions alone.")
    ] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write the labelled regions' images for training elsewhere, also of a model that Defuse cannot repair."""
    from defuse.correct import export_regions

    settled, out = settle(None, folder, None, None, None)
    with open_run(settled, out, quiet=quiet) as run:
        counts = export_regions(
            to, run.looked_over, run.labels, run.splits, kept_only=settled.correct.kept_only, with_real=with_real
        )
    lines = [f"{split}: {count} images" for split, count in counts.items()]
    lines.append(f"written to {to}" if counts else "nothing to export: no region was given a class")
    tell({"folder": str(to) if counts else None, "images": counts}, lines, as_json=as_json, quiet=quiet)
