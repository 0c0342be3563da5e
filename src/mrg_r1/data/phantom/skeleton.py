"""Bones and lung vessels: drawn once per variety and kept."""

from __future__ import annotations

import itertools
from functools import lru_cache

import numpy as np

from mrg_r1.data.phantom.cases import Break
from mrg_r1.data.phantom.raster import Map, Point, Stroke, canvas, mirrored, smooth

VARIETIES = 12
"""Vessel trees per lung and view, and skeletons; a patient has one of each."""


@lru_cache(maxsize=128)
def ribs(size: int, count: int, phase: float, breaks: tuple[Break, ...] = ()) -> Map:
    """The ribs of one half of the body (x > 0) from the front, lowered by `phase`."""
    strokes: list[Stroke] = []
    ends: list[Stroke] = []
    for index in range(count):
        path = _rib(index, count, phase)
        if 1 <= index < count - 2:
            strokes += _anterior(path[-1])
        broken = [b for b in breaks if b[0] == index]
        pieces = _displaced(path, *broken[0][1:]) if broken else [path]
        for piece in pieces:
            lower = [(x, y + 0.026) for x, y in piece]
            strokes += [Stroke(piece, 0.070, 0.42), Stroke(lower, 0.022, 0.66)]
        if broken:
            bright = _brightness(broken[0][2])
            ends += [Stroke(piece, 0.058, bright) for piece in (pieces[0][-8:], pieces[1][:8])]
    return canvas(size).lines([*strokes, *ends], 0.008)


def _rib(index: int, count: int, phase: float) -> list[Point]:
    """The posterior part of a rib, from the spine to the wall."""
    start = -0.72 + phase + index * 1.20 / count
    t = np.linspace(0, 1, 12)
    wall = np.interp(start + 0.24, (-0.8, -0.55, -0.2, 0.1, 0.4), (0.34, 0.60, 0.72, 0.77, 0.79))
    x = 0.07 + (wall - 0.07) * np.sin(t * np.pi / 2)
    y = start - 0.07 * np.sin(t * np.pi) + 0.24 * t**2.4
    return smooth(list(zip(x.tolist(), y.tolist(), strict=True)), 3)


def _anterior(end: Point) -> list[Stroke]:
    """The part of a rib that returns from the wall towards the sternum, fainter as it goes."""
    x, y = end
    path = smooth([(x, y), (x - 0.06, y + 0.12), (x - 0.22, y + 0.23), (x - 0.40, y + 0.29)])
    return [Stroke(path[i : i + 4], 0.07, 0.34 - 0.016 * i) for i in range(0, 12, 3)]


def _displaced(path: list[Point], at: float, step: float) -> list[list[Point]]:
    """A rib in two pieces, the outer one pushed down and over the inner one."""
    cut = round(at * len(path))
    return [path[: cut + 1], [(x - 0.25 * step, y + step) for x, y in path[cut - 1 :]]]


def _brightness(step: float) -> float:
    """How far the ends of a broken rib stand out: the more, the further apart they are."""
    return min(1.0, 0.5 + 5 * step)


@lru_cache(maxsize=32)
def frontal_bones(size: int, variety: int) -> Map:
    """Spine, clavicles and shoulder blades from the front."""
    rng = np.random.default_rng((variety, 21))
    strokes = [Stroke(((0, -1.2), (0, 1.2)), 0.155, 0.30)]
    for y in np.arange(-1.1, 1.1, 0.135).tolist():
        strokes.append(Stroke(((-0.07, y), (0.07, y)), 0.024, 0.50))
        strokes.append(Stroke(((0, y + 0.05), (0, y + 0.09)), 0.035, 0.50))
    lift, sag = rng.normal(0, 0.03, 2)
    clavicle = [(0.07, -0.52), (0.22, -0.57), (0.46, -0.68 - lift), (0.68, -0.72 - lift)]
    clavicle = smooth([*clavicle, (0.95, -0.72 - lift)])
    blade = smooth([(0.62, -0.80), (0.78, -0.62), (0.77, -0.30), (0.86, 0.0 + sag)])
    spine = smooth([(0.76, -0.60), (0.92, -0.68), (1.1, -0.70)])
    for sign in (-1, 1):
        strokes.append(Stroke(mirrored(blade, sign), 0.035, 0.30))
        strokes.append(Stroke(mirrored(spine, sign), 0.06, 0.35))
        strokes.append(Stroke(mirrored(clavicle, sign), 0.085, 0.62))
        strokes.append(Stroke(mirrored([(x, y + 0.032) for x, y in clavicle], sign), 0.02, 0.95))
        strokes.append(Stroke(mirrored([(x, y - 0.032) for x, y in clavicle], sign), 0.02, 0.80))
    return canvas(size).lines(strokes, 0.010)


@lru_cache(maxsize=128)
def lateral_bones(size: int, count: int, phase: float, breaks: tuple[Break, ...] = ()) -> Map:
    """Vertebrae, sternum and ribs from the side."""
    strokes: list[Stroke] = []
    spine = smooth([(0.34, -1.1), (0.46, -0.6), (0.57, -0.15), (0.58, 0.3), (0.50, 0.75)], 4)
    for (x, y), (u, v) in itertools.pairwise(spine):
        strokes.append(Stroke(((x, y), (x + 0.8 * (u - x), y + 0.8 * (v - y))), 0.15, 0.50))
        strokes.append(Stroke(((x - 0.075, y + 0.01), (x + 0.075, y - 0.01)), 0.022, 0.95))
    for index in range(count):
        y = -0.72 + phase + index * 1.1 / count
        path = smooth([(0.70, y), (0.62, y + 0.14), (0.30, y + 0.34), (-0.05, y + 0.45)], 8)
        broken = [b for b in breaks if b[0] == index]
        pieces = _displaced(path, *broken[0][1:]) if broken else [path]
        strength = _brightness(broken[0][2]) if broken else 0.42
        strokes += [Stroke(piece, 0.050, strength) for piece in pieces]
    sternum = smooth([(-0.34, -0.62), (-0.55, -0.25), (-0.64, 0.12)])
    strokes.append(Stroke(sternum, 0.06, 0.9))
    return canvas(size).lines(strokes, 0.008)


@lru_cache(maxsize=4 * VARIETIES)
def vessels(size: int, variety: int) -> Map:
    """Markings of the left lung (x > 0) from the front: they branch and taper towards the wall."""
    rng = np.random.default_rng((variety, 22))
    strokes: list[Stroke] = []
    for angle in (-1.30, -0.85, -0.30, 0.15, 0.55, 0.90, 1.20, 1.45):
        angle += rng.normal(0, 0.10)
        start = (0.20 + rng.normal(0, 0.015), -0.08 + 0.09 * angle + rng.normal(0, 0.02))
        _grow(strokes, rng, start, angle, 0.034, 0.28 + 0.06 * rng.random())
    grid = canvas(size)
    hilum = np.float32(0.5) * grid.glow((0.20, -0.07), (0.045, 0.085))
    return grid.lines(strokes, 0.008) + hilum + _texture(size, rng) * (grid.x > 0)


@lru_cache(maxsize=4 * VARIETIES)
def lateral_vessels(size: int, variety: int) -> Map:
    """Markings of both lungs from the side."""
    rng = np.random.default_rng((variety, 23))
    strokes: list[Stroke] = []
    for angle in (np.arange(0, 2 * np.pi, 0.7) + rng.normal(0, 0.2, 9)).tolist():
        start = (0.05 + 0.06 * np.cos(angle), -0.08 + 0.09 * np.sin(angle))
        _grow(strokes, rng, start, angle, 0.030, 0.24 + 0.10 * rng.random())
    grid = canvas(size)
    hila = np.float32(0.7) * grid.glow((0.05, -0.08), (0.09, 0.10))
    arch = np.float32(0.5) * grid.glow((0.06, -0.34), (0.14, 0.06))
    return np.float32(0.6) * grid.lines(strokes, 0.009) + hila + arch + _texture(size, rng)


def _texture(size: int, rng: np.random.Generator) -> Map:
    """What is too fine to be drawn as a vessel."""
    return np.float32(0.22) * np.clip(canvas(size).clouds(rng, 36), 0, 1)


def _grow(
    strokes: list[Stroke],
    rng: np.random.Generator,
    start: Point,
    angle: float,
    width: float,
    length: float,
) -> None:
    """Adds a vessel and, from its end, two thinner ones."""
    bend = rng.normal(0, 0.25)
    x, y = start
    path = [start]
    for _ in range(4):
        x, y = x + length / 4 * np.cos(angle), y + length / 4 * np.sin(angle)
        path.append((x, y))
        angle += bend / 4
    if width > 0.010:
        for turn in (-0.35 - 0.2 * rng.random(), 0.35 + 0.2 * rng.random()):
            _grow(strokes, rng, path[-1], angle + turn, width * 0.62, length * 0.68)
    strokes.append(Stroke(path, width, min(0.8, 0.15 + 18 * width)))
