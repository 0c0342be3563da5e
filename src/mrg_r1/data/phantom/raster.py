"""Soft shapes on a grid: what the anatomy and the signs are drawn with.

Points are in body coordinates: x from -1 (left edge of the image) to 1, y from -1 (top) to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Map = NDArray[np.float32]
"""A grid of (size, size) values."""

Points = Sequence[tuple[float, float]]
Stroke = tuple[Points, float]
"""A polyline and its width in body coordinates."""

_FINE = 3
"""Lines are drawn this much larger and averaged, so that a thin one has a graded width."""


@lru_cache(maxsize=4)
def _axes(size: int) -> tuple[Map, Map]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0
    x, y = np.meshgrid(axis, axis)
    return x, y


class Frame:
    """How body coordinates lie on the image: turned, scaled and shifted as the patient stood."""

    def __init__(
        self, size: int, angle: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0, 0)
    ) -> None:
        self.size = size
        self._cos, self._sin = math.cos(angle) * scale, math.sin(angle) * scale
        self._shift = shift
        column, row = _axes(size)
        column, row = column - np.float32(shift[0]), row - np.float32(shift[1])
        cos, sin = np.float32(self._cos / scale**2), np.float32(self._sin / scale**2)
        self.x: Map = cos * column + sin * row
        self.y: Map = cos * row - sin * column

    def _pixels(self, points: Points, fine: int) -> list[tuple[float, float]]:
        half = self.size * fine / 2
        (dx, dy), cos, sin = self._shift, self._cos, self._sin
        return [
            ((cos * x - sin * y + dx + 1) * half, (sin * x + cos * y + dy + 1) * half)
            for x, y in points
        ]

    def polygon(self, points: Points, blur: float) -> Map:
        """A filled outline in [0, 1], its edge softened over `blur` (a Gaussian's sigma)."""
        image = Image.new("L", (self.size, self.size))
        ImageDraw.Draw(image).polygon(self._pixels(points, 1), fill=255)
        return _values(image.filter(ImageFilter.GaussianBlur(blur * self.size / 2)))

    def lines(self, strokes: Iterable[Stroke], blur: float = 0.0) -> Map:
        """Polylines in [0, 1], anti-aliased, then softened over `blur`."""
        image = Image.new("L", (self.size * _FINE, self.size * _FINE))
        draw = ImageDraw.Draw(image)
        for points, width in strokes:
            pixels = max(1, round(width * self.size * _FINE / 2))
            draw.line(self._pixels(points, _FINE), fill=255, width=pixels, joint="curve")
        image = image.reduce(_FINE)
        if blur:
            image = image.filter(ImageFilter.GaussianBlur(blur * self.size / 2))
        return _values(image)

    def ellipse(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        edge: float = 0.2,
        angle: float = 0.0,
        wobble: Map | float = 0.0,
    ) -> Map:
        """A filled ellipse in [0, 1]; `edge` is the soft part and `wobble` moves the rim, in radii."""
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
        u = (cos * dx + sin * dy) * np.float32(1 / radii[0])
        v = (cos * dy - sin * dx) * np.float32(1 / radii[1])
        radius = np.sqrt(u * u + v * v) + wobble
        return smoothstep((1 + edge - radius) * np.float32(0.5 / edge))

    def glow(self, centre: tuple[float, float], radii: tuple[float, float]) -> Map:
        """A Gaussian bump in (0, 1] with these standard deviations."""
        u = (self.x - np.float32(centre[0])) * np.float32(1 / radii[0])
        v = (self.y - np.float32(centre[1])) * np.float32(1 / radii[1])
        return np.exp(np.float32(-0.5) * (u * u + v * v))

    def clouds(self, rng: np.random.Generator, cells: int) -> Map:
        """Smooth noise with about `cells` bumps across the image, mean 0 and deviation near 0.7."""
        coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
        return np.asarray(coarse.resize((self.size, self.size), Image.Resampling.BICUBIC))


def smoothstep(t: Map) -> Map:
    """0 below 0, 1 above 1, and a smooth ramp between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def smooth(points: Points, steps: int = 5) -> list[tuple[float, float]]:
    """A Catmull-Rom curve through the points, `steps` segments between neighbours."""
    p = np.asarray([points[0], *points, points[-1]], dtype=np.float64)  # (n + 2, 2)
    t = (np.arange(steps) / steps)[None, :, None]
    a, b, c, d = (p[i : len(p) - 3 + i, None, :] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    return [*map(tuple, curve.reshape(-1, 2).tolist()), tuple(points[-1])]


def mirrored(points: Points, sign: int) -> list[tuple[float, float]]:
    """Points drawn for x > 0 on the side `sign`: 1 for the right of the image, -1 for its left."""
    return [(sign * x, y) for x, y in points]


def _values(image: Image.Image) -> Map:
    return np.asarray(image, dtype=np.float32) * np.float32(1 / 255)
