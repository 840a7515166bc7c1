"""Cells: one task, one method, one level, one seed. Each leaves a JSON of its own and is never done twice."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError

from defuse.bench.methods import Method, Outcome, Situation
from defuse.bench.oracle import confirmed, train_oracle
from defuse.bench.planting import Ground, content_key, taught
from defuse.bench.pools import measure
from defuse.bench.scoring import (
    FIRST,
    Finding,
    FindingScore,
    Models,
    RepairScore,
    first_rank,
    precision,
    score_finding,
    score_repair,
)
from defuse.bench.slices import Ruler
from defuse.bench.tasks import Kind, Level, Task
from defuse.devices import device_name, pick_device
from defuse.judges import Judge, Screen
from defuse.pixels import to_pixels
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Rate, Splits
from defuse.rundir import read_json, write_json
from defuse.summary import Part, Share
from defuse.versions import commit

VERSION = 1
"""Of the cells' layout and of what is scored how; raised when either changes, so that cells are scored anew."""


class Cell(Part):
    """One cell's result.

    ``key`` is a hash of all that the result rests on, ``commit`` the code that made it. ``reported`` counts all
    findings, of which the first ten are scored in ``findings``; ``rank`` and ``strict_rank`` are the places of the
    first matches among them. ``ceiling`` is the share of real held-out images of the slice that the method's judges
    accept, null where it asks none. ``device`` is where it was computed, for the times.
    """

    key: str
    commit: str
    task: str
    data: str
    kind: Kind
    method: str
    level: Level
    seed: int
    quick: bool
    reported: int
    findings: tuple[FindingScore, ...]
    rank: int | None
    strict_rank: int | None
    precision: float | None
    ceiling: Share | None
    repair: RepairScore
    device: str
    stages: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class Place:
    """Which cell.

    Attributes:
        task: the planted bug.
        method: who looks for it.
        level: whether the reference data hold members of the slice.
        seed: of everything random.
        quick: whether the small budget holds.
    """

    task: Task
    method: Method
    level: Level
    seed: int
    quick: bool = False

    @property
    def name(self) -> str:
        """Name of the cell's file and folder."""
        parts = (self.task.name, self.method.name, self.level, str(self.seed), *(["quick"] if self.quick else []))
        return "_".join(parts)


class Workshop:
    """Does cells in one folder: ``cells/`` holds the results, ``runs/`` what was made on the way, ``cache/`` the rest.

    Args:
        folder: of everything.
        data: folder of the archives; rendered signs need none.
        seed: of everything random.
        quick: whether the small budget holds.
        progress: told how far each step is.
    """

    def __init__(
        self, folder: Path, data: Path | None, seed: int, *, quick: bool = False, progress: Progress = silent
    ) -> None:
        self.folder = folder
        self.data = data
        self.seed = seed
        self.quick = quick
        self.progress = progress
        self._grounds: dict[str, Ground] = {}

    def run_folder(self, task: Task, method: Method, level: Level) -> Path:
        """Return where a cell's method works."""
        return self._job(task, method, level).run_folder

    def score(self, task: Task, method: Method, level: Level, outcome: Outcome) -> tuple[FindingScore, ...]:
        """Hold the first findings of any outcome against the truth of a cell."""
        return self._job(task, method, level).score(outcome)

    def do(self, task: Task, method: Method, level: Level) -> Cell:
        """Return a cell's result, read where it is there already.

        Raises:
            DefuseError: the data are not there, or a step of the method fails.
        """
        job = self._job(task, method, level)
        return job.stored() or job.work()

    def _job(self, task: Task, method: Method, level: Level) -> "_Job":
        place = Place(task, method, level, self.seed, self.quick)
        return _Job(place, self.ground(task.data), self.folder, self.progress)

    def ground(self, name: str) -> Ground:
        """Return a data set with its slices; the last one is kept in memory.

        Raises:
            DataError: it cannot be read.
        """
        if name not in self._grounds:
            self._grounds = {name: Ground.read(name, self.data, self.seed)}
        return self._grounds[name]


@dataclass(frozen=True)
class _Job:
    place: Place
    ground: Ground
    folder: Path
    progress: Progress

    @property
    def result(self) -> Path:
        return self.folder / "cells" / f"{self.place.name}.json"

    @property
    def run_folder(self) -> Path:
        return self.folder / "runs" / f"{self.place.name}_{self.made_from}"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @cached_property
    def splits(self) -> Splits:
        return self.ground.visible(self.place.level)

    @property
    def key(self) -> str:
        """What the result rests on, how it is scored included."""
        return f"{VERSION}-{self.made_from}"

    @cached_property
    def made_from(self) -> str:
        """A hash of all that the method's work rests on."""
        place, lesson = self.place, self.ground.lesson(self.place.task)
        told = place.method.told(self.ground.home(), quick=place.quick, seed=place.seed)
        whole = self.ground.pools.splits
        parts = (self.splits.reference, self.splits.validation, self.splits.test, lesson, whole.test)
        return content_key([place.name, repr(place.task), repr(self.ground.home()), told], *parts)

    def stored(self) -> Cell | None:
        """Return the result that is there, if it is of this very cell."""
        if not self.result.exists():
            return None
        try:
            cell = Cell.model_validate(read_json(self.result))
        except ValidationError:
            return None
        return cell if cell.key == self.key else None

    def work(self) -> Cell:
        """Do everything, score it and store the result."""
        began = time.monotonic()
        place, ground = self.place, self.ground
        models = self.cache / "classifiers"
        classifier = taught(ground, place.task, models, progress=self.progress)
        clean = taught(ground, None, models, progress=self.progress)
        situation = Situation(
            data=ground.name,
            classifier=classifier,
            splits=self.splits,
            home=ground.home(),
            seed=place.seed,
            quick=place.quick,
            folder=self.run_folder,
            library=self.cache,
            progress=self.progress,
        )
        outcome = place.method.run(situation)
        scores = self.score(outcome)
        four = Models(classifier, outcome.control, outcome.repaired, clean)
        held_out = ground.held_out(place.task.name)
        cell = Cell(
            key=self.key,
            commit=commit(),
            task=place.task.name,
            data=ground.name,
            kind=place.task.kind,
            method=place.method.name,
            level=place.level,
            seed=place.seed,
            quick=place.quick,
            reported=len(outcome.findings),
            findings=scores,
            rank=first_rank([score.match for score in scores]),
            strict_rank=first_rank([score.strict for score in scores]),
            precision=precision(scores),
            ceiling=Share.of(accepted(outcome.screen, held_out)) if outcome.screen else None,
            repair=score_repair(four, held_out, ground.plain_test()),
            device=device_name(pick_device()),
            stages=dict(outcome.seconds),
            seconds=round(time.monotonic() - began, 1),
        )
        write_json(self.result, cell.model_dump(mode="json"))
        return cell

    def score(self, outcome: Outcome) -> tuple[FindingScore, ...]:
        """Return what the first findings are."""
        if not outcome.findings:
            return ()
        ruler, oracle = self._ruler(outcome), self._oracle()
        return tuple(self._scored(finding, ruler, oracle) for finding in outcome.findings[:FIRST])

    def _scored(self, finding: Finding, ruler: Ruler, oracle: Judge) -> FindingScore:
        task = self.place.task
        if not len(finding.failing):
            return score_finding(finding, task, np.zeros(0), ruler, np.zeros(0, dtype=bool))
        values = measure(finding.failing, task.attribute)
        labels = np.full(len(finding.failing), finding.label, dtype=np.int64)
        return score_finding(finding, task, values, ruler, confirmed(oracle, finding.failing, labels))

    def _ruler(self, outcome: Outcome) -> Ruler:
        """Return what says whether an image of the method lies in the slice."""
        task, pool = self.place.task, self.ground.pools.train
        own = pool.images.take(pool.images.labels == task.label)
        images = own.images if outcome.redraw is None else outcome.redraw(own)
        return Ruler.calibrated(task.measured, measure(images, task.attribute))

    def _oracle(self) -> Judge:
        """Return the oracle of the data set, which saw every labelled image, test images and slices too."""
        whole = self.ground.pools.splits
        key = content_key(["oracle"], whole.reference, whole.validation, whole.test)
        epochs = 10
        return train_oracle(whole, self.cache / "oracles" / key, epochs=epochs, progress=self.progress)


def accepted(screen: Screen, held_out: LabelledImages) -> Rate:
    """Return the share of real images that a screen takes to show their label: the ceiling of a search with it."""
    if not len(held_out):
        return Rate(0, 0)
    kept = screen.of_photographs.keeps(to_pixels(held_out.images), torch.from_numpy(held_out.labels))
    return Rate.of(kept.numpy(force=True))
