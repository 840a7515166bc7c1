"""After a repair: the search once more, with fresh seeds and equal budget, on the given and on the repaired model."""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from defuse.classifiers import Classifier
from defuse.config import Config
from defuse.distill import CostMatrix, Distill, RegionSampler, load_regions, save_regions
from defuse.errors import RunError
from defuse.generators import Renderer
from defuse.judges import Screen
from defuse.outcomes import NewConfusion, RegionAgain, Verified
from defuse.progress import Progress
from defuse.records import Failures, LabelledImages, Rate, Region
from defuse.rundir import RunDir, read_json, write_json
from defuse.seeds import derive

Pair = tuple[int, int]
"""A confusion: the class shown, and the class that the model answers."""

_VERIFIED = TypeAdapter(Verified)


@dataclass(frozen=True)
class Found:
    """What one of the two searches found: candidates drawn, failures kept, regions reported."""

    candidates: int
    failures: Failures
    regions: tuple[Region, ...]

    @property
    def kept(self) -> Rate:
        """Share of the candidates that passed every gate."""
        return Rate(len(self.failures), self.candidates)

    @property
    def by_pair(self) -> Counter[Pair]:
        """Failures kept, by confusion."""
        return Counter(zip(self.failures.label.tolist(), self.failures.predicted.tolist(), strict=True))

    @property
    def pairs(self) -> set[Pair]:
        """The confusions of the regions."""
        return {(region.label, region.predicted) for region in self.regions}


@dataclass(frozen=True)
class SecondSearch:
    """What both searches share: settings, images, renderer and screen; the seeds are none that the run has used.

    Every proven region counts, however low its rank: beside a limit, a region could come and go by the others' ranks.
    """

    config: Config
    reference: LabelledImages
    renderer: Renderer
    screen: Screen
    costs: CostMatrix

    @property
    def _every(self) -> Distill:
        """Return how to group: all regions, with next to no samples, since they are only counted."""
        return replace(
            self.config.distill, max_regions=None, tiles=1, repair_samples=1, select_samples=1, final_samples=1
        )

    def run(self, classifier: Classifier, folder: RunDir, progress: Progress) -> Found:
        """Search one model and group what is found; goes on where ``folder`` stops.

        Raises:
            RunError: what lies in the folder is damaged, or it cannot be written.
        """
        seed = derive(self.config.seed, "verify")
        alike = replace(self.config.identify, rounds=1)  # so that both models are searched in the same way
        identified = alike.run(
            self.reference,
            self.renderer.generator,
            classifier,
            self.screen.judge,
            seed=seed,
            shard_path=folder.shard,
            progress=progress,
        )
        if not folder.regions_done.exists():
            regions = self._every.run(
                identified.failures,
                RegionSampler(self.renderer, classifier, self.screen),
                seed=seed,
                costs=self.costs,
                progress=progress,
            )
            save_regions(folder.regions, regions)
        return Found(identified.search.candidates, identified.failures, load_regions(folder.regions).reported)


def verify(
    search: SecondSearch,
    reported: tuple[Region, ...],
    repaired_on: Container[str],
    given: Classifier,
    repaired: Classifier,
    folder: Path,
    progress: Progress,
) -> Verified:
    """Search both models anew and say which regions are gone, which are left, and which confusions are new.

    Args:
        search: what both searches share.
        reported: the run's regions.
        repaired_on: names of those that the model was repaired on.
        given: the model under test.
        repaired: the repaired model.
        folder: for the shards and regions of both.
        progress: told of both.
    """
    found = {
        name: search.run(model, RunDir(folder / name), _named(progress, name))
        for name, model in (("given", given), ("repaired", repaired))
    }
    return compare_searches(reported, repaired_on, found["given"], found["repaired"])


def compare_searches(
    reported: tuple[Region, ...], repaired_on: Container[str], given: Found, repaired: Found
) -> Verified:
    """Match regions by their confusion: coarse, so that it rather calls a region left than gone.

    New is what neither the run nor the search of the given model has a region of.
    """
    before, after = given.by_pair, repaired.by_pair
    regions = tuple(
        RegionAgain(
            region.name,
            given_kept=before[pair],
            repaired_kept=after[pair],
            found_again=pair in given.pairs,
            left=pair in repaired.pairs,
        )
        for region, pair in ((region, (region.label, region.predicted)) for region in reported)
        if region.name in repaired_on
    )
    known = {(region.label, region.predicted) for region in reported} | given.pairs
    new = tuple(NewConfusion(*pair, after[pair]) for pair in sorted(repaired.pairs - known))
    return Verified(given.kept, repaired.kept, regions, new)


def save_verified(path: Path, verified: Verified) -> None:
    """Write the record as JSON, atomically."""
    write_json(path, _VERIFIED.dump_python(verified, mode="json"))


def load_verified(path: Path) -> Verified:
    """Read a record back.

    Raises:
        RunError: it is missing or damaged.
    """
    try:
        return _VERIFIED.validate_python(read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise RunError(f"{path}: {where}: {first['msg']}; remove it and run verify again") from None


def _named(progress: Progress, name: str) -> Progress:
    def tell(task: str, done: int, total: int, note: str = "") -> None:
        progress(f"{name} model: {task}", done, total, note)

    return tell
