"""Plots as inline SVG whose colours are the page's, in light and in dark."""

import io
import re
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from defuse.outcomes import Repair, SweepPoint
from defuse.records import Rate
from defuse.report.words import rate_text

INK, MUTED, LINE, GOOD, BAD, CARD = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_PAGE_COLOURS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    GOOD: "var(--good)",
    BAD: "var(--bad)",
    CARD: "var(--card)",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "defuse",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
}


@mpl.rc_context(_STYLE)
def outcome_plot(repair: Repair) -> Markup:
    """Return test accuracy and region failure rate of the given, the control and the repaired model."""
    models = (("given", repair.before), ("control", repair.control), ("repaired", repair.after))
    figure = Figure(figsize=(4.8, 3.3))
    panels = figure.subplots(2, 1)
    _compare(panels[0], "Test accuracy (%)", [(name, scores.test) for name, scores in models])
    _compare(panels[1], "Failure rate on fresh region samples (%)", [(name, scores.failure) for name, scores in models])
    panels[1].set_xlim(-3, 103)
    return _inline(figure, "outcome", "Test accuracy and region failure rate of the given, control and repaired model.")


@mpl.rc_context(_STYLE)
def sweep_plot(sweep: Sequence[SweepPoint], chosen: float | None) -> Markup:
    """Return validation accuracy and region failure rate over the grid of lambda."""
    figure = Figure(figsize=(4.8, 3.3))
    upper, lower = figure.subplots(2, 1, sharex=True)
    _sweep_panel(upper, "Validation accuracy (%)", [(point, point.validation) for point in sweep], chosen)
    _sweep_panel(lower, "Region failure rate (%)", [(point, point.region) for point in sweep], chosen)
    lower.set_ylim(-5, 105)
    lower.set_xticks(range(len(sweep)), [f"{point.weight:g}" for point in sweep])
    lower.set_xlabel("lambda")
    return _inline(figure, "sweep", "Validation accuracy and region failure rate for each lambda of the grid.")


@mpl.rc_context(_STYLE)
def pareto_plot(repair: Repair, front: Sequence[SweepPoint]) -> Markup:
    """Return validation accuracy against region failure rate of every model that was tried, with the Pareto front.

    Args:
        repair: with its candidates.
        front: those that no other beats, in order.
    """
    figure = Figure(figsize=(4.8, 3.3))
    axes = figure.subplots()
    axes.plot(*_places(front), color=MUTED, linewidth=1)
    for point in (each for each in repair.candidates if each.validation.trials and each.region.trials):
        (accuracy,), (failure,) = _places([point])
        colour, marker = (GOOD, "o") if point.allowed else (BAD, "X")
        axes.plot(accuracy, failure, marker=marker, color=colour if point in front else "none", markeredgecolor=colour)
        if point.allowed and point.weight == repair.chosen and point in repair.sweep:
            axes.annotate("chosen", (accuracy, failure), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    axes.margins(x=0.12, y=0.15)
    axes.set_xlabel("validation accuracy (%)")
    _clean(axes, "Region failure rate (%)", grid="y")
    return _inline(figure, "pareto", "Validation accuracy against region failure rate of every model that was tried.")


def _places(points: Sequence[SweepPoint]) -> tuple[list[float], list[float]]:
    return [100 * point.validation.value for point in points], [100 * point.region.value for point in points]


def _compare(axes: Axes, title: str, rows: Sequence[tuple[str, Rate]]) -> None:
    markers = {"given": ("o", CARD, INK), "control": ("s", MUTED, MUTED), "repaired": ("D", GOOD, GOOD)}
    for place, (name, rate) in enumerate(rows):
        if not rate.trials:
            continue
        marker, fill, edge = markers[name]
        low, high = rate.interval
        axes.plot([100 * low, 100 * high], [place, place], color=edge, linewidth=1.5)
        axes.plot(100 * rate.value, place, marker=marker, color=fill, markeredgecolor=edge, markersize=7)
        axes.annotate(
            rate_text(rate), (100 * rate.value, place), (0, 7), textcoords="offset points", ha="center", fontsize=9
        )
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.8)
    axes.margins(x=0.15)
    _clean(axes, title, grid="x")


def _sweep_panel(axes: Axes, title: str, points: Sequence[tuple[SweepPoint, Rate]], chosen: float | None) -> None:
    tried = [(place, point, rate) for place, (point, rate) in enumerate(points) if rate.trials]
    axes.plot([place for place, _, _ in tried], [100 * rate.value for *_, rate in tried], color=MUTED, linewidth=1)
    for place, (_, rate) in enumerate(points):
        if not rate.trials:
            middle = axes.get_xaxis_transform()
            axes.text(place, 0.5, "diverged", transform=middle, ha="center", rotation=90, fontsize=9, color=BAD)
    for place, point, rate in tried:
        low, high = rate.interval
        colour = GOOD if point.allowed else BAD
        axes.plot([place, place], [100 * low, 100 * high], color=colour, linewidth=1.5)
        axes.plot(place, 100 * rate.value, marker="o" if point.allowed else "X", color=colour, markersize=6)
        if point.weight == chosen:
            axes.plot(place, 100 * rate.value, marker="o", color="none", markeredgecolor=INK, markersize=13)
            axes.annotate(
                "chosen", (place, 100 * rate.value), (0, 10), textcoords="offset points", ha="center", fontsize=9
            )
    axes.margins(x=0.1, y=0.3)
    _clean(axes, title, grid="y")


def _clean(axes: Axes, title: str, *, grid: Literal["x", "y"]) -> None:
    axes.set_title(title, loc="left", fontsize=10, color=INK)
    axes.grid(axis=grid, color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.set_facecolor("none")
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _inline(figure: Figure, name: str, description: str) -> Markup:
    """Return a figure as an SVG element: no outside names, unique ids, colours of the page."""
    buffer = io.StringIO()
    figure.set_layout_engine("constrained")
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    view = re.search(r'viewBox="[^"]*"', text)
    text = text[text.index(">") + 1 :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(#|xlink:href="#)', rf"\g<1>{name}-", text)
    for colour, variable in _PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    opening = f'<svg class="plot" role="img" aria-label="{description}" {view.group() if view else ""}>'
    # Nothing in the figure comes from the user: names of models, numbers, our own words.
    return Markup(opening + text)  # noqa: S704 - as said above
