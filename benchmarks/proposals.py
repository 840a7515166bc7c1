"""Proposals side by side: what each finds for the same budget in a finished run, and how much is real.

python benchmarks/proposals.py RUN --name gtsrb

Each proposal searches alone, with the run's own generator, classifier, judges and gates. Time is the processor's, from
when the seeds are encoded. ``real`` is the share of the failures kept that an oracle confirms, which saw the test
images too and which no search asks (the oracle of ``defuse bench validity``).
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from main_job import RESULTS

from defuse.bench.oracle import EPOCHS, confirmed, train_oracle
from defuse.bench.validity import rendered
from defuse.identify import AggregatePosterior, GradientSearch, Identify, PosteriorNoise, StyleTransfer
from defuse.identify.budget import distinct
from defuse.identify.proposals import AnyProposal
from defuse.judges import Judge
from defuse.pipeline import Run
from defuse.pixels import to_pixels
from defuse.records import Rate
from defuse.rundir import RunDir
from defuse.versions import provenance
from defuse.workspace import stored_config

PROPOSALS: tuple[AnyProposal, ...] = (PosteriorNoise(), StyleTransfer(), GradientSearch(), AggregatePosterior())


class Clock:
    """Processor seconds since the seeds were encoded; give it to a search as its progress."""

    def __init__(self) -> None:
        self.began = time.process_time()

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Start anew as long as seeds are being encoded."""
        del done, total, note
        if task.startswith("encode"):
            self.began = time.process_time()

    @property
    def seconds(self) -> float:
        """Since then."""
        return time.process_time() - self.began


def search(run: Run, settings: Identify, oracle: Judge, seed: int) -> dict[str, Any]:
    """Return what one proposal finds."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        found = settings.run(
            run.splits.reference,
            run.generator,
            run.classifier,
            run.gate_judge,
            seed=seed,
            shard_path=lambda number: Path(folder) / f"{number}.parquet",
            progress=clock,
        )
    seconds, failures, counts = clock.seconds, found.failures, found.search
    kinds = distinct(failures)
    real = Rate.of(confirmed(oracle, rendered(run.renderer, failures.z, failures.label), failures.label))
    return {
        "proposal": settings.proposals[0].kind,
        "candidates": counts.candidates,
        "flips": counts.flips,
        "kept": counts.kept,
        "distinct": len(kinds),
        "confusions": len({kind[1:] for kind in kinds}),
        "seconds": round(seconds, 1),
        "distinct_per_second": len(kinds) / seconds,
        "real": real.value,
        "real_low": real.interval[0],
    }


def main() -> None:
    """Search with each proposal and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--name", required=True, help="of the data, in the result's name")
    parser.add_argument("--budget", type=int, default=20_000, help="for each proposal")
    parser.add_argument("--oracle", type=Path, help="where the oracle is kept [default: runs/oracle-NAME]")
    parser.add_argument("--seed", type=int, default=1, help="of the searches; the run has its own")
    parser.add_argument("--json", type=Path, help="[default: benchmarks/results/proposals_NAME.json]")
    options = parser.parse_args()
    made = provenance(
        f"python benchmarks/proposals.py {options.run.name} --name {options.name} --budget {options.budget}"
    )
    config = stored_config(RunDir(options.run))
    rows = []
    with Run(config, options.run) as run:
        oracle = train_oracle(run.splits, options.oracle or Path("runs") / f"oracle-{options.name}", epochs=EPOCHS)
        run.gate_judge.plausibility(*_first(run))  # the first question costs more
        for proposal in PROPOSALS:
            settings = replace(config.identify, budget=options.budget, rounds=1, proposals=(proposal,))
            rows.append(search(run, settings, oracle, options.seed))
            print(rows[-1], flush=True)
    result = {"rows": rows, "seed": options.seed, **made}
    path = options.json or RESULTS / f"proposals_{options.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def _first(run: Run) -> tuple[torch.Tensor, torch.Tensor]:
    few = run.splits.reference
    return to_pixels(few.images[:1]), torch.from_numpy(few.labels[:1])


if __name__ == "__main__":
    main()
