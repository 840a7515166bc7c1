"""Do judges favour images that were made from what they were trained on? Judges of one half of the reference images.

python benchmarks/crossfit.py RUN --name mnist

RUN is the folder of a finished run, on data without groups. Its gate judges are trained anew, on a random half of the
reference images. Then the run's own search draws flips, from seeds of both halves, with no judge asked, and the half's
judges say which of them show their label. If a judge were kinder to what it was trained on, it would accept more of the
flips whose seed lies in its half. An oracle, which saw every image, says how many of the accepted ones are real.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import RESULTS
from shares import share

from defuse.bench.oracle import train_oracles
from defuse.bench.validity import rendered
from defuse.cli.bars import Bars
from defuse.identify import Identify
from defuse.identify.seeds import Reconstructs
from defuse.judges import Judge, KeepsLabel, Legible, Misclassified
from defuse.pipeline import Run
from defuse.pixels import to_pixels
from defuse.records import Failures, LabelledImages, Rate
from defuse.rundir import RunDir, write_json
from defuse.seeds import numpy_rng
from defuse.types import ByteImages, Mask
from defuse.versions import provenance
from defuse.workspace import stored_config


def main() -> None:
    """Train the judges of one half, ask them, and write what they accept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--name", required=True, help="of the data, in the result's name")
    parser.add_argument("--budget", type=int, default=60_000, help="candidates of the search")
    parser.add_argument("--oracles", type=Path, default=Path("runs/oracles"), help="where they are kept")
    parser.add_argument("--seed", type=int, default=1, help="of the halves and the search; the run has its own")
    parser.add_argument("--json", type=Path, help="[default: benchmarks/results/crossfit_NAME.json]")
    options = parser.parse_args()
    made = provenance(f"python benchmarks/crossfit.py {options.run.name} --name {options.name}")
    with Bars(quiet=False) as bars, Run(stored_config(RunDir(options.run)), options.run, progress=bars) as run:
        oracle = train_oracles(run.splits, options.oracles, progress=bars)["networks"]
        half = _half(run.splits.reference, options.seed)
        with tempfile.TemporaryDirectory() as folder:
            panel = replace(run.config.judges, label=("outlines",)).fit(
                half, run.splits.validation, seed=options.seed, folder=Path(folder) / "judges", progress=bars
            )
            failures = _flips(run, options.budget, options.seed, Path(folder))
        images = rendered(run.renderer, failures.z, failures.label)
        accepted = _accepted(panel.gate, images, failures)
        real = oracle.confirms(images, failures.label)
    rows = _rows(failures, np.isin(failures.seed, half.rows), accepted, real)
    for row in rows:
        print(row)
    write_json(options.json or RESULTS / f"crossfit_{options.name}.json", {"rows": rows, "seed": options.seed, **made})


def _half(reference: LabelledImages, seed: int) -> LabelledImages:
    return reference.take(np.sort(numpy_rng(seed, "halves").permutation(len(reference))[: len(reference) // 2]))


def _flips(run: Run, budget: int, seed: int, folder: Path) -> Failures:
    settings: Identify = replace(
        run.config.identify, budget=budget, rounds=1, gates=(Reconstructs(), Misclassified(), Legible())
    )
    return settings.run(
        run.splits.reference,
        run.generator,
        run.classifier,
        run.panel.gate,  # never asked: no gate here asks a judge
        seed=seed,
        shard_path=lambda number: folder / f"{number}.parquet",
        progress=run.progress,
    ).failures


def _accepted(judge: Judge, images: ByteImages, failures: Failures) -> Mask:
    found = KeepsLabel().look(to_pixels(images), torch.from_numpy(failures.label), judge)
    return np.asarray(found.mask.numpy())


def _rows(failures: Failures, own: Mask, accepted: Mask, real: Mask) -> list[dict[str, Any]]:
    """Return, for every proposal, what the judges accept of flips whose seed they trained on, and of the others."""
    made_by = np.array(failures.proposal)
    return [
        {
            "proposal": proposal,
            "seed": name,
            "accepted": share(Rate.of(accepted[of])),
            "real_of_accepted": share(Rate.of(real[of & accepted])),
        }
        for proposal in dict.fromkeys(failures.proposal)
        for name, whose in (("trained on", own), ("not seen", ~own))
        for of in [whose & (made_by == proposal)]
    ]


if __name__ == "__main__":
    main()
