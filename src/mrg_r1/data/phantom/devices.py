"""Tubes and wires: pacemaker, sternal wires, central line, endotracheal tube."""

from __future__ import annotations

import numpy as np

from mrg_r1.data.phantom.cases import LINE, PACEMAKER, TUBE, WIRES, Sign
from mrg_r1.data.phantom.raster import Canvas, Map, Stroke, smooth


def frontal(grid: Canvas, sign: Sign, rng: np.random.Generator) -> Map:
    """What the device adds to the frontal view."""
    width = 0.014 + 0.006 * sign.severity
    metal = grid.lines(_FRONTAL[sign.kind](width, rng), 0.004)
    if sign.kind == PACEMAKER:
        can = grid.ellipse((0.56, -0.44), (0.105, 0.085), 0.10, 0.2)
        battery = grid.ellipse((0.575, -0.42), (0.06, 0.045), 0.2, 0.2)
        metal = np.maximum(metal, 0.75 * can + 0.25 * battery)
    return _conspicuity(sign) * metal


def lateral(grid: Canvas, sign: Sign, rng: np.random.Generator) -> Map:
    """What the device adds to the lateral view."""
    width = 0.014 + 0.006 * sign.severity
    metal = grid.lines(_LATERAL[sign.kind](width, rng), 0.004)
    if sign.kind == PACEMAKER:
        metal = np.maximum(metal, 0.9 * grid.ellipse((-0.47, -0.42), (0.035, 0.10), 0.15, 0.5))
    return _conspicuity(sign) * metal


def _conspicuity(sign: Sign) -> float:
    return 0.35 + 0.40 * sign.severity


def _frontal_pacemaker(width: float, rng: np.random.Generator) -> list[Stroke]:
    """Leads from the left chest through the vena cava to the right atrium and ventricle."""
    to = rng.normal(0, 0.02)
    vein = [(0.50, -0.50), (0.46, -0.60), (0.28, -0.56), (0.05, -0.46), (-0.09, -0.34)]
    ventricle = [*vein, (-0.15, -0.05), (-0.12, 0.22), (0.05, 0.38), (0.28 + to, 0.42)]
    atrium = [*((x, y + 0.03) for x, y in vein), (-0.12, -0.05), (-0.13, 0.12), (-0.06, 0.05 + to)]
    tip = [(0.22 + to, 0.415), (0.28 + to, 0.42)]
    leads = (Stroke(smooth(path), 0.85 * width) for path in (ventricle, atrium))
    return [*leads, Stroke(tip, 1.8 * width)]


def _frontal_wires(width: float, rng: np.random.Generator) -> list[Stroke]:
    """Six twisted loops down the sternum."""
    strokes: list[Stroke] = []
    for y in np.linspace(-0.42, 0.30, 6):
        a, b, x = 0.058, 0.036, rng.normal(0, 0.008)
        turn = np.linspace(0, 2 * np.pi, 13) + rng.uniform(-0.4, 0.4)
        ring = zip((x + a * np.cos(turn)).tolist(), (y + b * np.sin(turn)).tolist(), strict=True)
        strokes.append(Stroke(list(ring), width, 0.9))
        strokes.append(Stroke(((x - 0.01, y - 0.06), (x + 0.01, y - 0.03)), 1.5 * width))
    return strokes


def _frontal_line(width: float, rng: np.random.Generator) -> list[Stroke]:
    """A catheter from the right side of the neck down the vena cava."""
    path = [(-0.26, -1.1), (-0.23, -0.85), (-0.15 + rng.normal(0, 0.01), -0.60), (-0.12, -0.35)]
    return [Stroke(smooth([*path, (-0.12, -0.10 + rng.normal(0, 0.04))]), 1.15 * width)]


def _frontal_tube(width: float, rng: np.random.Generator) -> list[Stroke]:
    """Both walls of a tube in the trachea, its tip above the carina."""
    tip = -0.54 + rng.normal(0, 0.03)
    inner = Stroke(((0, -1.2), (0.005, tip)), 0.06, 0.35)
    walls = [Stroke(((x, -1.2), (x + 0.005, tip)), width) for x in (-0.034, 0.034)]
    return [inner, *walls]


def _lateral_pacemaker(width: float, rng: np.random.Generator) -> list[Stroke]:
    lead = [(-0.44, -0.48), (-0.20, -0.58), (-0.02, -0.42), (-0.02, 0.0), (-0.2, 0.28)]
    return [Stroke(smooth([*lead, (-0.44, 0.30)]), width)]


def _lateral_wires(width: float, rng: np.random.Generator) -> list[Stroke]:
    front = smooth([(-0.36, -0.58), (-0.56, -0.22), (-0.64, 0.12)], 3)
    ends = (((x - 0.035, y), (x + 0.045, y - 0.03)) for x, y in front)
    return [Stroke(pair, 1.15 * width) for pair in ends]


def _lateral_line(width: float, rng: np.random.Generator) -> list[Stroke]:
    return [
        Stroke(smooth([(-0.1, -1.1), (-0.05, -0.7), (-0.02, -0.4), (-0.03, -0.05)]), 1.15 * width)
    ]


def _lateral_tube(width: float, rng: np.random.Generator) -> list[Stroke]:
    inner = Stroke(((-0.03, -1.1), (0.03, -0.52)), 0.06, 0.35)
    return [inner, *(Stroke(((x, -1.1), (x + 0.06, -0.52)), width) for x in (-0.06, 0.005))]


_FRONTAL = {
    PACEMAKER: _frontal_pacemaker,
    WIRES: _frontal_wires,
    LINE: _frontal_line,
    TUBE: _frontal_tube,
}
_LATERAL = {
    PACEMAKER: _lateral_pacemaker,
    WIRES: _lateral_wires,
    LINE: _lateral_line,
    TUBE: _lateral_tube,
}
