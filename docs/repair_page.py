"""The page about repair methods: one table of all of them, made from benchmarks/results/repair.json."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markdown_table import table

TEXT = """# Repair methods side by side

The same regions with the same labels, the same images and the same number of steps; only the method differs. *Region
failures* are on samples of the labelled regions that no method trains on or chooses by; *worst* is the worst seed.
Region samples are generated: what a repair is worth on real images of a bug, [planted bugs](planted.md) tell.

- `default`: fine-tuning at several lambdas that keeps the model's own right answers, blended with the given weights;
  lambda and blend are chosen on validation images, under caps on accuracy lost and on right answers turned wrong. Here
  as it was when it took the gentlest of those that leave the fewest region failures, and before `keep_logits`; now it
  takes the surest, and is tried with the model's logits kept as well as with its answers.
- `answers`: the model's own right answers are kept, its logits not.
- `labels`: the labels of the reference images are the targets, not the model's own right answers.
- `whole_way`: no blending.
- `last_layer`: the last layer alone is trained.
- `smooth`: region samples as they are generated, without the fine detail of real images. This was a setting of the
  repair when these rows were made; now `identify.detail` gives every sample of a region such detail.
- `paper`: fine-tuning at lambda as published (Slack et al., arXiv:2102.06162), with values of ours, without caps.
- `reference_only`: the control, the same steps without any region.

"""

HEADS = (
    *("data", "method", "seeds", "region failures before", "after", "worst"),
    *("test accuracy, points", "right answers turned wrong"),
)

NAMES = (
    *("region_accuracy_before", "region_accuracy", "region_accuracy_least"),
    *("test_accuracy_change", "negative_flips", "seeds"),
)
"""The figures of a row; the first three are accuracies, and told as failures."""

COMMAND = "\nCells at commits {commits}; last command `{command}`.\n"


def repair_page(path: Path) -> str | None:
    """Return the page in Markdown; None where nothing has been measured."""
    if not path.exists():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    figures: Mapping[str, float] = result["figures"]
    rows = dict.fromkeys(name.rsplit(".", 1)[0] for name in figures)
    commits = ", ".join(sorted({cell["commit"] for cell in result["cells"]}))
    told = COMMAND.format(commits=commits, command=result["command"])
    return TEXT + table(HEADS, [_row(row, figures) for row in rows]) + told


def _row(head: str, figures: Mapping[str, Any]) -> list[str]:
    _, data, method = head.split(".")
    value = {name: figures[f"{head}.{name}"] for name in NAMES}
    before, after, least = (f"{100 * (1 - value[name]):.1f} %" for name in NAMES[:3])
    return [
        *(data, f"`{method}`", str(value["seeds"]), before, after, least),
        f"{100 * value['test_accuracy_change']:+.2f}",
        f"{100 * value['negative_flips']:.2f} %",
    ]
