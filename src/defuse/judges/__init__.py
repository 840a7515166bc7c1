"""Judges, and the gates built on them."""

from defuse.judges.base import Judge
from defuse.judges.gates import (
    Candidates,
    Gate,
    KeepsLabel,
    LabelGate,
    Legible,
    Misclassified,
    Passed,
    Plausible,
    ReadAs,
    Screen,
)
from defuse.judges.networks import NetworkJudge, Unanimous, fit_temperature
from defuse.judges.panel import JudgePanel, Judges
from defuse.judges.typicality import TypicalityJudge

__all__ = [
    "Candidates",
    "Gate",
    "Judge",
    "JudgePanel",
    "Judges",
    "KeepsLabel",
    "LabelGate",
    "Legible",
    "Misclassified",
    "NetworkJudge",
    "Passed",
    "Plausible",
    "ReadAs",
    "Screen",
    "TypicalityJudge",
    "Unanimous",
    "fit_temperature",
]
