"""The healthy chest: what absorbs X-rays where, from the front and from the side.

Nothing here is traced from an image: outlines are a handful of landmarks joined by smooth curves.
The left of a frontal image is the patient's right, as radiographs are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from mrg_r1.data.phantom import skeleton
from mrg_r1.data.phantom.cases import LEFT, RIGHT, Patient
from mrg_r1.data.phantom.raster import (
    Canvas,
    Map,
    Point,
    Stroke,
    canvas,
    mirrored,
    smooth,
    smoothstep,
)

CHEST = 0.76
"""Half the inner width of the frontal chest where it is widest."""

SIDE_SIGN = {RIGHT: -1, LEFT: 1}
"""The direction in which a patient's side lies on a frontal image."""


@dataclass(slots=True)
class Film:
    """A view being drawn: maps of (size, size).

    `tissue` is the white of the body without lungs, in [0, 1]; `air` how much of it the lungs
    take away, 1 for healthy lung; `vessels` their markings; `over` what lies over both, bone and
    metal; `lungs` where lung was before any sign.
    """

    canvas: Canvas
    tissue: Map
    air: Map
    vessels: Map
    over: Map
    lungs: Map

    def develop(self, patient: Patient, rng: np.random.Generator) -> Map:
        """The exposed film: grey values in [0, 1] of shape (size, size)."""
        air = np.clip(self.air, 0, 1.4)
        white = self.tissue * (1 - 0.66 * air)
        white += 0.22 * self.vessels * np.minimum(air, 1)
        white += self.over * (1.15 - 0.75 * white)
        white = self.canvas.posed(white, patient.angle, patient.scale, patient.shift)
        white = (white - 0.5) * np.float32(patient.contrast) + np.float32(0.5 + patient.brightness)
        white = np.clip(white, 0, 1)
        white += np.float32(patient.gamma) * white * (1 - white)
        grain = rng.standard_normal(white.shape, dtype=np.float32)
        white += np.float32(patient.noise) * grain * (np.float32(0.4) + white)
        return np.clip(white, 0, 1)


def frontal(size: int, patient: Patient) -> Film:
    """The healthy chest from the front."""
    rng, grid = np.random.default_rng((patient.seed, 1)), canvas(size)
    lungs = grid.polygons([lung_outline(patient, side) for side in SIDE_SIGN], 0.014)
    heart = grid.polygon(_silhouette(patient), 0.016)
    tissue = _frontal_body(grid, patient) + 0.03 * heart
    air = lungs * (1 - 0.88 * heart) + 0.20 * _windpipe(size)
    left, right, bones = rng.integers(skeleton.VARIETIES, size=3).tolist()
    vessels = _halves(skeleton.vessels(size, left), skeleton.vessels(size, right))
    over = _ribs(size, patient) * (0.05 + 0.22 * lungs * (1 - 0.6 * heart))
    over += 0.22 * skeleton.frontal_bones(size, bones)
    return Film(grid, tissue, air, vessels, over, lungs)


def _halves(left: Map, right: Map) -> Map:
    """Two maps drawn for x > 0, the second one mirrored to the other side."""
    return left + right[:, ::-1]


def _ribs(size: int, patient: Patient) -> Map:
    whole = skeleton.ribs(size, patient.ribs, patient.rib_phase)
    if not patient.breaks:
        return _halves(whole, whole)
    broken = skeleton.ribs(size, patient.ribs, patient.rib_phase, patient.breaks)
    return _halves(broken, whole) if patient.broken_side == LEFT else _halves(whole, broken)


def lung_outline(patient: Patient, side: str) -> list[Point]:
    """The outline of a lung on the frontal view: its wall from the apex down, then its base."""
    return [*lung_wall(side), *_lung_base(patient, side)]


@cache
def lung_wall(side: str) -> list[Point]:
    """From the mediastinum over the apex and down the wall to the angle at the base."""
    wall = [(0.05, -0.55), (0.12, -0.76), (0.26, -0.85), (0.42, -0.79), (0.56, -0.57)]
    wall += [(0.67, -0.24), (0.74, 0.08), (CHEST, 0.36), (CHEST, 0.63)]
    return mirrored(smooth(wall), SIDE_SIGN[side])


def _lung_base(patient: Patient, side: str) -> list[Point]:
    dome = 0.43 + (0.0 if side == RIGHT else 0.05) + patient.domes[side == LEFT]
    base = [(CHEST - 0.01, 0.66), (0.68, dome + 0.09), (0.46, dome), (0.24, dome + 0.03)]
    return mirrored(smooth([*base, (0.05, dome + 0.08)]), SIDE_SIGN[side])


def _frontal_body(grid: Canvas, patient: Patient) -> Map:
    """Soft tissue: thick in the middle and the abdomen, thin at the skin, air in the stomach."""
    body, depth = _frontal_skin(grid.size, round(patient.girth, 1))
    tissue = 0.26 + 0.26 * depth + 0.05 * patient.girth + 0.24 * grid.glow((0, 0.1), (0.26, 1.2))
    tissue += 0.18 * smoothstep((grid.y - 0.25) * 2.2)
    if patient.breasts:
        for sign in (-1, 1):
            radii = (0.27 + 0.06 * patient.breasts, 0.22 + 0.06 * patient.breasts)
            tissue += 0.06 * patient.breasts * grid.ellipse((sign * 0.50, 0.36), radii, 0.35)
    x, width = patient.stomach
    gas = grid.ellipse((x, 0.66 + patient.domes[1]), (width, 0.5 * width), 0.4)
    return body * tissue * (1 - 0.28 * gas)


@lru_cache(maxsize=32)
def _frontal_skin(size: int, girth: float) -> tuple[Map, Map]:
    """The outline of the body, sharp, and softened as it grows thicker inwards."""
    wide = 0.87 + 0.10 * girth
    half = [(0.20, -1.6), (0.23, -0.98), (0.45, -0.90), (0.8, -0.82), (1.05, -0.68), (1.3, -0.5)]
    half += [(1.3, 0.0), (wide + 0.03, 0.02), (wide, 0.3), (wide + 0.02, 0.8), (wide + 0.06, 1.6)]
    outline = [*half, *mirrored(half[::-1], -1)]
    return canvas(size).polygon(outline, 0.02), canvas(size).polygon(outline, 0.10)


def _silhouette(patient: Patient) -> list[Point]:
    """The outline of heart and mediastinum at the patient's cardiothoracic ratio."""
    width, m = patient.heart * 2 * CHEST, patient.mediastinum
    right, left = -0.34 * width, 0.66 * width
    points = [(0.09 * m, -1.1), (0.10 * m, -0.60), (0.14 * m, -0.46), (0.19 * m, -0.34)]
    points += [(0.17 * m, -0.24), (0.19 * m, -0.12), (0.24 + 0.2 * (left - 0.42), 0.0)]
    points += [(0.74 * left, 0.16), (0.96 * left, 0.34), (left, 0.44), (0.90 * left, 0.60)]
    points += [(0.5 * left, 0.70), (0.5 * right, 0.70), (0.85 * right, 0.50), (right, 0.28)]
    points += [(0.86 * right, 0.06), (-0.14 * m, -0.08), (-0.14 * m, -0.35), (-0.11 * m, -0.6)]
    return smooth([*points, (-0.09 * m, -1.1)])


@lru_cache(maxsize=4)
def _windpipe(size: int) -> Map:
    """Trachea and main bronchi."""
    trachea = Stroke(((0, -1.2), (0.01, -0.40)), 0.085)
    right = Stroke(((0.01, -0.42), (-0.06, -0.34), (-0.15, -0.22)), 0.055, 0.8)
    left = Stroke(((0.01, -0.42), (0.08, -0.34), (0.18, -0.24)), 0.05, 0.8)
    return canvas(size).lines([trachea, right, left], 0.016)


def lateral(size: int, patient: Patient) -> Film:
    """The healthy chest from the side, the sternum to the left of the image."""
    rng, grid = np.random.default_rng((patient.seed, 2)), canvas(size)
    lungs = grid.polygon(lateral_outline(patient), 0.014)
    heart = grid.polygon(_lateral_heart(patient), 0.03)
    air = lungs * (1 - 0.60 * heart) * (1 - 0.6 * grid.ellipse((0.14, -0.84), (0.42, 0.28), 0.6))
    air *= 0.85 + 0.15 * smoothstep((grid.y + 0.5) * 1.2)
    if patient.mediastinum > 1.2:
        full = min(0.75, 0.8 * (patient.mediastinum - 1))
        air *= 1 - full * grid.ellipse((-0.20, -0.40), (0.28, 0.20), 0.4, -0.6)
    air += 0.2 * _lateral_windpipe(size)
    vessels = skeleton.lateral_vessels(size, int(rng.integers(skeleton.VARIETIES))).copy()
    bones = skeleton.lateral_bones(size, patient.ribs, patient.rib_phase, patient.breaks)
    over = bones * (0.05 + 0.17 * lungs)
    return Film(grid, _lateral_body(grid, patient), air, vessels, over, lungs)


def lateral_outline(patient: Patient) -> list[Point]:
    """The outline of both lungs from the side: the wall from front to back, then the base."""
    dome = 0.20 + sum(patient.domes) / 2
    base = [(0.53, 0.74), (0.38, 0.46), (0.12, dome + 0.10), (-0.2, dome), (-0.45, dome + 0.04)]
    return [*lateral_wall(), *smooth([*base, (-0.61, 0.34)])]


@cache
def lateral_wall() -> list[Point]:
    """From the front of the diaphragm over the apex to the angle at the back."""
    wall = [(-0.61, 0.34), (-0.61, 0.08), (-0.50, -0.26), (-0.28, -0.60), (0.05, -0.80)]
    wall += [(0.28, -0.80), (0.52, -0.58), (0.68, -0.22), (0.71, 0.1), (0.66, 0.45), (0.55, 0.74)]
    return smooth(wall)


def _lateral_heart(patient: Patient) -> list[Point]:
    big = (patient.heart - 0.43) * 1.6
    points = [(-0.62, 0.42), (-0.62, 0.05), (-0.52, -0.10 - 0.5 * big), (-0.30, -0.24)]
    points += [(-0.08, -0.24), (0.06 + 0.5 * big, -0.05), (0.10 + big, 0.18), (0.06 + big, 0.42)]
    return smooth(points)


def _lateral_body(grid: Canvas, patient: Patient) -> Map:
    body, depth, arm = _lateral_skin(grid.size, round(patient.girth, 1))
    tissue = 0.34 + 0.28 * depth + 0.05 * patient.girth + 0.20 * smoothstep((grid.y - 0.1) * 2)
    return np.maximum(body * tissue, 0.55 * arm) + 0.12 * body * arm


@lru_cache(maxsize=32)
def _lateral_skin(size: int, girth: float) -> tuple[Map, Map, Map]:
    """The outline of the body, sharp, and softened as it grows thicker; the raised arms."""
    g = 0.06 * girth
    front = [(-0.10, -1.6), (-0.28, -0.86), (-0.60 - g, -0.38), (-0.74 - g, 0.1), (-0.75 - g, 0.5)]
    back = [(0.72 + g, 1.6), (0.78 + g, 0.7), (0.86 + g, 0.2), (0.82 + g, -0.3), (0.60, -0.85)]
    outline = [*smooth([*front, (-0.74 - g, 1.6)]), *smooth([*back, (0.45, -1.6)])]
    arm = [(-1.4, -1.05), (-0.2, -0.74), (0.3, -0.8), (0.3, -1.6), (-1.4, -1.6)]
    grid = canvas(size)
    return grid.polygon(outline, 0.02), grid.polygon(outline, 0.10), grid.polygon(arm, 0.04)


@lru_cache(maxsize=4)
def _lateral_windpipe(size: int) -> Map:
    return canvas(size).lines([Stroke(((-0.02, -1.0), (0.06, -0.30)), 0.10)], 0.02)
