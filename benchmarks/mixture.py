"""The mixture against scikit-learn's, in one run and in turn: time, bound and memory.

python benchmarks/mixture.py

Both start from the same responsibilities and make the same number of iterations, without a test of convergence; starts
by k-means are left out. ``speedup`` is a ratio of wall-clock times, ``cpu_speedup`` one of processor times, which other
load on the machine disturbs less. ``memory_ratio`` compares what a fit adds to the peak of a fresh process. ``curve``
holds seconds per iteration against the number of codes; scikit-learn is stopped where it would take too long.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from main_job import RESULTS
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from defuse.devices import device_name
from defuse.distill import CodeGroup, DirichletMixture
from defuse.versions import provenance

OURS, THEIRS = "defuse", "scikit-learn"
CLUSTERS = 60
REGULARISATION = 1e-6


@dataclass(frozen=True)
class Case:
    """What is fitted: groups of codes, each from its start."""

    codes: tuple[np.ndarray, ...]
    starts: tuple[np.ndarray, ...]
    covariance: str
    iterations: int
    device: str = "cpu"

    def ours(self) -> list[float]:
        """Fit the groups as one batch; return their bounds."""
        mixture = DirichletMixture(
            max_components=self.starts[0].shape[1],
            covariance="full" if self.covariance == "full" else "diagonal",
            max_iterations=self.iterations,
            tolerance=0.0,
            regularisation=REGULARISATION,
        )
        groups = [CodeGroup(codes, 0, start=start) for codes, start in zip(self.codes, self.starts, strict=True)]
        return [fitted.bound for fitted in mixture.fit_groups(groups, device=self.device)]

    def theirs(self) -> list[float]:
        """Fit the groups one by one with scikit-learn; return their bounds."""
        return [self._reference(*one) for one in zip(self.codes, self.starts, strict=True)]

    def _reference(self, codes: np.ndarray, start: np.ndarray) -> float:
        latent = codes.shape[1]
        prior = np.cov(codes.T) + REGULARISATION * np.eye(latent)
        model = _Started(
            n_components=start.shape[1],
            covariance_type=self.covariance,
            covariance_prior=prior if self.covariance == "full" else np.diag(prior),
            weight_concentration_prior=1.0,
            reg_covar=REGULARISATION,
            max_iter=self.iterations,
            tol=0.0,
        )
        model.given = start
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return float(model.fit(codes).lower_bound_)


class _Started(BayesianGaussianMixture):
    """Starts from responsibilities that are given."""

    given: np.ndarray

    def _initialize_parameters(self, X: np.ndarray, random_state: object, xp: object = None) -> None:  # noqa: N803
        del random_state, xp
        self._initialize(X, self.given)


def _codes(rng: np.random.Generator, count: int, latent: int, clusters: int) -> np.ndarray:
    """Return codes of overlapping clusters, as full of correlations as those of a latent space."""
    member = rng.integers(0, clusters, count)
    centres = rng.normal(size=(clusters, latent))
    roots = 0.6 * rng.normal(size=(clusters, latent, latent)) / np.sqrt(latent)
    codes = centres[member]
    for number in range(clusters):
        mine = member == number
        codes[mine] += rng.normal(size=(int(mine.sum()), latent)) @ roots[number].T
    return codes


def _start(rng: np.random.Generator, codes: np.ndarray, components: int) -> np.ndarray:
    """Return the nearest of some random codes as responsibilities."""
    chosen = codes[rng.choice(len(codes), components, replace=False)]
    nearest = (codes @ chosen.T - 0.5 * np.square(chosen).sum(axis=1)).argmax(axis=1)
    return np.eye(components)[nearest]


def one_group(seed: int, count: int, latent: int, components: int, covariance: str, iterations: int) -> Case:
    """Return a case of one group."""
    rng = np.random.default_rng(seed)
    codes = _codes(rng, count, latent, CLUSTERS)
    return Case((codes,), (_start(rng, codes, components),), covariance, iterations)


def many_groups(seed: int, groups: int, latent: int, components: int, iterations: int) -> Case:
    """Return a case of groups of 50 to 2,000 codes, of three clusters each."""
    rng = np.random.default_rng(seed)
    codes = tuple(_codes(rng, int(size), latent, 3) for size in rng.integers(50, 2001, groups))
    return Case(codes, tuple(_start(rng, one, components) for one in codes), "full", iterations)


def _timed(fit: Callable[[], list[float]]) -> tuple[float, float, list[float]]:
    wall, cpu = time.perf_counter(), time.process_time()
    bounds = fit()
    return time.perf_counter() - wall, time.process_time() - cpu, bounds


def compare(case: Case, repeats: int) -> dict[str, float]:
    """Fit with both, in turn; return speedups by median times, and the largest relative difference of the bounds."""
    case.ours()  # the first call in a process pays for what the libraries set up
    pairs = [(_timed(case.ours), _timed(case.theirs)) for _ in range(repeats)]
    ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
    wall, cpu = ([float(np.median([run[part] for run in runs])) for runs in (ours, theirs)] for part in (0, 1))
    gap = max(abs(a - b) / abs(b) for a, b in zip(ours[0][2], theirs[0][2], strict=True))
    return {
        "speedup": wall[1] / wall[0],
        "cpu_speedup": cpu[1] / cpu[0],
        "seconds": wall[0],
        "reference_seconds": wall[1],
        "bound_gap": gap,
    }


def curve(
    seed: int, sizes: list[int], components: int, iterations: int, stop: int, device: str
) -> list[dict[str, Any]]:
    """Return seconds per iteration against the number of codes, 16 dimensions, full covariance."""
    rows = []
    for size in sizes:
        case = replace(one_group(seed, size, 16, components, "full", iterations), device=device)
        for engine, fit in ((OURS, case.ours), (THEIRS, case.theirs)):
            if engine == OURS or size <= stop:
                seconds = _timed(fit)[0] / iterations
                rows.append({"codes": size, "engine": engine, "seconds_per_iteration": seconds})
    return rows


def _peak(engine: str, options: argparse.Namespace) -> float:
    """Return by how many MiB a fit raises the peak of a fresh process."""
    command = [sys.executable, __file__, "--peak-of", engine, "--seed", str(options.seed)]
    command += ["--quick"] if options.quick else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603 -- own command


def _print_peak(engine: str, case: Case, small: Case) -> None:
    fits = {OURS: (small.ours, case.ours), THEIRS: (small.theirs, case.theirs)}[engine]
    fits[0]()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # from here on the peak is counted anew (Linux)
    before = _kib("VmRSS")
    fits[1]()
    print((_kib("VmHWM") - before) / 1024)


def _kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def main() -> None:
    """Run every comparison and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--iterations", type=int, default=10, help="of each fit, on both sides")
    parser.add_argument("--repeats", type=int, default=1, help="pairs of fits; the median counts")
    parser.add_argument("--json", type=Path, default=RESULTS / "mixture.json")
    parser.add_argument("--device", default="cpu", help="where ours computes; scikit-learn knows the processor alone")
    parser.add_argument("--quick", action="store_true", help="few codes, to see that it works")
    parser.add_argument("--peak-of", choices=[OURS, THEIRS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    count, components = (2_000, 20) if options.quick else (50_000, 100)
    seed, iterations = options.seed, 2 if options.quick else options.iterations
    full16 = one_group(seed, count, 16, components, "full", iterations)
    if options.peak_of:
        _print_peak(options.peak_of, full16, one_group(seed, 200, 16, 2, "full", 1))
        return
    begun, made = time.perf_counter(), provenance(" ".join(["python benchmarks/mixture.py", *sys.argv[1:]]))
    cases = {
        "full16": full16,
        "full64": one_group(seed, count, 64, components, "full", iterations),
        "diag16": one_group(seed, count, 16, components, "diag", iterations),
        "groups": many_groups(seed, 20 if options.quick else 200, 16, 20, 2 * iterations),
        "groups4": many_groups(seed, 20 if options.quick else 200, 16, 4, 2 * iterations),
    }
    figures: dict[str, float] = {}
    for name, case in cases.items():
        found = compare(replace(case, device=options.device), options.repeats)
        print(name, found, flush=True)
        figures |= {f"mixture.{name}.{key}": value for key, value in found.items() if key != "bound_gap"}
        figures["mixture.bound_gap"] = max(figures.get("mixture.bound_gap", 0.0), found["bound_gap"])
    peaks: dict[str, float] = {}
    if options.device == "cpu":
        peaks = {engine: _peak(engine, options) for engine in (OURS, THEIRS)}
        figures["mixture.memory_ratio"] = peaks[OURS] / peaks[THEIRS]
    sizes = [1_000, 2_000] if options.quick else [10_000, 30_000, 100_000, 300_000, 1_000_000]
    result = {
        "figures": figures,
        "peak_mib": peaks,
        "curve": curve(seed, sizes, components, 2, 100_000, options.device),
        "iterations": iterations,
        **made,
        "seed": seed,
        "device": device_name(options.device),
        "machine": made["machine"] | {"threads": torch.get_num_threads(), "load": round(os.getloadavg()[0], 1)},
        "seconds": round(time.perf_counter() - begun, 1),
    }
    options.json.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    print(f"wrote {options.json}")


if __name__ == "__main__":
    main()
