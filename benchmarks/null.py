"""Where there is no bug, is none reported? Signs, and classifiers that err only where nobody could tell.

python benchmarks/null.py --runs 20 --out runs/null

A tenth of the signs is hazed or blurred past what is drawn on them. Each run renders its own signs, and teaches a
classifier on five times as many as Defuse may look at, so that its judges, which know less, cannot know better: what
it gets wrong is what nobody can read. Any region that such a run reports is a false alarm. Every run is a cell of its
own; the same command goes on where an interrupted one stopped.

With ``--answers-of RUN`` the candidate regions of a finished run are tested as well, 200 times, with the classifier's
answers on their fresh samples drawn at random, wrong at the rate rho that a region must exceed.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from main_job import RESULTS
from shares import share

from defuse.classifiers import TorchClassifier, Training, build_network, load_weights, save_weights, train
from defuse.cli.bars import Bars
from defuse.config import build_config
from defuse.data import SIGN_NAMES, SignSettings, render
from defuse.devices import pick_device
from defuse.distill import RegionSampler
from defuse.distill.statistics import adjust, gather_evidence
from defuse.pipeline import Run
from defuse.progress import Progress
from defuse.records import LabelledImages, Purpose, Rate, RegionSamples, Splits
from defuse.rundir import RunDir, read_json, write_json
from defuse.seeds import derive, numpy_rng
from defuse.types import Mask
from defuse.versions import commit, provenance
from defuse.workspace import stored_config

PARTS = ("train", "validation", "test")
SIGNS = {"train": 30_000, "validation": 1_500, "test": 5_000}
KNOWN = 6_000
"""How many of those to train on Defuse may look at."""

HIDDEN: tuple[Mapping[str, tuple[float, float]], ...] = ({"contrast": (0.0, 0.02)}, {"blur": (3.5, 4.0)})
"""What is past reading: haze that leaves next to nothing; a blur wider than a figure's strokes are apart."""

SHARE = 0.05
"""Share of the signs that each of these is done to."""

TAUGHT = Training(epochs=8, batch_size=128, augment="affine_light")
REPETITIONS = 200


def main() -> None:
    """Do the runs that are not done yet, and write what they reported."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--budget", type=int, default=100_000, help="candidates of each search")
    parser.add_argument("--out", type=Path, default=Path("runs/null"), help="folder of the runs and their cells")
    parser.add_argument(
        "--answers-of", type=Path, metavar="RUN", help="folder of a finished run that trained its own classifier"
    )
    parser.add_argument("--json", type=Path, help="[default: benchmarks/results/null.json; with --quick, in --out]")
    parser.add_argument("--quick", action="store_true", help="a tenth of everything, to see that it works")
    options = parser.parse_args()
    small = 10 if options.quick else 1
    told = f"python benchmarks/null.py --runs {options.runs} --budget {options.budget}"
    told += f" --answers-of {options.answers_of.name}" if options.answers_of else ""
    made = provenance(told + (" --quick" if options.quick else ""))
    with Bars(quiet=False) as bars:
        drawn = chance(options.answers_of, bars) if options.answers_of else None
        cells = [cell(seed, options.out, options.budget // small, small, bars) for seed in range(options.runs)]
    result = {"figures": figures(cells, drawn), "cells": cells, "drawn": drawn, "quick": options.quick, **made}
    write_json(options.json or (options.out if options.quick else RESULTS) / "null.json", result)
    print(json.dumps(figures(cells, drawn), indent=2))


def figures(cells: list[dict[str, Any]], drawn: dict[str, Any] | None) -> dict[str, float]:
    """Return the figures by dotted name."""
    alarms = Rate(sum(bool(one["regions"]) for one in cells), len(cells))
    found = {"validity.null.share_of_runs_reporting": alarms.value, "validity.null.runs": alarms.trials}
    if drawn:
        found["validity.null.share_of_draws_reporting"] = drawn["reporting"]["value"]
    return found


def cell(seed: int, out: Path, budget: int, small: int, progress: Progress) -> dict[str, Any]:
    """Return one run's result, read where it is there already."""
    name = f"{seed}_{budget}" + ("_quick" if small > 1 else "")
    path, weights = out / f"{name}.json", out / f"{name}.safetensors"
    if path.exists():
        stored: dict[str, Any] = read_json(path)
        return stored
    made_by = commit()  # of the code that runs, whatever is committed meanwhile
    lesson, validation, test = (_signs(SIGNS[part] // small, derive(seed, "null", part)) for part in PARTS)
    splits = Splits(lesson.take(np.arange(KNOWN // small)), validation, test)
    module = build_network("resnet", channels=3, classes=len(lesson.class_names), size=32, seed=derive(seed, "weights"))
    classifier = TorchClassifier(module, lesson.class_names, device=pick_device())
    if weights.exists():
        load_weights(weights, module)
    else:
        train(module, lesson, splits.validation, TAUGHT, seed=derive(seed, "training"), progress=progress)
        out.mkdir(parents=True, exist_ok=True)
        save_weights(weights, module)
    wrong, hidden = ~classifier.reads_right(test), _hidden(len(test))
    settings = {"seed": seed, "identify": {"budget": budget}, "generator": {"min_reconstruction": 0}}
    config = build_config(settings, where="null", defaults={"data": {"source": "signs"}})
    with Run(config, out / f"run-{name}", classifier=classifier, splits=splits, progress=progress) as run:
        regions, search = run.regions, run.identified.search
        names = splits.class_names
        result = {
            "seed": seed,
            "commit": made_by,
            "wrong_hidden": share(Rate.of(wrong[hidden])),
            "wrong_plain": share(Rate.of(wrong[~hidden])),
            "flips": sum(count.flips for count in search.counts),
            "kept": sum(count.kept for count in search.counts),
            "fitted": regions.fitted,
            "regions": [f"{names[one.label]} read as {names[one.predicted]}" for one in regions.reported],
        }
    write_json(path, result)
    return result


def chance(folder: Path, progress: Progress) -> dict[str, Any]:
    """Return how often anything is reported where answers on fresh samples are wrong by chance, at the rate rho."""
    config, reporting = stored_config(RunDir(folder)), 0
    distill = config.distill
    with Run(config, folder, progress=progress) as run:
        candidates = distill.grouping.propose(run.identified.failures, seed=config.seed, progress=progress).candidates
        sampler = RegionSampler(run.renderer, run.classifier, run.screen)
        drawn = []
        for done, one in enumerate(candidates):
            progress("fresh samples", done, len(candidates))
            rng = numpy_rng(config.seed, "null", *one.key)
            drawn.append(sampler.draw(one.mean, one.covariance, one.label, distill.samples, rng=rng))
        classes = len(run.splits.class_names)
    for number in range(REPETITIONS):
        rng, tested = numpy_rng(config.seed, "null", "answers", number), []
        for one, draw in zip(candidates, drawn, strict=True):
            other = (one.label + rng.integers(1, classes, len(draw))) % classes
            answers = np.where(rng.random(len(draw)) < distill.rho, other, one.label)
            samples = RegionSamples("", Purpose.EVIDENCE, draw.images, draw.z, answers, draw.kept)
            tested.append(gather_evidence(samples, one.label, distill.rho))
        reporting += any(distill.refuses(evidence) is None for evidence in adjust(tested))
    return {"run": folder.name, "candidates": len(candidates), "reporting": share(Rate(reporting, REPETITIONS))}


def _signs(count: int, seed: int) -> LabelledImages:
    """Render signs, some of them past reading."""
    plain = render(SignSettings(), count, seed=seed).images
    images = plain.images.copy()
    for number, factors in enumerate(HIDDEN):
        rows = _chosen(count, number)
        images[rows] = render(SignSettings(), count, seed=seed, factors=factors).images.images[rows]
    return LabelledImages(images, plain.labels, plain.class_names, plain.rows)


def _chosen(count: int, number: int) -> Mask:
    """Return which signs one of ``HIDDEN`` is done to: whole turns of the classes, so that each has its share."""
    turn = np.arange(count) // len(SIGN_NAMES)
    return turn % round(1 / SHARE) == number


def _hidden(count: int) -> Mask:
    return np.logical_or.reduce([_chosen(count, number) for number in range(len(HIDDEN))])


if __name__ == "__main__":
    main()
