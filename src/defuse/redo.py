"""Going on in the folder of a run whose settings have changed: what the change leaves standing is kept."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from defuse.errors import RunError
from defuse.label import people_in
from defuse.rundir import RunDir, read_json, write_json

AFTER_SEARCH = ("identify", "distill", "label", "correct", "verify")

REMADE: Mapping[str, tuple[str, ...]] = {
    "classifier": ("classifier", *AFTER_SEARCH),
    "costs": AFTER_SEARCH[1:],
    "judge": AFTER_SEARCH,
    "config.classifier": ("classifier", *AFTER_SEARCH),
    "config.generator": ("generator", *AFTER_SEARCH),
    "config.generator.min_reconstruction": (),
    "config.judges": ("judges", *AFTER_SEARCH),
    "config.judges.margin": AFTER_SEARCH,
    "config.judges.shapes": AFTER_SEARCH,
    "config.judges.own": AFTER_SEARCH,
    "config.identify": AFTER_SEARCH,
    "config.distill": AFTER_SEARCH[1:],
    "config.cost": AFTER_SEARCH[1:],
    "config.label.machine": AFTER_SEARCH[2:],
    "config.label.majority": (),
    "config.correct": AFTER_SEARCH[3:],
    "config.preset": (),
    "config.data": (),
}
"""Key of the manifest, or the start of one -> the stages whose results go when it changes. The longest start counts.

Data have a hash of their own; where that changes, or the seed, nothing can be kept, so neither is listed. The majority
is formed anew, and the generator checked, whenever a run is opened.
"""


def remade(key: str) -> tuple[str, ...] | None:
    """Return the stages whose results a change of this key of the manifest invalidates; None for all there are."""
    while key not in REMADE and "." in key:
        key = key.rpartition(".")[0]
    return REMADE.get(key)


def forget(folder: RunDir, keys: Iterable[str]) -> None:
    """Remove from a run's folder what a change of these keys invalidates, the latest stage first.

    Raises:
        RunError: people have labelled regions that would be lost.
    """
    lost = {stage for key in keys for stage in remade(key) or ()}
    if "label" in lost and _people_labelled(folder):
        raise RunError(
            f"{folder.root}: people labelled the regions that would be made anew; use another --out to keep their work"
        )
    for stage, paths in reversed(_results(folder).items()):
        if stage in lost:
            for path in paths:
                _remove(path)
    if folder.timings.exists():
        spent = read_json(folder.timings)
        write_json(folder.timings, {stage: seconds for stage, seconds in spent.items() if stage not in lost})


def _results(folder: RunDir) -> dict[str, tuple[Path, ...]]:
    store = folder.verdicts
    return {
        "classifier": (folder.classifier,),
        "generator": (folder.generator,),
        "judges": (folder.judges,),
        "identify": (folder.shard(0).parent,),
        "distill": (folder.regions, folder.suite),
        "label": (store, *(store.with_name(f"{store.name}-{part}") for part in ("wal", "shm"))),
        "correct": (folder.labels, folder.repair.parent, folder.report, folder.summary),
        "verify": (folder.verify,),
    }


def _people_labelled(folder: RunDir) -> bool:
    return folder.verdicts.exists() and people_in(folder.verdicts)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
