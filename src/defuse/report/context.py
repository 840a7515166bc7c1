"""Everything that a report shows, gathered in one record."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from defuse.distill import CostMatrix, NaturalImages
from defuse.generators import ReconstructionQuality
from defuse.outcomes import Repair, Verified
from defuse.records import NearestImages, Rate, RegionLabel, Regions, Search, Splits, Verdict
from defuse.report.describe import Trait


@dataclass(frozen=True)
class ReportContext:
    """What happened in one run.

    Attributes:
        title: what was debugged, such as a model's name and its data.
        preset: the preset's name.
        seed: of the run.
        command: the command line that made the run; empty where there was none.
        splits: the images that the run looked at; real images for comparison are taken from ``reference``.
        test_accuracy: the given model's, on the test images.
        search: what identify did.
        bound: the generator's held-out negative evidence lower bound, nats per image.
        reconstruction: how many images the classifier still reads right after reconstruction.
        regions: what distill found.
        labels: the decision on each reported region; empty while nobody has labelled.
        verdicts: the verdicts that count, one per annotator and region.
        nearest: per region, positions in ``splits.reference``.
        natural: per region, what real images say of it.
        traits: per region's name, what sets its images apart from others of its class.
        repair: None when there was none.
        outcome: what became of the repair, in one line.
        verified: the search again on both models; None where it was not asked for.
        suite: folder of the regression suite, if one was written.
        costs: what each wrong answer costs; None where no costs were given.
        seconds: spent in each stage.
        versions: package -> version.
        settings: the configuration, as JSON-able values.
        limits: what the run cannot say, one sentence each; shown beside the limits that every run has.
    """

    title: str
    preset: str
    seed: int
    command: str
    splits: Splits
    test_accuracy: Rate
    search: Search
    bound: float
    reconstruction: ReconstructionQuality
    regions: Regions
    labels: tuple[RegionLabel, ...]
    verdicts: tuple[Verdict, ...] = ()
    nearest: tuple[NearestImages, ...] = ()
    natural: tuple[NaturalImages, ...] = ()
    traits: Mapping[str, tuple[Trait, ...]] = field(default_factory=dict)
    repair: Repair | None = None
    outcome: str = ""
    verified: Verified | None = None
    suite: Path | None = None
    costs: CostMatrix | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    limits: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class index."""
        return self.splits.class_names
