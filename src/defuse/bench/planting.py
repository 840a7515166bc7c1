"""Planting: what the classifier under test is taught, what Defuse may see of it, and the clean classifier beside it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from defuse.bench.pools import Pool, Pools, read_pools
from defuse.bench.slices import Cut
from defuse.bench.tasks import HOMES, Home, Level, Task, tasks_of
from defuse.classifiers import TorchClassifier, build_network, load_weights, save_weights, train
from defuse.devices import pick_device
from defuse.progress import Progress, silent
from defuse.records import LabelledImages, Splits
from defuse.seeds import derive
from defuse.types import Mask


@dataclass(frozen=True)
class Ground:
    """One data set with every slice that is planted in it.

    Attributes:
        name: of the data set.
        pools: whole, margins included.
        cuts: task -> slice with its thresholds, computed on the training images.
        seed: of the split, and of every classifier.
    """

    name: str
    pools: Pools
    cuts: Mapping[str, Cut]
    seed: int

    @classmethod
    def of(cls, name: str, pools: Pools, seed: int) -> "Ground":
        """Cut the slices of all tasks of a data set."""
        train, labels = pools.train, pools.train.images.labels
        cuts = {task.name: task.slice.cut(train.values[task.slice.attribute], labels) for task in tasks_of(name)}
        return cls(name, pools, cuts, seed)

    @classmethod
    def read(cls, name: str, folder: Path | None, seed: int) -> "Ground":
        """Read a data set and cut its slices.

        Raises:
            DataError: it is not there or cannot be used.
        """
        attributes = frozenset(task.slice.attribute for task in tasks_of(name))
        return cls.of(name, read_pools(name, attributes, folder, seed), seed)

    def home(self) -> Home:
        """How this data set is worked on."""
        return HOMES[self.name]

    def members(self, pool: Pool, task: str) -> Mask:
        """Return which images belong to the slice of a task, (n,)."""
        cut = self.cuts[task]
        return cut.members(pool.values[cut.where.attribute], pool.images.labels)

    def in_margin(self, pool: Pool) -> Mask:
        """Return which images lie in the margin of any slice, and are in no slice, (n,)."""
        return self._any(pool, Cut.margin) & ~self._any(pool, Cut.members)

    def near(self, pool: Pool) -> Mask:
        """Return which images are a member of any slice or lie in its margin, (n,)."""
        return self._any(pool, Cut.near)

    def visible(self, level: Level) -> Splits:
        """Return what Defuse may look at: no margin; on level ``unseen`` no member of any slice either."""
        hidden = self.near if level == "unseen" else self.in_margin
        return self.pools.keep(lambda pool: ~hidden(pool)).splits

    def plain_test(self) -> LabelledImages:
        """Return the test images that are neither in a slice nor near one, on which a repair must cost nothing."""
        return self.pools.test.take(~self.near(self.pools.test)).images

    def held_out(self, task: str) -> LabelledImages:
        """Return the real test images of a slice: what a repair is for."""
        return self.pools.test.take(self.members(self.pools.test, task)).images

    def lesson(self, task: Task | None) -> LabelledImages:
        """Return what a classifier is taught: no margin, and the slice as its task has it; clean without a task."""
        pool = self.pools.train
        pool = pool.take(~self.in_margin(pool))
        if task is None:
            return pool.images
        inside = self.members(pool, task.name)
        images = pool.images
        labels = np.where(inside, task.answer, images.labels)
        return LabelledImages(images.images, labels, images.class_names, images.rows)

    def _any(self, pool: Pool, which: Callable[..., Mask]) -> Mask:
        found = np.zeros(len(pool), dtype=bool)
        for cut in self.cuts.values():
            found |= which(cut, pool.values[cut.where.attribute], pool.images.labels)
        return found


def taught(ground: Ground, task: Task | None, folder: Path, *, progress: Progress = silent) -> TorchClassifier:
    """Return the classifier that has a task's bug, or the clean one; trained once, then read from ``folder``.

    Raises:
        ClassifierError: its training diverges, or stored weights cannot be read.
    """
    home, lesson = ground.home(), ground.lesson(task)
    seed = derive(ground.seed, "planted", "classifier", task.name if task else "clean")
    height, width, channels = lesson.image_shape
    module = build_network(
        home.network, channels, len(lesson.class_names), max(height, width), seed=derive(seed, "weights")
    )
    told = [home.network, asdict(home.training), seed]
    classifier = TorchClassifier(module, lesson.class_names, device=pick_device())
    title = f"classifier: {task.name if task else 'clean'}"
    path = folder / f"{content_key(told, lesson)}.safetensors"
    if path.exists():
        load_weights(path, module)
    else:

        def named(task: str, done: int, total: int, note: str = "") -> None:
            progress(title, done, total, note or task)

        validation = ground.visible("unseen").validation
        train(module, lesson, validation, home.training, seed=derive(seed, "training"), progress=named)
        save_weights(path, module)
    return classifier


def content_key(settings: object, *images: LabelledImages) -> str:
    """Return a hash of JSON-able settings and of images with their labels: the name of what was made from them."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for part in images:
        digest.update(repr((part.class_names, part.images.shape)).encode())
        digest.update(np.ascontiguousarray(part.images).data)
        digest.update(np.ascontiguousarray(part.labels).data)
    return digest.hexdigest()[:16]
