"""Choosing whole groups of images for a split, so that no group falls on both sides."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from defuse.types import Labels, Mask


@dataclass(frozen=True)
class Choice:
    """Which images go, (n,); or the class that stands in the way, because it has too few groups."""

    goes: Mask | None
    scarce: int | None = None


def choose_groups(
    groups: Labels, labels: Labels, quota: Int64[np.ndarray, " k"], *, stay: int, rng: np.random.Generator
) -> Choice:
    """Choose groups that go, as whole groups, with about ``quota[k]`` images of each class k.

    The groups are put in random order. First every class, scarcest first, gets one group: the earliest that takes no
    class above its quota, or else the one that takes the classes least far above theirs. Then every group that still
    takes no class above its quota goes, in order. At last, one at a time, the group goes whose images bring the classes
    nearest to their quotas together (by the sum of distances), as long as that is nearer than without it.

    Where each group is of one class, a class thus misses its quota by at most half of its smallest group that stays;
    except that one group always goes, and ``stay`` always stay. Groups of several classes are the harder the more
    classes they span: then a choice may be missed that exists.

    Args:
        groups: each image's group, (n,).
        labels: each image's class, (n,); every class from 0 to k - 1 is there.
        quota: how many images of each class should go, (k,).
        stay: how many groups of each class must stay.
        rng: decides the order.
    """
    present, members = np.unique(groups, return_inverse=True)
    order = rng.permutation(len(present))
    counts = np.zeros((len(present), len(quota)), dtype=np.int64)
    np.add.at(counts, (np.argsort(order)[members], labels), 1)  # row i: the i-th group in random order
    draft = _Draft(counts, quota, stay)
    for label in np.argsort((counts > 0).sum(axis=0), kind="stable").tolist():
        if not draft.cover(label):
            return Choice(None, scarce=label)
    draft.fill()
    draft.approach()
    return Choice(draft.goes[np.argsort(order)[members]])


class _Draft:
    """A choice in the making.

    Attributes:
        goes: which groups go so far, (g,).
    """

    def __init__(self, counts: Int64[np.ndarray, "g k"], quota: Int64[np.ndarray, " k"], stay: int) -> None:
        self.goes = np.zeros(len(counts), dtype=bool)
        self._counts = counts
        self._has = counts > 0
        self._room = quota.copy()  # images of each class that may still go; negative above the quota
        self._spare = self._has.sum(axis=0) - stay  # groups of each class that may still go

    def cover(self, label: int) -> bool:
        """Let a group of a class go, if none does yet; tell whether one goes."""
        if bool((self.goes & self._has[:, label]).any()):
            return True
        able = np.flatnonzero(self._has[:, label] & self._may_go())
        if able.size == 0:
            return False
        excess = np.maximum(self._counts[able] - self._room, 0).sum(axis=1)
        self._send(int(able[excess.argmin()]))  # the first of the least: without excess, the earliest
        return True

    def fill(self) -> None:
        """Let every group go that takes no class above its quota, in order."""
        for group, counts in enumerate(self._counts):
            its = self._has[group]
            fits = (counts <= self._room)[its].all() and (self._spare[its] > 0).all()
            if fits and not self.goes[group]:
                self._send(group)

    def approach(self) -> None:
        """Let groups go as long as that brings the classes nearer to their quotas."""
        while (able := np.flatnonzero(self._may_go())).size:
            gain = np.abs(self._room).sum() - np.abs(self._room - self._counts[able]).sum(axis=1)
            if gain.max() <= 0:
                return
            self._send(int(able[gain.argmax()]))

    def _may_go(self) -> Bool[np.ndarray, " g"]:
        """Tell of each group whether it is still here and every class can spare it."""
        return ~self.goes & ~self._has[:, self._spare <= 0].any(axis=1)

    def _send(self, group: int) -> None:
        self.goes[group] = True
        self._room -= self._counts[group]
        self._spare -= self._has[group]
