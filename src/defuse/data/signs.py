"""Synthetic traffic signs: small photos whose every factor (light, rotation, blur ...) is known.

Warp, cover, light, blur and noise follow the order in which a camera meets them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from math import ceil
from typing import Annotated, Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Float64, UInt8
from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass as settings_class
from torch import Tensor
from torch.nn import functional

from defuse.data.checks import to_labels
from defuse.data.faces import FACES, templates
from defuse.data.reader import Reader, Source
from defuse.errors import DataError
from defuse.pixels import to_bytes
from defuse.records import LabelledImages
from defuse.seeds import derive, numpy_rng
from defuse.types import STRICT, Labels, Mask

SIGN_NAMES: tuple[str, ...] = tuple(FACES)
"""Class names of the synthetic signs; the index is the label."""

Range: TypeAlias = tuple[float, float]
Factors: TypeAlias = Mapping[str, Float64[np.ndarray, " n"]]


@settings_class(frozen=True, kw_only=True, config=STRICT)
class SignSettings:
    """Image size, and from which range each factor is drawn (uniformly).

    Lengths are shares of the image's side unless said otherwise. All factors of one image are independent.
    """

    size: Annotated[int, Field(ge=16, le=512)] = 32
    """Height and width in pixels."""
    rotation: Range = (-9.0, 9.0)
    """Degrees, clockwise."""
    scale: Range = (0.68, 0.92)
    """The sign's diameter."""
    shift_x: Range = (-0.05, 0.05)
    """Of the sign's centre, to the right."""
    shift_y: Range = (-0.05, 0.05)
    """Of the sign's centre, downwards."""
    shear: Range = (-0.08, 0.08)
    """Horizontal shift per unit of height, within the sign."""
    turn: Range = (-0.15, 0.15)
    """Perspective: how much farther away the sign's right rim is than its centre."""
    tip: Range = (-0.15, 0.15)
    """Perspective: how much farther away the sign's lower rim is than its centre."""
    cover: Range = (-0.4, 0.2)
    """How deep a leafy object reaches over the sign's rim, in diameters; below 0 it keeps clear of the sign."""
    cover_angle: Range = (0.0, 360.0)
    """From which side that object comes: degrees from the right, clockwise."""
    sky: Range = (0.0, 1.0)
    """The sky's colour, from grey to blue."""
    ground: Range = (0.0, 1.0)
    """The ground's colour, from asphalt to grass."""
    horizon: Range = (0.1, 1.1)
    """Where sky meets ground, from the upper edge."""
    clutter: Range = (0.1, 0.6)
    """Strength of the background's texture."""
    contrast: Range = (0.7, 1.0)
    """1 is clear air; less mixes in grey haze."""
    tint: Range = (-1.0, 1.0)
    """Colour of the light, from bluish to reddish."""
    light: Range = (0.0, 1.0)
    """How bright it is: 1 shows white as white, 0 leaves ``DARKEST`` of it."""
    blur: Range = (0.2, 0.8)
    """Standard deviation of a Gaussian blur, in pixels of a 32 x 32 image."""
    noise: Range = (0.002, 0.014)
    """Standard deviation of the sensor's noise; it does not fade with the light, so dark images are noisier."""

    def __post_init__(self) -> None:
        """Reject a range that is upside down or beyond what the factor can be; pydantic reports it."""
        for name in FACTORS:
            low, high = getattr(self, name)
            least, most = _LIMITS.get(name, (-np.inf, np.inf))
            if not least <= low <= high <= most:
                raise ValueError(f"{name} must be a range (low, high) within {least:g} to {most:g}, got {low, high}")


FACTORS: tuple[str, ...] = tuple(each.name for each in fields(SignSettings) if each.name != "size")
"""Names of all factors."""

_LIMITS: dict[str, Range] = {
    "scale": (0.05, 4.0),
    "turn": (-0.5, 0.5),
    "tip": (-0.5, 0.5),
    "sky": (0.0, 1.0),
    "ground": (0.0, 1.0),
    "clutter": (0.0, 1.0),
    "contrast": (0.0, 1.0),
    "tint": (-1.0, 1.0),
    "light": (0.0, 1.0),
    "blur": (0.0, 4.0),
    "noise": (0.0, 1.0),
}

DARKEST = 0.22
"""Share of the pixel values that is left at ``light`` = 0; with a display gamma of 2.2, about five stops."""

POLE = 0.07
"""Half the width of a sign's pole; half the width of the sign is 1."""


@dataclass(frozen=True)
class RenderedSigns:
    """Rendered signs and what they were rendered from.

    Attributes:
        images: with ``SIGN_NAMES`` as class names; row i is the i-th sign of its seed.
        factors: one float array (n,) for each name in ``FACTORS``.
    """

    images: LabelledImages
    factors: Factors

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Labels | Mask) -> "RenderedSigns":
        """Return the signs at ``index`` (integers or a mask), in that order, with their factors."""
        return RenderedSigns(self.images.take(index), {name: values[index] for name, values in self.factors.items()})


def render(
    settings: SignSettings,
    n: int,
    *,
    seed: int,
    factors: Mapping[str, Range] | None = None,
    labels: Labels | None = None,
) -> RenderedSigns:
    """Render ``n`` signs.

    Sign i depends on ``settings``, ``seed``, i and its label only, not on ``n``. A factor's position within its range
    depends on ``seed`` and i only: with other ranges the same scenes come again, changed in that factor alone.

    Args:
        settings: size and ranges.
        n: how many, at least 1.
        seed: the scenes' seed.
        factors: ranges that replace those of ``settings``, such as ``{"light": (0.0, 0.2)}``.
        labels: class index of each sign, (n,); by default the classes take turns.

    Raises:
        DataError: ``n`` is below 1, a factor is unknown or its range impossible, or the labels do not fit.
    """
    settings = _override(settings, factors or {})
    chosen = _labels(n, labels)
    drawn = _draw_factors(settings, n, seed)
    images = np.concatenate(list(_batches(settings, chosen, drawn, seed)))
    return RenderedSigns(LabelledImages(images, chosen, SIGN_NAMES, np.arange(n, dtype=np.int64)), drawn)


@dataclass(frozen=True)
class SignsReader(Reader):
    """Renders a data set of signs: the built-in source ``signs``. Test signs have a seed of their own."""

    train: int = 6000
    test: int = 1000
    seed: int = 0
    settings: SignSettings = field(default_factory=SignSettings)

    def read(self) -> Source:
        """Render both splits.

        Raises:
            DataError: fewer training signs than classes.
        """
        if self.train < len(SIGN_NAMES):
            raise DataError(f"signs: expected at least {len(SIGN_NAMES)} training signs, got {self.train}")
        return Source(
            train=render(self.settings, self.train, seed=derive(self.seed, "train")).images,
            test=render(self.settings, self.test, seed=derive(self.seed, "test")).images,
        )


def _override(settings: SignSettings, factors: Mapping[str, Range]) -> SignSettings:
    changed: dict[str, Any] = dict(factors)
    unknown = sorted(changed.keys() - set(FACTORS))
    if unknown:
        raise DataError(f"signs: no factor {unknown[0]!r}; the factors are {', '.join(FACTORS)}")
    try:
        return replace(settings, **changed)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"][:1])
        raise DataError(f"signs: {where} {problem['msg']}; a factor's range is (low, high)") from None


def _labels(n: int, labels: Labels | None) -> Labels:
    if n < 1:
        raise DataError(f"signs: expected at least 1 sign to render, got {n}")
    if labels is None:
        return np.arange(n, dtype=np.int64) % len(SIGN_NAMES)
    chosen = to_labels(labels, "signs: labels", count=n)
    if chosen.max() >= len(SIGN_NAMES):
        raise DataError(f"signs: labels: expected class indices below {len(SIGN_NAMES)}, got {chosen.max()}")
    return chosen


def _draw_factors(settings: SignSettings, n: int, seed: int) -> dict[str, Float64[np.ndarray, " n"]]:
    drawn = {}
    for name in FACTORS:
        low, high = getattr(settings, name)
        drawn[name] = np.clip(low + (high - low) * numpy_rng(seed, "signs", name).random(n), low, high)
    return drawn


@dataclass(frozen=True)
class _Scene:
    """One batch: its factors, shaped (n, 1, 1, 1), and the side of its images in pixels."""

    factors: Mapping[str, Tensor]
    size: int

    def __getitem__(self, name: str) -> Tensor:
        return self.factors[name]

    def axes(self, oversampling: int = 1) -> tuple[Tensor, Tensor]:
        """Return x (1, 1, 1, w) and y (1, 1, h, 1) of the pixels' centres, from -1 to 1, y downwards."""
        side = self.size * oversampling
        centres = (torch.arange(side, dtype=torch.float32) * 2 + 1) / side - 1
        return centres.view(1, 1, 1, -1), centres.view(1, 1, -1, 1)


def _batches(
    settings: SignSettings, labels: Labels, factors: Factors, seed: int
) -> Iterator[UInt8[np.ndarray, "n h w 3"]]:
    """Render batch after batch; the random streams run on from one to the next."""
    size = settings.size
    pixel = size / 32
    reach = ceil(3 * settings.blur[1] * pixel)
    faces = torch.from_numpy(templates(2 * size))
    texture = numpy_rng(seed, "signs", "texture")
    sensor = numpy_rng(seed, "signs", "sensor")
    batch = max(1, 2**18 // size**2)
    for start in range(0, len(labels), batch):
        part = slice(start, start + batch)
        tensors = {name: torch.from_numpy(v[part]).float().view(-1, 1, 1, 1) for name, v in factors.items()}
        scene = _Scene(tensors, size)
        count = len(labels[part])
        grain = torch.from_numpy(texture.random((count, 2, 6, 6), dtype=np.float32)) - 0.5
        noise = torch.from_numpy(sensor.standard_normal((count, 3, size, size), dtype=np.float32))
        photo = _background(scene, grain)
        photo = _put_up(scene, photo, faces[torch.from_numpy(labels[part])])
        photo = _cover(scene, photo, grain)
        photo = _blur(_illuminate(scene, photo), scene["blur"].flatten() * pixel, reach)
        yield to_bytes(photo.addcmul_(noise, scene["noise"]))


def _colour(red: float, green: float, blue: float) -> Tensor:
    return torch.tensor([red, green, blue]).view(1, 3, 1, 1)


def _background(scene: _Scene, grain: Tensor) -> Tensor:
    """Sky over ground, both with a smooth texture, and dark green shapes where the second texture is high."""
    _, y = scene.axes()
    sky = torch.lerp(_colour(0.76, 0.79, 0.82), _colour(0.42, 0.62, 0.90), scene["sky"])
    ground = torch.lerp(_colour(0.45, 0.45, 0.46), _colour(0.38, 0.50, 0.24), scene["ground"])
    below = ((y - (2 * scene["horizon"] - 1)) * 8 + 0.5).clamp(0, 1)
    shades = functional.interpolate(grain, size=(scene.size, scene.size), mode="bicubic", align_corners=False)
    trees = ((shades[:, 1:] - 0.1) * 8).clamp(0, 1) * scene["clutter"].sqrt()
    scenery = torch.lerp(torch.lerp(sky, ground, below), _colour(0.20, 0.30, 0.16), trees)
    return scenery * (1 + scene["clutter"] * shades[:, :1])


def _put_up(scene: _Scene, photo: Tensor, faces: Tensor) -> Tensor:
    """Put pole and sign before the background. The warp is sampled at twice the size and averaged down."""
    x, y = scene.axes(oversampling=2)
    x, y = (x - 2 * scene["shift_x"]) / scene["scale"], (y - 2 * scene["shift_y"]) / scene["scale"]
    angle = scene["rotation"] * (torch.pi / 180)
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    u = u + scene["shear"] * v
    depth = (1 - scene["turn"] * u - scene["tip"] * v).clamp(min=0.2)
    u, v = u / depth, v / depth
    grid = torch.stack([u.squeeze(1), v.squeeze(1)], dim=-1)
    sign = functional.grid_sample(faces, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    sign = functional.avg_pool2d(sign, 2)
    pole = functional.avg_pool2d(((u.abs() < POLE) & (v > 0)).float(), 2)
    photo = torch.lerp(photo, _colour(0.52, 0.53, 0.54), pole)
    return photo * (1 - sign[:, 3:]) + sign[:, :3]


def _cover(scene: _Scene, photo: Tensor, grain: Tensor) -> Tensor:
    """Let a leafy disc with a wavy rim reach over the sign; its waves come from the texture."""
    x, y = scene.axes()
    angle = scene["cover_angle"] * (torch.pi / 180)
    radius = 0.45 * scene["scale"]
    away = radius + scene["scale"] * (1 - 2 * scene["cover"])
    dx = x - 2 * scene["shift_x"] - away * angle.cos()
    dy = y - 2 * scene["shift_y"] - away * angle.sin()
    distance = (dx * dx + dy * dy).sqrt().clamp(min=1e-6)
    c, s = dx / distance, dy / distance
    c2, s2 = c * c - s * s, 2 * c * s
    c4, s4 = c2 * c2 - s2 * s2, 2 * c2 * s2
    waves = [grain[:, i // 6 : i // 6 + 1, i % 6, 0].view(-1, 1, 1, 1) for i in range(5)]
    rim = radius * (1 + 0.25 * (waves[0] * c2 + waves[1] * s2 + waves[2] * c4 + waves[3] * s4))
    inside = ((rim - distance) * (scene.size / 2) + 0.5).clamp(0, 1)
    leaf = torch.lerp(_colour(0.16, 0.24, 0.10), _colour(0.42, 0.40, 0.24), waves[4] + 0.5)
    return torch.lerp(photo, leaf * (1 + 0.3 * c4 * s2), inside)


def _illuminate(scene: _Scene, photo: Tensor) -> Tensor:
    """Add haze, then colour and strength of the light."""
    hazy = 0.6 + scene["contrast"] * (photo.clamp(0, 1) - 0.6)
    gain = DARKEST + (1 - DARKEST) * scene["light"]
    return hazy * (gain * (1 + scene["tint"] * _colour(0.1, 0.0, -0.1)))


def _blur(photo: Tensor, sigma: Float[Tensor, " n"], reach: int) -> Tensor:
    """Blur each image with its own Gaussian, cut off at ``reach`` pixels; edges are repeated."""
    taps = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (taps / sigma.clamp(min=1e-3).view(-1, 1)) ** 2)
    weights = (weights / weights.sum(dim=1, keepdim=True)).view(len(photo), -1, 1, 1, 1)
    for axis in (2, 3):
        length = photo.shape[axis]
        margin = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)  # noqa: PLR2004 - axis 2 is height
        padded = functional.pad(photo, margin, mode="replicate")
        photo = torch.zeros_like(photo)
        for tap in range(2 * reach + 1):
            photo.addcmul_(padded.narrow(axis, tap, length), weights[:, tap])
    return photo
