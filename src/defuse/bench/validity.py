"""Is what a run reports real? Oracles, which no method may ask, look at its regions and at what each proposal found."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from defuse.bench.methods import found_in
from defuse.bench.oracle import Oracle, known_to_oracles, train_oracles
from defuse.bench.stored import stored_parts
from defuse.config import Preset
from defuse.generators import Renderer
from defuse.pipeline import Run
from defuse.pixels import to_bytes
from defuse.progress import Progress, silent
from defuse.records import Rate
from defuse.seeds import numpy_rng
from defuse.summary import Part, Share
from defuse.types import ByteImages, Labels
from defuse.versions import commit, provenance

PURE = 0.9
"""Share of real failures from which on a region counts as pure."""

LOOKED_AT = 500
"""Kept failures of each proposal that the oracles look at, drawn at random."""


class Confirmed(Part):
    """Of ``failing`` kept and misread images, how many each oracle confirms, and how many both do."""

    failing: int
    networks: int
    neighbours: int
    both: int

    def rate(self, oracle: str) -> Rate:
        """Return the real-bug rate under one oracle, or under ``both``."""
        return Rate(int(getattr(self, oracle)), self.failing)


class RegionValidity(Confirmed):
    """One reported region, by its fresh ``final`` samples."""

    region: str
    label: str
    predicted: str


class ProposalValidity(Confirmed):
    """What one proposal kept; ``failing`` counts those that were looked at."""

    proposal: str
    candidates: int
    flips: int
    kept: int


class OracleLimit(Part):
    """From which probability on an oracle is sure, and what it confirms of real held-out images."""

    sure: float
    held_out: Share


class Validity(Part):
    """One run, scored. ``commit`` is of the code that scored it, ``seconds`` are those of the search."""

    data: str
    preset: Preset
    seed: int
    commit: str
    seconds: float
    oracles: Mapping[str, OracleLimit]
    proposals: tuple[ProposalValidity, ...]
    regions: tuple[RegionValidity, ...]

    @property
    def confusions(self) -> int:
        """How many different pairs of label and answer the regions have."""
        return len({(region.label, region.predicted) for region in self.regions})

    @property
    def pooled(self) -> Confirmed:
        """All samples of all regions together."""
        return pooled(self.regions)


JUDGED_BY = ("networks", "neighbours", "both")


def pooled(parts: Sequence[Confirmed]) -> Confirmed:
    """Add counts up."""
    return Confirmed(**{name: sum(getattr(part, name) for part in parts) for name in Confirmed.model_fields})


def look(run: Run, cache: Path, *, epochs: int, progress: Progress = silent) -> Validity:
    """Score an opened run's regions and proposals; its oracles are trained once for its images, then read from cache.

    Raises:
        ClassifierError: an oracle's training diverges.
    """
    source, names = run.config.data.source, run.splits.class_names
    oracles = train_oracles(known_to_oracles(source, run.splits), cache, epochs=epochs, progress=progress)
    regions = [
        RegionValidity(
            region=one.name,
            label=names[one.label],
            predicted=names[one.predicted],
            **_counted(oracles, one.failing, np.full(len(one.failing), one.label)),
        )
        for one in found_in(run.regions)
    ]
    return Validity(
        data=Path(source).stem,
        preset=run.config.preset,
        seed=run.config.seed,
        commit=commit(),
        seconds=run.seconds["identify"],
        oracles={name: OracleLimit(sure=one.sure, held_out=Share.of(one.held_out)) for name, one in oracles.items()},
        proposals=tuple(_proposals(run, oracles)),
        regions=tuple(regions),
    )


def _proposals(run: Run, oracles: Mapping[str, Oracle]) -> list[ProposalValidity]:
    failures, found = run.identified.failures, []
    made_by = np.array(failures.proposal)
    for count in run.identified.search.counts:
        rows = np.flatnonzero(made_by == count.proposal)
        rows = numpy_rng(run.config.seed, "validity", count.proposal).permutation(rows)[:LOOKED_AT]
        labels = failures.label[rows]
        found.append(
            ProposalValidity(
                proposal=count.proposal,
                candidates=count.candidates,
                flips=count.flips,
                kept=count.kept,
                **_counted(oracles, rendered(run.renderer, failures.z[rows], labels), labels),
            )
        )
    return found


@torch.inference_mode()
def rendered(renderer: Renderer, z: Float32[np.ndarray, "n latent"], labels: Labels) -> ByteImages:
    """Return the images of codes as 8 bits, made some at a time, (n, h, w, c)."""
    parts = zip(*(torch.split(torch.from_numpy(part), LOOKED_AT) for part in (z, labels)), strict=True)
    return np.concatenate([to_bytes(renderer.render(*part).pixels) for part in parts])


def _counted(oracles: Mapping[str, Oracle], images: ByteImages, labels: Labels) -> dict[str, int]:
    real = {name: oracle.confirms(images, labels) for name, oracle in oracles.items()}
    both = np.logical_and.reduce(list(real.values()))
    return {"failing": len(images), **{name: int(mask.sum()) for name, mask in real.items()}, "both": int(both.sum())}


def gathered(path: Path, scored: Sequence[Validity]) -> list[Validity]:
    """Return these and, before them, what a file of results holds already of other data, presets and seeds.

    Raises:
        ConfigError: the file holds something else than results.
    """
    merged = {(run.data, run.preset, run.seed): run for run in (*stored_parts(path, "runs", Validity), *scored)}
    return list(merged.values())


def results(scored: Sequence[Validity], command: str) -> dict[str, Any]:
    """Return the benchmark's JSON: figures, the runs themselves, and how they came about."""
    figures: dict[str, float] = {}
    for run in scored:
        figures |= _figures(run)
    runs = [run.model_dump(mode="json") for run in scored]
    return {"figures": figures, "runs": runs, **provenance(command), "seeds": sorted({run.seed for run in scored})}


def _figures(run: Validity) -> dict[str, float]:
    """Return one run's figures by dotted name; what does not exist, such as a rate of no sample, is left out."""
    candidates = max(sum(part.candidates for part in run.proposals), 1)
    head = f"validity.{run.data}.{run.preset}" + (f".seed{run.seed}" if run.seed else "")
    figures = {
        "regions": len(run.regions),
        "flip_rate": sum(part.flips for part in run.proposals) / candidates,
        "keep_rate": sum(part.kept for part in run.proposals) / candidates,
        "candidates_per_second": candidates / run.seconds,
        "distinct_pairs": run.confusions,
        **_rates("", run.pooled),
    }
    if run.regions:
        figures["region_purity"] = purity(run.regions)
    for part in run.proposals:
        figures |= _rates(f"proposals.{part.proposal}.", part)
    return {f"{head}.{name}": round(value, 4) for name, value in figures.items()}


def _rates(head: str, part: Confirmed) -> dict[str, float]:
    if not part.failing:
        return {}
    rates = {f"{head}real_bug_rate_{name}": part.rate(name).value for name in JUDGED_BY[1:]}
    main = part.rate(JUDGED_BY[0])
    return {f"{head}real_bug_rate": main.value, f"{head}real_bug_rate_low": main.interval[0], **rates}


def purity(regions: Sequence[RegionValidity]) -> float:
    """Return the share of regions in which the networks confirm at least ``PURE`` of the samples."""
    return float(np.mean([region.networks >= PURE * region.failing for region in regions]))
