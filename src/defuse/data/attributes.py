"""Mechanical attributes of images: light, contrast, sharpness, colour, and of a drawing's strokes and shape.

Each is a closed formula over pixels; nothing is learned. They describe regions in words and never steer a search.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from defuse.types import ByteImages

LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in an image's light (ITU-R BT.601)."""

TINY = 1e-12

EMPTY = 0.25
"""A ground that is this near to black or to white is one that something can be drawn on."""

Grey = Float64[np.ndarray, "n h w"]
Values = Float64[np.ndarray, " n"]


@dataclass(frozen=True)
class Attribute:
    """One measurable property of an image.

    Attributes:
        name: such as ``light``.
        less: what an image with a lower value is, such as ``darker``.
        more: what one with a higher value is.
        measure: images with values in [0, 1], (n, h, w, c), to one number each, (n,).
        drawing: whether it speaks of ink on an empty ground, so only of grey images.
        colours: whether it speaks of colours, so not of grey images.
    """

    name: str
    less: str
    more: str
    measure: Callable[[Float64[np.ndarray, "n h w c"]], Values]
    drawing: bool = False
    colours: bool = False

    def suits(self, channels: int) -> bool:
        """Return whether it can be measured on images with so many channels."""
        return channels == 1 if self.drawing else not self.colours or channels == 3  # noqa: PLR2004 -- red, green, blue


def ground_of(images: ByteImages) -> float:
    """Return the light that images have at their borders, in [0, 1]: of drawings, that of the empty ground."""
    edges = (images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1])
    return float(np.median(np.concatenate([edge.ravel() for edge in edges]))) / 255


def measure_attributes(images: ByteImages, ground: float = 0.0) -> dict[str, Values]:
    """Return each suitable attribute's value for every image, (n,).

    Attributes that divide by what an empty image lacks (contrast, ink) are 0 there.

    Args:
        images: (n, h, w, c).
        ground: the light of what grey drawings are on, in [0, 1]. On a bright one ink is what is dark; on one that is
            neither bright nor dark no attribute speaks of ink.
    """
    values, channels = images.astype(np.float64) / 255, images.shape[3]
    suited = [each for each in ATTRIBUTES if each.suits(channels)]
    if channels > 1 or ground <= EMPTY:
        return {each.name: each.measure(values) for each in suited}
    if ground < 1 - EMPTY:
        return {each.name: each.measure(values) for each in suited if not each.drawing}
    found = {each.name: each.measure(1 - values) for each in suited}
    return found | {"light": 1 - found["light"]}


def _grey(values: Float64[np.ndarray, "n h w c"]) -> Grey:
    return values[..., 0] if values.shape[3] == 1 else values @ LUMA


def _weights(values: Float64[np.ndarray, "n h w c"]) -> Grey:
    """Return what each pixel counts, adding up to 1: all alike in photographs, its ink in drawings."""
    grey = _grey(values)
    weights = grey if values.shape[3] == 1 else np.ones_like(grey)
    return weights / np.maximum(weights.sum((1, 2), keepdims=True), TINY)


def _light(values: Float64[np.ndarray, "n h w c"]) -> Values:
    return (_weights(values) * _grey(values)).sum((1, 2))


def _contrast(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return the standard deviation of the light."""
    deviation = _grey(values) - _light(values)[:, None, None]
    return np.sqrt((_weights(values) * deviation**2).sum((1, 2)))


def _sharpness(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return how steep edges are: the gradient's mean, weighted by itself, over the range of the light."""
    grey = _grey(values)
    slopes = _slopes(grey)
    steepness = _over((slopes**2).sum((1, 2)), slopes.sum((1, 2)))
    return _over(steepness, grey.max((1, 2)) - grey.min((1, 2)))


def _colour(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return the mean difference of the strongest and the weakest channel, over the mean of the strongest."""
    return _over((values.max(3) - values.min(3)).mean((1, 2)), values.max(3).mean((1, 2)))


def _thickness(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return twice the ink over its outline, in pixels: of a long stroke, its width.

    The outline is the total variation, which for a filled shape is its perimeter times its darkness.
    """
    ink = _grey(values)
    return _over(2 * ink.sum((1, 2)), _slopes(ink).sum((1, 2)))


def _slant(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return the angle by which the ink's upright axis leans to the right, in degrees, from second moments."""
    moments = _moments(_grey(values))
    return np.degrees(np.arctan(_over(-moments.across_down, moments.down)))


def _height_over_width(values: Float64[np.ndarray, "n h w c"]) -> Values:
    moments = _moments(_grey(values))
    return np.sqrt(_over(moments.down, moments.across))


def _size(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return the root mean square distance of the ink from its centre, as a share of the image's longer side."""
    ink = _grey(values)
    moments = _moments(ink)
    return np.sqrt(moments.down + moments.across) / max(ink.shape[1:])


def _right(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return how far right of the middle the ink's centre is, as a share of the width."""
    ink = _grey(values)
    return _over((ink.sum(1) * _places(ink.shape[2])).sum(1), ink.sum((1, 2))) / ink.shape[2]


def _up(values: Float64[np.ndarray, "n h w c"]) -> Values:
    """Return how far above the middle the ink's centre is, as a share of the height."""
    ink = _grey(values)
    return -_over((ink.sum(2) * _places(ink.shape[1])).sum(1), ink.sum((1, 2))) / ink.shape[1]


@dataclass(frozen=True)
class _Moments:
    """Central second moments of the ink, in square pixels; the rows run downwards."""

    across: Values
    down: Values
    across_down: Values


def _moments(ink: Grey) -> _Moments:
    total = ink.sum((1, 2))
    x, y = _places(ink.shape[2]), _places(ink.shape[1])
    x = x - _over((ink.sum(1) * x).sum(1), total)[:, None]
    y = y - _over((ink.sum(2) * y).sum(1), total)[:, None]
    return _Moments(
        across=_over((ink.sum(1) * x**2).sum(1), total),
        down=_over((ink.sum(2) * y**2).sum(1), total),
        across_down=_over(np.einsum("nyx,nx,ny->n", ink, x, y), total),
    )


def _places(side: int) -> Values:
    return np.arange(side) - (side - 1) / 2


def _slopes(grey: Grey) -> Grey:
    """Return the gradient's length at every pixel; the ground goes on beyond the edges."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return np.hypot(across, down)


def _over(value: Values, by: Values) -> Values:
    return np.where(by > TINY, value / np.maximum(by, TINY), 0.0)


ATTRIBUTES = (
    Attribute("light", "darker", "brighter", _light),
    Attribute("contrast", "fainter", "stronger in contrast", _contrast),
    Attribute("sharpness", "blurrier", "sharper", _sharpness),
    Attribute("colour", "paler", "more colourful", _colour, colours=True),
    Attribute("thickness", "thinner", "thicker", _thickness, drawing=True),
    Attribute("slant", "leaning further left", "leaning further right", _slant, drawing=True),
    Attribute("height_over_width", "wider", "narrower", _height_over_width, drawing=True),
    Attribute("size", "smaller", "larger", _size, drawing=True),
    Attribute("right", "further left", "further right", _right, drawing=True),
    Attribute("up", "lower down", "higher up", _up, drawing=True),
)
