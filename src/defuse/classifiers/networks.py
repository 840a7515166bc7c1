"""Small networks, quick on a CPU: one to debug and several that differ enough to judge it."""

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from defuse.classifiers.outlines import Outlines
from defuse.errors import ClassifierError

LARGE = 48
"""From this side length on, images are halved once more before the costly layers."""


@contextmanager
def isolated_random_state(seed: int) -> Iterator[None]:
    """Seed torch's global generators inside the block and give them back their state after it."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


def build_network(name: str, channels: int, classes: int, size: int, *, seed: int = 0) -> nn.Module:
    """Build an untrained network that maps pixels in [0, 1], (n, channels, h, w), to logits, (n, classes).

    Every network pools to a fixed grid, so images need not be square; they must be at least 16 pixels wide and high.

    Args:
        name: one of ``NETWORKS``.
        channels: 1 or 3.
        classes: width of the logits.
        size: the longer side of the images; it decides how often they are halved, nothing else.
        seed: of the weights; torch's global random state is as before afterwards.

    Raises:
        ClassifierError: no network has that name.
    """
    if name not in _BUILDERS:
        near = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(NETWORKS)}"
        raise ClassifierError(f"no built-in network is called {name!r}; {hint}")
    with isolated_random_state(seed):
        network = _BUILDERS[name](channels, classes, size)
    # A third to a half faster than channels first on CPUs; the stubs of torch lack this overload.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _head(width: int, grid: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(grid), nn.Flatten(), nn.Dropout(0.2), nn.Linear(width * grid * grid, classes)]


def _stem_stride(size: int) -> int:
    return 4 if size >= LARGE else 2


def _cnn(channels: int, classes: int, size: int) -> nn.Module:
    return nn.Sequential(
        _conv(channels, 16, kernel=5, stride=_stem_stride(size)),
        _conv(16, 32),
        _conv(32, 64, stride=2),
        _conv(64, 64),
        *_head(64, 4, classes),
    )


def _cnn_wide(channels: int, classes: int, size: int) -> nn.Module:
    return nn.Sequential(
        _conv(channels, 32, kernel=5 if size >= LARGE else 3, stride=_stem_stride(size)),
        _conv(32, 96, stride=2),
        _conv(96, 128),
        *_head(128, 3, classes),
    )


def _cnn_strided(channels: int, classes: int, size: int) -> nn.Module:
    return nn.Sequential(
        _conv(channels, 24, kernel=7, stride=_stem_stride(size)),
        _conv(24, 64, kernel=5, stride=2),
        _conv(64, 96, kernel=5, stride=2),
        *_head(96, 2, classes),
    )


class _Residual(nn.Module):
    """Two convolutions beside a shortcut (He et al., "Deep Residual Learning", CVPR 2016, figure 2)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(inputs, outputs, stride=stride),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = (
            nn.Identity() if stride == 1 and inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride)
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _resnet_mini(channels: int, classes: int, size: int) -> nn.Module:
    return nn.Sequential(
        _conv(channels, 24, kernel=5 if size >= LARGE else 3, stride=_stem_stride(size)),
        _Residual(24, 24, stride=1),
        _Residual(24, 64, stride=2),
        *_head(64, 2, classes),
    )


def _resnet(channels: int, classes: int, size: int) -> nn.Module:
    return nn.Sequential(
        _conv(channels, 16, stride=_stem_stride(size) // 2),
        _Residual(16, 32, stride=2),
        _Residual(32, 64, stride=2),
        _Residual(64, 128, stride=2),
        *_head(128, 2, classes),
    )


class _Mix(nn.Module):
    """Mixes places, then channels (Tolstikhin et al., "MLP-Mixer", NeurIPS 2021, figure 1)."""

    def __init__(self, places: int, width: int) -> None:
        super().__init__()
        self.across = nn.Sequential(nn.Linear(places, 2 * places), nn.ReLU(), nn.Linear(2 * places, places))
        self.along = nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width))
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])

    def forward(self, x: Tensor) -> Tensor:
        """Mix (n, places, width)."""
        x = x + self.across(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.along(self.norms[1](x))
        return mixed


class _Mixer(nn.Module):
    """Overlapping patches, two mixing layers, the mean over places."""

    def __init__(self, channels: int, classes: int, size: int, width: int = 64) -> None:
        super().__init__()
        patch = 2 * _stem_stride(size)
        grid = max(2, size // patch)
        self.patches = nn.Sequential(_conv(channels, width, 2 * patch - 1, patch), nn.AdaptiveAvgPool2d(grid))
        self.mix = nn.Sequential(_Mix(grid * grid, width), _Mix(grid * grid, width))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, x: Tensor) -> Tensor:
        places = self.patches(x).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(self.mix(places).mean(dim=1))
        return logits


def _outlines(channels: int, classes: int, size: int) -> nn.Module:
    """Return a perceptron on histograms of gradients: it sees shapes alone, so it errs unlike any convolution."""
    del channels, size
    hidden = 192
    return nn.Sequential(
        Outlines(),
        nn.BatchNorm1d(Outlines.width),
        nn.Dropout(0.2),
        nn.Linear(Outlines.width, hidden),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(hidden, classes),
    )


_BUILDERS: dict[str, Callable[[int, int, int], nn.Module]] = {
    "cnn": _cnn,
    "cnn-wide": _cnn_wide,
    "cnn-strided": _cnn_strided,
    "resnet-mini": _resnet_mini,
    "resnet": _resnet,
    "mixer": _Mixer,
    "outlines": _outlines,
}

NETWORKS = tuple(_BUILDERS)
"""Names that ``build_network`` knows."""
