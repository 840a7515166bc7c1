"""A generator and a classifier that are linear, so that what a gradient must do is known in closed form."""

import torch
from torch import nn

from defuse.classifiers import TorchClassifier
from defuse.generators import Generator, Posterior, Renderer
from defuse.identify import Models

LATENT, CLASSES = 4, 3


class LinearGenerator(Generator):
    """An image of one pixel for each coordinate of the code: half grey plus a hundredth of it."""

    latent = LATENT
    conditional = True
    image_shape = (1, LATENT, 1)

    def encode(self, pixels, labels):
        del labels
        mean = 100 * (pixels[:, 0, 0] - 0.5)
        return Posterior(mean, torch.ones_like(mean))

    def decode(self, z, labels, seed=None):
        del labels, seed
        return (0.5 + z / 100)[:, None, None]


def linear_models():
    layer = nn.Linear(LATENT, CLASSES)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        layer.weight.copy_(100 * torch.randn(CLASSES, LATENT, generator=generator))
        layer.bias.copy_(-layer.weight.sum(1) / 2)
    return Models(Renderer(LinearGenerator()), TorchClassifier(nn.Sequential(nn.Flatten(), layer), ("a", "b", "c")))
