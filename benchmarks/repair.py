"""Repair methods side by side: the same regions, labels, images and steps, and what each method makes of them.

python benchmarks/repair.py runs/mnist-default-0 runs/gtsrb-default-0 --seeds 0,1,2

Each RUN is the folder of a finished run whose regions have labels. Scored are the ``final`` samples of every labelled
region, which no method trains on or chooses by, and the test images. Region samples are generated: how a repair carries
over to real images of a bug is what ``defuse bench planted`` measures. Every (run, method, seed) is a cell with a JSON
of its own below --out, and is never done twice.
"""

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from main_job import RESULTS
from shares import share

from defuse.cli.bars import Bars
from defuse.config import PRESETS
from defuse.correct.repair import Corrected
from defuse.outcomes import Flips, Scores
from defuse.pipeline import Run
from defuse.progress import Progress
from defuse.rundir import RunDir, read_json, write_json
from defuse.versions import commit, provenance
from defuse.workspace import stored_config

METHODS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "answers": {"keep_logits": (0.0,)},
    "labels": {"keep_answers": False},
    "whole_way": {"blends": (1.0,)},
    "last_layer": {"layers": "last"},
    "paper": PRESETS["paper"]["correct"],
}
"""Method -> what it changes in the run's own settings of ``correct``."""

CONTROL = "reference_only"
"""Not a method of its own: the control of ``default``."""


def main() -> None:
    """Do every cell, then write the figures over all that the folder holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"of {', '.join(METHODS)}, with commas")
    parser.add_argument("--seeds", default="0", help="of the fine-tuning, with commas; the regions stay the same")
    parser.add_argument("--out", type=Path, default=Path("runs/repair"), help="folder of the cells")
    parser.add_argument("--json", type=Path, default=RESULTS / "repair.json")
    parser.add_argument("--quick", action="store_true", help="five steps, one lambda, to see that it works")
    options = parser.parse_args()
    told = f"python benchmarks/repair.py {' '.join(run.name for run in options.runs)} --seeds {options.seeds}"
    made = provenance(f"{told} --methods {options.methods}")
    options.out.mkdir(parents=True, exist_ok=True)
    for folder in options.runs:
        with Bars(quiet=False) as bars, Run(stored_config(RunDir(folder)), folder, progress=bars) as run:
            for method in options.methods.split(","):
                for seed in map(int, options.seeds.split(",")):
                    _cell(run, method, seed, options.out, bars, quick=options.quick)
    cells = [read_json(path) for path in sorted(options.out.glob("*.json"))]
    seeds = sorted({cell["seed"] for cell in cells})
    result = {"figures": _figures(cells), "cells": cells, **made, "seeds": seeds}
    write_json(options.json, result)
    for name, value in result["figures"].items():
        print(f"{name:55} {value:.4f}")


def _cell(run: Run, method: str, seed: int, out: Path, progress: Progress, *, quick: bool) -> None:
    data = Path(run.config.data.source).stem
    path = out / f"{data}_{method}_{seed}.json"
    if path.exists():
        return
    short = {"steps": 5, "lambdas": (1.0,)} if quick else {}
    correct = replace(run.config.correct, **{**METHODS[method], **short})
    made_by, began = commit(), time.monotonic()
    done = correct.run(run.classifier, run.splits, run.looked_over, run.labels, seed=seed, progress=progress)
    seconds = time.monotonic() - began
    write_json(path, {"data": data, "method": method, "seed": seed, "commit": made_by, **_told(done, seconds)})
    print(path.name, done.reason, flush=True)


def _told(done: Corrected, seconds: float) -> dict[str, Any]:
    """Return a cell's figures; ``repair`` is null where no region has a label."""
    told: dict[str, Any] = {"reason": done.reason, "seconds": round(seconds, 1), "repair": None}
    repair = done.repair
    if repair is None:
        return told
    models = {
        "before": _model(repair.before, None),
        "control": _model(repair.control, repair.control_flips),
        "after": _model(repair.after, repair.flips),
    }
    return {**told, "repair": {"chosen": repair.chosen, "regions": len(repair.before.regions), **models}}


def _model(scores: Scores, flips: Flips | None) -> dict[str, Any]:
    return {
        "region_failures": share(scores.failure),
        "test_accuracy": share(scores.test),
        "flips": None if flips is None else asdict(flips),
    }


def _figures(cells: list[dict[str, Any]]) -> dict[str, float]:
    """Return means over the seeds, by dotted name."""
    figures: dict[str, float] = {}
    for data, method, repairs in _groups(cells):
        after, before = ([repair[when] for repair in repairs] for when in ("after", "before"))
        figures |= _over(f"repair.{data}.{method}", before, after)
        if method == "default":
            control = [repair["control"] for repair in repairs]
            figures |= _over(f"repair.{data}.{CONTROL}", before, control)
    return figures


def _groups(cells: list[dict[str, Any]]) -> Iterator[tuple[str, str, list[dict[str, Any]]]]:
    for data in dict.fromkeys(cell["data"] for cell in cells):
        for method in METHODS:
            of = [cell["repair"] for cell in cells if (cell["data"], cell["method"]) == (data, method)]
            if repairs := [repair for repair in of if repair is not None]:
                yield data, method, repairs


def _over(head: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, float]:
    tested = [part["test_accuracy"] for part in after]
    broken = [(part["flips"] or {"broken": 0})["broken"] for part in after]
    values = {
        "region_accuracy": fmean(1 - part["region_failures"]["value"] for part in after),
        "region_accuracy_least": min(1 - part["region_failures"]["value"] for part in after),
        "region_accuracy_before": fmean(1 - part["region_failures"]["value"] for part in before),
        "test_accuracy_change": fmean(
            now["value"] - then["test_accuracy"]["value"] for now, then in zip(tested, before, strict=True)
        ),
        "negative_flips": fmean(count / part["trials"] for count, part in zip(broken, tested, strict=True)),
        "seeds": len(after),
    }
    return {f"{head}.{name}": round(value, 5) for name, value in values.items()}


if __name__ == "__main__":
    main()
