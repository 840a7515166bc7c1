"""Cells and figures in words."""

from collections.abc import Mapping, Sequence

from defuse.bench.cells import Cell
from defuse.bench.planted import over, value
from defuse.bench.tasks import LEVELS
from defuse.bench.validity import JUDGED_BY, Confirmed, Validity
from defuse.summary import Share

NONE = "-"

COLUMNS: Mapping[str, tuple[str, str]] = {
    "recall_at_10": ("recall at 10", "%"),
    "strict_recall_at_10": ("strict", "%"),
    "precision_at_10": ("precision at 10", "%"),
    "labels_to_find": ("labels to find", "#"),
    "gap_closed": ("gap closed", "%"),
    "excess_gap_closed": ("beyond the control", "%"),
    "test_accuracy_change": ("test accuracy", "points"),
    "negative_flips": ("negative flips", "%"),
}
"""Figure -> its heading and unit."""


def cell_line(cell: Cell) -> str:
    """Tell a cell in one line: the rank of the first match, and accuracy on real held-out images of the slice."""
    found = f"found as no. {cell.rank}" if cell.rank else f"not found in {min(cell.reported, 10)}"
    repair = cell.repair
    parts = {name: getattr(repair, name) for name in ("before", "control", "after", "clean")}
    shares = ", ".join(f"{name} {percent(share)}" for name, share in parts.items())
    shallow = " (SHALLOW: the control closes half of the gap)" if deep(cell) is False else ""
    return f"{cell.task}, {cell.level}, {cell.method}: {found}; real images: {shares}{shallow}"


def deep(cell: Cell) -> bool | None:
    """Return whether the control closes less than half of the gap; None where it may look at the slice itself."""
    return cell.repair.deep if cell.level == "unseen" else None


def closing_lines(cells: Sequence[Cell]) -> list[str]:
    """Return one line per method and level."""
    lines = []
    for method, level in groups(cells):
        numbers = over([cell for cell in cells if (cell.method, cell.level) == (method, level)])
        told = ", ".join(f"{heading} {written(numbers[name], unit)}" for name, (heading, unit) in COLUMNS.items())
        lines.append(f"{method}, {level}: {told}")
    return lines


def groups(cells: Sequence[Cell]) -> list[tuple[str, str]]:
    """Return the (method, level) pairs that there are, methods in the order of their first cell."""
    there = {(cell.method, cell.level) for cell in cells}
    methods = dict.fromkeys(cell.method for cell in cells)
    return [(method, level) for method in methods for level in LEVELS if (method, level) in there]


def percent(share: Share | None) -> str:
    """Return a share as percent; a dash where there is none."""
    return NONE if share is None else f"{100 * value(share):.1f} %"


def written(number: float | None, unit: str) -> str:
    """Return a figure with its unit; a dash where there is none."""
    if number is None:
        return NONE
    return {"%": f"{100 * number:.1f} %", "points": f"{100 * number:+.2f} points", "#": f"{number:g}"}[unit]


def validity_lines(run: Validity) -> list[str]:
    """Tell how real a run's regions and its proposals' failures are, one line each."""
    limits = ", ".join(f"{name} {percent(limit.held_out)}" for name, limit in run.oracles.items())
    lines = [
        f"{run.data}, {run.preset}: of real held-out images the oracles confirm: {limits}",
        f"  {len(run.regions)} regions in {run.confusions} confusions: {confirmed_line(run.pooled)}",
    ]
    return lines + [f"  {part.proposal}: {confirmed_line(part)}" for part in run.proposals]


def confirmed_line(part: Confirmed) -> str:
    """Tell what each oracle confirms."""
    if not part.failing:
        return "nothing to look at"
    return f"of {part.failing} " + ", ".join(f"{name} {part.rate(name)}" for name in JUDGED_BY)
