"""Quadratic functions of codes as dense matrix products: features of a code, and their coefficients."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float64
from torch import Tensor

CACHED = 200_000
"""Numbers that one chunk of features and responsibilities may hold together on a processor: they stay in its cache."""

RESIDENT = 20_000_000
"""The same on any other device, where only large products are fast."""

FEWEST, NARROWEST = 256, 64
"""Codes in a chunk, of all groups and of each, at least: below, matrix products lose their speed."""

Respond = Callable[[Float64[Tensor, "b f c"], int], Float64[Tensor, "b k c"]]
"""Gives the responsibilities of a chunk from its features and the number of codes before it."""


@dataclass(frozen=True)
class Padded:
    """Groups of codes of about equal size, as one batch.

    Attributes:
        points: codes less the mean of their group, one column per code; a group's surplus columns are 0.
        present: 1 where there is a code, else 0.
        centre: mean of each group.
    """

    points: Float64[Tensor, "b d n"]
    present: Float64[Tensor, "b n"]
    centre: Float64[Tensor, "b d"]

    @classmethod
    def join(cls, groups: list[Float64[Tensor, "_ d"]]) -> "Padded":
        """Centre and pad; centring first keeps squares exact wherever the codes lie."""
        longest, latent = max(len(group) for group in groups), groups[0].shape[1]
        points = groups[0].new_zeros((len(groups), latent, longest))
        present = groups[0].new_zeros((len(groups), longest))
        centre = torch.stack([group.mean(dim=0) for group in groups])
        for row, group in enumerate(groups):
            points[row, :, : len(group)] = (group - centre[row]).T
            present[row, : len(group)] = 1
        return cls(points, present, centre)

    def take(self, rows: Tensor) -> "Padded":
        """Return some of the groups."""
        return Padded(self.points[rows], self.present[rows], self.centre[rows])


@dataclass(frozen=True)
class Packing:
    """How a function a + b.x - x'Px/2 becomes one product of coefficients and features.

    The features of a code are x_i x_((i + s) mod d) for every i and shift s, then x, then 1. Shifts 0 to d // 2 hold
    every product (for even d those of the last shift twice, which the coefficients allow for), shift 0 the squares.
    So are a symmetric P and a diagonal one packed alike, and features of a chunk are a single elementwise product.

    Attributes:
        latent: dimensions of a code, d.
        full: P is any symmetric matrix, not a diagonal one.
        device: of the tensors.
    """

    latent: int
    full: bool
    device: torch.device

    @property
    def shifts(self) -> int:
        """How many shifts there are."""
        return self.latent // 2 + 1 if self.full else 1

    @property
    def features(self) -> int:
        """How many features a code has."""
        return (self.shifts + 1) * self.latent + 1

    @cached_property
    def _rows(self) -> Tensor:
        return torch.arange(self.latent, device=self.device).repeat(self.shifts)

    @cached_property
    def _columns(self) -> Tensor:
        return (self._rows + self._shift) % self.latent

    @cached_property
    def _shift(self) -> Tensor:
        return torch.arange(self.shifts, device=self.device).repeat_interleave(self.latent)

    @cached_property
    def _entries(self) -> Tensor:
        """Return where in a flat (d, d) matrix each packed product's coefficient is."""
        return self._rows * self.latent + self._columns

    @cached_property
    def _factors(self) -> Float64[Tensor, " q"]:
        """-1/2 for what the features hold as often as P does, -1 for what they hold half as often."""
        once = (2 * self._shift) % self.latent == 0
        return torch.where(once, -0.5, -1.0).double()

    @cached_property
    def _places(self) -> Tensor:
        """Return where among the packed products that of i and j is, (d, d)."""
        places = torch.zeros((self.latent, self.latent), dtype=torch.int64, device=self.device)
        order = torch.arange(len(self._rows), device=self.device)
        for rows, columns in ((self._rows, self._columns), (self._columns, self._rows)):
            places[rows, columns] = order
        return torch.minimum(places, places.T)

    def coefficients(
        self, constant: Float64[Tensor, "b k"], linear: Float64[Tensor, "b k d"], precision: Float64[Tensor, "b k *p"]
    ) -> Float64[Tensor, "b k f"]:
        """Pack a, b and P (a diagonal P as its diagonal)."""
        packed = precision.flatten(-2).index_select(-1, self._entries) if self.full else precision
        return torch.cat([packed * self._factors, linear, constant[..., None]], dim=-1)

    def moments(
        self, statistics: Float64[Tensor, "b k f"]
    ) -> tuple[Float64[Tensor, "b k"], Float64[Tensor, "b k d"], Float64[Tensor, "b k *p"]]:
        """Unpack sums of features: of 1, of x and of xx' (its diagonal where P is diagonal)."""
        products = self.shifts * self.latent
        second = statistics[..., :products]
        if self.full:
            second = second.index_select(-1, self._places.flatten())
            second = second.view(*second.shape[:-1], self.latent, self.latent)
        return statistics[..., -1], statistics[..., products:-1], second

    def accumulate(self, data: Padded, components: int, respond: Respond) -> Float64[Tensor, "b k f"]:
        """Sum the features of all codes, weighted by responsibilities, chunk by chunk."""
        groups, latent, longest = data.points.shape
        room = CACHED if self.device.type == "cpu" else RESIDENT
        chunk = max(room // (groups * (self.features + components)), FEWEST // groups, NARROWEST)
        total = data.points.new_zeros((groups, components, self.features))
        buffer = data.points.new_empty(groups * self.features * min(chunk, longest))
        products = self.shifts * latent
        for start in range(0, longest, chunk):
            points = data.points[:, :, start : start + chunk]
            width = points.shape[2]
            features = buffer[: groups * self.features * width].view(groups, self.features, width)
            around = torch.cat([points, points[:, : self.shifts - 1]], dim=1)
            shifted = around.unfold(1, latent, 1).transpose(2, 3)
            square = features[:, :products].view(groups, self.shifts, latent, width)
            torch.mul(around[:, None, :latent], shifted, out=square)
            features[:, products:-1] = points
            features[:, -1] = data.present[:, start : start + chunk]
            total.baddbmm_(respond(features, start), features.transpose(1, 2))
        return total
