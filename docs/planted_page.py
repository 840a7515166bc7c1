"""The page about planted bugs: tables and the plot, from the benchmark's stored result."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from svg_plot import svg_plot

from defuse.bench.cells import Cell
from defuse.bench.planted import over
from defuse.bench.scoring import FIRST
from defuse.bench.table import COLUMNS, NONE, deep, groups, percent, written


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
    return f"{INTRODUCTION}{how}\n\n{_table(heads, rows)}\n{PLOT}{TASK_BY_TASK}{_table(TASK_HEADS, tasks)}"


INTRODUCTION = """\
# Planted bugs

Bugs that we planted in classifiers, so that it is known what there is to find. *Unseen*: no image of the bug, nor one
near it, is in anything that a method may look at. *Gap closed*: of the accuracy that the bug costs on real held-out
images; *beyond the control*: of what the same fine-tuning on reference data alone leaves.
"""

PLOT = "![Share of the bugs found against labels given](images/planted.svg)\n\n"

TASK_BY_TASK = """\
## Task by task

Accuracy on real held-out images of the slice. *Ceiling*: the share of them that the method's judges accept. *Deep*: of
an unseen bug the control closes less than half of the gap, as it should.

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
        {None: NONE, True: "yes", False: "no"}[deep(cell)],
    ]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))


def planted_plot(result: Mapping[str, Any]) -> str:
    """Return the plot of recall against labels given, as SVG."""
    cells = [Cell.model_validate(cell) for cell in result["cells"]]
    labels = range(FIRST + 1)

    def draw(axis: Axes) -> None:
        for method, level in groups(cells):
            ranks = [cell.rank for cell in cells if (cell.method, cell.level) == (method, level)]
            recall = [sum(rank is not None and rank <= given for rank in ranks) / len(ranks) for given in labels]
            line = "-" if level == "unseen" else "--"
            axis.step(labels, recall, where="post", linestyle=line, label=f"{method}, {level}")
        axis.set_xlabel("labels that a person gives")
        axis.set_ylabel("share of the bugs found")
        axis.set_ylim(-0.02, 1.02)

    return svg_plot(draw)
