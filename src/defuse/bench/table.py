"""Cells and figures in words: lines for the terminal, a table for the docs."""

from collections.abc import Mapping, Sequence
from typing import Any

from defuse.bench.cells import Cell
from defuse.bench.planted import over, value
from defuse.bench.tasks import LEVELS
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
    shallow = "" if repair.deep else " (SHALLOW: the control closes half of the gap)"
    return f"{cell.task}, {cell.level}, {cell.method}: {found}; real images: {shares}{shallow}"


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


def planted_page(result: Mapping[str, Any]) -> str:
    """Return the page on a stored result: one table over all tasks, one of the tasks."""
    cells = [Cell.model_validate(cell) for cell in result["cells"]]
    heads = ["method", "bugs are", "cells", *(heading for heading, _ in COLUMNS.values())]
    rows = []
    for method, level in groups(cells):
        group = [cell for cell in cells if (cell.method, cell.level) == (method, level)]
        numbers = over(group)
        figures = (written(numbers[name], unit) for name, (_, unit) in COLUMNS.items())
        rows.append([method, level, str(len(group)), *figures])
    quick = " With `--quick`: four tasks, a small budget." if result["quick"] else ""
    seeds = ", ".join(map(str, result["seeds"]))
    how = f"Seeds {seeds}; commit {result['commit']}; `{result['command']}`.{quick}"
    tasks = [_task_row(cell) for cell in cells]
    return f"{INTRODUCTION}{how}\n\n{_table(heads, rows)}\n{TASK_BY_TASK}{_table(TASK_HEADS, tasks)}"


INTRODUCTION = """\
# Planted bugs

Bugs that we planted in classifiers, so that it is known what there is to find. *Unseen*: no image of the bug, nor one
near it, is in anything that a method may look at. *Gap closed*: of the accuracy that the bug costs on real held-out
images; *beyond the control*: of what the same fine-tuning on reference data alone leaves.
"""

TASK_BY_TASK = """\
## Task by task

Accuracy on real held-out images of the slice. *Ceiling*: the share of them that the method's judges accept. *Deep*: the
control closes less than half of the gap, as it should.

"""

TASK_HEADS = (
    *("task", "kind", "bugs are", "method", "seed", "found as no.", "before", "control", "after", "clean", "ceiling"),
    *("negative flips", "deep"),
)


def _task_row(cell: Cell) -> list[str]:
    repair = cell.repair
    shares = (repair.before, repair.control, repair.after, repair.clean, cell.ceiling, repair.negative_flips)
    return [
        cell.task,
        cell.kind,
        cell.level,
        cell.method,
        str(cell.seed),
        str(cell.rank or NONE),
        *(percent(share) for share in shares),
        "yes" if repair.deep else "no",
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))


def percent(share: Share | None) -> str:
    """Return a share as percent; a dash where there is none."""
    return NONE if share is None else f"{100 * value(share):.1f} %"


def written(number: float | None, unit: str) -> str:
    """Return a figure with its unit; a dash where there is none."""
    if number is None:
        return NONE
    return {"%": f"{100 * number:.1f} %", "points": f"{100 * number:+.2f} points", "#": f"{number:g}"}[unit]
