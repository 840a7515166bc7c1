"""Do reported regions exist among real images? Rendered signs, of which there are as many as one likes, tell.

python benchmarks/detail.py --out runs/detail

The demo's classifier reads dark 50s as 80s, and next to nothing else wrongly. It is searched twice, in images as the
generator draws them and in images with the fine detail of real ones. Then fresh signs of each region's class are
rendered over the whole range of every factor, and of those whose codes lie nearest to the region the classifier reads
so many wrongly. Nothing is chosen by these renders.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from main_job import RESULTS
from shares import share

from defuse.cli.bars import Bars
from defuse.data import SIGN_NAMES, SignSettings, render
from defuse.demo import demo_config, demo_splits, planted_classifier
from defuse.distill.natural import distances
from defuse.generators import mean_codes
from defuse.pipeline import Run
from defuse.records import LabelledImages, Rate, Region
from defuse.seeds import derive
from defuse.versions import provenance

RENDERS = 4_000
NEAREST = 50


def main() -> None:
    """Find the regions both ways, and write what the renders say of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0", help="of the demo, with commas")
    parser.add_argument("--out", type=Path, default=Path("runs/detail"), help="folder of the runs")
    parser.add_argument("--json", type=Path, default=RESULTS / "detail.json")
    options = parser.parse_args()
    made = provenance(f"python benchmarks/detail.py --seeds {options.seeds}")
    seeds = [int(seed) for seed in options.seeds.split(",")]
    with Bars(quiet=False) as bars:
        rows = [row for seed in seeds for row in _looked_at(seed, options.out / str(seed), bars)]
    for row in rows:
        print(*(row[key] for key in ("seed", "detail", "region", "label", "predicted")), row["renders"]["value"])
    result = {"rows": rows, "renders": RENDERS, "nearest": NEAREST, "seeds": seeds, **made}
    options.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _looked_at(seed: int, out: Path, bars: Bars) -> Iterator[dict[str, Any]]:
    splits = demo_splits(seed)
    classifier = planted_classifier(out / "planted.safetensors", splits.validation, seed, bars)
    config = demo_config(seed)
    for detail in (False, True):
        changed = config.model_copy(update={"identify": replace(config.identify, detail=detail)})
        with Run(changed, out / "run", classifier=classifier, splits=splits, progress=bars, redo=True) as run:
            renders = Renders(run, seed)
            for region in run.regions.reported:
                yield {
                    "seed": seed,
                    "detail": detail,
                    "region": region.name,
                    "label": SIGN_NAMES[region.label],
                    "predicted": SIGN_NAMES[region.predicted],
                    "failing": share(region.evidence.failure),
                    "renders": share(renders.misread_near(region)),
                }


class Renders:
    """Fresh signs of any class, rendered once, with their codes."""

    def __init__(self, run: Run, seed: int) -> None:
        self._run = run
        self._seed = derive(seed, "detail", "renders")
        self._of = cache(self._rendered)

    def misread_near(self, region: Region) -> Rate:
        """Return how many of the renders nearest to a region, by Mahalanobis distance of their codes, are misread."""
        images, codes = self._of(region.label)
        near = images.take(np.argsort(distances(region, codes))[:NEAREST])
        return Rate.of(self._run.classifier.predict(near.images) != near.labels)

    def _rendered(self, label: int) -> tuple[LabelledImages, np.ndarray]:
        images = render(SignSettings(), RENDERS, seed=self._seed, labels=np.full(RENDERS, label, dtype=np.int64)).images
        return images, mean_codes(self._run.generator, images).astype(np.float64)


if __name__ == "__main__":
    main()
