"""Distill: from single failures to regions of the latent space, with evidence on fresh samples."""

from defuse.distill.collect import Collected, collect
from defuse.distill.cost import Cost, CostMatrix, default_costs, mean_cost
from defuse.distill.distill import Distill
from defuse.distill.estimator import MixtureEstimator
from defuse.distill.fitted import FittedMixture, MixtureSample
from defuse.distill.mixture import CodeGroup, DirichletMixture
from defuse.distill.natural import NaturalImages, natural_images
from defuse.distill.nearest import nearest_images
from defuse.distill.sampling import Draw, RegionSampler
from defuse.distill.statistics import adjust, failure_p_value, gather_evidence
from defuse.distill.storage import load_regions, save_regions

__all__ = [
    "CodeGroup",
    "Collected",
    "Cost",
    "CostMatrix",
    "DirichletMixture",
    "Distill",
    "Draw",
    "FittedMixture",
    "MixtureEstimator",
    "MixtureSample",
    "NaturalImages",
    "RegionSampler",
    "adjust",
    "collect",
    "default_costs",
    "failure_p_value",
    "gather_evidence",
    "load_regions",
    "mean_cost",
    "natural_images",
    "nearest_images",
    "save_regions",
]
