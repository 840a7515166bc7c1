"""Judges, and the gates built on them."""

from defuse.judges.base import Judge
from defuse.judges.gates import Candidates, Gate, KeepsLabel, Misclassified, Passed
from defuse.judges.networks import NetworkJudge, Unanimous, fit_temperature
from defuse.judges.panel import JudgePanel, Judges

__all__ = [
    "Candidates",
    "Gate",
    "Judge",
    "JudgePanel",
    "Judges",
    "KeepsLabel",
    "Misclassified",
    "NetworkJudge",
    "Passed",
    "Unanimous",
    "fit_temperature",
]
