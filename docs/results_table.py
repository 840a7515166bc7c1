"""The table of results in the README, made from the files under benchmarks/results."""

import json
from pathlib import Path
from typing import Any

HEADER = (
    "| data | preset | regions | region failures before | control | after | test accuracy before | after | "
    "negative flips | minutes | commit |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def results_table(folder: Path) -> str:
    """Return one row per committed run, in order of the files' names."""
    rows = [_row(json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.glob("main_job_*.json"))]
    return HEADER + "".join(rows)


def _row(result: dict[str, Any]) -> str:
    summary = result["summary"]
    repair = summary["repair"]
    cells = [result["name"], summary["preset"], str(len(summary["regions"]))]
    if repair is None:
        cells += ["-", "-", "-", _percent(summary["test_accuracy"], 2), "-", "-"]
    else:
        cells += [_percent(repair[when]["region_failure_rate"], 1) for when in ("before", "control", "after")]
        cells += [_percent(repair[when]["test_accuracy"], 2) for when in ("before", "after")]
        cells.append(_percent(repair["negative_flips"], 2))
    cells += [f"{result['seconds'] / 60:.0f}", result["commit"]]
    return f"| {' | '.join(cells)} |\n"


def _percent(share: dict[str, Any], digits: int) -> str:
    return "-" if share["value"] is None else f"{100 * share['value']:.{digits}f} %"
