"""Identify: the search for failures."""

from defuse.identify.driver import Identified, Identify
from defuse.identify.proposals import (
    AggregatePosterior,
    BetaNoise,
    Draw,
    GradientSearch,
    Models,
    PosteriorNoise,
    Proposal,
    StyleTransfer,
)
from defuse.identify.seeds import Reconstructs, Seeds, encode_seeds

__all__ = [
    "AggregatePosterior",
    "BetaNoise",
    "Draw",
    "GradientSearch",
    "Identified",
    "Identify",
    "Models",
    "PosteriorNoise",
    "Proposal",
    "Reconstructs",
    "Seeds",
    "StyleTransfer",
    "encode_seeds",
]
