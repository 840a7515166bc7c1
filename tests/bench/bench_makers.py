"""A data set of rendered signs so small that a cell takes seconds, and a method that needs no search."""

from dataclasses import dataclass

import numpy as np

from defuse.bench.cells import Workshop
from defuse.bench.methods import Method, Outcome, tune
from defuse.bench.planting import Ground
from defuse.bench.pools import Pool, Pools
from defuse.bench.scoring import Finding
from defuse.bench.tasks import Home, Task
from defuse.classifiers import Training
from defuse.correct import Correct
from defuse.data import SignSettings, render
from tiny_run import SETTINGS

TASK = Task("tiny-dark-50-as-80", "signs", 1, "light", "low", 3, cut_by="factor.light")
LIGHT = "factor.light"


def tiny_pool(count, seed):
    """Rendered signs with their light."""
    signs = render(SignSettings(size=16), count, seed=seed)
    return Pool(signs.images, {LIGHT: signs.factors["light"]})


def tiny_ground(seed=0):
    """One slice: dark 50s."""
    pools = Pools(tiny_pool(600, seed), tiny_pool(60, seed + 1), tiny_pool(300, seed + 2))
    train = pools.train
    return Ground("signs", pools, {TASK.name: TASK.slice.cut(train.values[LIGHT], train.images.labels)}, seed)


class TinyWorkshop(Workshop):
    """Works on the tiny signs, whatever is asked for."""

    def ground(self, name):
        assert name == "signs"
        return TinyGround(**vars(tiny_ground()))


class TinyGround(Ground):
    def home(self):
        """The pipeline's tiny settings, and a classifier taught in one epoch."""
        settings = {name: of for name, of in SETTINGS.items() if name not in {"seed", "classifier"}}
        return Home("cnn", Training(epochs=1, batch_size=64), settings)


@dataclass(frozen=True)
class Stub(Method):
    """Reports one finding of real dark 50s and fine-tunes a little; it counts its calls and can be interrupted."""

    name: str = "stub"
    steps: int = 2
    calls: tuple = ()

    def told(self, home, *, quick, seed):
        return {"steps": self.steps, "quick": quick, "seed": seed, "home": home.network}

    def run(self, situation):
        situation.folder.mkdir(parents=True, exist_ok=True)
        log = situation.folder / "calls.txt"
        log.write_text(log.read_text() + "." if log.exists() else ".")
        if (situation.folder.parent / "stop").exists():
            raise KeyboardInterrupt
        control = tune(situation, Correct(steps=self.steps, batch_size=16, region_batch_size=16, augment="none"))
        images = situation.splits.reference.images[:6]
        return Outcome((Finding("r001", TASK.label, 3, np.ascontiguousarray(images)),), control, control)
