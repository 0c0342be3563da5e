"""Soft shapes on a grid: what the anatomy and the signs are drawn with.

Points and lengths are in body coordinates: x from -1 (left edge of the image) to 1, y from -1
(top) to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Map = NDArray[np.floating[Any]]
"""A grid of (size, size) values, float32."""

Point = tuple[float, float]
Points = Sequence[Point]

_FINE = 3
"""Lines are drawn this much larger and averaged, so that a thin one has a graded width."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A polyline with its width in body coordinates and its strength in [0, 1]."""

    points: Points
    width: float
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square of `size` pixels over the body; `x` and `y` are the coordinates of each."""

    size: int
    x: Map
    y: Map

    def polygon(self, points: Points, blur: float) -> Map:
        """A filled outline in [0, 1], softened by a Gaussian with this deviation."""
        return self.polygons([points], blur)

    def polygons(self, outlines: Iterable[Points], blur: float) -> Map:
        """Several filled outlines in [0, 1], softened alike."""
        image = Image.new("L", (self.size, self.size))
        draw = ImageDraw.Draw(image)
        for points in outlines:
            draw.polygon(self._pixels(points, 1), fill=1)
        return self.blurred(np.asarray(image, dtype=np.float32), blur)

    def lines(self, strokes: Iterable[Stroke], blur: float = 0.0) -> Map:
        """Polylines in [0, 1], anti-aliased, then softened; later ones cover earlier ones."""
        image = Image.new("L", (self.size * _FINE, self.size * _FINE))
        draw = ImageDraw.Draw(image)
        for stroke in strokes:
            width = max(1, round(stroke.width * self.size * _FINE / 2))
            points = self._pixels(stroke.points, _FINE)
            draw.line(points, fill=round(255 * stroke.strength), width=width)
        values = np.asarray(image.reduce(_FINE), dtype=np.float32) * np.float32(1 / 255)
        return self.blurred(values, blur) if blur else values

    def blurred(self, values: Map, blur: float) -> Map:
        """Values softened by a Gaussian with this deviation; the edge is mirrored."""
        kernel = _gaussian(self.size, blur)
        return kernel @ values @ kernel.T

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        edge: float = 0.2,
        angle: float = 0.0,
        wobble: Map | float = 0.0,
    ) -> Map:
        """A filled ellipse in [0, 1]; its soft `edge` and its `wobble` are parts of the radius."""
        cos, sin = math.cos(angle), math.sin(angle)
        dx, dy = self.x - np.float32(centre[0]), self.y - np.float32(centre[1])
        u = dx * np.float32(cos / radii[0]) + dy * np.float32(sin / radii[0])
        v = dy * np.float32(cos / radii[1]) - dx * np.float32(sin / radii[1])
        radius = np.sqrt(u * u + v * v) + wobble
        return smoothstep((np.float32(1 + edge) - radius) * np.float32(0.5 / edge))

    def glow(self, centre: Point, radii: Point) -> Map:
        """A Gaussian bump in (0, 1] with these standard deviations."""
        u = (self.x - np.float32(centre[0])) * np.float32(1 / radii[0])
        v = (self.y - np.float32(centre[1])) * np.float32(1 / radii[1])
        return np.exp(np.float32(-0.5) * (u * u + v * v))

    def clouds(self, rng: np.random.Generator, cells: int) -> Map:
        """Smooth noise with about `cells` bumps across the image, mean 0 and deviation near 0.7."""
        coarse = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
        return np.asarray(coarse.resize((self.size, self.size), Image.Resampling.BICUBIC))

    def posed(self, values: Map, angle: float, scale: Point, shift: Point) -> Map:
        """Values turned by `angle` radians, scaled and shifted, as the patient stood."""
        half = self.size / 2
        a, b = math.cos(angle) / scale[0], math.sin(angle) / scale[0]
        d, e = -math.sin(angle) / scale[1], math.cos(angle) / scale[1]
        x, y = half * (1 + shift[0]), half * (1 + shift[1])
        matrix = (a, b, half - a * x - b * y, d, e, half - d * x - e * y)
        image, bilinear = Image.fromarray(values), Image.Resampling.BILINEAR
        return np.asarray(image.transform(image.size, Image.Transform.AFFINE, matrix, bilinear))

    def _pixels(self, points: Points, fine: int) -> list[float]:
        half = self.size * fine / 2
        return ((np.asarray(points).ravel() + 1) * half).tolist()


@lru_cache(maxsize=4)
def canvas(size: int) -> Canvas:
    """The canvas of this size."""
    axis = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(2 / size) - 1
    x, y = np.meshgrid(axis, axis)
    return Canvas(size, x, y)


def smoothstep(t: Map) -> Map:
    """0 below 0, 1 above 1, and a smooth ramp between."""
    t = np.clip(t, np.float32(0), np.float32(1))
    return t * t * (np.float32(3) - np.float32(2) * t)


def smooth(points: Points, steps: int = 5) -> list[Point]:
    """A Catmull-Rom curve through the points, `steps` segments between neighbours."""
    p = np.array([points[0], *points, points[-1]])  # (n + 2, 2)
    around = np.arange(len(points) - 1)[:, None] + np.arange(4)  # (n - 1, 4)
    curve: list[list[float]] = (_catmull_rom(steps) @ p[around]).reshape(-1, 2).tolist()
    return [*((x, y) for x, y in curve), points[-1]]


def mirrored(points: Points, sign: int) -> list[Point]:
    """Points drawn for x > 0, on the side `sign`: 1 for the right of the image, -1 for its left."""
    return [(sign * x, y) for x, y in points]


@lru_cache(maxsize=64)
def _gaussian(size: int, blur: float) -> Map:
    """A row of weights for each pixel: (size, size)."""
    index = np.arange(size, dtype=np.float64)
    weights = np.zeros((size, size))
    for reflection in (index, -1 - index, 2 * size - 1 - index):
        weights += np.exp(-0.5 * ((index[:, None] - reflection) / (blur * size / 2)) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=4)
def _catmull_rom(steps: int) -> NDArray[np.float64]:
    t = np.arange(steps) / steps
    a = -t + 2 * t**2 - t**3
    b = 2 - 5 * t**2 + 3 * t**3
    c = t + 4 * t**2 - 3 * t**3
    d = -(t**2) + t**3
    return 0.5 * np.stack([a, b, c, d], axis=1)  # (steps, 4)
