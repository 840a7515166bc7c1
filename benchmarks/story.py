"""One planted bug in pictures: what Defuse may look at, what it drew, and real images of the bug before and after.

python benchmarks/story.py runs/planted thin-6-as-1 --data DIR

It reads the finished cell of ``defuse bench planted`` in that folder and writes ``docs/images/story-TASK.png``.
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from defuse.bench.cells import Place
from defuse.bench.methods import Chain
from defuse.bench.planting import Ground, taught
from defuse.bench.tasks import LEVELS, choose_tasks
from defuse.classifiers import load_weights
from defuse.distill import load_regions
from defuse.records import Purpose
from defuse.rundir import RunDir, read_json
from defuse.types import ByteImages

ROOT = Path(__file__).parent.parent

SHOWN = 10
"""Images in a row."""


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the benchmark: --out of the command")
    parser.add_argument("task")
    parser.add_argument("--data", type=Path, default=None, help="folder of the archives")
    parser.add_argument("--level", choices=LEVELS, default="unseen")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    (task,) = choose_tasks((options.task,))
    name = Place(task, Chain("default"), options.level, options.seed).name
    cell = read_json(options.folder / "cells" / f"{name}.json")
    run = RunDir(options.folder / "runs" / f"{name}_{cell['key'].partition('-')[2]}")
    ground = Ground.read(task.data, options.data, options.seed)

    own = ground.visible(options.level).reference
    own = own.take(own.labels == task.label)
    found = cell["findings"][(cell["rank"] or 1) - 1]["name"]
    tiles = load_regions(run.regions).samples[found, Purpose.SHOW].images
    held_out = ground.held_out(task.name)
    model = taught(ground, task, options.folder / "cache" / "classifiers")
    before = model.predict(held_out.images)
    load_weights(run.repaired, model.module)
    after = model.predict(held_out.images)

    names = list(held_out.class_names)
    _, names[task.label], _, names[task.answer] = task.name.removeprefix("signs-").split("-")
    rows = _spread(len(held_out))
    answers = [f"{names[a]} > {names[b]}" for a, b in zip(before[rows], after[rows], strict=True)]
    path = ROOT / "docs" / "images" / f"story-{task.name}.png"
    _draw(
        path,
        (
            (f"what Defuse was given: {names[task.label]}", own.images[_spread(len(own))], None),
            (f"what it drew: region {found}", tiles[:SHOWN], None),
            ("real images kept from it, read as: before > after", held_out.images[rows], answers),
        ),
    )
    print(f"wrote {path}")


def _spread(count: int) -> np.ndarray:
    """Return ``SHOWN`` rows, evenly spaced."""
    return np.linspace(0, count - 1, SHOWN).astype(np.int64)


def _draw(path: Path, rows: tuple[tuple[str, ByteImages, list[str] | None], ...]) -> None:
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(SHOWN, 1.35 * len(rows)), layout="constrained")
    for line, (title, images, captions) in zip(axes, rows, strict=True):
        line[0].text(0, 1.08, title, transform=line[0].transAxes, fontsize=9).set_in_layout(False)
        for place, axis in enumerate(line):
            axis.axis("off")
            if place < len(images):
                axis.imshow(images[place].squeeze(), cmap="gray", vmin=0, vmax=255)
            if captions:
                axis.text(0.5, -0.06, captions[place], transform=axis.transAxes, ha="center", va="top", fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
