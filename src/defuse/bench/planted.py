"""The planted-bugs benchmark: all cells of a choice of tasks, methods and levels, and the figures over them."""

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from defuse.bench.cells import Cell, Workshop
from defuse.bench.genetic import GENETIC
from defuse.bench.methods import Chain, Method, ReferenceOnly
from defuse.bench.peers import RANDOM, AdversarialTuning, Clustering, ValidationErrors
from defuse.bench.pools import require_files
from defuse.bench.scoring import ratio_of_sums
from defuse.bench.stored import stored_parts
from defuse.bench.tasks import HOMES, LEVELS, QUICK, Level, choose_tasks
from defuse.errors import ConfigError
from defuse.progress import Progress, silent
from defuse.summary import Share
from defuse.versions import provenance

METHODS: dict[str, Callable[[], Method]] = {
    "default": lambda: Chain("default"),
    "paper": lambda: Chain("paper", preset="paper"),
    "reference_only": ReferenceOnly,
    "random_latents": lambda: RANDOM,
    "genetic": lambda: GENETIC,
    "clustering": Clustering,
    "validation_errors": ValidationErrors,
    "adversarial": AdversarialTuning,
}
"""Method -> how it is made."""

YOURS = "yours"
"""Name of the default preset with a user's own settings."""


@dataclass(frozen=True)
class Planted:
    """What to run.

    Attributes:
        folder: where cells, runs and caches go; the same call goes on where an interrupted one stopped.
        data: folder of the archives; None where only rendered signs are asked for.
        tasks: names; empty for all, or for the four quick ones with ``quick``.
        methods: names.
        levels: which.
        seed: of everything random.
        quick: four tasks, and a smaller budget for every method.
        changes: dotted ``key=value`` settings that make up the method ``yours``, which is then scored too.
    """

    folder: Path
    data: Path | None = None
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("default",)
    levels: tuple[str, ...] = LEVELS
    seed: int = 0
    quick: bool = False
    changes: tuple[str, ...] = ()

    def cells(self, *, progress: Progress = silent) -> Iterator[Cell]:
        """Do every cell, data set by data set, and yield each as it is done.

        Raises:
            ConfigError: an unknown task, method, level or setting.
            DataError: an archive is not there.
        """
        methods = self._methods()
        names = self.tasks or (QUICK if self.quick else ())
        tasks = choose_tasks(names)
        levels = [_level(name) for name in self.levels]
        require_files((task.data for task in tasks), self.data)
        for method, task in itertools.product(methods, tasks):
            method.told(HOMES[task.data], quick=self.quick, seed=self.seed)
        shop = Workshop(self.folder, self.data, self.seed, quick=self.quick, progress=progress)
        for task, level, method in itertools.product(tasks, levels, methods):
            yield shop.do(task, method, level)

    def _methods(self) -> tuple[Method, ...]:
        for name in self.methods:
            if name not in METHODS:
                raise ConfigError(f"--methods: no method is called {name!r}; choose from {', '.join(METHODS)}")
        own = (Chain(YOURS, changes=self.changes),) if self.changes else ()
        return (*(METHODS[name]() for name in self.methods), *own)


def _level(name: str) -> Level:
    for level in LEVELS:
        if name == level:
            return level
    raise ConfigError(f"--levels: no level is called {name!r}; choose from {', '.join(LEVELS)}")


def gathered(path: Path, cells: Sequence[Cell]) -> list[Cell]:
    """Return these cells and, before them, others that a file of results holds already, of the same budget.

    So that seeds and tasks can be done in several commands. A cell takes the place of the one of its task, method,
    level and seed.

    Raises:
        ConfigError: the file holds something else than results.
    """
    quick = {cell.quick for cell in cells}
    before = (cell for cell in stored_parts(path, "cells", Cell) if cell.quick in quick)
    merged = {_name(cell): cell for cell in (*before, *cells)}
    return list(merged.values())


def _name(cell: Cell) -> tuple[str, str, str, int]:
    return cell.task, cell.method, cell.level, cell.seed


def results(cells: Sequence[Cell], command: str) -> dict[str, Any]:
    """Return the benchmark's JSON: figures over the cells, the cells themselves, and how they came about."""
    return {
        "figures": figures(cells),
        "cells": [cell.model_dump(mode="json") for cell in cells],
        **provenance(command),
        "seeds": sorted({cell.seed for cell in cells}),
        "quick": any(cell.quick for cell in cells),
        "seconds": round(sum(cell.seconds for cell in cells), 1),
    }


def figures(cells: Sequence[Cell]) -> dict[str, float]:
    """Return the figures by dotted name; a figure that does not exist, such as a ratio without a gap, is left out."""
    found: dict[str, float] = {}
    for method in dict.fromkeys(cell.method for cell in cells):
        for level in LEVELS:
            group = [cell for cell in cells if (cell.method, cell.level) == (method, level)]
            if group:
                found |= _prefixed(f"planted.{method}.{level}", over(group))
            for task in dict.fromkeys(cell.task for cell in group):
                of_task = [cell for cell in group if cell.task == task]
                found |= _prefixed(f"planted.tasks.{task}.{method}.{level}", {**over(of_task), **_alone(of_task)})
    return found


def over(cells: Sequence[Cell]) -> dict[str, float | None]:
    """Return the figures over at least one cell of one method and level.

    ``labels_to_find`` is the median rank of the first match, left out where most bugs were not found. Ratios are of
    sums over the cells, with bootstrap intervals where there are several.
    """
    repairs = [cell.repair for cell in cells]
    after = [value(repair.after) for repair in repairs]
    gained = [end - value(repair.before) for end, repair in zip(after, repairs, strict=True)]
    gap = [value(repair.clean) - value(repair.before) for repair in repairs]
    beyond = [end - value(repair.control) for end, repair in zip(after, repairs, strict=True)]
    left = [value(repair.clean) - value(repair.control) for repair in repairs]
    plain, excess = ratio_of_sums(gained, gap, seed=0), ratio_of_sums(beyond, left, seed=0)
    rank = statistics.median(math.inf if cell.rank is None else cell.rank for cell in cells)
    precise = [cell.precision for cell in cells if cell.precision is not None]
    several = len(cells) > 1
    return {
        "bugs": len(cells),
        "recall_at_10": statistics.fmean(cell.rank is not None for cell in cells),
        "strict_recall_at_10": statistics.fmean(cell.strict_rank is not None for cell in cells),
        "precision_at_10": statistics.fmean(precise) if precise else None,
        "labels_to_find": rank if math.isfinite(rank) else None,
        "gap_closed": plain.value,
        "gap_closed_low": plain.low if several else None,
        "gap_closed_high": plain.high if several else None,
        "excess_gap_closed": excess.value,
        "excess_gap_closed_low": excess.low if several else None,
        "excess_gap_closed_high": excess.high if several else None,
        "test_accuracy_change": statistics.fmean(
            value(repair.test_after) - value(repair.test_before) for repair in repairs
        ),
        "negative_flips": statistics.fmean(value(repair.negative_flips) for repair in repairs),
    }


def _alone(cells: Sequence[Cell]) -> dict[str, float | None]:
    """Return what is told of one task: accuracies on real images of the slice, and the judges' ceiling."""
    told: dict[str, float | None] = {
        name: statistics.fmean(value(getattr(cell.repair, name)) for cell in cells)
        for name in ("before", "control", "after", "clean")
    }
    ceilings = [value(cell.ceiling) for cell in cells if cell.ceiling is not None]
    return {**told, "ceiling": statistics.fmean(ceilings) if ceilings else None}


def _prefixed(prefix: str, values: dict[str, float | None]) -> dict[str, float]:
    return {f"{prefix}.{name}": round(number, 4) for name, number in values.items() if number is not None}


def value(share: Share) -> float:
    """Return a share as a number: 0 where nothing was tried."""
    return share.value or 0.0
