"""Generators: latent spaces of natural-looking images, learned by variational autoencoders."""

from defuse.generators.base import Generator, Posterior
from defuse.generators.conv import ConvVAE
from defuse.generators.detail import Detail
from defuse.generators.quality import (
    ReconstructionQuality,
    Redraw,
    mean_codes,
    reconstruct,
    reconstruction_accuracy,
    require,
)
from defuse.generators.renderer import Rendered, Renderer
from defuse.generators.storage import load_generator, save_generator
from defuse.generators.training import Epoch, History
from defuse.generators.vae import VAE, TrainedVAE

__all__ = [
    "VAE",
    "ConvVAE",
    "Detail",
    "Epoch",
    "Generator",
    "History",
    "Posterior",
    "ReconstructionQuality",
    "Redraw",
    "Rendered",
    "Renderer",
    "TrainedVAE",
    "load_generator",
    "mean_codes",
    "reconstruct",
    "reconstruction_accuracy",
    "require",
    "save_generator",
]
