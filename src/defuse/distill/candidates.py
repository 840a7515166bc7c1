"""Candidate regions: the components of mixtures that are fitted to groups of failures."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from defuse.distill.fitted import FittedMixture
from defuse.distill.mixture import CodeGroup, DirichletMixture
from defuse.progress import Progress
from defuse.records import Failures
from defuse.seeds import derive
from defuse.types import Labels, Mask

FEW_IN_GROUP = "group of too few failures to fit"
LOW_WEIGHT = "component weight below the threshold"
LOW_SUPPORT = "component of too few failures"

Key = tuple[str | int, ...]
"""Names a group or a candidate; a candidate's random numbers depend on the run's seed and its key alone."""


@dataclass(frozen=True)
class Candidate:
    """A component that stands to be tested; label, predicted and support as in ``Region``.

    ``parts`` are smaller Gaussians over the same failures, for where this one proves too wide; see ``Sharpening``.
    """

    key: Key
    label: int
    predicted: int
    mean: Float64[np.ndarray, " latent"]
    covariance: Float64[np.ndarray, "latent latent"]
    weight: float
    support: int
    parts: tuple["Candidate", ...] = ()


@dataclass(frozen=True)
class Proposed:
    """Every candidate; why other components fell (reason -> count); how many components had members at all."""

    candidates: tuple[Candidate, ...]
    dropped: Counter[str]
    fitted: int


@dataclass(frozen=True)
class Grouping:
    """How failures become candidates; the attributes are those of ``Distill``."""

    mixture: DirichletMixture
    per_pair: bool
    weight_threshold: float
    min_support: int
    parts: int = 1

    def propose(self, failures: Failures, *, seed: int, progress: Progress) -> Proposed:
        """Fit one mixture per group and keep the components that are large enough.

        Pairs share what they know of a component's shape: the prior is the covariance within pairs, so that a handful
        of failures in many dimensions still gives a Gaussian to draw from. A group that is one component has parts
        where a mixture of up to ``parts`` components finds more than one of them large enough.
        """
        groups = self._groups(failures)
        prior = _within(failures, [members for _, members in groups]) if self.per_pair else None
        large = [(key, members) for key, members in groups if members.sum() >= self.min_support]
        dropped: Counter[str] = Counter()
        if len(large) < len(groups):
            dropped[FEW_IN_GROUP] = len(groups) - len(large)
        progress("distill: mixtures", 0, len(large), f"{len(failures)} failures")
        codes = [
            CodeGroup(
                failures.z[members],
                seed=derive(seed, "distill", *key),
                max_components=int(members.sum()) // self.min_support,
            )
            for key, members in large
        ]
        mixtures = self.mixture.fit_groups(codes, prior=prior)
        smaller = replace(self.mixture, max_components=self.parts)
        splits = smaller.fit_groups(codes, prior=prior) if self.parts > 1 else mixtures
        candidates: list[Candidate] = []
        fitted = 0
        for (key, members), found, split in zip(large, mixtures, splits, strict=True):
            of_group = (failures.label[members], failures.predicted[members], failures.z[members])
            components = list(_components(key, *of_group, found))
            parts = tuple(part for part in _components((*key, "part"), *of_group, split) if not self._refuse(part))
            fitted += len(components)
            for candidate in components:
                reason = self._refuse(candidate)
                if reason:
                    dropped[reason] += 1
                else:
                    divisible = len(components) == 1 < len(parts)
                    candidates.append(replace(candidate, parts=parts if divisible else ()))
        unsettled = sum(not found.converged for found in mixtures)
        progress("distill: mixtures", len(large), len(large), f"{unsettled} not converged" if unsettled else "")
        return Proposed(tuple(candidates), dropped, fitted)

    def _groups(self, failures: Failures) -> list[tuple[Key, Mask]]:
        """Return (key, members) of each group of failures that gets its own mixture."""
        if not self.per_pair:
            return [(("all",), np.ones(len(failures), dtype=bool))] if len(failures) else []
        pairs = sorted(set(zip(failures.label.tolist(), failures.predicted.tolist(), strict=True)))
        return [
            (("pair", label, predicted), (failures.label == label) & (failures.predicted == predicted))
            for label, predicted in pairs
        ]

    def _refuse(self, candidate: Candidate) -> str | None:
        """Return why a component is too small, or None."""
        if candidate.weight < self.weight_threshold:
            return LOW_WEIGHT
        return LOW_SUPPORT if candidate.support < self.min_support else None


def _within(failures: Failures, groups: list[Mask]) -> Float64[np.ndarray, "latent latent"] | None:
    """Return the pooled covariance of codes about their groups' means; None when no group has two members."""
    centred = [failures.z[members] - failures.z[members].mean(axis=0, dtype=np.float64) for members in groups]
    freedom = sum(len(part) - 1 for part in centred)
    if not freedom:
        return None
    scatter: np.ndarray = sum(part.T @ part for part in centred) / freedom
    return scatter


def _components(
    key: Key, labels: Labels, predicted: Labels, codes: np.ndarray, mixture: FittedMixture
) -> Iterator[Candidate]:
    """Yield the components that have members, with the members' majority label and most frequent wrong answer."""
    assigned = mixture.assign(codes)
    for number, weight in enumerate(mixture.weights):
        members = assigned == number
        if not members.any():
            continue
        label = int(np.bincount(labels[members]).argmax())
        answers = predicted[members]
        yield Candidate(
            key=(*key, number),
            label=label,
            predicted=int(np.bincount(answers[answers != label]).argmax()),
            mean=mixture.means[number],
            covariance=mixture.covariances[number],
            weight=float(weight),
            support=int(members.sum()),
        )
