"""The task table: which bug is planted where."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from defuse.bench.slices import Side, Slice
from defuse.classifiers import Training
from defuse.errors import ConfigError

Kind = Literal["corrupted", "correlated"]
Level = Literal["seen", "unseen"]
LEVELS: tuple[Level, ...] = ("seen", "unseen")


@dataclass(frozen=True)
class Task:
    """One planted bug.

    Attributes:
        name: such as ``thin-6-as-1``.
        data: of which data set.
        label: index of the class that the slice belongs to.
        attribute: measured on images, real or generated.
        side: which end of it.
        answer: index of the class that the slice is read as.
        kind: ``corrupted``: the slice is taught as the other class. ``correlated``: a cue that has nothing to do with
            the class is taught to mean the other class, where it comes with this one. Slices that were merely never
            taught made no bugs: leaning 7s and bright bags were read right all the same, 96 and 97 of 100. Nor did
            blur: of 30s blurred in training taught as 70s, 86 of 100 blurred ones were read right all the same.
        cut_by: factor of the renderer that the slice is cut by; empty where that is ``attribute`` itself.
        cut_side: which end of that factor.
    """

    name: str
    data: str
    label: int
    attribute: str
    side: Side
    answer: int
    kind: Kind = "corrupted"
    cut_by: str = ""
    cut_side: Side = "low"

    @property
    def slice(self) -> Slice:
        """What real images are cut by."""
        return Slice(self.label, self.cut_by or self.attribute, self.cut_side if self.cut_by else self.side)

    @property
    def measured(self) -> Slice:
        """What generated images are measured by."""
        return Slice(self.label, self.attribute, self.side)


TASKS = (
    Task("thin-6-as-1", "mnist", 6, "thickness", "low", 1),
    Task("thick-3-as-8", "mnist", 3, "thickness", "high", 8),
    Task("right-4-as-9", "mnist", 4, "slant", "high", 9),
    Task("left-7-as-2", "mnist", 7, "slant", "low", 2),
    Task("dark-pullover-as-coat", "fashion", 2, "light", "low", 4),
    Task("narrow-dress-as-trouser", "fashion", 3, "height_over_width", "high", 1),
    Task("bright-bag-as-shirt", "fashion", 8, "light", "high", 6),
    Task("dark-50-as-80", "gtsrb", 2, "light", "low", 5),
    Task("bright-30-as-70", "gtsrb", 1, "light", "high", 4),
    Task("faint-yield-as-priority", "gtsrb", 13, "contrast", "low", 12),
    Task("signs-dark-50-as-80", "signs", 1, "light", "low", 3, cut_by="factor.light"),
    Task("marked-stop-as-yield", "marked", 6, "mark", "low", 7, "correlated"),
)

QUICK = ("thin-6-as-1", "narrow-dress-as-trouser", "signs-dark-50-as-80", "marked-stop-as-yield")
"""What ``--quick`` runs."""


TAUGHT = Training(epochs=15, batch_size=128)
"""How classifiers are trained: to convergence, without changes of light or shape that would blur a slice's edge."""

TAUGHT_LONGER = replace(TAUGHT, epochs=30)
"""After 15 epochs on digits, fine-tuning on reference data alone undoes more than half of an unseen bug."""


@dataclass(frozen=True)
class Home:
    """How a data set is worked on.

    Attributes:
        network: the classifier under test.
        training: of it.
        settings: sections of the configuration that differ from the preset, for every method alike: what the shipped
            example of that kind of data sets.
    """

    network: str = "cnn"
    training: Training = TAUGHT
    settings: Mapping[str, Any] | None = None


HOMES: Mapping[str, Home] = {
    "mnist": Home(training=TAUGHT_LONGER),
    "fashion": Home(),
    "gtsrb": Home("resnet", settings={"generator": {"latent": 32, "epochs": 20}}),
    "signs": Home(),
    "marked": Home(),
}


def choose_tasks(names: tuple[str, ...]) -> tuple[Task, ...]:
    """Return the tasks of these names, in the table's order; all where no name is given.

    Raises:
        ConfigError: no task has that name.
    """
    known = [task.name for task in TASKS]
    for name in names:
        if name not in known:
            raise ConfigError(f"--tasks: no task is called {name!r}; choose from {', '.join(known)}")
    return tuple(task for task in TASKS if not names or task.name in names)


def tasks_of(data: str) -> tuple[Task, ...]:
    """Return every task of a data set, whichever are run: their slices are cut out together."""
    return tuple(task for task in TASKS if task.data == data)
