"""Is what a run reports real? An oracle, which no method under test may ask, looks at every reported region.

python benchmarks/validity.py RUN... --name gtsrb

Each RUN is the folder of a finished run. Scored are fresh samples (purpose "final") that were kept and misread, all
reported regions pooled, and the share of regions in which at least 90 % of them are real. What no region holds is left
out; so are samples that the judges refuse. One JSON per data set.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from main_job import RESULTS

from defuse.bench.oracle import confirmed, train_oracle
from defuse.pipeline import Run
from defuse.records import Purpose, Rate
from defuse.rundir import RunDir
from defuse.versions import provenance
from defuse.workspace import stored_config

PURE = 0.9
"""Share of real failures from which on a region counts as pure."""

EPOCHS = 10


def main() -> None:
    """Score every run with one oracle, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs on the same data")
    parser.add_argument("--name", required=True, help="of the data, in the figures' names")
    parser.add_argument("--oracle", type=Path, help="where the oracle is kept [default: runs/oracle-NAME]")
    parser.add_argument("--seed", type=int, default=0, help="named in the result; the runs have theirs")
    parser.add_argument("--json", type=Path, help="[default: benchmarks/results/validity_NAME.json]")
    parser.add_argument("--quick", action="store_true", help="an oracle of one epoch, to see that it works")
    options = parser.parse_args()
    made = provenance(
        f"python benchmarks/validity.py {' '.join(run.name for run in options.runs)} --name {options.name}"
    )
    figures: dict[str, float] = {}
    regions: dict[str, list[dict[str, object]]] = {}
    for folder in options.runs:
        config = stored_config(RunDir(folder))
        with Run(config, folder) as run:
            epochs = 1 if options.quick else EPOCHS
            oracle = train_oracle(run.splits, options.oracle or Path("runs") / f"oracle-{options.name}", epochs=epochs)
            rows = []
            for region in run.regions.reported:
                samples = run.regions.samples[region.name, Purpose.FINAL]
                failing = samples.kept & (samples.predicted != region.label)
                images = samples.images[failing]
                real = confirmed(oracle, images, np.full(len(images), region.label))
                names = run.splits.class_names
                rows.append(
                    {
                        "region": region.name,
                        "label": names[region.label],
                        "predicted": names[region.predicted],
                        "kept": int(samples.kept.sum()),
                        "samples": len(samples),
                        "failing": len(real),
                        "real": int(real.sum()),
                    }
                )
            search, seconds = run.identified.search, run.seconds["identify"]
        head = f"validity.{options.name}.{config.preset}"
        pooled = Rate(sum(row["real"] for row in rows), sum(row["failing"] for row in rows))
        candidates = sum(count.candidates for count in search.counts)
        figures |= {
            f"{head}.real_bug_rate": pooled.value,
            f"{head}.real_bug_rate_low": pooled.interval[0],
            f"{head}.regions": len(rows),
            f"{head}.flip_rate": sum(count.flips for count in search.counts) / candidates,
            f"{head}.keep_rate": sum(count.kept for count in search.counts) / candidates,
            f"{head}.candidates_per_second": candidates / seconds,
            f"{head}.region_purity": float(np.mean([row["real"] >= PURE * row["failing"] for row in rows])),
            f"{head}.distinct_pairs": len({(row["label"], row["predicted"]) for row in rows}),
        }
        regions[config.preset] = rows
    for name, value in figures.items():
        print(f"{name:50} {value:.4f}")
    result = {
        "figures": figures,
        "regions": regions,
        "seed": options.seed,
        **made,
    }
    path = options.json or RESULTS / f"validity_{options.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
