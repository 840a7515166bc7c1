"""The page about planted bugs: tables and the plot, from the benchmark's stored result."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markdown_table import table
from matplotlib.axes import Axes
from svg_plot import svg_plot

from defuse.bench.cells import Cell
from defuse.bench.planted import over
from defuse.bench.scoring import FIRST
from defuse.bench.table import COLUMNS, NONE, deep, groups, percent, written


def planted_page(result: Mapping[str, Any]) -> str:
    """Return the page on a stored result."""
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
    commits, devices = (", ".join(sorted({getattr(cell, name) for cell in cells})) for name in ("commit", "device"))
    how = f"Seeds {seeds}; commits {commits}; computed on {devices}; last command `{result['command']}`.{quick}"
    tables = f"{table(heads, rows)}\n{PLOT}{TASK_BY_TASK}{table(TASK_HEADS, [_task_row(cell) for cell in cells])}"
    stories = "".join(_story(cell) for cell in cells)
    return f"{INTRODUCTION}{how}\n\n{tables}{MISSED}{stories}"


def _story(cell: Cell) -> str:
    """Tell a bug that there is a picture of, drawn by benchmarks/story.py, as a story."""
    picture = f"images/story-{cell.task}.png"
    if cell.method != "default" or cell.rank is None or not (Path(__file__).parent / picture).exists():
        return ""
    repair, found = cell.repair, cell.findings[cell.rank - 1]
    return (
        f"\n## {cell.task.replace('-', ' ').capitalize()}\n\n"
        f"Test accuracy said {percent(repair.test_before)}. Defuse, which saw no image of the bug, reported "
        f"{cell.reported} regions; no. {cell.rank} ({found.name}) is the bug. Of {repair.before.trials} real images of "
        f"it the classifier read {percent(repair.before)} right; after the same fine-tuning on reference data alone "
        f"{percent(repair.control)}, after the repair {percent(repair.after)}; a classifier without the bug reads "
        f"{percent(repair.clean)}. Test accuracy after the repair: {percent(repair.test_after)}.\n\n"
        f"![{cell.task}: reference images, the region, real images before and after]({picture})\n"
    )


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

MISSED = """
## What is missed, and why

- *dark-pullover-as-coat*: judges that never saw a dark pullover take it for a coat or a shirt too: they accept 1 in 100
  real ones (*ceiling*). Seen through their eyes it is no bug.
- *faint-yield-as-priority*: faint yield signs read as priority road are reported, as no. 2, but no more than 5 % of
  the samples are as faint as the slice: they lie in the margin beside it. The repair reaches 46 % of the real ones all
  the same.
- *dark-50-as-80* is found as no. 4, yet its repair reaches 27 % of the real dark 50s, where that of the genetic search
  reaches 81 %: that reports 3 regions, Defuse 35 of the same classifier, and all are repaired together under the same
  caps on right answers turned wrong. What else is wrong with a model costs the planted bug its repair: fine-tuning on
  reference data alone, which has no caps, reaches 36 %.
- *narrow-dress-as-trouser*: judges accept a quarter of the real narrow dresses, and the repair reaches half.
- *bright-30-as-70* is found as no. 10 of 32, and its repair reaches 74 %, where fine-tuning on reference data alone
  reaches 84 %: the bug is not deep. It took the place of *blurred-30-as-70*, which was no bug: of real blurred 30s the
  classifier that was taught it read 86 of 100 right. It was chosen by whether the bug takes, before anything looked for
  it.
- The control beside a repair goes the same part of the way from the given weights as the repair does. Beyond
  *reference_only*, which goes all of it, `default` closes 56 % of what is left, the genetic search 43 %.
- Fewer regions, other tails: of the failing samples of the first ten regions the oracle confirms 97 % on digits and
  on photographs of signs, 93 and 87 % on rendered ones, 80 % on garments, where narrow dresses, hidden from the judges,
  are reported as trousers.
- Adversarial fine-tuning, which finds nothing, mends much (bags 90 %, thin 6s), and breaks 3 % of the right answers:
  2 points of test accuracy.
- Training the last layer alone repairs less than half as much.
- Repairs of Fashion-MNIST turn more right answers into wrong ones than 0.3 %: so does every fine-tuning of a model that
  is right at 9 of 10, the control's too (1.6 %), and test accuracy rises all the same. So the cap is 0.3 % or the
  control's share, whichever is more.
- A yellow square of 4 pixels in a corner, in place of the band of 6 rows that *marked-stop-as-yield* has now, was never
  found: the generator does not draw anything so small.
- *Seen* are six of the twelve bugs; the others were cut off.
- Since then what the search met fewer than 20 times is not grown any more, what is grown is tested once more before it
  takes the place of what it grew from, and it stops where judges keep four fifths of what they kept at first. Of the
  samples of eight natural confusions of the classifier that reads dark 50s as 80s an oracle confirms 98.9 % where
  nothing is grown and 97.2 % where all is; the difference lies in one region of 14 failures.

What made the difference to the runs before (commit 2b4ec5b: recall 75 %, strict 67 %, gap closed 43 %, 34 % beyond the
control, genetic 41 and 32 %) was tried on digits with another seed, on which nothing here is scored: regions grow from
the edge of a bug to where the classifier errs most surely; one Gaussian for each confusion in place of four (thin 6s:
10 regions for 16, real ones repaired 80 % for 63 %, with growth 83 %); and the repair that is surest of the regions is
taken, not the gentlest that reads them right (88 %, at lambda 0.3).

The picture of dark 50s below is of an earlier run (commit c2009c8: 63 % right after the repair, control 48 %).
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


def planted_plot(result: Mapping[str, Any]) -> str:
    """Return the plot of recall against labels given, as SVG, of the methods that report anything at all."""
    cells = [Cell.model_validate(cell) for cell in result["cells"]]
    reporting = {cell.method for cell in cells if cell.reported}
    cells = [cell for cell in cells if cell.method in reporting]
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
