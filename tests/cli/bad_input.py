"""What the tests of bad input share: a small data set, models, and what a command left in a folder."""

from pathlib import Path

import numpy as np

from tiny_run import draw

IMAGES, LABELS = draw(90, np.random.default_rng(0))

MODELS = """
import torch
from torch import nn

class Answer(nn.Module):
    def __init__(self, width, value=0.0):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.width, self.value = width, value

    def forward(self, x):
        return torch.full((len(x), self.width), self.value) * self.scale

def fits():
    return Answer(3)

def wrong_width():
    return Answer(7)

def not_a_number():
    return Answer(3, float("nan"))

def no_module():
    return "a model"

def fails():
    raise OSError("first line\\nsecond line")
"""


def left(folder: Path) -> set[str]:
    """What a run left in its folder, but for the lock."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")} - {".lock"}


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix == ".tmp"]
