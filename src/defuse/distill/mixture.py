"""Truncated variational Dirichlet-process Gaussian mixture, for one group of codes or for many as a batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as record
from dataclasses import replace
from typing import Annotated, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float64
from pydantic import Field
from pydantic.dataclasses import dataclass
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from defuse.distill.ascent import Ascended, Ascent
from defuse.distill.fitted import FittedMixture
from defuse.distill.packing import Packing, Padded
from defuse.distill.starts import k_means_statistics
from defuse.distill.variational import Posterior, Prior
from defuse.seeds import derive
from defuse.types import STRICT

BATCH = 20_000
"""Codes in a batch of groups, at most, unless a single group has more."""

ALIKE = 0.75
"""Groups of a batch have at least this share of its largest one's codes."""


@record(frozen=True)
class CodeGroup:
    """Codes that get a mixture of their own.

    Attributes:
        codes: (n, latent), n >= 1.
        seed: of the start.
        max_components: a lower truncation for this group; None for the mixture's.
        start: responsibilities (n, k) to start from instead of clusters; k is then the truncation.
    """

    codes: np.ndarray
    seed: int
    max_components: int | None = None
    start: Float64[np.ndarray, "n k"] | None = None


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DirichletMixture:
    """A Dirichlet-process mixture of Gaussians, truncated, fitted by variational inference.

    Source: Slack et al. 2021 (arXiv:2102.06162), distillation; Blei and Jordan 2006; Bishop 2006, section 10.2; the
    updates are in ``variational``. The paper's truncation, concentration and priors were not at hand: the values here
    are ours. Model, priors and bound are those of scikit-learn's ``BayesianGaussianMixture``, except that
    ``regularisation`` is also added to the prior covariance, so that few codes, or codes that coincide, still give
    Gaussians with a density.

    Attributes:
        max_components: truncation of the process; fewer codes than this lower it to their number. As Defuse ships it,
            one Gaussian for each confusion: more split one bug into several, no purer, and each wants a label.
        covariance: ``full`` or ``diagonal`` Gaussians.
        weight_concentration: of the process; smaller values put the mass on fewer components.
        max_iterations: of the variational updates.
        tolerance: the fit has converged when the bound changes by less than this.
        regularisation: added to the diagonal of every covariance, in squared units of the latent space. With 0 the
            bound never falls, but the prior must be positive definite by itself.
        restarts: how often it is fitted from another start; the best bound wins.
    """

    max_components: Annotated[int, Field(ge=1)] = 1
    covariance: Literal["full", "diagonal"] = "full"
    weight_concentration: Annotated[float, Field(gt=0)] = 1.0
    max_iterations: Annotated[int, Field(ge=1)] = 200
    tolerance: Annotated[float, Field(ge=0)] = 1e-3
    regularisation: Annotated[float, Field(ge=0)] = 1e-3
    restarts: Annotated[int, Field(ge=1)] = 1

    def fit(
        self,
        codes: np.ndarray,
        *,
        seed: int,
        prior: Float64[np.ndarray, "latent latent"] | None = None,
        start: Float64[np.ndarray, "n k"] | None = None,
        device: torch.device | str = "cpu",
    ) -> FittedMixture:
        """Fit the mixture to codes (n, latent) with n >= 1; a component may end with next to no weight.

        Args:
            codes: points of the latent space.
            seed: of the start.
            prior: expected covariance of a component before any code is seen; None for that of all codes.
            start: see ``CodeGroup``.
            device: where to compute, in float64.

        Raises:
            ValueError: see ``fit_groups``.
        """
        return self.fit_groups([CodeGroup(codes, seed, start=start)], prior=prior, device=device)[0]

    def fit_groups(
        self,
        groups: Sequence[CodeGroup],
        *,
        prior: Float64[np.ndarray, "latent latent"] | None = None,
        device: torch.device | str = "cpu",
    ) -> list[FittedMixture]:
        """Fit a mixture to each group, groups of like size as one batch; what a group gets is what ``fit`` gives.

        Args:
            groups: all of one latent space.
            prior: as in ``fit``, for all groups; None for the covariance of each group's own codes.
            device: where to compute, in float64.

        Raises:
            ValueError: codes are not a finite matrix with at least one row, or not of one latent space; the prior is
                not symmetric and positive definite; a start is not made of responsibilities; codes are about 1e7
                times as far apart as the prior is wide.
        """
        checked = [_checked(group) for group in groups]
        if not checked:
            return []
        latent = checked[0].codes.shape[1]
        if any(group.codes.shape[1] != latent for group in checked):
            raise ValueError(f"codes: expected {latent} columns in every group, as in the first")
        priors = [self._prior(group.codes, prior) for group in checked]
        fitted: dict[int, FittedMixture] = {}
        for rows in _batches(checked):
            batch = [checked[row] for row in rows]
            try:
                found = self._fit_batch(batch, [priors[row] for row in rows], torch.device(device))
            except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # public, but not marked as exported
                raise ValueError(
                    "codes: so far apart, beside the prior covariance, that float64 does not resolve a component's; "
                    f"raise regularisation, now {self.regularisation:g}, or scale the codes"
                ) from None
            fitted |= zip(rows, found, strict=True)
        return [fitted[row] for row in range(len(checked))]

    def _prior(self, codes: Float64[np.ndarray, "n latent"], given: np.ndarray | None) -> Float64[np.ndarray, "_ _"]:
        """Return the prior covariance of a group's components."""
        latent = codes.shape[1]
        expected = _covariance(codes) if given is None else np.asarray(given, dtype=np.float64)
        if expected.shape != (latent, latent) or not np.allclose(expected, expected.T):
            raise ValueError(f"prior: expected a symmetric matrix ({latent}, {latent}), got shape {expected.shape}")
        prior: np.ndarray = expected + self.regularisation * np.eye(latent)
        try:
            np.linalg.cholesky(prior)
        except np.linalg.LinAlgError:
            raise ValueError(
                "prior: expected a positive definite covariance; raise regularisation, now "
                f"{self.regularisation:g}, or scale the codes"
            ) from None
        return prior

    def _fit_batch(
        self, groups: list[CodeGroup], priors: list[Float64[np.ndarray, "latent latent"]], device: torch.device
    ) -> list[FittedMixture]:
        """Fit from every start and keep each group's best."""
        if len(groups[0].codes) == 1:
            return [_single(group.codes, prior) for group, prior in zip(groups, priors, strict=True)]
        packing = Packing(groups[0].codes.shape[1], full=self.covariance == "full", device=device)
        data = Padded.join([torch.tensor(group.codes, device=device) for group in groups])
        scatter = torch.from_numpy(np.stack(priors)).to(device)
        if not packing.full:
            scatter = scatter.diagonal(dim1=1, dim2=2).contiguous()
        prior = Prior(scatter, self.weight_concentration, self.regularisation)
        rooms = torch.tensor([self._room(group) for group in groups], device=device)
        exists = torch.arange(int(rooms.max()), device=device) < rooms[:, None]
        ascent = Ascent(packing, self.max_iterations, self.tolerance)
        runs = []
        for statistics in self._starts(packing, data, exists, groups):
            ended = ascent.run(data, statistics, exists, prior)
            posterior = Posterior.update(packing, ended.statistics, exists, prior)
            runs.append(_read(posterior, ended, data.centre))
        return [_best([run[row] for run in runs], group.codes) for row, group in enumerate(groups)]

    def _starts(
        self, packing: Packing, data: Padded, exists: Bool[Tensor, "b k"], groups: list[CodeGroup]
    ) -> Iterator[Float64[Tensor, "b k f"]]:
        """Yield the sums of features of each start; a start that is given is the only one."""
        given = [group.start for group in groups if group.start is not None]
        if given:
            yield _sums(packing, data, exists, given)
            return
        for number in range(self.restarts):
            yield k_means_statistics(packing, data, exists, [derive(group.seed, "restart", number) for group in groups])

    def _room(self, group: CodeGroup) -> int:
        """Return the truncation of a group."""
        if group.start is not None:
            return group.start.shape[1]
        return min(self.max_components, group.max_components or self.max_components, len(group.codes))


def _checked(group: CodeGroup) -> CodeGroup:
    """Return the group with its codes and start in float64."""
    points = np.asarray(group.codes, dtype=np.float64)
    if points.ndim != 2 or not points.size or not np.isfinite(points).all():  # noqa: PLR2004 - a matrix
        raise ValueError(f"codes: expected a finite matrix with at least one row, got shape {points.shape}")
    if group.max_components is not None and group.max_components < 1:
        raise ValueError(f"max_components: expected 1 or more, got {group.max_components}")
    start = group.start
    if start is not None:
        start = np.asarray(start, dtype=np.float64)
        if start.ndim != 2 or len(start) != len(points) or not start.size:  # noqa: PLR2004 - a matrix
            raise ValueError(f"start: expected a matrix with {len(points)} rows, got shape {start.shape}")
        if not (start >= 0).all() or not np.allclose(start.sum(axis=1), 1):
            raise ValueError("start: expected responsibilities, at least 0 and with rows that sum to 1")
    return replace(group, codes=points, start=start)


def _batches(groups: list[CodeGroup]) -> Iterator[list[int]]:
    """Yield rows of groups that are worth one batch: of like size, all with a start of their own or none."""
    order = sorted(range(len(groups)), key=lambda row: (groups[row].start is None, -len(groups[row].codes)))
    batch: list[int] = []
    for row in order:
        if batch:
            head, size = groups[batch[0]], len(groups[row].codes)
            largest = len(head.codes)
            same = (head.start is None) == (groups[row].start is None) and (largest == 1) == (size == 1)
            if not same or size < ALIKE * largest or (len(batch) + 1) * largest > BATCH:
                yield batch
                batch = []
        batch.append(row)
    if batch:
        yield batch


def _covariance(points: Float64[np.ndarray, "n latent"]) -> Float64[np.ndarray, "latent latent"]:
    """Return the covariance of all codes; zero for a single one."""
    if len(points) == 1:
        return np.zeros((points.shape[1], points.shape[1]))
    return np.atleast_2d(np.cov(points, rowvar=False))


def _single(point: Float64[np.ndarray, "1 latent"], prior: Float64[np.ndarray, "latent latent"]) -> FittedMixture:
    """Return the mixture of one code: the prior about it."""
    return FittedMixture(np.ones(1), point.copy(), prior[None], np.zeros(1), converged=True, bounds=np.zeros(1))


def _sums(
    packing: Packing, data: Padded, exists: Bool[Tensor, "b k"], given: list[Float64[np.ndarray, "_ _"]]
) -> Float64[Tensor, "b k f"]:
    """Return the sums of features under given responsibilities."""

    def respond(features: Float64[Tensor, "b f c"], start: int) -> Float64[Tensor, "b k c"]:
        chunk = features.new_zeros((*exists.shape, features.shape[2]))
        for row, one in enumerate(given):
            part = torch.tensor(one[start : start + features.shape[2]].T, device=features.device)
            chunk[row, : part.shape[0], : part.shape[1]] = part
        return chunk

    return packing.accumulate(data, exists.shape[1], respond)


def _read(posterior: Posterior, ended: Ascended, centre: Float64[Tensor, "b d"]) -> list[FittedMixture]:
    """Return what each group of a batch ended with."""
    weights, offsets = posterior.weights().cpu().numpy(), posterior.offsets().cpu().numpy()
    means = (posterior.means + centre[:, None]).cpu().numpy()
    covariances = posterior.covariances if posterior.packing.full else posterior.covariances.diag_embed()
    found = []
    for row, components in enumerate(posterior.exists.sum(dim=1).tolist()):
        bounds = ended.bounds[row][~ended.bounds[row].isnan()]
        found.append(
            FittedMixture(
                weights=weights[row, :components],
                means=means[row, :components],
                covariances=covariances[row, :components].cpu().numpy(),
                offsets=offsets[row, :components],
                converged=bool(ended.converged[row]),
                bounds=bounds.cpu().numpy(),
            )
        )
    return found


def _best(runs: list[FittedMixture], codes: Float64[np.ndarray, "n latent"]) -> FittedMixture:
    """Return the run with the best bound, and how alike the others group the codes."""
    best = max(runs, key=lambda run: run.bound)
    others = [run for run in runs if run is not best]
    if not others:
        return best
    labels = best.assign(codes)
    return replace(best, stability=float(np.mean([adjusted_rand_score(labels, run.assign(codes)) for run in others])))
