"""A made-up run with plausible figures; its images are drawn here."""

from dataclasses import replace

import numpy as np

from defuse.generators import ReconstructionQuality
from defuse.outcomes import Flips, RegionScore, Repair, Scores, SweepPoint
from defuse.records import (
    Answer,
    CoveragePoint,
    Evidence,
    LabelledImages,
    NearestImages,
    ProposalCount,
    Purpose,
    Rate,
    Region,
    RegionLabel,
    Regions,
    RegionSamples,
    Search,
    Splits,
    Verdict,
)
from defuse.report import ReportContext

NAMES = ("bar", "ring", "cross")
PAIRS = ((0, 1), (1, 2), (2, 0))


def draw(label, count, size=16, channels=1, seed=0):
    """Draw noisy bars, rings and crosses."""
    rng = np.random.default_rng([seed, label])
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    shape = [np.abs(x) < size / 8, np.abs(np.hypot(x, y) - size / 3) < size / 10, np.abs(np.abs(x) - np.abs(y)) < 2]
    images = 60.0 + 150 * shape[label % 3][None, :, :, None] + rng.normal(0, 20, (count, size, size, channels))
    return images.clip(0, 255).astype(np.uint8)


def make_images(count, names=NAMES, **look):
    labels = np.arange(count) % len(names)
    images = np.concatenate([draw(int(label), 1, seed=row, **look) for row, label in enumerate(labels)])
    return LabelledImages(images, labels, names, np.arange(count))


def make_region(number, pair, failure=(152, 170)):
    label, predicted = pair
    answers = ((predicted, failure[0] - 5), (label, failure[1] - failure[0]), (3 - label - predicted, 5))
    evidence = Evidence(Rate(failure[1], 200), Rate(*failure), answers, 3e-21, 1.2e-20)
    return Region(f"r{number:03d}", label, predicted, np.zeros(4), np.eye(4), 0.4, 321 - number, evidence)


def make_samples(region, count=100, **look):
    predicted = np.where(np.arange(count) % 8 == 5, region.label, region.predicted)
    kept = np.arange(count) % 10 != 7
    return RegionSamples(
        region.name,
        Purpose.SHOW,
        draw(region.label, count, seed=int(region.name[1:]), **look),
        np.zeros((count, 4), np.float32),
        predicted,
        kept,
    )


def make_scores(test, failures):
    regions = tuple(RegionScore(f"r{i + 1:03d}", Rate(failed, 200)) for i, failed in enumerate(failures))
    classes = tuple(Rate(test - 1900 - k, 3100) for k in range(3))
    return Scores(Rate(test - 7, 5000), Rate(test * 2, 10000), regions, classes, test / 1e6)


def make_repair():
    sweep = tuple(
        SweepPoint(weight, Rate(right, 5000), Rate(failed, 200), allowed)
        for weight, right, failed, allowed in [
            (0.1, 4941, 90, True),
            (1.0, 4940, 12, True),
            (10.0, 4870, 3, False),
            (100.0, 0, 0, False),
        ]
    )
    sweep = (*sweep[:3], replace(sweep[3], validation=Rate(0, 0), region=Rate(0, 0)))
    return Repair(
        1.0, 1500, sweep, make_scores(4942, [180, 174]), make_scores(4940, [11, 7]), make_scores(4941, [133, 121]),
        Rate(31, 10000), Flips(27, 31), Flips(30, 32), sweep,
    )  # fmt: skip


def make_context(names=NAMES, pairs=PAIRS, **changes):
    regions = [make_region(i + 1, pair) for i, pair in enumerate(pairs)]
    look = changes.pop("look", {})
    reference = make_images(60, names, **look)
    labels = [
        RegionLabel("r001", 0, "majority", ((names[0], 2), ("no clear class", 1)), machine=False),
        RegionLabel("r002", 1, "majority", ((names[1], 1),), machine=True),
        RegionLabel("r003", None, "no clear class", (("no clear class", 1),), machine=True),
    ]
    context = ReportContext(
        title="shapes, cnn",
        preset="default",
        seed=7,
        command="defuse run shapes.yaml --out run",
        splits=Splits(reference, make_images(9, names, **look), make_images(12, names, **look)),
        test_accuracy=Rate(9884, 10000),
        search=Search(
            (ProposalCount("posterior_noise", 90_000, 4_210, 612), ProposalCount("beta_noise", 10_000, 402, 56)),
            (("reconstructs", 100_000, 98_731), ("misclassified", 98_731, 4_612), ("keeps_label", 4_612, 668)),
            93.4,
            (CoveragePoint(45_000, 300, 9, 0.99), CoveragePoint(90_000, 612, 11, 0.984)),
        ),
        bound=93.27,
        reconstruction=ReconstructionQuality(Rate(4921, 4942), tuple(Rate(480 + i, 494) for i in range(len(names)))),
        regions=Regions(
            tuple(regions),
            {(region.name, Purpose.SHOW): make_samples(region, **look) for region in regions},
            fitted=len(regions) + 5,
            dropped={"failure rate not proven above rho": 3, "keep rate below the floor": 2},
        ),
        labels=tuple(labels[: len(regions)]),
        verdicts=(
            Verdict("r001", "ada", Answer.CLASS, 0, machine=False, time="2024-05-01T10:00:00Z"),
            Verdict("r002", "judges", Answer.CLASS, 1, machine=True, time="2024-05-01T10:00:05Z"),
        ),
        nearest=tuple(
            NearestImages(region.name, np.flatnonzero(reference.labels == region.label)[:8]) for region in regions
        ),
        repair=make_repair(),
        outcome="lambda 1 repairs most within the cap",
        seconds={"generator": 361.2, "identify": 93.4, "distill": 8.0},
        versions={"python": "3.11.7", "torch": "2.4.0"},
        settings={"seed": 7, "identify": {"budget": 100_000}},
    )
    return replace(context, **changes)
