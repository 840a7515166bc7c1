"""Writing the report: one HTML file that needs nothing else."""

import json
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from defuse.correct import pareto_front
from defuse.report import words
from defuse.report.context import ReportContext
from defuse.report.images import COLUMNS, tile_size
from defuse.report.plots import outcome_plot, pareto_plot, sweep_plot
from defuse.report.view import MAX_CARDS, SHOWN, make_view
from defuse.rundir import write_text


def write_report(path: Path, context: ReportContext) -> None:
    """Write the report of a run as one self-contained HTML file, under 5 MB.

    The page holds no script and loads nothing. When its images are too many for the size, fewer tiles are shown, with
    lossy compression, and the page says so.

    Raises:
        RunError: the file cannot be written.
    """
    write_text(path, render(context))


def render(context: ReportContext) -> str:
    """Return the report's HTML; every name that came from outside is escaped."""
    view, repair = make_view(context), context.repair
    height, width = tile_size(*context.splits.reference.image_shape[:2])
    return (
        _environment()
        .get_template("page.html")
        .render(
            context=context,
            view=view,
            words=words,
            shown=SHOWN,
            max_cards=MAX_CARDS,
            people=sorted({verdict.annotator for verdict in context.verdicts if not verdict.machine}),
            machine_only=any(label.machine for label in context.labels),
            outcome=outcome_plot(repair) if repair else "",
            sweep=sweep_plot(repair.sweep, repair.chosen) if repair and repair.sweep else "",
            pareto=pareto_plot(repair, pareto_front(repair.candidates)) if repair and repair.candidates else "",
            settings=json.dumps(context.settings, indent=2, ensure_ascii=False),
            style=_style(height, width, view.album.css),
        )
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("defuse.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _style(height: int, width: int, sprites: str) -> Markup:
    """Return the style sheet with this page's tile size, sprites, and the places in a sprite."""
    sheet = files("defuse.report").joinpath("style.css").read_text(encoding="utf-8")
    sizes = f":root{{--tile-width:{width}px;--tile-height:{height}px;--sprite-width:{COLUMNS * width}px}}"
    places = "\n".join(
        f".p{place}{{background-position:{-width * (place % COLUMNS)}px {-height * (place // COLUMNS)}px}}"
        for place in range(COLUMNS * COLUMNS)
    )
    # Our own file, integers and base64: no text from outside gets here.
    return Markup(f"{sheet}\n{sizes}\n{places}\n{sprites}")  # noqa: S704 - as said above
