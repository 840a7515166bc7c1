"""Faces of the synthetic traffic signs, drawn with Pillow. Digits are strokes of our own: no font file, no FreeType."""

from collections.abc import Callable
from math import cos, pi, sin
from typing import TypeAlias

import numpy as np
from jaxtyping import Float32
from PIL import Image, ImageDraw

Point: TypeAlias = tuple[float, float]
Colour: TypeAlias = tuple[int, int, int, int]

RED: Colour = (196, 22, 34, 255)
WHITE: Colour = (240, 240, 236, 255)
BLACK: Colour = (18, 18, 20, 255)
YELLOW: Colour = (250, 186, 14, 255)

OVERSAMPLING = 4
"""Faces are drawn this many times larger than the templates they end up as, then averaged down."""


def _arc(centre: Point, radii: Point, start: float, stop: float) -> list[Point]:
    """Return points of an ellipse's arc; degrees from east, clockwise on the screen."""
    angles = [(start + (stop - start) * i / 32) * pi / 180 for i in range(33)]
    return [(centre[0] + radii[0] * cos(a), centre[1] + radii[1] * sin(a)) for a in angles]


_ROUND = [*_arc((0.5, 0.32), (0.5, 0.32), 180, 360), *_arc((0.5, 0.68), (0.5, 0.32), 0, 180), (0.0, 0.32)]

GLYPHS: dict[str, list[list[Point]]] = {
    "0": [_ROUND],
    "1": [[(0.0, 0.27), (0.75, 0.0), (0.75, 1.0)]],
    "2": [[*_arc((0.5, 0.29), (0.48, 0.29), 195, 385), (0.02, 1.0), (1.0, 1.0)]],
    "3": [[*_arc((0.46, 0.25), (0.46, 0.25), 205, 450), *_arc((0.46, 0.74), (0.54, 0.26), 270, 515)]],
    "5": [[(0.93, 0.0), (0.12, 0.0), (0.05, 0.48), *_arc((0.46, 0.67), (0.54, 0.33), 218, 510)]],
    "6": [_arc((0.5, 0.68), (0.5, 0.32), 0, 360), _arc((0.84, 0.68), (0.84, 0.68), 180, 276)],
    "8": [_arc((0.5, 0.24), (0.43, 0.24), 0, 360), _arc((0.5, 0.74), (0.5, 0.26), 0, 360)],
    "S": [[*_arc((0.5, 0.25), (0.48, 0.25), 335, 90), *_arc((0.5, 0.75), (0.5, 0.25), 270, 515)]],
    "T": [[(0.0, 0.0), (1.0, 0.0)], [(0.5, 0.0), (0.5, 1.0)]],
    "O": [_ROUND],
    "P": [[(0.0, 1.0), (0.0, 0.0), *_arc((0.5, 0.28), (0.5, 0.28), 270, 450), (0.0, 0.56)]],
}
"""Centre lines of each glyph's strokes in the unit square, y downwards."""

_NARROW = {"1": 0.5}


class _Canvas:
    """A transparent square with coordinates from -1 to 1, y downwards."""

    def __init__(self, side: int) -> None:
        self.image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
        self._draw = ImageDraw.Draw(self.image)
        self._half = side / 2

    def _at(self, points: list[Point]) -> list[Point]:
        return [((x + 1) * self._half - 0.5, (y + 1) * self._half - 0.5) for x, y in points]

    def polygon(self, points: list[Point], colour: Colour) -> None:
        self._draw.polygon(self._at(points), fill=colour)

    def disc(self, radius: float, colour: Colour, centre: Point = (0.0, 0.0)) -> None:
        (x, y), r = centre, radius
        self._draw.ellipse([*self._at([(x - r, y - r)])[0], *self._at([(x + r, y + r)])[0]], fill=colour)

    def stroke(self, points: list[Point], width: float, colour: Colour) -> None:
        self._draw.line(self._at(points), fill=colour, width=round(width * self._half), joint="curve")
        for end in (points[0], points[-1]):
            self.disc(width / 2, colour, end)

    def text(self, text: str, *, height: float, width: float, gap: float, stroke: float, colour: Colour) -> None:
        """Write ``text`` centred; ``height``, ``width`` and ``gap`` are those of one glyph, strokes included."""
        widths = [width * _NARROW.get(letter, 1.0) for letter in text]
        left = -(sum(widths) + gap * (len(text) - 1)) / 2
        for letter, wide in zip(text, widths, strict=True):
            for line in GLYPHS[letter]:
                placed = [
                    (left + stroke / 2 + x * (wide - stroke), -height / 2 + stroke / 2 + y * (height - stroke))
                    for x, y in line
                ]
                self.stroke(placed, stroke, colour)
            left += wide + gap


def _regular(corners: int, radius: float, turn: float) -> list[Point]:
    angles = [2 * pi * (i + turn) / corners for i in range(corners)]
    return [(radius * sin(a), radius * cos(a)) for a in angles]


def _limit(number: str) -> Callable[[_Canvas], None]:
    def draw(canvas: _Canvas) -> None:
        canvas.disc(0.97, RED)
        canvas.disc(0.76, WHITE)
        if len(number) == 2:  # noqa: PLR2004 - two digits leave room for wide ones
            canvas.text(number, height=0.86, width=0.5, gap=0.1, stroke=0.155, colour=BLACK)
        else:
            canvas.text(number, height=0.74, width=0.4, gap=0.075, stroke=0.125, colour=BLACK)

    return draw


def _stop(canvas: _Canvas) -> None:
    canvas.polygon(_regular(8, 1.0, 0.5), WHITE)
    canvas.polygon(_regular(8, 0.93, 0.5), RED)
    canvas.text("STOP", height=0.58, width=0.32, gap=0.08, stroke=0.11, colour=WHITE)


def _yield(canvas: _Canvas) -> None:
    for radius, colour in ((1.0, RED), (0.52, WHITE)):
        canvas.polygon([(x, y - 0.2) for x, y in _regular(3, radius * 1.12, 0.0)], colour)


def _no_entry(canvas: _Canvas) -> None:
    canvas.disc(0.97, RED)
    canvas.polygon([(-0.72, -0.19), (0.72, -0.19), (0.72, 0.19), (-0.72, 0.19)], WHITE)


def _priority_road(canvas: _Canvas) -> None:
    for radius, colour in ((1.0, WHITE), (0.74, BLACK), (0.69, YELLOW)):
        canvas.polygon(_regular(4, radius, 0.0), colour)


FACES: dict[str, Callable[[_Canvas], None]] = {
    **{number: _limit(number) for number in ("30", "50", "60", "80", "100", "120")},
    "stop": _stop,
    "yield": _yield,
    "no entry": _no_entry,
    "priority road": _priority_road,
}
"""Class name -> how its face is drawn, in the order of the class indices."""


def templates(side: int) -> Float32[np.ndarray, "k 4 side side"]:
    """Draw every face once.

    Args:
        side: pixels of a template's side; it spans -1 to 1, and a face touches all of it or nearly so.

    Returns:
        Red, green, blue (multiplied by coverage) and coverage, each in [0, 1].
    """
    drawn = []
    for draw in FACES.values():
        canvas = _Canvas(side * OVERSAMPLING)
        draw(canvas)
        rgba = np.asarray(canvas.image, dtype=np.float32) / 255
        rgba[..., :3] *= rgba[..., 3:]
        drawn.append(rgba.reshape(side, OVERSAMPLING, side, OVERSAMPLING, 4).mean(axis=(1, 3)).transpose(2, 0, 1))
    return np.ascontiguousarray(drawn)
