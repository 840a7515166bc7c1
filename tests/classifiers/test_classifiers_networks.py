import pytest
import torch
from torch import nn

from defuse.classifiers import NETWORKS, build_network
from defuse.classifiers.networks import isolated_random_state

names = pytest.mark.parametrize("name", NETWORKS)


@names
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 16, 16), (1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 33, 47)])
def test_every_network_takes_every_size(name, shape):
    channels, height, width = shape
    network = build_network(name, channels=channels, classes=43, size=max(height, width))
    assert network(torch.rand(2, channels, height, width)).shape == (2, 43)


@names
def test_seed_alone_decides_the_weights(name):
    def weights(seed):
        return [p.detach().clone() for p in build_network(name, 1, 10, 28, seed=seed).parameters() if p.ndim > 1]

    torch.manual_seed(1)
    first = weights(5)
    torch.manual_seed(2)
    assert all(torch.equal(a, b) for a, b in zip(first, weights(5), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, weights(6), strict=True))


def test_global_random_state_is_as_before():
    torch.manual_seed(9)
    before = torch.get_rng_state()
    build_network("cnn", 1, 10, 28, seed=3)
    with isolated_random_state(4):
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_differ():
    kinds = {name: [type(part) for part in build_network(name, 1, 10, 28).modules()] for name in NETWORKS}
    kernels = {
        name: tuple(p.kernel_size for p in build_network(name, 1, 10, 28).modules() if isinstance(p, nn.Conv2d))
        for name in NETWORKS
    }
    assert len(NETWORKS) >= 4
    assert len({(tuple(map(str, kinds[name])), kernels[name]) for name in NETWORKS}) == len(NETWORKS)
