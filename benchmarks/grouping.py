"""Does a better grouping of failures exist? The same failures, grouped in several ways, on planted bugs.

python benchmarks/grouping.py runs/planted --data DIR --tasks thin-6-as-1,bright-bag-as-shirt

It reads finished cells of ``defuse bench planted`` and computes no search anew. Every way starts from the failures of
each confusion (label, answer) and ends in Gaussians of the latent space, which are then sharpened, tested, ranked and
scored as the command does:

- codes: a mixture of the latent codes, of up to four Gaussians.
- codes and answers: a mixture of codes beside the classifier's logits, error-aware as in Domino (Eyuboglu et al., ICLR
  2022); a Gaussian is then fitted to the codes of each component's members.
- density: HDBSCAN (Campello et al., 2013) on the codes, a Gaussian fitted to each cluster; what it calls noise is left.
- one: one Gaussian for each confusion, as Defuse ships it.
"""

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import RESULTS
from sklearn.cluster import HDBSCAN

from defuse.bench.cells import Workshop
from defuse.bench.methods import Chain, Outcome, found_in
from defuse.bench.planting import taught
from defuse.bench.scoring import first_rank, precision
from defuse.bench.tasks import Task, choose_tasks
from defuse.distill import CodeGroup, DirichletMixture, RegionSampler
from defuse.distill.candidates import Candidate, Grouping, Proposed
from defuse.pipeline import Run
from defuse.pixels import quantise
from defuse.records import Failures, Purpose
from defuse.seeds import derive
from defuse.versions import provenance

SEVERAL = 4
"""Gaussians that a confusion may be split into."""

Assign = Callable[[np.ndarray], np.ndarray]
"""From the rows of one confusion's failures to the number of each one's cluster; -1 for none."""


@dataclass(frozen=True)
class Ways:
    """One run's failures, and the settings that every way shares."""

    run: Run
    failures: Failures
    grouping: Grouping
    seed: int

    def propose(self, way: str) -> Proposed:
        """Return the candidate regions of one way."""
        if way in {"codes", "one"}:
            grouping = self.grouping if way == "one" else replace(self.grouping, mixture=self._split)
            return grouping.propose(self.failures, seed=self.seed, progress=self.run.progress)
        assign = self._joint() if way == "codes and answers" else self._density
        candidates = tuple(self._candidates(assign))
        return Proposed(candidates, Counter(), len(candidates))

    @property
    def _split(self) -> DirichletMixture:
        return replace(self.grouping.mixture, max_components=SEVERAL)

    def _candidates(self, assign: Assign) -> Iterator[Candidate]:
        """Yield a Gaussian for each cluster that is large enough."""
        found, least = self.failures, self.grouping.min_support
        for label, predicted, rows in self._pairs():
            if len(rows) < least:
                continue
            clusters = assign(rows)
            for number in range(clusters.max() + 1):
                members = rows[clusters == number]
                share = len(members) / len(rows)
                if len(members) >= least and share >= self.grouping.weight_threshold:
                    mean, covariance = self._gaussian(found.z[members].astype(np.float64))
                    key = ("pair", label, predicted, number)
                    yield Candidate(key, label, predicted, mean, covariance, share, len(members))

    def _pairs(self) -> list[tuple[int, int, np.ndarray]]:
        pairs = np.stack([self.failures.label, self.failures.predicted], axis=1)
        return [(int(a), int(b), np.flatnonzero((pairs == (a, b)).all(axis=1))) for a, b in np.unique(pairs, axis=0)]

    def _within(self, values: np.ndarray) -> np.ndarray:
        """Return the pooled covariance about the means of the confusions."""
        centred = [values[rows] - values[rows].mean(axis=0) for _, _, rows in self._pairs()]
        freedom = sum(len(part) - 1 for part in centred)
        return sum(part.T @ part for part in centred) / max(freedom, 1)

    @cached_property
    def _spread(self) -> np.ndarray:
        """Of the codes, within the confusions."""
        return self._within(self.failures.z.astype(np.float64))

    def _gaussian(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and covariance; the spread within pairs is the prior, worth as many codes as dimensions."""
        latent, prior = codes.shape[1], self._spread
        centred = codes - codes.mean(axis=0)
        return codes.mean(axis=0), (latent * prior + centred.T @ centred) / (latent + len(codes))

    def _joint(self) -> Assign:
        """Cluster codes beside logits, each in units of its own spread within confusions."""
        parts = (self.failures.z.astype(np.float64), self._logits())
        scaled = [part / np.sqrt(np.diag(self._within(part)) + 1e-12) for part in parts]
        joint = np.concatenate(scaled, axis=1)
        prior = self._within(joint) + 1e-3 * np.eye(joint.shape[1])

        def assign(rows: np.ndarray) -> np.ndarray:
            most = len(rows) // self.grouping.min_support
            group = CodeGroup(joint[rows], seed=derive(self.seed, "joint", int(rows[0])), max_components=most)
            return self._split.fit_groups([group], prior=prior)[0].assign(joint[rows])

        return assign

    @torch.inference_mode()
    def _logits(self) -> np.ndarray:
        found, parts = self.failures, []
        for start in range(0, len(found), 500):
            some = slice(start, start + 500)
            codes = torch.from_numpy(found.z[some]), torch.from_numpy(found.label[some])
            pixels = self.run.renderer.render(*codes).pixels
            parts.append(self.run.classifier.logits(quantise(pixels)).double().numpy())
        return np.concatenate(parts)

    def _density(self, rows: np.ndarray) -> np.ndarray:
        if len(rows) < 2 * self.grouping.min_support:
            return np.zeros(len(rows), dtype=np.int64)
        scale = np.sqrt(np.diag(self._spread))
        clusters = HDBSCAN(min_cluster_size=self.grouping.min_support, allow_single_cluster=True, copy=True)
        return clusters.fit_predict(self.failures.z[rows] / scale)


WAYS = ("codes", "codes and answers", "density", "one")


def compare(shop: Workshop, task: Task, seed: int) -> Iterator[dict[str, Any]]:
    """Yield what each way finds of one planted bug."""
    method, ground = Chain("default"), shop.ground(task.data)
    splits, folder = ground.visible("unseen"), shop.run_folder(task, method, "unseen")
    config = method.config(ground.home(), quick=False, seed=seed, data=task.data)
    classifier = taught(ground, task, shop.folder / "cache" / "classifiers")
    with Run(config, folder, classifier=classifier, splits=splits) as run:
        screen, failures, distill = run.screen, run.identified.failures, config.distill
        sampler = RegionSampler(run.renderer, classifier, screen)
        for way in WAYS:
            proposed = Ways(run, failures, distill.grouping, seed).propose(way)
            regions = distill.settle(proposed, sampler, seed=seed)
            outcome = Outcome(found_in(regions), classifier, classifier, run.renderer.redraw, screen)
            scores = shop.score(task, method, "unseen", outcome)
            first = first_rank([score.match for score in scores])
            evidence = [region.evidence for region in regions.reported]
            yield {
                "task": task.name,
                "way": way,
                "failures": len(failures),
                "candidates": len(proposed.candidates),
                "regions": len(regions.reported),
                "confusions": len({(region.label, region.predicted) for region in regions.reported}),
                "rank": first,
                "matches": sum(score.match for score in scores),
                "inside": None if first is None else scores[first - 1].inside,
                "precision": precision(scores),
                "failure_rate": float(np.mean([each.failure.value for each in evidence])) if evidence else None,
                "kept": sum(int(part.kept.sum()) for (_, use), part in regions.samples.items() if use is Purpose.FINAL),
            }


def main() -> None:
    """Compare on every task, and write the rows as they come."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of the benchmark: --out of the command")
    parser.add_argument("--data", type=Path, default=None, help="folder of the archives")
    parser.add_argument("--tasks", required=True, help="names, with commas, of finished cells")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, default=RESULTS / "grouping.json")
    options = parser.parse_args()
    made = provenance(f"python benchmarks/grouping.py runs/planted --tasks {options.tasks}")
    shop = Workshop(options.folder, options.data, options.seed)
    rows: list[dict[str, Any]] = []
    for task in choose_tasks(tuple(options.tasks.split(","))):
        for row in compare(shop, task, options.seed):
            rows.append(row)
            print(row, flush=True)
    result = {"rows": rows, "seed": options.seed, **made}
    options.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
